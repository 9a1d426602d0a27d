// SPDX-License-Identifier: MIT
#include "skip.hpp"

#include <segnet/cuda.hpp>

#include <catch2/catch.hpp>

#include <numeric>
#include <vector>

using namespace segnet;

namespace {

/// A machine on which everything fits.
gpu::environment good() {
  return {.driver = 13000,
          .runtime = 13000,
          .status = cudaSuccess,
          .devices = 1,
          .wanted = 0,
          .name = "Card",
          .capability = 90,
          .oldest = 90,
          .cudnn_header = 91900,
          .cudnn_library = 91900};
}

}  // namespace

TEST_CASE("what is missing for CUDA is one sentence with the versions found and expected") {
  CHECK(gpu::problem_of(good()).empty());

  auto e = good();
  e.driver = 0;
  CHECK(gpu::problem_of(e) == "no NVIDIA driver found, expected one that supports CUDA 13.0");
  e.driver = 12040;
  CHECK(gpu::problem_of(e) == "the NVIDIA driver is too old: found support for CUDA 12.4, expected 13.0");
  e = good();
  e.runtime = 13010;
  CHECK(gpu::problem_of(e).empty());
  e.status = cudaErrorInsufficientDriver;
  CHECK(gpu::problem_of(e) == "the NVIDIA driver is too old: found support for CUDA 13.0, expected 13.1");
  e = good();
  e.status = cudaErrorNoDevice;
  CHECK(gpu::problem_of(e) == "no NVIDIA card found (the driver supports CUDA 13.0)");
  e.status = cudaErrorUnknown;
  CHECK(gpu::problem_of(e) == "the NVIDIA driver failed: unknown error (cudaErrorUnknown)");
  e = good();
  e.wanted = 2;
  CHECK(gpu::problem_of(e) == "card 2 does not exist: found 1, numbered from 0");
  e = good();
  e.capability = 86;
  CHECK(gpu::problem_of(e) ==
        "Card is too old: found compute capability 8.6, expected at least 9.0, for which the kernels were "
        "compiled (CMAKE_CUDA_ARCHITECTURES)");
}

TEST_CASE("cuDNN's library may be newer than its headers within version 9, not older") {
  auto e = good();
  e.cudnn_library = 92003;
  CHECK(gpu::problem_of(e).empty());
  e.cudnn_library = 91401;
  CHECK(gpu::problem_of(e) ==
        "cuDNN's library does not fit its headers: found 9.14.1, expected 9.19.0 or a newer 9, with which "
        "this was compiled");
  e.cudnn_library = 100000;
  CHECK_FALSE(gpu::problem_of(e).empty());
}

TEST_CASE("a machine says whether it can run CUDA, and never crashes over it") {
  CHECK(cuda_available() == why_no_cuda().empty());
  CHECK_FALSE(cuda_available(1000));
  CHECK(gpu::oldest_card() >= 70);
}

TEST_CASE("without a card, asking for memory or a stream is an error of ours") {
  if (cuda_available()) return;
  CHECK_THROWS_AS(gpu::device_buffer<float>(16), cuda_error);
  CHECK_THROWS_AS(gpu::pinned_buffer<float>(16), cuda_error);
  CHECK_THROWS_AS(gpu::stream(), cuda_error);
  CHECK_THROWS_AS(gpu::event(), cuda_error);
  CHECK(gpu::device_buffer<float>().size() == 0);
}

TEST_CASE("copies through a stream arrive, and a captured graph repeats them") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  gpu::pinned_buffer<float> from(1000), to(1000);
  gpu::device_buffer<float> on_card(1000);
  const auto copy = [&] {
    gpu::check(cudaMemcpyAsync(on_card.data(), from.data(), 4000, cudaMemcpyHostToDevice, s.get()), "copy");
    gpu::check(cudaMemcpyAsync(to.data(), on_card.data(), 4000, cudaMemcpyDeviceToHost, s.get()), "copy");
  };
  std::iota(from.span().begin(), from.span().end(), 0.0F);
  copy();
  s.wait();
  CHECK(std::ranges::equal(from.span(), to.span()));

  const gpu::graph again = gpu::graph::capture(s, copy);
  std::iota(from.span().begin(), from.span().end(), 5.0F);
  CHECK(to.data()[0] == 0);
  again.launch(s);
  s.wait();
  CHECK(std::ranges::equal(from.span(), to.span()));
}

TEST_CASE("cuDNN starts on the card") {
  SEGNET_SKIP_WITHOUT_CARD();
  const gpu::stream s;
  CHECK(gpu::cudnn(s).get() != nullptr);
}
