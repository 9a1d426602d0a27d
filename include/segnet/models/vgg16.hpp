// SPDX-License-Identifier: MIT
// The encoder that SegNet, FCN and DeconvNet share: the 13 convolutions of VGG16 (Simonyan, Zisserman 2015,
// configuration D). models/vgg16_weights.hpp gives it the weights of PyTorch's.
#pragma once

#include <segnet/models/blocks.hpp>

#include <algorithm>
#include <array>
#include <string_view>

namespace segnet {

struct vgg16_options {
  int width = 64;                 ///< channels of the first block
  bool batch_norm = false;        ///< between each convolution and its ReLU
  padding first = padding::same;  ///< of conv1_1; the others keep the size
};

/// Convolutions in each block, which are counted from 1.
inline constexpr std::array<int, 6> vgg16_depth{0, 2, 2, 3, 3, 3};

/// Channels of a block: width, 2 width, 4 width, 8 width, 8 width.
constexpr int vgg16_channels(int width, int block) { return width << std::min(block - 1, 3); }

/// What a decoder reads: of each block, counted from 1, the pooled value, and the shape before pooling, which
/// an unpooling restores. Number 0 is the image.
struct vgg16_blocks {
  std::array<value, 6> pooled{};
  std::array<shape, 6> before{};
};

/// Adds blocks 1 to 5 to a network: 3x3 convolutions conv1_1, conv1_2, conv2_1, ..., conv5_3, with bn1_1
/// where batch-norm is asked for, relu1_1 and so on, each block followed by a 2x2 max-pooling, pool1 to
/// pool5, that rounds sizes up as Caffe does (PyTorch's rounds down: the same where the size is divisible by
/// 32).
template <class Builder>
constexpr vgg16_blocks vgg16(Builder& g, value image, const vgg16_options& how) {
  vgg16_blocks blocks;
  value x = blocks.pooled[0] = image;
  for (std::size_t block = 1; block <= 5; ++block) {
    const int b = static_cast<int>(block);
    for (int i = 1; i <= vgg16_depth[block]; ++i) {
      const name number = name() + b + "_" + i;
      const conv2d convolution =
          caffe_conv2d(vgg16_channels(how.width, b), 3, b == 1 && i == 1 ? how.first : padding::same);
      x = how.batch_norm ? conv_bn_relu(g, number.view(), convolution, x)
                         : conv_relu(g, number.view(), convolution, x);
    }
    blocks.before[block] = g.dims(x);
    x = blocks.pooled[block] = g((name("pool") + b).view(), max_pool{.ceil = true}, x);
  }
  return blocks;
}

}  // namespace segnet
