// SPDX-License-Identifier: MIT
#include <segnet/models/carvana.hpp>
#include <segnet/network/checkpoint.hpp>

#include "../temporary_folder.hpp"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

using namespace segnet;
using segnet_test::message_of;
using segnet_test::temporary_folder;

namespace {

using small = network<carvana_network<16, 16, 8, 16>>;
using other_filters = network<carvana_network<16, 16, 8, 24>>;
using one_level = network<carvana_network<16, 16, 8>>;
using larger_images = network<carvana_network<32, 32, 8, 16>>;

/// Every tensor far from its initial value, so that none can be forgotten: multiples of 1/256 below 1, which
/// both kinds of half precision hold exactly; scales and variances stay positive.
template <class Network>
void fill(Network& net) {
  random_stream random{7};
  for (const parameter& p : Network::parameter_table().entries) {
    const bool positive = p.spec.name == "running_var" || (p.spec.name == "weight" && p.spec.rank == 1);
    for (float& x : net.values(p)) x = static_cast<float>(random.below(64) + (positive ? 128 : -32)) / 256.0f;
  }
  net.parameters_changed();
}

template <class Network>
std::vector<float> output_of(Network& net) {
  std::vector<float> pixels(Network::input_shape.size());
  random_stream random{3};
  for (float& x : pixels) x = static_cast<float>(random.uniform());
  const auto out = net.infer({pixels.data(), 1, Network::input_shape});
  return {out.begin(), out.end()};
}

std::vector<float> copy_of(std::span<const float> values) { return {values.begin(), values.end()}; }

/// The bits of a half; only for numbers that it holds exactly.
std::uint16_t to_half(float x) {
  if (x == 0.0f) return 0;
  int exponent = 0;
  const float mantissa = std::frexp(std::abs(x), &exponent);  // in [0.5, 1)
  const int fraction = static_cast<int>(std::ldexp(mantissa, 11)) - 1024;
  return static_cast<std::uint16_t>((x < 0 ? 0x8000 : 0) | ((exponent + 14) << 10) | fraction);
}

std::uint16_t to_bfloat16(float x) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16);
}

/// The tensors of a file, and room for values that a test puts in their place.
struct editable {
  explicit editable(const safetensors_file& file) : tensors(file.tensors().begin(), file.tensors().end()) {}
  stored_tensor& operator[](const std::string& name) {
    return *std::ranges::find(tensors, name, &stored_tensor::name);
  }
  std::vector<stored_tensor> tensors;
};

checkpoint_header example_header() {
  checkpoint_header header;
  header.network = "carvana";
  header.variant = "tiny";
  header.filters = "8,16";
  header.height = header.width = 16;
  return header;
}

}  // namespace

TEST_CASE("a checkpoint gives back every tensor, for training and for inference", "[network]") {
  const temporary_folder folder;
  small trained({.batch = 2, .threads = 1});
  fill(trained);
  save_checkpoint(folder / "a.safetensors", trained, example_header().to_metadata());
  const safetensors_file file(folder / "a.safetensors");
  CHECK(file.tensors().size() == static_cast<std::size_t>(small::parameter_table().entries.size()));

  small again({.batch = 2, .threads = 1});
  again.initialise(2);
  output_of(again);  // loading replaces the scales and shifts that this computed
  load_checkpoint(file, again);
  for (const parameter& p : small::parameter_table().entries) {
    INFO(parameter_name(small::training_graph(), p));
    CHECK(copy_of(again.values(p)) == copy_of(trained.values(p)));
  }
  // The same arithmetic folds both, hence the same bits.
  small inference({.threads = 1, .training = false});
  load_checkpoint(file, inference);
  const std::vector<float> expected = output_of(trained);
  CHECK(output_of(inference) == expected);
  CHECK(output_of(again) == expected);
  CHECK(*std::ranges::max_element(expected) != *std::ranges::min_element(expected));

  // Loading again replaces the weights.
  small fresh({.threads = 1});
  fresh.initialise(5);
  save_checkpoint(folder / "b.safetensors", fresh, {});
  load_checkpoint(safetensors_file(folder / "b.safetensors"), inference);
  CHECK(output_of(inference) == output_of(fresh));
  CHECK(output_of(inference) != expected);
}

TEST_CASE("half precision checkpoints are converted", "[network]") {
  const bool brain = GENERATE(false, true);
  const temporary_folder folder;
  small trained({.threads = 1});
  fill(trained);
  save_checkpoint(folder / "full.safetensors", trained, {});
  const safetensors_file full(folder / "full.safetensors");
  editable half(full);
  std::vector<std::vector<std::uint16_t>> bits;
  bits.reserve(half.tensors.size());
  for (stored_tensor& t : half.tensors) {
    bits.emplace_back();
    for (float x : full.f32(t.name)) bits.back().push_back(brain ? to_bfloat16(x) : to_half(x));
    t.type = brain ? dtype::bf16 : dtype::f16;
    t.bytes = std::as_bytes(std::span(bits.back()));
  }
  write_safetensors(folder / "half.safetensors", half.tensors);

  const safetensors_file file(folder / "half.safetensors");
  small training({.threads = 1}), inference({.threads = 1, .training = false});
  load_checkpoint(file, training);
  load_checkpoint(file, inference);
  const std::vector<float> expected = output_of(trained);
  CHECK(output_of(training) == expected);
  CHECK(output_of(inference) == expected);
}

