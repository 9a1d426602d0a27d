// SPDX-License-Identifier: MIT
// What a trainer learns. A task says what differs between kinds of segmentation; all else is the trainer's.
#pragma once

#include <segnet/core/tensor_view.hpp>
#include <segnet/data/loader.hpp>

#include <concepts>
#include <string>

namespace segnet {

/// Of one training batch: what is minimised, and how good the predictions were (1 at best).
struct batch_result {
  double loss = 0, score = 0;
};

/// mask_task and class_task are the library's. A task holds settings; runner<Network> is what a trainer makes
/// of them for its network, with the memory that it works in:
///
///   runner(const Task&, Network&)
///   batch_result add_loss(const batch&, logits, scale)   writes scale times the loss's gradient to
///                                                        Network::output_gradient(), after forward()
///   void start_validation()
///   void validate(const batch&, output)                  scores what Network::infer() returned
///   Task::scores validation_scores() const               of all batches since start_validation()
template <class T>
concept training_task = requires(const typename T::scores& found) {
  { T::labels } -> std::convertible_to<bool>;                   ///< batches with labels, or with masks?
  { T::training_score } -> std::convertible_to<std::string>;    ///< what batch_result::score is called
  { T::validation_score } -> std::convertible_to<std::string>;  ///< what decides which epoch is the best
  { T::score(found) } -> std::convertible_to<double>;           ///< that, 1 at best
  { T::in_words(found) } -> std::convertible_to<std::string>;   ///< for the line of an epoch
};

}  // namespace segnet
