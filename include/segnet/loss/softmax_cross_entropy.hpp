// SPDX-License-Identifier: MIT
// Cross-entropy over classes, from logits, with its exact gradient.
#pragma once

#include <segnet/config.hpp>
#include <segnet/core/error.hpp>
#include <segnet/core/tensor_view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace segnet {

/// Over one batch: `total` is what is minimised, a mean over the `labelled` pixels, of which `correct` have
/// their highest logit at their label.
struct cross_entropy_result {
  double total = 0;
  std::size_t labelled = 0, correct = 0;
};

namespace detail {

/// What labels mean: one is ignored, which may be a class's own number; others that are no class are refused.
struct label_rule {
  unsigned classes, ignore;

  SEGNET_HD bool ignores(unsigned label) const { return label == ignore; }
  SEGNET_HD bool refuses(unsigned label) const { return label >= classes && label != ignore; }
};

/// What turns a weighted sum into a mean.
SEGNET_HD inline double cross_entropy_normal(double weights) { return weights > 0 ? 1 / weights : 0; }

/// What one pixel whose label is not ignored adds to the sums, from log(sum exp(z - m)), with m the maximum
/// of its logits z, and how far its label's logit lies below m.
struct cross_entropy_terms {
  enum { loss, correct, count };
  double of[count];

  /// Without weight, the logits may be anything.
  template <class T>
  SEGNET_HD cross_entropy_terms(T log_sum, T below, double weight)
      : of{weight > 0 ? weight * static_cast<double>(log_sum + below) : 0, static_cast<double>(below == 0)} {}
};

/// dL/dlogit of one pixel, from the probability of the logit's class.
template <class T>
struct cross_entropy_gradient {
  T factor;  ///< 0: the pixel does not count, and its logits may be anything

  cross_entropy_gradient() = default;
  SEGNET_HD cross_entropy_gradient(double gradient_scale, double normal, double weight)
      : factor(static_cast<T>(gradient_scale * normal * weight)) {}
  SEGNET_HD T operator()(T probability, bool is_label) const {
    return factor * (is_label ? probability - T(1) : probability);
  }
};

/// Of `pixels` rows of logits the softmax, the maximum m, and log(sum exp(z - m)): by the backend where it
/// has a way of its own.
template <class Backend, class T>
void softmax_run(std::size_t pixels, std::size_t classes, const T* logits, T* probabilities, T* highest,
                 T* log_sum) {
  if constexpr (requires {
                  Backend::softmax_run(pixels, classes, logits, probabilities, highest, log_sum);
                }) {
    Backend::softmax_run(pixels, classes, logits, probabilities, highest, log_sum);
  } else {
    for (std::size_t i = 0; i < pixels; ++i, logits += classes, probabilities += classes) {
      highest[i] = logits[0];
      for (std::size_t k = 1; k < classes; ++k) highest[i] = std::max(highest[i], logits[k]);
      T sum = 0;
      for (std::size_t k = 0; k < classes; ++k) sum += probabilities[k] = std::exp(logits[k] - highest[i]);
      for (std::size_t k = 0; k < classes; ++k) probabilities[k] /= sum;
      log_sum[i] = std::log(sum);
    }
  }
}

}  // namespace detail

/// L = sum w[y] (log(sum exp(z)) - z[y]) / sum w[y] over the labelled pixels, with z a pixel's logits, y its
/// class and w the classes' weights: the mean of torch.nn.functional.cross_entropy(weight, ignore_index). A
/// batch without a labelled pixel, or with none but those of weight 0, has the loss 0, where PyTorch has NaN.
struct softmax_cross_entropy {
  std::uint8_t ignore = 255;  ///< the label of pixels that do not count; may be a class's own number

  static constexpr int min_classes = 2, max_classes = 255;

