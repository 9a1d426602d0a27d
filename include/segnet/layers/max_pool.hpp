// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// Maximum over windows of `window` x `window` pixels that do not overlap; the input must be divisible by
/// it. Of equal values the first (in row order) gets the gradient.
struct max_pool {
  int window = 2;  ///< 1 to largest_window

  /// The places in a window are numbered by a byte.
  static constexpr int largest_window = 16;

  static constexpr std::string_view type_name = "max_pool";

  constexpr int pooling_window() const { return window; }

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    if (window > largest_window)
      return {graph_error::pooling_window_too_large,
              {window, window, in[0].c},
              {largest_window, largest_window, in[0].c}};
    if (window <= 0 || in[0].h % window != 0 || in[0].w % window != 0)
      return {graph_error::pooling_needs_input_divisible_by_window, in[0], {window, window, in[0].c}};
    return shape{in[0].h / window, in[0].w / window, in[0].c};
  }

  /// Which pixel of its window each output came from: a byte each, so that the input need not be kept.
  constexpr saved_size saved(std::span<const shape> in) const {
    return {.bytes_per_image = in[0].size() / static_cast<std::size_t>(window * window)};
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->max_pool_forward(geometry(ctx.inputs[0].dims), ctx.batch, ctx.inputs[0].data,
                                  ctx.output.data, ctx.saved_bytes);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    ctx.backend->max_pool_backward(geometry(ctx.inputs[0].dims), ctx.batch, ctx.saved_bytes,
                                   ctx.output_gradient.data, ctx.input_gradients[0].data, ctx.accumulate[0]);
  }

  constexpr pool2d_geometry geometry(shape in) const {
    return {in.h, in.w, in.c, in.h / window, in.w / window, window, window};
  }
};

}  // namespace segnet
