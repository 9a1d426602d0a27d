// SPDX-License-Identifier: MIT
#include "../environment_variable.hpp"
#include "../temporary_folder.hpp"

#include <segnet/backend/cuda/engine_cache.hpp>
#include <segnet/backend/cuda/precision.hpp>

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

using namespace segnet;
using gpu::engine_cache;
using gpu::engine_note;
using segnet_test::temporary_folder;

namespace {

const gpu::engine_cache_scope card{"Card, of 2.5 GHz", 90, 91900};
const engine_note first{{62, {{2, 4}, {13, 0}}}, 0, 0.25}, second{{7, {}}, 3, 1.5};

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}
std::string read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("the names of precisions are read again, and others listed") {
  for (const std::string_view name : precision_names) CHECK(name_of(parse_precision(name)) == name);
  CHECK(parse_precision("bf16") == precision::bf16);
  CHECK_THROWS_WITH(parse_precision("fp8"),
                    "unknown precision \"fp8\", expected one of fp32, tf32, bf16, fp16");
}

TEST_CASE("what an engine cache remembers is there in the next run") {
  const temporary_folder folder;
  const auto file = folder / "deep" / "engines.json";
  engine_cache cache(file, card);
  CHECK(cache.find("a") == nullptr);
  cache.remember("a", first);
  cache.remember("b", second);
  CHECK(cache.save());

  const engine_cache again(file, card);
  REQUIRE(again.find("a") != nullptr);
  CHECK(*again.find("a") == first);
  REQUIRE(again.find("b") != nullptr);
  CHECK(*again.find("b") == second);
  CHECK(again.size() == 2);
}

TEST_CASE("an engine cache without news writes nothing, one without a file nowhere") {
  const temporary_folder folder;
  engine_cache idle(folder / "engines.json", card);
  CHECK(idle.save());
  CHECK(std::filesystem::is_empty(folder.path()));
  engine_cache homeless;
  homeless.remember("a", first);
  CHECK(homeless.save());
  CHECK(*homeless.find("a") == first);
}

TEST_CASE("engines of another card, capability or cuDNN are not used") {
  const temporary_folder folder;
  const auto file = folder / "engines.json";
  engine_cache cache(file, card);
  cache.remember("a", first);
  REQUIRE(cache.save());
  for (int part = 0; part < 3; ++part) {
    auto other = card;
    if (part == 0) other.card = "Card";
    if (part == 1) other.capability = 100;
    if (part == 2) other.version = 91901;
    CHECK(engine_cache(file, other).size() == 0);
  }
}

TEST_CASE("a damaged engine cache counts as none, and is replaced") {
  const temporary_folder folder;
  const auto file = folder / "engines.json";
  engine_cache cache(file, card);
  cache.remember("a", first);
  REQUIRE(cache.save());
  const std::string good = read(file);
  for (std::size_t length = 0; length + 2 < good.size(); length += 3) {
    write(file, good.substr(0, length));
    CHECK(engine_cache(file, card).size() == 0);
  }
  for (const char* text : {"[]", "null", "{\"card\": 3}", "\xff\xfe", "[[[[[[["}) {
    write(file, text);
    CHECK(engine_cache(file, card).size() == 0);
  }
  std::string odd = good;
  odd.replace(odd.find("62"), 2, "{}");
  write(file, odd);
  CHECK(engine_cache(file, card).size() == 0);

  engine_cache next(file, card);
  next.remember("b", second);
  CHECK(next.save());
  CHECK(engine_cache(file, card).size() == 1);
}

TEST_CASE("an engine cache that cannot be read or written is no error") {
  const temporary_folder folder;
  write(folder / "file", "");
  engine_cache below(folder / "file" / "engines.json", card);  // a file stands where a folder should
  below.remember("a", first);
  CHECK_FALSE(below.save());
  CHECK(*below.find("a") == first);
  engine_cache at(folder.path(), card);  // a folder stands where the file should
  CHECK(at.size() == 0);
  at.remember("a", first);
  CHECK_FALSE(at.save());
}

TEST_CASE("programs that write the same engine cache keep each other's engines") {
  const temporary_folder folder;
  const auto file = folder / "engines.json";
  engine_cache one(file, card), other(file, card);
  one.remember("a", first);
  other.remember("b", second);
  CHECK(one.save());
  CHECK(other.save());
  CHECK(engine_cache(file, card).size() == 2);

  // Whatever the order, the file is whole.
  std::vector<std::jthread> writers;
  for (int w = 0; w < 4; ++w)
    writers.emplace_back([&, w] {
      for (int i = 0; i < 20; ++i) {
        engine_cache mine(file, card);
        mine.remember(std::to_string(w), first);
        mine.save();
      }
    });
  writers.clear();
  const engine_cache result(file, card);
  CHECK(result.size() >= 3);
  CHECK(*result.find("a") == first);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) CHECK(entry.path() == file);
}

TEST_CASE("the engine cache lies where the environment says") {
  const segnet_test::environment_variable own("SEGNET_CACHE_DIR", "/own"), cache("XDG_CACHE_HOME", "/cache"),
      home("HOME", "/home/me");
  CHECK(engine_cache::path_of(card) == "/own/engines-Card-of-2-5-GHz-9.19.0.json");
  const segnet_test::environment_variable no_own("SEGNET_CACHE_DIR", nullptr);
  CHECK(engine_cache::folder() == "/cache/segnet");
  const segnet_test::environment_variable no_cache("XDG_CACHE_HOME", "");
  CHECK(engine_cache::folder() == "/home/me/.cache/segnet");
  const segnet_test::environment_variable no_home("HOME", nullptr);
  CHECK(engine_cache::folder().empty());
  CHECK(engine_cache::path_of(card).empty());
}
