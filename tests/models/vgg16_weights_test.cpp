// SPDX-License-Identifier: MIT
// Weights of PyTorch's VGG16 and VGG16-BN, from files that the tests make.
#include <segnet/models/deconvnet.hpp>
#include <segnet/models/fcn.hpp>
#include <segnet/models/segnet.hpp>
#include <segnet/models/vgg16_weights.hpp>

#include "../temporary_folder.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <string>
#include <vector>

using namespace segnet;
using Catch::Matchers::Contains;
using segnet_test::temporary_folder;

namespace {

/// The numbers of the convolutions among torchvision's `features`, as printed by PyTorch.
constexpr std::array plain{0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28};
constexpr std::array normalised{0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40};
constexpr std::array names{"1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3",
                           "4_1", "4_2", "4_3", "5_1", "5_2", "5_3"};

/// A state_dict with `width` channels in the first block, `fc` in the classifier, which reads `area` pixels.
struct state_dict {
  std::list<std::vector<float>> values;
  std::vector<stored_tensor> tensors;

  state_dict(bool batch_norm, int width, int fc, int area) {
    const auto w = static_cast<std::size_t>(width), f = static_cast<std::size_t>(fc);
    std::size_t in = 3;
    for (std::size_t i = 0; i < 13; ++i) {
      const std::size_t out = w * std::array{1U, 1U, 2U, 2U, 4U, 4U, 4U, 8U, 8U, 8U, 8U, 8U, 8U}[i];
      const int at = batch_norm ? normalised[i] : plain[i];
      const std::string conv = "features." + std::to_string(at), bn = "features." + std::to_string(at + 1);
      add(conv + ".weight", {out, in, 3, 3});
      add(conv + ".bias", {out});
      if (batch_norm) {
        for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) add(bn + part, {out});
        static constexpr std::array<std::int64_t, 1> batches{17};
        values.emplace_back();  // of() counts both
        tensors.push_back({bn + ".num_batches_tracked", dtype::i64, {}, std::as_bytes(std::span(batches))});
      }
      in = out;
    }
    add("classifier.0.weight", {f, in * static_cast<std::size_t>(area)});
    add("classifier.0.bias", {f});
    add("classifier.3.weight", {f, f});
    add("classifier.3.bias", {f});
    add("classifier.6.weight", {7, f});
    add("classifier.6.bias", {7});
  }
  void add(std::string name, std::vector<std::size_t> shape) {
    std::size_t size = 1;
    for (std::size_t extent : shape) size *= extent;
    random_stream random{tensors.size()};
    auto& v = values.emplace_back(size);
    for (float& x : v) x = static_cast<float>(random.uniform(-1, 1));
    tensors.push_back({std::move(name), dtype::f32, std::move(shape), std::as_bytes(std::span(v))});
  }
  const std::vector<float>& of(const std::string& name) const {
    auto v = values.begin();
    for (const stored_tensor& t : tensors) {
      if (t.name == name) return *v;
      ++v;
    }
    throw error("no tensor " + name);
  }
};

template <class Network>
const parameter& find(const std::string& name) {
  for (const parameter& p : Network::parameter_table().entries)
    if (parameter_name(Network::training_graph(), p) == name) return p;
  throw error("no parameter " + name);
}

/// Whether a convolution has the weights of an {out, in, height, width} tensor.
template <class Network>
void check_convolution(Network& net, const std::string& name, const std::vector<float>& weight,
                       const std::vector<float>& bias) {
  CAPTURE(name);
  const parameter& p = find<Network>(name + ".weight");
  const auto v = net.values(p);
  const int* d = p.spec.dims;
  REQUIRE(weight.size() == v.size());
  std::size_t wrong = 0;
  for (int k = 0; k < d[0]; ++k)
    for (int c = 0; c < d[3]; ++c)
      for (int y = 0; y < d[1]; ++y)
        for (int x = 0; x < d[2]; ++x)
          wrong += v[static_cast<std::size_t>(((k * d[1] + y) * d[2] + x) * d[3] + c)] !=
                   weight[static_cast<std::size_t>(((k * d[3] + c) * d[1] + y) * d[2] + x)];
  CHECK(wrong == 0);
  const auto b = net.values(find<Network>(name + ".bias"));
  CHECK(std::vector<float>(b.begin(), b.end()) == bias);
}

