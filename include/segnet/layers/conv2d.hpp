// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

#include <algorithm>

namespace segnet {

/// Zeros around a convolution's input: `padding::same`, `padding::valid`, or a number of them on every side,
/// which may exceed the kernel.
struct padding {
  int zeros = 0;
  bool keeps_size = false;  ///< as many as `same` needs

  constexpr padding(int on_every_side) : zeros(on_every_side) {}

  static const padding same;   ///< output = ceil(input / stride); the odd zero goes below and to the right
  static const padding valid;  ///< none

  friend constexpr bool operator==(const padding&, const padding&) = default;

 private:
  constexpr padding(int on_every_side, bool keeps) : zeros(on_every_side), keeps_size(keeps) {}
};
inline constexpr padding padding::same{0, true};
inline constexpr padding padding::valid{0};

/// 2-d cross-correlation with square kernels: y[k] = bias[k] + sum over the window and channels of x * w[k].
/// Weights are KRSC; the bias starts at zero.
///
/// Several inputs are read as if concatenated along the channels, each upsampled by its factor in `reads`
/// (nearest neighbour); the fusion passes make use of that, and so may a definition.
struct conv2d {
  int channels = 0;
  int kernel = 3;
  int stride = 1;
  padding pad = padding::same;
  bool bias = true;
  initializer init = initializer::glorot_uniform;
  learning learn{};
  activation act = activation::none;  ///< applied to the output; set by a pass
  sources reads{};                    ///< set by a pass
  bool pools_first = false;  ///< a fused pooling reads what stands before the activation; set by a pass

  static constexpr std::string_view type_name = "conv2d";
  static constexpr bool accepts_folded_batch_norm = true;
  static constexpr bool accepts_max_pool = true;
  static constexpr bool gives_statistics = true;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (channels <= 0) return {graph_error::channels_must_be_positive, {kernel, kernel, channels}};
    if (kernel <= 0 || stride <= 0)
      return {graph_error::kernel_and_stride_must_be_positive, {kernel, stride, channels}};
    if (kernel > max_kernel)
      return {graph_error::kernel_too_large, {kernel, kernel, channels}, {max_kernel, max_kernel, channels}};
    const shape first = seen(in, 0);
    for (int i = 1; i < static_cast<int>(in.size()); ++i)
      if (seen(in, i).h != first.h || seen(in, i).w != first.w)
        return {graph_error::concat_needs_equal_height_and_width, seen(in, i), first};
    if (pad.zeros < 0)
      return {graph_error::padding_must_not_be_negative, {pad.zeros, pad.zeros, first.c}, {0, 0, first.c}};
    const shape padded{first.h + 2 * pad.zeros, first.w + 2 * pad.zeros, first.c};
    if (!pad.keeps_size && (padded.h < kernel || padded.w < kernel))
      return {graph_error::kernel_larger_than_padded_input, padded, {kernel, kernel, first.c}};
    const conv2d_geometry g = geometry(in);
    if (init == initializer::bilinear && channels != g.in_channels)
      return {graph_error::needs_as_many_channels_as_input,
              {kernel, kernel, channels},
              {first.h, first.w, g.in_channels}};
    return shape{g.out_h, g.out_w, channels};
  }

  /// The output tells where a ReLU let the gradient through.
  constexpr backward_needs needs() const { return {.inputs = true, .output = act != activation::none}; }

  constexpr parameter_specs parameters(std::span<const shape> in) const {
    parameter_specs specs;
    specs.push_back(learn.weight({"weight", {channels, kernel, kernel, geometry(in).in_channels}, 4, init}));
    if (bias) specs.push_back(learn.bias({"bias", {channels}, 1, initializer::zeros}));
    return specs;
  }

  constexpr conv2d_geometry geometry(std::span<const shape> in) const {
    conv2d_geometry g;
    g.h = seen(in, 0).h;
    g.w = seen(in, 0).w;
    for (const shape& input : in) g.in_channels += input.c;
    g.out_channels = channels;
    g.kernel_h = g.kernel_w = kernel;
    g.stride = stride;
    g.out_h = out_size(g.h, g.pad_top);
    g.out_w = out_size(g.w, g.pad_left);
    return g;
  }

  constexpr bool takes_prologue(int inputs) const { return reads_one_plain_input(inputs); }

