// SPDX-License-Identifier: MIT
// A layer whose kernels a .cu file has, as users write them, and a network of it.
#pragma once

#include <segnet/cuda.hpp>
#include <segnet/layers/graph_builder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace segnet::test {

// In nvcc_file.cu.
void square(cudaStream_t stream, std::size_t size, const float* x, float* y);
/// dx = 2 x dy.
void square_slope(cudaStream_t stream, std::size_t size, const float* x, const float* dy, float* dx);

/// y = x^2.
struct squared {
  static constexpr std::string_view type_name = "squared";
  static constexpr backward_needs needs{.inputs = true};

  constexpr shape_result out_shape(std::span<const shape> in) const { return in[0]; }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto* const x = ctx.inputs[0].data;
    auto* const y = ctx.output.data;
    if constexpr (Backend::on_device)
      ctx.backend->launch([&](cudaStream_t stream) { square(stream, ctx.output.size(), x, y); });
    else
      for (std::size_t i = 0; i < ctx.output.size(); ++i) y[i] = x[i] * x[i];
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto &x = ctx.inputs[0], &dy = ctx.output_gradient;
    auto* const dx = ctx.input_gradients[0].data;
    if constexpr (Backend::on_device)
      ctx.backend->launch([&](cudaStream_t stream) { square_slope(stream, dy.size(), x.data, dy.data, dx); });
    else
      for (std::size_t i = 0; i < dy.size(); ++i) dx[i] = 2 * x.data[i] * dy.data[i];
  }
};

struct squares {
  static constexpr auto build() {
    graph_builder<squared> g;
    const value x = g("first", conv2d{.channels = 8}, g.input({12, 10, 3}));
    g.output(g("last", conv2d{.channels = 2, .kernel = 1}, g("squared", squared{}, x)));
    return g;
  }
};

struct outcome {
  std::vector<float> output, gradients;
};
/// What network<squares, Backend> with the parameters of initialise(seed) gives for one picture, and the
/// gradients for an upstream gradient of ones.
template <class Backend>
outcome run_squares(std::span<const float> picture, std::uint64_t seed) {
  network<squares, Backend> net({.batch = 1});
  net.initialise(seed);
  const auto output = net.forward({picture.data(), 1, net.input_shape});
  outcome result{{output.begin(), output.end()}, {}};
  std::ranges::fill(net.output_gradient(), 1.0F);
  net.backward();
  result.gradients.assign(net.gradients().begin(), net.gradients().end());
  return result;
}
/// The same of a network<squares, cuda> that nvcc has compiled.
outcome run_squares_of_nvcc(std::span<const float> picture, std::uint64_t seed);

}  // namespace segnet::test
