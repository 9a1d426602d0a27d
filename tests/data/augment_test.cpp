// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <segnet/data/augment.hpp>
#include <vector>

using namespace segnet;

namespace {

struct picture {
  int h, w;
  std::vector<float> source;  // red, green, blue, coverage
  const float* at(int y, int x) const { return source.data() + 4 * (y * w + x); }
};

picture random_picture(int h, int w) {
  picture p{h, w, std::vector<float>(static_cast<std::size_t>(4 * h * w))};
  random_stream random{4};
  for (float& v : p.source) v = static_cast<float>(random.uniform());
  return p;
}

struct result {
  std::vector<float> rgb, mask;
  const picture& p;
  result(const picture& p_, const augmentation& a)
      : rgb(static_cast<std::size_t>(3 * p_.h * p_.w)), mask(static_cast<std::size_t>(p_.h * p_.w)), p(p_) {
    apply_augmentation(p.source.data(), p.h, p.w, a, rgb.data(), mask.data());
  }
  /// Does pixel (y, x) show the source's pixel (v, u)?
  bool shows(int y, int x, int v, int u) const {
    const auto i = static_cast<std::size_t>(y * p.w + x);
    for (std::size_t c = 0; c < 3; ++c)
      if (std::fabs(rgb[3 * i + c] - p.at(v, u)[c]) > 1e-5f) return false;
    return std::fabs(mask[i] - p.at(v, u)[3]) <= 1e-5f;
  }
};

/// Reflection by definition: walk one step at a time and turn round at both ends.
int bounce(int i, int n) {
  int at = 0, step = 1;
  for (int k = 0; k < std::abs(i); ++k) {
    if (n == 1) return 0;
    if (at + step < 0 || at + step >= n) step = -step;
    at += step;
  }
  return at;  // the walk is symmetric about 0
}

constexpr double degrees = std::numbers::pi / 180.0;

}  // namespace

TEST_CASE("Reflect-101 is exact however far outside", "[data]") {
  for (const int n : {1, 2, 3, 7})
    for (int i = -40; i <= 40; ++i) {
      INFO("i = " << i << ", n = " << n);
      CHECK(reflect_101(i, n) == bounce(i, n));
    }
}

TEST_CASE("Without changes the picture stays the same", "[data]") {
  const picture p = random_picture(9, 14);
  const result r(p, {});
  for (int y = 0; y < p.h; ++y)
    for (int x = 0; x < p.w; ++x) CHECK(r.shows(y, x, y, x));
  CHECK(make_affine(14, 9, false, 1.0, 0.0, 0.0, 0.0).is_identity());
}

TEST_CASE("A flip exchanges left and right", "[data]") {
  const picture p = random_picture(5, 8);
  const result r(p, {make_affine(p.w, p.h, true, 1.0, 0.0, 0.0, 0.0), {}});
  for (int y = 0; y < p.h; ++y)
    for (int x = 0; x < p.w; ++x) CHECK(r.shows(y, x, y, p.w - 1 - x));
}

TEST_CASE("A shift moves the content and reflects the border", "[data]") {
  const picture p = random_picture(6, 9);
  for (const auto& [dx, dy] : {std::pair{2, -1}, std::pair{-3, 4}, std::pair{25, -17}}) {
    const result r(p, {make_affine(p.w, p.h, false, 1.0, 0.0, dx, dy), {}});
    for (int y = 0; y < p.h; ++y)
      for (int x = 0; x < p.w; ++x) CHECK(r.shows(y, x, bounce(y - dy, p.h), bounce(x - dx, p.w)));
  }
}

TEST_CASE("A quarter turn is exact on a square", "[data]") {
  const picture p = random_picture(8, 8);
  // Anticlockwise: what was at the right comes to the top.
  const result r(p, {make_affine(8, 8, false, 1.0, 90 * degrees, 0.0, 0.0), {}});
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) CHECK(r.shows(y, x, x, 7 - y));
}

TEST_CASE("Rotation respects the shape of the photograph's pixels", "[data]") {
  // A 40x20 photograph resized to 20x20: its pixels stand for 2x1. A point on the right at a distance of 6
  // photograph pixels is 3 pixels off here; a quarter turn puts it 6 above the centre.
  const affine a = make_affine(20, 20, false, 1.0, 90 * degrees, 0.0, 0.0, 2.0);
  const float x = 9.5f, y = 9.5f - 6.0f;
  CHECK(a.xx * x + a.xy * y + a.x0 == Approx(9.5 + 3.0));
  CHECK(a.yx * x + a.yy * y + a.y0 == Approx(9.5));
  // And what was 6 below it comes to lie 6 to the right, 3 pixels here.
  CHECK(a.xx * 12.5f + a.xy * 9.5f + a.x0 == Approx(9.5));
  CHECK(a.yx * 12.5f + a.yy * 9.5f + a.y0 == Approx(9.5 + 6.0));
}

