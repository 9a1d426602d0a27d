// SPDX-License-Identifier: MIT
// The owner of cuDNN's handle.
#pragma once

#include <segnet/backend/cuda/stream.hpp>

namespace segnet::gpu {

/// cuDNN on the current card; its work goes to `s`, which must live as long.
class cudnn {
 public:
  explicit cudnn(const stream& s) {
    cudnnHandle_t created = nullptr;
    check(cudnnCreate(&created), "cudnnCreate");
    handle_.reset(created);
    check(cudnnSetStream(created, s.get()), "cudnnSetStream");
  }
  cudnnHandle_t get() const { return handle_.get(); }

 private:
  unique_handle<cudnnHandle_t, cudnnDestroy> handle_;
};

}  // namespace segnet::gpu
