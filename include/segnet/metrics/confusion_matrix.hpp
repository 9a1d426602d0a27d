// SPDX-License-Identifier: MIT
// How well predicted classes match labels: counts of pixels by both, and what the field makes of them.
#pragma once

#include <segnet/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace segnet {

/// Pixels by their label and what was predicted for them, over any number of images; those with the label
/// `ignore` are left out. Sums of parts are exact, in any order.
class confusion_matrix {
 public:
  /// 2 to 255 classes; throws argument_error.
  explicit confusion_matrix(int classes, std::uint8_t ignore = 255) : classes_(classes), ignore_(ignore) {
    if (classes < 2 || classes > 255)
      throw argument_error("confusion_matrix: " + std::to_string(classes) + " classes, expected 2 to 255");
    counts_.resize(index(classes, 0));
  }

  int classes() const { return classes_; }

  /// Class numbers, one for each pixel in the same order. Throws argument_error, and counts nothing, where
  /// the sizes differ or a number is no class.
  void add(std::span<const std::uint8_t> prediction, std::span<const std::uint8_t> labels) {
    if (prediction.size() != labels.size())
      throw argument_error("confusion_matrix: the prediction has " + std::to_string(prediction.size()) +
                           " pixels, the labels " + std::to_string(labels.size()));
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (labels[i] != ignore_) check("prediction", prediction[i]), check("label", labels[i]);
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (labels[i] != ignore_) ++counts_[index(labels[i], prediction[i])];
  }

  /// Adds pixels that were counted elsewhere, as count() gives them.
  void add(int label, int predicted, std::uint64_t pixels) { counts_[index(label, predicted)] += pixels; }

  /// Adds what another one counted; throws argument_error where it has other classes.
  confusion_matrix& operator+=(const confusion_matrix& other) {
    if (other.classes_ != classes_)
      throw argument_error("confusion_matrix: found one of " + std::to_string(other.classes_) +
                           " classes to add, expected " + std::to_string(classes_));
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    return *this;
  }
  friend bool operator==(const confusion_matrix&, const confusion_matrix&) = default;

  /// Pixels of one label that were predicted to be of one class.
  std::uint64_t count(int label, int predicted) const { return counts_[index(label, predicted)]; }
  /// Pixels of a label, and those predicted to be of a class.
  std::uint64_t labelled(int c) const {
    return sum([&](int other) { return count(c, other); });
  }
  std::uint64_t predicted(int c) const {
    return sum([&](int other) { return count(other, c); });
  }
  std::uint64_t pixels() const {
    return sum([&](int c) { return labelled(c); });
  }

  /// The part of a class's pixels that are right; none where no label has it.
  std::optional<double> accuracy(int c) const { return ratio(count(c, c), labelled(c)); }
  /// |L and P| / |L or P|, Jaccard's index, of the pixels L labelled and P predicted so; none where both are
  /// empty.
  std::optional<double> iou(int c) const {
    return ratio(count(c, c), labelled(c) + predicted(c) - count(c, c));
  }

  /// The part of all pixels that are right. Like the means, it throws argument_error where no pixel was
  /// counted.
  double global_accuracy() const {
    const auto right = sum([&](int c) { return count(c, c); });
    return *ratio(right, counted());
  }
  /// Over the classes that some label has ("class average accuracy").
  double mean_accuracy() const {
    return mean([&](int c) { return accuracy(c); });
  }
  /// Over the classes that some label or prediction has: a class that was only invented counts as 0.
  double mean_iou() const {
    return mean([&](int c) { return iou(c); });
  }

 private:
  std::size_t index(int label, int predicted) const {
    return static_cast<std::size_t>(label) * static_cast<std::size_t>(classes_) +
           static_cast<std::size_t>(predicted);
  }
  void check(const char* what, int found) const {
    if (found >= classes_)
      throw argument_error("confusion_matrix: found the " + std::string(what) + " " + std::to_string(found) +
                           ", expected 0 to " + std::to_string(classes_ - 1));
  }
  std::uint64_t counted() const {
    const std::uint64_t all = pixels();
    if (all == 0) throw argument_error("confusion_matrix: no labelled pixel was counted");
    return all;
  }
  static std::optional<double> ratio(std::uint64_t part, std::uint64_t whole) {
    if (whole == 0) return std::nullopt;
    return static_cast<double>(part) / static_cast<double>(whole);
  }
  template <class F>
  std::uint64_t sum(F of) const {
    std::uint64_t total = 0;
    for (int c = 0; c < classes_; ++c) total += of(c);
    return total;
  }
  template <class F>
  double mean(F of) const {
    counted();
    double total = 0;
    int occurring = 0;
    for (int c = 0; c < classes_; ++c)
      if (const std::optional<double> value = of(c)) total += *value, ++occurring;
    return total / occurring;
  }

  int classes_;
  std::uint8_t ignore_;
  std::vector<std::uint64_t> counts_;  ///< [label][predicted]
};

}  // namespace segnet
