// SPDX-License-Identifier: MIT
// Failures of CUDA and cuDNN as exceptions.
#pragma once

#include <segnet/core/error.hpp>

#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <string>

namespace segnet {

/// No card, a driver or library of the wrong version, or a call of CUDA's or cuDNN's that failed.
struct cuda_error : error {
  using error::error;
};

}  // namespace segnet

namespace segnet::gpu {

/// "13.0" of CUDA's 13000.
inline std::string cuda_version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}
/// "9.19.0" of cuDNN's 91900.
inline std::string cudnn_version_text(std::size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

/// Throws memory_error where the card is full, cuda_error for everything else. `call` is named in the
/// message.
inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // else the next call would report it again
  const std::string message =
      std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
  if (status == cudaErrorMemoryAllocation) throw memory_error(message);
  throw cuda_error(message);
}

inline void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char details[256] = "";
  cudnnGetLastErrorString(details, sizeof details);
  throw cuda_error(std::string(call) + ": " + cudnnGetErrorString(status) +
                   (details[0] != '\0' ? std::string(": ") + details : ""));
}

}  // namespace segnet::gpu
