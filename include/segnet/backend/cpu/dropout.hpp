// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cpu/elementwise.hpp>
#include <segnet/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace segnet::detail {

/// y[i] = x[i] / (1 - rate), or 0 with probability `rate`, which a function of (key, i) alone decides: the
/// backward pass draws the same numbers again, on any number of threads.
template <class T>
void dropout(thread_pool& pool, std::size_t size, std::uint64_t key, double rate, const T* x, T* y,
             bool accumulate) {
  using integer = integer_of<T>;
  constexpr double range = 1u << 31;
  const auto dropped = static_cast<integer>(std::min(std::round(rate * range), range - 1));
  const T scale = static_cast<T>(1 / (1 - rate));
  parallel_for(pool, size, element_grain, [=](std::size_t begin, std::size_t end, int) {
    constexpr std::size_t run = 64;
    static_assert(element_grain % run == 0);
    for (std::size_t first = begin; first < end; first += run) {
      std::uint32_t random[run];
      for (std::size_t i = 0; i < run; i += 2) {  // 64 bits make two numbers of 31
        const std::uint64_t bits = mix64(key + (first + i) * 0x9e3779b97f4a7c15ULL);
        random[i] = static_cast<std::uint32_t>(bits >> 33);
        random[i + 1] = static_cast<std::uint32_t>(bits) >> 1;
      }
      for_each_vector<T>(std::min(run, end - first), [&](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
        const auto keep = convert<integer, l>(load<l>(random + i)) >= broadcast<l>(dropped);
        const auto value = load<l>(x + first + i) * scale, zero = broadcast<l>(T{0});
        const auto result = keep ? value : zero;
        T* const to = y + first + i;
        store<l>(to, accumulate ? load<l>(to) + result : result);
      });
    }
  });
}

}  // namespace segnet::detail
