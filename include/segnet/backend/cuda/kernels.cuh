// SPDX-License-Identifier: MIT
// What nvcc alone compiles: once in a program, in one .cu file that includes this. Target segnet::cuda has
// such a file (kernels.cu).
#pragma once

#include <segnet/backend/cuda/device.hpp>
#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/kernels/batch_norm.cuh>
#include <segnet/backend/cuda/kernels/channels.cuh>
#include <segnet/backend/cuda/kernels/depthwise.cuh>
#include <segnet/backend/cuda/kernels/elementwise.cuh>
#include <segnet/backend/cuda/kernels/local_response_norm.cuh>
#include <segnet/backend/cuda/kernels/pooling.cuh>
#include <segnet/backend/cuda/kernels/resizing.cuh>
#include <segnet/backend/cuda/kernels/softmax.cuh>
#include <segnet/backend/cuda/kernels/training.cuh>

namespace segnet::gpu {

/// nvcc lists the architectures that it compiles for in ascending order, as 900 for compute capability 9.0.
int oldest_card() {
  constexpr int compiled[] = {__CUDA_ARCH_LIST__};
  return compiled[0] / 10;
}

namespace kernels {

// Declared by their types, which say everything.
#define SEGNET_KERNEL(name)                         \
  template decltype(name<float>) name<float>;       \
  template decltype(name<bfloat16>) name<bfloat16>; \
  template decltype(name<float16>) name<float16>;

SEGNET_KERNEL(channel_sums)
SEGNET_KERNEL(batch_statistics)
SEGNET_KERNEL(batch_norm_forward)
SEGNET_KERNEL(batch_norm_apply)
SEGNET_KERNEL(batch_norm_inference)
SEGNET_KERNEL(slope_sums)
SEGNET_KERNEL(batch_norm_backward)
SEGNET_KERNEL(scale_shift_act)
SEGNET_KERNEL(scale_shift_act_pool)
SEGNET_KERNEL(local_response_norm_forward)
SEGNET_KERNEL(local_response_norm_backward)
SEGNET_KERNEL(relu_forward)
SEGNET_KERNEL(relu_backward)
SEGNET_KERNEL(sigmoid_forward)
SEGNET_KERNEL(sigmoid_backward)
SEGNET_KERNEL(softmax_forward)
SEGNET_KERNEL(softmax_backward)
SEGNET_KERNEL(argmax)
SEGNET_KERNEL(dropout)
SEGNET_KERNEL(max_pool_forward)
SEGNET_KERNEL(max_pool_backward)
SEGNET_KERNEL(max_unpool_forward)
SEGNET_KERNEL(max_unpool_backward)
SEGNET_KERNEL(upsample_nearest_forward)
SEGNET_KERNEL(upsample_nearest_backward)
SEGNET_KERNEL(upsample_bilinear_forward)
SEGNET_KERNEL(upsample_bilinear_backward)
SEGNET_KERNEL(crop_forward)
SEGNET_KERNEL(crop_backward)
SEGNET_KERNEL(depthwise_transposed_forward)
SEGNET_KERNEL(depthwise_transposed_backward_data)
SEGNET_KERNEL(depthwise_transposed_backward_weights)
SEGNET_KERNEL(copy_channels)
SEGNET_KERNEL(add)
SEGNET_KERNEL(fill)
SEGNET_KERNEL(gather_sources)
SEGNET_KERNEL(pad_channels)
SEGNET_KERNEL(unpad_channels)
SEGNET_KERNEL(pad_weights)
SEGNET_KERNEL(unpad_weights_gradient)
SEGNET_KERNEL(cast)
SEGNET_KERNEL(cast_back)
SEGNET_KERNEL(accumulate_gradient)

#undef SEGNET_KERNEL

}  // namespace kernels

}  // namespace segnet::gpu
