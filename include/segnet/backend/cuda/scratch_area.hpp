// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

namespace segnet::gpu {

/// Hands out parts of one block of scratch memory, each on a boundary of 256 bytes. Without a block all
/// pointers are null, and only used() counts: what a block would need.
class scratch_area {
 public:
  explicit scratch_area(std::byte* block) : block_(block) {}

  template <class T>
  T* take(std::size_t elements) {
    std::byte* const at = block_ != nullptr ? block_ + used_ : nullptr;
    used_ += (elements * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(at);
  }
  void* take_bytes(std::size_t bytes) { return bytes > 0 ? take<std::byte>(bytes) : nullptr; }
  std::size_t used() const { return used_; }

 private:
  std::byte* block_;
  std::size_t used_ = 0;
};

}  // namespace segnet::gpu