TEST_CASE("A warp agrees with a plain reference", "[data]") {
  const picture p = random_picture(11, 13);
  const double scale = 1.3, angle = 27 * degrees, dx = 1.7, dy = -2.2;
  const result r(p, {make_affine(p.w, p.h, true, scale, angle, dx, dy), {}});
  for (int y = 0; y < p.h; ++y)
    for (int x = 0; x < p.w; ++x) {
      // Back from the result: unshift, rotate clockwise, shrink, flip.
      const double cx = 6.0, cy = 5.0, u = x - dx - cx, v = y - dy - cy;
      const double ru = std::cos(angle) * u - std::sin(angle) * v,
                   rv = std::sin(angle) * u + std::cos(angle) * v;
      const double sx = cx - ru / scale, sy = cy + rv / scale;
      const int x0 = static_cast<int>(std::floor(sx)), y0 = static_cast<int>(std::floor(sy));
      const double fx = sx - x0, fy = sy - y0;
      const auto at = [&](int j, int i) {
        return static_cast<double>(p.at(bounce(j, p.h), bounce(i, p.w))[3]);
      };
      const double expected = (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)) +
                              fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1));
      CHECK(static_cast<double>(r.mask[static_cast<std::size_t>(y * p.w + x)]) ==
            Approx(expected).margin(1e-4));
    }
}

TEST_CASE("Labels follow the picture, and are unknown where it is only a reflection", "[data]") {
  const int h = 11, w = 13;
  random_stream random{6};
  std::vector<std::uint8_t> source(3 * h * w, 77);  // every third value is a label
  for (std::size_t i = 0; i < source.size(); i += 3) source[i] = static_cast<std::uint8_t>(random.below(11));
  const auto at = [&](int y, int x) -> int {
    const bool inside = x >= 0 && x < w && y >= 0 && y < h;
    return inside ? source[static_cast<std::size_t>(3 * (y * w + x))] : ignored_label;
  };
  const auto warped = [&](const affine& a) {
    std::vector<std::uint8_t> labels(h * w);
    warp_labels(source.data(), 3, h, w, a, labels.data());
    return labels;
  };
  const auto same = warped({}), flipped = warped(make_affine(w, h, true, 1.0, 0.0, 0.0, 0.0)),
             shifted = warped(make_affine(w, h, false, 1.0, 0.0, 2.0, -3.0));
  const affine turn = make_affine(w, h, true, 1.3, 27 * degrees, 1.7, -2.2);
  const auto turned = warped(turn);
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      const auto i = static_cast<std::size_t>(y * w + x);
      CHECK(same[i] == at(y, x));
      CHECK(flipped[i] == at(y, w - 1 - x));
      CHECK(shifted[i] == at(y + 3, x - 2));
      const double sx =
          static_cast<double>(turn.xx) * x + static_cast<double>(turn.xy) * y + static_cast<double>(turn.x0);
      const double sy =
          static_cast<double>(turn.yx) * x + static_cast<double>(turn.yy) * y + static_cast<double>(turn.y0);
      CHECK(turned[i] == at(static_cast<int>(std::lround(sy)), static_cast<int>(std::lround(sx))));
    }
}

TEST_CASE("A picture is warped the same with a mask and without", "[data]") {
  const picture p = random_picture(9, 14);
  const augmentation a{make_affine(14, 9, true, 1.1, 0.1, 1.0, 0.5), {10.0f, 1.1f, 0.9f}};
  const result r(p, a);
  std::vector<float> rgb(r.rgb.size());
  apply_augmentation(p.source.data(), p.h, p.w, a, rgb.data(), nullptr);
  CHECK(rgb == r.rgb);
}

