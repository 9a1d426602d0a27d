// SPDX-License-Identifier: MIT
#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/core/random.hpp>
#include <segnet/optim/adam.hpp>
#include <segnet/optim/sgd.hpp>

#include "../loss/serial_backend.hpp"
#include "../reference/cross_entropy_sgd.hpp"

#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

using namespace segnet;
namespace ref = sgd_reference;

namespace {

constexpr std::size_t size = 6, steps = 4;
constexpr std::array groups{parameter_group{2}, parameter_group{4, 2, 0}, parameter_group{6, 0.5F, 3}};

template <class T, class Rule>
std::vector<T> after(const Rule& rule, std::span<const parameter_group> multipliers, double scale = 1) {
  serial_backend<T> backend;
  std::vector<T> p(ref::start, ref::start + size), first(size), second(size), g(size);
  auto state = [&] {
    if constexpr (requires { adam_state<T>{}, rule.beta1; })
      return adam_state<T>{first, second};
    else
      return sgd_state<T>{first};
  }();
  for (std::size_t step = 0; step < steps; ++step) {
    for (std::size_t i = 0; i < size; ++i) g[i] = static_cast<T>(ref::gradients[step * size + i] / scale);
    rule(backend, ref::rates[step], p, g, state, scale, multipliers);
  }
  CHECK(state.step == steps);
  return p;
}

template <std::size_t N, class T>
void check_near(const std::vector<T>& found, const double (&expected)[N], double tolerance) {
  REQUIRE(found.size() == N);
  for (std::size_t i = 0; i < N; ++i) CHECK(found[i] == Approx(expected[i]).epsilon(tolerance));
}

}  // namespace

TEST_CASE("sgd agrees with PyTorch over several steps and rates", "[optim]") {
  const double scale = GENERATE(1.0, 0.25);  // scaled gradients: given larger, to be the same after scaling
  check_near(after<double>(sgd{.momentum = 0}, {}, scale), ref::plain, 1e-13);
  check_near(after<double>(sgd{}, {}, scale), ref::momentum, 1e-13);
  check_near(after<double>(sgd{.weight_decay = 0.05}, {}, scale), ref::decayed, 1e-13);
  check_near(after<float>(sgd{.weight_decay = 0.05}, {}, scale), ref::decayed, 1e-5);
}

TEST_CASE("groups learn at rates and decays of their own, as PyTorch's", "[optim]") {
  check_near(after<double>(sgd{.weight_decay = 0.05}, groups), ref::grouped, 1e-13);
  check_near(after<double>(adam{.weight_decay = 0.05}, groups), ref::adam_grouped, 1e-12);
}

TEST_CASE("sgd without momentum needs no velocities", "[optim]") {
  serial_backend<double> backend;
  std::vector<double> p{1, 2}, g{10, -10};
  sgd_state<double> state;
  sgd{.momentum = 0, .weight_decay = 0.5}(backend, 0.1, p, g, state);
  CHECK(p[0] == Approx(1 - 0.1 * (10 + 0.5)));
  CHECK(p[1] == Approx(2 - 0.1 * (-10 + 1)));
  CHECK_THROWS_WITH(sgd{}(backend, 0.1, p, g, state),
                    "sgd: 2 gradients and 0 velocities, expected 2 of each, one for each parameter");
  CHECK(state.step == 1);
}

TEST_CASE("a frozen group keeps every bit, and groups cost no other bits", "[optim]") {
  // Several chunks of work, and groups that end within, at and beyond a chunk's end.
  constexpr std::size_t n = 200003;
  const std::array cut{parameter_group{65536, 1, 1}, parameter_group{65540, 0, 1},
                       parameter_group{150000, 1, 1}, parameter_group{200001, 0, 0}, parameter_group{n}};
  random_stream random{17};
  std::vector<float> start(n), g(n);
  for (std::size_t i = 0; i < n; ++i)
    start[i] = static_cast<float>(random.normal()), g[i] = static_cast<float>(random.normal());
  start[65537] = -0.0F;
  g[65538] = std::numeric_limits<float>::infinity();

  const auto check = [&](auto step) {
    std::vector<float> whole = start;
    step(whole, std::span<const parameter_group>{}, 1);
    std::vector<float> parts = start;
    step(parts, std::span<const parameter_group>(cut), 3);
    for (std::size_t i = 0; i < n; ++i) {
      const bool frozen = (i >= 65536 && i < 65540) || (i >= 150000 && i < 200001);
      const float expected = frozen ? start[i] : whole[i];
      if (std::bit_cast<std::uint32_t>(parts[i]) != std::bit_cast<std::uint32_t>(expected))
        FAIL("element " << i << " is " << parts[i] << ", expected " << expected);
    }
    CHECK(whole[0] != start[0]);
  };
  check([&](std::span<float> p, std::span<const parameter_group> multipliers, int threads) {
    basic_cpu<float> backend(threads);
    std::vector<float> v(n);
    sgd_state<float> state{v};
    const sgd rule{.weight_decay = 0.01};
    for (int i = 0; i < 3; ++i) rule(backend, 0.1, p, g, state, 1, multipliers);
  });
  check([&](std::span<float> p, std::span<const parameter_group> multipliers, int threads) {
    basic_cpu<float> backend(threads);
    std::vector<float> m(n), v(n);
    adam_state<float> state{m, v};
    const adam rule{.weight_decay = 0.01};
    for (int i = 0; i < 3; ++i) rule(backend, 0.1, p, g, state, 1, multipliers);
  });
}

TEST_CASE("groups that do not end with the parameters are refused", "[optim]") {
  serial_backend<float> backend;
  std::vector<float> p(5), g(5), m(5), v(5);
  sgd_state<float> slow{v};
  adam_state<float> fast{m, v};
  CHECK_THROWS_WITH(sgd{}(backend, 0.1, p, g, slow, 1, groups),
                    "sgd: the last group ends at 6, expected 5, the number of parameters");
  CHECK_THROWS_WITH(adam{}(backend, 0.1, p, g, fast, 1, groups),
                    "adam: the last group ends at 6, expected 5, the number of parameters");
}