  /// logits: n images of K channels, 2 to 255; labels: a class number 0 to K - 1 or `ignore` for each of
  /// their pixels; class_weights: K, not negative, none: all 1. Unless it is empty, `gradient`, as large as
  /// the logits, receives gradient_scale dL/dz: give 1/k where k batches are accumulated. It may be the
  /// logits' own memory. Throws argument_error where sizes differ, or for a label that is no class.
  template <class Backend, class T = typename Backend::scalar>
  cross_entropy_result operator()(Backend& backend, tensor_view<const typename Backend::scalar> logits,
                                  std::span<const std::uint8_t> labels, std::span<const double> class_weights,
                                  std::span<typename Backend::scalar> gradient, T gradient_scale = 1) const {
    const std::size_t pixels = logits.rows(), classes = static_cast<std::size_t>(logits.dims.c);
    check(logits, labels, class_weights, gradient.size());

    // The normaliser first, from the labels alone, so that one pass over the logits is enough.
    std::array<double, 256> weight{};
    for (std::size_t k = 0; k < classes; ++k) weight[k] = class_weights.empty() ? 1 : class_weights[k];
    weight[ignore] = 0;
    const detail::label_rule rule{static_cast<unsigned>(classes), ignore};
    enum { sum, labelled, refused, counts };
    const auto of_labels =
        backend.template parallel_sum<counts>(pixels, grain * 16, [=](auto begin, auto end) {
          std::array<double, counts> part{};
          for (std::size_t i = begin; i < end; ++i) {
            part[sum] += weight[labels[i]];
            part[labelled] += !rule.ignores(labels[i]);
            part[refused] += rule.refuses(labels[i]);
          }
          return part;
        });
    if (of_labels[refused] > 0)
      refuse(*std::ranges::find_if(labels, [=](auto label) { return rule.refuses(label); }), logits.dims.c);
    const double normal = detail::cross_entropy_normal(of_labels[sum]);

    using terms = detail::cross_entropy_terms;
    std::array<detail::cross_entropy_gradient<T>, 256> slopes{};
    for (std::size_t k = 0; k < 256; ++k)
      slopes[k] = {static_cast<double>(gradient_scale), normal, weight[k]};
    const auto of_logits =
        backend.template parallel_sum<terms::count>(pixels, grain, [=](auto begin, auto end) {
          std::array<double, terms::count> part{};
          std::array<T, block> p;
          std::array<T, block / min_classes> highest, log_sum;
          const std::size_t step = block / classes;
          for (std::size_t at = begin; at < end; at += step) {
            const std::size_t size = std::min(step, end - at);
            detail::softmax_run<Backend>(size, classes, logits.data + at * classes, p.data(), highest.data(),
                                         log_sum.data());
            for (std::size_t i = 0; i < size; ++i) {
              const std::uint8_t label = labels[at + i];
              if (!rule.ignores(label)) {
                const T below = highest[i] - logits.data[(at + i) * classes + label];
                const terms add(log_sum[i], below, weight[label]);
                part[terms::loss] += add.of[terms::loss];
                part[terms::correct] += add.of[terms::correct];
              }
              if (gradient.empty()) continue;
              const detail::cross_entropy_gradient<T> slope = slopes[label];
              T* const to = gradient.data() + (at + i) * classes;
              if (slope.factor == 0) {
                std::fill_n(to, classes, T(0));
              } else {
                for (std::size_t k = 0; k < classes; ++k) to[k] = slope(p[i * classes + k], false);
                to[label] = slope(p[i * classes + label], true);
              }
            }
          }
          return part;
        });
    return {.total = of_logits[terms::loss] * normal,
            .labelled = static_cast<std::size_t>(of_labels[labelled]),
            .correct = static_cast<std::size_t>(of_logits[terms::correct])};
  }

 private:
  static constexpr std::size_t grain = 1024;  // pixels
  static constexpr std::size_t block = 2048;  // logits, which stay in the first-level cache

  template <class T>
  static void check(tensor_view<T> logits, std::span<const std::uint8_t> labels,
                    std::span<const double> weights, std::size_t gradient) {
    const auto expect = [](std::size_t found, const char* what, std::size_t expected, const char* why) {
      if (found != expected)
        throw argument_error("softmax_cross_entropy: " + std::to_string(found) + " " + what + ", expected " +
                             why + ", " + std::to_string(expected));
    };
    if (logits.dims.c < min_classes || logits.dims.c > max_classes)
      throw argument_error("softmax_cross_entropy: " + std::to_string(logits.dims.c) +
                           " classes, expected 2 to 255");
    if (logits.size() == 0) throw argument_error("softmax_cross_entropy: the batch is empty");
    expect(labels.size(), "labels", logits.rows(), "one for each pixel");
    if (!weights.empty())
      expect(weights.size(), "class weights", static_cast<std::size_t>(logits.dims.c), "one for each class");
    if (gradient != 0) expect(gradient, "numbers for the gradient", logits.size(), "as many as logits");
  }

  [[noreturn]] void refuse(int label, int classes) const {
    throw argument_error("softmax_cross_entropy: found the label " + std::to_string(label) +
                         ", expected 0 to " + std::to_string(classes - 1) + ", or " + std::to_string(ignore) +
                         " for pixels to ignore");
  }
};

}  // namespace segnet