TEST_CASE("Scaling enlarges the car", "[data]") {
  picture p{32, 32, std::vector<float>(4 * 32 * 32)};
  for (int y = 11; y < 21; ++y)
    for (int x = 11; x < 21; ++x) p.source[static_cast<std::size_t>(4 * (y * 32 + x) + 3)] = 1.0f;
  const auto area = [&](double scale) {
    const result r(p, {make_affine(32, 32, false, scale, 0.0, 0.0, 0.0), {}});
    double sum = 0.0;
    for (const float v : r.mask) sum += static_cast<double>(v);
    return sum;
  };
  CHECK(area(1.0) == Approx(100.0));
  CHECK(area(1.2) == Approx(144.0).epsilon(0.03));
  CHECK(area(0.8) == Approx(64.0).epsilon(0.03));
}

TEST_CASE("Colours turn, fade and darken", "[data]") {
  const auto change = [](std::array<float, 3> rgb, colour_change c) {
    change_colour(rgb.data(), c);
    return rgb;
  };
  const auto near = [](std::array<float, 3> a, std::array<float, 3> b) {
    for (std::size_t i = 0; i < 3; ++i)
      if (std::fabs(a[i] - b[i]) > 1e-5f) return false;
    return true;
  };
  CHECK(near(change({1, 0, 0}, {120, 1, 1}), {0, 1, 0}));
  CHECK(near(change({0, 1, 0}, {-120, 1, 1}), {1, 0, 0}));
  CHECK(near(change({0, 0, 1}, {60, 1, 1}), {1, 0, 1}));
  CHECK(near(change({0.8f, 0.4f, 0.4f}, {0, 0.5f, 1}), {0.8f, 0.6f, 0.6f}));
  CHECK(near(change({0.8f, 0.4f, 0.4f}, {0, 1, 0.5f}), {0.4f, 0.2f, 0.2f}));
  CHECK(near(change({0.3f, 0.3f, 0.3f}, {90, 1.5f, 1}), {0.3f, 0.3f, 0.3f}));
  CHECK(near(change({0.9f, 0.9f, 0.9f}, {0, 1, 1.5f}), {1, 1, 1}));
  random_stream random{1};
  for (int i = 0; i < 200; ++i) {
    const std::array<float, 3> rgb{static_cast<float>(random.uniform()), static_cast<float>(random.uniform()),
                                   static_cast<float>(random.uniform())};
    CHECK(near(change(rgb, {360, 1, 1}), rgb));
    for (const float v : change(rgb, {static_cast<float>(random.uniform(-180, 180)), 1.9f, 1.9f})) {
      CHECK(v >= 0.0f);
      CHECK(v <= 1.0f);
    }
  }
}

TEST_CASE("What is drawn stays in its range and follows its probability", "[data]") {
  const augment_options o{.rotation = 5.0};
  int flips = 0, recoloured = 0, unscaled = 0;
  constexpr int draws = 4000;
  for (int i = 0; i < draws; ++i) {
    const augmentation a = draw_augmentation(o, 128, 128, 1.0, {9, static_cast<std::uint64_t>(i)});
    flips += a.warp.xx < 0.0f;
    recoloured += !a.colour.is_identity();
    const float scale = 1.0f / std::hypot(a.warp.xx, a.warp.xy);
    unscaled += std::fabs(scale - 1.0f) < 1e-6f;
    CHECK(scale >= 0.9f - 1e-4f);
    CHECK(scale <= 1.1f + 1e-4f);
    CHECK(std::fabs(std::atan2(a.warp.yx, a.warp.yy)) <= 5.0f * static_cast<float>(degrees) + 1e-4f);
    CHECK(std::fabs(a.colour.hue) <= 18.0f);
    CHECK(std::fabs(a.colour.value - 1.0f) <= 0.15f + 1e-6f);
    // Where the source's centre comes to lie: the shift.
    const float det = a.warp.xx * a.warp.yy - a.warp.xy * a.warp.yx;
    const float u = 63.5f - a.warp.x0, v = 63.5f - a.warp.y0;
    CHECK(std::fabs((a.warp.yy * u - a.warp.xy * v) / det - 63.5f) <= 8.0f + 1e-3f);
    CHECK(std::fabs((a.warp.xx * v - a.warp.yx * u) / det - 63.5f) <= 8.0f + 1e-3f);
  }
  for (const int count : {flips, recoloured, unscaled}) CHECK(count == Approx(draws / 2).epsilon(0.08));
}

TEST_CASE("Options out of range are named", "[data]") {
  CHECK_NOTHROW(check(augment_options{}));
  CHECK_THROWS_WITH(check(augment_options{.scale = 1.0}), Catch::Contains("augment_options.scale = 1.0"));
  CHECK_THROWS_AS(check(augment_options{.flip_probability = -0.1}), argument_error);
}
