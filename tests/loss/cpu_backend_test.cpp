// SPDX-License-Identifier: MIT
// Loss, weights and optimizer on the real backend: as on one thread, whatever the number of threads.
#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/core/random.hpp>
#include <segnet/loss/bce_dice.hpp>
#include <segnet/loss/boundary_weight.hpp>
#include <segnet/optim/adam.hpp>
#include <segnet/optim/gradient_norm.hpp>

#include "serial_backend.hpp"

#include <catch2/catch.hpp>
#include <cstddef>
#include <vector>

using namespace segnet;

namespace {

struct outcome {
  std::vector<float> weights, gradient, parameters;
  double loss = 0, norm = 0;
};

template <class Backend>
outcome step(Backend& backend) {
  constexpr int images = 3;
  constexpr shape dims{131, 150, 1};  // 58,950 pixels: no multiple of any chunk, more than one of each
  constexpr std::size_t n = images * dims.size();
  random_stream random{11};
  std::vector<float> logits(n), masks(n), m(n), v(n);
  for (float& logit : logits) logit = static_cast<float>(random.normal());
  for (std::size_t i = 0; i < n; ++i) masks[i] = i / 150 % 131 > 60 ? 1.0F : 0.0F;

  outcome result{std::vector<float>(n), std::vector<float>(n), logits};
  std::vector<double> workspace(boundary_weight::workspace_size(images, dims));
  boundary_weight{}(backend, tensor_view<const float>{masks.data(), images, dims},
                    tensor_view<float>{result.weights.data(), images, dims}, workspace);
  result.loss = bce_dice{}(backend, logits, masks, result.weights, result.gradient).total;
  result.norm = gradient_norm(backend, result.gradient);
  adam_state<float> state{m, v};
  adam{}(backend, 0.01, result.parameters, result.gradient, state, clip_scale(result.norm, 1e-3));
  return result;
}

}  // namespace

TEST_CASE("a training step's ends do not depend on the number of threads", "[loss]") {
  serial_backend<float> serial;
  const outcome expected = step(serial);
  basic_cpu<float> one(1);
  const outcome single = step(one);
  CHECK(single.loss == Approx(expected.loss).epsilon(1e-7));  // exp and log are the backend's own
  CHECK(single.norm == Approx(expected.norm).epsilon(1e-7));
  for (std::size_t i = 0; i < expected.gradient.size(); ++i) {
    REQUIRE(single.weights[i] == expected.weights[i]);
    REQUIRE(single.gradient[i] == Approx(expected.gradient[i]).epsilon(1e-5));
  }
  for (int threads : {2, 3, 5}) {
    basic_cpu<float> backend(threads);
    const outcome many = step(backend);
    CHECK(many.loss == single.loss);
    CHECK(many.norm == single.norm);
    CHECK(many.weights == single.weights);
    CHECK(many.gradient == single.gradient);
    CHECK(many.parameters == single.parameters);
  }
}
