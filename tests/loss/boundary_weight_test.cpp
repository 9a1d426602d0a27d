// SPDX-License-Identifier: MIT
#include <segnet/core/random.hpp>
#include <segnet/loss/boundary_weight.hpp>

#include "serial_backend.hpp"

#include <catch2/catch.hpp>
#include <cstddef>
#include <vector>

using namespace segnet;

namespace {

/// The definition, pixel by pixel.
std::vector<double> naive(const std::vector<double>& masks, int n, int h, int w, int window) {
  std::vector<double> weights;
  double total = 0;
  for (int i = 0; i < n; ++i)
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x) {
        double sum = 0;
        int seen = 0;
        for (int v = y - window / 2; v <= y + window / 2; ++v)
          for (int u = x - window / 2; u <= x + window / 2; ++u)
            if (v >= 0 && v < h && u >= 0 && u < w) {
              sum += masks[static_cast<std::size_t>((i * h + v) * w + u)];
              ++seen;
            }
        weights.push_back(sum / seen > 0.01 && sum / seen < 0.99 ? 3 : 1);
        total += weights.back();
      }
  for (double& weight : weights) weight *= static_cast<double>(weights.size()) / total;
  return weights;
}

template <class T>
std::vector<T> weigh(const std::vector<T>& masks, int n, shape dims, int window) {
  serial_backend<T> backend;
  std::vector<T> weights(masks.size());
  std::vector<double> workspace(boundary_weight::workspace_size(n, dims), 123.0);
  boundary_weight{.window = window}(backend, tensor_view<const T>{masks.data(), n, dims},
                                    tensor_view<T>{weights.data(), n, dims}, workspace);
  return weights;
}

}  // namespace

TEST_CASE("boundary_weight agrees with a naive average pool", "[loss]") {
  const int window = GENERATE(1, 3, 11, 23);
  const auto size = GENERATE(std::pair{9, 14}, std::pair{31, 20}, std::pair{1, 40});
  const bool soft = GENERATE(false, true);
  const auto [h, w] = size;
  const int n = 3;
  random_stream random{static_cast<std::uint64_t>(window), static_cast<std::uint64_t>(w)};
  std::vector<double> masks;
  for (int i = 0; i < n; ++i) {
    const double edge_y = random.uniform(0, h), edge_x = random.uniform(0, w);
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x)
        masks.push_back(
            (y > edge_y && x > edge_x) != (i == 2) && i != 1 ? (soft ? random.uniform(0.9, 1) : 1.0) : 0.0);
  }
  const auto expected = naive(masks, n, h, w, window);
  const auto found = weigh(masks, n, {h, w, 1}, window);
  double total = 0;
  for (std::size_t i = 0; i < masks.size(); ++i) {
    REQUIRE(found[i] == Approx(expected[i]).epsilon(1e-13));
    total += found[i];
  }
  CHECK(total == Approx(static_cast<double>(masks.size())));

  const auto single = weigh(std::vector<float>(masks.begin(), masks.end()), n, {h, w, 1}, window);
  for (std::size_t i = 0; i < masks.size(); ++i) REQUIRE(single[i] == Approx(expected[i]).epsilon(1e-6));
}

TEST_CASE("boundary_weight leaves masks without an outline alone", "[loss]") {
  for (float value : {0.0F, 1.0F}) {
    const auto weights = weigh(std::vector<float>(64 * 2, value), 2, {8, 8, 1}, 0);
    for (float weight : weights) REQUIRE(weight == 1);
  }
}

TEST_CASE("boundary_window grows in proportion and is odd", "[loss]") {
  CHECK(boundary_window({64, 64, 1}) == 11);
  CHECK(boundary_window({128, 128, 1}) == 11);
  CHECK(boundary_window({256, 256, 1}) == 23);
  CHECK(boundary_window({512, 1024, 1}) == 45);
  CHECK(boundary_window({1024, 1024, 1}) == 89);
}

TEST_CASE("boundary_weight refuses what does not fit", "[loss]") {
  serial_backend<float> backend;
  std::vector<float> data(64);
  std::vector<double> workspace(8);
  const tensor_view<float> one{data.data(), 1, {8, 8, 1}}, two_channels{data.data(), 1, {8, 4, 2}},
      wide{data.data(), 1, {4, 16, 1}};
  CHECK_THROWS_AS(boundary_weight{}(backend, one, two_channels, workspace), argument_error);
  CHECK_THROWS_AS(boundary_weight{}(backend, two_channels, two_channels, workspace), argument_error);
  CHECK_THROWS_WITH((boundary_weight{.window = 4}(backend, one, one, workspace)), Catch::Contains("odd"));
  CHECK_THROWS_WITH(boundary_weight{}(backend, wide, wide, workspace), Catch::Contains("expected 16"));
}
