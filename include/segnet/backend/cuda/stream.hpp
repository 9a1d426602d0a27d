// SPDX-License-Identifier: MIT
// Owners of CUDA's streams, events and graphs.
#pragma once

#include <segnet/backend/cuda/error.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace segnet::gpu {

/// Owns a handle of CUDA's that `Destroy` gives back.
template <class Handle, auto Destroy>
struct destroyer {
  using pointer = Handle;
  void operator()(Handle handle) const { Destroy(handle); }
};
template <class Handle, auto Destroy>
using unique_handle = std::unique_ptr<std::remove_pointer_t<Handle>, destroyer<Handle, Destroy>>;

/// A queue of work on the current card, independent of the default stream.
class stream {
 public:
  stream() {
    cudaStream_t created = nullptr;
    check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "cudaStreamCreate");
    handle_.reset(created);
  }
  cudaStream_t get() const { return handle_.get(); }
  /// Returns when all work is done; errors of that work arrive here.
  void wait() const { check(cudaStreamSynchronize(get()), "cudaStreamSynchronize"); }

 private:
  unique_handle<cudaStream_t, cudaStreamDestroy> handle_;
};

/// A point in a stream's work, for other streams to wait for and for measuring time.
class event {
 public:
  event() {
    cudaEvent_t created = nullptr;
    check(cudaEventCreate(&created), "cudaEventCreate");
    handle_.reset(created);
  }
  cudaEvent_t get() const { return handle_.get(); }
  void record(const stream& s) const { check(cudaEventRecord(get(), s.get()), "cudaEventRecord"); }
  void wait() const { check(cudaEventSynchronize(get()), "cudaEventSynchronize"); }
  /// What `s` is given from now on starts after the event.
  void hold(const stream& s) const { check(cudaStreamWaitEvent(s.get(), get(), 0), "cudaStreamWaitEvent"); }
  /// Both events must have happened.
  float milliseconds_since(const event& before) const {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, before.get(), get()), "cudaEventElapsedTime");
    return milliseconds;
  }

 private:
  unique_handle<cudaEvent_t, cudaEventDestroy> handle_;
};

/// Work that was recorded once and is started as a whole.
class graph {
 public:
  graph() = default;
  bool empty() const { return handle_ == nullptr; }

  /// What record() gives to `s` is kept instead of done. It must not wait, allocate or copy to pageable
  /// memory.
  template <class Record>
  static graph capture(const stream& s, Record&& record) {
    check(cudaStreamBeginCapture(s.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    unique_handle<cudaGraph_t, cudaGraphDestroy> recorded;
    const auto end = [&] {
      cudaGraph_t made = nullptr;
      const cudaError_t status = cudaStreamEndCapture(s.get(), &made);
      recorded.reset(made);
      return status;
    };
    try {
      std::forward<Record>(record)();
    } catch (...) {
      end();
      throw;
    }
    check(end(), "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    check(cudaGraphInstantiate(&executable, recorded.get(), 0), "cudaGraphInstantiate");
    graph result;
    result.handle_.reset(executable);
    return result;
  }
  void launch(const stream& s) const { check(cudaGraphLaunch(handle_.get(), s.get()), "cudaGraphLaunch"); }

 private:
  unique_handle<cudaGraphExec_t, cudaGraphExecDestroy> handle_;
};

}  // namespace segnet::gpu
