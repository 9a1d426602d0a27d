// SPDX-License-Identifier: MIT
// What nvcc alone compiles: once in a program, in one .cu file that includes this. Target segnet::cuda has
// such a file (kernels.cu).
#pragma once

#include <segnet/backend/cuda/device.hpp>

namespace segnet::gpu {

/// nvcc lists the architectures that it compiles for in ascending order, as 900 for compute capability 9.0.
int oldest_card() {
  constexpr int compiled[] = {__CUDA_ARCH_LIST__};
  return compiled[0] / 10;
}

}  // namespace segnet::gpu
