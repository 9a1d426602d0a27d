// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/config.hpp>

#include <atomic>
#include <csignal>

namespace segnet {

/// While it lives, the first Ctrl-C (SIGINT) or SIGTERM only sets a flag that the trainer reads after each
/// step; a second one ends the process as usual. One object at a time.
class interrupt_guard {
 public:
  interrupt_guard()
      : old_interrupt_(std::signal(SIGINT, handle)), old_terminate_(std::signal(SIGTERM, handle)) {
    requested_.store(false);
  }
  interrupt_guard(const interrupt_guard&) = delete;
  ~interrupt_guard() {
    std::signal(SIGINT, old_interrupt_);
    std::signal(SIGTERM, old_terminate_);
  }

  static bool requested() { return requested_.load(std::memory_order_relaxed); }

 private:
  static void handle(int number) {
    requested_.store(true, std::memory_order_relaxed);
    std::signal(number, SIG_DFL);
  }

  static inline std::atomic<bool> requested_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);  // or a signal handler could not use it
  void (*old_interrupt_)(int);
  void (*old_terminate_)(int);
};

}  // namespace segnet
