// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>

namespace segnet {

/// The Euclidean norm of all gradients together.
template <class Backend>
double gradient_norm(Backend& backend, std::span<const typename Backend::scalar> gradients) {
  const auto* const g = gradients.data();
  const auto sum = backend.template parallel_sum<1>(
      gradients.size(), std::size_t{1} << 16, [=](std::size_t begin, std::size_t end) {
        // Eight sums side by side: the compiler may not reorder one sum to fill a vector.
        std::array<double, 8> lanes{};
        std::size_t i = begin;
        for (; i + 8 <= end; i += 8)
          for (std::size_t lane = 0; lane < 8; ++lane) {
            const auto x = static_cast<double>(g[i + lane]);
            lanes[lane] += x * x;
          }
        for (; i < end; ++i) lanes[0] += static_cast<double>(g[i]) * static_cast<double>(g[i]);
        std::array<double, 1> total{};
        for (double lane : lanes) total[0] += lane;
        return total;
      });
  return std::sqrt(sum[0]);
}

/// The factor that shortens gradients of norm `norm` to at most `longest` (Pascanu, Mikolov and Bengio,
/// 2013), to be given to the optimizer as gradient_scale: the gradients themselves need no further pass.
inline double clip_scale(double norm, double longest) { return norm > longest ? longest / norm : 1.0; }

}  // namespace segnet
