// SPDX-License-Identifier: MIT
// What is computed over the channels of each pixel: a thread takes a pixel of few channels, a warp one of
// many.
#pragma once

#include <segnet/backend/cuda/kernels/pack.cuh>

#include <cmath>

namespace segnet::gpu::kernels {

namespace detail {

/// The lanes that work on one row.
struct one_thread {
  static SEGNET_HD unsigned lane() { return 0; }
  static constexpr unsigned lanes = 1;
  template <class T>
  static SEGNET_HD T other(T value, unsigned) {
    return value;
  }
};
struct one_warp {
  static constexpr unsigned lanes = 32;
  static __device__ unsigned lane() { return threadIdx.x % lanes; }
  /// That of the lane whose number differs in the bits of `mask`.
  template <class T>
  static __device__ T other(T value, unsigned mask) {
    return __shfl_xor_sync(0xffffffffU, value, static_cast<int>(mask));
  }
};

template <class F>
struct row_of_thread {
  F f;
  SEGNET_HD void operator()(std::size_t row) const { f(row, one_thread{}); }
};
template <class F>
__global__ void __launch_bounds__(block_threads) rows_of_warps(std::size_t rows, F f) {
  constexpr unsigned warps = block_threads / one_warp::lanes;
  for (std::size_t row = std::size_t{blockIdx.x} * warps + threadIdx.x / one_warp::lanes; row < rows;
       row += std::size_t{gridDim.x} * warps)
    f(row, one_warp{});
}

/// f(row, its lanes).
template <class F>
void for_each_row(cudaStream_t stream, std::size_t rows, std::size_t channels, F f) {
  constexpr std::size_t warps = block_threads / one_warp::lanes;
  if (channels <= one_warp::lanes)
    for_each(stream, rows, row_of_thread<F>{f});
  else
    launch(&rows_of_warps<F>, std::min((rows + warps - 1) / warps, most_blocks), block_threads, stream, rows,
           f);
}

#if defined(__CUDACC__)
#pragma nv_diag_suppress 20014  // a warp's functions are for the device alone, and so are its rows
#endif

template <class Lanes>
SEGNET_HD float sum_of_lanes(float value, Lanes lanes) {
  for (unsigned mask = Lanes::lanes / 2; mask > 0; mask /= 2) value += lanes.other(value, mask);
  return value;
}

template <class T>
struct softmax_row {
  unsigned channels;
  const T* x;
  T* y;

  template <class Lanes>
  SEGNET_HD void operator()(std::size_t row, Lanes lanes) const {
    const T* const from = x + row * channels;
    T* const to = y + row * channels;
    auto top = static_cast<float>(from[0]);
    for (unsigned c = lanes.lane(); c < channels; c += Lanes::lanes) {
      const auto value = static_cast<float>(from[c]);
      top = value > top ? value : top;
    }
    for (unsigned mask = Lanes::lanes / 2; mask > 0; mask /= 2) {
      const float other = lanes.other(top, mask);
      top = other > top ? other : top;
    }
    float sum = 0;
    for (unsigned c = lanes.lane(); c < channels; c += Lanes::lanes)
      sum += std::exp(static_cast<float>(from[c]) - top);
    const float part = 1 / sum_of_lanes(sum, lanes);
    for (unsigned c = lanes.lane(); c < channels; c += Lanes::lanes)
      to[c] = static_cast<T>(std::exp(static_cast<float>(from[c]) - top) * part);
  }
};

template <class T>
struct softmax_slope_row {
  unsigned channels;
  const T *y, *dy;
  T* dx;
  bool accumulate;

  template <class Lanes>
  SEGNET_HD void operator()(std::size_t row, Lanes lanes) const {
    const std::size_t first = row * channels;
    float sum = 0;
    for (unsigned c = lanes.lane(); c < channels; c += Lanes::lanes)
      sum += static_cast<float>(dy[first + c]) * static_cast<float>(y[first + c]);
    sum = sum_of_lanes(sum, lanes);
    for (unsigned c = lanes.lane(); c < channels; c += Lanes::lanes) {
      const std::size_t at = first + c;
      const float d = static_cast<float>(y[at]) * (static_cast<float>(dy[at]) - sum);
      dx[at] = static_cast<T>(d + (accumulate ? static_cast<float>(dx[at]) : 0));
    }
  }
};

/// The first of the largest.
template <class T>
struct argmax_row {
  unsigned channels;
  const T* x;
  std::uint8_t* y;

  template <class Lanes>
  SEGNET_HD void operator()(std::size_t row, Lanes lanes) const {
    const T* const from = x + row * channels;
    auto top = static_cast<float>(from[0]);
    unsigned place = 0;
    for (unsigned c = lanes.lane(); c < channels; c += Lanes::lanes) {
      const auto value = static_cast<float>(from[c]);
      if (top < value) {
        top = value;
        place = c;
      }
    }
    for (unsigned mask = Lanes::lanes / 2; mask > 0; mask /= 2) {
      const float other = lanes.other(top, mask);
      const unsigned other_place = lanes.other(place, mask);
      if (top < other || (top == other && other_place < place)) {
        top = other;
        place = other_place;
      }
    }
    if (lanes.lane() == 0) y[row] = static_cast<std::uint8_t>(place);
  }
};

#if defined(__CUDACC__)
#pragma nv_diag_default 20014
#endif

}  // namespace detail

template <class T>
void softmax_forward(cudaStream_t stream, std::size_t rows, std::size_t channels, const T* x, T* y) {
  detail::for_each_row(stream, rows, channels, detail::softmax_row<T>{static_cast<unsigned>(channels), x, y});
}
template <class T>
void softmax_backward(cudaStream_t stream, std::size_t rows, std::size_t channels, const T* y, const T* dy,
                      T* dx, bool accumulate) {
  detail::for_each_row(stream, rows, channels,
                       detail::softmax_slope_row<T>{static_cast<unsigned>(channels), y, dy, dx, accumulate});
}
template <class T>
void argmax(cudaStream_t stream, std::size_t rows, std::size_t channels, const T* x, std::uint8_t* y) {
  detail::for_each_row(stream, rows, channels, detail::argmax_row<T>{static_cast<unsigned>(channels), x, y});
}

}  // namespace segnet::gpu::kernels
