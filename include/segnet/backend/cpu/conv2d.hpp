// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/conv2d_product.hpp>
#include <segnet/backend/cpu/conv2d_weights.hpp>
#include <segnet/backend/cpu/row_sums.hpp>

namespace segnet::detail {

/// Scratch of a gathered product in either of its forms.
template <class T>
constexpr std::size_t product_size(int channels, int columns, const conv2d_geometry& g, int out_w,
                                   bool transposed) {
  const std::size_t rows =
      rows_form_pays(channels, columns, g.kernel_h, g.kernel_w, out_w, g.stride, transposed)
          ? rows_form_size<T>(channels, columns, g.kernel_h, g.kernel_w, out_w, transposed ? 1 : g.stride)
          : 0;
  return std::max(rows, panel_size<T>(channels, g.kernel_h * g.kernel_w, columns));
}

template <class T>
constexpr workspace_size conv2d_forward_workspace(const conv2d_geometry& g) {
  return {.per_thread = product_size<T>(g.in_channels, g.out_channels, g, g.out_w, false), .shared = 0};
}

template <class T>
constexpr workspace_size conv2d_backward_data_workspace(const conv2d_geometry& g) {
  return {.per_thread = product_size<T>(g.out_channels, g.in_channels, g, g.w, true), .shared = 0};
}

template <class T>
constexpr workspace_size conv2d_backward_weights_workspace(const conv2d_geometry& g) {
  const bool rows = rows_form_pays_for_weights(g);
  const std::size_t chunks =
      rows ? weights_row_chunks : static_cast<std::size_t>(weights_plan<T>(g).chunks());
  return {.per_thread = rows ? weights_rows_size<T>(g) : weights_plan<T>::per_thread(),
          .shared = std::max(chunks == 1 ? 0 : chunks * g.weights(), row_sums_size<T>(1, g.out_channels))};
}

}  // namespace segnet::detail
