// SPDX-License-Identifier: MIT
// Sums over the rows of a [rows][channels] matrix, per channel, in double: batch statistics and the
// gradients of per-channel parameters. The rows are cut into chunks by their number alone, and the chunks'
// sums added in order, so that the result does not depend on the number of threads.
#pragma once

#include <segnet/backend/cpu/simd.hpp>
#include <segnet/backend/cpu/thread_pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>

namespace segnet::detail {

inline constexpr std::size_t max_row_chunks = 64;

/// Elements of T that row_sums() needs for `sums` sums per channel.
template <class T>
constexpr std::size_t row_sums_size(int sums, int channels) {
  return (max_row_chunks + 1) * static_cast<std::size_t>(sums) * static_cast<std::size_t>(channels) *
         (sizeof(double) / sizeof(T));
}

/// `terms(index, channel)` gives the N terms of one element as std::array<T, N>. The result is in `memory`:
/// [N][channels].
template <int N, class T, class Terms>
const double* row_sums(thread_pool& pool, std::size_t rows, int channels, Terms terms, T* memory) {
  constexpr int columns = 16;
  const auto width = static_cast<std::size_t>(channels);
  const std::size_t chunk = std::max<std::size_t>(64, (rows + max_row_chunks - 1) / max_row_chunks);
  const std::size_t chunks = (rows + chunk - 1) / chunk;
  const std::size_t size = std::size_t{N} * width;
  double* total = reinterpret_cast<double*>(memory);
  std::uninitialized_fill_n(total, size * (1 + chunks), 0.0);

  pool.run(static_cast<int>(chunks), [&](int task, int) {
    const std::size_t first = static_cast<std::size_t>(task) * chunk, last = std::min(first + chunk, rows);
    double* sums = total + size * (1 + static_cast<std::size_t>(task));
    const auto add = [&]<int Columns>(std::integral_constant<int, Columns>,
                                      std::size_t c) SEGNET_INLINE_LAMBDA {
      double local[N][Columns] = {};
      for (std::size_t row = first; row < last; ++row)
        for (int i = 0; i < Columns; ++i) {
          const std::size_t channel = c + static_cast<std::size_t>(i);
          const auto term = terms(row * width + channel, channel);
          for (int n = 0; n < N; ++n) local[n][i] += static_cast<double>(term[static_cast<std::size_t>(n)]);
        }
      for (int n = 0; n < N; ++n)
        for (int i = 0; i < Columns; ++i)
          sums[static_cast<std::size_t>(n) * width + c + static_cast<std::size_t>(i)] = local[n][i];
    };
    std::size_t c = 0;
    for (; c + columns <= width; c += columns) add(std::integral_constant<int, columns>{}, c);
    for (; c + 8 <= width; c += 8) add(std::integral_constant<int, 8>{}, c);
    for (; c < width; ++c) add(std::integral_constant<int, 1>{}, c);
  });

  for (std::size_t part = 1; part <= chunks; ++part)
    for (std::size_t i = 0; i < size; ++i) total[i] += total[part * size + i];
  return total;
}

}  // namespace segnet::detail
