// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// In training each element is 0 with probability `rate`, and multiplied by 1 / (1 - rate) otherwise, so that
/// the mean stays (Srivastava et al. 2014, scaled in training as is usual); in inference the layer is gone.
/// Which elements are dropped depends on the seed that network::forward() is given, on the layer and on the
/// element's place in the batch, not on threads; the backward pass draws the mask again instead of keeping
/// it.
struct dropout {
  double rate = 0.5;  ///< in [0, 1)

  static constexpr std::string_view type_name = "dropout";
  static constexpr bool in_place = true;
  static constexpr bool gradient_in_place = true;
  static constexpr bool training_only = true;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    if (!(rate >= 0 && rate < 1)) return {graph_error::dropout_rate_must_be_at_least_0_and_below_1, in[0]};
    return in[0];
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->dropout(ctx.output.size(), ctx.random_key, ctx.training ? rate : 0.0, ctx.inputs[0].data,
                         ctx.output.data, false);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    ctx.backend->dropout(ctx.output_gradient.size(), ctx.random_key, rate, ctx.output_gradient.data,
                         ctx.input_gradients[0].data, ctx.accumulate[0]);
  }
};

}  // namespace segnet
