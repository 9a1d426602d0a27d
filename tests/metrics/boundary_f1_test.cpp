// SPDX-License-Identifier: MIT
#include <segnet/core/random.hpp>
#include <segnet/metrics/boundary_f1.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

using namespace segnet;
using map = std::vector<std::uint8_t>;

namespace {

double score_of(const map& prediction, const map& labels, int height, int width, int classes,
                double tolerance = 0.0075) {
  boundary_f1 score(classes, tolerance);
  score.add(prediction, labels, height, width);
  return score.mean();
}

/// 30 x 40 pixels, diagonal 50: class 1 from this column on.
map split(int column) {
  map m(30 * 40);
  for (std::size_t i = 0; i < m.size(); ++i) m[i] = static_cast<int>(i % 40) >= column;
  return m;
}

/// By comparing every pixel of one outline with every one of the other.
double brute_force(const map& prediction, const map& labels, int height, int width, int classes,
                   double tolerance) {
  const double reach = tolerance * std::hypot(height, width);
  const auto at = [&](const map& m, int y, int x) {
    const auto i = static_cast<std::size_t>(y * width + x);
    return labels[i] == 255 ? 255 : int{m[i]};
  };
  struct point {
    int y, x;
  };
  const auto outline = [&](const map& m, int c) {
    std::vector<point> points;
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        bool on = false;
        for (auto [dy, dx] : {point{0, 1}, point{0, -1}, point{1, 0}, point{-1, 0}})
          if (y + dy >= 0 && y + dy < height && x + dx >= 0 && x + dx < width) {
            const int other = at(m, y + dy, x + dx);
            on = on || (other != c && other != 255);
          }
        if (on && at(m, y, x) == c) points.push_back({y, x});
      }
    return points;
  };
  const auto part_near = [&](const std::vector<point>& from, const std::vector<point>& to) {
    double count = 0;
    for (const point& a : from) {
      bool found = false;
      for (const point& b : to) found = found || std::hypot(a.y - b.y, a.x - b.x) <= reach;
      count += found;
    }
    return count / static_cast<double>(from.size());
  };
  double sum = 0;
  int present = 0;
  for (int c = 0; c < classes; ++c) {
    if (std::ranges::count(labels, c) == 0) continue;
    const auto p = outline(prediction, c), l = outline(labels, c);
    ++present;
    if (p.empty() || l.empty()) {
      sum += p.empty() && l.empty();
    } else if (const double precision = part_near(p, l), recall = part_near(l, p); precision + recall > 0) {
      sum += 2 * precision * recall / (precision + recall);
    }
  }
  return sum / present;
}

}  // namespace

TEST_CASE("boundary_f1 allows for its tolerance, exactly", "[metrics]") {
  const map labels = split(20);
  for (int column = 14; column <= 26; ++column)  // 0.04 of the diagonal: 2 pixels
    CHECK(score_of(split(column), labels, 30, 40, 2, 0.04) == (std::abs(column - 20) <= 2 ? 1 : 0));
  CHECK(score_of(split(21), labels, 30, 40, 2) == 0);  // 0.375 pixels
  CHECK(score_of(labels, labels, 30, 40, 2, 0) == 1);
}

