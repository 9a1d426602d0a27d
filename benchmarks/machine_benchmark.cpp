// SPDX-License-Identifier: MIT
// What the machine can do: multiply-adds on registers, and bytes per second to and from memory in blocks far
// larger than the caches. A copy counts what it reads and what it writes.
#include "fma_peak.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace {

using namespace segnet_benchmark;

constexpr std::size_t block = std::size_t{1} << 26;  // floats: 256 MiB
constexpr std::size_t grain = std::size_t{1} << 16;

void registers(benchmark::State& state) {
  cpu backend(static_cast<int>(state.range(0)));
  for (auto _ : state) multiply_and_add(backend);
  state.counters["FLOPS"] =
      benchmark::Counter(fma_operations * backend.threads(), benchmark::Counter::kIsIterationInvariantRate);
}

/// Calls f(begin, end) for parts of `size` floats on all threads.
template <class F>
void stream(benchmark::State& state, std::size_t size, std::size_t bytes, F f) {
  cpu backend(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    backend.parallel_for(size, grain, [&](std::size_t begin, std::size_t end, int) { f(begin, end); });
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}

void read(benchmark::State& state) {
  const aligned_buffer<float> from(block);
  stream(state, block, block * sizeof(float), [&](std::size_t begin, std::size_t end) {
    constexpr int chains = 8;
    packets::packet sum[chains];
    for (auto& packet : sum) packet = packets::zero();
    for (std::size_t i = begin; i < end; i += chains * packets::lanes)
      detail::unroll<chains>([&](auto k) SEGNET_INLINE_LAMBDA {
        sum[k] = packets::add(sum[k], packets::load(from.data() + i + k * packets::lanes));
      });
    keep(sum);
  });
}

// Neither loop below is one that compilers replace by memset() or memcpy(), which choose the kind of store
// themselves: the value is unknown, and what is copied changes on the way.

float unknown_value() {
  float value = 0.5f;
  benchmark::DoNotOptimize(value);
  return value;
}

void store(benchmark::State& state) {
  aligned_buffer<float> to(block);
  const packets::packet value = packets::set(unknown_value());
  stream(state, block, block * sizeof(float), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; i += packets::lanes) packets::store(to.data() + i, value);
  });
}

void copy(benchmark::State& state) {
  const aligned_buffer<float> from(block / 2);
  aligned_buffer<float> to(block / 2);
  const packets::packet value = packets::set(unknown_value());
  stream(state, block / 2, block * sizeof(float), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; i += packets::lanes)
      packets::store(to.data() + i, packets::add(packets::load(from.data() + i), value));
  });
}

#if defined(__SSE__)
// Stores past the caches, which need not read the lines that they overwrite. Four floats at a time fill a
// line of the write buffers as well as longer registers do.

void store_non_temporal(benchmark::State& state) {
  aligned_buffer<float> to(block);
  const __m128 value = _mm_set1_ps(unknown_value());
  stream(state, block, block * sizeof(float), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; i += 4) _mm_stream_ps(to.data() + i, value);
    _mm_sfence();
  });
}

void copy_non_temporal(benchmark::State& state) {
  const aligned_buffer<float> from(block / 2);
  aligned_buffer<float> to(block / 2);
  const __m128 value = _mm_set1_ps(unknown_value());
  stream(state, block / 2, block * sizeof(float), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; i += 4)
      _mm_stream_ps(to.data() + i, _mm_add_ps(_mm_load_ps(from.data() + i), value));
    _mm_sfence();
  });
}
#endif

BENCHMARK(registers)->Name("fma_peak")->Apply(threads_1_and_all)->Unit(benchmark::kMillisecond);
BENCHMARK(read)->Apply(threads_1_and_all)->Unit(benchmark::kMillisecond);
BENCHMARK(store)->Apply(threads_1_and_all)->Unit(benchmark::kMillisecond);
BENCHMARK(copy)->Apply(threads_1_and_all)->Unit(benchmark::kMillisecond);
#if defined(__SSE__)
BENCHMARK(store_non_temporal)->Apply(threads_1_and_all)->Unit(benchmark::kMillisecond);
BENCHMARK(copy_non_temporal)->Apply(threads_1_and_all)->Unit(benchmark::kMillisecond);
#endif

}  // namespace

int main(int argc, char** argv) { return segnet_benchmark::run(argc, argv); }
