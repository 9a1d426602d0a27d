// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/config.hpp>

#include <chrono>
#include <cstdio>
#include <string>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace segnet {

/// The line that shows how training goes: rewritten in place on a terminal a few times a second; elsewhere
/// only the finished lines are printed, and nothing where `out` is null.
class progress_line {
 public:
  explicit progress_line(std::FILE* out = stdout) : out_(out), live_(out != nullptr && is_terminal(out)) {}

  /// Shows a line that will be replaced, at most five times a second.
  void update(const std::string& line) {
    if (!live_) return;
    const auto now = clock::now();
    if (now - shown_ < std::chrono::milliseconds(200)) return;
    shown_ = now;
    // "\x1b[K" clears what a longer line left behind.
    std::fprintf(out_, "\r%s\x1b[K", line.c_str());
    std::fflush(out_);
  }

  /// Replaces it for good.
  void finish(const std::string& line) {
    if (out_ == nullptr) return;
    std::fprintf(out_, live_ ? "\r%s\x1b[K\n" : "%s\n", line.c_str());
    std::fflush(out_);
  }

 private:
  using clock = std::chrono::steady_clock;
  static bool is_terminal([[maybe_unused]] std::FILE* file) {
#if __has_include(<unistd.h>)
    return ::isatty(::fileno(file)) != 0;
#else
    return false;
#endif
  }

  std::FILE* out_;
  bool live_;
  clock::time_point shown_{};
};

/// "1:02:03" or "02:03".
inline std::string as_time(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  char text[40];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%02ld:%02ld", s / 60, s % 60);
  return text;
}

}  // namespace segnet
