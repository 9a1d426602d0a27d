// SPDX-License-Identifier: MIT
// The scores of validation on a card: its pixels are counted there.
#pragma once

#include <segnet/metrics/confusion.hpp>
#include <segnet/metrics/confusion_matrix.hpp>
#include <segnet/network/device_network.hpp>
#include <segnet/train/class_task.hpp>
#include <segnet/train/device_loss.hpp>
#include <segnet/train/mask_task.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace segnet::detail {

/// device_scores<Task, Network> has
///
///   device_scores(const Task&, Network&)
///   void enqueue(count, masks, labels)   compares Network::device_output() of `count` images; one of the
///                                        pointers, to the card, is null
///   void give(const batch&, runner)      once that is done, to the task's runner
template <class Task, class Network>
class device_scores;

template <class Network>
class device_scores<mask_task, Network> {
  using backend = typename Network::backend_type;
  using counter = unsigned long long;

 public:
  device_scores(const mask_task&, Network& net)
      : net_(net),
        counts_(4 * static_cast<std::size_t>(net.batch())),
        fetched_(counts_.size()),
        found_(static_cast<std::size_t>(net.batch())) {}

  void enqueue(int count, const float* masks, const std::uint8_t*) {
    backend& b = net_.backend();
    b.count_mask(count, Network::output_shape.pixels(), net_.device_output(count).data, masks, 0.5F,
                 counts_.data());
    b.download(counts_.data(), 4 * static_cast<std::size_t>(count), fetched_.data());
  }
  template <class Runner>
  void give(const batch& images, Runner& runner) {
    const auto count = static_cast<std::size_t>(images.count);
    for (std::size_t i = 0; i < count; ++i) {
      const counter* const c = fetched_.data() + 4 * i;
      found_[i] = {
          .true_positive = c[0], .false_positive = c[1], .false_negative = c[2], .true_negative = c[3]};
    }
    runner.validate(images, std::span<const confusion>(found_).first(count));
  }

 private:
  Network& net_;
  typename backend::template device_buffer<counter> counts_;
  typename backend::template host_buffer<counter> fetched_;
  std::vector<confusion> found_;
};

template <class Network>
class device_scores<class_task, Network> {
  using backend = typename Network::backend_type;
  using counter = unsigned long long;
  static constexpr int classes = Network::output_shape.c;

 public:
  device_scores(const class_task& task, Network& net)
      : net_(net),
        ignore_(task.loss.ignore),
        counts_(static_cast<std::size_t>(classes) * classes + 1),
        fetched_(counts_.size()),
        predicted_(static_cast<std::size_t>(net.batch()) * Network::output_shape.pixels()),
        cropped_(net) {}

  void enqueue(int count, const float*, const std::uint8_t* labels) {
    backend& b = net_.backend();
    const auto output = net_.device_output(count);
    b.clear(counts_.size(), counts_.data());
    b.count_classes(output.rows(), classes, ignore_, output.data, cropped_(count, labels), counts_.data(),
                    predicted_.data());
    b.download(counts_.data(), counts_.size(), fetched_.data());
  }
  /// Throws argument_error where a label was no class.
  template <class Runner>
  void give(const batch&, Runner& runner) {
    const counter* at = fetched_.data();
    confusion_matrix found(classes, ignore_);
    for (int label = 0; label < classes; ++label)
      for (int predicted = 0; predicted < classes; ++predicted) found.add(label, predicted, *at++);
    if (*at > 0) refuse_labels("confusion_matrix", *at, classes, ignore_);
    runner.validate(found);
  }

 private:
  Network& net_;
  std::uint8_t ignore_;
  typename backend::template device_buffer<counter> counts_;
  typename backend::template host_buffer<counter> fetched_;
  typename backend::template device_buffer<std::uint8_t> predicted_;
  seen_labels<Network> cropped_;
};

}  // namespace segnet::detail
