// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// The window of h x w pixels whose first pixel is (top, left) of the input.
struct crop {
  int h = 0, w = 0;  ///< pixels of the output
  int top = 0, left = 0;

  static constexpr std::string_view type_name = "crop";

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    if (h <= 0 || w <= 0) return {graph_error::shape_must_be_positive, {h, w, in[0].c}};
    if (top < 0 || left < 0)
      return {graph_error::crop_must_lie_inside_input, {top, left, in[0].c}, {0, 0, in[0].c}};
    if (top + h > in[0].h || left + w > in[0].w)
      return {graph_error::crop_must_lie_inside_input, {top + h, left + w, in[0].c}, in[0]};
    return shape{h, w, in[0].c};
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->crop_forward(ctx.batch, ctx.inputs[0].dims, ctx.output.dims, top, left, ctx.inputs[0].data,
                              ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& dx = ctx.input_gradients[0];
    ctx.backend->crop_backward(ctx.batch, dx.dims, ctx.output_gradient.dims, top, left,
                               ctx.output_gradient.data, dx.data, ctx.accumulate[0]);
  }
};

}  // namespace segnet
