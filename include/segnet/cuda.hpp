// SPDX-License-Identifier: MIT
// Opts in to the GPU: link segnet::cuda (docs/cuda.md). Nothing else of the library includes CUDA or cuDNN.
#pragma once

#if !__has_include(<cuda_runtime_api.h>) || !__has_include(<cudnn.h>)
#error "segnet/cuda.hpp needs the headers of CUDA and cuDNN 9: link segnet::cuda, built with SEGNET_CUDA=ON"
#endif

#include <segnet/backend/cuda/cuda.hpp>
#include <segnet/backend/cuda/device.hpp>
#include <segnet/backend/cuda/error.hpp>
#include <segnet/backend/cuda/precision.hpp>
#include <segnet/network/device_network.hpp>
#include <segnet/train/device_step.hpp>
