// SPDX-License-Identifier: MIT
// Upsampling by interpolation, and its exact transpose.
#pragma once

#include <segnet/backend/cpu/lanes.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/core/axes.hpp>
#include <segnet/core/shape.hpp>

#include <algorithm>
#include <cstddef>

namespace segnet::detail {

template <class T>
void bilinear_forward(thread_pool& pool, int factor, int batch, shape in, const T* x, T* y) {
  const auto out_h = static_cast<std::size_t>(in.h * factor);
  const int out_w = in.w * factor;
  with_channels(static_cast<std::size_t>(in.c), [&](auto channels) {
    parallel_for(pool, static_cast<std::size_t>(batch) * out_h, 4,
                 [=](std::size_t begin, std::size_t end, int) {
                   const bilinear_axis ys{in.h, factor}, xs{in.w, factor};
                   for (std::size_t row = begin; row < end; ++row) {
                     const auto down = ys.at<T>(static_cast<int>(row % out_h));
                     const T* const image = x + row / out_h * in.size();
                     const T* const above = image + std::ptrdiff_t{down.first} * in.w * in.c;
                     const T* const below = image + std::ptrdiff_t{down.second} * in.w * in.c;
                     for (int column = 0; column < out_w; ++column) {
                       const auto across = xs.at<T>(column);
                       const std::ptrdiff_t left = std::ptrdiff_t{across.first} * in.c,
                                            right = std::ptrdiff_t{across.second} * in.c;
                       T* const to = y + (static_cast<std::ptrdiff_t>(row) * out_w + column) * in.c;
                       for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
                         const auto mean = [=](const T* line) SEGNET_INLINE_LAMBDA {
                           return load<l>(line + left + c) * across.of_first +
                                  load<l>(line + right + c) * across.of_second;
                         };
                         store<l>(to + c, mean(above) * down.of_first + mean(below) * down.of_second);
                       });
                     }
                   }
                 });
  });
}

/// Each row of dx collects from the output rows that read it: no two tasks write to one place.
template <class T>
void bilinear_backward(thread_pool& pool, int factor, int batch, shape in, const T* dy, T* dx,
                       bool accumulate) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(in.h);
  const std::ptrdiff_t line = std::ptrdiff_t{in.w} * in.c, out_line = line * factor;
  with_channels(static_cast<std::size_t>(in.c), [&](auto channels) {
    parallel_for(pool, rows, 4, [=](std::size_t begin, std::size_t end, int) {
      const bilinear_axis ys{in.h, factor}, xs{in.w, factor};
      for (std::size_t row = begin; row < end; ++row) {
        const int y = static_cast<int>(row % static_cast<std::size_t>(in.h));
        const T* const image = dy + static_cast<std::ptrdiff_t>(row) / in.h * in.h * factor * out_line;
        T* const to = dx + static_cast<std::ptrdiff_t>(row) * line;
        if (!accumulate) std::fill_n(to, line, T{0});
        for (int out_y = ys.begin(y); out_y < ys.end(y); ++out_y) {
          const auto down = ys.at<T>(out_y);
          const T weight =
              (down.first == y ? down.of_first : T{0}) + (down.second == y ? down.of_second : T{0});
          if (weight == T{0}) continue;
          const T* from = image + out_y * out_line;
          for (int column = 0; column < in.w * factor; ++column, from += in.c) {
            const auto across = xs.at<T>(column);
            const T of_first = weight * across.of_first, of_second = weight * across.of_second;
            T* const left = to + std::ptrdiff_t{across.first} * in.c;
            T* const right = to + std::ptrdiff_t{across.second} * in.c;  // may be the same pixel
            for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
              const auto slope = load<l>(from + c);
              store<l>(left + c, load<l>(left + c) + slope * of_first);
              store<l>(right + c, load<l>(right + c) + slope * of_second);
            });
          }
        }
      }
    });
  });
}

}  // namespace segnet::detail
