// SPDX-License-Identifier: MIT
// SegNet (Badrinarayanan, Kendall, Cipolla 2015): a decoder that puts values back to the places which the
// encoder's poolings took them from.
#pragma once

#include <segnet/models/vgg16.hpp>

#include <array>

namespace segnet {

/// `H` x `W` RGB images -> the probability of each of `Classes` classes per pixel; any H and W (poolings
/// round up, as 360 x 480 needs: 45 -> 23 -> 12). The encoder is VGG16 with batch-norm. The decoder mirrors
/// it: unpooling, then convolution - batch-norm - ReLU with 512, 512, 512; 512, 512, 256; 256, 256, 128; 128,
/// 64; 64 channels at `Width` 64, and a convolution to the classes.
template <int H, int W, int Classes, int Width = 64>
struct segnet_vgg16 {
  static constexpr auto build() {
    graph_builder g;
    const vgg16_blocks encoder = vgg16(g, g.input({H, W, 3}), {.width = Width, .batch_norm = true});
    value x = encoder.pooled[5];
    for (std::size_t block = 5; block >= 1; --block) {
      auto scope = g.scope("decoder");
      const int b = static_cast<int>(block);
      const shape before = encoder.before[block];
      x = g((name("unpool") + b).view(), max_unpool{.h = before.h, .w = before.w}, x, encoder.pooled[block]);
      for (int i = vgg16_depth[block]; i >= (b == 1 ? 2 : 1); --i) {
        // The last of a block has the channels that the next unpooling takes.
        const int channels = vgg16_channels(Width, i > 1 ? b : b - 1);
        x = conv_bn_relu(g, (name() + b + "_" + i).view(), caffe_conv2d(channels), x);
      }
    }
    classify(g, g("score", caffe_conv2d(Classes), x));
    return g;
  }
};

/// SegNet-Basic: local response normalisation of the image, 4 x (7x7 convolution - batch-norm - ReLU -
/// pooling), 4 x (unpooling - 7x7 convolution - batch-norm), all with `Width` channels, and a 1x1 classifier.
/// There is no ReLU in the decoder.
template <int H, int W, int Classes, int Width = 64>
struct segnet_basic {
  static constexpr auto build() {
    constexpr conv2d seven = caffe_conv2d(Width, 7);
    graph_builder g;
    // The published alpha, 1e-4, is for images in [0, 255]: of images in [0, 1] it would change nothing.
    value x = g("norm", local_response_norm{.size = 5, .alpha = 1e-4 * 255 * 255, .beta = 0.75},
                g.input({H, W, 3}));
    std::array<value, 5> pooled{};
    std::array<shape, 5> before{};
    for (std::size_t level = 1; level <= 4; ++level) {
      const name number = name() + static_cast<int>(level);
      x = conv_bn_relu(g, number.view(), seven, x);
      before[level] = g.dims(x);
      x = pooled[level] = g((name("pool") + number.view()).view(), max_pool{.ceil = true}, x);
    }
    for (std::size_t level = 4; level >= 1; --level) {
      auto scope = g.scope("decoder", static_cast<int>(level));
      x = g("unpool", max_unpool{.h = before[level].h, .w = before[level].w}, x, pooled[level]);
      x = g("bn", published_batch_norm, g("conv", seven, x));
    }
    classify(g, g("score", caffe_conv2d(Classes, 1), x));
    return g;
  }
};

}  // namespace segnet
