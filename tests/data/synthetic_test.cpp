// SPDX-License-Identifier: MIT
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <segnet/data/resize.hpp>
#include <segnet/data/synthetic.hpp>
#include <vector>

#include "../temporary_folder.hpp"

using namespace segnet;
using namespace segnet_test;

namespace {

double share(const image& mask) {
  return static_cast<double>(std::count(mask.data.begin(), mask.data.end(), std::uint8_t{255})) /
         static_cast<double>(mask.data.size());
}

struct box {
  int left = 1 << 20, right = -1, top = 1 << 20, bottom = -1;
};

box bounds(const image& mask) {
  box b;
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x)
      if (*mask.at(x, y)) {
        b.left = std::min(b.left, x), b.right = std::max(b.right, x);
        b.top = std::min(b.top, y), b.bottom = std::max(b.bottom, y);
      }
  return b;
}

/// The number of car pixels in the largest connected region.
std::size_t largest_region(const image& mask) {
  std::vector<char> seen(mask.data.size());
  std::size_t best = 0;
  std::vector<std::size_t> stack;
  const auto w = static_cast<std::size_t>(mask.width);
  for (std::size_t start = 0; start < mask.data.size(); ++start) {
    if (!mask.data[start] || seen[start]) continue;
    std::size_t count = 0;
    stack.push_back(start);
    seen[start] = 1;
    while (!stack.empty()) {
      const std::size_t i = stack.back();
      stack.pop_back();
      ++count;
      const auto visit = [&](std::size_t j) {
        if (mask.data[j] && !seen[j]) seen[j] = 1, stack.push_back(j);
      };
      if (i % w) visit(i - 1);
      if (i % w + 1 < w) visit(i + 1);
      if (i >= w) visit(i - w);
      if (i + w < mask.data.size()) visit(i + w);
    }
    best = std::max(best, count);
  }
  return best;
}

}  // namespace

TEST_CASE("Generated photographs are a function of seed, car and view", "[data]") {
  const auto a = render_synthetic_car(1, 2, 3, 96, 64);
  const auto b = render_synthetic_car(1, 2, 3, 96, 64);
  CHECK(a.photo == b.photo);
  CHECK(a.mask == b.mask);
  CHECK(a.photo != render_synthetic_car(2, 2, 3, 96, 64).photo);
  CHECK(a.photo != render_synthetic_car(1, 3, 3, 96, 64).photo);
  CHECK(a.photo != render_synthetic_car(1, 2, 4, 96, 64).photo);
}

TEST_CASE("All 16 views show one whole car", "[data]") {
  for (int car = 0; car < 4; ++car) {
    std::vector<int> widths;
    for (int view = 1; view <= 16; ++view) {
      INFO("car " << car << ", view " << view);
      const auto [photo, mask] = render_synthetic_car(11, car, view, 240, 160);
      REQUIRE(photo.channels == 3);
      REQUIRE(mask.channels == 1);
      REQUIRE(photo.width == 240);
      REQUIRE(mask.height == 160);
      CHECK(std::all_of(mask.data.begin(), mask.data.end(), [](int v) { return v == 0 || v == 255; }));
      CHECK(share(mask) > 0.06);
      CHECK(share(mask) < 0.45);
      const box b = bounds(mask);
      CHECK(b.left > 0);
      CHECK(b.right < 239);
      CHECK(b.top > 0);
      CHECK(b.bottom < 159);
      const auto all = static_cast<double>(std::count(mask.data.begin(), mask.data.end(), std::uint8_t{255}));
      CHECK(static_cast<double>(largest_region(mask)) > 0.97 * all);
      widths.push_back(b.right - b.left);
    }
    // Sides (views 5 and 13) are long, front (1) and rear (9) are narrow.
    CHECK(widths[4] > 1.6 * widths[0]);
    CHECK(widths[12] > 1.6 * widths[8]);
  }
}

