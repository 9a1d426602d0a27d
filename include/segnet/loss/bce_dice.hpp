// SPDX-License-Identifier: MIT
// Binary cross-entropy plus soft Dice loss, from logits, with its exact gradient.
#pragma once

#include <segnet/config.hpp>
#include <segnet/core/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>

namespace segnet {

/// Means over one batch: `total` is what is minimised; `dice` is the soft Dice coefficient, 1 at best.
struct loss_result {
  double total = 0, bce = 0, dice = 0;
};

namespace detail {

/// What the loss needs of one logit: its sigmoid, and log(1 + exp(-|z|)).
template <class T>
struct logistic {
  T probability, softplus;
};

/// No finite logit overflows: the exponent is never positive. A NaN comes out as a NaN.
template <class T>
SEGNET_HD inline logistic<T> logistic_of(T logit) {
  const T e = std::exp(-std::abs(logit));
  return {(logit < T(0) ? e : T(1)) / (T(1) + e), std::log1p(e)};
}

/// The same for a run of logits, by the backend where it can do many at once.
template <class Backend, class T>
void logistic_run(std::size_t size, const T* logits, T* probabilities, T* softplus) {
  if constexpr (requires { Backend::logistic_run(size, logits, probabilities, softplus); })
    Backend::logistic_run(size, logits, probabilities, softplus);
  else
    for (std::size_t i = 0; i < size; ++i) {
      const auto [p, s] = logistic_of(logits[i]);
      probabilities[i] = p, softplus[i] = s;
    }
}

/// What one pixel adds to the sums that the loss and its gradient are made of.
struct bce_dice_terms {
  enum { w, w_bce, w2pt, w2p, w2t, count };
  double of[count];

  /// The cross-entropy is max(z, 0) - z t + softplus.
  template <class T>
  SEGNET_HD bce_dice_terms(T logit, T target, T probability, T softplus, T pixel_weight) {
    const T bce = (logit < T(0) ? T(0) : logit) - logit * target + softplus;
    const auto weight = static_cast<double>(pixel_weight), p = static_cast<double>(probability),
               t = static_cast<double>(target), weighted_p = weight * weight * p;
    of[w] = weight;
    of[w_bce] = weight * static_cast<double>(bce);
    of[w2pt] = weighted_p * t;
    of[w2p] = weighted_p;
    of[w2t] = weight * weight * t;
  }
};

/// The sums over some pixels.
struct bce_dice_sums {
  static constexpr std::size_t count = bce_dice_terms::count;
  // Side by side, as the compiler may not reorder one sum to fill a vector.
  static constexpr std::size_t lanes = 8;
  double part[count][lanes] = {};

  template <class T>
  void add(std::size_t lane, T logit, T target, T probability, T softplus, T pixel_weight) {
    const bce_dice_terms terms(logit, target, probability, softplus, pixel_weight);
    using of = bce_dice_terms;
    part[of::w][lane] += terms.of[of::w];
    part[of::w_bce][lane] += terms.of[of::w_bce];
    part[of::w2pt][lane] += terms.of[of::w2pt];
    part[of::w2p][lane] += terms.of[of::w2p];
    part[of::w2t][lane] += terms.of[of::w2t];
  }
  std::array<double, count> total() const {
    std::array<double, count> sum{};
    for (std::size_t i = 0; i < count; ++i)
      for (double lane : part[i]) sum[i] += lane;
    return sum;
  }
};

}  // namespace detail

/// dL/dlogit of one pixel, from coefficients that the sums over the batch determine:
///   bce w (p - t) + w^2 p (1 - p) (dice - overlap t).
template <class T>
struct bce_dice_gradient {
  T bce, dice, overlap;
  SEGNET_HD T operator()(T probability, T target, T weight) const {
    return weight * (bce * (probability - target) +
                     weight * (probability * (T(1) - probability)) * (dice - overlap * target));
  }
};

/// L = bce_weight BCE + dice_weight (1 - D) with p = sigmoid(z), for logits z, targets t and weights w:
///
///   BCE = 1/n sum w [max(z, 0) - z t + log(1 + exp(-|z|))]
///   D   = (2 sum w^2 p t + smooth) / (sum w^2 p + sum w^2 t + smooth)
///
/// D is taken over the whole batch at once, as in the Keras solutions of the Carvana challenge, which are
/// also where w^2 comes from; soft Dice itself is Milletari et al., "V-Net", 2016. The weights are used as
/// if scaled to a mean of 1, so that only their ratios matter.
struct bce_dice {
  double bce_weight = 1;
  double dice_weight = 1;
  double smooth = 1;  ///< keeps D defined (and 1) where neither mask nor prediction has a pixel

