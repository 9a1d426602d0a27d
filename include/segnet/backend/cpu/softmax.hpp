// SPDX-License-Identifier: MIT
// What is computed over the channels of each pixel: softmax, and which channel is the largest.
#pragma once

#include <segnet/backend/cpu/simd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace segnet::detail {

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 on its own AVX-512 intrinsics
#endif

/// In place. What its exponential makes of a NaN, Eigen leaves open.
template <class T>
void exp_run(std::size_t size, T* x) {
  namespace e = Eigen::internal;
  using V = simd<T>;
  std::size_t i = 0;
  for (; i + V::lanes <= size; i += V::lanes) {
    const auto value = V::load(x + i);
    V::store(x + i, e::pselect(e::pcmp_eq(value, value), e::pexp(value), value));
  }
  for (; i < size; ++i) x[i] = std::exp(x[i]);
}

/// In place, of values of at least 1.
template <class T>
void log_run(std::size_t size, T* x) {
  using V = simd<T>;
  std::size_t i = 0;
  for (; Eigen::internal::packet_traits<T>::HasLog && i + V::lanes <= size; i += V::lanes)
    V::store(x + i, Eigen::internal::plog(V::load(x + i)));
  for (; i < size; ++i) x[i] = std::log(x[i]);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// p = softmax(x) of each of `rows` rows; `highest` their maxima m, `log_sum` log(sum exp(x - m)), both
/// nullable. p may be x. A NaN in x makes its row and log_sum NaN.
template <class T>
void softmax_rows(std::size_t rows, std::size_t channels, const T* x, T* p, T* highest, T* log_sum) {
  for (std::size_t row = 0; row < rows; ++row) {
    const T* const from = x + row * channels;
    T top = from[0];
    for (std::size_t c = 1; c < channels; ++c) top = from[c] > top ? from[c] : top;
    for (std::size_t c = 0; c < channels; ++c) p[row * channels + c] = from[c] - top;
    if (highest != nullptr) highest[row] = top;
  }
  exp_run(rows * channels, p);  // all rows as one: few channels fill no vector
  for (std::size_t row = 0; row < rows; ++row) {
    T* const to = p + row * channels;
    T sum = 0;
    for (std::size_t c = 0; c < channels; ++c) sum += to[c];
    const T part = T{1} / sum;
    for (std::size_t c = 0; c < channels; ++c) to[c] *= part;
    if (log_sum != nullptr) log_sum[row] = sum;
  }
  if (log_sum != nullptr) log_run(rows, log_sum);
}

/// dx = p * (dy - sum(dy * p)) of each row, or added to dx, which may be dy otherwise.
template <class T>
void softmax_backward_rows(std::size_t rows, std::size_t channels, const T* p, const T* dy, T* dx,
                           bool accumulate) {
  for (std::size_t row = 0; row < rows * channels; row += channels) {
    T sum{0};
    for (std::size_t c = row; c < row + channels; ++c) sum += dy[c] * p[c];
    for (std::size_t c = row; c < row + channels; ++c)
      dx[c] = p[c] * (dy[c] - sum) + (accumulate ? dx[c] : T{0});
  }
}

/// The first of each row's largest values; at most 256 channels.
template <class T>
void argmax_rows(std::size_t rows, std::size_t channels, const T* x, std::uint8_t* y) {
  for (std::size_t row = 0; row < rows; ++row, x += channels)
    y[row] = static_cast<std::uint8_t>(std::max_element(x, x + channels) - x);
}

/// Rows of one task: a few kilobytes, which stay in the first-level cache from one loop to the next.
constexpr std::size_t softmax_grain(std::size_t channels) {
  return std::max<std::size_t>(1, 2048 / channels);
}

}  // namespace segnet::detail
