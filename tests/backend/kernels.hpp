// SPDX-License-Identifier: MIT
// The convolutions' kernels, compiled once for all files of this folder: conv2d_forms_test.cpp defines them.
#pragma once

#include <segnet/backend/cpu/conv2d.hpp>

// PREFIX is `template` or `extern template`.
#define SEGNET_KERNELS(PREFIX, T)                                                                           \
  PREFIX void segnet::detail::run_product(thread_pool&, const gather_product<T>&, const scratch<T>&);       \
  PREFIX void segnet::detail::run_weights_direct(thread_pool&, const weights_product<T>&,                   \
                                                 const scratch<T>&);                                        \
  PREFIX void segnet::detail::run_weights_rows(thread_pool&, const weights_product<T>&, const scratch<T>&); \
  PREFIX void segnet::detail::run_weights_winograd<T, 2>(thread_pool&, const weights_product<T>&,           \
                                                         const scratch<T>&);                                \
  PREFIX void segnet::detail::run_weights_winograd<T, 4>(thread_pool&, const weights_product<T>&,           \
                                                         const scratch<T>&)

SEGNET_KERNELS(extern template, float);
SEGNET_KERNELS(extern template, double);
