// SPDX-License-Identifier: MIT
// Opts in to the GPU: link segnet::cuda (docs/cuda.md). Nothing else of the library includes CUDA or cuDNN.
#pragma once

#if !__has_include(<cuda_runtime_api.h>) || !__has_include(<cudnn.h>)
#error "segnet/cuda.hpp needs the headers of CUDA and cuDNN 9: link segnet::cuda, built with SEGNET_CUDA=ON"
#endif

#include <segnet/backend/cuda/buffer.hpp>
#include <segnet/backend/cuda/cudnn.hpp>
#include <segnet/backend/cuda/device.hpp>
#include <segnet/backend/cuda/error.hpp>
#include <segnet/backend/cuda/stream.hpp>
