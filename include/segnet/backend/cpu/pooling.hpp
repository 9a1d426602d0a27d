// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/core/primitives.hpp>

#include <cstdint>

namespace segnet::detail {

/// The first of equal values wins; `index` (nullable) notes its place in the window, row by row.
template <class T>
void max_pool_forward(thread_pool& pool, const pool2d_geometry& g, int batch, const T* x, T* y,
                      std::uint8_t* index) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.out_h);
  const std::ptrdiff_t channels = g.channels;
  parallel_for(pool, rows, 4, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row) {
      const auto image = static_cast<std::ptrdiff_t>(row) / g.out_h;
      const int top = static_cast<int>(row % static_cast<std::size_t>(g.out_h)) * g.stride;
      const int rows_here = std::min(g.window, g.h - top);
      for (int column = 0; column < g.out_w; ++column) {
        const int left = column * g.stride;
        const int columns_here = std::min(g.window, g.w - left);
        const T* window = x + ((image * g.h + top) * g.w + left) * channels;
        const std::ptrdiff_t out = (static_cast<std::ptrdiff_t>(row) * g.out_w + column) * channels;
        T* best = y + out;
        std::copy_n(window, channels, best);
        if (index != nullptr) std::fill_n(index + out, channels, std::uint8_t{0});
        for (int i = 0; i < rows_here; ++i)
          for (int j = i == 0 ? 1 : 0; j < columns_here; ++j) {
            const T* pixel = window + (std::ptrdiff_t{i} * g.w + j) * channels;
            if (index != nullptr) {
              const auto place = static_cast<std::uint8_t>(i * g.window + j);
              for (std::ptrdiff_t c = 0; c < channels; ++c)
                index[out + c] = pixel[c] > best[c] ? place : index[out + c];
            }
            for (std::ptrdiff_t c = 0; c < channels; ++c) best[c] = pixel[c] > best[c] ? pixel[c] : best[c];
          }
      }
    }
  });
}

/// Each input row collects from the windows over it, so that overlapping windows do not race.
template <class T>
void max_pool_backward(thread_pool& pool, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                       const T* dy, T* dx, bool accumulate) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.h);
  const std::ptrdiff_t channels = g.channels;
  parallel_for(pool, rows, 4, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row) {
      const auto image = static_cast<std::ptrdiff_t>(row) / g.h;
      const int y = static_cast<int>(row % static_cast<std::size_t>(g.h));
      T* to = dx + static_cast<std::ptrdiff_t>(row) * g.w * channels;
      if (!accumulate) std::fill_n(to, g.w * channels, T{0});
      const int first = y < g.window ? 0 : (y - g.window) / g.stride + 1;
      for (int out_y = first; out_y < g.out_h && out_y * g.stride <= y; ++out_y)
        for (int out_x = 0; out_x < g.out_w; ++out_x) {
          const std::ptrdiff_t out = ((image * g.out_h + out_y) * g.out_w + out_x) * channels;
          const int columns_here = std::min(g.window, g.w - out_x * g.stride);
          for (int j = 0; j < columns_here; ++j) {
            const auto place = static_cast<std::uint8_t>((y - out_y * g.stride) * g.window + j);
            T* pixel = to + (std::ptrdiff_t{out_x} * g.stride + j) * channels;
            for (std::ptrdiff_t c = 0; c < channels; ++c)
              pixel[c] += index[out + c] == place ? dy[out + c] : T{0};
          }
        }
    }
  });
}

}  // namespace segnet::detail
