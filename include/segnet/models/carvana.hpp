// SPDX-License-Identifier: MIT
// The encoder-decoder of the Carvana Image Masking Challenge: a U-Net (Ronneberger, Fischer, Brox 2015) with
// batch-norm and "same" convolutions, upsampling by repetition, and three convolutions per decoder level.
#pragma once

#include <segnet/layers/graph_builder.hpp>

#include <array>
#include <string_view>

namespace segnet {

/// `H` x `W` RGB images in [0, 1] -> the probability, per pixel, of each of `Classes` classes; with one
/// class, that the pixel shows it. One level for each of `Filters`, from the largest image to the smallest; H
/// and W must be divisible by 2 to their number.
///
/// Encoder level: conv - BN - ReLU - conv - BN; the skip is the ReLU of that, while the 2x2 max-pool that
/// leads to the next level takes it before the ReLU, as the original does. Two centre convolutions with
/// the deepest level's filters. Decoder level: upsample, concat [skip, up], 3 x (conv - BN - ReLU). A 1x1
/// convolution and a softmax classify, or a sigmoid where there is one class.
template <int H, int W, int Classes, int... Filters>
struct carvana_classes {
  static constexpr std::array<int, sizeof...(Filters)> filters{Filters...};

  static constexpr auto build() {
    constexpr int levels = static_cast<int>(sizeof...(Filters));
    constexpr int widths[] = {Filters...};
    graph_builder g;

    const auto conv_bn = [&g](value x, std::string_view number, int channels) {
      x = g((name("conv") + number).view(), conv2d{.channels = channels}, x);
      return g((name("bn") + number).view(), batch_norm{.epsilon = 1e-4, .momentum = 0.99}, x);
    };
    const auto conv_bn_relu = [&](value x, std::string_view number, int channels) {
      x = conv_bn(x, number, channels);
      return g((name("relu") + number).view(), relu{}, x);
    };

    value x = g.input({H, W, 3});
    std::array<value, sizeof...(Filters)> skips{};
    for (int level = 0; level < levels; ++level) {
      auto scope = g.scope("encoder", level);
      x = conv_bn_relu(x, "1", widths[level]);
      const value features = conv_bn(x, "2", widths[level]);
      x = g("pool", max_pool{2}, features);
      skips[static_cast<std::size_t>(level)] = g("skip", relu{}, features);
    }
    {
      auto scope = g.scope("center");
      x = conv_bn_relu(x, "1", widths[levels - 1]);
      x = conv_bn_relu(x, "2", widths[levels - 1]);
    }
    for (int level = levels - 1; level >= 0; --level) {
      auto scope = g.scope("decoder", level);
      x = g("up", upsample{2}, x);
      x = g("concat", concat{}, skips[static_cast<std::size_t>(level)], x);
      for (std::string_view number : {"1", "2", "3"}) x = conv_bn_relu(x, number, widths[level]);
    }
    x = g("classifier", conv2d{.channels = Classes, .kernel = 1}, x);
    if constexpr (Classes == 1)
      g.output(g("probability", sigmoid{}, x));
    else
      g.output(g("probability", softmax{}, x));
    return g;
  }
};

/// A car before its background: the probability, per pixel, that it shows the car.
template <int H, int W, int... Filters>
struct carvana_network : carvana_classes<H, W, 1, Filters...> {};

/// The original's seven levels, 60 million parameters.
template <int H, int W = H>
using carvana_7_2_7_1 = carvana_network<H, W, 8, 24, 64, 128, 256, 512, 768>;

/// Without the 8-channel level: for half-size images at about the same cost per pixel of the deeper levels.
template <int H, int W = H>
using carvana_6_2_6_1 = carvana_network<H, W, 24, 64, 128, 256, 512, 768>;

/// 7-2-7-1 with a quarter of the filters (at least 8): 4 million parameters.
template <int H, int W = H>
using carvana_lite = carvana_network<H, W, 8, 8, 16, 32, 64, 128, 192>;

}  // namespace segnet
