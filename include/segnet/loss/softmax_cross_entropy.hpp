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
    const auto known = [=, skipped = ignore](std::uint8_t label) {
      return label < classes || label == skipped;
    };
    enum { sum, labelled, unknown, counts };
    const auto of_labels = backend.template parallel_sum<counts>(pixels, grain * 16,
                                                                 [=, skipped = ignore](auto begin, auto end) {
                                                                   std::array<double, counts> part{};
                                                                   for (std::size_t i = begin; i < end; ++i) {
                                                                     part[sum] += weight[labels[i]];
                                                                     part[labelled] += labels[i] != skipped;
                                                                     part[unknown] += !known(labels[i]);
                                                                   }
                                                                   return part;
                                                                 });
    if (of_labels[unknown] > 0) refuse(*std::ranges::find_if_not(labels, known), logits.dims.c);
    const double normal = of_labels[sum] > 0 ? 1 / of_labels[sum] : 0;

    // Pixels that do not count have the factor 0, and their logits may be anything.
    std::array<T, 256> factor{};
    for (std::size_t k = 0; k < 256; ++k)
      factor[k] = static_cast<T>(static_cast<double>(gradient_scale) * normal * weight[k]);
    const auto of_logits =
        backend.template parallel_sum<2>(pixels, grain, [=, skipped = ignore](auto begin, auto end) {
          std::array<double, 2> part{};
          std::array<T, block> p;
          std::array<T, block / min_classes> highest, log_sum;
          const std::size_t step = block / classes;
          for (std::size_t at = begin; at < end; at += step) {
            const std::size_t size = std::min(step, end - at);
            detail::softmax_run<Backend>(size, classes, logits.data + at * classes, p.data(), highest.data(),
                                         log_sum.data());
            for (std::size_t i = 0; i < size; ++i) {
              const std::uint8_t label = labels[at + i];
              if (label != skipped) {
                const T below = highest[i] - logits.data[(at + i) * classes + label];
                if (weight[label] > 0) part[0] += weight[label] * static_cast<double>(log_sum[i] + below);
                part[1] += below == 0;
              }
              if (gradient.empty()) continue;
              const T by = factor[label];
              T* const to = gradient.data() + (at + i) * classes;
              if (by == 0) {
                std::fill_n(to, classes, T(0));
              } else {
                for (std::size_t k = 0; k < classes; ++k) to[k] = by * p[i * classes + k];
                to[label] = by * (p[i * classes + label] - T(1));
              }
            }
          }
          return part;
        });
    return {.total = of_logits[0] * normal,
            .labelled = static_cast<std::size_t>(of_labels[labelled]),
            .correct = static_cast<std::size_t>(of_logits[1])};
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
