// SPDX-License-Identifier: MIT
// What tests tell the simulated cuDNN. It knows four engines for every graph of operations that it can
// interpret:
//   10  works exactly; notes TENSOR_CORE and RUNTIME_COMPILATION; has a knob (TILE_SIZE, 0 to 3); needs
//   workspace 20  notes NONDETERMINISTIC, and its results differ slightly from call to call 30  notes
//   DOWN_CONVERT_INPUTS, and rounds the inputs to bfloat16 40  works exactly; no notes, no workspace
// The environment variable SEGNET_SIMULATED_CUDNN may hold words that change the defaults below: "unfused"
// (graphs of several operations are not supported), "broken" (plans of the first recommended engine cannot be
// made).
#pragma once

#include <cudnn.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace segnet::gpu::simulator {

struct cudnn_limits {
  std::vector<std::int64_t> engines = {10, 40, 20, 30};  ///< those that heuristics recommend, in their order
  std::vector<std::int64_t> broken;                      ///< plans of these cannot be made
  std::size_t workspace = 4096;                          ///< bytes that engine 10 needs
  /// Whether there is an engine for a graph of such operations, in the order of the graph; empty: always.
  std::function<bool(std::span<const cudnnBackendDescriptorType_t>)> supports;
};
/// As the environment says at first; tests may change it.
cudnn_limits& cudnn();

/// Plans made and executions enqueued or recorded since the program began.
std::size_t plans();
std::size_t plan_executions();

}  // namespace segnet::gpu::simulator
