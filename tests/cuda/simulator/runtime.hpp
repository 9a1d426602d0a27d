// SPDX-License-Identifier: MIT
// What tests ask the simulated card. Memory of the card's is memory of the host's, filled with 0xff when it
// is new (NaNs, and numbers that no index may have), with a page behind each block that may not be touched.
//
// The environment says what card it is; all are read whenever they matter, so that tests may set them:
//   SEGNET_SIMULATED_CARDS    number of cards, 0 or 1 (default 1)
//   SEGNET_SIMULATED_MEMORY   bytes of its memory (default 80 GiB)
//   SEGNET_SIMULATED_STREAMS  "late": work is done only when something waits for it (default: at once), so
//   that
//                             results read too early, and sources changed too early, show
//   SEGNET_SIMULATED_GUARD    1: the host cannot touch the card's memory but through copies (slow)
//   SEGNET_SIMULATED_ORDER    see device.hpp
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>

namespace segnet::gpu::simulator {

/// Since the program began.
std::size_t allocations();         ///< blocks of the card's memory
std::size_t pinned_allocations();  ///< blocks of pinned memory, registered ones too
std::size_t synchronisations();    ///< times that the host waited for a stream, an event or the card
std::size_t executions();          ///< pieces of work done: kernels, copies, memsets, cuDNN's plans
std::size_t graph_launches();
/// Bytes of the card's memory in use.
std::size_t allocated_bytes();

/// Whether [from, from + bytes) lies within one block of the card's, or in pinned memory.
bool on_card(const void* from, std::size_t bytes);
bool pinned(const void* from, std::size_t bytes);

/// Ends the program with a message: what on a card would hang, or destroy memory.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// As emulation::enqueue, but with CUDA's status instead of the error that the next call reports.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

}  // namespace segnet::gpu::simulator
