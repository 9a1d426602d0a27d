// SPDX-License-Identifier: MIT
// What a trainer does with a batch: forward pass, loss, backward pass, optimizer.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/train/optimizer.hpp>
#include <segnet/train/task.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace segnet {

/// One batch among those whose gradients make one step of the optimizer.
struct step_part {
  bool first = true, last = true;
  int parts = 1;              ///< of the step: each counts 1 / parts
  double momentum_limit = 1;  ///< of running statistics, see network::forward()
  std::uint64_t seed = 0;     ///< of the layers' random numbers
};

/// What came of a step.
struct step_outcome {
  std::span<const batch_result> parts;
  bool updated = false;   ///< false: the parameters are as before, since a loss or a gradient was not finite
  bool hopeless = false;  ///< no gradient will be finite, however the loss is scaled
};

/// The steps of a network on the processor: everything is computed when it is asked for. Backends on cards
/// have one of their own (train/device_step.hpp), to which add() and update() only give work, so that a
/// trainer can prepare the next batch until it asks for the outcome.
template <class Network, class Task>
class training_step {
 public:
  using scalar = typename Network::scalar;

  /// Whether it takes batches of raw pictures, and gains from being given the next one early, by prepare().
  static constexpr bool works_ahead = false;

  training_step(Network& net, const any_optimizer& optimizer, const Task& task)
      : net_(net), task_(task, net), optimizer_(optimizer, net.parameters().size()) {}

  /// Adds the gradient of the mean loss over a batch.
  void add(const batch& images, const step_part& part) {
    if (part.first) results_.clear();
    const auto logits = net_.forward({images.images.data(), images.count, Network::input_shape},
                                     part.momentum_limit, part.seed);
    results_.push_back(task_.add_loss(images, logits, 1.0 / part.parts));
    net_.backward(!part.first);
  }

  /// One step of the optimizer, unless a loss was not finite; `steps` have been taken before.
  void update(double rate, std::int64_t steps) {
    updated_ = true;
    for (const batch_result& r : results_) updated_ = updated_ && std::isfinite(r.loss);
    if (updated_) optimizer_.step(net_, rate, steps);
  }

  step_outcome outcome() { return {results_, updated_}; }

  double parameter_sum() {
    const auto p = net_.parameters();
    return net_.backend().template parallel_sum<1>(p.size(), 1 << 16,
                                                   [p](std::size_t begin, std::size_t end) {
                                                     double sum = 0;
                                                     for (std::size_t i = begin; i < end; ++i)
                                                       sum += static_cast<double>(p[i]);
                                                     return std::array<double, 1>{sum};
                                                   })[0];
  }

  /// Scores validation batches with the weights of inference.
  void start_validation() { task_.start_validation(); }
  void validate(const batch& images) {
    task_.validate(images, net_.infer({images.images.data(), images.count, Network::input_shape}));
  }
  typename Task::scores validation_scores() const { return task_.validation_scores(); }

  /// What the optimizer remembers, to and from a checkpoint; see optimizer_run.
  void append_to(std::vector<stored_tensor>& tensors) const { optimizer_.append_to(tensors); }
  void read(const safetensors_file& file) { optimizer_.read(file); }

 private:
  Network& net_;
  typename Task::template runner<Network> task_;
  optimizer_run<scalar> optimizer_;
  std::vector<batch_result> results_;
  bool updated_ = false;
};

}  // namespace segnet
