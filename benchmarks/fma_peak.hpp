// SPDX-License-Identifier: MIT
// The most multiplications and additions that the machine does in a second: the roof that kernels are held
// against, measured by the program that measures the kernels, for a machine's speed changes with the hour.
#pragma once

#include "support.hpp"

#include <segnet/backend/cpu/cpu.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

namespace segnet_benchmark {

using packets = detail::simd<float>;

/// Enough independent sums to hide the latency of a fused multiply-add, few enough for 16 registers.
inline constexpr int fma_chains = 12;
inline constexpr int fma_rounds = 1'000'000;  // a few milliseconds
inline constexpr double fma_operations = 2.0 * fma_chains * packets::lanes * fma_rounds;

/// Makes the compiler believe that the packets are needed. They are added up first: an array whose address is
/// taken would be stored in every round of the loop before.
template <int N>
SEGNET_INLINE void keep(const packets::packet (&values)[N]) {
  packets::packet total = packets::zero();
  detail::unroll<N>([&](auto i) SEGNET_INLINE_LAMBDA { total = packets::add(total, values[i]); });
  std::array<float, packets::lanes> result;
  packets::store(result.data(), total);
  benchmark::DoNotOptimize(result);
}

/// fma_operations on registers alone.
inline void multiply_and_add() {
  // Distinct values that the compiler does not know: equal chains would be computed once.
  std::array<float, fma_chains + 1> start;
  for (std::size_t i = 0; i < start.size(); ++i) start[i] = 0.5f + 0.01f * static_cast<float>(i);
  benchmark::DoNotOptimize(start);
  packets::packet sum[fma_chains];
  detail::unroll<fma_chains>([&](auto i) SEGNET_INLINE_LAMBDA { sum[i] = packets::set(start[i]); });
  const packets::packet factor = packets::set(start[fma_chains]);
  for (int round = 0; round < fma_rounds; ++round)
    detail::unroll<fma_chains>([&](auto i)
                                   SEGNET_INLINE_LAMBDA { sum[i] = packets::madd(sum[i], factor, factor); });
  keep(sum);
}

/// The same on every thread of a backend.
inline void multiply_and_add(cpu& backend) {
  backend.parallel_for(static_cast<std::size_t>(backend.threads()), 1,
                       [](std::size_t, std::size_t, int) { multiply_and_add(); });
}

/// Operations per second (a multiply-add is two) on so many threads: the best of several short runs, the
/// first time that it is asked for.
inline double fma_peak(int threads) {
  static std::map<int, double> measured;
  double& best = measured[threads];
  if (best > 0) return best;
  cpu backend(threads);
  for (int run = 0; run < 50; ++run) {
    const auto start = std::chrono::steady_clock::now();
    multiply_and_add(backend);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, fma_operations * backend.threads() / took.count());
  }
  return best;
}

/// The counters "FLOPS", operations per second, and "peak", the same as a share of fma_peak().
inline void count_operations(benchmark::State& state, double operations, int threads) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["FLOPS"] = benchmark::Counter(operations, rate);
  state.counters["peak"] = benchmark::Counter(operations / fma_peak(threads), rate);
}

/// main() of the programs that hold something against the peak: it is measured before all else and stands in
/// the "context" of the JSON output.
inline int run_beside_peak(int argc, char** argv) {
  for (int threads : thread_counts()) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GFLOP/s", fma_peak(threads) / 1e9);
    benchmark::AddCustomContext("fma_peak/threads:" + std::to_string(threads), text);
  }
  return run(argc, argv);
}

}  // namespace segnet_benchmark
