// SPDX-License-Identifier: MIT
// The losses of the tasks on a card: the same formulas, as work that can be recorded.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/loss/boundary_weight.hpp>
#include <segnet/network/device_network.hpp>
#include <segnet/train/class_task.hpp>
#include <segnet/train/mask_task.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace segnet::detail {

/// device_loss<Task, Network> has
///
///   device_loss(const Task&, Network&)
///   void enqueue(count, masks, labels)   from Network::device_logits() to device_output_gradient(), for
///                                        `count` images; one of the pointers, to the card, is null
///   batch_result result() const          once that is done
template <class Task, class Network>
class device_loss;

template <class Network>
class device_loss<mask_task, Network> {
  using backend = typename Network::backend_type;
  template <class U>
  using device_buffer = typename backend::template device_buffer<U>;

 public:
  device_loss(const mask_task& task, Network& net) : task_(task), net_(net), result_(1), fetched_(1) {
    const std::size_t values = static_cast<std::size_t>(net.batch()) * Network::output_shape.size();
    if (task.boundary_weighted) {
      weights_ = device_buffer<float>(values);
      window_sums_ =
          device_buffer<std::byte>(backend::boundary_weight_workspace(net.batch(), Network::output_shape));
    }
    sums_ = device_buffer<std::byte>(backend::bce_dice_workspace());
  }

  void enqueue(int count, const float* masks, const std::uint8_t*) {
    backend& b = net_.backend();
    if (task_.boundary_weighted)
      b.boundary_weight(boundary_weight{}, count, Network::output_shape, masks, weights_.data(),
                        window_sums_.data());
    const auto logits = net_.device_logits(count);
    b.bce_dice(task_.loss, logits.size(), logits.data, masks, weights_.data(),
               net_.device_output_gradient(count).data, result_.data(), sums_.data());
    b.download(result_.data(), 1, fetched_.data());
  }
  batch_result result() const {
    return {static_cast<double>(fetched_.data()->total), static_cast<double>(fetched_.data()->dice)};
  }

 private:
  mask_task task_;
  Network& net_;
  device_buffer<float> weights_;  ///< of the pixels; none: all 1
  device_buffer<std::byte> window_sums_, sums_;
  device_buffer<typename backend::bce_dice_values> result_;
  typename backend::template host_buffer<typename backend::bce_dice_values> fetched_;
};

/// Of the labels of whole pictures those that the output shows, which may be their centre.
template <class Network>
class seen_labels {
  using backend = typename Network::backend_type;
  static constexpr bool crops = Network::input_shape.pixels() != Network::output_shape.pixels();

 public:
  explicit seen_labels(Network& net) : net_(net) {
    if (crops)
      cropped_ = typename backend::template device_buffer<std::uint8_t>(
          static_cast<std::size_t>(net.batch()) * Network::output_shape.pixels());
  }
  const std::uint8_t* operator()(int count, const std::uint8_t* labels) {
    if (!crops) return labels;
    net_.backend().crop_labels(count, Network::input_shape, Network::output_shape, labels, cropped_.data());
    return cropped_.data();
  }

 private:
  Network& net_;
  typename backend::template device_buffer<std::uint8_t> cropped_;
};

[[noreturn]] inline void refuse_labels(const std::string& what, std::uint64_t pixels, int classes,
                                       std::uint8_t ignore) {
  throw argument_error(what + ": found " + std::to_string(pixels) +
                       " pixels with labels that are no class, expected 0 to " + std::to_string(classes - 1) +
                       ", or " + std::to_string(ignore) + " for pixels to ignore");
}

template <class Network>
class device_loss<class_task, Network> {
  using backend = typename Network::backend_type;
  template <class U>
  using device_buffer = typename backend::template device_buffer<U>;

 public:
  device_loss(const class_task& task, Network& net)
      : task_(task), net_(net), seen_(net), result_(1), fetched_(1) {
    if (!task.weights.empty()) {
      const std::vector<float> weights(task.weights.begin(), task.weights.end());
      weights_ = device_buffer<float>(weights.size());
      net.backend().upload(weights.data(), weights.size(), weights_.data());
      net.backend().wait();
    }
    sums_ = device_buffer<std::byte>(backend::softmax_cross_entropy_workspace());
  }

  void enqueue(int count, const float*, const std::uint8_t* labels) {
    backend& b = net_.backend();
    const auto logits = net_.device_logits(count);
    b.softmax_cross_entropy(task_.loss, logits.rows(), logits.dims.c, logits.data, seen_(count, labels),
                            weights_.data(), net_.device_output_gradient(count).data, result_.data(),
                            sums_.data());
    b.download(result_.data(), 1, fetched_.data());
  }
  /// Throws argument_error where a label was no class.
  batch_result result() const {
    const auto& found = *fetched_.data();
    if (found.unknown > 0)
      refuse_labels("softmax_cross_entropy", found.unknown, Network::output_shape.c, task_.loss.ignore);
    return {static_cast<double>(found.total),
            static_cast<double>(found.correct) / std::max(static_cast<double>(found.labelled), 1.0)};
  }

 private:
  class_task task_;
  Network& net_;
  device_buffer<float> weights_;  ///< of the classes; none: all 1
  seen_labels<Network> seen_;
  device_buffer<std::byte> sums_;
  device_buffer<typename backend::cross_entropy_values> result_;
  typename backend::template host_buffer<typename backend::cross_entropy_values> fetched_;
};

}  // namespace segnet::detail