  /// All spans have n > 0 elements, in the same order; targets lie in [0, 1], weights (none: all 1) are not
  /// negative and not all 0. Unless it is empty, `gradient` receives gradient_scale dL/dz: give 1/k where k
  /// batches are accumulated. It may be the logits' own memory. Throws argument_error where sizes differ.
  template <class Backend, class T = typename Backend::scalar>
  loss_result operator()(Backend& backend, std::span<const typename Backend::scalar> logits,
                         std::span<const typename Backend::scalar> targets,
                         std::span<const typename Backend::scalar> weights,
                         std::span<typename Backend::scalar> gradient, T gradient_scale = 1) const {
    const std::size_t n = logits.size();
    check("targets", targets.size(), n);
    if (!weights.empty()) check("weights", weights.size(), n);
    if (!gradient.empty()) check("gradient", gradient.size(), n);
    if (n == 0) throw argument_error("bce_dice: the batch is empty");

    // The probabilities wait in the gradient for the sums that it needs.
    using sums_of = detail::bce_dice_sums;
    const auto sums =
        backend.template parallel_sum<sums_of::count>(n, grain, [=](std::size_t begin, std::size_t end) {
          sums_of sum;
          std::array<T, block> p, softplus;
          for (std::size_t at = begin; at < end; at += block) {
            const std::size_t size = std::min(block, end - at);
            const T *z = logits.data() + at, *t = targets.data() + at;
            detail::logistic_run<Backend>(size, z, p.data(), softplus.data());
            const auto add = [&](auto weight) {
              std::size_t i = 0;
              for (; i + sums_of::lanes <= size; i += sums_of::lanes)
                for (std::size_t lane = 0; lane < sums_of::lanes; ++lane)
                  sum.add(lane, z[i + lane], t[i + lane], p[i + lane], softplus[i + lane], weight(i + lane));
              for (; i < size; ++i) sum.add(0, z[i], t[i], p[i], softplus[i], weight(i));
            };
            if (weights.empty())
              add([](std::size_t) { return T(1); });
            else
              add([w = weights.data() + at](std::size_t i) { return w[i]; });
            if (!gradient.empty()) std::copy_n(p.data(), size, gradient.data() + at);
          }
          return sum.total();
        });

    bce_dice_gradient<T> slope{};
    const loss_result result = finish(n, sums.data(), static_cast<double>(gradient_scale), slope);
    if (gradient.empty()) return result;

    backend.parallel_for(n, grain, [=](std::size_t begin, std::size_t end, int) {
      if (weights.empty()) {
        for (std::size_t i = begin; i < end; ++i) gradient[i] = slope(gradient[i], targets[i], T(1));
      } else {
        for (std::size_t i = begin; i < end; ++i) gradient[i] = slope(gradient[i], targets[i], weights[i]);
      }
    });
    return result;
  }

  /// The loss of n pixels from detail::bce_dice_terms' sums over them, and what the gradient at each is made
  /// of.
  template <class T>
  SEGNET_HD loss_result finish(std::size_t n, const double* sums, double gradient_scale,
                               bce_dice_gradient<T>& slope) const {
    using terms = detail::bce_dice_terms;
    const double normal = static_cast<double>(n) / sums[terms::w];  // scales the weights to a mean of 1
    const double above = 2 * normal * normal * sums[terms::w2pt] + smooth;
    const double below = normal * normal * (sums[terms::w2p] + sums[terms::w2t]) + smooth;
    loss_result result{.total = 0, .bce = sums[terms::w_bce] / sums[terms::w], .dice = above / below};
    result.total = bce_weight * result.bce + dice_weight * (1 - result.dice);

    const double dice_scale = gradient_scale * dice_weight * normal * normal / below;
    slope = {.bce = static_cast<T>(gradient_scale * bce_weight / sums[terms::w]),
             .dice = static_cast<T>(dice_scale * result.dice),
             .overlap = static_cast<T>(dice_scale * 2)};
    return result;
  }

 private:
  static constexpr std::size_t grain = 4096, block = 256;  // pixels; blocks stay in the first-level cache

  static void check(const char* what, std::size_t found, std::size_t expected) {
    if (found != expected)
      throw argument_error("bce_dice: " + std::to_string(found) + " " + what +
                           ", expected as many as logits, " + std::to_string(expected));
  }
};

}  // namespace segnet
