// SPDX-License-Identifier: MIT
// No step allocates. The C library's allocation functions are replaced by ones that count and hand on;
// operator new and Eigen end in them too. Sanitizers bring their own, so there is nothing to count with them.
#include <segnet/loss/bce_dice.hpp>
#include <segnet/network/network.hpp>
#include <segnet/optim/adam.hpp>

#include "networks.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEGNET_TEST_COUNTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SEGNET_TEST_COUNTS 0
#endif
#endif
#if !defined(SEGNET_TEST_COUNTS) && defined(__GLIBC__)
#define SEGNET_TEST_COUNTS 1
#endif

namespace {
std::atomic<int> allocations{0};
std::atomic<std::size_t> aligned_bytes{0};  // asked for by aligned operator new, which aligned_buffer uses
}  // namespace

#if SEGNET_TEST_COUNTS
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) noexcept {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) noexcept {
  ++allocations;
  return __libc_realloc(block, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  aligned_bytes += size;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  aligned_bytes += size;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  *block = __libc_memalign(alignment, size);
  return *block == nullptr ? ENOMEM : 0;
}
}
#endif

using namespace segnet;

TEST_CASE("no step allocates", "[network]") {
#if SEGNET_TEST_COUNTS
  // What is counted: plain and aligned operator new, and malloc.
  const int before = allocations;
  ::operator delete(::operator new(8));
  ::operator delete (::operator new (128, std::align_val_t{64}), std::align_val_t{64});
  void* volatile block = std::malloc(8);
  std::free(block);
  REQUIRE(allocations - before == 3);
#else
  WARN("allocations cannot be counted under a sanitizer; the steps run all the same");
#endif

  network<test::narrow> net({.batch = 3, .threads = 2});
  net.initialise(1);
  const auto images = test::random_images<float>(3 * net.input_shape.size(), 1);
  const std::vector<float> masks(3 * net.output_shape.size(), 1.0f);
  std::vector<float> m(net.parameters().size()), v(m.size());
  adam_state<float> state{m, v};
  double loss = 0;
  net.infer({images.data(), 3, net.input_shape});  // allocates the folded weights, once

  const int start = allocations;
  for (int step = 0; step < 3; ++step) {
    for (int part = 0; part < 2; ++part) {
      const auto logits = net.forward({images.data(), 3, net.input_shape});
      const auto gradient = net.output_gradient();
      loss = bce_dice{}(net.backend(), {logits.begin(), logits.size()}, masks, {},
                        {gradient.begin(), gradient.size()})
                 .total;
      net.backward(part > 0);
    }
    adam{}(net.backend(), 0.01, net.parameters(), net.gradients(), state);
    net.infer({images.data(), 2, net.input_shape});
  }
  const int end = allocations;
  CHECK(end - start == 0);
  CHECK(loss > 0);
}

TEST_CASE("a network allocates what its plan says, to the byte", "[network]") {
#if SEGNET_TEST_COUNTS
  using net_type = network<test::narrow>;
  const auto images = test::random_images<float>(net_type::input_shape.size(), 1);
  for (const int threads : {1, 3}) {
    for (const int batch : {1, 2, 5}) {
      CAPTURE(threads, batch);
      const std::size_t before = aligned_bytes;
      net_type net({.batch = batch, .threads = threads});
      net.initialise(1);
      net.infer({images.data(), 1, net.input_shape});
      // The optimizer's moments are its caller's.
      CHECK(aligned_bytes - before == net.memory.training_bytes(batch, threads) - net.memory.optimizer());
      const std::size_t between = aligned_bytes;
      const net_type small({.batch = batch, .threads = threads, .training = false});
      CHECK(aligned_bytes - between == net.memory.inference_bytes(batch, threads));
    }
  }
#endif
}
