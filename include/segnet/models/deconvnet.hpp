// SPDX-License-Identifier: MIT
// DeconvNet (Noh, Hong, Han 2015): the whole of VGG16 down to one pixel, and its mirror image back.
#pragma once

#include <segnet/models/vgg16.hpp>

namespace segnet {

namespace detail {

/// With the rates and initial values of caffe_conv2d().
constexpr transposed_conv2d caffe_deconvolution(int channels, int kernel, int pad) {
  return {.channels = channels,
          .kernel = kernel,
          .stride = 1,
          .pad = pad,
          .init = initializer::he_normal,
          .learn = caffe_learning};
}

}  // namespace detail

/// `Size` x `Size` RGB images -> the probability of each of `Classes` classes per pixel. VGG16 with
/// batch-norm; fc6, a convolution of all that is left (7x7 of 224 pixels), and fc7; a deconvolution back to
/// that size; then unpoolings to 14, 28, 56, 112, 224 pixels, each followed by deconvolution - batch-norm -
/// ReLU with 512, 512, 512; 512, 512, 256; 256, 256, 128; 128, 64; 64, 64 channels at `Width` 64; a 1x1
/// convolution. Of one image fc6 has one pixel, so that training needs batches of two or more.
template <int Classes, int Width = 64, int Fc = 4096, int Size = 224>
struct deconvnet {
  static constexpr auto build() {
    graph_builder g;
    const vgg16_blocks encoder = vgg16(g, g.input({Size, Size, 3}), {.width = Width, .batch_norm = true});
    const shape left = g.dims(encoder.pooled[5]);
    value x = bn_relu(g, "6", g("fc6", caffe_conv2d(Fc, left.h, padding::valid), encoder.pooled[5]));
    x = bn_relu(g, "7", g("fc7", caffe_conv2d(Fc, 1), x));
    {
      auto scope = g.scope("decoder");
      x = conv_bn_relu(g, "6", detail::caffe_deconvolution(left.c, left.h, 0), x);
    }
    for (std::size_t block = 5; block >= 1; --block) {
      auto scope = g.scope("decoder");
      const int b = static_cast<int>(block);
      const shape before = encoder.before[block];
      x = g((name("unpool") + b).view(), max_unpool{.h = before.h, .w = before.w}, x, encoder.pooled[block]);
      for (int i = 1; i <= vgg16_depth[block]; ++i) {
        // The last of a block has the channels that the next unpooling takes.
        const int channels = vgg16_channels(Width, i < vgg16_depth[block] || b == 1 ? b : b - 1);
        x = conv_bn_relu(g, (name() + b + "_" + i).view(), detail::caffe_deconvolution(channels, 3, 1), x);
      }
    }
    classify(g, g("score", caffe_conv2d(Classes, 1), x));
    return g;
  }
};

}  // namespace segnet
