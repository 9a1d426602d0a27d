// SPDX-License-Identifier: MIT
// Local response normalisation across channels (Krizhevsky, Sutskever, Hinton, "ImageNet Classification with
// Deep Convolutional Neural Networks", 2012): y[c] = x[c] * d[c]^-beta, d[c] = k + alpha / size * the sum of
// x^2 over the `size` channels around c. Of an even number, one more lies below c than above it (as in
// PyTorch).
#pragma once

#include <segnet/backend/cpu/elementwise.hpp>
#include <segnet/core/primitives.hpp>

#include <algorithm>
#include <cstddef>

namespace segnet::detail {

/// Pixels that are worked on together, for few channels, too, to fill vectors with powers.
constexpr std::size_t response_norm_pixels(int channels) {
  return std::max<std::size_t>(1, 1024 / static_cast<std::size_t>(channels));
}
constexpr workspace_size response_norm_workspace(int channels) {
  return {.per_thread = 2 * response_norm_pixels(channels) * static_cast<std::size_t>(channels), .shared = 0};
}

/// to(lanes, c, the sum of term(lanes, j) over the channels j in [c - before, c + after]) for all channels of
/// a pixel.
template <class T, class Term, class To>
SEGNET_INLINE void channel_window_sums(int channels, int before, int after, Term term, To to) {
  const int last = channels - after;  // windows from here on stand over the end
  const auto edge = [&](int c) {
    T sum{0};
    for (int j = std::max(0, c - before); j < std::min(channels, c + after + 1); ++j)
      sum += term(lanes<1>{}, static_cast<std::size_t>(j));
    to(lanes<1>{}, static_cast<std::size_t>(c), sum);
  };
  for (int c = 0; c < std::min(before, channels); ++c) edge(c);
  if (before < last)
    for_each_vector<T>(
        static_cast<std::size_t>(last),
        [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
          auto sum = term(l, c - static_cast<std::size_t>(before));
          for (int j = 1 - before; j <= after; ++j) sum += term(l, c + static_cast<std::size_t>(j));
          to(l, c, sum);
        },
        static_cast<std::size_t>(before));
  for (int c = std::max(before, last); c < channels; ++c) edge(c);
}

/// d of `pixels` pixels.
template <class T>
void response_norm_sums(const response_norm& n, int channels, const T* x, std::size_t pixels, T* d) {
  const T factor = static_cast<T>(n.alpha / n.size), k = static_cast<T>(n.k);
  for (std::size_t pixel = 0; pixel < pixels; ++pixel, x += channels, d += channels)
    channel_window_sums<T>(
        channels, n.size / 2, (n.size - 1) / 2,
        [=](auto l, std::size_t j) SEGNET_INLINE_LAMBDA {
          const auto value = load<l>(x + j);
          return value * value;
        },
        [=](auto l, std::size_t c, auto sum) SEGNET_INLINE_LAMBDA { store<l>(d + c, sum * factor + k); });
}

/// Calls f(first pixel, pixels, the thread's scratch) for all pixels.
template <class T, class F>
void for_each_norm_block(thread_pool& pool, std::size_t pixels, int channels, const scratch<T>& memory, F f) {
  const std::size_t block = response_norm_pixels(channels);
  parallel_for(pool, pixels, 8 * block, [=](std::size_t begin, std::size_t end, int thread) {
    for (std::size_t at = begin; at < end; at += block) f(at, std::min(block, end - at), memory.of(thread));
  });
}

template <class T>
void response_norm_forward(thread_pool& pool, const response_norm& n, std::size_t pixels, int channels,
                           const T* x, T* y, const scratch<T>& memory) {
  const auto width = static_cast<std::size_t>(channels);
  for_each_norm_block(pool, pixels, channels, memory, [=](std::size_t first, std::size_t count, T* d) {
    const T* const from = x + first * width;
    T* const to = y + first * width;
    response_norm_sums(n, channels, from, count, d);
    power_run(d, count * width, static_cast<T>(-n.beta), d);
    for_each_vector<T>(count * width, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
      store<l>(to + i, load<l>(from + i) * load<l>(d + i));
    });
  });
}

/// dx[j] = dy[j] d[j]^-beta - 2 beta alpha / size x[j] * the sum of dy[c] x[c] d[c]^(-beta - 1) over the
/// channels c in whose windows j lies. dx may be dy unless it is accumulated to.
template <class T>
void response_norm_backward(thread_pool& pool, const response_norm& n, std::size_t pixels, int channels,
                            const T* x, const T* dy, T* dx, bool accumulate, const scratch<T>& memory) {
  const auto width = static_cast<std::size_t>(channels);
  const T factor = static_cast<T>(-2 * n.beta * n.alpha / n.size);
  for_each_norm_block(pool, pixels, channels, memory, [=](std::size_t first, std::size_t count, T* power) {
    const std::size_t size = count * width;
    T* const part = power + size;
    const T *from = x + first * width, *slope = dy + first * width;
    T* to = dx + first * width;
    response_norm_sums(n, channels, from, count, part);
    power_run(part, size, static_cast<T>(-n.beta), power);
    for_each_vector<T>(size, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
      store<l>(part + i, load<l>(slope + i) * load<l>(from + i) * load<l>(power + i) / load<l>(part + i));
    });
    for (std::size_t at = 0; at < size; at += width)
      channel_window_sums<T>(
          channels, (n.size - 1) / 2, n.size / 2,
          [=](auto l, std::size_t j) SEGNET_INLINE_LAMBDA { return load<l>(part + at + j); },
          [=](auto l, std::size_t c, auto sum) SEGNET_INLINE_LAMBDA {
            const auto d =
                load<l>(slope + at + c) * load<l>(power + at + c) + load<l>(from + at + c) * sum * factor;
            store<l>(to + at + c, accumulate ? load<l>(to + at + c) + d : d);
          });
  });
}

}  // namespace segnet::detail
