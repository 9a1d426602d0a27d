// SPDX-License-Identifier: MIT
// U-Net (Ronneberger, Fischer, Brox 2015): what the contracting path saw at each resolution is handed across
// to the expanding path.
#pragma once

#include <segnet/models/blocks.hpp>

#include <array>

namespace segnet {

namespace detail {

constexpr conv2d he_conv2d(int channels, int kernel, padding pad = padding::same) {
  return {.channels = channels, .kernel = kernel, .pad = pad, .init = initializer::he_normal};
}

/// Twice the resolution.
constexpr transposed_conv2d up_convolution(int channels) {
  return {.channels = channels, .kernel = 2, .stride = 2, .init = initializer::he_normal};
}

/// Leaves the middle of an image of shape `from`, as large as `size`.
constexpr crop middle(shape from, shape size) {
  return {.h = size.h, .w = size.w, .top = (from.h - size.h) / 2, .left = (from.w - size.w) / 2};
}

}  // namespace detail

/// As published: `H` x `W` RGB images -> the probability of each of `Classes` classes for the pixels in the
/// middle, 388 x 388 of 572 x 572, because no convolution pads. Two 3x3 convolutions with ReLU per level,
/// with 64, 128, 256, 512 and 1024 channels at `Width` 64; 2x2 max-pooling down, 2x2 up-convolution back; the
/// contracting path ends in dropout, behind its last two pairs of convolutions. H and W are such that each
/// pooling finds an even size.
template <int H, int W, int Classes, int Width = 64>
struct unet {
  static constexpr auto build() {
    graph_builder g;
    const auto two_convolutions = [&g](value x, int channels) {
      const conv2d valid = detail::he_conv2d(channels, 3, padding::valid);
      return conv_relu(g, "2", valid, conv_relu(g, "1", valid, x));
    };
    value x = g.input({H, W, 3});
    std::array<value, 4> skips{};
    for (std::size_t level = 0; level < 4; ++level) {
      auto scope = g.scope("down", static_cast<int>(level));
      x = two_convolutions(x, Width << level);
      if (level == 3) x = g("drop", dropout{0.5}, x);
      skips[level] = x;
      x = g("pool", max_pool{2}, x);
    }
    {
      auto scope = g.scope("bottom");
      x = g("drop", dropout{0.5}, two_convolutions(x, Width << 4));
    }
    for (std::size_t level = 4; level-- > 0;) {
      auto scope = g.scope("up", static_cast<int>(level));
      x = g("conv", detail::up_convolution(Width << level), x);
      const value skip = g("crop", detail::middle(g.dims(skips[level]), g.dims(x)), skips[level]);
      x = two_convolutions(g("concat", concat{}, skip, x), Width << level);
    }
    classify(g, g("score", detail::he_conv2d(Classes, 1), x));
    return g;
  }
};

/// The form that most people use today: padded convolutions, so that all `H` x `W` pixels are classified and
/// nothing is cropped, each followed by batch-norm, which takes dropout's place. H and W are divisible by 16.
template <int H, int W, int Classes, int Width = 64>
struct unet_same {
  static constexpr auto build() {
    graph_builder g;
    const auto two_convolutions = [&g](value x, int channels) {
      const conv2d same = detail::he_conv2d(channels, 3);
      return conv_bn_relu(g, "2", same, conv_bn_relu(g, "1", same, x));
    };
    value x = g.input({H, W, 3});
    std::array<value, 4> skips{};
    for (std::size_t level = 0; level < 4; ++level) {
      auto scope = g.scope("down", static_cast<int>(level));
      x = skips[level] = two_convolutions(x, Width << level);
      x = g("pool", max_pool{2}, x);
    }
    {
      auto scope = g.scope("bottom");
      x = two_convolutions(x, Width << 4);
    }
    for (std::size_t level = 4; level-- > 0;) {
      auto scope = g.scope("up", static_cast<int>(level));
      x = g("conv", detail::up_convolution(Width << level), x);
      x = two_convolutions(g("concat", concat{}, skips[level], x), Width << level);
    }
    classify(g, g("score", detail::he_conv2d(Classes, 1), x));
    return g;
  }
};

}  // namespace segnet
