// SPDX-License-Identifier: MIT
// Local response normalisation across channels: y[c] = x[c] * d[c]^-beta, d[c] = k + alpha / size * the sum
// of x^2 over the `size` channels around c, of an even number one more below c than above it.
#pragma once

#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/kernels/pack.cuh>

#include <cmath>
#include <string>

namespace segnet::gpu::kernels {

namespace detail {

struct response_norm_factors {
  int size;
  float alpha, beta, k;  // alpha for each channel of the window

  explicit response_norm_factors(const response_norm& n)
      : size(n.size),
        alpha(static_cast<float>(n.alpha / n.size)),
        beta(static_cast<float>(n.beta)),
        k(static_cast<float>(n.k)) {}

  /// d of channel c of a pixel.
  template <class T>
  SEGNET_HD float sum(const T* pixel, int channels, int c) const {
    float sum = 0;
    for (int j = larger(0, c - size / 2); j < smaller(channels, c + (size - 1) / 2 + 1); ++j) {
      const auto value = static_cast<float>(pixel[j]);
      sum += value * value;
    }
    return sum * alpha + k;
  }
  SEGNET_HD float power(float d) const { return std::pow(d, -beta); }
};

template <class T>
struct response_norm_element {
  response_norm_factors norm;
  int channels;
  const T* x;
  T* y;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto at = divide(i, static_cast<unsigned>(channels));
    const float d = norm.sum(x + at.whole * to_size(channels), channels, static_cast<int>(at.rest));
    y[i] = static_cast<T>(static_cast<float>(x[i]) * norm.power(d));
  }
};

/// Elements that a block holds.
inline constexpr int response_norm_elements = 2048;

/// dx[j] = dy[j] d[j]^-beta - 2 beta alpha / size x[j] * the sum of dy[c] x[c] d[c]^(-beta - 1) over the
/// channels c in whose windows j lies. A block takes whole pixels, all of whose dy it has read before it
/// writes.
template <class T>
__global__ void __launch_bounds__(block_threads)
    response_norm_slopes(response_norm_factors norm, std::size_t rows, int channels, const T* x, const T* dy,
                         T* dx, bool accumulate) {
  __shared__ float part[response_norm_elements], power[response_norm_elements];
  const auto together = static_cast<std::size_t>(response_norm_elements / channels);
  const std::size_t first = blockIdx.x * together, from = first * to_size(channels);
  const auto size = static_cast<int>(smaller(together, rows - first)) * channels;
  for (auto e = static_cast<int>(threadIdx.x); e < size; e += static_cast<int>(block_threads)) {
    const int c = e % channels;
    const float d = norm.sum(x + from + (e - c), channels, c);
    power[e] = norm.power(d);
    part[e] =
        static_cast<float>(dy[from + to_size(e)]) * static_cast<float>(x[from + to_size(e)]) * power[e] / d;
  }
  __syncthreads();
  for (auto e = static_cast<int>(threadIdx.x); e < size; e += static_cast<int>(block_threads)) {
    const int c = e % channels;
    const std::size_t at = from + to_size(e);
    float sum = 0;
    for (int j = larger(0, c - (norm.size - 1) / 2); j < smaller(channels, c + norm.size / 2 + 1); ++j)
      sum += part[e - c + j];
    const float d =
        static_cast<float>(dy[at]) * power[e] - 2 * norm.beta * norm.alpha * static_cast<float>(x[at]) * sum;
    dx[at] = static_cast<T>(d + (accumulate ? static_cast<float>(dx[at]) : 0));
  }
}

}  // namespace detail

template <class T>
void local_response_norm_forward(cudaStream_t stream, const response_norm& norm, std::size_t rows,
                                 int channels, const T* x, T* y) {
  for_each(stream, rows * detail::to_size(channels),
           detail::response_norm_element<T>{detail::response_norm_factors(norm), channels, x, y});
}
template <class T>
void local_response_norm_backward(cudaStream_t stream, const response_norm& norm, std::size_t rows,
                                  int channels, const T* x, const T* dy, T* dx, bool accumulate) {
  if (channels > detail::response_norm_elements)
    throw error("the CUDA backend normalises local responses of at most " +
                std::to_string(detail::response_norm_elements) + " channels in training: found " +
                std::to_string(channels));
  const auto together = static_cast<std::size_t>(detail::response_norm_elements / channels);
  launch(&detail::response_norm_slopes<T>, (rows + together - 1) / together, block_threads, stream,
         detail::response_norm_factors(norm), rows, channels, x, dy, dx, accumulate);
}

}  // namespace segnet::gpu::kernels
