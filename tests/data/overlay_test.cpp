// SPDX-License-Identifier: MIT
#include <catch2/catch.hpp>
#include <segnet/core/random.hpp>
#include <segnet/data/overlay.hpp>
#include <segnet/data/run_length.hpp>

using namespace segnet;

namespace {

image square() {
  image mask(10, 8, 1);
  for (int y = 2; y < 7; ++y)
    for (int x = 3; x < 8; ++x) *mask.at(x, y) = 255;
  return mask;
}

}  // namespace

TEST_CASE("An overlay tints the inside and draws the boundary", "[data]") {
  const image photo(10, 8, 3, 100);
  const image painted = overlay(photo, square(), {.colour = {200, 0, 100}, .tint = 0.5});
  CHECK(painted.at(0, 0)[0] == 100);  // outside
  CHECK(painted.at(3, 4)[0] == 200);  // boundary
  CHECK(painted.at(5, 4)[0] == 150);  // inside
  CHECK(painted.at(5, 4)[1] == 50);
  CHECK_THROWS_AS(overlay(photo, image(9, 8, 1)), argument_error);
  CHECK_THROWS_AS(overlay(photo, photo), argument_error);
}

TEST_CASE("Runs are numbered from 1, row by row", "[data]") {
  image mask(4, 3, 1);
  mask.data = {0,   255, 255, 255,  //
               255, 0,   0,   0,    //
               0,   0,   0,   255};
  CHECK(encode_runs(mask) == "2 4 12 1");  // a run goes on into the next row
  CHECK(decode_runs("2 4 12 1", 4, 3) == mask);
  CHECK(encode_runs(image(4, 3, 1)).empty());
  CHECK(decode_runs("", 4, 3) == image(4, 3, 1));
  CHECK(encode_runs(image(4, 3, 1, 255)) == "1 12");
}

TEST_CASE("Runs of random masks come back", "[data]") {
  random_stream random{3};
  for (int trial = 0; trial < 50; ++trial) {
    image mask(1 + random.below(20), 1 + random.below(20), 1);
    for (auto& v : mask.data) v = random.chance(0.4) ? 255 : 0;
    CHECK(decode_runs(encode_runs(mask), mask.width, mask.height) == mask);
  }
}

TEST_CASE("Runs that do not fit are refused", "[data]") {
  for (const char* text :
       {"0 1", "1", "1 0", "12 2", "13 1", "3 2 4 1", "5 1 2 1", "a 1", "1 -1", "1 99999999999999999999"}) {
    INFO(text);
    CHECK_THROWS_AS(decode_runs(text, 4, 3), error);
  }
}
