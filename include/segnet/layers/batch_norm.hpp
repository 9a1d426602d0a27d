// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

#include <algorithm>
#include <cmath>

namespace segnet {

/// Batch normalisation over the pixels of the batch, per channel (Ioffe & Szegedy 2015):
/// y = gamma * (x - mean) / sqrt(variance + epsilon) + beta. Training uses the batch's statistics and moves
/// the running ones by running = momentum * running + (1 - momentum) * batch (Keras' sense of momentum; the
/// running variance takes the unbiased batch variance). Inference uses the running ones; where the input is
/// a convolution's, that applies them to what it writes.
struct batch_norm {
  double epsilon = 1e-4;
  double momentum = 0.99;
  learning learn{};
  activation act = activation::none;  ///< applied to the output; set by a pass

  static constexpr std::string_view type_name = "batch_norm";
  static constexpr backward_needs needs{.inputs = true};
  static constexpr bool gradient_in_place = true;
  static constexpr bool recomputes = true;
  static constexpr bool folds = true;
  static constexpr bool normalises_over_batch = true;
  static constexpr bool takes_statistics = true;
  static constexpr bool gives_coefficients = true;
  static constexpr bool centres_gradient = true;  // what all pixels have in common was taken from them

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    return in[0];
  }

  constexpr parameter_specs parameters(std::span<const shape> in) const {
    const int channels = in[0].c;
    parameter_specs specs;
    specs.push_back(learn.weight({"weight", {channels}, 1, initializer::ones}));
    specs.push_back(learn.bias({"bias", {channels}, 1, initializer::zeros}));
    specs.push_back({"running_mean", {channels}, 1, initializer::zeros, false});
    specs.push_back({"running_var", {channels}, 1, initializer::ones, false});
    return specs;
  }

  /// The batch's mean, and its variance, which becomes 1 / sqrt(variance + epsilon).
  constexpr saved_size saved(std::span<const shape> in) const {
    return {.elements = 2 * static_cast<std::size_t>(in[0].c)};
  }

  /// What the layer does to a channel at inference: y = scale * x + shift. `p` in the order of parameters().
  template <class T>
  void folded(const T* const* p, int channel, T& scale, T& shift) const {
    scale = p[0][channel] / std::sqrt(p[3][channel] + static_cast<T>(epsilon));
    shift = p[1][channel] - p[2][channel] * scale;
  }

  template <class Backend>
  constexpr layer_workspace workspace(std::span<const shape> in, bool backward) const {
    layer_workspace need;
    need.scratch = backward ? Backend::batch_norm_backward_workspace(in[0].c)
                            : Backend::batch_statistics_workspace(in[0].c);
    return need;
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    using T = typename Backend::parameter_scalar;
    const auto& x = ctx.inputs[0];
    const auto& p = ctx.parameters;
    if (!ctx.training)
      return ctx.backend->batch_norm_inference(x.rows(), x.dims.c, x.data, p[0], p[1], p[2], p[3],
                                               static_cast<T>(epsilon), act, ctx.output.data);
    if (!ctx.statistics_given)
      ctx.backend->batch_statistics(x.rows(), x.dims.c, x.data, ctx.saved, ctx.saved + x.dims.c, ctx.scratch);
    if constexpr (detail::takes_prologue<Backend>)
      if (ctx.coefficients != nullptr)
        return ctx.backend->batch_norm_coefficients(
            x.rows(), x.dims.c, p[0], p[1], static_cast<T>(epsilon),
            static_cast<T>(std::min(momentum, ctx.momentum_limit)), ctx.statistics[2], ctx.statistics[3],
            ctx.saved, ctx.saved + x.dims.c, ctx.coefficients, ctx.coefficients + x.dims.c);
    ctx.backend->batch_norm_forward(x.rows(), x.dims.c, x.data, p[0], p[1], static_cast<T>(epsilon),
                                    static_cast<T>(std::min(momentum, ctx.momentum_limit)), ctx.statistics[2],
                                    ctx.statistics[3], ctx.saved, ctx.saved + x.dims.c, act, ctx.output.data);
  }

  template <class Backend>
  void recompute(const forward_context<Backend>& ctx) const {
    const auto& x = ctx.inputs[0];
    ctx.backend->batch_norm_apply(x.rows(), x.dims.c, x.data, ctx.parameters[0], ctx.parameters[1], ctx.saved,
                                  ctx.saved + x.dims.c, act, ctx.output.data);
  }

  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& x = ctx.inputs[0];
    const auto run = [&](const auto&... sums) {
      ctx.backend->batch_norm_backward(x.rows(), x.dims.c, x.data, ctx.output_gradient.data,
                                       ctx.parameters[0], ctx.parameters[1], ctx.saved, ctx.saved + x.dims.c,
                                       act, ctx.input_gradients[0].data, ctx.accumulate[0],
                                       ctx.parameter_gradients[0], ctx.parameter_gradients[1],
                                       ctx.accumulate_parameters, ctx.scratch, sums...);
    };
    if constexpr (detail::takes_prologue<Backend>)
      run(ctx.slope_sums);
    else
      run();
  }
};

}  // namespace segnet
