// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// Maximum over windows of `window` x `window` pixels that do not overlap. The input must be divisible by
/// it, or `ceil` set: then the last windows stand over the lower and the right edge, and the output's size is
/// rounded up (45 pixels become 23). Of equal values the first (in row order) gets the gradient.
struct max_pool {
  int window = 2;  ///< 1 to largest_window
  bool ceil = false;

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
    if (window <= 0 || (!ceil && (in[0].h % window != 0 || in[0].w % window != 0)))
      return {graph_error::pooling_needs_input_divisible_by_window, in[0], {window, window, in[0].c}};
    return pooled(in[0]);
  }

  /// Which pixel of its window each output came from: a byte each, so that the input need not be kept. A
  /// max_unpool reads them, too.
  constexpr saved_size saved(std::span<const shape> in) const {
    return {.bytes_per_image = pooled(in[0]).size()};
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
    const shape out = pooled(in);
    return {in.h, in.w, in.c, out.h, out.w, window, window};
  }
  /// The output's shape.
  constexpr shape pooled(shape in) const {
    return {(in.h + window - 1) / window, (in.w + window - 1) / window, in.c};
  }
};

/// Undoes a max_pool (SegNet, Badrinarayanan et al. 2015): each pixel returns to the place in its window from
/// which the maximum came, the other places are 0. Called with the value of that max_pool behind the one to
/// be unpooled, which has the same shape:
///   g(max_unpool{.h = 45, .w = 60}, x, pooled)
/// Only the pooling's indices are read, a byte for each window; no gradient flows to `pooled`.
struct max_unpool {
  int window = 2;    ///< that of the max_pool
  int h = 0, w = 0;  ///< of the output: the size before pooling; 0: window * the input's

  static constexpr std::string_view type_name = "max_unpool";
  using saved_source = max_pool;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    return shape{h == 0 ? in[0].h * window : h, w == 0 ? in[0].w * window : w, in[0].c};
  }
  constexpr shape_result fits(const max_pool& pool, shape before, std::span<const shape> in) const {
    if (window != pool.window)
      return {graph_error::unpooling_needs_the_window_of_its_pooling,
              {window, window, in[0].c},
              {pool.window, pool.window, in[0].c}};
    if (in[0] != pool.pooled(before))
      return {graph_error::unpooling_needs_the_shape_of_the_pooled_value, in[0], pool.pooled(before)};
    const shape out = out_shape(in).value;
    if (out != before) return {graph_error::unpooling_must_restore_the_size_before_pooling, out, before};
    return out;
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->max_unpool_forward(geometry(ctx.output.dims), ctx.batch, ctx.source_saved_bytes,
                                    ctx.inputs[0].data, ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    ctx.backend->max_unpool_backward(geometry(ctx.output.dims), ctx.batch, ctx.source_saved_bytes,
                                     ctx.output_gradient.data, ctx.input_gradients[0].data,
                                     ctx.accumulate[0]);
  }

  /// The pooling's.
  constexpr pool2d_geometry geometry(shape before) const {
    return max_pool{.window = window}.geometry(before);
  }
};

}  // namespace segnet
