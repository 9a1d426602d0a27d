// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// Local response normalisation across channels (Krizhevsky, Sutskever, Hinton 2012), as PyTorch has it:
/// y[c] = x[c] / (k + alpha / size * the sum of x^2 over the `size` channels around c)^beta.
struct local_response_norm {
  int size = 5;  ///< channels; of an even number, one more lies below c than above it
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 1;  ///< above 0

  static constexpr std::string_view type_name = "local_response_norm";
  static constexpr backward_needs needs{.inputs = true};
  static constexpr bool gradient_in_place = true;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    if (size <= 0) return {graph_error::channels_must_be_positive, {1, 1, size}};
    return in[0];
  }
  template <class Backend>
  constexpr layer_workspace workspace(std::span<const shape> in, bool) const {
    return {.per_image = 0, .scratch = Backend::local_response_norm_workspace(in[0].c)};
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto& x = ctx.inputs[0];
    ctx.backend->local_response_norm_forward({size, alpha, beta, k}, x.rows(), x.dims.c, x.data,
                                             ctx.output.data, ctx.scratch);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& x = ctx.inputs[0];
    ctx.backend->local_response_norm_backward({size, alpha, beta, k}, x.rows(), x.dims.c, x.data,
                                              ctx.output_gradient.data, ctx.input_gradients[0].data,
                                              ctx.accumulate[0], ctx.scratch);
  }
};

}  // namespace segnet
