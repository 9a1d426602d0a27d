// SPDX-License-Identifier: MIT
#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <segnet/core/random.hpp>
#include <segnet/data/resize.hpp>

using namespace segnet;

namespace {

std::vector<float> random_values(std::size_t count, std::uint64_t seed) {
  random_stream random{seed};
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(random.uniform());
  return values;
}

/// The average over the exact rectangle that one output pixel covers, straight from the definition.
double area_average(const std::vector<float>& in, shape from, int h, int w, int y, int x, int c) {
  const double y0 = static_cast<double>(y) * from.h / h, y1 = static_cast<double>(y + 1) * from.h / h;
  const double x0 = static_cast<double>(x) * from.w / w, x1 = static_cast<double>(x + 1) * from.w / w;
  double sum = 0, area = 0;
  for (int v = 0; v < from.h; ++v)
    for (int u = 0; u < from.w; ++u) {
      const double a = std::max(0.0, std::min(y1, v + 1.0) - std::max(y0, 1.0 * v)) *
                       std::max(0.0, std::min(x1, u + 1.0) - std::max(x0, 1.0 * u));
      sum += a * static_cast<double>(in[static_cast<std::size_t>((v * from.w + u) * from.c + c)]);
      area += a;
    }
  return sum / area;
}

}  // namespace

TEST_CASE("Shrinking averages the covered area", "[data]") {
  for (const int channels : {1, 3, 4})
    for (const auto& [h, w] :
         {std::pair{7, 5}, std::pair{8, 13}, std::pair{1, 1}, std::pair{16, 23}, std::pair{17, 26}}) {
      const shape from{17, 26, channels};
      const auto in = random_values(from.size(), 3);
      const auto out = resize(in.data(), from, h, w);
      for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x)
          for (int c = 0; c < channels; ++c)
            CHECK(static_cast<double>(out[static_cast<std::size_t>((y * w + x) * channels + c)]) ==
                  Approx(area_average(in, from, h, w, y, x, c)).margin(1e-5));
    }
}

TEST_CASE("Shrinking keeps the mean", "[data]") {
  const shape from{128, 192, 1};
  const auto in = random_values(from.size(), 5);
  const auto out = resize(in.data(), from, 50, 77);
  const auto mean = [](const std::vector<float>& v) {
    return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
  };
  CHECK(mean(out) == Approx(mean(in)).epsilon(1e-5));
}

TEST_CASE("Enlarging interpolates between pixel centres and clamps at the edges", "[data]") {
  const std::vector<float> in{0.0f, 1.0f};
  const auto out = resize(in.data(), {1, 2, 1}, 1, 4);
  const std::vector<float> expected{0.0f, 0.25f, 0.75f, 1.0f};
  for (std::size_t i = 0; i < 4; ++i) CHECK(out[i] == Approx(expected[i]));
  // A plane stays a plane away from the edges.
  std::vector<float> plane;
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) plane.push_back(static_cast<float>(2 * y + 3 * x));
  const auto up = resize(plane.data(), {8, 8, 1}, 20, 28);
  for (int y = 3; y < 17; ++y)
    for (int x = 3; x < 25; ++x)
      CHECK(up[static_cast<std::size_t>(y * 28 + x)] ==
            Approx(2 * ((y + 0.5) * 8 / 20 - 0.5) + 3 * ((x + 0.5) * 8 / 28 - 0.5)));
}

TEST_CASE("One axis may shrink while the other grows", "[data]") {
  const auto in = random_values(10 * 4, 8);
  const auto out = resize(in.data(), {10, 4, 1}, 5, 8);
  const auto shrunk = resize(in.data(), {10, 4, 1}, 5, 4);
  const auto both = resize(shrunk.data(), {5, 4, 1}, 5, 8);
  for (std::size_t i = 0; i < out.size(); ++i) CHECK(out[i] == Approx(both[i]).margin(1e-6));
}

TEST_CASE("Resizing to the same size changes nothing, and 8-bit results are rounded", "[data]") {
  image picture(9, 6, 3);
  for (std::size_t i = 0; i < picture.data.size(); ++i) picture.data[i] = static_cast<std::uint8_t>(i);
  CHECK(resize(picture, 6, 9) == picture);
  image pair(2, 1, 1);
  pair.data = {10, 11};
  CHECK(resize(pair, 1, 1).data[0] == 11);  // 10.5
  CHECK_THROWS_AS(resize(pair, 0, 1), argument_error);
}

TEST_CASE("Labels are resized to the value at each pixel's centre", "[data]") {
  random_stream random{8};
  image labels(23, 17, 1);
  for (std::uint8_t& v : labels.data) v = static_cast<std::uint8_t>(random.below(256));
  for (const auto& [h, w] :
       {std::pair{17, 23}, std::pair{5, 6}, std::pair{1, 1}, std::pair{40, 50}, std::pair{34, 7}}) {
    const image small = resize_nearest(labels, h, w);
    REQUIRE(small.width == w);
    REQUIRE(small.height == h);
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x)
        CHECK(*small.at(x, y) ==
              *labels.at(static_cast<int>((x + 0.5) * 23 / w), static_cast<int>((y + 0.5) * 17 / h)));
  }
  CHECK(resize_nearest(labels, 17, 23) == labels);
  CHECK_THROWS_AS(resize_nearest(labels, 0, 5), argument_error);
  CHECK_THROWS_AS(resize_nearest(image(4, 4, 3), 2, 2), argument_error);
}
