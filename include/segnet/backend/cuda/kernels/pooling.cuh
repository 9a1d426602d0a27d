// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/kernels/pack.cuh>

namespace segnet::gpu::kernels {

namespace detail {

/// A pack of the pooled image, and its window.
template <int N>
struct pool_window {
  pool2d_geometry g;
  pack_grid<N> grid;

  struct place {
    std::size_t out, in;  // elements: the pooled one, the window's first
    int rows, columns;    // of the window, inside the image
  };
  SEGNET_HD place at(std::size_t i) const {
    const pixel_place p = grid[i];
    const int top = p.y * g.stride, left = p.x * g.stride;
    const std::size_t channel = to_size(p.channel), channels = to_size(g.channels);
    return {(p.line * to_size(g.out_w) + to_size(p.x)) * channels + channel,
            ((p.image * to_size(g.h) + to_size(top)) * to_size(g.w) + to_size(left)) * channels + channel,
            smaller(g.window, g.h - top), smaller(g.window, g.w - left)};
  }
  SEGNET_HD std::size_t pixel(int row, int column) const {
    return (to_size(row) * to_size(g.w) + to_size(column)) * to_size(g.channels);
  }
};

/// The first of equal values wins, and a NaN everything.
template <class T, int N>
struct max_pool {
  pool_window<N> windows;
  const T* x;
  T* y;
  std::uint8_t* index;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto window = windows.at(i);
    floats<N> best = read<N>(x + window.in);
    pack<std::uint8_t, N> place{};
    for (int row = 0; row < window.rows; ++row)
      for (int column = 0; column < window.columns; ++column) {
        const floats<N> value = read<N>(x + window.in + windows.pixel(row, column));
        SEGNET_UNROLL
        for (int c = 0; c < N; ++c) {
          const float v = value.lane[c];
          if (v > best.lane[c] || v != v) {
            best.lane[c] = v;
            place.lane[c] = static_cast<std::uint8_t>(row * windows.g.window + column);
          }
        }
      }
    store(y + window.out, narrow<T>(best));
    if (index != nullptr) store(index + window.out, place);
  }
};

/// Each pixel has exactly one window, which writes it.
template <class T, int N>
struct spread_windows {
  pool_window<N> windows;
  const std::uint8_t* index;
  const T* dy;
  T* dx;
  bool accumulate;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto window = windows.at(i);
    const floats<N> slope = read<N>(dy + window.out);
    const auto place = load<N>(index + window.out);
    for (int row = 0; row < window.rows; ++row)
      for (int column = 0; column < window.columns; ++column) {
        floats<N> d;
        SEGNET_UNROLL
        for (int c = 0; c < N; ++c)
          d.lane[c] = place.lane[c] == row * windows.g.window + column ? slope.lane[c] : 0;
        write(dx + window.in + windows.pixel(row, column), d, accumulate);
      }
  }
};
/// Each pixel collects from the windows over it.
template <class T, int N>
struct collect_windows {
  pool2d_geometry g;
  pack_grid<N> grid;
  const std::uint8_t* index;
  const T* dy;
  T* dx;
  bool accumulate;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    floats<N> sum{};
    for (int y = first(at.y); y < g.out_h && y * g.stride <= at.y; ++y)
      for (int x = first(at.x); x < g.out_w && x * g.stride <= at.x; ++x) {
        const std::size_t out = ((at.image * to_size(g.out_h) + to_size(y)) * to_size(g.out_w) + to_size(x)) *
                                    to_size(g.channels) +
                                to_size(at.channel);
        const int here = (at.y - y * g.stride) * g.window + (at.x - x * g.stride);
        const auto place = load<N>(index + out);
        const floats<N> slope = read<N>(dy + out);
        SEGNET_UNROLL
        for (int c = 0; c < N; ++c)
          if (place.lane[c] == here) sum.lane[c] += slope.lane[c];
      }
    write(dx + i * N, sum, accumulate);
  }

 private:
  SEGNET_HD int first(int pixel) const { return pixel < g.window ? 0 : (pixel - g.window) / g.stride + 1; }
};

/// What max_pool_backward() spreads, read back.
template <class T, int N>
struct read_windows {
  pool_window<N> windows;
  const std::uint8_t* index;
  const T* dy;
  T* dx;
  bool accumulate;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto window = windows.at(i);
    const auto place = load<N>(index + window.out);
    floats<N> slope{};
    for (int row = 0; row < window.rows; ++row)
      for (int column = 0; column < window.columns; ++column) {
        const floats<N> value = read<N>(dy + window.in + windows.pixel(row, column));
        SEGNET_UNROLL
        for (int c = 0; c < N; ++c)
          if (place.lane[c] == row * windows.g.window + column) slope.lane[c] = value.lane[c];
      }
    write(dx + window.out, slope, accumulate);
  }
};

}  // namespace detail

template <class T>
void max_pool_forward(cudaStream_t stream, const pool2d_geometry& g, int batch, const T* x, T* y,
                      std::uint8_t* index) {
  detail::with_packs<T>(detail::fits_packs<T>({x, y, index}, {g.channels}), [&](auto n) {
    const detail::pack_grid<n> grid{g.out_h, g.out_w, g.channels};
    for_each(stream, grid.size(batch), detail::max_pool<T, n>{{g, grid}, x, y, index});
  });
}

template <class T>
void max_pool_backward(cudaStream_t stream, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                       const T* dy, T* dx, bool accumulate) {
  const bool tiled = g.window == g.stride && g.out_h * g.stride >= g.h && g.out_w * g.stride >= g.w;
  detail::with_packs<T>(detail::fits_packs<T>({index, dy, dx}, {g.channels}), [&](auto n) {
    const detail::pack_grid<n> pooled{g.out_h, g.out_w, g.channels}, pixels{g.h, g.w, g.channels};
    if (tiled)
      for_each(stream, pooled.size(batch),
               detail::spread_windows<T, n>{{g, pooled}, index, dy, dx, accumulate});
    else
      for_each(stream, pixels.size(batch),
               detail::collect_windows<T, n>{g, pixels, index, dy, dx, accumulate});
  });
}

template <class T>
void max_unpool_forward(cudaStream_t stream, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                        const T* x, T* y) {
  max_pool_backward(stream, g, batch, index, x, y, false);  // which spreads gradients so
}
template <class T>
void max_unpool_backward(cudaStream_t stream, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                         const T* dy, T* dx, bool accumulate) {
  detail::with_packs<T>(detail::fits_packs<T>({index, dy, dx}, {g.channels}), [&](auto n) {
    const detail::pack_grid<n> grid{g.out_h, g.out_w, g.channels};
    for_each(stream, grid.size(batch), detail::read_windows<T, n>{{g, grid}, index, dy, dx, accumulate});
  });
}

}  // namespace segnet::gpu::kernels
