// SPDX-License-Identifier: MIT
// The convolutions of a network, read off the graph that the compiler made of its definition.
#pragma once

#include <segnet/layers/conv2d.hpp>
#include <segnet/network/network.hpp>

#include <algorithm>
#include <concepts>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace segnet_benchmark {

using namespace segnet;

struct network_convolution {
  conv2d_geometry geometry;
  std::vector<conv2d_source<float>> sources{};  ///< without data
  bool bias = false;
  activation act = activation::none;
  bool input_gradient = true;  ///< not of the network's first layer
  int count = 1;               ///< how often the network has it

  /// "pixels:64x64/kernel:3/in:64+up128/out:64": 64 channels, and 128 at half the resolution.
  std::string name() const {
    const conv2d_geometry& g = geometry;
    std::string in;
    for (const auto& source : sources)
      in += (in.empty() ? "" : "+") + std::string(source.upsample > 1 ? "up" : "") +
            std::to_string(source.channels);
    return "pixels:" + std::to_string(g.out_h) + "x" + std::to_string(g.out_w) +
           "/kernel:" + std::to_string(g.kernel_h) + "/in:" + in + "/out:" + std::to_string(g.out_channels);
  }

  /// Two for each product that meets the image; those with padding are left out. So many operations the
  /// plain convolution of one image needs, forward or one of the two ways backward; an algorithm that needs
  /// fewer may pass the machine's peak.
  double operations() const {
    const conv2d_geometry& g = geometry;
    return 2.0 * taps(g.out_h, g.h, g.kernel_h, g.stride, g.pad_top) *
           taps(g.out_w, g.w, g.kernel_w, g.stride, g.pad_left) * g.in_channels * g.out_channels;
  }

 private:
  /// How many kernel places meet the image, over all outputs along one axis.
  static double taps(int out, int in, int kernel, int stride, int pad) {
    int count = 0;
    for (int o = 0; o < out; ++o)
      for (int k = 0; k < kernel; ++k) {
        const int i = o * stride + k - pad;
        count += i >= 0 && i < in;
      }
    return count;
  }
};

/// The distinct convolutions of a network for training, in its order.
template <class Network>
std::vector<network_convolution> convolutions_of() {
  const auto& graph = Network::training_graph();
  std::vector<network_convolution> found;
  for (int id = 1; id < graph.nodes.size(); ++id) {
    if (graph.nodes[id].dead) continue;
    graph.visit(id, [&](const auto& layer) {
      const auto in = graph.inputs_of(id);
      if constexpr (std::same_as<std::remove_cvref_t<decltype(layer)>, conv2d>) {
        network_convolution c{.geometry = layer.geometry(in), .bias = layer.bias, .act = layer.act};
        for (int i = 0; i < in.count; ++i)
          c.sources.push_back({nullptr, in.list[i].c, layer.reads.upsample[i]});
        c.input_gradient = graph.nodes[id].inputs[0] != 0;
        const auto same = std::ranges::find(found, c.name(), &network_convolution::name);
        if (same == found.end())
          found.push_back(std::move(c));
        else
          ++same->count;
      }
    });
  }
  return found;
}

/// Operations of all convolutions for one image: forward, or with both ways backward.
template <class Network>
double convolution_operations(bool training) {
  double sum = 0;
  for (const network_convolution& c : convolutions_of<Network>())
    sum += c.count * c.operations() * (training ? c.input_gradient ? 3 : 2 : 1);
  return sum;
}

}  // namespace segnet_benchmark