  template <class Backend>
  constexpr layer_workspace workspace(std::span<const shape> in, bool backward) const {
    const conv2d_geometry g = geometry(in);
    layer_workspace need;
    if (!backward) {
      need.scratch = Backend::conv2d_forward_workspace(g);
      return need;
    }
    const workspace_size data = Backend::conv2d_backward_data_workspace(g);
    const workspace_size weights = Backend::conv2d_backward_weights_workspace(g);
    need.scratch = {std::max(data.per_thread, weights.per_thread), std::max(data.shared, weights.shared)};
    // The gradient before the activation; that of the concatenated input, before it is handed out to the
    // sources.
    if (act != activation::none) need.per_image += shape{g.out_h, g.out_w, g.out_channels}.size();
    if (!reads_one_plain_input(static_cast<int>(in.size())))
      need.per_image += shape{g.h, g.w, g.in_channels}.size();
    return need;
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    using T = typename Backend::scalar;
    const auto [g, from] = read<T>(ctx);
    conv2d_epilogue<T, typename Backend::parameter_scalar> finish{.scale = ctx.scale,
                                                                  .bias = ctx.shift,
                                                                  .act = act,
                                                                  .pooled = ctx.pooled,
                                                                  .pools_first = pools_first,
                                                                  .mean = ctx.mean,
                                                                  .variance = ctx.variance};
    if (ctx.scale == nullptr && bias) finish.bias = ctx.parameters[1];
    const std::span<const conv2d_source<T>> sources(from.data(), static_cast<std::size_t>(ctx.input_count));
    if constexpr (detail::takes_prologue<Backend>)
      ctx.backend->conv2d_forward(g, ctx.batch, sources, ctx.parameters[0], finish, ctx.output.data,
                                  ctx.scratch, false, ctx.prologue);
    else
      ctx.backend->conv2d_forward(g, ctx.batch, sources, ctx.parameters[0], finish, ctx.output.data,
                                  ctx.scratch);
  }

  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    using T = typename Backend::scalar;
    const auto [g, from] = read<T>(ctx);
    Backend& backend = *ctx.backend;
    const T* dy = ctx.output_gradient.data;
    T* workspace = ctx.workspace;
    if (act == activation::relu) {
      backend.relu_backward(ctx.output_gradient.size(), ctx.output.data, dy, workspace, false);
      dy = workspace;
      workspace += ctx.output_gradient.size();
    }
    typename Backend::parameter_scalar* const dbias = bias ? ctx.bias_gradient(1, act) : nullptr;
    backend.conv2d_backward_weights(g, ctx.batch, {from.data(), static_cast<std::size_t>(ctx.input_count)},
                                    dy, ctx.parameter_gradients[0], dbias, ctx.accumulate_parameters,
                                    ctx.scratch);
    const bool wanted = std::any_of(ctx.input_gradients.begin(), ctx.input_gradients.end(),
                                    [](const auto& gradient) { return gradient.data != nullptr; });
    if (!wanted) return;
    if (reads_one_plain_input(ctx.input_count)) {
      T* const dx = ctx.input_gradients[0].data;
      if constexpr (detail::takes_prologue<Backend>)
        backend.conv2d_backward_data(g, ctx.batch, dy, ctx.parameters[0], dx, ctx.accumulate[0], ctx.scratch,
                                     {}, ctx.slopes);
      else
        backend.conv2d_backward_data(g, ctx.batch, dy, ctx.parameters[0], dx, ctx.accumulate[0], ctx.scratch);
      return;
    }
    backend.conv2d_backward_data(g, ctx.batch, dy, ctx.parameters[0], workspace, false, ctx.scratch);
    for (int i = 0, offset = 0; i < ctx.input_count; ++i) {
      const tensor_view<T>& dx = ctx.input_gradients[static_cast<std::size_t>(i)];
      const bool accumulate = ctx.accumulate[static_cast<std::size_t>(i)];
      if (dx.data != nullptr) {
        if (reads.upsample[i] > 1)
          backend.upsample_nearest_backward(reads.upsample[i], ctx.batch, dx.dims, workspace, dx.data,
                                            accumulate, g.in_channels, offset);
        else
          backend.copy_channels(dx.rows(), dx.dims.c, workspace, g.in_channels, offset, dx.data, dx.dims.c, 0,
                                accumulate);
      }
      offset += dx.dims.c;
    }
  }

  /// The shape of input i after its upsampling.
  constexpr shape seen(std::span<const shape> in, int i) const {
    const shape& input = in[static_cast<std::size_t>(i)];
    return {input.h * reads.upsample[i], input.w * reads.upsample[i], input.c};
  }
  constexpr bool reads_one_plain_input(int inputs) const { return inputs == 1 && reads.upsample[0] == 1; }

  /// Output size along one axis; also computes the padding before the first pixel.
  constexpr int out_size(int in, int& before) const {
    if (!pad.keeps_size) {
      before = pad.zeros;
      return (in + 2 * pad.zeros - kernel) / stride + 1;
    }
    const int out = (in + stride - 1) / stride;
    before = std::max(0, (out - 1) * stride + kernel - in) / 2;
    return out;
  }

  template <class T, class Context>
  auto read(const Context& ctx) const {
    struct {
      conv2d_geometry geometry;
      std::array<conv2d_source<T>, max_inputs> from{};
    } r;
    for (std::size_t i = 0; i < ctx.input_shapes.size(); ++i)
      r.from[i] = {ctx.inputs[i].data, ctx.input_shapes[i].c, reads.upsample[i]};
    r.geometry = geometry(ctx.input_shapes);
    return r;
  }
};

}  // namespace segnet
