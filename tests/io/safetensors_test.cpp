// SPDX-License-Identifier: MIT
#include <segnet/io/safetensors.hpp>

#include "../temporary_folder.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

using namespace segnet;
using segnet_test::temporary_folder;
namespace fs = std::filesystem;

namespace {

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void store(const fs::path& path, const std::string& bytes) {
  atomic_write(
      path, [&](file_sink& sink) { sink.write(bytes); }, durability::renamed);
}

/// A file from its parts: the header as it stands, then `size` bytes of data.
std::string file_of(const std::string& header, std::size_t size) {
  std::string length(8, '\0');
  const std::uint64_t n = header.size();
  std::memcpy(length.data(), &n, sizeof n);
  return length + header + std::string(size, '\1');
}

std::string refusal(const fs::path& path) {
  try {
    safetensors_file file(path);
    return "accepted";
  } catch (const file_error& problem) {
    return problem.what();
  }
}

const std::array<float, 6> weights{1, 2, 3, -4, 5, 1e-38F};
const std::array<std::int64_t, 2> counts{-1, std::int64_t{1} << 40};
const std::array<std::uint8_t, 3> codes{0, 7, 255};
const std::array<std::uint16_t, 2> halves{0x3c00, 0xc000};
const std::array<std::uint16_t, 2> brains{0x3f80, 0xc000};
const std::array<double, 1> pi{3.141592653589793};

/// Narrow types first, which the writer has to move behind the wide ones.
std::vector<stored_tensor> examples() {
  return {{"codes", dtype::u8, {3}, std::as_bytes(std::span(codes))},
          {"half", dtype::f16, {2}, std::as_bytes(std::span(halves))},
          {"brain", dtype::bf16, {1, 2}, std::as_bytes(std::span(brains))},
          {"conv/weight", dtype::f32, {2, 3}, std::as_bytes(std::span(weights))},
          {"none", dtype::f32, {0, 4}, {}},
          {"counts", dtype::i64, {2}, std::as_bytes(std::span(counts))},
          {"scalar", dtype::f64, {}, std::as_bytes(std::span(pi))}};
}

}  // namespace

TEST_CASE("safetensors: what is written is read", "[io]") {
  const temporary_folder folder;
  const auto path = folder / "a.safetensors";
  const std::map<std::string, std::string> metadata{{"network", "7-2-7-1"}, {"text", "\"quoted\"\n\xc3\xa9"}};
  write_safetensors(path, examples(), metadata);

  const safetensors_file file(path);
  CHECK(file.metadata() == metadata);
  CHECK(file.tensors().size() == 7);
  CHECK(file.at("conv/weight").shape == std::vector<std::size_t>{2, 3});
  CHECK(file.at("none").elements() == 0);
  CHECK(file.at("scalar").shape.empty());
  CHECK(file.find("absent") == nullptr);
  CHECK(std::ranges::equal(file.f32("conv/weight"), weights));
  CHECK(std::ranges::equal(file.i64("counts"), counts));
  CHECK(std::ranges::equal(file.u8("codes"), codes));

  std::vector<float> two(2), one(1), six(6);
  file.read("half", two);
  CHECK(two == std::vector<float>{1, -2});
  file.read("brain", two);
  CHECK(two == std::vector<float>{1, -2});
  file.read("scalar", one);
  CHECK(one[0] == 3.14159265F);
  file.read("conv/weight", six);
  CHECK(std::ranges::equal(six, weights));

  std::uint64_t header = 0;
  std::memcpy(&header, content(path).data(), sizeof header);
  CHECK((8 + header) % 64 == 0);
}

TEST_CASE("safetensors: tensors of whole cache lines start on one", "[io]") {
  const temporary_folder folder;
  const std::array<float, 48> values{1};
  const auto first = [&](std::size_t count) { return std::as_bytes(std::span(values).first(count)); };
  for (const char* longer : {"a", "another name of a longer header"}) {
    write_safetensors(folder / "a", {{longer, dtype::f32, {3}, first(3)},
                                     {"one line", dtype::f32, {16}, first(16)},
                                     {"no line", dtype::f32, {17}, first(17)},
                                     {"three", dtype::f32, {3, 16}, first(48)}});
    const safetensors_file file(folder / "a");
    for (const char* name : {"one line", "three"})  // the file itself is mapped to a page
      CHECK(reinterpret_cast<std::uintptr_t>(file.f32(name).data()) % 64 == 0);
    CHECK(file.tensors()[0].name == "one line");
    CHECK(file.tensors()[3].name == "no line");
  }
}

TEST_CASE("safetensors: copies of a file share its bytes, which outlive it", "[io]") {
  const temporary_folder folder;
  write_safetensors(folder / "a", examples());
  std::optional<safetensors_file> first(folder / "a");
  const safetensors_file copy(*first);
  const std::shared_ptr<const void> owner = first->owner();
  const float* weight = first->f32("conv/weight").data();
  CHECK(copy.f32("conv/weight").data() == weight);
  first.reset();
  CHECK(copy.f32("conv/weight")[3] == -4);
  CHECK(weight[3] == -4);
}

