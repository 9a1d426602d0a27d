// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/elementwise.hpp>

#include <algorithm>
#include <cstddef>

namespace segnet::detail {

/// y = the window of y's size whose first pixel is (top, left) of x.
template <class T>
void crop_forward(thread_pool& pool, int batch, shape in, shape window, int top, int left, const T* x, T* y) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(window.h);
  const auto run = static_cast<std::size_t>(window.w) * static_cast<std::size_t>(window.c);
  parallel_for(pool, rows, 4, [=](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row) {
      const auto image = static_cast<std::ptrdiff_t>(row) / window.h,
                 line = static_cast<std::ptrdiff_t>(row) % window.h;
      copy_run(x + ((image * in.h + top + line) * in.w + left) * in.c, run, y + row * run, false);
    }
  });
}

/// dx = dy in that window, zero around it.
template <class T>
void crop_backward(thread_pool& pool, int batch, shape in, shape window, int top, int left, const T* dy,
                   T* dx, bool accumulate) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(in.h);
  const std::ptrdiff_t run = std::ptrdiff_t{window.w} * window.c, before = std::ptrdiff_t{left} * in.c;
  parallel_for(pool, rows, 4, [=](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row) {
      const auto image = static_cast<std::ptrdiff_t>(row) / in.h,
                 line = static_cast<std::ptrdiff_t>(row) % in.h - top;
      T* const to = dx + static_cast<std::ptrdiff_t>(row) * in.w * in.c;
      const bool inside = line >= 0 && line < window.h;
      if (!accumulate) {
        std::fill(to, inside ? to + before : to + std::ptrdiff_t{in.w} * in.c, T{0});
        if (inside) std::fill(to + before + run, to + std::ptrdiff_t{in.w} * in.c, T{0});
      }
      if (inside)
        copy_run(dy + (image * window.h + line) * run, static_cast<std::size_t>(run), to + before,
                 accumulate);
    }
  });
}

}  // namespace segnet::detail
