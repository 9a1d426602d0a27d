// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace segnet {

/// Alignment of every block and of every offset inside one: a cache line, and an AVX-512 register.
inline constexpr std::size_t alignment = 64;

/// Rounds a number of bytes up to the alignment.
constexpr std::size_t align_up(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

/// One owned block of `size` zeroed elements, aligned to a cache line. Throws memory_error.
template <class T>
class aligned_buffer {
 public:
  aligned_buffer() = default;
  explicit aligned_buffer(std::size_t size) : size_(size) {
    if (size == 0) return;
    void* block = ::operator new (align_up(size * sizeof(T)), std::align_val_t{alignment}, std::nothrow);
    if (block == nullptr)
      throw memory_error("out of memory: could not allocate " + std::to_string(size * sizeof(T)) + " bytes");
    data_.reset(static_cast<T*>(block));
    std::uninitialized_fill_n(data_.get(), size, T{});
  }

  /// The buffer moved from is empty.
  aligned_buffer(aligned_buffer&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  aligned_buffer& operator=(aligned_buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  std::span<T> span() { return {data_.get(), size_}; }
  std::span<const T> span() const { return {data_.get(), size_}; }

 private:
  static_assert(std::is_trivially_destructible_v<T>);
  struct release {
    void operator()(T* block) const { ::operator delete (block, std::align_val_t{alignment}); }
  };
  std::unique_ptr<T, release> data_;
  std::size_t size_ = 0;
};

}  // namespace segnet