TEST_CASE("boundary_f1 is the mean of the classes' F1", "[metrics]") {
  const map labels{0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, prediction{0, 0, 0, 1, 1, 1, 1, 0, 1, 1};
  // Outlines: of labels 4 | 5; predicted 2, 7 | 3, 6, 8. Within 1.005 pixels: none | 6, which is near 5.
  CHECK(score_of(prediction, labels, 1, 10, 2, 0.1) == Approx((0 + 0.5) / 2));
  // Within 2.01 pixels: 2, near 4 | 3 and 6, near 5.
  CHECK(score_of(prediction, labels, 1, 10, 2, 0.2) == Approx((2.0 / 3 + 0.8) / 2));
  CHECK(score_of(prediction, labels, 10, 1, 2, 0.2) == Approx((2.0 / 3 + 0.8) / 2));  // upright
  // A class that only the prediction has does not count, but it moves its neighbours' outlines.
  CHECK(score_of({0, 0, 2, 2, 1, 1}, {0, 0, 0, 1, 1, 1}, 1, 6, 3, 0) == 0);
}

TEST_CASE("boundary_f1 averages images, and classes where they occur", "[metrics]") {
  boundary_f1 score(3), part(3);
  score.add(split(20), split(20), 30, 40);  // 1 and 1
  score.add(split(25), split(20), 30, 40);  // 0 and 0
  map third = split(20);
  for (auto& c : third) c = c == 1 ? 2 : 0;
  part.add(third, third, 30, 40);                  // 1 and 1, of classes 0 and 2
  part.add(split(20), map(30 * 40, 255), 30, 40);  // no labels: does not count
  score += part;
  CHECK(score.images() == 3);
  CHECK(score.mean() == Approx(2.0 / 3));
  CHECK(*score.score(0) == Approx(2.0 / 3));
  CHECK(*score.score(1) == Approx(1.0 / 2));
  CHECK(*score.score(2) == 1);
  CHECK_FALSE(part.score(1).has_value());
}

TEST_CASE("boundary_f1 where there are no outlines", "[metrics]") {
  CHECK(score_of(map(12, 1), map(12, 1), 3, 4, 2) == 1);  // nothing to find, nothing found
  map invented(12, 1);
  invented[5] = 0;
  CHECK(score_of(invented, map(12, 1), 3, 4, 2) == 0);
  CHECK(score_of(map(12, 1), invented, 3, 4, 2) == 0);
}

TEST_CASE("boundary_f1 leaves ignored pixels out", "[metrics]") {
  map labels = split(20), prediction = labels;
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (i % 40 >= 30) labels[i] = 255, prediction[i] = static_cast<std::uint8_t>(i % 3);
  CHECK(score_of(prediction, labels, 30, 40, 3) == 1);  // the border with 255 is no outline
  // The label to ignore may be a class, and that class be predicted elsewhere.
  boundary_f1 score(3, 0, 2);
  score.add(map{0, 2, 1, 1, 1}, map{0, 0, 1, 1, 2}, 1, 5);
  CHECK(*score.score(0) == 0);  // predicted outline: pixel 0, labelled: 1
  CHECK(*score.score(1) == 1);
}

TEST_CASE("boundary_f1 agrees with comparing all pixels", "[metrics]") {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    random_stream random{seed};
    const int height = 1 + random.below(24), width = 1 + random.below(24), classes = 2 + random.below(4);
    const double tolerance = random.uniform(0, 0.3);
    map labels, prediction;
    for (int i = 0; i < height * width; ++i) {  // patches, with noise
      labels.push_back(static_cast<std::uint8_t>((i / width / 5 + i % width / 7) % classes));
      prediction.push_back(random.chance(0.1) ? static_cast<std::uint8_t>(random.below(classes))
                                              : labels.back());
      if (random.chance(0.05)) labels.back() = 255;
    }
    INFO("seed " << seed << ": " << height << "x" << width << ", tolerance " << tolerance);
    CHECK(score_of(prediction, labels, height, width, classes, tolerance) ==
          Approx(brute_force(prediction, labels, height, width, classes, tolerance)).margin(1e-12));
  }
}

TEST_CASE("boundary_f1 refuses what does not fit", "[metrics]") {
  boundary_f1 score(2);
  CHECK_THROWS_WITH(score.add(map(6), map(5), 2, 3),
                    "boundary_f1: 6 predictions and 5 labels, expected those of 2x3 pixels");
  CHECK_THROWS_WITH(score.add(map(6, 2), map(6), 2, 3), "boundary_f1: found the class 2, expected 0 to 1");
  CHECK_THROWS_WITH(score.mean(), "boundary_f1: no image with labels was counted");
  CHECK_THROWS_WITH(score += boundary_f1(3), "boundary_f1: found one of 3 classes to add, expected 2");
  CHECK_THROWS_AS(boundary_f1(1), argument_error);
  CHECK_THROWS_AS(boundary_f1(2, -0.1), argument_error);
}
