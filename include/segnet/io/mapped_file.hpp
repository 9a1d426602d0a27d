// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/io/file.hpp>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#if SEGNET_POSIX_FILES
#include <sys/mman.h>
#else
#include <fstream>
#include <vector>
#endif

namespace segnet {

/// A whole file as read-only bytes, aligned to at least 16. Mapped where the system can: opening takes no
/// time whatever the size, and only pages that are touched are read. A file that another process cuts short
/// meanwhile must not be touched any more; one that is replaced, as atomic_write does, stays as it was.
class mapped_file {
 public:
  /// Throws file_error where there is no such regular file, or it cannot be read.
  explicit mapped_file(const std::filesystem::path& path) : path_(path) {
    std::error_code problem;
    const auto kind = std::filesystem::status(path, problem);
    if (!std::filesystem::exists(kind)) throw file_error(path, "no such file");
    if (!std::filesystem::is_regular_file(kind)) throw file_error(path, "is not a regular file");
    const auto size = static_cast<std::size_t>(std::filesystem::file_size(path, problem));
    if (problem) throw file_error(path, "could not be read: " + problem.message());
    if (size != 0) open(size);
  }
  mapped_file(mapped_file&& other) noexcept { swap(other); }
  mapped_file& operator=(mapped_file&& other) noexcept {
    swap(other);
    return *this;
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }

#if SEGNET_POSIX_FILES
  ~mapped_file() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

 private:
  void open(std::size_t size) {
    const int handle = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (handle < 0) fail(errno);
    void* block = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, handle, 0);
    const int code = errno;
    ::close(handle);
    if (block == MAP_FAILED) fail(code);
    bytes_ = {static_cast<const std::byte*>(block), size};
  }
  [[noreturn]] void fail(int code) const {
    throw file_error(path_, "could not be read: " + std::generic_category().message(code));
  }
  void swap(mapped_file& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
  }
#else
 private:
  void open(std::size_t size) {
    std::ifstream file(path_, std::ios::binary);
    content_.resize(size);
    if (!file.read(reinterpret_cast<char*>(content_.data()), static_cast<std::streamsize>(size)))
      throw file_error(path_, "could not be read");
    bytes_ = content_;
  }
  void swap(mapped_file& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
    std::swap(content_, other.content_);
  }
  std::vector<std::byte> content_;
#endif

  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace segnet
