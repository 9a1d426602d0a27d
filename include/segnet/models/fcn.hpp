// SPDX-License-Identifier: MIT
// Fully convolutional networks (Shelhamer, Long, Darrell 2016): VGG16 as it classifies, slid over the image,
// and its coarse scores upsampled, with those of shallower layers added.
#pragma once

#include <segnet/models/vgg16.hpp>

#include <string_view>

namespace segnet {

namespace detail {

/// One of VGG16's fully connected layers as a convolution, called "fc" + number, with ReLU and dropout.
template <class Builder>
constexpr value fully_connected(Builder& g, std::string_view number, const conv2d& convolution, value x) {
  x = g((name("fc") + number).view(), convolution, x);
  x = g((name("relu") + number).view(), relu{}, x);
  return g((name("drop") + number).view(), segnet::dropout{0.5}, x);
}

/// A score of each class for each pixel of x, at first zero.
template <class Builder>
constexpr value score_classes(Builder& g, std::string_view of, int classes, value x) {
  conv2d zero = caffe_conv2d(classes, 1);
  zero.init = initializer::zeros;
  return g((name("score_") + of).view(), zero, x);
}

/// The part of x with that height and width which starts `offset` pixels from the top and the left.
template <class Builder>
constexpr value cut(Builder& g, std::string_view label, value x, shape size, int offset) {
  return g(label, crop{.h = size.h, .w = size.w, .top = offset, .left = offset}, x);
}

/// The scores x at twice their resolution, and those of a pooling, which has that resolution, added.
template <class Builder>
constexpr value with_skip(Builder& g, value x, std::string_view up, std::string_view pool, value pooled,
                          int offset) {
  const int classes = g.dims(x).c;
  const transposed_conv2d twice{
      .channels = classes, .kernel = 4, .stride = 2, .bias = false, .init = initializer::bilinear};
  x = g(up, twice, x);
  const value skip = score_classes(g, pool, classes, pooled);
  return g((name("fuse_") + pool).view(), add{}, x,
           cut(g, (name("crop_") + pool).view(), skip, g.dims(x), offset));
}

/// Bilinear interpolation by the stride, which does not learn.
constexpr transposed_conv2d fixed_bilinear(int classes, int stride) {
  return {.channels = classes,
          .kernel = 2 * stride,
          .stride = stride,
          .bias = false,
          .per_channel = true,
          .init = initializer::bilinear,
          .learn = {.rate = 0, .decay = 0}};
}

}  // namespace detail

/// `H` x `W` RGB images -> the probability of each of `Classes` classes per pixel, from scores at every
/// `Stride`-th pixel, 32, 16 or 8. conv1_1 is padded by 100 pixels, so that fc6, a 7x7 convolution, finds its
/// window in images of any size; the crops take that border away again. Scores start at zero. The x2
/// upsamplings start as bilinear interpolation and learn; the last one, a kernel for each class, stays
/// bilinear. In training fc6 and fc7 lose half of their values.
template <int H, int W, int Classes, int Stride, int Width = 64, int Fc = 4096>
struct fcn {
  static_assert(Stride == 32 || Stride == 16 || Stride == 8);

  static constexpr auto build() {
    using namespace detail;
    graph_builder g;
    const vgg16_blocks encoder = vgg16(g, g.input({H, W, 3}), {.width = Width, .first = 100});
    value x = fully_connected(g, "6", caffe_conv2d(Fc, 7, padding::valid), encoder.pooled[5]);
    x = fully_connected(g, "7", caffe_conv2d(Fc, 1, padding::valid), x);
    x = score_classes(g, "fr", Classes, x);
    if (Stride <= 16) x = with_skip(g, x, "upscore2", "pool4", encoder.pooled[4], 5);
    if (Stride <= 8) x = with_skip(g, x, "upscore_pool4", "pool3", encoder.pooled[3], 9);
    x = g((name("upscore") + Stride).view(), fixed_bilinear(Classes, Stride), x);
    classify(g, cut(g, "score", x, {H, W, Classes}, Stride == 32 ? 19 : Stride == 16 ? 27 : 31));
    return g;
  }
};

template <int H, int W, int Classes, int Width = 64, int Fc = 4096>
using fcn_32s = fcn<H, W, Classes, 32, Width, Fc>;

template <int H, int W, int Classes, int Width = 64, int Fc = 4096>
using fcn_16s = fcn<H, W, Classes, 16, Width, Fc>;

template <int H, int W, int Classes, int Width = 64, int Fc = 4096>
using fcn_8s = fcn<H, W, Classes, 8, Width, Fc>;

}  // namespace segnet
