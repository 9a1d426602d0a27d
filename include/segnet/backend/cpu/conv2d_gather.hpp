// SPDX-License-Identifier: MIT
// A convolution forward, or backward to its input, seen as one matrix product whose left side is gathered:
// (pixels) x (taps x channels) times (taps x channels) x (columns).
#pragma once

#include <segnet/backend/cpu/conv2d_form.hpp>

#include <array>
#include <cassert>
#include <cstddef>
#include <span>

namespace segnet::detail {

/// Sources of one convolution.
inline constexpr int max_sources = 8;

/// Which coordinate of the source a tap reads for an output coordinate, along one axis.
struct gather_axis {
  int extent;       // of the source, upsampling included
  int stride, pad;  // of the convolution
  bool transposed;  // backward: the output is the convolution's input

  /// -1 where the tap meets padding, or falls between two strides.
  constexpr int at(int out, int tap) const {
    int in = out * stride + tap - pad;
    if (transposed) {
      in = out + pad - tap;
      if (stride != 1) {
        if (in < 0 || in % stride != 0) return -1;
        in /= stride;
      }
    }
    return static_cast<unsigned>(in) < static_cast<unsigned>(extent) ? in : -1;
  }

  /// Whether the tap meets any source pixel at all: at 1 x 1 pixels only the centre of a 3 x 3 kernel does.
  constexpr bool used(int tap, int outputs) const {
    for (int out = 0; out < outputs; ++out)
      if (at(out, tap) >= 0) return true;
    return false;
  }
};

/// out[pixel][column] = sum over taps and channels of source[pixel at tap][channel] * weight(...).
template <class T>
struct gather_product {
  product_form form;
  gather_axis y, x;
  int kernel_h, kernel_w;
  int batch, out_h, out_w;
  int channels, columns;
  std::span<const conv2d_source<T>> sources;
  const T* weight;  // element (column, tap, channel) at the sum of index * step
  std::ptrdiff_t column_step, tap_step, channel_step;
  conv2d_epilogue<T> finish;
  bool accumulate;  // out += instead of =
  T* out;
  double* sums = nullptr;  // partial sums of the output, see conv2d_statistics.hpp

  std::size_t pixels() const {
    return static_cast<std::size_t>(batch) * static_cast<std::size_t>(out_h) *
           static_cast<std::size_t>(out_w);
  }
};

template <class T>
gather_product<T> forward_product(const conv2d_geometry& g, int batch,
                                  std::span<const conv2d_source<T>> sources, const T* weight,
                                  const conv2d_epilogue<T>& finish, T* out) {
  return {.form = choose_form(product_geometry::forward(g)),
          .y = {g.h, g.stride, g.pad_top, false},
          .x = {g.w, g.stride, g.pad_left, false},
          .kernel_h = g.kernel_h,
          .kernel_w = g.kernel_w,
          .batch = batch,
          .out_h = g.out_h,
          .out_w = g.out_w,
          .channels = g.in_channels,
          .columns = g.out_channels,
          .sources = sources,
          .weight = weight,
          .column_step = std::ptrdiff_t{g.kernel_h} * g.kernel_w * g.in_channels,
          .tap_step = g.in_channels,
          .channel_step = 1,
          .finish = finish,
          .accumulate = false,
          .out = out};
}

/// `source` is dY as the only source; it has to outlive the product.
template <class T>
gather_product<T> backward_data_product(const conv2d_geometry& g, int batch, const conv2d_source<T>& source,
                                        const T* weight, T* dx, bool accumulate) {
  return {.form = choose_form(product_geometry::backward_data(g)),
          .y = {g.out_h, g.stride, g.pad_top, true},
          .x = {g.out_w, g.stride, g.pad_left, true},
          .kernel_h = g.kernel_h,
          .kernel_w = g.kernel_w,
          .batch = batch,
          .out_h = g.h,
          .out_w = g.w,
          .channels = g.out_channels,
          .columns = g.in_channels,
          .sources = {&source, 1},
          .weight = weight,
          .column_step = 1,
          .tap_step = g.in_channels,
          .channel_step = std::ptrdiff_t{g.kernel_h} * g.kernel_w * g.in_channels,
          .finish = {},
          .accumulate = accumulate,
          .out = dx};
}

}  // namespace segnet::detail
