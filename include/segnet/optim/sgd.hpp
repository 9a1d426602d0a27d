// SPDX-License-Identifier: MIT
// Stochastic gradient descent with momentum over flat buffers, in one pass.
#pragma once

#include <segnet/config.hpp>
#include <segnet/core/error.hpp>
#include <segnet/optim/parameter_groups.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace segnet {

/// What SGD remembers between steps and a checkpoint must keep: the running sum of the gradients, one for
/// each parameter, zero at first (without momentum it may be empty), and how many steps were taken.
template <class T>
struct sgd_state {
  std::span<T> velocity;
  std::int64_t step = 0;
};

/// The step of one parameter, with everything that a group's parameters share computed before.
template <class T>
struct sgd_update {
  T momentum, gradient_scale, decay, rate;

  SEGNET_HD void operator()(T& parameter, T gradient, T& velocity) const {
    velocity = momentum * velocity + (gradient * gradient_scale + decay * parameter);
    parameter -= rate * velocity;
  }
};

/// SGD with heavy-ball momentum (Polyak, 1964) and L2 weight decay, in the form of torch.optim.SGD:
///
///   v <- momentum v + (g + weight_decay p)      p <- p - rate v
///
/// Caffe, which FCN and SegNet were trained with, has the rate within v. The two differ only in the steps
/// after the rate has changed.
struct sgd {
  double momentum = 0.9;
  double weight_decay = 0;

  /// One step; all spans have the same size, and the gradients count times `gradient_scale`: where k batches
  /// were added up, give 1/k; where the norm is bounded, clip_scale. `groups` (network::parameter_groups())
  /// multiply rate and weight decay, none: by 1. Throws argument_error on other sizes.
  template <class Backend>
  void operator()(Backend& backend, double rate, std::span<typename Backend::scalar> parameters,
                  std::span<const typename Backend::scalar> gradients,
                  sgd_state<typename Backend::scalar>& state, double gradient_scale = 1,
                  std::span<const parameter_group> groups = {}) const {
    using T = typename Backend::scalar;
    const std::size_t n = parameters.size();
    const bool plain = momentum == 0 && state.velocity.empty();
    if (gradients.size() != n || (!plain && state.velocity.size() != n))
      throw argument_error("sgd: " + std::to_string(gradients.size()) + " gradients and " +
                           std::to_string(state.velocity.size()) + " velocities, expected " +
                           std::to_string(n) + " of each, one for each parameter");
    detail::check_groups("sgd", groups, n);
    ++state.step;
    T* const p = parameters.data();
    const T* const g = gradients.data();
    T* const v = state.velocity.data();
    detail::for_each_in_groups(
        backend, n, groups, [=, *this](std::size_t begin, std::size_t end, const parameter_group& group) {
          const sgd_update<T> update{.momentum = static_cast<T>(momentum),
                                     .gradient_scale = static_cast<T>(gradient_scale),
                                     .decay = static_cast<T>(weight_decay * group.decay),
                                     .rate = static_cast<T>(rate * group.rate)};
          if (plain) {
            for (std::size_t i = begin; i < end; ++i) {
              T velocity = 0;
              update(p[i], g[i], velocity);
            }
          } else {
            for (std::size_t i = begin; i < end; ++i) update(p[i], g[i], v[i]);
          }
        });
  }
};

}  // namespace segnet
