// SPDX-License-Identifier: MIT
// Owned blocks of the card's memory, and of memory of the host's that the card copies from directly.
#pragma once

#include <segnet/backend/cuda/error.hpp>
#include <segnet/memory/memory_plan.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace segnet::gpu {

namespace detail {

struct device_release {
  void operator()(void* block) const { cudaFree(block); }
};
struct pinned_release {
  void operator()(void* block) const { cudaFreeHost(block); }
};

/// One owned block of `size` elements with the interface of aligned_buffer.
template <class T, class Release>
class block {
 public:
  block() = default;
  block(block&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  block& operator=(block&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  T* data() { return static_cast<T*>(data_.get()); }
  const T* data() const { return static_cast<const T*>(data_.get()); }
  std::size_t size() const { return size_; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }

 protected:
  block(void* memory, std::size_t size) : data_(memory), size_(size) {}

 private:
  std::unique_ptr<void, Release> data_;
  std::size_t size_ = 0;
};

}  // namespace detail

/// `size` zeroed elements on the current card, aligned to 256 bytes. Throws memory_error.
template <class T>
class device_buffer : public detail::block<T, detail::device_release> {
 public:
  device_buffer() = default;
  explicit device_buffer(std::size_t size)
      : detail::block<T, detail::device_release>(allocate(size * sizeof(T)), size) {}

 private:
  static void* allocate(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    void* memory = nullptr;
    if (const cudaError_t status = cudaMalloc(&memory, bytes); status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw memory_error("the card's memory is full: could not allocate " + in_mebibytes(bytes));
    } else {
      check(status, "cudaMalloc");
    }
    const cudaError_t cleared = cudaMemset(memory, 0, bytes);
    if (cleared != cudaSuccess) cudaFree(memory);
    check(cleared, "cudaMemset");
    // The memset runs in the default stream, for which our own streams do not wait.
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    return memory;
  }
};

/// `size` elements of the host's memory, not initialised, that stay where they are: copies between them and
/// the card run beside other work.
template <class T>
class pinned_buffer : public detail::block<T, detail::pinned_release> {
 public:
  pinned_buffer() = default;
  explicit pinned_buffer(std::size_t size)
      : detail::block<T, detail::pinned_release>(allocate(size * sizeof(T)), size) {}

 private:
  static void* allocate(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    void* memory = nullptr;
    check(cudaMallocHost(&memory, bytes), "cudaMallocHost");
    return memory;
  }
};

}  // namespace segnet::gpu