TEST_CASE("Generated cars have no holes between their triangles", "[data]") {
  // Holes of the mask that one pixel would fill: background with car on all four sides.
  int holes = 0;
  for (int view = 1; view <= 16; ++view) {
    const image mask = render_synthetic_car(3, 1, view, 480, 320, {.thin_parts = 0.0}).mask;
    for (int y = 1; y < 319; ++y)
      for (int x = 1; x < 479; ++x)
        holes += !*mask.at(x, y) && *mask.at(x - 1, y) && *mask.at(x + 1, y) && *mask.at(x, y - 1) &&
                 *mask.at(x, y + 1);
  }
  CHECK(holes <= 2);  // the gaps under mirrors may close to one pixel
}

TEST_CASE("The mask is where the picture differs from the empty studio", "[data]") {
  // The same scene with the car in a strong colour: coloured pixels and mask must agree but for glass, tyres,
  // ...
  int inside = 0, coloured_inside = 0, coloured_outside = 0;
  for (int car = 0; car < 12; ++car) {
    const auto [photo, mask] =
        render_synthetic_car(5, car, 4, 240, 160, {.neutral_paint = 0.0, .noise = 0.0, .blur = 0.0});
    const int reach = 3;
    for (int y = reach; y < 160 - reach; ++y)
      for (int x = reach; x < 240 - reach; ++x) {
        const auto [low, high] = std::minmax({photo.at(x, y)[0], photo.at(x, y)[1], photo.at(x, y)[2]});
        const bool coloured = high - low > 60;
        inside += *mask.at(x, y) != 0;
        coloured_inside += coloured && *mask.at(x, y);
        coloured_outside += coloured && !*mask.at(x, y);
      }
  }
  CHECK(coloured_inside > inside / 5);
  CHECK(coloured_outside * 100 < coloured_inside);
}

TEST_CASE("Thin parts belong to the mask, shadows do not", "[data]") {
  int taller = 0;
  for (int car = 0; car < 10; ++car) {
    const image with = render_synthetic_car(8, car, 5, 480, 320, {.thin_parts = 1.0}).mask;
    const image without = render_synthetic_car(8, car, 5, 480, 320, {.thin_parts = 0.0}).mask;
    taller += bounds(with).top < bounds(without).top;
    // The tyres' contact with the floor bounds the mask below, whatever stands on the roof.
    CHECK(bounds(with).bottom == bounds(without).bottom);
    CHECK(share(with) < 1.15 * share(without));
  }
  CHECK(taller >= 9);
}

TEST_CASE("A small mask is the large one, shrunk", "[data]") {
  const image large = render_synthetic_car(4, 0, 3, 960, 640, {.thin_parts = 0.0}).mask;
  const image small = render_synthetic_car(4, 0, 3, 240, 160, {.thin_parts = 0.0}).mask;
  const image shrunk = resize(large, 160, 240);
  int different = 0;
  for (std::size_t i = 0; i < small.data.size(); ++i)
    different += (shrunk.data[i] >= 128) != (small.data[i] >= 128);
  CHECK(different < 60);  // of 38,400: only where the coverage is close to a half
}

TEST_CASE("Arguments of the generator are checked", "[data]") {
  CHECK_THROWS_AS(render_synthetic_car(1, -1, 1, 96, 64), argument_error);
  CHECK_THROWS_AS(render_synthetic_car(1, 0, 0, 96, 64), argument_error);
  CHECK_THROWS_AS(render_synthetic_car(1, 0, 17, 96, 64), argument_error);
  CHECK_THROWS_AS(render_synthetic_car(1, 0, 1, 8, 64), argument_error);
}

TEST_CASE("A generated folder reads like Kaggle's", "[data]") {
  temporary_folder folder;
  write_synthetic_dataset(folder / "set", 6, 2, 96, 64);
  const carvana_dataset found = find_carvana(folder / "set");
  CHECK(found.samples.size() == 32);
  CHECK(found.notes.empty());
  CHECK(split_by_car(found.samples, 0.5, 1).train.size() == 16);
  const picture_source direct = synthetic_source(6, 0, 2, 96, 64);
  REQUIRE(direct.size == 32);
  for (const int i : {0, 19, 31}) {
    const labelled_photo read = read_sample(found.samples[static_cast<std::size_t>(i)]);
    CHECK(read.mask == direct.read(i).mask);
  }
  CHECK(direct.name(19) == "generated car 1, view 4");
}
