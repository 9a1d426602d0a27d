// SPDX-License-Identifier: MIT
// Loops over flat arrays and over channel ranges. Written for the compiler's vectoriser.
#pragma once

#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/backend/cpu/simd.hpp>
#include <segnet/core/shape.hpp>

#include <cmath>

namespace segnet::detail {

/// Elements per task: enough work to pay for handing it out.
inline constexpr std::size_t element_grain = 1 << 14;

/// y[i] = f(i) or y[i] += f(i).
template <class T, class F>
void transform(thread_pool& pool, std::size_t size, T* y, bool accumulate, F f) {
  parallel_for(pool, size, element_grain, [&](std::size_t begin, std::size_t end, int) {
    if (accumulate)
      for (std::size_t i = begin; i < end; ++i) y[i] += f(i);
    else
      for (std::size_t i = begin; i < end; ++i) y[i] = f(i);
  });
}

template <class T>
T sigmoid_of(T x) {
  return T{1} / (T{1} + std::exp(-x));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 on its own AVX-512 intrinsics
#endif

/// exp is not in the vectoriser's reach; Eigen has one for packets. It clamps its argument, NaN included.
template <class T>
void sigmoid_run(const T* x, std::size_t size, T* y) {
  namespace e = Eigen::internal;
  using V = simd<T>;
  std::size_t i = 0;
  for (; i + V::lanes <= size; i += V::lanes) {
    const auto value = V::load(x + i);
    const auto result = e::pdiv(V::set(T{1}), V::add(V::set(T{1}), e::pexp(e::pnegate(value))));
    V::store(y + i, e::pselect(e::pcmp_eq(value, value), result, value));
  }
  for (; i < size; ++i) y[i] = sigmoid_of(x[i]);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Copies, or adds, a range of channels between rows of different widths.
template <class T>
void copy_channels(thread_pool& pool, std::size_t rows, int channels, const T* src, int src_channels,
                   int src_offset, T* dst, int dst_channels, int dst_offset, bool accumulate) {
  const auto width = static_cast<std::size_t>(channels);
  parallel_for(pool, rows, std::max<std::size_t>(1, element_grain / std::max<std::size_t>(width, 1)),
               [&](std::size_t begin, std::size_t end, int) {
                 for (std::size_t row = begin; row < end; ++row) {
                   const T* from = src + row * static_cast<std::size_t>(src_channels) + src_offset;
                   T* to = dst + row * static_cast<std::size_t>(dst_channels) + dst_offset;
                   if (accumulate)
                     for (std::size_t c = 0; c < width; ++c) to[c] += from[c];
                   else
                     std::copy_n(from, width, to);
                 }
               });
}

/// Every pixel becomes factor x factor pixels, in a channel range of y.
template <class T>
void upsample_forward(thread_pool& pool, int factor, int batch, shape in, const T* x, T* y, int y_channels,
                      int y_offset) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(in.h * factor);
  parallel_for(pool, rows, 4, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row) {
      const T* from = x + row / static_cast<std::size_t>(factor) * static_cast<std::size_t>(in.w * in.c);
      T* to =
          y + row * static_cast<std::size_t>(in.w * factor) * static_cast<std::size_t>(y_channels) + y_offset;
      for (int column = 0; column < in.w; ++column, from += in.c)
        for (int i = 0; i < factor; ++i, to += y_channels) std::copy_n(from, in.c, to);
    }
  });
}

/// dx = the sum over each factor x factor block of a channel range of dy.
template <class T>
void upsample_backward(thread_pool& pool, int factor, int batch, shape in, const T* dy, T* dx,
                       bool accumulate, int dy_channels, int dy_offset) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(in.h);
  const auto dy_row = std::ptrdiff_t{in.w} * factor * dy_channels;
  parallel_for(pool, rows, 4, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t row = begin; row < end; ++row) {
      const T* from = dy + static_cast<std::ptrdiff_t>(row) * factor * dy_row + dy_offset;
      T* to = dx + static_cast<std::ptrdiff_t>(row) * in.w * in.c;
      for (int column = 0; column < in.w;
           ++column, to += in.c, from += std::ptrdiff_t{factor} * dy_channels) {
        if (!accumulate) std::fill_n(to, in.c, T{0});
        for (int i = 0; i < factor; ++i)
          for (int j = 0; j < factor; ++j) {
            const T* pixel = from + i * dy_row + std::ptrdiff_t{j} * dy_channels;
            for (int c = 0; c < in.c; ++c) to[c] += pixel[c];
          }
      }
    }
  });
}

}  // namespace segnet::detail
