// SPDX-License-Identifier: MIT
// Adam over flat buffers, in one pass: the step is bound by memory, so each number is read and written once.
// Compile with -fno-math-errno: only then may compilers vectorise std::sqrt, which makes it three times
// faster.
#pragma once

#include <segnet/config.hpp>
#include <segnet/core/error.hpp>
#include <segnet/optim/parameter_groups.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace segnet {

/// What Adam remembers between steps and a checkpoint must keep: the moving averages of the gradients and of
/// their squares, one for each parameter, zero at first, and how many steps were taken.
template <class T>
struct adam_state {
  std::span<T> m, v;
  std::int64_t step = 0;
};

/// The step of one parameter, with everything that all parameters share computed before.
template <class T>
struct adam_update {
  T beta1, beta2, gradient_scale, decay, rate, v_correction, epsilon;

  SEGNET_HD void operator()(T& parameter, T gradient, T& m, T& v) const {
    const T g = gradient * gradient_scale;
    m = beta1 * m + (T(1) - beta1) * g;
    v = beta2 * v + (T(1) - beta2) * (g * g);
    parameter = decay * parameter - rate * m / (std::sqrt(v) * v_correction + epsilon);
  }
};

/// Adam (Kingma and Ba, 2015) with bias correction:
///
///   m <- beta1 m + (1 - beta1) g      v <- beta2 v + (1 - beta2) g^2
///   p <- (1 - rate weight_decay) p - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
///
/// with epsilon outside the root, as in PyTorch, and decoupled weight decay (Loshchilov and Hutter, 2019).
struct adam {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;

  /// One step; all spans have the same size, and the gradients count times `gradient_scale`: where k batches
  /// were added up, give 1/k; where the norm is bounded, clip_scale. `groups` (network::parameter_groups())
  /// multiply rate and weight decay, none: by 1. Throws argument_error on other sizes.
  template <class Backend>
  void operator()(Backend& backend, double rate, std::span<typename Backend::scalar> parameters,
                  std::span<const typename Backend::scalar> gradients,
                  adam_state<typename Backend::scalar>& state, double gradient_scale = 1,
                  std::span<const parameter_group> groups = {}) const {
    using T = typename Backend::scalar;
    const std::size_t n = parameters.size();
    if (gradients.size() != n || state.m.size() != n || state.v.size() != n)
      throw argument_error("adam: " + std::to_string(gradients.size()) + " gradients and moments of " +
                           std::to_string(state.m.size()) + " and " + std::to_string(state.v.size()) +
                           ", expected " + std::to_string(n) + " of each, one for each parameter");
    detail::check_groups("adam", groups, n);
    const auto t = static_cast<double>(++state.step);
    const double corrected = rate / (1 - std::pow(beta1, t)), unbiased = std::sqrt(1 - std::pow(beta2, t));
    T* const p = parameters.data();
    const T* const g = gradients.data();
    T* const m = state.m.data();
    T* const v = state.v.data();
    detail::for_each_in_groups(
        backend, n, groups, [=, *this](std::size_t begin, std::size_t end, const parameter_group& group) {
          const adam_update<T> update{
              .beta1 = static_cast<T>(beta1),
              .beta2 = static_cast<T>(beta2),
              .gradient_scale = static_cast<T>(gradient_scale),
              .decay = static_cast<T>(1 - rate * group.rate * (weight_decay * group.decay)),
              .rate = static_cast<T>(corrected * group.rate),
              .v_correction = static_cast<T>(1 / unbiased),
              .epsilon = static_cast<T>(epsilon)};
          for (std::size_t i = begin; i < end; ++i) update(p[i], g[i], m[i], v[i]);
        });
  }
};

}  // namespace segnet
