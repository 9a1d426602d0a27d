// SPDX-License-Identifier: MIT
// What several of the published networks have in common.
#pragma once

#include <segnet/layers/graph_builder.hpp>

#include <string_view>

namespace segnet {

/// As in the Caffe model files of SegNet, FCN and DeconvNet: biases learn at twice the rate and never decay.
inline constexpr learning caffe_learning{.bias_rate = 2, .bias_decay = 0};

/// A convolution with those, from He's initial values.
constexpr conv2d caffe_conv2d(int channels, int kernel = 3, padding pad = padding::same) {
  return {.channels = channels,
          .kernel = kernel,
          .pad = pad,
          .init = initializer::he_normal,
          .learn = caffe_learning};
}

/// PyTorch's constants, so that its weights give the same values here.
inline constexpr batch_norm published_batch_norm{
    .epsilon = 1e-5, .momentum = 0.9, .learn = {.bias_decay = 0}};

/// Batch-norm and ReLU, called "bn" + number and "relu" + number.
template <class Builder>
constexpr value bn_relu(Builder& g, std::string_view number, value x) {
  x = g((name("bn") + number).view(), published_batch_norm, x);
  return g((name("relu") + number).view(), relu{}, x);
}

/// A convolution, plain or transposed, called "conv" + number, and those.
template <class Builder, class Convolution>
constexpr value conv_bn_relu(Builder& g, std::string_view number, const Convolution& convolution, value x) {
  return bn_relu(g, number, g((name("conv") + number).view(), convolution, x));
}

template <class Builder, class Convolution>
constexpr value conv_relu(Builder& g, std::string_view number, const Convolution& convolution, value x) {
  x = g((name("conv") + number).view(), convolution, x);
  return g((name("relu") + number).view(), relu{}, x);
}

/// Ends a network: the probability of each class, from the classes' scores.
template <class Builder>
constexpr void classify(Builder& g, value scores) {
  g.output(g("probability", softmax{}, scores));
}

}  // namespace segnet
