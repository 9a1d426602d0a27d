// SPDX-License-Identifier: MIT
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <segnet/core/random.hpp>
#include <segnet/data/image.hpp>

#include "../temporary_folder.hpp"

using namespace segnet;
using namespace segnet_test;
using Catch::Contains;

namespace {

image noise(int w, int h, int c) {
  image picture(w, h, c);
  random_stream random{1, static_cast<std::uint64_t>(c)};
  for (auto& value : picture.data) value = static_cast<std::uint8_t>(random());
  return picture;
}

image gradient(int w, int h) {
  image picture(w, h, 3);
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      picture.at(x, y)[0] = static_cast<std::uint8_t>(x * 255 / w);
      picture.at(x, y)[1] = static_cast<std::uint8_t>(y * 255 / h);
      picture.at(x, y)[2] = 128;
    }
  return picture;
}

// 4x2 pixels of a two-colour palette, 0 0 1 1 / 1 1 0 0: written out by hand from the GIF89a specification.
const std::vector<std::uint8_t> small_gif = {
    'G',  'I', 'F', '8',  '9',  'a',  4, 0,   2, 0, 0x80, 0, 0,  // screen: 4x2, a palette of two
    0,    0,   0,   255,  255,  255,                             // black, white
    0x2c, 0,   0,   0,    0,    4,    0, 2,   0, 0,              // frame: 4x2 at (0, 0)
    2,    4,   4,   0x82, 0x61, 0x05, 0, 0x3b};                  // LZW data, end

}  // namespace

TEST_CASE("PNG keeps every value", "[data]") {
  temporary_folder folder;
  for (int channels : {1, 3, 4}) {
    const image picture = noise(37, 21, channels);
    write_png(folder / "p.png", picture);
    CHECK(read_image(folder / "p.png", channels) == picture);
  }
  // Writing went through a temporary file that is gone again.
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("JPEG comes back nearly the same", "[data]") {
  temporary_folder folder;
  const image picture = gradient(64, 48);
  write_jpeg(folder / "p.jpg", picture, 95);
  const image back = read_image(folder / "p.jpg");
  REQUIRE(back.width == 64);
  REQUIRE(back.height == 48);
  int worst = 0;
  for (std::size_t i = 0; i < back.data.size(); ++i)
    worst = std::max(worst, std::abs(back.data[i] - picture.data[i]));
  CHECK(worst < 16);
}

TEST_CASE("Pictures convert between grey and RGB on reading", "[data]") {
  temporary_folder folder;
  write_png(folder / "p.png", image(3, 2, 1, 200));
  CHECK(read_image(folder / "p.png", 3) == image(3, 2, 3, 200));
  CHECK_THROWS_AS(read_image(folder / "p.png", 2), argument_error);
}

TEST_CASE("Files that are no pictures are refused by name", "[data]") {
  temporary_folder folder;
  const auto message = [&](const std::string& name) {
    return message_of<file_error>([&] { read_image(folder / name); });
  };
  CHECK_THAT(message("absent.jpg"), Contains("absent.jpg: no such file"));
  write_file(folder / "empty.jpg", {});
  CHECK_THAT(message("empty.jpg"), Contains("empty.jpg: is empty"));
  write_file(folder / "text.jpg", {'h', 'e', 'l', 'l', 'o'});
  CHECK_THAT(message("text.jpg"), Contains("not an image: expected JPEG, PNG or GIF"));
  write_file(folder / "magic.png", {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 'I', 'E', 'N', 'D'});
  CHECK_THAT(message("magic.png"), Contains("magic.png: "));
  std::filesystem::create_directory(folder / "folder.jpg");
  CHECK_THAT(message("folder.jpg"), Contains("is a folder"));
}

TEST_CASE("A picture cut off anywhere is refused", "[data]") {
  temporary_folder folder;
  write_png(folder / "whole.png", noise(20, 20, 3));
  write_jpeg(folder / "whole.jpg", noise(20, 20, 3), 80);
  for (const std::string kind : {"png", "jpg"}) {
    const auto bytes = content(folder / ("whole." + kind));
    for (std::size_t size = 1; size + 8 < bytes.size(); size += 1 + bytes.size() / 60) {
      INFO(kind << " cut to " << size << " of " << bytes.size());
      write_file(folder / "cut", {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)});
      const std::string message = message_of<file_error>([&] { read_image(folder / "cut"); });
      CHECK_THAT(message, Contains(size < 8 ? "not an image" : "truncated") || Contains("truncated"));
    }
  }
}