TEST_CASE("safetensors: equal tensors make equal files, and no tensor is a file too", "[io]") {
  const temporary_folder folder;
  write_safetensors(folder / "a", examples(), {{"k", "v"}});
  write_safetensors(folder / "b", examples(), {{"k", "v"}});
  CHECK(content(folder / "a") == content(folder / "b"));
  write_safetensors(folder / "c", {});
  CHECK(safetensors_file(folder / "c").tensors().empty());
}

TEST_CASE("safetensors: a file moves with its tensors", "[io]") {
  const temporary_folder folder;
  write_safetensors(folder / "a", examples());
  safetensors_file first(folder / "a");
  const safetensors_file second(std::move(first));
  CHECK(std::ranges::equal(second.f32("conv/weight"), weights));
}

TEST_CASE("safetensors: a wrong question names the tensor", "[io]") {
  const temporary_folder folder;
  const auto path = folder / "a.safetensors";
  write_safetensors(path, examples());
  const safetensors_file file(path);
  std::vector<float> five(5), three(3);
  CHECK_THROWS_WITH(file.at("bias"),
                    Catch::StartsWith(path.string()) && Catch::EndsWith("\"bias\" is not in the file"));
  CHECK_THROWS_WITH(file.f32("codes"), Catch::EndsWith("\"codes\" is of type U8, expected F32"));
  CHECK_THROWS_WITH(file.read("conv/weight", five), Catch::EndsWith("has 6 elements, expected 5"));
  CHECK_THROWS_WITH(file.read("codes", three), Catch::Contains("is of type U8, expected F32, F16"));
}

TEST_CASE("safetensors: misaligned tensors can be copied but not viewed", "[io]") {
  const temporary_folder folder;
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  for (std::size_t padding = 0; padding < 4; ++padding) {
    store(folder / "a", file_of(header + std::string(padding, ' '), 4));
    const safetensors_file file(folder / "a");
    std::vector<float> one(1);
    file.read("a", one);
    CHECK(std::bit_cast<std::uint32_t>(one[0]) == 0x01010101);
    if ((header.size() + padding) % 4 != 0)
      CHECK_THROWS_WITH(file.f32("a"), Catch::Contains("is not aligned"));
  }
}

TEST_CASE("safetensors: the writer refuses what readers would", "[io]") {
  const temporary_folder folder;
  const auto bytes = std::as_bytes(std::span(weights));
  const auto write = [&](std::vector<stored_tensor> tensors,
                         std::map<std::string, std::string> metadata = {}) {
    write_safetensors(folder / "a", std::move(tensors), metadata);
  };
  CHECK_THROWS_WITH(write({{"a", dtype::f32, {6}, bytes}, {"a", dtype::f32, {6}, bytes}}),
                    Catch::Contains("\"a\" is given twice"));
  CHECK_THROWS_WITH(write({{"__metadata__", dtype::f32, {6}, bytes}}), Catch::Contains("reserved"));
  CHECK_THROWS_WITH(write({{"a", dtype::f32, {7}, bytes}}), Catch::Contains("24 bytes"));
  CHECK_THROWS_WITH(write({{"a\xff", dtype::f32, {6}, bytes}}), Catch::Contains("not UTF-8"));
  CHECK_THROWS_WITH(write({}, {{"k", "\xc3"}}), Catch::Contains("not UTF-8"));
  CHECK_FALSE(fs::exists(folder / "a"));
}

