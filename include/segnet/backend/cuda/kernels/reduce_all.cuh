// SPDX-License-Identifier: MIT
// Sums over whole arrays, in an order that depends on their size alone: each block adds up a part, then one
// block adds up the parts.
#pragma once

#include <segnet/backend/cuda/kernels/pack.cuh>
#include <segnet/backend/cuda/training_kernels.hpp>

#include <algorithm>

namespace segnet::gpu::kernels::detail {

/// Adds up what the threads of a block have; the result is thread 0's. Once in a kernel.
template <class V, int Sums>
__device__ void add_block(V (&sum)[Sums]) {
  constexpr unsigned warp = 32, warps = block_threads / warp;
  __shared__ V of[Sums][warps];
  for (int s = 0; s < Sums; ++s) {
    for (unsigned far = warp / 2; far > 0; far /= 2) sum[s] += __shfl_down_sync(0xffffffffU, sum[s], far);
    if (threadIdx.x % warp == 0) of[s][threadIdx.x / warp] = sum[s];
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int s = 0; s < Sums; ++s)
    for (unsigned i = 1; i < warps; ++i) sum[s] += of[s][i];
}

template <int Sums, class Body>
__global__ void __launch_bounds__(block_threads) sum_parts(std::size_t items, Body body, double* parts) {
  double sum[Sums] = {};
  const std::size_t step = std::size_t{gridDim.x} * block_threads;
  for (std::size_t i = std::size_t{blockIdx.x} * block_threads + threadIdx.x; i < items; i += step)
    body(i, sum);
  add_block(sum);
  if (threadIdx.x == 0)
    for (unsigned s = 0; s < Sums; ++s) parts[blockIdx.x * Sums + s] = sum[s];
}

template <int Sums, class Finish>
__global__ void __launch_bounds__(block_threads) add_parts(unsigned parts, const double* of, Finish finish) {
  double sum[Sums] = {};
  for (unsigned i = threadIdx.x; i < parts; i += block_threads)
    for (unsigned s = 0; s < Sums; ++s) sum[s] += of[i * Sums + s];
  add_block(sum);
  if (threadIdx.x == 0) finish(sum);
}

/// finish(double (&sums)[Sums]), once, with what body(i, double (&sums)[Sums]) adds to them for all i of
/// [0, items). The threads of a warp take neighbouring items. `workspace`: sums_workspace(Sums) bytes.
template <int Sums, class Body, class Finish>
void sum_all(cudaStream_t stream, std::size_t items, Body body, void* workspace, Finish finish) {
  constexpr std::size_t turns = 4;
  auto* const parts = static_cast<double*>(workspace);
  const std::size_t blocks = std::clamp<std::size_t>(items / (block_threads * turns), 1, most_sum_parts);
  launch(&sum_parts<Sums, Body>, blocks, block_threads, stream, items, body, parts);
  launch(&add_parts<Sums, Finish>, 1, block_threads, stream, static_cast<unsigned>(blocks), parts, finish);
}

/// f(first element, width<n>, sums) for pack i of [0, size), the last elements one by one where they do not
/// fill one.
template <int N, class F>
struct sum_pack {
  std::size_t size;
  F f;

  template <int Sums>
  SEGNET_HD void operator()(std::size_t i, double (&sums)[Sums]) const {
    const std::size_t first = i * N;
    if (first + N <= size) {
      f(first, width<N>{}, sums);
    } else {
      for (std::size_t at = first; at < size; ++at) f(at, width<1>{}, sums);
    }
  }
};
template <int Sums, class T, class F, class Finish>
void sum_packs(cudaStream_t stream, std::size_t size, bool whole, F f, void* workspace, Finish finish) {
  with_packs<T>(whole, [=](auto n) {
    constexpr int N = n;
    sum_all<Sums>(stream, (size + N - 1) / N, sum_pack<N, F>{size, f}, workspace, finish);
  });
}

/// What lies in a workspace behind the parts of so many sums.
template <class V>
V* behind_parts(void* workspace, std::size_t sums) {
  return reinterpret_cast<V*>(static_cast<std::byte*>(workspace) + sums_workspace(sums));
}

}  // namespace segnet::gpu::kernels::detail
