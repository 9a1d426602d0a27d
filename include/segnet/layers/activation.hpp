// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/layers/context.hpp>

namespace segnet {

/// y = max(x, 0). Behind a convolution or batch-norm it costs nothing: they apply it to what they write.
struct relu {
  static constexpr std::string_view type_name = "relu";
  static constexpr backward_needs needs{.output = true};
  static constexpr bool in_place = true;
  static constexpr bool gradient_in_place = true;
  static constexpr activation fuses_as = activation::relu;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    return in[0];
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->relu_forward(ctx.output.size(), ctx.inputs[0].data, ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    ctx.backend->relu_backward(ctx.output.size(), ctx.output.data, ctx.output_gradient.data,
                               ctx.input_gradients[0].data, ctx.accumulate[0]);
  }
};

/// y = 1 / (1 + exp(-x)). As the network's last layer it is left out of training, where the loss takes
/// logits.
struct sigmoid {
  static constexpr std::string_view type_name = "sigmoid";
  static constexpr backward_needs needs{.output = true};
  static constexpr bool in_place = true;
  static constexpr bool gradient_in_place = true;
  static constexpr bool joins_loss = true;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    return in[0];
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->sigmoid_forward(ctx.output.size(), ctx.inputs[0].data, ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    ctx.backend->sigmoid_backward(ctx.output.size(), ctx.output.data, ctx.output_gradient.data,
                                  ctx.input_gradients[0].data, ctx.accumulate[0]);
  }
};

/// p = exp(x) / sum(exp(x)) over the channels of each pixel. As the network's last layer it is left out of
/// training, where the loss takes logits.
struct softmax {
  static constexpr std::string_view type_name = "softmax";
  static constexpr backward_needs needs{.output = true};
  static constexpr bool in_place = true;
  static constexpr bool gradient_in_place = true;
  static constexpr bool joins_loss = true;

  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in.size() != 1) return {graph_error::wrong_number_of_inputs, in[0]};
    return in[0];
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto channels = static_cast<std::size_t>(ctx.output.dims.c);
    ctx.backend->softmax_forward(ctx.output.rows(), channels, ctx.inputs[0].data, ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto channels = static_cast<std::size_t>(ctx.output.dims.c);
    ctx.backend->softmax_backward(ctx.output.rows(), channels, ctx.output.data, ctx.output_gradient.data,
                                  ctx.input_gradients[0].data, ctx.accumulate[0]);
  }
};

}  // namespace segnet
