// SPDX-License-Identifier: MIT
#include <segnet/io/file.hpp>

#include "../temporary_folder.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <string>

using namespace segnet;
using segnet_test::temporary_folder;
namespace fs = std::filesystem;

static std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

static int entries(const fs::path& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), {}));
}

TEST_CASE("atomic_write creates and replaces a file and leaves nothing beside it", "[io]") {
  const temporary_folder folder;
  const auto path = folder / "a.bin";
  const auto promise = GENERATE(durability::synced, durability::renamed);
  atomic_write(
      path, [](file_sink& sink) { sink.write("first"), sink.write(" second"); }, promise);
  CHECK(content(path) == "first second");
  const std::byte bytes[] = {std::byte{'x'}, std::byte{0}, std::byte{'y'}};
  atomic_write(path, bytes, promise);
  CHECK(content(path) == std::string("x\0y", 3));
  atomic_write(path, std::span<const std::byte>{}, promise);
  CHECK(content(path).empty());
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("create_folder makes what is missing, and names what stands in the way", "[io]") {
  const temporary_folder folder;
  create_folder(folder / "a" / "b");
  create_folder(folder / "a" / "b");
  CHECK(fs::is_directory(folder / "a" / "b"));
  atomic_write(folder / "file", [](file_sink& sink) { sink.write("x"); });
  CHECK_THROWS_AS(create_folder(folder / "file"), file_error);
  CHECK_THROWS_WITH(create_folder(folder / "file" / "c"),
                    Catch::Contains((folder / "file" / "c").string() + ": could not be created: "));
}

TEST_CASE("atomic_write keeps the old file when the writer throws", "[io]") {
  const temporary_folder folder;
  const auto path = folder / "a.bin";
  atomic_write(path, [](file_sink& sink) { sink.write("old"); });
  const auto interrupted = [](file_sink& sink) {
    sink.write("new");
    throw argument_error("stopped");
  };
  CHECK_THROWS_AS(atomic_write(path, interrupted), argument_error);
  CHECK(content(path) == "old");
  CHECK(entries(folder.path()) == 1);
}

TEST_CASE("atomic_write names the file and the reason when it cannot write", "[io]") {
  const temporary_folder folder;
  const auto missing = folder / "no" / "such" / "a.bin";
  CHECK_THROWS_WITH(atomic_write(missing, [](file_sink&) {}),
                    Catch::StartsWith(missing.string()) && Catch::Contains("No such file or directory"));
  CHECK_THROWS_WITH(atomic_write(folder.path(), [](file_sink&) {}), Catch::Contains("is a folder"));
}

TEST_CASE("atomic_write skips the remains of another writer", "[io]") {
  const temporary_folder folder;
  const auto path = folder / "a.bin";
  atomic_write(path, [&](file_sink& outer) {
    outer.write("outer");
    atomic_write(path, [](file_sink& inner) { inner.write("inner"); });
    CHECK(content(path) == "inner");
  });
  CHECK(content(path) == "outer");
}

TEST_CASE("atomic_write replaces what a link points to", "[io]") {
  const temporary_folder folder;
  atomic_write(folder / "real", [](file_sink& sink) { sink.write("old"); });
  fs::create_symlink(folder / "real", folder / "link");
  atomic_write(folder / "link", [](file_sink& sink) { sink.write("new"); });
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(content(folder / "real") == "new");
}
