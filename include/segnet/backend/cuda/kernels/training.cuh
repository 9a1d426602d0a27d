// SPDX-License-Identifier: MIT
// The kernels of training, and all that the three formats need of them.
#pragma once

#include <segnet/backend/cuda/kernels/augment.cuh>
#include <segnet/backend/cuda/kernels/loss.cuh>
#include <segnet/backend/cuda/kernels/metrics.cuh>
#include <segnet/backend/cuda/kernels/optimizer.cuh>

namespace segnet::gpu::kernels {

#define SEGNET_TRAINING_KERNEL(name)                \
  template decltype(name<float>) name<float>;       \
  template decltype(name<bfloat16>) name<bfloat16>; \
  template decltype(name<float16>) name<float16>;

SEGNET_TRAINING_KERNEL(bce_dice)
SEGNET_TRAINING_KERNEL(softmax_cross_entropy)
SEGNET_TRAINING_KERNEL(adam)
SEGNET_TRAINING_KERNEL(sgd)
SEGNET_TRAINING_KERNEL(augment)
SEGNET_TRAINING_KERNEL(count_mask)
SEGNET_TRAINING_KERNEL(count_classes)

#undef SEGNET_TRAINING_KERNEL

}  // namespace segnet::gpu::kernels
