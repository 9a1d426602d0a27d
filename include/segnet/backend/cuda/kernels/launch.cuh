// SPDX-License-Identifier: MIT
// How kernels are started. Tests compile the kernels with the ordinary compiler too and run them on the CPU:
// SEGNET_DEVICE_EMULATION then names a header with what CUDA's compiler else provides.
#pragma once

#include <segnet/backend/cuda/error.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>

#if defined(SEGNET_DEVICE_EMULATION)
#include SEGNET_DEVICE_EMULATION
#elif !defined(__CUDACC__)
#error "kernels are compiled by nvcc"
#endif

namespace segnet::gpu {

/// Threads of a block.
inline constexpr unsigned block_threads = 256;
/// Enough blocks to fill any card; threads then take several elements each.
inline constexpr std::size_t most_blocks = 132 * 16;

/// Starts `blocks` blocks of `threads` threads of a kernel that may use shared memory and barriers.
template <class... P>
void launch(void (*kernel)(P...), std::size_t blocks, unsigned threads, cudaStream_t stream,
            std::type_identity_t<P>... arguments) {
  if (blocks == 0) return;
#if defined(SEGNET_DEVICE_EMULATION)
  emulation::launch(static_cast<unsigned>(blocks), threads, stream, [=] { kernel(arguments...); });
#else
  void* pointers[] = {static_cast<void*>(&arguments)...};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(static_cast<unsigned>(blocks)),
                         dim3(threads), pointers, 0, stream),
        "cudaLaunchKernel");
#endif
}

#if !defined(SEGNET_DEVICE_EMULATION)
namespace detail {
template <class F>
__global__ void __launch_bounds__(block_threads) each(std::size_t n, F f) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    f(i);
}
}  // namespace detail
#endif

/// Calls f(i) for all i of [0, n), in no particular order. F is a copyable class whose operator() is
/// SEGNET_HD; what its pointers point to lies on the card.
template <class F>
void for_each(cudaStream_t stream, std::size_t n, F f) {
  if (n == 0) return;
#if defined(SEGNET_DEVICE_EMULATION)
  emulation::enqueue(stream, [=] { emulation::for_all(n, f); });
#else
  launch(&detail::each<F>, std::min((n + block_threads - 1) / block_threads, most_blocks), block_threads,
         stream, n, f);
#endif
}

}  // namespace segnet::gpu
