// SPDX-License-Identifier: MIT
// Sums over the rows of a [rows][channels] matrix, per channel, in double: batch statistics and the
// gradients of per-channel parameters. The rows are cut into chunks by their number alone, and the chunks'
// sums added in order, so that the result does not depend on the number of threads.
#pragma once

#include <segnet/backend/cpu/lanes.hpp>
#include <segnet/backend/cpu/thread_pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <numeric>
#include <tuple>
#include <utility>

namespace segnet::detail {

inline constexpr std::size_t max_row_chunks = 64;

/// Elements of T that row_sums() needs for `sums` sums per channel.
template <class T>
constexpr std::size_t row_sums_size(int sums, int channels) {
  return (max_row_chunks + 1) * static_cast<std::size_t>(sums) * static_cast<std::size_t>(channels) *
         (sizeof(double) / sizeof(T));
}

/// Adds up `size` sums over chunks of rows, in `memory`: f(first row, last row, sums) adds to a chunk's own.
template <class T, class F>
const double* chunked_row_sums(thread_pool& pool, std::size_t rows, std::size_t size, T* memory, F f) {
  const std::size_t chunk = std::max<std::size_t>(64, (rows + max_row_chunks - 1) / max_row_chunks);
  const std::size_t chunks = (rows + chunk - 1) / chunk;
  double* total = reinterpret_cast<double*>(memory);
  std::uninitialized_fill_n(total, size * (1 + chunks), 0.0);
  pool.run(static_cast<int>(chunks), [&](int task, int) {
    const std::size_t part = static_cast<std::size_t>(task), first = part * chunk;
    f(first, std::min(first + chunk, rows), total + size * (1 + part));
  });
  for (std::size_t part = 1; part <= chunks; ++part)
    for (std::size_t i = 0; i < size; ++i) total[i] += total[part * size + i];
  return total;
}

/// The channels of a vector's lanes: `first` and those after it, starting again at 0 after the last.
struct lane_channels {
  std::size_t first, channels;

  std::size_t of(std::size_t lane) const { return (first + lane) % channels; }
  /// Lane by lane the channels' values.
  template <int Lanes, class T>
  vec<T, Lanes> load(const T* values) const {
    if (first + std::size_t{Lanes} <= channels) return detail::load<Lanes>(values + first);
    std::array<T, Lanes> lane;
    for (std::size_t i = 0; i < lane.size(); ++i) lane[i] = values[of(i)];
    return detail::load<Lanes>(lane.data());
  }
};

/// The N terms of as many elements as there are lanes.
template <int N, int Lanes>
struct row_terms {
  vec<double, Lanes> value[N];
};

/// Adds to sums[N][channels] the terms of the elements at `begin`, `begin + step`, ..., `count` times:
/// `Vectors` neighbouring vectors at a time, whose first element is of channel `channel`.
template <int N, int Lanes, int Vectors, class Terms>
void add_column(std::size_t begin, std::size_t step, std::size_t count, std::size_t channel,
                std::size_t channels, Terms terms, double* sums) {
  [&]<int... v>(std::integer_sequence<int, v...>) {
    const auto column = [&](int vector) {
      return lane_channels{(channel + static_cast<std::size_t>(vector * Lanes)) % channels, channels};
    };
    const std::tuple of{terms(lanes<Lanes>{}, column(v))...};
    vec<double, Lanes> sum[Vectors][N] = {};
    for (std::size_t row = 0, at = begin; row < count; ++row, at += step)
      unroll<Vectors>([&](auto i) SEGNET_INLINE_LAMBDA {
        const row_terms<N, Lanes> term = std::get<i>(of)(at + std::size_t{i * Lanes});
        for (int n = 0; n < N; ++n) sum[i][n] += term.value[n];
      });
    for (int i = 0; i < Vectors; ++i)
      for (int n = 0; n < N; ++n) {
        std::array<double, Lanes> lane;
        store<Lanes>(lane.data(), sum[i][n]);
        for (std::size_t l = 0; l < lane.size(); ++l)
          sums[static_cast<std::size_t>(n) * channels + column(i).of(l)] += lane[l];
      }
  }
  (std::make_integer_sequence<int, Vectors>{});
}

/// Adds to sums[N][channels] the terms of the rows [first, last). terms(lanes<n>, lane_channels) prepares
/// those of n channels, as a function of the first one's index that returns row_terms<N, n>.
template <int N, class Terms>
void add_rows(std::size_t first, std::size_t last, std::size_t channels, Terms terms, double* sums) {
  // So many rows are read as one that it is a whole number of steps, as few channels would not fill them.
  constexpr int width = simd<double>::lanes, vectors = 2;
  constexpr std::size_t step = width * vectors;
  const std::size_t fold = step / std::gcd(channels, step), line = fold * channels;
  const std::size_t folded = (last - first) / fold, rest = first + folded * fold;
  for (std::size_t at = 0; at < line; at += step)
    add_column<N, width, vectors>(first * channels + at, line, folded, at % channels, channels, terms, sums);
  for (std::size_t c = 0; c < channels && rest < last; ++c)
    add_column<N, 1, 1>(rest * channels + c, channels, last - rest, c, channels, terms, sums);
}

/// The sums over all rows, in `memory`: [N][channels].
template <int N, class T, class Terms>
const double* row_sums(thread_pool& pool, std::size_t rows, int channels, Terms terms, T* memory) {
  const auto row = static_cast<std::size_t>(channels);
  return chunked_row_sums(
      pool, rows, N * row, memory,
      [=](std::size_t first, std::size_t last, double* sums) { add_rows<N>(first, last, row, terms, sums); });
}

}  // namespace segnet::detail
