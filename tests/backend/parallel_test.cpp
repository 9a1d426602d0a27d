// SPDX-License-Identifier: MIT
#include <segnet/backend/cpu/cpu.hpp>

#include "reference.hpp"
#include "workspace.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <cstdlib>
#include <new>

using namespace segnet;

// The sanitizers bring an operator new of their own; there the count stays at zero.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEGNET_COUNT_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SEGNET_COUNT_ALLOCATIONS 0
#endif
#endif
#ifndef SEGNET_COUNT_ALLOCATIONS
#define SEGNET_COUNT_ALLOCATIONS 1
#endif

namespace {
std::atomic<long> allocations{0};
}

#if SEGNET_COUNT_ALLOCATIONS
namespace {

void* counted(std::size_t size) {
  ++allocations;
  void* block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}
}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }
#endif

TEST_CASE("thread_pool runs every task once, on its own threads", "[backend]") {
  for (int threads : {1, 2, 5}) {
    thread_pool pool(threads);
    CHECK(pool.size() == threads);
    std::vector<std::atomic<int>> runs(64);
    std::atomic<bool> threads_ok{true};
    int expected = 0;
    for (int round = 0; round < 300; ++round) {
      const int tasks = round % 65;
      pool.run(tasks, [&](int task, int thread) {
        ++runs[static_cast<std::size_t>(task)];
        if (thread < 0 || thread >= threads) threads_ok = false;
      });
      for (int task = 0; task < 64; ++task) expected += task < tasks ? 1 : 0;
      int sum = 0;
      for (const auto& count : runs) sum += count.load();
      REQUIRE(sum == expected);
    }
    for (int task = 0; task < 64; ++task) {
      int times = 0;
      for (int round = 0; round < 300; ++round) times += task < round % 65 ? 1 : 0;
      CHECK(runs[static_cast<std::size_t>(task)].load() == times);
    }
    CHECK(threads_ok.load());
  }
}

TEST_CASE("thread_pool makes what one job wrote visible to the next", "[backend]") {
  thread_pool pool(3);
  std::vector<int> values(100, 0);
  for (int round = 0; round < 200; ++round)
    pool.run(100, [&](int task, int) { ++values[static_cast<std::size_t>((task + round) % 100)]; });
  CHECK(values == std::vector<int>(100, 200));
}

TEST_CASE("parallel_for and parallel_sum cut by the grain alone", "[backend]") {
  const auto values = reference::random_values<double>(100'000, 1);
  std::array<double, 2> first{};
  for (int threads : {1, 2, 3}) {
    cpu backend(threads);
    std::vector<int> seen(1001, 0);
    backend.parallel_for(seen.size(), 10, [&](std::size_t begin, std::size_t end, int thread) {
      const bool aligned = begin % 10 == 0 && (end == begin + 10 || end == seen.size()) && thread < threads;
      for (std::size_t i = begin; i < end; ++i) seen[i] += aligned ? 1 : 100;
    });
    CHECK(seen == std::vector<int>(1001, 1));
    backend.parallel_for(0, 10, [&](std::size_t, std::size_t, int) { seen[0] = 2; });
    CHECK(seen[0] == 1);
    for (std::size_t grain : {std::size_t{1}, std::size_t{7}, std::size_t{200'000}}) {
      const auto sum = backend.parallel_sum<2>(values.size(), grain, [&](std::size_t begin, std::size_t end) {
        std::array<double, 2> part{};
        for (std::size_t i = begin; i < end; ++i) part[0] += values[i], part[1] += 1;
        return part;
      });
      if (threads == 1 && grain == 1) first = sum;
      CHECK(sum[0] == Approx(first[0]).epsilon(1e-12));
      if (grain == 1) CHECK(sum == first);
      CHECK(sum[1] == 100'000);
    }
    CHECK(backend.parallel_sum<1>(0, 5,
                                  [](std::size_t, std::size_t) { return std::array<double, 1>{1}; })[0] == 0);
  }
}

TEST_CASE("cpu: primitives do not allocate", "[backend]") {
  cpu backend(2);
  const conv2d_geometry thin = reference::convolution(40, 40, 8, 8, 3, 1),
                        deep = reference::convolution(4, 4, 96, 96, 3, 1);
  for (const conv2d_geometry& g : {thin, deep}) {
    const auto in = static_cast<std::size_t>(g.h * g.w * g.in_channels),
               out = static_cast<std::size_t>(g.h * g.w * g.out_channels);
    std::vector<float> x(in), w(g.weights()), y(out), dx(in), dw(w.size()),
        c(static_cast<std::size_t>(g.out_channels) * 8);
    const conv2d_source<float> source{x.data(), g.in_channels, 1};
    const auto a = cpu::conv2d_forward_workspace(g), b = cpu::conv2d_backward_data_workspace(g),
               d = cpu::conv2d_backward_weights_workspace(g),
               e = cpu::batch_norm_backward_workspace(g.out_channels);
    reference::workspace<float> memory({std::max({a.per_thread, b.per_thread, d.per_thread}),
                                        std::max({a.shared, b.shared, d.shared, e.shared})},
                                       2);
    const scratch<float> s = memory.get();
    const auto k = static_cast<std::size_t>(g.out_channels);
    const long before = allocations;
    backend.conv2d_forward(g, 1, {&source, 1}, w.data(),
                           {.act = activation::relu, .mean = c.data() + 4 * k, .variance = c.data() + 5 * k},
                           y.data(), s);
    backend.conv2d_backward_data(g, 1, y.data(), w.data(), dx.data(), true, s);
    backend.conv2d_backward_weights(g, 1, {&source, 1}, y.data(), dw.data(), c.data(), false, s);
    backend.batch_norm_forward(out / k, g.out_channels, y.data(), c.data(), c.data() + k, 1e-3f, 0.9f,
                               c.data() + 2 * k, c.data() + 3 * k, c.data() + 4 * k, c.data() + 5 * k,
                               activation::relu, y.data());
    backend.batch_norm_backward(out / k, g.out_channels, y.data(), y.data(), c.data(), c.data() + k,
                                c.data() + 4 * k, c.data() + 5 * k, activation::relu, y.data(), false,
                                c.data() + 6 * k, c.data() + 7 * k, false, s);
    backend.sigmoid_forward(out, y.data(), y.data());
    CHECK(backend.parallel_sum<1>(
              10, 1, [](std::size_t i, std::size_t) { return std::array<double, 1>{double(i)}; })[0] == 45);
    CHECK(allocations == before);
  }
}
