// SPDX-License-Identifier: MIT
// What layers' parameters start from.
#include <segnet/layers/graph_builder.hpp>
#include <segnet/network/parameters.hpp>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

using namespace segnet;

namespace {

template <layer L>
std::vector<double> initial_weights(const L& l, shape in, std::uint64_t seed = 1) {
  const parameter_spec spec = l.parameters(std::array{in})[0];
  std::vector<double> values(spec.size(), 77);
  detail::initialise<double>(spec, values, seed, 5);
  return values;
}

/// Mean and standard deviation.
std::array<double, 2> moments(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (double x : values) sum += x, squares += x * x;
  const double n = static_cast<double>(values.size()), mean = sum / n;
  return {mean, std::sqrt(squares / n - mean * mean)};
}

}  // namespace

TEST_CASE("he_normal: two over the values that a result adds up", "[network]") {
  const auto check = [](const std::vector<double>& values, double fan_in) {
    const auto [mean, deviation] = moments(values);
    const double expected = std::sqrt(2 / fan_in);
    CHECK(std::abs(mean) < 0.05 * expected);
    CHECK(deviation == Approx(expected).epsilon(0.05));
  };
  const auto he = initializer::he_normal;
  check(initial_weights(conv2d{.channels = 40, .init = he}, {8, 8, 16}), 9 * 16);
  check(initial_weights(transposed_conv2d{.channels = 24, .init = he}, {8, 8, 40}), 40);
  check(initial_weights(transposed_conv2d{.channels = 24, .kernel = 4, .init = he}, {8, 8, 10}), 4 * 10);
  check(initial_weights(
            transposed_conv2d{.channels = 99, .kernel = 8, .stride = 4, .per_channel = true, .init = he},
            {8, 8, 99}),
        4);
  const conv2d layer{.channels = 3, .init = he};
  CHECK(initial_weights(layer, {8, 8, 2}) == initial_weights(layer, {8, 8, 2}));
  CHECK(initial_weights(layer, {8, 8, 2}) != initial_weights(layer, {8, 8, 2}, 2));
}

TEST_CASE("bilinear: tents, for each channel to itself", "[network]") {
  const std::array even{0.25, 0.75, 0.75, 0.25};
  const std::array odd{1 / 3.0, 2 / 3.0, 1.0};
  const auto bilinear = initializer::bilinear;
  const auto full =
      initial_weights(transposed_conv2d{.channels = 3, .kernel = 4, .init = bilinear}, {5, 5, 3});
  const auto single = initial_weights(
      transposed_conv2d{.channels = 3, .kernel = 4, .per_channel = true, .init = bilinear}, {5, 5, 3});
  for (std::size_t k = 0; k < 3; ++k)
    for (std::size_t r = 0; r < 4; ++r)
      for (std::size_t s = 0; s < 4; ++s) {
        CHECK(single[(k * 4 + r) * 4 + s] == Approx(even[r] * even[s]));
        for (std::size_t c = 0; c < 3; ++c)
          CHECK(full[((k * 4 + r) * 4 + s) * 3 + c] == Approx(c == k ? even[r] * even[s] : 0));
      }
  const auto five = initial_weights(
      transposed_conv2d{.channels = 1, .kernel = 5, .stride = 3, .per_channel = true, .init = bilinear},
      {5, 5, 1});
  for (std::size_t r = 0; r < 5; ++r)
    for (std::size_t s = 0; s < 5; ++s)
      CHECK(five[r * 5 + s] == Approx(odd[std::min(r, 4 - r)] * odd[std::min(s, 4 - s)]));
}
