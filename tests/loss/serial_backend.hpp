// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

/// The two members of a backend that losses and optimizers use, on one thread.
template <class T>
struct serial_backend {
  using scalar = T;

  template <class F>
  void parallel_for(std::size_t n, std::size_t grain, F f) {
    for (std::size_t begin = 0; begin < n; begin += grain) f(begin, std::min(begin + grain, n), 0);
  }

  template <int N, class F>
  std::array<double, N> parallel_sum(std::size_t n, std::size_t grain, F f) {
    std::array<double, N> total{};
    for (std::size_t begin = 0; begin < n; begin += grain) {
      const std::array<double, N> part = f(begin, std::min(begin + grain, n));
      for (std::size_t i = 0; i < N; ++i) total[i] += part[i];
    }
    return total;
  }
};
