// SPDX-License-Identifier: MIT
// Layers that join several values into one.
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// Joins 2 to 4 values of equal height and width along the channels, in the order given. In front of a
/// convolution it is read in place and never materialised.
struct concat {
  static constexpr std::string_view type_name = "concat";
  static constexpr bool concatenates = true;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() < 2) return {graph_error::wrong_number_of_inputs, in[0]};
    shape joined = in[0];
    for (const shape& next : in.subspan(1)) {
      if (next.h != joined.h || next.w != joined.w)
        return {graph_error::concat_needs_equal_height_and_width, next, in[0]};
      joined.c += next.c;
    }
    return joined;
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    for (std::size_t i = 0, offset = 0; i < static_cast<std::size_t>(ctx.input_count); ++i) {
      const auto& x = ctx.inputs[i];
      ctx.backend->copy_channels(x.rows(), x.dims.c, x.data, x.dims.c, 0, ctx.output.data, ctx.output.dims.c,
                                 static_cast<int>(offset), false);
      offset += static_cast<std::size_t>(x.dims.c);
    }
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& dy = ctx.output_gradient;
    for (std::size_t i = 0, offset = 0; i < static_cast<std::size_t>(ctx.input_count); ++i) {
      const auto& dx = ctx.input_gradients[i];
      if (dx.data != nullptr)
        ctx.backend->copy_channels(dx.rows(), dx.dims.c, dy.data, dy.dims.c, static_cast<int>(offset),
                                   dx.data, dx.dims.c, 0, ctx.accumulate[i]);
      offset += static_cast<std::size_t>(dx.dims.c);
    }
  }
};

/// y = a + b, two values of equal shape.
struct add {
  static constexpr std::string_view type_name = "add";

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 2) return {graph_error::wrong_number_of_inputs, in[0]};
    if (in[0] != in[1]) return {graph_error::add_needs_equal_shapes, in[1], in[0]};
    return in[0];
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->add(ctx.output.size(), ctx.inputs[0].data, ctx.inputs[1].data, ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& dy = ctx.output_gradient;
    for (std::size_t i = 0; i < 2; ++i)
      if (const auto& dx = ctx.input_gradients[i]; dx.data != nullptr)
        ctx.backend->copy_channels(dy.rows(), dy.dims.c, dy.data, dy.dims.c, 0, dx.data, dy.dims.c, 0,
                                   ctx.accumulate[i]);
  }
};

}  // namespace segnet
