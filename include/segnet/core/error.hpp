// SPDX-License-Identifier: MIT
// Every error that a user can cause at run time is a segnet::error: one message that names the file or
// layer, what was found and what was expected.
#pragma once

#include <segnet/config.hpp>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace segnet {

struct error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file that is missing, unreadable, truncated, of another kind or unwritable. The message starts with
/// its path: `file_error("a.gif", "not an image: ...")` says `a.gif: not an image: ...`.
struct file_error : error {
  file_error(const std::filesystem::path& file, const std::string& problem)
      : error(file.string() + ": " + problem), path(file) {}
  std::filesystem::path path;
};

/// An option or argument out of its range.
struct argument_error : error {
  using error::error;
};

/// The machine has less memory than the plan needs.
struct memory_error : error {
  using error::error;
};

}  // namespace segnet
