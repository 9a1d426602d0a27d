// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/conv2d_product.hpp>
#include <segnet/backend/cpu/conv2d_weights.hpp>
#include <segnet/backend/cpu/row_sums.hpp>

namespace segnet::detail {

template <class T>
constexpr workspace_size conv2d_forward_workspace(const conv2d_geometry& g) {
  return {.per_thread = panel_size<T>(g.in_channels, g.kernel_h * g.kernel_w, g.out_channels), .shared = 0};
}

template <class T>
constexpr workspace_size conv2d_backward_data_workspace(const conv2d_geometry& g) {
  return {.per_thread = panel_size<T>(g.out_channels, g.kernel_h * g.kernel_w, g.in_channels), .shared = 0};
}

template <class T>
constexpr workspace_size conv2d_backward_weights_workspace(const conv2d_geometry& g) {
  const auto chunks = static_cast<std::size_t>(weights_plan<T>(g).chunks());
  return {.per_thread = weights_plan<T>::per_thread(),
          .shared = std::max(chunks == 1 ? 0 : chunks * g.weights(), row_sums_size<T>(1, g.out_channels))};
}

}  // namespace segnet::detail
