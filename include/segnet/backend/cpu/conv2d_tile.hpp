// SPDX-License-Identifier: MIT
// The innermost kernel: a tile of Rows pixels x Packets packets of columns, held in registers while it runs
// over all taps and channels.
#pragma once

#include <segnet/backend/cpu/simd.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace segnet::detail {

inline constexpr int max_tile_rows = 14;

/// Pixels of a tile: as many as leave registers for one row of weights and one broadcast.
template <int Packets>
inline constexpr int tile_rows = std::min(max_tile_rows, (vector_registers - Packets - 1) / Packets);

/// What one tap of one source adds to a tile: `count` channels from each pixel, times a packed panel
/// [count / depth, rounded up][packets][lanes].
template <class T>
struct tile_term {
  const T* pixel[max_tile_rows];
  const T* panel;
  int count;
};

/// Where a tile's result goes.
template <class T>
struct tile_result {
  T* out;
  std::ptrdiff_t step;  // elements from one pixel to the next
  int rows, columns;    // of them valid
  bool add;             // to what is there
  bool last;            // no further terms: apply bias and activation
  const T* bias;
  bool relu;
};

template <class T>
SEGNET_INLINE void finish_row(const T* sum, int columns, const tile_result<T>& to, T* out) {
  for (int c = 0; c < columns; ++c) {
    T value = sum[c];
    if (to.add) value += out[c];
    if (to.last && to.bias != nullptr) value += to.bias[c];
    if (to.last && to.relu) value = value < T{0} ? T{0} : value;
    out[c] = value;
  }
}

template <class Columns, int Packets, int Rows>
void multiply_tile(const tile_term<typename Columns::scalar>* terms, int count,
                   const tile_result<typename Columns::scalar>& to) {
  using V = Columns;
  using T = typename V::scalar;
  using packet = typename V::packet;
  packet sum[Rows][Packets];
  unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
    unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { sum[i][v] = V::zero(); });
  });
  for (const tile_term<T>* term = terms; term != terms + count; ++term) {
    const T* panel = term->panel;
    const auto step = [&](auto value_of) SEGNET_INLINE_LAMBDA {
      packet weights[Packets];
      unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { weights[v] = V::load(panel + v * V::lanes); });
      unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
        const packet value = value_of(i);
        unroll<Packets>([&](auto v)
                            SEGNET_INLINE_LAMBDA { sum[i][v] = V::madd(value, weights[v], sum[i][v]); });
      });
      panel += Packets * V::lanes;
    };
    std::ptrdiff_t c = 0;
    for (; c + V::depth <= term->count; c += V::depth)
      step([&](auto i) SEGNET_INLINE_LAMBDA { return V::broadcast(term->pixel[i] + c); });
    if (c < term->count)  // depth 2, odd: the panel's other lanes hold zeros
      step([&](auto i) SEGNET_INLINE_LAMBDA { return V::set(term->pixel[i][c]); });
  }

  if (V::depth == 1 && to.columns == Packets * V::width) {
    unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
      if (i >= to.rows) return;
      T* out = to.out + i * to.step;
      unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA {
        packet value = sum[i][v];
        if (to.add) value = V::add(value, V::load(out + v * V::lanes));
        if (to.last && to.bias != nullptr) value = V::add(value, V::load(to.bias + v * V::lanes));
        if (to.last && to.relu) value = V::relu(value);
        V::store(out + v * V::lanes, value);
      });
    });
  } else {
    alignas(64) T row[Packets * V::lanes];
    unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
      if (i >= to.rows) return;
      unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { V::store(row + v * V::lanes, sum[i][v]); });
      if constexpr (V::depth == 2) {
        alignas(64) T pairs[Packets * V::width];
        for (int c = 0; c < Packets * V::width; ++c) pairs[c] = row[2 * c] + row[2 * c + 1];
        finish_row(pairs, to.columns, to, to.out + i * to.step);
      } else {
        finish_row(row, to.columns, to, to.out + i * to.step);
      }
    });
  }
}

/// The kernels of one shape of panel by their number of rows: every even number, and 1. A tile with fewer
/// valid rows takes the next larger kernel.
template <class Columns, int Packets>
class tile_kernels {
 public:
  using scalar = typename Columns::scalar;
  static constexpr int rows = tile_rows<Packets>;

  static void multiply(const tile_term<scalar>* terms, int count, const tile_result<scalar>& to) {
    table[static_cast<std::size_t>(to.rows)](terms, count, to);
  }
  /// How many of a result's rows the kernel for `rows` of them reads.
  static constexpr int padded(int valid) { return valid == 1 ? 1 : std::min(rows, (valid + 1) / 2 * 2); }

 private:
  using kernel = void (*)(const tile_term<scalar>*, int, const tile_result<scalar>&);
  static constexpr auto table = []<std::size_t... i>(std::index_sequence<i...>) {
    return std::array<kernel, sizeof...(i)>{
        &multiply_tile<Columns, Packets, padded(std::max(1, static_cast<int>(i)))>...};
  }
  (std::make_index_sequence<std::size_t{rows} + 1>{});
};

}  // namespace segnet::detail
