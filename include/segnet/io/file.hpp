// SPDX-License-Identifier: MIT
// Creating folders, and writing a file so that a reader, a crash or a full disk never meets half of it: the
// bytes go to a temporary file in the same folder, which then takes the target's name in one step.
#pragma once

#include <segnet/core/error.hpp>

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#if __has_include(<unistd.h>)
#include <fcntl.h>
#include <unistd.h>
#define SEGNET_POSIX_FILES 1
#else
#include <random>
#define SEGNET_POSIX_FILES 0
#endif

namespace segnet {

/// Creates a folder, and those above it, where there is none. Throws file_error.
inline void create_folder(const std::filesystem::path& path) {
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  if (problem) throw file_error(path, "could not be created: " + problem.message());
}

/// What atomic_write promises after it returns: `synced` data survive a power cut (one fsync, milliseconds:
/// for checkpoints), `renamed` data survive the process's end (for many small files, such as masks).
enum class durability : unsigned char { synced, renamed };

/// A file that is being written under a temporary name. Throws file_error, which names the file that is
/// *meant*.
class file_sink {
 public:
  explicit file_sink(const std::filesystem::path& path) : named_(path), target_(path) {
    std::error_code problem;  // what stands in the way shows when the file is opened
    // A link keeps pointing where it did: its target is replaced, not the link.
    if (std::filesystem::is_symlink(path, problem))
      target_ = std::filesystem::weakly_canonical(path, problem);
    if (std::filesystem::is_directory(target_, problem))
      throw file_error(named_, "is a folder, a file was expected");
    // Another writer, or the remains of a killed one, may hold a name: try the next ("x": must not exist).
    for (int attempt = 0; attempt < 100 && file_ == nullptr; ++attempt) {
      auto candidate = target_;
      candidate += ".part" + std::to_string(process()) + "-" + std::to_string(attempt);
      errno = 0;
      file_ = std::fopen(candidate.string().c_str(), "wbx");
      if (file_ != nullptr) {
        temporary_ = std::move(candidate);
      } else if (errno != EEXIST) {
        break;
      }
    }
    if (file_ == nullptr) fail("could not be created");
  }
  file_sink(const file_sink&) = delete;
  file_sink& operator=(const file_sink&) = delete;
  ~file_sink() {
    if (file_ != nullptr) std::fclose(file_);
    std::error_code ignored;
    if (!temporary_.empty()) std::filesystem::remove(temporary_, ignored);
  }

  void write(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    errno = 0;
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail("could not be written");
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Gives the file its name; the last thing to call. Without it the destructor drops what was written.
  void commit(durability promise) {
    errno = 0;
    if (std::fflush(file_) != 0) fail("could not be written");
#if SEGNET_POSIX_FILES
    if (promise == durability::synced && ::fsync(::fileno(file_)) != 0) fail("could not be written");
#endif
    if (std::fclose(std::exchange(file_, nullptr)) != 0) fail("could not be written");
    std::error_code problem;
    std::filesystem::rename(temporary_, target_, problem);
    if (problem) throw file_error(named_, "could not be replaced: " + problem.message());
    temporary_.clear();
    if (promise == durability::synced) sync_folder();
  }

 private:
  /// A rename lasts once its folder is on the disk. Some file systems refuse this; the file is whole anyway.
  void sync_folder() const {
#if SEGNET_POSIX_FILES
    const auto folder = target_.has_parent_path() ? target_.parent_path() : std::filesystem::path(".");
    if (const int handle = ::open(folder.c_str(), O_RDONLY); handle >= 0) {
      ::fsync(handle);
      ::close(handle);
    }
#endif
  }

  static unsigned process() {
#if SEGNET_POSIX_FILES
    return static_cast<unsigned>(::getpid());
#else
    return std::random_device{}();
#endif
  }

  [[noreturn]] void fail(const char* what) const {
    const int code = errno;
    throw file_error(named_,
                     std::string(what) + (code != 0 ? ": " + std::generic_category().message(code) : ""));
  }

  std::filesystem::path named_, target_, temporary_;
  std::FILE* file_ = nullptr;
};

/// Replaces or creates the file `path` with what `write(file_sink&)` writes. Where anything throws, `path`
/// is as it was before and the temporary file is gone. The folder must exist. Throws file_error.
template <std::invocable<file_sink&> Write>
void atomic_write(const std::filesystem::path& path, Write&& write, durability promise = durability::synced) {
  file_sink sink(path);
  std::invoke(write, sink);
  sink.commit(promise);
}

/// The same for bytes that are ready.
inline void atomic_write(const std::filesystem::path& path, std::span<const std::byte> bytes,
                         durability promise = durability::synced) {
  atomic_write(
      path, [&](file_sink& sink) { sink.write(bytes); }, promise);
}

}  // namespace segnet