TEST_CASE("safetensors: damaged and hostile files are refused", "[io]") {
  struct hostile {
    std::string bytes, message;
  };
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const auto one = [](const std::string& type, const std::string& shape, const std::string& offsets) {
    return file_of(
        R"({"a":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", 8);
  };
  const auto two = [](const std::string& first, const std::string& second, std::size_t size) {
    return file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
                       R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}",
                   size);
  };
  const hostile cases[] = {
      {"", "0 bytes, expected at least 8"},
      {"1234567", "7 bytes, expected at least 8"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "should have 18446744073709551615 bytes, 2 follow"},
      {file_of(good, 8).substr(0, 30), "cut short"},
      {file_of(good, 7), "expected a range within [0, 7]"},
      {file_of(good, 9), "the tensors end at byte 8, the file at 9"},
      {file_of("", 0), "does not start with '{'"},
      {file_of(" {}", 0), "does not start with '{'"},
      {"GIF89a\x01\0\0\0 and the rest of an image", "not a safetensors file"},
      {file_of("{\"a\":", 0), "not valid JSON"},
      {file_of("{}x", 0), "not valid JSON"},
      {file_of("{\"\xff\":1}", 0), "not valid JSON"},
      {file_of("{\"a\":" + std::string(100000, '['), 0), "not valid JSON"},
      {file_of(R"({"a":1})", 0), "\"a\" is not described by"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "is not described by"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8), "is not described by"},
      {file_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}})", 0), "\"a\" stands twice"},
      {file_of(R"({"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}})", 0),
       "\"dtype\" stands twice"},
      {file_of(R"({"__metadata__":{"k":"1","k":"2"}})", 0), "\"k\" stands twice"},
      {file_of(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"},
      {file_of(R"({"__metadata__":{"k":1}})", 0), "__metadata__: \"k\" is not a string"},
      {file_of("{\"\\u001b[2J\":1}", 0), "tensor \"\\u001b[2J\" is"},
      {one("\"F8_E4M3\"", "[8]", "[0,8]"), "unknown dtype \"F8_E4M3\""},
      {one("7", "[8]", "[0,8]"), "unknown dtype 7"},
      {one("\"F32\"", "2", "[0,8]"), "shape that is not a list"},
      {one("\"F32\"", "[-2]", "[0,8]"), "shape that is not a list of whole numbers"},
      {one("\"F32\"", "[2.0]", "[0,8]"), "shape that is not a list of whole numbers"},
      {one("\"F32\"", "[18446744073709551616]", "[0,8]"), "shape that is not a list of whole numbers"},
      {one("\"F32\"", "[3]", "[0,8]"), "has 8 bytes, but F32 [3] needs 12"},
      {one("\"F64\"", "[2]", "[0,8]"), "has 8 bytes, but F64 [2] needs 16"},
      {one("\"F32\"", "[4611686018427387906]", "[0,8]"), "needs more than fit in memory"},
      {one("\"U8\"", "[4294967296,4294967296,8]", "[0,8]"), "needs more than fit in memory"},
      {one("\"F32\"", "[2]", "[0]"), "expected a range within [0, 8]"},
      {one("\"F32\"", "[2]", "[8,0]"), "expected a range within [0, 8]"},
      {one("\"F32\"", "[2]", "[-8,0]"), "data_offsets that is not a list of whole numbers"},
      {one("\"F32\"", "[2]", "[8,16]"), "expected a range within [0, 8]"},
      {one("\"F32\"", "[2]", "[18446744073709551608,18446744073709551615]"),
       "expected a range within [0, 8]"},
      {two("[0,4]", "[0,4]", 4), "tensors overlap"},
      {two("[0,4]", "[2,6]", 6), "\"b\" starts at byte 2, expected 4: tensors overlap"},
      {two("[0,4]", "[6,10]", 10), "\"b\" starts at byte 6, expected 4: there is a hole"},
      {two("[4,8]", "[8,12]", 12), "\"a\" starts at byte 4, expected 0: there is a hole"},
  };
  const temporary_folder folder;
  const auto path = folder / "bad.safetensors";
  for (const hostile& bad : cases) {
    store(path, bad.bytes);
    CAPTURE(bad.bytes.substr(0, 200));
    CHECK_THAT(refusal(path), Catch::StartsWith(path.string() + ": ") && Catch::Contains(bad.message));
  }
  store(path, file_of(good, 8));
  CHECK(refusal(path) == "accepted");
  store(path, two("[4,8]", "[0,4]", 8));
  CHECK(refusal(path) == "accepted");
  CHECK_THAT(refusal(folder / "absent"), Catch::EndsWith("no such file"));
  CHECK_THAT(refusal(folder.path()), Catch::EndsWith("is not a regular file"));
}

TEST_CASE("safetensors: every truncation of a file is refused", "[io]") {
  const temporary_folder folder;
  const auto path = folder / "a.safetensors";
  write_safetensors(path, examples(), {{"k", "v"}});
  const std::string whole = content(path);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    store(path, whole.substr(0, size));
    REQUIRE(refusal(path) != "accepted");
  }
}

TEST_CASE("safetensors: Python's package reads our files and we read its", "[io]") {
  const char* chosen = std::getenv("SEGNET_PYTHON");
  const std::string python = chosen != nullptr ? chosen : "python3";
  if (std::system((python + " -c 'import numpy, safetensors' > /dev/null 2>&1").c_str()) != 0) {
    WARN("skipped: " + python + " has no package safetensors (set SEGNET_PYTHON to one that has)");
    return;
  }
  const temporary_folder folder;
  write_safetensors(folder / "ours", examples(), {{"network", "7-2-7-1"}});
  const std::string script = fs::path(__FILE__).parent_path() / "safetensors_check.py";
  REQUIRE(std::system(("'" + python + "' '" + script + "' '" + folder.path().string() + "'").c_str()) == 0);

  const safetensors_file theirs(folder / "theirs");
  CHECK(theirs.metadata().at("from") == "python");
  CHECK(std::ranges::equal(theirs.f32("conv/weight"), weights));
  CHECK(std::ranges::equal(theirs.i64("counts"), counts));
  CHECK(std::ranges::equal(theirs.u8("codes"), codes));
  std::vector<float> two(2);
  theirs.read("half", two);
  CHECK(two == std::vector<float>{1, -2});
  CHECK(theirs.at("none").shape == std::vector<std::size_t>{0, 4});
}
