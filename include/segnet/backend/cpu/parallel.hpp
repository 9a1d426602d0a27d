// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/thread_pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace segnet::detail {

/// Calls f(begin, end, thread) for the chunks [k * grain, (k + 1) * grain) of [0, n).
template <class F>
void parallel_for(thread_pool& pool, std::size_t n, std::size_t grain, F f) {
  grain = std::max<std::size_t>(grain, 1);
  pool.run(static_cast<int>((n + grain - 1) / grain), [&](int task, int thread) {
    const std::size_t begin = static_cast<std::size_t>(task) * grain;
    f(begin, std::min(begin + grain, n), thread);
  });
}

inline constexpr std::size_t max_sum_chunks = 256;

/// The sum of f(begin, end) over chunks of [0, n), added in order; `grain` is raised so that there are at
/// most max_sum_chunks of them.
template <int N, class F>
std::array<double, N> parallel_sum(thread_pool& pool, std::size_t n, std::size_t grain, F f) {
  grain = std::max({grain, (n + max_sum_chunks - 1) / max_sum_chunks, std::size_t{1}});
  std::array<std::array<double, N>, max_sum_chunks> parts;
  parallel_for(pool, n, grain,
               [&](std::size_t begin, std::size_t end, int) { parts[begin / grain] = f(begin, end); });
  std::array<double, N> sum{};
  for (std::size_t part = 0; part < (n + grain - 1) / grain; ++part)
    for (std::size_t i = 0; i < std::size_t{N}; ++i) sum[i] += parts[part][i];
  return sum;
}

}  // namespace segnet::detail
