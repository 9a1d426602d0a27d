// SPDX-License-Identifier: MIT
// Fully convolutional networks (Shelhamer, Long, Darrell 2016): VGG16 as it classifies, slid over the image,
// and its coarse scores upsampled, with those of shallower layers added.
#pragma once

#include <segnet/models/vgg16.hpp>

#include <string_view>

namespace segnet {

/// `H` x `W` RGB images -> the probability of each of `Classes` classes per pixel, from scores at every
/// `Stride`-th pixel, 32, 16 or 8. conv1_1 is padded by 100 pixels, so that fc6, a 7x7 convolution, finds its
/// window in images of any size; the crops take that border away again. Scores start at zero. The x2
/// upsamplings start as bilinear interpolation and learn; the last one, a kernel for each class, stays
/// bilinear. In training fc6 and fc7 lose half of their values.
template <int H, int W, int Classes, int Stride, int Width = 64, int Fc = 4096>
struct fcn {
  static_assert(Stride == 32 || Stride == 16 || Stride == 8);

  static constexpr auto build() {
    graph_builder g;
    const auto fully_connected = [&g](std::string_view number, int kernel, value x) {
      x = g((name("fc") + number).view(), caffe_conv2d(Fc, kernel, padding::valid), x);
      x = g((name("relu") + number).view(), relu{}, x);
      return g((name("drop") + number).view(), dropout{0.5}, x);
    };
    const auto score = [&g](std::string_view of, value x) {
      conv2d zero = caffe_conv2d(Classes, 1);
      zero.init = initializer::zeros;
      return g((name("score_") + of).view(), zero, x);
    };
    const auto cut = [&g](std::string_view label, value x, shape size, int offset) {
      return g(label, crop{.h = size.h, .w = size.w, .top = offset, .left = offset}, x);
    };
    // Twice the resolution, and the scores of a pooling at that resolution.
    const auto with_skip = [&](value x, std::string_view up, std::string_view pool, value pooled,
                               int offset) {
      x = g(up,
            transposed_conv2d{
                .channels = Classes, .kernel = 4, .stride = 2, .bias = false, .init = initializer::bilinear},
            x);
      const value skip = cut((name("crop_") + pool).view(), score(pool, pooled), g.dims(x), offset);
      return g((name("fuse_") + pool).view(), add{}, x, skip);
    };

    const vgg16_blocks encoder = vgg16(g, g.input({H, W, 3}), {.width = Width, .first = 100});
    value x = fully_connected("7", 1, fully_connected("6", 7, encoder.pooled[5]));
    x = score("fr", x);
    if (Stride <= 16) x = with_skip(x, "upscore2", "pool4", encoder.pooled[4], 5);
    if (Stride <= 8) x = with_skip(x, "upscore_pool4", "pool3", encoder.pooled[3], 9);
    x = g((name("upscore") + Stride).view(),
          transposed_conv2d{.channels = Classes,
                            .kernel = 2 * Stride,
                            .stride = Stride,
                            .bias = false,
                            .per_channel = true,
                            .init = initializer::bilinear,
                            .learn = {.rate = 0, .decay = 0}},
          x);
    classify(g, cut("score", x, {H, W, Classes}, Stride == 32 ? 19 : Stride == 16 ? 27 : 31));
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
