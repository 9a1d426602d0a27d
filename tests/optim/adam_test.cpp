// SPDX-License-Identifier: MIT
#include <segnet/core/random.hpp>
#include <segnet/optim/adam.hpp>
#include <segnet/optim/gradient_norm.hpp>

#include "../loss/serial_backend.hpp"
#include "../reference/loss_adam.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

using namespace segnet;
namespace ref = adam_reference;

TEST_CASE("adam agrees with PyTorch over several steps", "[optim]") {
  const bool decayed = GENERATE(false, true);
  const double scale = GENERATE(1.0, 0.25);  // scaled gradients: given larger, to be the same after scaling
  const auto& parameters = decayed ? ref::decayed_parameters : ref::adam_parameters;
  const auto& m = decayed ? ref::decayed_m : ref::adam_m;
  const auto& v = decayed ? ref::decayed_v : ref::adam_v;

  serial_backend<double> backend;
  constexpr std::size_t n = 6, steps = 4;
  std::vector<double> p(ref::start, ref::start + n), first(n), second(n), g(n);
  adam_state<double> state{first, second};
  const adam optimizer{.weight_decay = decayed ? 0.1 : 0.0};
  for (std::size_t step = 0; step < steps; ++step) {
    for (std::size_t i = 0; i < n; ++i) g[i] = ref::gradients[step * n + i] / scale;
    optimizer(backend, 0.01, p, g, state, scale);
  }
  CHECK(state.step == 4);
  for (std::size_t i = 0; i < n; ++i) {
    CHECK(p[i] == Approx(parameters[i]).epsilon(1e-13));
    CHECK(first[i] == Approx(m[i]).epsilon(1e-13).margin(1e-300));
    CHECK(second[i] == Approx(v[i]).epsilon(1e-13).margin(1e-300));
  }
}

TEST_CASE("adam in single precision stays near", "[optim]") {
  serial_backend<float> backend;
  constexpr std::size_t n = 6, steps = 4;
  std::vector<float> p(ref::start, ref::start + n), first(n), second(n);
  const std::vector<float> g(ref::gradients, ref::gradients + n * steps);
  adam_state<float> state{first, second};
  for (std::size_t step = 0; step < steps; ++step)
    adam{}(backend, 0.01, p, std::span(g).subspan(step * n, n), state);
  for (std::size_t i = 0; i < n; ++i) CHECK(p[i] == Approx(ref::adam_parameters[i]).epsilon(1e-5));
}

TEST_CASE("adam continues from a saved state bit for bit", "[optim]") {
  serial_backend<float> backend;
  random_stream random{3};
  std::vector<float> p(100), m(100), v(100), g(500);
  for (float& x : g) x = static_cast<float>(random.normal());
  adam_state<float> state{m, v};
  const auto run = [&](std::span<float> parameters, adam_state<float>& s, std::size_t from, std::size_t to) {
    for (std::size_t step = from; step < to; ++step)
      adam{}(backend, 0.01, parameters, std::span(g).subspan(step * 100, 100), s);
  };
  run(p, state, 0, 2);
  std::vector<float> saved_p = p, saved_m = m, saved_v = v;
  adam_state<float> saved{saved_m, saved_v, state.step};
  run(p, state, 2, 5);
  run(saved_p, saved, 2, 5);
  CHECK(saved_p == p);
  CHECK(saved.step == state.step);
}

TEST_CASE("adam refuses buffers of different sizes", "[optim]") {
  serial_backend<float> backend;
  std::vector<float> three(3), two(2), m(3), v(3);
  adam_state<float> state{m, v};
  CHECK_THROWS_WITH(adam{}(backend, 0.01, three, two, state), Catch::Contains("2 gradients"));
  CHECK(state.step == 0);
}

TEST_CASE("gradient_norm is the Euclidean norm and clip_scale bounds it", "[optim]") {
  serial_backend<float> backend;
  const std::size_t n = GENERATE(0U, 1U, 7U, 8U, 1000U, 200003U);
  std::vector<float> g(n);
  double expected = 0;
  random_stream random{n};
  for (float& x : g) {
    x = static_cast<float>(random.normal());
    expected += static_cast<double>(x) * static_cast<double>(x);
  }
  const double norm = gradient_norm(backend, g);
  CHECK(norm == Approx(std::sqrt(expected)).epsilon(1e-12));
  CHECK(clip_scale(4, 2) == 0.5);
  CHECK(clip_scale(1, 2) == 1);
  CHECK(clip_scale(0, 2) == 1);
}
