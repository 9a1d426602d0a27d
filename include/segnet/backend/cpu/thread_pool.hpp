// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/core/error.hpp>

#include <atomic>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace segnet {

/// A fixed team of threads that works through numbered tasks. The calling thread takes part as thread 0, so
/// that one thread means a plain loop. One caller at a time; tasks must not throw and must not call run().
class thread_pool {
 public:
  /// 0 threads: as many as the machine has. Throws error where the machine refuses so many.
  explicit thread_pool(int threads = 0) {
    if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
    try {
      for (int thread = 1; thread < threads; ++thread)
        workers_.emplace_back([this, thread] { work(thread); });
    } catch (const std::exception& problem) {
      const int started = size();
      join();  // no destructor runs for a constructor that throws
      throw error("threads: found " + std::to_string(threads) + ", but the machine starts no more than " +
                  std::to_string(started) + " (" + problem.what() + ")");
    }
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() { join(); }

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls f(task, thread) once for every task in [0, tasks), each thread taking the next free task, and
  /// returns when all are done. Allocates nothing.
  template <class F>
  void run(int tasks, F&& f) {
    if (workers_.empty() || tasks <= 1) {
      for (int task = 0; task < tasks; ++task) f(task, 0);
      return;
    }
    using function = std::remove_reference_t<F>;
    call_ = [](void* context, int task, int thread) { (*static_cast<function*>(context))(task, thread); };
    context_ = const_cast<void*>(static_cast<const void*>(std::addressof(f)));
    tasks_ = tasks;
    unfinished_.store(tasks, std::memory_order_relaxed);
    remaining_.store(tasks, std::memory_order_release);
    remaining_.notify_all();
    while (take_one(0)) {
    }
    wait_while([this] { return unfinished_.load(std::memory_order_acquire); },
               [](int value) { return value != 0; }, unfinished_);
  }

 private:
  void join() {
    remaining_.store(stop, std::memory_order_release);
    remaining_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  static constexpr int stop = -1;
  static constexpr int spins = 1000;  // some ten microseconds: longer than the gap between two primitives

  static void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }

  /// Spins for a short time, then sleeps, so that a thread that lost its core costs the others nothing.
  template <class Load, class Condition>
  static void wait_while(Load load, Condition condition, std::atomic<int>& flag) {
    for (int spin = 0; spin < spins; ++spin) {
      if (!condition(load())) return;
      relax();
    }
    for (int value = load(); condition(value); value = load()) flag.wait(value, std::memory_order_acquire);
  }

  /// The job's fields are read only after a task was taken: run() cannot return before that task is done, so
  /// they stand still, and a thread that wakes up late finds either nothing or a later job, never a dead one.
  bool take_one(int thread) {
    int left = remaining_.load(std::memory_order_acquire);
    do {
      if (left <= 0) return false;
    } while (!remaining_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                               std::memory_order_acquire));
    call_(context_, tasks_ - left, thread);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
    return true;
  }

  void work(int thread) {
    while (remaining_.load(std::memory_order_acquire) != stop) {
      if (!take_one(thread))
        wait_while([this] { return remaining_.load(std::memory_order_acquire); },
                   [](int value) { return value == 0; }, remaining_);
    }
  }

  void (*call_)(void*, int, int) = nullptr;
  void* context_ = nullptr;
  int tasks_ = 0;
  alignas(64) std::atomic<int> remaining_{0};   // tasks nobody took yet
  alignas(64) std::atomic<int> unfinished_{0};  // tasks not done yet
  std::vector<std::thread> workers_;
};

}  // namespace segnet
