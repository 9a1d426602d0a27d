// SPDX-License-Identifier: MIT
// Which pixels meet along one axis.
#pragma once

#include <segnet/backend/cuda/kernels/pack.cuh>
#include <segnet/core/primitives.hpp>

namespace segnet::gpu::kernels::detail {

/// Upsampling by interpolation between the pixels' centres; beyond the outermost ones the image goes on as it
/// ends (PyTorch's align_corners = false).
struct bilinear_axis {
  int size, factor;  // of the input

  struct sample {
    int first, second;
    float of_first, of_second;  // weights; their sum is 1
  };
  /// What an output pixel is made of.
  SEGNET_HD sample at(int out) const {
    const int unit = 2 * factor, place = larger(0, 2 * out + 1 - factor);  // in parts of a pixel
    const int first = place / unit;
    const float share = static_cast<float>(place - first * unit) / static_cast<float>(unit);
    return {first, smaller(first + 1, size - 1), 1 - share, share};
  }
  /// The weight of an input pixel in an output pixel.
  SEGNET_HD float weight(int in, int out) const {
    const sample s = at(out);
    return (s.first == in ? s.of_first : 0) + (s.second == in ? s.of_second : 0);
  }
  /// Output pixels that may read an input pixel: [begin, end).
  SEGNET_HD int begin(int in) const { return larger(0, (in - 1) * factor); }
  SEGNET_HD int end(int in) const { return smaller(size, in + 2) * factor; }
};

/// A transposed convolution: input pixel i and tap t meet at the result's pixel i * stride + t - pad.
struct spread_axis {
  int in, out;  // pixels
  int kernel, stride, pad;

  struct range {
    int begin, end;  // end <= begin: empty
  };
  /// The input pixels that reach a pixel of the result.
  SEGNET_HD range inputs(int result) const {
    return {up(result + pad - kernel + 1), smaller(in, (result + pad) / stride + 1)};
  }
  /// The taps with which an input pixel reaches the result.
  SEGNET_HD range taps(int input) const {
    const int shift = pad - input * stride;
    return {larger(0, shift), smaller(kernel, out + shift)};
  }
  /// The input pixels that reach the result with a tap.
  SEGNET_HD range inputs_of_tap(int tap) const { return {up(pad - tap), smaller(in, up(out + pad - tap))}; }

 private:
  /// a / stride rounded up, 0 for negative numbers.
  SEGNET_HD int up(int a) const { return a <= 0 ? 0 : (a + stride - 1) / stride; }
};

}  // namespace segnet::gpu::kernels::detail