template <class Network>
std::vector<float> all_values(Network& net) {
  std::vector<float> all;
  for (const parameter& p : Network::parameter_table().entries)
    all.insert(all.end(), net.values(p).begin(), net.values(p).end());
  return all;
}

using segnet_t = network<segnet_vgg16<32, 32, 3, 2>>;
using fcn_t = network<fcn_32s<8, 8, 2, 2, 5>>;
using deconvnet_t = network<deconvnet<2, 2, 5, 64>>;  // fc6 reads 2 x 2 pixels

}  // namespace

TEST_CASE("SegNet takes VGG16-BN's convolutions and batch-norms", "[models]") {
  const temporary_folder folder;
  const state_dict file(true, 2, 5, 49);
  write_safetensors(folder.path() / "vgg16_bn.safetensors", file.tensors);
  segnet_t net({.threads = 1}), untouched({.threads = 1});
  net.initialise(3);
  untouched.initialise(3);
  load_vgg16(safetensors_file(folder.path() / "vgg16_bn.safetensors"), net, {.images_in_unit_range = false});
  for (std::size_t i = 0; i < 13; ++i) {
    const std::string conv = "features." + std::to_string(normalised[i]);
    const std::string bn = "features." + std::to_string(normalised[i] + 1);
    check_convolution(net, std::string("conv") + names[i], file.of(conv + ".weight"),
                      file.of(conv + ".bias"));
    for (std::string part : {".weight", ".bias", ".running_mean", ".running_var"}) {
      const auto found = net.values(find<segnet_t>(std::string("bn") + names[i] + part));
      CHECK(std::vector<float>(found.begin(), found.end()) == file.of(bn + part));
    }
  }
  for (const parameter& p : segnet_t::parameter_table().entries)
    if (const std::string name = parameter_name(segnet_t::training_graph(), p);
        name.starts_with("decoder") || name.starts_with("score"))
      CHECK(std::ranges::equal(net.values(p), untouched.values(p)));
}

TEST_CASE("SegNet takes plain VGG16's convolutions and keeps its batch-norms", "[models]") {
  const temporary_folder folder;
  const state_dict file(false, 2, 5, 49);
  write_safetensors(folder.path() / "vgg16.safetensors", file.tensors);
  segnet_t net({.threads = 1});
  net.initialise(3);
  load_vgg16(safetensors_file(folder.path() / "vgg16.safetensors"), net, {.images_in_unit_range = false});
  check_convolution(net, "conv5_3", file.of("features.28.weight"), file.of("features.28.bias"));
  for (float x : net.values(find<segnet_t>("bn5_3.weight"))) CHECK(x == 1);
}

TEST_CASE("FCN takes the classifier as convolutions", "[models]") {
  const temporary_folder folder;
  const state_dict file(false, 2, 5, 49);
  write_safetensors(folder.path() / "vgg16.safetensors", file.tensors);
  fcn_t net({.threads = 1});
  net.initialise(3);
  load_vgg16(safetensors_file(folder.path() / "vgg16.safetensors"), net, {.images_in_unit_range = false});
  for (std::size_t i = 0; i < 13; ++i) {
    const std::string conv = "features." + std::to_string(plain[i]);
    check_convolution(net, std::string("conv") + names[i], file.of(conv + ".weight"),
                      file.of(conv + ".bias"));
  }
  check_convolution(net, "fc6", file.of("classifier.0.weight"), file.of("classifier.0.bias"));
  check_convolution(net, "fc7", file.of("classifier.3.weight"), file.of("classifier.3.bias"));
}

