// SPDX-License-Identifier: MIT
// Counts of pixels. Atomic additions of whole numbers give the same in any order.
#pragma once

#include <segnet/backend/cuda/kernels/reduce_all.cuh>
#include <segnet/backend/cuda/kernels/softmax.cuh>

#include <algorithm>

namespace segnet::gpu::kernels {

namespace detail {

struct clear_counts {
  unsigned long long* counts;
  SEGNET_HD void operator()(std::size_t i) const { counts[i] = 0; }
};

/// `parts` blocks for each image.
template <class T>
__global__ void __launch_bounds__(block_threads)
    count_mask_pixels(unsigned parts, std::size_t pixels, const T* probabilities, const float* masks,
                      float threshold, unsigned long long* counts) {
  const unsigned image = blockIdx.x / parts, part = blockIdx.x - image * parts;
  const std::size_t first = image * pixels;
  unsigned sum[4] = {};
  for (std::size_t i = std::size_t{part} * block_threads + threadIdx.x; i < pixels;
       i += std::size_t{parts} * block_threads) {
    const bool predicted = static_cast<float>(probabilities[first + i]) > threshold,
               actual = masks[first + i] > 0.5F;
    sum[0] += predicted && actual ? 1U : 0U;
    sum[1] += predicted && !actual ? 1U : 0U;
    sum[2] += !predicted && actual ? 1U : 0U;
    sum[3] += !predicted && !actual ? 1U : 0U;
  }
  add_block(sum);
  if (threadIdx.x == 0)
    for (unsigned s = 0; s < 4; ++s)
      atomicAdd(&counts[4 * image + s], static_cast<unsigned long long>(sum[s]));
}

/// What a block's memory holds.
inline constexpr unsigned most_shared_counts = 8192;

template <bool Shared>
__global__ void __launch_bounds__(block_threads)
    count_class_pixels(std::size_t pixels, unsigned classes, unsigned ignore, const std::uint8_t* predicted,
                       const std::uint8_t* labels, unsigned long long* counts) {
  __shared__ unsigned of_block[Shared ? most_shared_counts : 1];
  const unsigned cells = classes * classes;
  if constexpr (Shared) {
    for (unsigned i = threadIdx.x; i < cells; i += block_threads) of_block[i] = 0;
    __syncthreads();
  }
  const std::size_t step = std::size_t{gridDim.x} * block_threads;
  for (std::size_t i = std::size_t{blockIdx.x} * block_threads + threadIdx.x; i < pixels; i += step) {
    const unsigned label = labels[i], found = predicted[i];
    if (label == ignore) continue;
    if (label >= classes || found >= classes)
      atomicAdd(&counts[cells], 1ULL);
    else if constexpr (Shared)
      atomicAdd(&of_block[label * classes + found], 1U);
    else
      atomicAdd(&counts[label * classes + found], 1ULL);
  }
  if constexpr (Shared) {
    __syncthreads();
    for (unsigned i = threadIdx.x; i < cells; i += block_threads)
      if (of_block[i] > 0) atomicAdd(&counts[i], static_cast<unsigned long long>(of_block[i]));
  }
}

}  // namespace detail

template <class T>
void count_mask(cudaStream_t stream, int n, std::size_t pixels, const T* probabilities, const float* masks,
                float threshold, unsigned long long* counts) {
  const auto images = static_cast<std::size_t>(n);
  const std::size_t parts = std::clamp<std::size_t>(pixels / (block_threads * 8), 1, most_blocks);
  for_each(stream, 4 * images, detail::clear_counts{counts});
  launch(&detail::count_mask_pixels<T>, images * parts, block_threads, stream, static_cast<unsigned>(parts),
         pixels, probabilities, masks, threshold, counts);
}

void count_classes(cudaStream_t stream, std::size_t pixels, int classes, std::uint8_t ignore,
                   const std::uint8_t* predicted, const std::uint8_t* labels, unsigned long long* counts) {
  const auto k = static_cast<unsigned>(classes);
  const std::size_t blocks = std::clamp<std::size_t>(pixels / (block_threads * 16), 1, most_blocks / 2);
  launch(k * k <= detail::most_shared_counts ? &detail::count_class_pixels<true>
                                             : &detail::count_class_pixels<false>,
         blocks, block_threads, stream, pixels, k, ignore, predicted, labels, counts);
}
template <class T>
void count_classes(cudaStream_t stream, std::size_t pixels, int classes, std::uint8_t ignore, const T* scores,
                   const std::uint8_t* labels, unsigned long long* counts, void* workspace) {
  auto* const predicted = static_cast<std::uint8_t*>(workspace);
  argmax(stream, pixels, static_cast<std::size_t>(classes), scores, predicted);
  count_classes(stream, pixels, classes, ignore, predicted, labels, counts);
}

}  // namespace segnet::gpu::kernels
