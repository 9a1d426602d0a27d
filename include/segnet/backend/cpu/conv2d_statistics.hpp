// SPDX-License-Identifier: MIT
// The mean and the variance of what a convolution writes, summed up while that is still in the cache.
#pragma once

#include <segnet/backend/cpu/conv2d_gather.hpp>
#include <segnet/backend/cpu/row_sums.hpp>

#include <algorithm>
#include <cstddef>
#include <span>

namespace segnet::detail {

// Partial sums are [slot][sum, sum of squares][columns], in double. At any time one task alone adds to a
// slot's column, and in an order that the geometry fixes: the same bits for any number of threads. No pivot
// is subtracted: squares of floats are exact in double, and the variance loses digits only where the mean
// is so much larger that the floats themselves have lost them.

inline constexpr int fewest_slots = 8;

/// Fewer where there are many columns, which bounds the memory.
constexpr int statistics_slots(int columns) { return std::clamp(4096 / columns, fewest_slots, 64); }

/// Elements of T that the partial sums take, in whole lines of the cache.
template <class T>
constexpr std::size_t statistics_size(int columns) {
  const std::size_t doubles =
      2 * static_cast<std::size_t>(statistics_slots(columns)) * static_cast<std::size_t>(columns);
  return (doubles + 7) / 8 * 8 * (sizeof(double) / sizeof(T));
}

template <class T>
double* slot_sums(const gather_product<T>& p, std::ptrdiff_t slot) {
  return p.sums + 2 * slot * p.columns;
}

/// Adds a block of the output: `rows` x `pixels` from `out` on, `count` of its channels from `first` on.
template <class T>
SEGNET_INLINE void sum_block(const gather_product<T>& p, std::ptrdiff_t slot, const T* out, int rows,
                             std::ptrdiff_t pixels, int first, int count) {
  const std::ptrdiff_t pixel = p.columns, line = std::ptrdiff_t{p.out_w} * p.columns;
  double* const sums = slot_sums(p, slot) + first;
  double* const squares = sums + p.columns;
  for_each_vector<double>(static_cast<std::size_t>(count), [&](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
    auto sum = load<l>(sums + c), square = load<l>(squares + c);
    for (int i = 0; i < rows; ++i)
      for (std::ptrdiff_t j = 0; j < pixels; ++j) {
        const auto value = convert<double, l>(load<l>(out + i * line + j * pixel + c));
        sum += value;
        square += value * value;
      }
    store<l>(sums + c, sum);
    store<l>(squares + c, square);
  });
}

/// Adds one whole row of the output; rows count over the batch.
template <class T>
void sum_row(const gather_product<T>& p, std::ptrdiff_t slot, std::ptrdiff_t row) {
  const auto pixels = static_cast<std::size_t>(p.out_w), first = static_cast<std::size_t>(row) * pixels;
  add_rows<2>(
      first, first + pixels, static_cast<std::size_t>(p.columns),
      [out = p.out](auto l, const lane_channels&) {
        return [=](std::size_t i) SEGNET_INLINE_LAMBDA {
          const auto value = convert<double, l>(load<l>(out + i));
          return row_terms<2, l>{{value, value * value}};
        };
      },
      slot_sums(p, slot));
}

/// From the partial sums to what the epilogue asks for.
template <class T>
void finish_statistics(const gather_product<T>& p) {
  const auto n = static_cast<double>(p.pixels());
  for (int c = 0; c < p.columns; ++c) {
    double sum = 0, square = 0;
    for (int slot = 0; slot < statistics_slots(p.columns); ++slot) {
      sum += slot_sums(p, slot)[c];
      square += slot_sums(p, slot)[p.columns + c];
    }
    const double mean = sum / n;
    p.finish.mean[c] = static_cast<T>(mean);
    p.finish.variance[c] = static_cast<T>(std::max(0.0, square / n - mean * mean));
  }
}

}  // namespace segnet::detail
