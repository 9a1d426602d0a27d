// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/conv2d_product.hpp>
#include <segnet/backend/cpu/conv2d_weights.hpp>
#include <segnet/backend/cpu/row_sums.hpp>

namespace segnet::detail {

/// Scratch of a gathered product in one of its forms.
template <class T>
constexpr workspace_size product_workspace(product_form form, const product_geometry& p) {
  const std::size_t panel = panel_size<T>(p.channels, p.kernel_h * p.kernel_w, p.columns);
  switch (form) {
    case product_form::rows:
      return {.per_thread = rows_form_size<T>(p), .shared = 0};
    case product_form::planar:
      return {.per_thread = planar_plan<T>(p).size(), .shared = 0};
    case product_form::winograd_2:
    case product_form::winograd_4:
      return with_winograd<T>(form, p.channels, p.columns, [](const auto& plan) {
        return workspace_size{.per_thread = plan.per_thread(), .shared = plan.shared()};
      });
    case product_form::dot:  // or direct, if the sources do not fit
      return {.per_thread = std::max(panel, dot_plan<T>::per_thread()),
              .shared = dot_plan<T>{p.out_h * p.out_w, p.channels}.shared()};
    case product_form::direct:
      break;
  }
  return {.per_thread = panel, .shared = 0};
}
template <class T>
constexpr workspace_size product_workspace(const product_geometry& p) {
  return product_workspace<T>(choose_form(p), p);
}

template <class T>
constexpr workspace_size conv2d_forward_workspace(const conv2d_geometry& g) {
  workspace_size size = product_workspace<T>(product_geometry::forward(g));
  size.shared += statistics_size<T>(g.out_channels);
  return size;
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
    case product_form::planar:
    case product_form::dot:
    case product_form::direct:
      break;
  }
  const std::size_t chunks = weights_chunks<T>(g);
  return {.per_thread = per_thread,
          .shared = std::max(chunks == 1 ? 0 : chunks * g.weights(), row_sums_size<T>(1, g.out_channels))};
}

}  // namespace segnet::detail
