// SPDX-License-Identifier: MIT
// The one file of segnet::cuda that nvcc compiles.
#include <segnet/backend/cuda/kernels.cuh>
