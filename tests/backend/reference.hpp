// SPDX-License-Identifier: MIT
// Naive double-precision loops that the backends' primitives are compared with.
#pragma once

#include <segnet/core/primitives.hpp>
#include <segnet/core/random.hpp>

#include <cmath>
#include <span>
#include <string>
#include <vector>

namespace segnet::reference {

template <class T>
std::vector<T> random_values(std::size_t size, std::uint64_t key) {
  random_stream stream{0x5e9, key};
  std::vector<T> values(size);
  for (T& value : values) value = static_cast<T>(stream.normal());
  return values;
}

/// A geometry with "same"-like padding of (kernel - 1) / 2.
constexpr conv2d_geometry convolution(int h, int w, int in, int out, int kernel, int stride) {
  const int pad = (kernel - 1) / 2;
  return {.h = h,
          .w = w,
          .out_h = (h + 2 * pad - kernel) / stride + 1,
          .out_w = (w + 2 * pad - kernel) / stride + 1,
          .in_channels = in,
          .out_channels = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride = stride,
          .pad_top = pad,
          .pad_left = pad};
}

/// The concatenated, upsampled input: what the convolution sees.
template <class T>
std::vector<double> materialise(const conv2d_geometry& g, int batch,
                                std::span<const conv2d_source<T>> sources) {
  std::vector<double> x(static_cast<std::size_t>(batch * g.h * g.w * g.in_channels));
  std::size_t i = 0;
  for (int n = 0; n < batch; ++n)
    for (int y = 0; y < g.h; ++y)
      for (int column = 0; column < g.w; ++column)
        for (const auto& s : sources) {
          const int h = g.h / s.upsample, w = g.w / s.upsample;
          for (int c = 0; c < s.channels; ++c)
            x[i++] = static_cast<double>(
                s.data[((n * h + y / s.upsample) * w + column / s.upsample) * s.channels + c]);
        }
  return x;
}

/// Calls f(input element, weight, output element) for every tap of every output that meets no padding, with
/// the first of its in channels.
template <class F>
void for_each_tap(const conv2d_geometry& g, int batch, F f) {
  for (int n = 0; n < batch; ++n)
    for (int oy = 0; oy < g.out_h; ++oy)
      for (int ox = 0; ox < g.out_w; ++ox)
        for (int k = 0; k < g.out_channels; ++k)
          for (int r = 0; r < g.kernel_h; ++r)
            for (int s = 0; s < g.kernel_w; ++s) {
              const int y = oy * g.stride + r - g.pad_top, x = ox * g.stride + s - g.pad_left;
              if (y < 0 || y >= g.h || x < 0 || x >= g.w) continue;
              f(static_cast<std::size_t>(((n * g.h + y) * g.w + x) * g.in_channels),
                static_cast<std::size_t>(((k * g.kernel_h + r) * g.kernel_w + s) * g.in_channels),
                static_cast<std::size_t>(((n * g.out_h + oy) * g.out_w + ox) * g.out_channels + k));
            }
}

/// The largest difference, relative to the largest expected value.
template <class T>
double difference(const std::vector<T>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return HUGE_VAL;
  double worst = 0, scale = 1e-30;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double d = std::abs(static_cast<double>(got[i]) - expected[i]);
    if (!(d <= worst)) worst = d;  // NaN counts as worst
    scale = std::max(scale, std::abs(expected[i]));
  }
  return worst / scale;
}

template <class T>
constexpr double tolerance() {
  return sizeof(T) == 4 ? 3e-6 : 1e-13;
}

}  // namespace segnet::reference