TEST_CASE("tensors that are not aligned to floats are copied", "[network]") {
  const temporary_folder folder;
  small trained({.threads = 1});
  fill(trained);
  save_checkpoint(folder / "a.safetensors", trained, {});
  auto bytes = segnet_test::content(folder / "a.safetensors");
  bytes.insert(
      bytes.begin() + 8 + static_cast<std::ptrdiff_t>(bytes[0] + 256u * bytes[1] + 65536u * bytes[2]),
      static_cast<unsigned char>(' '));
  ++bytes[0];  // the header's length; a multiple of 8 before
  segnet_test::write_file(folder / "odd.safetensors", bytes);
  const safetensors_file odd(folder / "odd.safetensors");
  CHECK_THROWS_WITH(odd.f32("classifier.bias"), Catch::Contains("not aligned"));
  small inference({.threads = 1, .training = false});
  load_checkpoint(odd, inference);
  CHECK(output_of(inference) == output_of(trained));
}

TEST_CASE("a mapped checkpoint may be replaced or deleted", "[network]") {
  const temporary_folder folder;
  const auto path = folder / "a.safetensors";
  small trained({.threads = 1}), other({.threads = 1});
  fill(trained);
  other.initialise(1);
  save_checkpoint(path, trained, {});
  const std::vector<float> expected = output_of(trained);
  small inference({.threads = 1, .training = false});
  load_checkpoint(safetensors_file(path), inference);  // the file object is gone, its pages are not
  save_checkpoint(path, other, {});
  CHECK(output_of(inference) == expected);
  std::filesystem::remove(path);
  CHECK(output_of(inference) == expected);
  // Scales and shifts are computed from them again.
  inference.parameters_changed();
  CHECK(output_of(inference) == expected);
}

TEST_CASE("weights do not depend on the size of the images", "[network]") {
  const temporary_folder folder;
  small trained({.threads = 1});
  fill(trained);
  save_checkpoint(folder / "a.safetensors", trained, {});
  larger_images larger({.batch = 2, .threads = 1});
  load_checkpoint(safetensors_file(folder / "a.safetensors"), larger);
  CHECK(copy_of(larger.parameters()) == copy_of(trained.parameters()));
  CHECK(copy_of(larger.statistics()) == copy_of(trained.statistics()));
}

TEST_CASE("a checkpoint of another network is refused by tensor, and changes nothing", "[network]") {
  const temporary_folder folder;
  small trained({.threads = 1});
  fill(trained);
  save_checkpoint(folder / "a.safetensors", trained, {});
  const safetensors_file file(folder / "a.safetensors");

  other_filters wider({.threads = 1});
  wider.initialise(1);
  const auto before = copy_of(wider.parameters());
  const std::string shapes = message_of<file_error>([&] { load_checkpoint(file, wider); });
  CHECK_THAT(shapes,
             Catch::Contains("a.safetensors") &&
                 Catch::Contains("encoder.1.conv1.weight: found [16, 3, 3, 8], expected [24, 3, 3, 8]") &&
                 Catch::Contains("more"));
  CHECK(copy_of(wider.parameters()) == before);

  editable extended(file);
  extended.tensors.push_back({"encoder.2.conv1.bias\n", dtype::f32, {0}, {}});
  write_safetensors(folder / "more.safetensors", extended.tensors);
  small inference({.threads = 1, .training = false});
  CHECK_THAT(message_of<file_error>(
                 [&] { load_checkpoint(safetensors_file(folder / "more.safetensors"), inference); }),
             Catch::EndsWith("1 differ:\n  \"encoder.2.conv1.bias\\n\": unknown to this network"));
  // What failed is no load: neither the first, nor a later one.
  CHECK_THROWS_WITH(output_of(inference), Catch::Contains("no weights loaded"));
  load_checkpoint(file, inference);
  CHECK_THROWS_AS(load_checkpoint(safetensors_file(folder / "more.safetensors"), inference), file_error);
  CHECK(output_of(inference) == output_of(trained));

  one_level source({.threads = 1});
  source.initialise(1);
  save_checkpoint(folder / "b.safetensors", source, {});
  CHECK_THAT(
      message_of<file_error>([&] { load_checkpoint(safetensors_file(folder / "b.safetensors"), trained); }),
      Catch::Contains("encoder.1.conv1.weight: missing"));
}

