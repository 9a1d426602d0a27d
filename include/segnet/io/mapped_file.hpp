// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/io/file.hpp>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>

#if SEGNET_POSIX_FILES
#include <sys/mman.h>
#else
#include <fstream>
#endif

namespace segnet {

/// A whole file as read-only bytes, aligned to at least 16. Mapped where the system can: opening takes no
/// time whatever the size, and only pages that are touched are read. Copies share the bytes, which stay where
/// they are until the last copy is gone. A file that is deleted or replaced meanwhile, as atomic_write does,
/// stays as it was; one that another process cuts short or writes over must not be touched any more.
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

  std::span<const std::byte> bytes() const { return {block_.get(), size_}; }
  const std::filesystem::path& path() const { return path_; }
  /// Keeps the bytes where they are for as long as it, or a copy, lives.
  std::shared_ptr<const void> owner() const { return block_; }

 private:
#if SEGNET_POSIX_FILES
  void open(std::size_t size) {
    const int handle = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (handle < 0) fail(errno);
    void* block = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, handle, 0);
    const int code = errno;
    ::close(handle);
    if (block == MAP_FAILED) fail(code);
    block_ = {static_cast<const std::byte*>(block),
              [size](const std::byte* b) { ::munmap(const_cast<std::byte*>(b), size); }};
    size_ = size;
  }
  [[noreturn]] void fail(int code) const {
    throw file_error(path_, "could not be read: " + std::generic_category().message(code));
  }
#else
  void open(std::size_t size) {
    std::ifstream file(path_, std::ios::binary);
    const std::shared_ptr<std::byte[]> content(new std::byte[size]);
    if (!file.read(reinterpret_cast<char*>(content.get()), static_cast<std::streamsize>(size)))
      throw file_error(path_, "could not be read");
    block_ = {content, content.get()};
    size_ = size;
  }
#endif

  std::filesystem::path path_;
  std::shared_ptr<const std::byte> block_;
  std::size_t size_ = 0;
};

}  // namespace segnet
