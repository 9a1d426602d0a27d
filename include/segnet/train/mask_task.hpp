// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/inference/segmenter.hpp>
#include <segnet/loss/bce_dice.hpp>
#include <segnet/loss/boundary_weight.hpp>
#include <segnet/metrics/segmentation.hpp>
#include <segnet/train/task.hpp>

#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace segnet {

/// One object before its background: the probability of each pixel is learned from masks. The best epoch is
/// that of the highest Dice, the mean over the validation pictures at the network's size.
struct mask_task {
  bce_dice loss{};
  bool boundary_weighted = false;  ///< pixels near the outline count more, see boundary_weight

  using scores = segmentation_summary;
  static constexpr bool labels = false;
  static constexpr const char* training_score = "dice";  ///< the loss's soft one
  static constexpr const char* validation_score = "dice";
  static double score(const scores& found) { return found.dice; }
  static std::string in_words(const scores& found) {
    char text[80];
    std::snprintf(text, sizeof text, "dice %.4f  iou %.4f", found.dice, found.iou);
    return text;
  }

  template <class Network>
  class runner;
};

template <class Network>
class mask_task::runner {
  static_assert(segmentation_network<Network>,
                "the network must map 3 channels to 1 probability of the same height and width");

 public:
  using scalar = typename Network::scalar;

  runner(const mask_task& task, Network& net)
      : task_(task),
        net_(net),
        weights_(task.boundary_weighted ? static_cast<std::size_t>(net.batch()) * Network::output_shape.size()
                                        : 0),
        workspace_(task.boundary_weighted
                       ? boundary_weight::workspace_size(net.batch(), Network::output_shape)
                       : 0) {}

  batch_result add_loss(const batch& b, tensor_view<const scalar> logits, double scale) {
    std::span<const scalar> weights;
    if (task_.boundary_weighted) {
      const tensor_view<scalar> view{weights_.data(), b.count, Network::output_shape};
      boundary_weight{}(net_.backend(),
                        tensor_view<const scalar>{b.masks.data(), b.count, Network::output_shape}, view,
                        workspace_);
      weights = {view.data, view.size()};
    }
    const auto gradient = net_.output_gradient();
    const loss_result found = task_.loss(net_.backend(), {logits.data, logits.size()}, b.masks, weights,
                                         {gradient.data, gradient.size()}, static_cast<scalar>(scale));
    return {found.total, found.dice};
  }

  void start_validation() { scores_.clear(); }
  void validate(const batch& b, typename Network::images probabilities) {
    constexpr std::size_t size = Network::output_shape.size();
    for (std::size_t i = 0; i < static_cast<std::size_t>(b.count); ++i)
      scores_.push_back(
          {std::to_string(b.indices[i]), compare(std::span<const float>(probabilities.data + i * size, size),
                                                 std::span<const float>(b.masks).subspan(i * size, size))});
  }
  /// The same with pictures that were counted elsewhere.
  void validate(const batch& b, std::span<const confusion> counts) {
    for (std::size_t i = 0; i < counts.size(); ++i)
      scores_.push_back({std::to_string(b.indices[i]), counts[i]});
  }
  scores validation_scores() const { return summarise(scores_); }

 private:
  mask_task task_;
  Network& net_;
  std::vector<scalar> weights_;  ///< of the pixels
  std::vector<double> workspace_;
  std::vector<image_score> scores_;
};

}  // namespace segnet
