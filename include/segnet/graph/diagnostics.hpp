// SPDX-License-Identifier: MIT
// How a mistake in a network's definition reaches its author: the builder records the first one, and
// network<Def> names an undefined type after it. That costs a few readable lines in every compiler, where a
// throw inside a constant expression prints hundreds.
#pragma once

#include <segnet/core/shape.hpp>

namespace segnet {

enum class graph_error {
  none,
  input_must_come_first_and_only_once,
  network_has_no_output,
  output_must_not_be_the_input,
  value_does_not_belong_to_this_graph,
  too_many_layers,
  layer_names_must_differ,
  layer_name_too_long,  ///< name::capacity characters, scopes included
  wrong_number_of_inputs,
  shape_must_be_positive,
  channels_must_be_positive,
  kernel_and_stride_must_be_positive,
  kernel_too_large,  ///< max_kernel
  padding_must_not_be_negative,
  kernel_larger_than_padded_input,
  pooling_needs_input_divisible_by_window,
  pooling_window_too_large,
  unpooling_needs_the_value_of_its_pooling,  ///< its last input: the max_pool's own value
  unpooling_needs_the_window_of_its_pooling,
  unpooling_needs_the_shape_of_the_pooled_value,
  unpooling_must_restore_the_size_before_pooling,  ///< give max_unpool h and w where max_pool rounded up
  dropout_rate_must_be_at_least_0_and_below_1,
  concat_needs_equal_height_and_width,
  add_needs_equal_shapes,
  needs_as_many_channels_as_input,      ///< per_channel, or bilinear weights
  transposed_size_does_not_give_input,  ///< h, w outside [expected, expected + stride)
  crop_must_lie_inside_input,
  custom_layer_refuses_shape,
};

/// What a layer's out_shape returns: the shape, or what is wrong with the inputs and the two shapes that
/// show it (found, and expected or the one it clashes with).
struct shape_result {
  constexpr shape_result(shape inferred) : value(inferred) {}
  constexpr shape_result(graph_error code, shape found_shape, shape expected_shape = {0, 0, 0})
      : error(code), found(found_shape), expected(expected_shape) {}

  shape value{0, 0, 0};
  graph_error error = graph_error::none;
  shape found{0, 0, 0};
  shape expected{0, 0, 0};
};

/// Never defined: its template arguments are the error message. `Layer` counts the calls of the builder,
/// the input being 0.
template <class Definition, graph_error What, int Layer, shape Found, shape Expected>
struct network_error;

}  // namespace segnet
