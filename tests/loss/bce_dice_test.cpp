// SPDX-License-Identifier: MIT
#include <segnet/core/random.hpp>
#include <segnet/loss/bce_dice.hpp>

#include "../reference/loss_adam.hpp"
#include "serial_backend.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

using namespace segnet;

namespace {

struct batch {
  std::vector<double> logits, targets, weights;
};

batch random_batch(std::size_t n, std::uint64_t seed) {
  random_stream random{seed};
  batch b;
  for (std::size_t i = 0; i < n; ++i) {
    b.logits.push_back(3 * random.normal());
    b.targets.push_back(random.chance(0.5) ? static_cast<double>(random.chance(0.4)) : random.uniform());
    b.weights.push_back(random.uniform(0.2, 3));
  }
  return b;
}

std::vector<float> floats(const std::vector<double>& x) { return {x.begin(), x.end()}; }

template <std::size_t N>
std::vector<double> vector(const double (&x)[N]) {
  return {x, x + N};
}

}  // namespace

TEST_CASE("bce_dice agrees with PyTorch", "[loss]") {
  namespace ref = loss_reference;
  const bool weighted = GENERATE(false, true);
  const auto z = vector(ref::logits), t = vector(ref::targets);
  const auto w = weighted ? vector(ref::weights) : std::vector<double>{};
  const auto& expected = weighted ? ref::weighted_bce_dice : ref::plain_bce_dice;
  const auto& slope = weighted ? ref::weighted_gradient : ref::plain_gradient;

  serial_backend<double> exact;
  std::vector<double> gradient(z.size());
  const loss_result result = bce_dice{}(exact, z, t, w, gradient);
  CHECK(result.bce == Approx(expected[0]).epsilon(1e-14));
  CHECK(result.dice == Approx(expected[1]).epsilon(1e-14));
  CHECK(result.total == Approx(expected[0] + 1 - expected[1]).epsilon(1e-14));
  for (std::size_t i = 0; i < z.size(); ++i)
    CHECK(gradient[i] == Approx(slope[i]).epsilon(1e-12).margin(1e-16));

  serial_backend<float> single;
  std::vector<float> rounded(z.size());
  const loss_result near = bce_dice{}(single, floats(z), floats(t), floats(w), rounded);
  CHECK(near.total == Approx(result.total).epsilon(1e-6));
  for (std::size_t i = 0; i < z.size(); ++i) CHECK(rounded[i] == Approx(slope[i]).epsilon(1e-5).margin(1e-8));
}

TEST_CASE("bce_dice's gradient is that of its value", "[loss]") {
  const bool weighted = GENERATE(false, true);
  const bce_dice loss = GENERATE(bce_dice{}, bce_dice{.bce_weight = 0.3, .dice_weight = 2, .smooth = 0.5},
                                 bce_dice{.bce_weight = 0}, bce_dice{.dice_weight = 0});
  serial_backend<double> backend;
  batch b = random_batch(37, 5);
  if (!weighted) b.weights.clear();
  std::vector<double> gradient(b.logits.size());
  loss(backend, b.logits, b.targets, b.weights, gradient, 0.25);
  for (std::size_t i = 0; i < b.logits.size(); ++i) {
    const double h = 1e-5, z = b.logits[i];
    b.logits[i] = z + h;
    const double up = loss(backend, b.logits, b.targets, b.weights, {}).total;
    b.logits[i] = z - h;
    const double down = loss(backend, b.logits, b.targets, b.weights, {}).total;
    b.logits[i] = z;
    CHECK(gradient[i] == Approx(0.25 * (up - down) / (2 * h)).epsilon(1e-6).margin(1e-10));
  }
}

TEST_CASE("bce_dice stays finite and exact at extreme logits", "[loss]") {
  serial_backend<float> backend;
  const std::vector<float> z{80, -80, 80, -80, 1e30F}, right{1, 0, 1, 0, 1}, wrong{0, 1, 0, 1, 1};
  std::vector<float> gradient(z.size());
  const auto best = bce_dice{}(backend, z, right, {}, gradient);
  CHECK(best.total == Approx(0).margin(1e-30));
  for (float g : gradient) CHECK(std::abs(g) < 1e-30F);
  const auto worst = bce_dice{}(backend, z, wrong, {}, gradient);
  CHECK(worst.bce == Approx(4 * 80 / 5.0));
  CHECK(worst.dice == Approx(3.0 / 7));
  CHECK(gradient[0] == Approx(0.2));
  CHECK(gradient[1] == Approx(-0.2));
}

TEST_CASE("bce_dice reports a NaN instead of hiding it", "[loss]") {
  serial_backend<float> backend;
  const std::vector<float> z{1, std::numeric_limits<float>::quiet_NaN()}, t{1, 0};
  CHECK(std::isnan(bce_dice{}(backend, z, t, {}, {}).total));
}

TEST_CASE("bce_dice of an empty mask that is predicted empty is 0", "[loss]") {
  serial_backend<double> backend;
  const std::vector<double> z(16, -1000), t(16, 0);
  const auto result = bce_dice{}(backend, z, t, {}, {});
  CHECK(result.dice == 1);
  CHECK(result.total == 0);
}

TEST_CASE("bce_dice depends on the ratios of the weights only", "[loss]") {
  serial_backend<double> backend;
  batch b = random_batch(64, 9);
  std::vector<double> first(64), second(64);
  const auto before = bce_dice{}(backend, b.logits, b.targets, b.weights, first);
  for (double& w : b.weights) w *= 7;
  const auto after = bce_dice{}(backend, b.logits, b.targets, b.weights, second);
  CHECK(after.total == Approx(before.total).epsilon(1e-13));
  for (std::size_t i = 0; i < 64; ++i) CHECK(second[i] == Approx(first[i]).epsilon(1e-12));
}

TEST_CASE("bce_dice may write its gradient over the logits", "[loss]") {
  serial_backend<double> backend;
  batch b = random_batch(10000, 2);
  std::vector<double> apart(b.logits.size());
  const auto expected = bce_dice{}(backend, b.logits, b.targets, b.weights, apart);
  const auto found = bce_dice{}(backend, b.logits, b.targets, b.weights, b.logits);
  CHECK(found.total == expected.total);
  CHECK(b.logits == apart);
}

TEST_CASE("bce_dice refuses spans of different sizes", "[loss]") {
  serial_backend<float> backend;
  std::vector<float> three(3), two(2), none;
  CHECK_THROWS_WITH(bce_dice{}(backend, three, two, {}, {}),
                    "bce_dice: 2 targets, expected as many as logits, 3");
  CHECK_THROWS_WITH(bce_dice{}(backend, three, three, two, {}), Catch::Contains("2 weights"));
  CHECK_THROWS_WITH(bce_dice{}(backend, three, three, {}, two), Catch::Contains("2 gradient"));
  CHECK_THROWS_AS(bce_dice{}(backend, none, none, {}, {}), argument_error);
}
