// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/lanes.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/core/primitives.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace segnet::detail {

/// One window of `side` columns, rows x columns of it inside the image; `row_step` elements lie between its
/// rows.
template <bool Index, class T, class Channels>
SEGNET_INLINE void max_pool_window(const T* window, int rows, int columns, std::ptrdiff_t row_step, int side,
                                   Channels channels, T* y, std::uint8_t* index) {
  using place_type = integer_of<T>;
  for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
    auto best = load<l>(window + c);
    auto place = broadcast<l>(place_type{0});
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) {
        const auto value = load<l>(window + i * row_step + static_cast<std::size_t>(j) * channels + c);
        const auto more = (value > best) | (value != value);  // NaN, too
        best = more ? value : best;
        if constexpr (Index) place = more ? broadcast<l>(place_type{i * side + j}) : place;
      }
    store<l>(y + c, best);
    if constexpr (Index) store<l>(index + c, convert<std::uint8_t, l>(place));
  });
}

/// The first of equal values wins; `index` (nullable) notes its place in the window, row by row.
template <class T>
void max_pool_forward(thread_pool& pool, const pool2d_geometry& g, int batch, const T* x, T* y,
                      std::uint8_t* index) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.out_h);
  const std::ptrdiff_t row_step = std::ptrdiff_t{g.w} * g.channels;
  with_channels(static_cast<std::size_t>(g.channels), [&](auto channels) {
    parallel_for(pool, rows, 4, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t row = begin; row < end; ++row) {
        const auto image = static_cast<std::ptrdiff_t>(row) / g.out_h;
        const int top = static_cast<int>(row % static_cast<std::size_t>(g.out_h)) * g.stride;
        const int rows_here = std::min(g.window, g.h - top);
        const T* from = x + (image * g.h + top) * row_step;
        for (int column = 0; column < g.out_w; ++column) {
          const int left = column * g.stride;
          const int columns_here = std::min(g.window, g.w - left);
          const T* window = from + std::ptrdiff_t{left} * g.channels;
          const std::ptrdiff_t out = (static_cast<std::ptrdiff_t>(row) * g.out_w + column) * g.channels;
          // The usual window gets code of its own, for its loops to disappear.
          const auto pool_window = [&](auto with_index, std::uint8_t* places) SEGNET_INLINE_LAMBDA {
            const auto run = [&](int high, int wide) SEGNET_INLINE_LAMBDA {
              max_pool_window<with_index>(window, high, wide, row_step, g.window, channels, y + out, places);
            };
            rows_here == 2 && columns_here == 2 ? run(2, 2) : run(rows_here, columns_here);
          };
          if (index == nullptr)
            pool_window(std::false_type{}, nullptr);
          else
            pool_window(std::true_type{}, index + out);
        }
      }
    });
  });
}

/// Adds dy of one window to its pixels in one row of dx (writes it, unless `accumulate`); `place` is that of
/// the row's first pixel.
template <class T, class Channels>
SEGNET_INLINE void max_pool_window_backward(const std::uint8_t* index, const T* dy, int place, int columns,
                                            Channels channels, T* dx, bool accumulate) {
  using place_type = integer_of<T>;
  for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
    const auto best = convert<place_type, l>(load<l>(index + c));
    const auto slope = load<l>(dy + c), zero = broadcast<l>(T{0});
    for (int j = 0; j < columns; ++j) {
      T* const pixel = dx + static_cast<std::size_t>(j) * channels + c;
      const auto part = best == broadcast<l>(place_type{place + j}) ? slope : zero;
      store<l>(pixel, accumulate ? load<l>(pixel) + part : part);
    }
  });
}

