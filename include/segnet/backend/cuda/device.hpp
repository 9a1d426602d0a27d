// SPDX-License-Identifier: MIT
// Which card there is, and if none can be used, why.
#pragma once

#include <segnet/backend/cuda/error.hpp>

#include <cstddef>
#include <string>

namespace segnet::gpu {

/// The oldest card that the compiled kernels run on, as 10 * major + minor of its compute capability; defined
/// beside the kernels, by what nvcc was told.
int oldest_card();

/// A card, as the driver describes it.
struct device {
  int number = 0;
  std::string name;
  int capability = 0;      ///< 10 * major + minor of the compute capability
  std::size_t memory = 0;  ///< bytes
  int multiprocessors = 0;
};

/// Throws cuda_error for a number that no card has.
inline device describe_device(int number) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, number), "cudaGetDeviceProperties");
  return {number, properties.name, 10 * properties.major + properties.minor, properties.totalGlobalMem,
          properties.multiProcessorCount};
}

/// Everything that decides whether the backend can run; versions as CUDA and cuDNN number them.
struct environment {
  int driver = 0;  ///< newest CUDA that the driver supports; 0: no driver
  int runtime = CUDART_VERSION;
  cudaError_t status = cudaSuccess;  ///< of counting the cards
  int devices = 0;
  int wanted = 0;  ///< number of the card asked for
  std::string name;
  int capability = 0, oldest = 0;
  std::size_t cudnn_header = CUDNN_VERSION, cudnn_library = CUDNN_VERSION;
};

/// One sentence with what was found and what is needed; empty if the backend can run.
inline std::string problem_of(const environment& e) {
  const auto capability = [](int c) { return std::to_string(c / 10) + "." + std::to_string(c % 10); };
  if (e.driver == 0)
    return "no NVIDIA driver found, expected one that supports CUDA " + cuda_version_text(e.runtime);
  // Within a major version, an older driver runs what was compiled for a newer minor one.
  if (e.driver / 1000 < e.runtime / 1000 || e.status == cudaErrorInsufficientDriver)
    return "the NVIDIA driver is too old: found support for CUDA " + cuda_version_text(e.driver) +
           ", expected " + cuda_version_text(e.runtime);
  if (e.status == cudaErrorNoDevice || (e.status == cudaSuccess && e.devices == 0))
    return "no NVIDIA card found (the driver supports CUDA " + cuda_version_text(e.driver) + ")";
  if (e.status != cudaSuccess)
    return std::string("the NVIDIA driver failed: ") + cudaGetErrorString(e.status) + " (" +
           cudaGetErrorName(e.status) + ")";
  if (e.wanted < 0 || e.wanted >= e.devices)
    return "card " + std::to_string(e.wanted) + " does not exist: found " + std::to_string(e.devices) +
           ", numbered from 0";
  if (e.capability < e.oldest)
    return e.name + " is too old: found compute capability " + capability(e.capability) +
           ", expected at least " + capability(e.oldest) +
           ", for which the kernels were compiled (CMAKE_CUDA_ARCHITECTURES)";
  // Libraries of a later minor version serve programs compiled with an earlier one, not the reverse.
  if (e.cudnn_library / 10000 != e.cudnn_header / 10000 || e.cudnn_library / 100 < e.cudnn_header / 100)
    return "cuDNN's library does not fit its headers: found " + cudnn_version_text(e.cudnn_library) +
           ", expected " + cudnn_version_text(e.cudnn_header) + " or a newer 9, with which this was compiled";
  return {};
}

/// This machine, asked for card `number`. Never throws for what is missing.
inline environment this_environment(int number = 0) {
  environment e;
  e.wanted = number;
  e.oldest = oldest_card();
  e.cudnn_library = cudnnGetVersion();
  if (cudaDriverGetVersion(&e.driver) != cudaSuccess) e.driver = 0;
  if (e.driver == 0) return e;
  e.status = cudaGetDeviceCount(&e.devices);
  cudaGetLastError();
  if (e.status == cudaSuccess && number >= 0 && number < e.devices) {
    const device found = describe_device(number);
    e.name = found.name;
    e.capability = found.capability;
  }
  return e;
}

}  // namespace segnet::gpu

namespace segnet {

/// Why the CUDA backend cannot run on card `number` of this machine, in one sentence; empty if it can.
inline std::string why_no_cuda(int number = 0) { return gpu::problem_of(gpu::this_environment(number)); }
inline bool cuda_available(int number = 0) { return why_no_cuda(number).empty(); }

}  // namespace segnet
