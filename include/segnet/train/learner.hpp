// SPDX-License-Identifier: MIT
// A network that learns a task, as the trainer's loop sees it.
#pragma once

#include <segnet/core/shape.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/train/optimizer.hpp>
#include <segnet/train/task.hpp>
#include <segnet/train/training_step.hpp>

#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

namespace segnet::detail {

/// The steps of a network whose type is not named, so that a program with many networks compiles the loop
/// around them once for each task. See training_step for what the functions do.
template <training_task Task>
class learner {
 public:
  learner(shape input, int largest_batch, bool ahead)
      : input_shape(input), batch_size(largest_batch), works_ahead(ahead) {}
  virtual ~learner() = default;
  learner(const learner&) = delete;
  learner& operator=(const learner&) = delete;

  const shape input_shape;
  const int batch_size;    ///< at most
  const bool works_ahead;  ///< only then prepare() and forget_prepared() may be called

  virtual void prepare(const batch&) = 0;
  virtual void forget_prepared() = 0;
  virtual void add(const batch&, const step_part&) = 0;
  virtual void update(double rate, std::int64_t steps) = 0;
  virtual step_outcome outcome() = 0;
  virtual double parameter_sum() = 0;
  virtual void start_validation() = 0;
  virtual void validate(const batch&) = 0;
  virtual typename Task::scores validation_scores() const = 0;

  /// A checkpoint, with or without what the optimizer remembers.
  virtual void save(const std::filesystem::path&, const checkpoint_metadata&, bool with_training) = 0;
  virtual void load(const safetensors_file&) = 0;
};

template <class Network, class Task>
class network_learner final : public learner<Task> {
  using step_type = training_step<Network, Task>;

 public:
  network_learner(Network& net, const any_optimizer& optimizer, const Task& task)
      : learner<Task>(Network::input_shape, net.batch(), step_type::works_ahead),
        net_(net),
        step_(net, optimizer, task) {}

  void prepare([[maybe_unused]] const batch& next) override {
    if constexpr (step_type::works_ahead) step_.prepare(next);
  }
  void forget_prepared() override {
    if constexpr (step_type::works_ahead) step_.forget_prepared();
  }
  void add(const batch& images, const step_part& part) override { step_.add(images, part); }
  void update(double rate, std::int64_t steps) override { step_.update(rate, steps); }
  step_outcome outcome() override { return step_.outcome(); }
  double parameter_sum() override { return step_.parameter_sum(); }
  void start_validation() override { step_.start_validation(); }
  void validate(const batch& images) override { step_.validate(images); }
  typename Task::scores validation_scores() const override { return step_.validation_scores(); }

  void save(const std::filesystem::path& file, const checkpoint_metadata& metadata,
            bool with_training) override {
    std::vector<stored_tensor> more;
    if (with_training) step_.append_to(more);
    save_checkpoint(file, net_, metadata, std::move(more));
  }
  void load(const safetensors_file& file) override {
    load_checkpoint(file, net_);
    step_.read(file);
  }

 private:
  Network& net_;
  step_type step_;
};

}  // namespace segnet::detail