/// Each input row collects from the windows over it, so that overlapping windows do not race.
template <class T>
void max_pool_backward(thread_pool& pool, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                       const T* dy, T* dx, bool accumulate) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.h);
  const bool tiled = g.window == g.stride && g.out_h * g.stride >= g.h && g.out_w * g.stride >= g.w;
  const bool add = accumulate || !tiled;  // else every pixel has exactly one window, which may write it
  with_channels(static_cast<std::size_t>(g.channels), [&](auto channels) {
    parallel_for(pool, rows, 4, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t row = begin; row < end; ++row) {
        const auto image = static_cast<std::ptrdiff_t>(row) / g.h;
        const int y = static_cast<int>(row % static_cast<std::size_t>(g.h));
        T* to = dx + static_cast<std::ptrdiff_t>(row) * g.w * g.channels;
        if (add && !accumulate) std::fill_n(to, std::ptrdiff_t{g.w} * g.channels, T{0});
        const int first = y < g.window ? 0 : (y - g.window) / g.stride + 1;
        for (int out_y = first; out_y < g.out_h && out_y * g.stride <= y; ++out_y)
          for (int out_x = 0; out_x < g.out_w; ++out_x) {
            const std::ptrdiff_t out = ((image * g.out_h + out_y) * g.out_w + out_x) * g.channels;
            const int columns_here = std::min(g.window, g.w - out_x * g.stride);
            const auto spread = [=](int columns, bool adding) SEGNET_INLINE_LAMBDA {
              max_pool_window_backward(index + out, dy + out, (y - out_y * g.stride) * g.window, columns,
                                       channels, to + std::ptrdiff_t{out_x} * g.stride * g.channels, adding);
            };
            if (columns_here == 2)
              add ? spread(2, true) : spread(2, false);
            else
              spread(columns_here, add);
          }
      }
    });
  });
}

/// What max_pool_backward() spreads, read back: of each window the element at the noted place. `columns` of
/// the window's columns are in the image, `rows` of its rows.
template <class T, class Channels>
SEGNET_INLINE void max_unpool_window_backward(const std::uint8_t* index, const T* dy, int rows, int columns,
                                              std::ptrdiff_t row_step, int side, Channels channels, T* dx,
                                              bool accumulate) {
  using place_type = integer_of<T>;
  for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
    const auto best = convert<place_type, l>(load<l>(index + c));
    auto slope = broadcast<l>(T{0});
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j)
        slope = best == broadcast<l>(place_type{i * side + j})
                    ? load<l>(dy + i * row_step + static_cast<std::size_t>(j) * channels + c)
                    : slope;
    store<l>(dx + c, accumulate ? load<l>(dx + c) + slope : slope);
  });
}

/// The geometry is that of the pooling: dy has its input's size, dx and `index` its output's.
template <class T>
void max_unpool_backward(thread_pool& pool, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                         const T* dy, T* dx, bool accumulate) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.out_h);
  const std::ptrdiff_t row_step = std::ptrdiff_t{g.w} * g.channels;
  with_channels(static_cast<std::size_t>(g.channels), [&](auto channels) {
    parallel_for(pool, rows, 4, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t row = begin; row < end; ++row) {
        const auto image = static_cast<std::ptrdiff_t>(row) / g.out_h;
        const int top = static_cast<int>(row % static_cast<std::size_t>(g.out_h)) * g.stride;
        const int rows_here = std::min(g.window, g.h - top);
        const T* from = dy + (image * g.h + top) * row_step;
        for (int column = 0; column < g.out_w; ++column) {
          const int left = column * g.stride, columns_here = std::min(g.window, g.w - left);
          const std::ptrdiff_t out = (static_cast<std::ptrdiff_t>(row) * g.out_w + column) * g.channels;
          const auto gather = [&](int high, int wide) SEGNET_INLINE_LAMBDA {
            max_unpool_window_backward(index + out, from + std::ptrdiff_t{left} * g.channels, high, wide,
                                       row_step, g.window, channels, dx + out, accumulate);
          };
          rows_here == 2 && columns_here == 2 ? gather(2, 2) : gather(rows_here, columns_here);
        }
      }
    });
  });
}

}  // namespace segnet::detail