TEST_CASE("Damaged bytes give a picture or an error, nothing else", "[data]") {
  temporary_folder folder;
  write_png(folder / "0", noise(16, 16, 3));
  write_jpeg(folder / "1", noise(16, 16, 3), 80);
  write_file(folder / "2", small_gif);
  random_stream random{7};
  for (int trial = 0; trial < 600; ++trial) {
    auto bytes = content(folder / std::to_string(trial % 3));
    for (int hit = 0; hit < 3; ++hit)
      bytes[static_cast<std::size_t>(random.below(static_cast<int>(bytes.size())))] =
          static_cast<std::uint8_t>(random());
    write_file(folder / "damaged", bytes);
    try {
      const image picture = read_image(folder / "damaged");
      CHECK(picture.data.size() == picture.size());
    } catch (const file_error& refused) {
      CHECK(refused.path == folder / "damaged");
    }
  }
}

TEST_CASE("A JPEG whose Huffman table claims too many codes is refused", "[data]") {
  temporary_folder folder;
  write_jpeg(folder / "p.jpg", noise(16, 16, 3), 80);
  auto bytes = content(folder / "p.jpg");
  // A segment that is as long as it claims, with 16 x 17 = 272 codes where 256 is the most.
  std::vector<std::uint8_t> segment{0xff, 0xc4, 1, 35, 0};
  segment.insert(segment.end(), 16, 17);
  segment.insert(segment.end(), 272, 0);
  bytes.insert(bytes.begin() + 2, segment.begin(), segment.end());
  write_file(folder / "p.jpg", bytes);
  CHECK_THAT(message_of<file_error>([&] { read_image(folder / "p.jpg"); }),
             Contains("p.jpg: damaged picture: its JPEG tables"));
}

TEST_CASE("Padding between the segments of a JPEG is skipped", "[data]") {
  temporary_folder folder;
  write_jpeg(folder / "p.jpg", noise(16, 16, 3), 80);
  auto bytes = content(folder / "p.jpg");
  const image expected = read_image(folder / "p.jpg");
  const std::vector<std::uint8_t> marker{0xff, 0xdb};
  bytes.insert(std::search(bytes.begin(), bytes.end(), marker.begin(), marker.end()), {0, 0, 0xff, 0xff});
  write_file(folder / "p.jpg", bytes);
  CHECK(read_image(folder / "p.jpg") == expected);
}

TEST_CASE("A folder that does not exist is named on writing", "[data]") {
  temporary_folder folder;
  CHECK_THAT(message_of<file_error>([&] { write_png(folder / "no/where.png", image(2, 2, 1)); }),
             Contains("where.png: could not be created"));
  CHECK_THROWS_AS(write_png(folder / "a.png", image()), file_error);
}

TEST_CASE("The first frame of a GIF is read", "[data]") {
  temporary_folder folder;
  write_file(folder / "p.gif", small_gif);
  const image picture = read_image(folder / "p.gif", 1);
  REQUIRE(picture.width == 4);
  REQUIRE(picture.height == 2);
  CHECK(picture.data == std::vector<std::uint8_t>{0, 0, 255, 255, 255, 255, 0, 0});
  write_file(folder / "cut.gif", {small_gif.begin(), small_gif.end() - 4});
  CHECK_THAT(message_of<file_error>([&] { read_image(folder / "cut.gif"); }), Contains("truncated"));
}
