// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// Nearest-neighbour upsampling: each pixel becomes factor x factor of them. In front of a convolution,
/// with or without a concatenation between, it is read in place and never materialised.
struct upsample {
  int factor = 2;

  static constexpr std::string_view type_name = "upsample";

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    if (factor <= 0) return {graph_error::shape_must_be_positive, {factor, factor, in[0].c}};
    return shape{in[0].h * factor, in[0].w * factor, in[0].c};
  }
  constexpr int source_upsample() const { return factor; }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto& x = ctx.inputs[0];
    ctx.backend->upsample_nearest_forward(factor, ctx.batch, x.dims, x.data, ctx.output.data, x.dims.c, 0);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& dx = ctx.input_gradients[0];
    ctx.backend->upsample_nearest_backward(factor, ctx.batch, dx.dims, ctx.output_gradient.data, dx.data,
                                           ctx.accumulate[0], dx.dims.c, 0);
  }
};

/// Bilinear upsampling by a whole factor: the pixels' centres are interpolated between, and what lies beyond
/// the outermost ones is as they are (PyTorch's interpolate with align_corners = false).
struct upsample_bilinear {
  int factor = 2;

  static constexpr std::string_view type_name = "upsample_bilinear";

  constexpr shape_result out_shape(std::span<const shape> in) const { return upsample{factor}.out_shape(in); }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto& x = ctx.inputs[0];
    ctx.backend->upsample_bilinear_forward(factor, ctx.batch, x.dims, x.data, ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& dx = ctx.input_gradients[0];
    ctx.backend->upsample_bilinear_backward(factor, ctx.batch, dx.dims, ctx.output_gradient.data, dx.data,
                                            ctx.accumulate[0]);
  }
};

}  // namespace segnet
