// SPDX-License-Identifier: MIT
// The weight gradient of the thin levels, from padded rows: for each kernel row, dW is a product of dY with
// runs of kernel_w * channels that lie one pixel apart.
#pragma once

#include <segnet/backend/cpu/conv2d_rows.hpp>

namespace segnet::detail {

/// The rows of the batch are cut into so many chunks with sums of their own.
inline constexpr std::size_t weights_row_chunks = 16;

template <class T>
constexpr std::size_t weights_rows_size(const conv2d_geometry& g) {
  const int pixels = (g.out_w - 1) * g.stride + g.kernel_w;
  return static_cast<std::size_t>(g.kernel_h) * padded_rows<T>::row_size(pixels, g.in_channels);
}

/// dW[Rows][Packets packets] += the sum over `count` pixels of dy[i] * x[...]; of the last packet, only the
/// first `columns` in all are stored.
template <class V, int Rows, int Packets>
void add_weights_run(const typename V::scalar* dy, std::ptrdiff_t dy_step, const typename V::scalar* x,
                     std::ptrdiff_t x_step, int count, typename V::scalar* dweight,
                     std::ptrdiff_t dweight_step, int columns) {
  using T = typename V::scalar;
  using packet = typename V::packet;
  packet sum[Rows][Packets];
  unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
    unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { sum[i][v] = V::zero(); });
  });
  for (int p = 0; p < count; ++p, dy += dy_step, x += x_step) {
    packet values[Packets];
    unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { values[v] = V::load(x + v * V::lanes); });
    unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
      const packet factor = V::set(dy[i]);
      unroll<Packets>([&](auto v)
                          SEGNET_INLINE_LAMBDA { sum[i][v] = V::madd(factor, values[v], sum[i][v]); });
    });
  }
  unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
    T* to = dweight + i * dweight_step;
    if (columns == Packets * V::lanes) {
      unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA {
        V::store(to + v * V::lanes, V::add(V::load(to + v * V::lanes), sum[i][v]));
      });
    } else {
      alignas(64) T row[Packets * V::lanes];
      unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { V::store(row + v * V::lanes, sum[i][v]); });
      for (int c = 0; c < columns; ++c) to[c] += row[c];
    }
  });
}

template <class V, int Rows>
void add_weights_rows(const typename V::scalar* dy, std::ptrdiff_t dy_step, const typename V::scalar* x,
                      std::ptrdiff_t x_step, int count, typename V::scalar* dweight,
                      std::ptrdiff_t dweight_step, int run) {
  int c = 0;
  for (; run - c > V::lanes; c += 2 * V::lanes)
    add_weights_run<V, Rows, 2>(dy, dy_step, x + c, x_step, count, dweight + c, dweight_step,
                                std::min(2 * V::lanes, run - c));
  if (c < run)
    add_weights_run<V, Rows, 1>(dy, dy_step, x + c, x_step, count, dweight + c, dweight_step, run - c);
}

/// Adds the output rows [first, last) of the flattened batch to dW.
template <class T>
void add_weights_band(const conv2d_geometry& g, std::span<const conv2d_source<T>> sources, const T* dy,
                      std::ptrdiff_t first, std::ptrdiff_t last, T* dweight, T* memory) {
  using V = simd<T>;
  constexpr int tile = vector_registers >= 32 ? 8 : 4;
  const int pixels = (g.out_w - 1) * g.stride + g.kernel_w;
  padded_rows<T> rows(sources, g.h, g.w, g.pad_left, pixels, g.in_channels, g.kernel_h, memory);
  const int run = g.kernel_w * g.in_channels;
  const std::ptrdiff_t step = std::ptrdiff_t{g.stride} * g.in_channels,
                       k_step = std::ptrdiff_t{g.kernel_h} * run;
  for (std::ptrdiff_t row = first; row < last; ++row) {
    const int image = static_cast<int>(row / g.out_h);
    const int top = static_cast<int>(row % g.out_h) * g.stride - g.pad_top;
    const T* const dy_row = dy + row * g.out_w * g.out_channels;
    for (int r = std::max(0, -top); r < std::min(g.kernel_h, g.h - top); ++r) {
      const T* x = rows.get(image, top + r);
      T* const to = dweight + std::ptrdiff_t{r} * run;
      int k = 0;
      for (; k + tile <= g.out_channels; k += tile)
        add_weights_rows<V, tile>(dy_row + k, g.out_channels, x, step, g.out_w, to + k * k_step, k_step, run);
      for (; k < g.out_channels; ++k)
        add_weights_rows<V, 1>(dy_row + k, g.out_channels, x, step, g.out_w, to + k * k_step, k_step, run);
    }
  }
}

}  // namespace segnet::detail
