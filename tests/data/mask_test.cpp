// SPDX-License-Identifier: MIT
#include <catch2/catch.hpp>
#include <segnet/core/random.hpp>
#include <segnet/data/mask.hpp>

#include "../temporary_folder.hpp"

using namespace segnet;
using namespace segnet_test;
using Catch::Contains;

namespace {

/// A disc of `car` on `background`.
image disc(int channels, std::uint8_t background, std::uint8_t car) {
  image picture(96, 64, channels, background);
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 96; ++x)
      if ((x - 48) * (x - 48) + (y - 32) * (y - 32) < 24 * 24)
        for (int c = 0; c < std::min(channels, 3); ++c) picture.at(x, y)[c] = car;
  return picture;
}

std::string refusal(const std::filesystem::path& file) {
  return message_of<file_error>([&] { read_mask(file); });
}

}  // namespace

TEST_CASE("Two-valued masks are read in any encoding", "[data]") {
  temporary_folder folder;
  const image expected = disc(1, 0, 255);
  write_png(folder / "a.png", disc(1, 0, 255));
  write_png(folder / "b.png", disc(1, 0, 1));
  write_png(folder / "c.png", disc(3, 0, 255));
  image opaque = disc(4, 0, 255);
  for (std::size_t i = 3; i < opaque.data.size(); i += 4) opaque.data[i] = 255;
  write_png(folder / "d.png", opaque);
  for (const std::string name : {"a.png", "b.png", "c.png", "d.png"}) {
    INFO(name);
    CHECK(read_mask(folder / name) == expected);
  }
}

TEST_CASE("Masks may be all background or all car", "[data]") {
  temporary_folder folder;
  for (const int value : {0, 1, 255}) {
    write_png(folder / "m.png", image(8, 8, 1, static_cast<std::uint8_t>(value)));
    CHECK(read_mask(folder / "m.png") == image(8, 8, 1, value ? 255 : 0));
  }
  write_jpeg(folder / "none.jpg", image(64, 64, 3, 0));
  CHECK(read_mask(folder / "none.jpg") == image(64, 64, 1, 0));
  write_jpeg(folder / "all.jpg", image(64, 64, 3, 255));
  CHECK(read_mask(folder / "all.jpg") == image(64, 64, 1, 255));
}

TEST_CASE("JPEG's noise does not change a mask", "[data]") {
  temporary_folder folder;
  const image expected = disc(1, 0, 255);
  for (const int quality : {75, 90, 100}) {
    INFO("quality " << quality);
    write_jpeg(folder / "m.jpg", disc(3, 0, 255), quality);
    CHECK(read_mask(folder / "m.jpg") == expected);
  }
}

TEST_CASE("Pictures that are no masks are refused with their histogram", "[data]") {
  temporary_folder folder;
  write_png(folder / "ids.png", disc(1, 3, 7));
  CHECK_THAT(refusal(folder / "ids.png"), Contains("ids.png: not a two-valued mask") && Contains("3 x ") &&
                                              Contains("7 x ") && Contains("expected two values"));

  image classes(64, 64, 1);
  for (std::size_t i = 0; i < classes.data.size(); ++i) classes.data[i] = static_cast<std::uint8_t>(i % 21);
  write_png(folder / "voc.png", classes);
  CHECK_THAT(refusal(folder / "voc.png"), Contains("and 13 other values"));

  // Classes 0 and 1 with a few void pixels, 255: near the extremes, yet no mask.
  image with_void = disc(1, 0, 1);
  with_void.data[5] = 255;
  write_png(folder / "void.png", with_void);
  CHECK_THAT(refusal(folder / "void.png"), Contains("255 x 1"));

  image soft = disc(1, 0, 255);
  soft.data[0] = 128;
  write_png(folder / "soft.png", soft);
  CHECK_THAT(refusal(folder / "soft.png"), Contains("128 x 1"));

  image tinted = disc(3, 0, 255);
  tinted.data[0] = 1;
  write_png(folder / "tinted.png", tinted);
  CHECK_THAT(refusal(folder / "tinted.png"), Contains("colour picture") && Contains("rgb(1, 0, 0)"));

  image cut_out(8, 8, 4, 255);
  for (std::size_t i = 3; i < 99; i += 4) cut_out.data[i] = 0;
  write_png(folder / "alpha.png", cut_out);
  CHECK_THAT(refusal(folder / "alpha.png"), Contains("alpha channel"));
}

TEST_CASE("JPEGs with grey levels are refused", "[data]") {
  temporary_folder folder;
  image ramp(64, 64, 3);
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64; ++x)
      for (int c = 0; c < 3; ++c) ramp.at(x, y)[c] = static_cast<std::uint8_t>(4 * x);
  write_jpeg(folder / "ramp.jpg", ramp);
  CHECK_THAT(refusal(folder / "ramp.jpg"), Contains("not a two-valued mask"));
  write_jpeg(folder / "dark.jpg", disc(3, 0, 40));
  CHECK_THAT(refusal(folder / "dark.jpg"), Contains("not a two-valued mask"));
  image red(64, 64, 3);
  for (std::size_t i = 0; i < red.data.size(); i += 3) red.data[i] = 255;
  write_jpeg(folder / "red.jpg", red);
  CHECK_THAT(refusal(folder / "red.jpg"), Contains("colour picture"));
}