TEST_CASE("wrong types and values that are not finite are refused", "[network]") {
  const temporary_folder folder;
  small trained({.threads = 1});
  fill(trained);
  save_checkpoint(folder / "a.safetensors", trained, {});
  const safetensors_file file(folder / "a.safetensors");
  const auto message = [&](const std::vector<stored_tensor>& tensors) {
    write_safetensors(folder / "changed.safetensors", tensors);
    small net({.threads = 1, .training = false});
    return message_of<file_error>(
        [&] { load_checkpoint(safetensors_file(folder / "changed.safetensors"), net); });
  };
  const std::string name = "classifier.bias";

  editable integer(file);
  const std::vector<std::int32_t> one{1};
  integer[name].type = dtype::i32;
  integer[name].bytes = std::as_bytes(std::span(one));
  CHECK_THAT(message(integer.tensors),
             Catch::Contains("classifier.bias: found I32, expected F32, F16, BF16 or F64"));

  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    editable changed(file);
    const std::vector<float> values{bad};
    changed[name].bytes = std::as_bytes(std::span(values));
    CHECK_THAT(message(changed.tensors),
               Catch::Contains("classifier.bias: holds values that are not finite"));
  }
}

TEST_CASE("tensors of training stand beside the network's", "[network]") {
  const temporary_folder folder;
  small trained({.threads = 1});
  fill(trained);
  const std::vector<float> moments(10, 1.5f);
  save_checkpoint(folder / "a.safetensors", trained, {},
                  {{"training.adam.m", dtype::f32, {10}, std::as_bytes(std::span(moments))}});
  const safetensors_file file(folder / "a.safetensors");
  CHECK(copy_of(file.f32("training.adam.m")) == moments);
  small inference({.threads = 1, .training = false});
  load_checkpoint(file, inference);
  CHECK(output_of(inference) == output_of(trained));
  CHECK_THROWS_AS(save_checkpoint(folder / "b.safetensors", inference, {}), argument_error);
  CHECK_FALSE(std::filesystem::exists(folder / "b.safetensors"));
}

TEST_CASE("a checkpoint cut off anywhere is refused", "[network]") {
  const temporary_folder folder;
  small trained({.threads = 1});
  fill(trained);
  save_checkpoint(folder / "a.safetensors", trained, example_header().to_metadata());
  const auto bytes = segnet_test::content(folder / "a.safetensors");
  for (const std::size_t length : {std::size_t{0}, std::size_t{4}, std::size_t{8}, std::size_t{100},
                                   bytes.size() / 2, bytes.size() - 1}) {
    INFO(length);
    segnet_test::write_file(folder / "cut.safetensors",
                            {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)});
    CHECK_THROWS_AS(safetensors_file(folder / "cut.safetensors"), file_error);
  }
}

TEST_CASE("the checkpoint's header comes back to the last bit", "[network]") {
  const temporary_folder folder;
  checkpoint_header header = example_header();
  header.width = 48;
  header.threshold = 0.1 + 0.2;
  header.val_fraction = 1.0 / 3.0;
  header.split_seed = std::numeric_limits<std::uint64_t>::max();
  header.metrics = R"({"dice": 0.5, "quote": "\""})";
  write_safetensors(folder / "a.safetensors", {}, header.to_metadata());
  const auto read = checkpoint_header::from(safetensors_file(folder / "a.safetensors"));
  CHECK(read.to_metadata() == header.to_metadata());
  CHECK(read.height == 16);
  CHECK(read.width == 48);
  CHECK(read.threshold == 0.1 + 0.2);
  CHECK(read.val_fraction == 1.0 / 3.0);
  CHECK(read.split_seed == header.split_seed);
}

TEST_CASE("foreign files and headers that this version cannot follow are refused", "[network]") {
  const temporary_folder folder;
  const auto message = [&](const checkpoint_metadata& metadata) {
    write_safetensors(folder / "a.safetensors", {}, metadata);
    return message_of<file_error>(
        [&] { checkpoint_header::from(safetensors_file(folder / "a.safetensors")); });
  };
  CHECK_THAT(message({{"format", "pt"}}), Catch::Contains("\"format\": found \"pt\""));
  CHECK_THAT(message({}), Catch::Contains("is a safetensors file but no segnet checkpoint"));
  for (const auto& [key, unused] : example_header().to_metadata()) {
    if (key == "segnet_version") continue;  // for people
    auto metadata = example_header().to_metadata();
    metadata.erase(key);
    CHECK_THAT(message(metadata), Catch::Contains("lack \"" + key + "\""));
  }
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"format_version", "2"}, {"colour_order", "BGR"}, {"scale", "1/127.5"},  {"resize", "nearest"},
      {"height", "0"},         {"height", "-16"},       {"height", "16px"},    {"width", "99999999999"},
      {"width", ""},           {"threshold", "nan"},    {"threshold", "1.5"},  {"threshold", "0,5"},
      {"val_fraction", "2"},   {"split_seed", "-1"},    {"split_seed", "1e3"},
  };
  for (const auto& [key, value] : refused) {
    auto metadata = example_header().to_metadata();
    metadata[key] = value;
    CHECK_THAT(message(metadata), Catch::Contains("metadata \"" + key + "\": found \"" + value + "\""));
  }
}
