// SPDX-License-Identifier: MIT
#include <catch2/catch.hpp>
#include <segnet/data/label_picture.hpp>
#include <set>

using namespace segnet;
using Catch::Contains;

TEST_CASE("Labels become the palette's colours, unknown ones black", "[data]") {
  image labels(4, 1, 1);
  labels.data = {0, 10, 3, ignored_label};
  const image picture = label_picture(labels);
  REQUIRE(picture.channels == 3);
  CHECK(picture.data ==
        std::vector<std::uint8_t>{128, 128, 128, /**/ 0, 128, 192, /**/ 128, 64, 128, /**/ 0, 0, 0});
  const std::vector<rgb_colour> own{{1, 2, 3}, {4, 5, 6}};
  CHECK_THROWS_WITH(label_picture(labels, own), Contains("class 10 has no colour; the palette has 2"));
  labels.data = {1, 0, 1, 1};
  CHECK(label_picture(labels, own).data == std::vector<std::uint8_t>{4, 5, 6, 1, 2, 3, 4, 5, 6, 4, 5, 6});
  CHECK_THROWS_AS(label_picture(image(2, 2, 3)), argument_error);
}

TEST_CASE("An overlay of labels mixes the colours and leaves unknown pixels", "[data]") {
  const image photo(3, 1, 3, 100);
  image labels(3, 1, 1);
  labels.data = {0, 1, ignored_label};
  const std::vector<rgb_colour> own{{200, 100, 0}, {0, 0, 0}};
  CHECK(label_overlay(photo, labels, own, 0.25).data ==
        std::vector<std::uint8_t>{125, 100, 75, 75, 75, 75, 100, 100, 100});
  CHECK(label_overlay(photo, labels, own, 0.0) == photo);
  CHECK_THROWS_WITH(label_overlay(image(2, 1, 3), labels, own), Contains("3x1") && Contains("2x1x3"));
}

TEST_CASE("A palette of any length has distinct colours", "[data]") {
  const auto palette = distinct_palette(254);
  CHECK(std::set<rgb_colour>(palette.begin(), palette.end()).size() == 254);
  CHECK(palette[0] == rgb_colour{128, 0, 0});
  CHECK(palette[14] == rgb_colour{192, 128, 128});  // Pascal VOC's person, its class 15
  for (const rgb_colour& colour : palette) CHECK(colour != rgb_colour{0, 0, 0});
  CHECK(std::set<rgb_colour>(camvid_palette.begin(), camvid_palette.end()).size() == 11);
}
