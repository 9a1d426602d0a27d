// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/conv2d_product.hpp>
#include <segnet/backend/cpu/conv2d_weights.hpp>
#include <segnet/backend/cpu/row_sums.hpp>

namespace segnet::detail {

/// Scratch of a gathered product in the form that is chosen for it.
template <class T>
constexpr workspace_size product_workspace(const product_geometry& p) {
  switch (const product_form form = choose_form(p)) {
    case product_form::rows:
      return {.per_thread = rows_form_size<T>(p), .shared = 0};
    case product_form::winograd_2:
    case product_form::winograd_4:
      return with_winograd<T>(form, p.channels, p.columns, [](const auto& plan) {
        return workspace_size{.per_thread = plan.per_thread(), .shared = plan.shared()};
      });
    case product_form::direct:
      break;
  }
  return {.per_thread = panel_size<T>(p.channels, p.kernel_h * p.kernel_w, p.columns), .shared = 0};
}

template <class T>
constexpr workspace_size conv2d_forward_workspace(const conv2d_geometry& g) {
  return product_workspace<T>(product_geometry::forward(g));
}

template <class T>
constexpr workspace_size conv2d_backward_data_workspace(const conv2d_geometry& g) {
  return product_workspace<T>(product_geometry::backward_data(g));
}

template <class T>
constexpr workspace_size conv2d_backward_weights_workspace(const conv2d_geometry& g) {
  std::size_t per_thread = weights_plan<T>::per_thread();
  switch (choose_weights_form(g)) {
    case product_form::rows:
      per_thread = weights_rows_size<T>(g);
      break;
    case product_form::winograd_2:
    case product_form::winograd_4:
      per_thread = winograd_weights_plan<T, 4>::per_thread();
      break;
    case product_form::direct:
      break;
  }
  const std::size_t chunks = weights_chunks<T>(g);
  return {.per_thread = per_thread,
          .shared = std::max(chunks == 1 ? 0 : chunks * g.weights(), row_sums_size<T>(1, g.out_channels))};
}

}  // namespace segnet::detail