TEST_CASE("DeconvNet takes VGG16-BN with its classifier", "[models]") {
  const temporary_folder folder;
  const state_dict file(true, 2, 5, 4);
  write_safetensors(folder.path() / "vgg16_bn.safetensors", file.tensors);
  deconvnet_t net({.threads = 1});
  net.initialise(3);
  load_vgg16(safetensors_file(folder.path() / "vgg16_bn.safetensors"), net, {.images_in_unit_range = false});
  check_convolution(net, "conv5_3", file.of("features.40.weight"), file.of("features.40.bias"));
  check_convolution(net, "fc6", file.of("classifier.0.weight"), file.of("classifier.0.bias"));
  check_convolution(net, "fc7", file.of("classifier.3.weight"), file.of("classifier.3.bias"));
}

TEST_CASE("VGG16's normalisation of images is worked into conv1_1", "[models]") {
  const temporary_folder folder;
  const state_dict file(false, 2, 5, 49);
  write_safetensors(folder.path() / "vgg16.safetensors", file.tensors);
  segnet_t net({.threads = 1});
  net.initialise(3);
  load_vgg16(safetensors_file(folder.path() / "vgg16.safetensors"), net);
  const auto weight = net.values(find<segnet_t>("conv1_1.weight"));
  const auto bias = net.values(find<segnet_t>("conv1_1.bias"));
  const std::vector<float>&w = file.of("features.0.weight"), &b = file.of("features.0.bias");
  // What both make of an image of one colour.
  const std::array colour{0.2, 0.5, 0.9}, mean{0.485, 0.456, 0.406}, deviation{0.229, 0.224, 0.225};
  for (std::size_t k = 0; k < 2; ++k) {
    double found = static_cast<double>(bias[k]), expected = static_cast<double>(b[k]);
    for (std::size_t pixel = 0; pixel < 9; ++pixel)
      for (std::size_t c = 0; c < 3; ++c) {
        found += static_cast<double>(weight[(k * 9 + pixel) * 3 + c]) * colour[c];
        expected += static_cast<double>(w[(k * 3 + c) * 9 + pixel]) * (colour[c] - mean[c]) / deviation[c];
      }
    CHECK(found == Approx(expected).margin(1e-5));
  }
}

TEST_CASE("VGG16 files that do not fit are refused and change nothing", "[models]") {
  const temporary_folder folder;
  const auto path = folder.path() / "vgg16.safetensors";
  segnet_t net({.threads = 1});
  net.initialise(3);
  const std::vector<float> before = all_values(net);
  const auto message = [&](auto& target, const state_dict& file) -> std::string {
    write_safetensors(path, file.tensors);
    try {
      load_vgg16(safetensors_file(path), target);
    } catch (const file_error& e) {
      return e.what();
    }
    return "no error";
  };

  state_dict missing(true, 2, 5, 49);
  std::erase_if(missing.tensors, [](const stored_tensor& t) { return t.name == "features.41.running_var"; });
  CHECK_THAT(message(net, missing), Contains(path.string()) && Contains("features.41.running_var: missing") &&
                                        Contains("bn5_3.running_var"));
  CHECK_THAT(message(net, state_dict(true, 3, 5, 49)),
             Contains("features.0.weight: found [3, 3, 3, 3], expected [2, 3, 3, 3]"));
  state_dict poisoned(false, 2, 5, 49);
  poisoned.values.front()[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THAT(message(net, poisoned), Contains("features.0.weight: holds values that are not finite"));
  CHECK(all_values(net) == before);

  fcn_t fcn({.threads = 1});
  fcn.initialise(3);
  CHECK_THAT(message(fcn, state_dict(true, 2, 5, 49)),
             Contains("found VGG16 with batch-norm, expected VGG16 without"));
  CHECK_THAT(message(fcn, state_dict(false, 2, 5, 48)),
             Contains("classifier.0.weight: found [5, 768], expected [5, 784]"));
}
