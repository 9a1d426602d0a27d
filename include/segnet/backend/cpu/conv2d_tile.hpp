// SPDX-License-Identifier: MIT
// The innermost kernel: a tile of Rows pixels x Packets packets of columns, held in registers while it runs
// over all taps and channels.
#pragma once

#include <segnet/backend/cpu/simd.hpp>
#include <segnet/core/primitives.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

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
  bool last;            // no further terms: apply the epilogue
  conv2d_epilogue<T> finish;
};

/// One packet of columns, which may be narrower than a register.
template <class Packet, class T>
SEGNET_INLINE void finish_packet(Packet value, const tile_result<T>& to, int column, T* out) {
  Packet other;
  if (to.add) {
    std::memcpy(&other, out + column, sizeof other);
    value += other;
  }
  if (to.last) {
    if (to.finish.scale != nullptr) {
      std::memcpy(&other, to.finish.scale + column, sizeof other);
      value *= other;
    }
    if (to.finish.bias != nullptr) {
      std::memcpy(&other, to.finish.bias + column, sizeof other);
      value += other;
    }
    if (to.finish.act == activation::relu) value = value < Packet{} ? Packet{} : value;
  }
  std::memcpy(out + column, &value, sizeof value);
}

/// A pixel's columns, whatever their number: by packets, half a packet, one by one.
template <class V>
SEGNET_INLINE void finish_row(const typename V::scalar* sum, const tile_result<typename V::scalar>& to,
                              typename V::scalar* out) {
  using T = typename V::scalar;
  int c = 0;
  for (; c + V::lanes <= to.columns; c += V::lanes) finish_packet(V::load(sum + c), to, c, out);
  if constexpr (V::lanes >= 8)
    if (c + V::lanes / 2 <= to.columns) {
      finish_packet(V::load_half(sum + c), to, c, out);
      c += V::lanes / 2;
    }
  for (; c < to.columns; ++c) {
    T value = sum[c];
    if (to.add) value += out[c];
    if (to.last && to.finish.scale != nullptr) value *= to.finish.scale[c];
    if (to.last && to.finish.bias != nullptr) value += to.finish.bias[c];
    if (to.last && to.finish.act == activation::relu) value = value < T{0} ? T{0} : value;
    out[c] = value;
  }
}

/// The rows of a tile, which lie in `sums` packet after packet, to where they go. One function for kernels of
/// any number of rows.
template <class V, int Packets>
void finish_tile(const typename V::scalar* sums, const tile_result<typename V::scalar>& to) {
  using T = typename V::scalar;
  for (int i = 0; i < to.rows; ++i, sums += Packets * V::lanes) {
    T* const out = to.out + i * to.step;
    if (to.columns == Packets * V::width) {
      unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA {
        finish_packet(V::collapse(V::load(sums + v * V::lanes)), to, v * V::width, out);
      });
    } else {
      alignas(64) T row[std::max(Packets * V::width, V::lanes)];
      unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA {
        const auto value = V::collapse(V::load(sums + v * V::lanes));
        std::memcpy(row + v * V::width, &value, sizeof value);
      });
      finish_row<V>(row, to, out);
    }
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
    std::ptrdiff_t c = 0;
    // Steps of the reduction, one after the other for each pixel, so that they share its pointer.
    const auto run = [&](auto steps, auto value_of) SEGNET_INLINE_LAMBDA {
      packet weights[steps][Packets];
      unroll<steps>([&](auto u) SEGNET_INLINE_LAMBDA {
        unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA {
          weights[u][v] = V::load(panel + (u * Packets + v) * V::lanes);
        });
      });
      unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
        unroll<steps>([&](auto u) SEGNET_INLINE_LAMBDA {
          const packet value = value_of(term->pixel[i], u);
          unroll<Packets>([&](auto v)
                              SEGNET_INLINE_LAMBDA { sum[i][v] = V::madd(value, weights[u][v], sum[i][v]); });
        });
      });
      panel += steps * Packets * V::lanes;
    };
    constexpr std::integral_constant<int, 1> one{};
    constexpr std::integral_constant<int, Packets == 1 && vector_registers >= 32 ? 2 : 1> several{};
    const auto load = [&](const T* pixel, auto u)
                          SEGNET_INLINE_LAMBDA { return V::broadcast(pixel + c + u * V::depth); };
    for (; c + several * V::depth <= term->count; c += several * V::depth) run(several, load);
    for (; c + V::depth <= term->count; c += V::depth) run(one, load);
    if (c < term->count)  // depth 2, odd: nothing stands beside the last channel
      run(one, [&](const T* pixel, auto) SEGNET_INLINE_LAMBDA {
        const T pair[2] = {pixel[c], T{0}};
        return V::broadcast(pair);
      });
  }

  if constexpr (V::depth == 1)
    if (!to.add && !to.last && to.rows == Rows && to.columns == Packets * V::lanes) {  // no detour
      unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
        unroll<Packets>(
            [&](auto v) SEGNET_INLINE_LAMBDA { V::store(to.out + i * to.step + v * V::lanes, sum[i][v]); });
      });
      return;
    }
  alignas(64) T sums[Rows * Packets * V::lanes];
  unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
    unroll<Packets>([&](auto v)
                        SEGNET_INLINE_LAMBDA { V::store(sums + (i * Packets + v) * V::lanes, sum[i][v]); });
  });
  finish_tile<V, Packets>(sums, to);
}

/// The kernels of one shape of panel for 1, 2, 4, 8 and a full tile's rows: few, as each is long to compile.
/// A tile with another number of rows takes the next larger kernel.
template <class Columns, int Packets>
class tile_kernels {
 public:
  using scalar = typename Columns::scalar;
  static constexpr int rows = tile_rows<Packets>;

  static void multiply(const tile_term<scalar>* terms, int count, const tile_result<scalar>& to) {
    table[static_cast<std::size_t>(to.rows)](terms, count, to);
  }
  /// Rows of the next tile when `left` are left: full tiles, but two of 8 rather than a full one and a tiny
  /// one.
  static constexpr int share(std::ptrdiff_t left) {
    if (left > rows && left <= 16 && rows >= 8) return 8;
    return static_cast<int>(std::min<std::ptrdiff_t>(left, rows));
  }
  /// How many of a result's rows the kernel for `rows` of them reads.
  static constexpr int padded(int valid) {
    return valid <= 2 ? valid : valid <= 4 ? 4 : valid <= 8 ? std::min(rows, 8) : rows;
  }

 private:
  using kernel = void (*)(const tile_term<scalar>*, int, const tile_result<scalar>&);
  static constexpr auto table = []<std::size_t... i>(std::index_sequence<i...>) {
    return std::array<kernel, sizeof...(i)>{
        &multiply_tile<Columns, Packets, padded(std::max(1, static_cast<int>(i)))>...};
  }
  (std::make_index_sequence<std::size_t{rows} + 1>{});
};

}  // namespace segnet::detail
