// SPDX-License-Identifier: MIT
// Loops over flat arrays and over channel ranges.
#pragma once

#include <segnet/backend/cpu/lanes.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/core/shape.hpp>

#include <cmath>

namespace segnet::detail {

/// Elements per task: enough work to pay for handing it out.
inline constexpr std::size_t element_grain = 1 << 14;

/// y[i] = f(i) or y[i] += f(i); f(lanes<n>, i) gives n of them. Where f reads y, it reads the same elements.
template <class T, class F>
void transform(thread_pool& pool, std::size_t size, T* y, bool accumulate, F f) {
  parallel_for(pool, size, element_grain, [&](std::size_t begin, std::size_t end, int) {
    for_each_vector<T>(
        end,
        [=](auto l, std::size_t i)
            SEGNET_INLINE_LAMBDA { store<l>(y + i, accumulate ? load<l>(y + i) + f(l, i) : f(l, i)); },
        begin);
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

/// p = sigmoid(x) and s = log(1 + exp(-|x|)).
template <class T>
void logistic_run(const T* x, std::size_t size, T* p, T* s) {
  namespace e = Eigen::internal;
  using V = simd<T>;
  std::size_t i = 0;
  for (; e::packet_traits<T>::HasLog && i + V::lanes <= size; i += V::lanes) {
    const auto value = V::load(x + i), small = e::pexp(e::pnegate(e::pabs(value)));
    const auto above = e::pdiv(V::set(T{1}), V::add(V::set(T{1}), small));
    const auto sigmoid = e::pselect(e::pcmp_lt(value, V::zero()), e::pmul(small, above), above);
    V::store(p + i, e::pselect(e::pcmp_eq(value, value), sigmoid, value));
    V::store(s + i, e::generic_plog1p(small));
  }
  for (; i < size; ++i) {
    const T small = std::exp(-std::abs(x[i]));
    p[i] = (x[i] < T{0} ? small : T{1}) / (T{1} + small);
    s[i] = std::log1p(small);
  }
}

/// y = x^exponent, x > 0; y may be x.
template <class T>
void power_run(const T* x, std::size_t size, T exponent, T* y) {
  namespace e = Eigen::internal;
  using V = simd<T>;
  std::size_t i = 0;
  for (; e::packet_traits<T>::HasLog && i + V::lanes <= size; i += V::lanes)
    V::store(y + i, e::pexp(e::pmul(V::set(exponent), e::plog(V::load(x + i)))));
  for (; i < size; ++i) y[i] = std::pow(x[i], exponent);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// Copies, or adds, `size` elements.
template <class T, class Size>
SEGNET_INLINE void copy_run(const T* from, Size size, T* to, bool accumulate) {
  for_each_vector<T>(size, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
    store<l>(to + i, accumulate ? load<l>(to + i) + load<l>(from + i) : load<l>(from + i));
  });
}

/// Copies, or adds, a range of channels between rows of different widths.
template <class T>
void copy_channels(thread_pool& pool, std::size_t rows, int channels, const T* src, int src_channels,
                   int src_offset, T* dst, int dst_channels, int dst_offset, bool accumulate) {
  const std::size_t grain =
      std::max<std::size_t>(1, element_grain / static_cast<std::size_t>(std::max(channels, 1)));
  with_channels(static_cast<std::size_t>(channels), [&](auto width) {
    parallel_for(pool, rows, grain, [=](std::size_t begin, std::size_t end, int) {
      for (std::size_t row = begin; row < end; ++row)
        copy_run(src + row * static_cast<std::size_t>(src_channels) + src_offset, width,
                 dst + row * static_cast<std::size_t>(dst_channels) + dst_offset, accumulate);
    });
  });
}

/// Every pixel becomes factor x factor pixels, in a channel range of y.
template <class T>
void upsample_forward(thread_pool& pool, int factor, int batch, shape in, const T* x, T* y, int y_channels,
                      int y_offset) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(in.h * factor);
  const auto y_row = static_cast<std::size_t>(in.w * factor) * static_cast<std::size_t>(y_channels);
  with_channels(static_cast<std::size_t>(in.c), [&](auto channels) {
    parallel_for(pool, rows, 4, [=](std::size_t begin, std::size_t end, int) {
      for (std::size_t row = begin; row < end; ++row) {
        const T* from = x + row / static_cast<std::size_t>(factor) * static_cast<std::size_t>(in.w * in.c);
        T* to = y + row * y_row + y_offset;
        for (int column = 0; column < in.w; ++column, from += in.c)
          for (int i = 0; i < factor; ++i, to += y_channels) copy_run(from, channels, to, false);
      }
    });
  });
}

/// dx = the sum over each factor x factor block of a channel range of dy.
template <class T>
void upsample_backward(thread_pool& pool, int factor, int batch, shape in, const T* dy, T* dx,
                       bool accumulate, int dy_channels, int dy_offset) {
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(in.h);
  const auto dy_row = std::ptrdiff_t{in.w} * factor * dy_channels;
  with_channels(static_cast<std::size_t>(in.c), [&](auto channels) {
    parallel_for(pool, rows, 4, [=](std::size_t begin, std::size_t end, int) {
      for (std::size_t row = begin; row < end; ++row) {
        const T* from = dy + static_cast<std::ptrdiff_t>(row) * factor * dy_row + dy_offset;
        T* to = dx + static_cast<std::ptrdiff_t>(row) * in.w * in.c;
        for (int column = 0; column < in.w;
             ++column, to += in.c, from += std::ptrdiff_t{factor} * dy_channels)
          for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
            auto sum = accumulate ? load<l>(to + c) : broadcast<l>(T{0});
            for (int i = 0; i < factor; ++i)
              for (int j = 0; j < factor; ++j)
                sum += load<l>(from + i * dy_row + std::ptrdiff_t{j} * dy_channels + c);
            store<l>(to + c, sum);
          });
      }
    });
  });
}

}  // namespace segnet::detail
