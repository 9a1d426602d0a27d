// SPDX-License-Identifier: MIT
// The distinct 3 x 3 convolutions of the 7-2-7-1 network, forward and both ways backward, on one thread
// (SEGNET_BENCHMARK_THREADS sets another number). The counter FLOPS counts 2 operations per product that
// meets the image: those with padding are left out. Compare it with fma_peak of the same run.
#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/core/random.hpp>
#include <segnet/memory/aligned_buffer.hpp>

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace {

using namespace segnet;

enum class direction { forward, backward_data, backward_weights };

/// Channels of the first source and, in the decoder, of a second one at half the resolution.
struct level {
  int divisor;  // of the network's input size
  int channels, upsampled, out_channels;
};

// The deepest images are 1 x 1 at 128 x 128.
constexpr level levels[] = {
    {1, 3, 0, 8},        {1, 8, 0, 8},        {2, 8, 0, 24},       {2, 24, 0, 24},     {4, 24, 0, 64},
    {4, 64, 0, 64},      {8, 64, 0, 128},     {8, 128, 0, 128},    {16, 128, 0, 256},  {16, 256, 0, 256},
    {32, 256, 0, 512},   {32, 512, 0, 512},   {64, 512, 0, 768},   {64, 768, 0, 768},  {128, 768, 0, 768},
    {64, 768, 768, 768}, {32, 512, 768, 512}, {16, 256, 512, 256}, {8, 128, 256, 128}, {4, 64, 128, 64},
    {2, 24, 64, 24},     {1, 8, 24, 8},
};

int threads() {
  const char* text = std::getenv("SEGNET_BENCHMARK_THREADS");
  return text != nullptr ? std::atoi(text) : 1;
}

aligned_buffer<float> random_buffer(std::size_t size) {
  aligned_buffer<float> buffer(size);
  random_stream stream{size};
  for (float& value : buffer.span()) value = static_cast<float>(stream.uniform(-0.5, 0.5));
  return buffer;
}

void convolution(benchmark::State& state, const level& l, int size, int batch, direction way) {
  const int pixels = size / l.divisor;
  const conv2d_geometry g{.h = pixels,
                          .w = pixels,
                          .out_h = pixels,
                          .out_w = pixels,
                          .in_channels = l.channels + l.upsampled,
                          .out_channels = l.out_channels};
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(pixels * pixels);
  const auto elements = [rows](int channels) { return rows * static_cast<std::size_t>(channels); };
  const auto first = random_buffer(elements(l.channels)), second = random_buffer(elements(l.upsampled)),
             dy = random_buffer(elements(l.out_channels)), weight = random_buffer(g.weights());
  aligned_buffer<float> out(elements(l.out_channels)), dx(elements(g.in_channels)), dweight(g.weights());
  const conv2d_source<float> sources[] = {{first.data(), l.channels, 1},
                                          {second.data(), l.upsampled, pixels > 1 ? 2 : 1}};
  const std::span<const conv2d_source<float>> used(sources, l.upsampled > 0 ? 2 : 1);

  cpu backend(threads());
  const workspace_size needed = way == direction::forward         ? cpu::conv2d_forward_workspace(g)
                                : way == direction::backward_data ? cpu::conv2d_backward_data_workspace(g)
                                                                  : cpu::conv2d_backward_weights_workspace(g);
  const std::size_t per_thread = (needed.per_thread + 15) / 16 * 16;
  aligned_buffer<float> shared(needed.shared), own(per_thread * static_cast<std::size_t>(backend.threads()));
  const scratch<float> memory{shared.data(), own.data(), per_thread};
  for (auto _ : state) {
    if (way == direction::forward)
      backend.conv2d_forward(g, batch, used, weight.data(), {}, out.data(), memory);
    else if (way == direction::backward_data)
      backend.conv2d_backward_data(g, batch, dy.data(), weight.data(), dx.data(), false, memory);
    else
      backend.conv2d_backward_weights(g, batch, used, dy.data(), dweight.data(), nullptr, false, memory);
    benchmark::ClobberMemory();
  }
  const double along = 3.0 * pixels - 2;  // taps that meet the image, along one axis
  const double products = along * along * batch * g.in_channels * g.out_channels;
  state.counters["FLOPS"] = benchmark::Counter(2 * products, benchmark::Counter::kIsIterationInvariantRate);
}

/// Fused multiply-adds on registers alone, one thread: the roof.
void fma_peak(benchmark::State& state) {
  using V = detail::simd<float>;
  constexpr int chains = 12;
  V::packet sum[chains];
  for (auto& packet : sum) packet = V::zero();
  float value = 0.5f;
  benchmark::DoNotOptimize(value);
  const V::packet factor = V::set(value);
  for (auto _ : state) {
    for (int i = 0; i < 1000; ++i)
      detail::unroll<chains>([&](auto j) { sum[j] = V::madd(sum[j], factor, factor); });
    benchmark::DoNotOptimize(sum);
  }
  state.counters["FLOPS"] =
      benchmark::Counter(2.0 * chains * V::lanes * 1000, benchmark::Counter::kIsIterationInvariantRate);
}

const bool registered = [] {
  benchmark::RegisterBenchmark("fma_peak", fma_peak);
  constexpr struct { int size, batch; } inputs[] = {{128, 8}, {512, 1}};
  constexpr struct {
    const char* name;
    direction way;
  } ways[] = {{"forward", direction::forward},
              {"backward_data", direction::backward_data},
              {"backward_weights", direction::backward_weights}};
  for (const auto& input : inputs)
    for (const level& l : levels)
      for (const auto& way : ways) {
        std::string name = std::to_string(input.batch);
        name += "x" + std::to_string(input.size / l.divisor);
        name += "/" + std::to_string(l.channels);
        if (l.upsampled > 0) name += "+" + std::to_string(l.upsampled);
        name += "->" + std::to_string(l.out_channels);
        name += std::string("/") + way.name;
        auto* registration =
            benchmark::RegisterBenchmark(name.c_str(), [l, input, way](benchmark::State& state) {
              convolution(state, l, input.size, input.batch, way.way);
            });
        registration->Unit(benchmark::kMicrosecond);
        if (threads() != 1) registration->UseRealTime();
      }
  return true;
}();

}  // namespace
