// SPDX-License-Identifier: MIT
// Which pixels meet along one axis of a resized image, for the processor and for cards alike.
#pragma once

#include <segnet/config.hpp>
#include <segnet/core/primitives.hpp>

namespace segnet::detail {

/// Upsampling by interpolation: pixels are areas, whose centres are interpolated between; beyond the
/// outermost centres the image goes on as it ends (PyTorch's align_corners = false).
struct bilinear_axis {
  int size, factor;  // of the input

  template <class T>
  struct sample {
    int first, second;
    T of_first, of_second;  // weights; their sum is 1
  };
  /// What an output pixel is made of.
  template <class T>
  SEGNET_HD constexpr sample<T> at(int out) const {
    const int unit = 2 * factor, from = 2 * out + 1 - factor,
              place = from > 0 ? from : 0;  // in parts of a pixel
    const int first = place / unit;
    const T share = static_cast<T>(place - first * unit) / static_cast<T>(unit);
    return {first, first + 1 < size ? first + 1 : size - 1, T{1} - share, share};
  }
  /// The weight of an input pixel in an output pixel.
  template <class T>
  SEGNET_HD constexpr T weight(int in, int out) const {
    const sample<T> s = at<T>(out);
    return (s.first == in ? s.of_first : T{0}) + (s.second == in ? s.of_second : T{0});
  }
  /// Output pixels that may read an input pixel: [begin, end).
  SEGNET_HD constexpr int begin(int in) const { return in > 1 ? (in - 1) * factor : 0; }
  SEGNET_HD constexpr int end(int in) const { return (in + 2 < size ? in + 2 : size) * factor; }
};

/// A transposed convolution: input pixel i and tap t meet at the result's pixel i * stride + t - pad.
struct spread_axis {
  int in, out;  // pixels
  int kernel, stride, pad;

  struct range {
    int begin, end;  // end <= begin: empty
  };
  /// The input pixels that reach a pixel of the result.
  SEGNET_HD constexpr range inputs(int result) const {
    return {up(result + pad - kernel + 1), at_most(in, (result + pad) / stride + 1)};
  }
  /// The taps with which an input pixel reaches the result.
  SEGNET_HD constexpr range taps(int input) const {
    const int shift = pad - input * stride;
    return {shift > 0 ? shift : 0, at_most(kernel, out + shift)};
  }
  /// The input pixels that reach the result with a tap.
  SEGNET_HD constexpr range inputs_of_tap(int tap) const {
    return {up(pad - tap), at_most(in, up(out + pad - tap))};
  }

 private:
  SEGNET_HD static constexpr int at_most(int limit, int a) { return a < limit ? a : limit; }
  /// a / stride rounded up, 0 for negative numbers.
  SEGNET_HD constexpr int up(int a) const { return a <= 0 ? 0 : (a + stride - 1) / stride; }
};

/// The two of a geometry, which is that of the convolution whose backward pass the transposed one is.
SEGNET_HD constexpr spread_axis down(const conv2d_geometry& g) {
  return {g.out_h, g.h, g.kernel_h, g.stride, g.pad_top};
}
SEGNET_HD constexpr spread_axis across(const conv2d_geometry& g) {
  return {g.out_w, g.w, g.kernel_w, g.stride, g.pad_left};
}

}  // namespace segnet::detail
