// SPDX-License-Identifier: MIT
// Class weights that let rare classes count as much as common ones.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/metrics/segmentation.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace segnet {

/// How many pixels of a data set are of each class.
class class_counts {
 public:
  /// 2 to 255 classes; throws argument_error.
  explicit class_counts(int classes, std::uint8_t ignore = 255) : ignore_(ignore) {
    if (classes < 2 || classes > 255)
      throw argument_error("class_counts: " + std::to_string(classes) + " classes, expected 2 to 255");
    pixels_.resize(static_cast<std::size_t>(classes));
    seen_.resize(pixels_.size());
  }

  /// One label image. Throws argument_error, and counts nothing, where a label is no class.
  void add(std::span<const std::uint8_t> labels) {
    std::array<std::uint64_t, 256> count{};
    for (std::uint8_t label : labels) ++count[label];
    count[ignore_] = 0;
    for (std::size_t label = pixels_.size(); label < count.size(); ++label)
      if (count[label] > 0)
        throw argument_error("class_counts: found the label " + std::to_string(label) + ", expected 0 to " +
                             std::to_string(pixels_.size() - 1) + ", or " + std::to_string(ignore_) +
                             " for pixels to ignore");
    for (std::size_t k = 0; k < pixels_.size(); ++k) {
      pixels_[k] += count[k];
      if (count[k] > 0) seen_[k] += labels.size();
    }
  }

  /// For each class its pixels.
  std::span<const std::uint64_t> pixels() const { return pixels_; }
  /// For each class all pixels, ignored ones too, of the images in which it occurs.
  std::span<const std::uint64_t> pixels_where_seen() const { return seen_; }

 private:
  std::vector<std::uint64_t> pixels_, seen_;
  std::uint8_t ignore_;
};

/// Median-frequency balancing (Eigen and Fergus, 2015; SegNet): with freq(c) the part that class c has of the
/// images in which it occurs, its weight is median(freq) / freq(c). Classes that occur nowhere are left out
/// of the median and get 1. Throws argument_error where none occurs.
inline std::vector<double> median_frequency_weights(const class_counts& counts) {
  const auto pixels = counts.pixels(), seen = counts.pixels_where_seen();
  const auto frequency = [&](std::size_t k) {
    return static_cast<double>(pixels[k]) / static_cast<double>(seen[k]);
  };
  std::vector<double> found;
  for (std::size_t k = 0; k < pixels.size(); ++k)
    if (pixels[k] > 0) found.push_back(frequency(k));
  if (found.empty()) throw argument_error("median_frequency_weights: no pixel has a class");
  const double median = percentile(found, 50);
  std::vector<double> weights(pixels.size(), 1.0);
  for (std::size_t k = 0; k < weights.size(); ++k)
    if (pixels[k] > 0) weights[k] = median / frequency(k);
  return weights;
}

}  // namespace segnet
