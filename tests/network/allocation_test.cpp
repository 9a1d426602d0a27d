// SPDX-License-Identifier: MIT
// No step allocates. The C library's allocation functions are replaced by ones that count and hand on;
// operator new and Eigen end in them too. Sanitizers bring their own, so there is nothing to count with them.
#include <segnet/loss/bce_dice.hpp>
#include <segnet/loss/softmax_cross_entropy.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/network.hpp>
#include <segnet/optim/adam.hpp>
#include <segnet/optim/sgd.hpp>

#include "../temporary_folder.hpp"
#include "networks.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <span>
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
std::atomic<std::size_t> all_bytes{0};
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
  all_bytes += size;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
  ++allocations;
  all_bytes += count * size;
  return __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) noexcept {
  ++allocations;
  all_bytes += size;
  return __libc_realloc(block, size);
}
void* memalign(std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  all_bytes += size;
  aligned_bytes += size;
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  all_bytes += size;
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
  sgd_state<float> slow{m};
  const std::vector<std::uint8_t> labels(3 * net.input_shape.pixels(), 1);  // for the images as logits
  std::vector<float> of_classes(images.size());
  double loss = 0;

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
    sgd{}(net.backend(), 0.01, net.parameters(), net.gradients(), slow);
    loss +=
        softmax_cross_entropy{}(net.backend(), {images.data(), 3, net.input_shape}, labels, {}, of_classes)
            .total;
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
      CHECK(aligned_bytes - between == net.memory.inference_working_bytes(batch, threads));
    }
  }
#endif
}

TEST_CASE("a checkpoint's weights are used in place, those of other types converted once", "[network]") {
  using net_type = network<carvana_network<16, 16, 32, 64>>;
  const segnet_test::temporary_folder folder;
  net_type trained({.threads = 1});
  trained.initialise(1);
  save_checkpoint(folder / "a.safetensors", trained, {});
  const safetensors_file file(folder / "a.safetensors");
  std::vector<stored_tensor> tensors(file.tensors().begin(), file.tensors().end());
  std::vector<std::vector<double>> doubles;
  doubles.reserve(tensors.size());
  for (stored_tensor& t : tensors) {
    const auto values = file.f32(t.name);
    doubles.emplace_back(values.begin(), values.end());
    t.type = dtype::f64;
    t.bytes = std::as_bytes(std::span(doubles.back()));
  }
  write_safetensors(folder / "wide.safetensors", tensors);
  const safetensors_file wide(folder / "wide.safetensors");
#if SEGNET_TEST_COUNTS
  net_type net({.threads = 1, .training = false});
  const std::vector<float> images(net_type::input_shape.size(), 0.5f);
  std::size_t all = all_bytes, aligned = aligned_bytes;
  load_checkpoint(file, net);
  net.infer({images.data(), 1, net_type::input_shape});
  CHECK(aligned_bytes == aligned);
  // Lists of names and the like.
  STATIC_REQUIRE(net_type::memory.weights() > 500'000);
  CHECK(all_bytes - all < 50'000);

  all = all_bytes, aligned = aligned_bytes;
  load_checkpoint(wide, net);
  // Each rounded up to whole cache lines, as in the plan.
  CHECK(aligned_bytes - aligned == net_type::memory.weights());
#endif
}
