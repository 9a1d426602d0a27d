// SPDX-License-Identifier: MIT
// A network, and kernels of a layer of one's own, in a file that nvcc compiles.
#include "squares.hpp"

namespace segnet::test {

namespace {

__global__ void square_each(std::size_t size, const float* x, float* y) {
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < size) y[i] = x[i] * x[i];
}
__global__ void slope_of_each(std::size_t size, const float* x, const float* dy, float* dx) {
  const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (i < size) dx[i] = 2 * x[i] * dy[i];
}
unsigned blocks(std::size_t size) { return static_cast<unsigned>((size + 255) / 256); }

}  // namespace

void square(cudaStream_t stream, std::size_t size, const float* x, float* y) {
  square_each<<<blocks(size), 256, 0, stream>>>(size, x, y);
  gpu::check(cudaGetLastError(), "square");
}
void square_slope(cudaStream_t stream, std::size_t size, const float* x, const float* dy, float* dx) {
  slope_of_each<<<blocks(size), 256, 0, stream>>>(size, x, dy, dx);
  gpu::check(cudaGetLastError(), "square_slope");
}

outcome run_squares_of_nvcc(std::span<const float> picture, std::uint64_t seed) {
  return run_squares<cuda>(picture, seed);
}

}  // namespace segnet::test
