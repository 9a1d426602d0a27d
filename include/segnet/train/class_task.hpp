// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/inference/class_prediction.hpp>
#include <segnet/loss/softmax_cross_entropy.hpp>
#include <segnet/metrics/confusion_matrix.hpp>
#include <segnet/train/task.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace segnet {

/// Of validation, all pictures' pixels together, at the size of the network's output.
struct class_scores {
  double mean_iou = 0, global_accuracy = 0, mean_accuracy = 0;
  confusion_matrix counts{2};
};

/// One of K classes for each pixel, learned from labels; K is the number of the network's output channels,
/// with or without a softmax at the end. The best epoch is that of the highest mean IoU. Where the output is
/// smaller than the input (U-Net as published), the centre of the labels is what it is compared with.
struct class_task {
  softmax_cross_entropy loss{};
  std::vector<double> weights{};  ///< of the classes, see median_frequency_weights(); none: all 1

  using scores = class_scores;
  static constexpr bool labels = true;
  static constexpr const char* training_score =
      "accuracy";  ///< the part of the labelled pixels that is right
  static constexpr const char* validation_score = "mean_iou";
  static double score(const scores& found) { return found.mean_iou; }
  static std::string in_words(const scores& found) {
    char text[80];
    std::snprintf(text, sizeof text, "mean iou %.4f  accuracy %.4f", found.mean_iou, found.global_accuracy);
    return text;
  }

  template <class Network>
  class runner;
};

template <class Network>
class class_task::runner {
  static_assert(
      class_network<Network>,
      "the network must map 3 channels to 2 to 255 classes, at its input's height and width or less");

 public:
  using scalar = typename Network::scalar;
  static constexpr int classes = Network::output_shape.c;

  /// Throws argument_error where there are weights, but not one for each class.
  runner(const class_task& task, Network& net)
      : task_(task),
        net_(net),
        labels_(static_cast<std::size_t>(net.batch()) * Network::output_shape.pixels()),
        predicted_(labels_.size()),
        counts_(classes, task.loss.ignore) {
    const std::size_t found = task.weights.size();
    if (found != 0 && found != static_cast<std::size_t>(classes))
      throw argument_error("class_task: found " + std::to_string(found) + " class weights, expected " +
                           std::to_string(classes) + ", one for each class");
  }

  batch_result add_loss(const batch& b, tensor_view<const scalar> logits, double scale) {
    const auto gradient = net_.output_gradient();
    const cross_entropy_result found =
        task_.loss(net_.backend(), logits, seen_labels(b), task_.weights, {gradient.data, gradient.size()},
                   static_cast<scalar>(scale));
    return {found.total, static_cast<double>(found.correct) /
                             static_cast<double>(std::max<std::size_t>(found.labelled, 1))};
  }

  void start_validation() { counts_ = confusion_matrix(classes, task_.loss.ignore); }
  void validate(const batch& b, typename Network::images output) {
    const std::span<std::uint8_t> predicted(predicted_.data(), output.rows());
    highest_classes(net_.backend(), output, predicted);
    counts_.add(predicted, seen_labels(b));
  }
  /// The same with pictures that were counted elsewhere.
  void validate(const confusion_matrix& counts) { counts_ += counts; }
  /// Throws error where no pixel had a label.
  scores validation_scores() const {
    if (counts_.pixels() == 0)
      throw error("class_task: all pixels of the validation pictures have the label " +
                  std::to_string(task_.loss.ignore) + " (ignored): nothing tells which epoch is the best");
    return {counts_.mean_iou(), counts_.global_accuracy(), counts_.mean_accuracy(), counts_};
  }

 private:
  /// Those of the pixels that the output shows.
  std::span<const std::uint8_t> seen_labels(const batch& b) {
    if constexpr (Network::input_shape.pixels() == Network::output_shape.pixels()) return b.labels;
    const std::span<std::uint8_t> seen(labels_.data(),
                                       static_cast<std::size_t>(b.count) * Network::output_shape.pixels());
    copy_centre(b.labels, Network::input_shape, seen, Network::output_shape);
    return seen;
  }

  class_task task_;
  Network& net_;
  std::vector<std::uint8_t> labels_, predicted_;
  confusion_matrix counts_;
};

}  // namespace segnet
