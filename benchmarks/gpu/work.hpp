// SPDX-License-Identifier: MIT
// What a network asks of any card: operations and bytes.
#pragma once

#include "../network_convolutions.hpp"

#include <segnet/layers/graph_builder.hpp>

#include <cstddef>
#include <vector>

namespace segnet_benchmark {

/// Operations of a convolution, and bytes that it must move even where everything else is fused into it.
struct convolution_work {
  double operations = 0, bytes = 0;
};

/// Of one inference, or one step of the training.
struct network_work {
  std::vector<convolution_work> convolutions;
  double optimizer_bytes = 0;
};

/// The fewest: two operations for each product, none of those with padding. Forward, each convolution reads
/// its sources and its weights and writes its output. Backward, it reads the output's gradient, the output
/// (for what follows it: batch-norm and ReLU) and its sources, and writes the gradients of its sources and of
/// its weights. All between two convolutions (batch-norm, ReLU, pooling, upsampling, joining) counts nothing.
/// Adam reads and writes parameters and two moments and reads the gradients.
template <class Network>
network_work work_of(int batch, bool training) {
  using scalar = typename Network::scalar;
  network_work work;
  for (const network_convolution& c : convolutions_of<Network>()) {
    const conv2d_geometry& g = c.geometry;
    double in = 0;
    for (const auto& source : c.sources)
      in += static_cast<double>(g.h / source.upsample) * (g.w / source.upsample) * source.channels;
    const double out = static_cast<double>(g.out_h) * g.out_w * g.out_channels;
    const auto weights = static_cast<double>(g.weights());
    const int directions = !training ? 1 : c.input_gradient ? 3 : 2;
    convolution_work each{.operations = batch * c.operations() * directions,
                          .bytes = sizeof(scalar) * (batch * (in + out) + weights)};
    if (training)
      each.bytes += sizeof(scalar) * (batch * (2 * out + (c.input_gradient ? 2 : 1) * in) + weights) +
                    sizeof(float) * weights;
    work.convolutions.insert(work.convolutions.end(), static_cast<std::size_t>(c.count), each);
  }
  if (training) {
    const auto parameters = static_cast<double>(Network::trainable_count);
    work.optimizer_bytes = 7 * sizeof(float) * parameters;
    if (sizeof(scalar) < sizeof(float)) work.optimizer_bytes += sizeof(scalar) * parameters;
  }
  return work;
}

/// A product of matrices, Size^2 pixels x Channels by Channels x Channels, as a network: it runs through the
/// same plans as every convolution.
template <int Size, int Channels>
struct matrix_product {
  static constexpr auto build() {
    graph_builder g;
    const value x = g.input({Size, Size, Channels});
    g.output(g("product", conv2d{.channels = Channels, .kernel = 1, .bias = false}, x));
    return g;
  }
};

}  // namespace segnet_benchmark
