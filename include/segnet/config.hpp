// SPDX-License-Identifier: MIT
// What every header needs to know about the compiler.
#pragma once

#include <segnet/version.hpp>

#if __cplusplus < 202002L
#error "segnet needs C++20: compile with -std=c++20 or later"
#endif

// Element-wise mathematics is written once and runs on both kinds of processor: under nvcc these functions
// are compiled for the device too.
#if defined(__CUDACC__)
#define SEGNET_HD __host__ __device__
#else
#define SEGNET_HD
#endif
