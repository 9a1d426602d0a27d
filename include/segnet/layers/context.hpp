// SPDX-License-Identifier: MIT
// What a layer's forward() and backward() are handed: views into memory that the plan laid out.
#pragma once

#include <segnet/core/random_key.hpp>
#include <segnet/core/tensor_view.hpp>
#include <segnet/graph/layer.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace segnet {

/// What both passes see. `parameters` follow the order of the layer's parameter_specs; in inference they may
/// lie in a file's pages, of any alignment. Activations are a backend's `scalar`s, while everything with one
/// value per channel or weight is a `parameter_scalar`: where activations are stored in 16 bits, these are
/// not. Pointers are the backend's: those of a card may only be handed to its primitives.
template <class Backend>
struct layer_context {
  using scalar = typename Backend::scalar;
  using parameter_scalar = typename Backend::parameter_scalar;

  Backend* backend = nullptr;
  int batch = 0;
  bool training = false;      ///< batch statistics instead of running ones
  double momentum_limit = 1;  ///< of running statistics; below 1 in a run's first steps
  /// For random numbers: differs between layers and calls of network::forward(), is the same in backward().
  segnet::random_key random_key;
  std::array<tensor_view<const scalar>, max_inputs> inputs{};
  int input_count = 0;
  std::span<const shape> input_shapes;  ///< of the same inputs, as out_shape() takes them
  std::array<const parameter_scalar*, max_layer_parameters> parameters{};
  // What forward() keeps; null where no backward() will follow: in inference, and in training for a layer
  // through which no gradient flows to any parameter. The bytes are there, too, where another layer reads
  // them: that one finds them at `source_saved_bytes`.
  std::uint8_t* saved_bytes = nullptr;               ///< saved_size::bytes_per_image for each image
  const std::uint8_t* source_saved_bytes = nullptr;  ///< those of the layer's saved_source
  parameter_scalar* saved = nullptr;                 ///< saved_size::elements
  scalar* workspace = nullptr;                       ///< layer_workspace::per_image for each image
  segnet::scratch<scalar> scratch;
};

/// forward() writes every element of `output`. In training it moves its running statistics: `statistics[i]`
/// is `parameters[i]` where that is one, else null; all are null in inference.
template <class Backend>
struct forward_context : layer_context<Backend> {
  using scalar = typename Backend::scalar;
  using parameter_scalar = typename Backend::parameter_scalar;
  tensor_view<scalar> output;
  std::array<parameter_scalar*, max_layer_parameters> statistics{};
  // One value per output channel; null unless a batch-norm was folded into this layer.
  const parameter_scalar* scale = nullptr;
  const parameter_scalar* shift = nullptr;  ///< the layer's own bias is part of it
  scalar* pooled = nullptr;                 ///< a second output, where a pooling was fused into this layer
  // Of each channel of the output over the batch, the variance biased; null unless the next layer asks.
  parameter_scalar* mean = nullptr;
  parameter_scalar* variance = nullptr;
  // Only with a backend that has takes_prologue: of this layer, for the reader of its output, which has no
  // memory then; and of the layer in front, whose input is `inputs[0]`.
  parameter_scalar* coefficients = nullptr;  ///< scale, and the shift behind it
  conv2d_prologue<parameter_scalar> prologue{};
  bool statistics_given = false;  ///< `saved` starts with those of the input, whose layer has written them
};

/// backward() reads `output_gradient` and, for each input whose `input_gradients[i].data` is not null,
/// writes the gradient, or adds to it where `accumulate[i]`. The same holds for the trainable parameters
/// (others are null) and `accumulate_parameters`, which is set from the second micro-batch on.
/// `inputs` and `output` hold data only if the layer's `needs` ask for them; their shapes always.
template <class Backend>
struct backward_context : layer_context<Backend> {
  using scalar = typename Backend::scalar;
  using parameter_scalar = typename Backend::parameter_scalar;
  tensor_view<const scalar> output;
  tensor_view<const scalar> output_gradient;
  std::array<tensor_view<scalar>, max_inputs> input_gradients{};
  std::array<bool, max_inputs> accumulate{};
  std::array<parameter_scalar*, max_layer_parameters> parameter_gradients{};
  bool accumulate_parameters = false;
  bool centred = false;  ///< output_gradient sums to 0 over all images and pixels in each channel
  // Only with a backend that has takes_prologue: of the layer in front, to be filled, where slopes.x is
  // given; and of this layer, null unless its reader has filled them.
  conv2d_slope_sums<scalar, parameter_scalar> slopes{};
  const parameter_scalar* slope_sums = nullptr;

  /// Where a layer with the activation `act` writes the gradient of its bias, parameter `i`. Null where that
  /// is 0, since it is those sums, and therefore already written.
  parameter_scalar* bias_gradient(std::size_t i, activation act) const {
    parameter_scalar* const gradient = parameter_gradients[i];
    if (!centred || act != activation::none || gradient == nullptr) return gradient;
    if (!accumulate_parameters) this->backend->clear(static_cast<std::size_t>(output.dims.c), gradient);
    return nullptr;
  }
};

}  // namespace segnet
