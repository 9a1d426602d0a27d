// SPDX-License-Identifier: MIT
#include "../network/networks.hpp"
#include "skip.hpp"
#include "squares.hpp"

#if defined(SEGNET_CUDA_SIMULATED)
#include <segnet/backend/cuda/kernels/launch.cuh>
#endif

#include <catch2/catch.hpp>

using namespace segnet;
using namespace segnet::test;

#if defined(SEGNET_CUDA_SIMULATED)
namespace segnet::test {
void square(cudaStream_t stream, std::size_t size, const float* x, float* y) {
  gpu::for_each(stream, size, [=](std::size_t i) { y[i] = x[i] * x[i]; });
}
void square_slope(cudaStream_t stream, std::size_t size, const float* x, const float* dy, float* dx) {
  gpu::for_each(stream, size, [=](std::size_t i) { dx[i] = 2 * x[i] * dy[i]; });
}
}  // namespace segnet::test
#endif

TEST_CASE("a layer may have kernels of its own, and they and networks be in a file that nvcc compiles") {
  SEGNET_SKIP_WITHOUT_CARD();
  const auto picture = random_images<float>(network<squares>::input_shape.size(), 4);
  const outcome expected = run_squares<cpu>(picture, 5);
  const auto agrees = [&](const outcome& found) {
    CHECK(difference(found.output, expected.output) < 1e-5);
    CHECK(difference(found.gradients, expected.gradients) < 1e-5);
  };
  agrees(run_squares<cuda>(picture, 5));
#if !defined(SEGNET_CUDA_SIMULATED)
  agrees(run_squares_of_nvcc(picture, 5));
#endif
}
