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

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

namespace segnet {

/// Alignment of every block and of every offset inside one: a cache line, and an AVX-512 register.
inline constexpr std::size_t alignment = 64;

/// Rounds a number of bytes up to the alignment.
constexpr std::size_t align_up(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

namespace detail {

/// Of x86 and most ARM systems.
inline constexpr std::size_t huge_page = std::size_t{2} << 20;

/// Asks the system for huge pages where a block has room for them: each page's first touch takes a fault, and
/// 4 KiB ones make most of the time in which a large block is allocated. A refusal changes nothing else.
inline void prefer_huge_pages([[maybe_unused]] void* block, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes >= huge_page) ::madvise(block, bytes / huge_page * huge_page, MADV_HUGEPAGE);
#endif
}

}  // namespace detail

/// One owned block of `size` zeroed elements, aligned to a cache line, or to a huge page where it is as large
/// as one. Throws memory_error.
template <class T>
class aligned_buffer {
 public:
  aligned_buffer() = default;
  explicit aligned_buffer(std::size_t size) : size_(size) {
    if (size == 0) return;
    const std::size_t bytes = align_up(size * sizeof(T));
    const std::align_val_t boundary{bytes >= detail::huge_page ? detail::huge_page : alignment};
    void* block = ::operator new(bytes, boundary, std::nothrow);
    if (block == nullptr)
      throw memory_error("out of memory: could not allocate " + std::to_string(size * sizeof(T)) + " bytes");
    data_ = {static_cast<T*>(block), release{boundary}};
    detail::prefer_huge_pages(block, bytes);
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
    std::align_val_t boundary{alignment};
    void operator()(T* block) const { ::operator delete(block, boundary); }
  };
  std::unique_ptr<T, release> data_;
  std::size_t size_ = 0;
};

}  // namespace segnet
