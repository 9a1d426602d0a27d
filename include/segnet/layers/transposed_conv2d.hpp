// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace segnet {

/// Transposed convolution ("deconvolution", "up-convolution"): the backward pass of a convolution with these
/// hyper-parameters, from what that writes to what it reads. Each input pixel adds its kernel, times its
/// values, to the output; kernels of neighbours are `stride` pixels apart. The output has
/// (input - 1) * stride + kernel - 2 * pad pixels both ways, or h x w: up to stride - 1 more, in which the
/// convolution, too, would give this input's size.
///
/// Weights are KRSC of that convolution: {in channels, kernel, kernel, out channels}; the bias starts at
/// zero. With `per_channel` every channel has a kernel of its own, {channels, kernel, kernel, 1}, and nothing
/// crosses between channels (grouped, as FCN upsamples the scores of its classes).
struct transposed_conv2d {
  int channels = 0;
  int kernel = 2;  ///< at most max_kernel, unless per_channel
  int stride = 2;
  int pad = 0;       ///< pixels cut off on every side of the output
  int h = 0, w = 0;  ///< of the output; 0: the smallest that fits
  bool bias = true;
  bool per_channel = false;
  initializer init = initializer::glorot_uniform;
  learning learn{};
  activation act = activation::none;  ///< applied to the output; set by a pass

  static constexpr std::string_view type_name = "transposed_conv2d";
  static constexpr bool accepts_folded_batch_norm = true;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    if (channels <= 0) return {graph_error::channels_must_be_positive, {kernel, kernel, channels}};
    if (kernel <= 0 || stride <= 0)
      return {graph_error::kernel_and_stride_must_be_positive, {kernel, stride, channels}};
    if (kernel > max_kernel && !per_channel)
      return {graph_error::kernel_too_large, {kernel, kernel, channels}, {max_kernel, max_kernel, channels}};
    if (pad < 0) return {graph_error::padding_must_not_be_negative, {pad, pad, channels}, {0, 0, channels}};
    if ((per_channel || init == initializer::bilinear) && channels != in[0].c)
      return {graph_error::needs_as_many_channels_as_input, {kernel, kernel, channels}, in[0]};
    const shape smallest{smallest_size(in[0].h), smallest_size(in[0].w), channels};
    const shape out{h != 0 ? h : smallest.h, w != 0 ? w : smallest.w, channels};
    if (out.h <= 0 || out.w <= 0) return {graph_error::shape_must_be_positive, out};
    if (out.h < smallest.h || out.h >= smallest.h + stride || out.w < smallest.w ||
        out.w >= smallest.w + stride)
      return {graph_error::transposed_size_does_not_give_input, out, smallest};
    return out;
  }

  /// The output tells where a ReLU let the gradient through.
  constexpr backward_needs needs() const { return {.inputs = true, .output = act != activation::none}; }

  constexpr parameter_specs parameters(std::span<const shape> in) const {
    parameter_specs specs;
    parameter_spec weight{"weight", {channels, kernel, kernel, 1}, 4, init};
    if (!per_channel) weight.dims[0] = in[0].c, weight.dims[3] = channels;
    // What reaches one output: about (kernel / stride)^2 pixels.
    weight.fan_in = std::max(1, kernel * kernel / (stride * stride)) * (per_channel ? 1 : in[0].c);
    specs.push_back(learn.weight(weight));
    if (bias) specs.push_back(learn.bias({"bias", {channels}, 1, initializer::zeros}));
    return specs;
  }

  /// That of the convolution: its input is this one's output.
  constexpr conv2d_geometry geometry(std::span<const shape> in) const {
    const shape out = out_shape(in).value;
    return {.h = out.h,
            .w = out.w,
            .out_h = in[0].h,
            .out_w = in[0].w,
            .in_channels = channels,
            .out_channels = in[0].c,
            .kernel_h = kernel,
            .kernel_w = kernel,
            .stride = stride,
            .pad_top = pad,
            .pad_left = pad};
  }

  template <class Backend>
  constexpr layer_workspace workspace(std::span<const shape> in, bool backward) const {
    const conv2d_geometry g = geometry(in);
    layer_workspace need;
    if (!backward) {
      need.scratch = per_channel ? Backend::depthwise_transposed_workspace(g)
                                 : Backend::conv2d_backward_data_workspace(g);
      return need;
    }
    const auto both = [&need](const workspace_size& other) {
      need.scratch = {std::max(need.scratch.per_thread, other.per_thread),
                      std::max(need.scratch.shared, other.shared)};
    };
    if (per_channel) {
      both(Backend::depthwise_transposed_workspace(g));
    } else {
      both(Backend::conv2d_forward_workspace(g));
      both(Backend::conv2d_backward_weights_workspace(g));
    }
    if (bias) both(Backend::channel_sums_workspace(channels));
    if (act != activation::none) need.per_image = shape{g.h, g.w, channels}.size();  // the gradient before it
    return need;
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    using T = typename Backend::scalar;
    using P = typename Backend::parameter_scalar;
    const conv2d_geometry g = geometry(ctx.input_shapes);
    conv2d_epilogue<T, P> finish{.scale = ctx.scale, .bias = ctx.shift, .act = act};
    if (ctx.scale == nullptr && bias) finish.bias = ctx.parameters[1];
    const T* const x = ctx.inputs[0].data;
    const P* const weight = ctx.parameters[0];
    if (per_channel)
      ctx.backend->depthwise_transposed_forward(g, ctx.batch, x, weight, finish, ctx.output.data,
                                                ctx.scratch);
    else
      ctx.backend->conv2d_backward_data(g, ctx.batch, x, weight, ctx.output.data, false, ctx.scratch, finish);
  }

  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    using T = typename Backend::scalar;
    using P = typename Backend::parameter_scalar;
    const conv2d_geometry g = geometry(ctx.input_shapes);
    Backend& backend = *ctx.backend;
    const T *x = ctx.inputs[0].data, *dy = ctx.output_gradient.data;
    const P* const weight = ctx.parameters[0];
    if (act == activation::relu) {
      backend.relu_backward(ctx.output_gradient.size(), ctx.output.data, dy, ctx.workspace, false);
      dy = ctx.workspace;
    }
    if (P* const dbias = bias ? ctx.bias_gradient(1, act) : nullptr)
      backend.channel_sums(ctx.output_gradient.rows(), channels, dy, dbias, ctx.accumulate_parameters,
                           ctx.scratch);
    P* const dweight = ctx.parameter_gradients[0];
    T* const dx = ctx.input_gradients[0].data;
    if (per_channel) {
      backend.depthwise_transposed_backward_weights(g, ctx.batch, x, dy, dweight, ctx.accumulate_parameters);
      if (dx != nullptr)
        backend.depthwise_transposed_backward_data(g, ctx.batch, dy, weight, dx, ctx.accumulate[0],
                                                   ctx.scratch);
      return;
    }
    const std::array<conv2d_source<T>, 1> from{{{dy, channels, 1}}};
    backend.conv2d_backward_weights(g, ctx.batch, from, x, dweight, nullptr, ctx.accumulate_parameters,
                                    ctx.scratch);
    if (dx != nullptr)
      backend.conv2d_forward(g, ctx.batch, from, weight, {}, dx, ctx.scratch, ctx.accumulate[0]);
  }

 private:
  constexpr int smallest_size(int in) const { return (in - 1) * stride + kernel - 2 * pad; }
};

}  // namespace segnet
