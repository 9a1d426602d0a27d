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

/// What the loss needs to know of one pixel.
template <class T>
struct pixel_loss {
  T probability, bce;
};

/// Sigmoid and cross-entropy of one logit and its target in [0, 1]; no finite logit overflows: the exponent
/// is never positive. A NaN comes out as a NaN.
template <class T>
SEGNET_HD inline pixel_loss<T> sigmoid_bce(T logit, T target) {
  const T e = std::exp(-std::abs(logit));
  const T positive = logit < T(0) ? T(0) : logit;
  return {(logit < T(0) ? e : T(1)) / (T(1) + e), positive - logit * target + std::log1p(e)};
}

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
    enum { w, w_bce, w2pt, w2p, w2t };
    const auto sums = backend.template parallel_sum<5>(n, grain, [=](std::size_t begin, std::size_t end) {
      std::array<double, 5> sum{};
      for (std::size_t i = begin; i < end; ++i) {
        const auto [p, bce] = sigmoid_bce<T>(logits[i], targets[i]);
        const double weight = weights.empty() ? 1.0 : static_cast<double>(weights[i]);
        const double w2 = weight * weight, t = static_cast<double>(targets[i]);
        sum[w] += weight;
        sum[w_bce] += weight * static_cast<double>(bce);
        sum[w2pt] += w2 * static_cast<double>(p) * t;
        sum[w2p] += w2 * static_cast<double>(p);
        sum[w2t] += w2 * t;
        if (!gradient.empty()) gradient[i] = p;
      }
      return sum;
    });

    const double normal = static_cast<double>(n) / sums[w];  // scales the weights to a mean of 1
    const double above = 2 * normal * normal * sums[w2pt] + smooth;
    const double below = normal * normal * (sums[w2p] + sums[w2t]) + smooth;
    loss_result result{.total = 0, .bce = sums[w_bce] / sums[w], .dice = above / below};
    result.total = bce_weight * result.bce + dice_weight * (1 - result.dice);
    if (gradient.empty()) return result;

    const double scale = static_cast<double>(gradient_scale);
    const double dice_scale = scale * dice_weight * normal * normal / below;
    const bce_dice_gradient<T> slope{.bce = static_cast<T>(scale * bce_weight / sums[w]),
                                     .dice = static_cast<T>(dice_scale * result.dice),
                                     .overlap = static_cast<T>(dice_scale * 2)};
    backend.parallel_for(n, grain, [=](std::size_t begin, std::size_t end, int) {
      if (weights.empty()) {
        for (std::size_t i = begin; i < end; ++i) gradient[i] = slope(gradient[i], targets[i], T(1));
      } else {
        for (std::size_t i = begin; i < end; ++i) gradient[i] = slope(gradient[i], targets[i], weights[i]);
      }
    });
    return result;
  }

 private:
  static constexpr std::size_t grain = 4096;  // pixels: some 50 microseconds of work

  static void check(const char* what, std::size_t found, std::size_t expected) {
    if (found != expected)
      throw argument_error("bce_dice: " + std::to_string(found) + " " + what +
                           ", expected as many as logits, " + std::to_string(expected));
  }
};

}  // namespace segnet
