// SPDX-License-Identifier: MIT
// Trains a segmentation network: epochs of steps, validation, checkpoints, early stopping, resuming.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/data/loader.hpp>
#include <segnet/train/interrupt.hpp>
#include <segnet/train/learner.hpp>
#include <segnet/train/mask_task.hpp>
#include <segnet/train/progress.hpp>
#include <segnet/train/training_options.hpp>
#include <segnet/train/training_state.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace segnet {

/// One training run of a network that learns a task: what a trainer does whatever its network. Holds what the
/// optimizer remembers; the rest of a run is the network and a training_state. All of it goes into
/// last.safetensors, from which resume() continues bit for bit as if the run had never stopped, with any
/// number of threads.
template <training_task Task>
class training_loop {
 public:
  std::function<void(const step_report&)> on_step;
  /// Called after each epoch, once its checkpoints are written.
  std::function<void(const epoch_report<Task>&)> on_epoch;

  const training_state& state() const { return state_; }

  /// Makes a loader start where this run is.
  void start(loader_options& o) const {
    o.first_epoch = state_.epoch;
    o.first_batch = state_.batch;
  }

  /// Takes over a run from the last.safetensors of the same network. Throws file_error.
  void resume(const safetensors_file& file) {
    const training_state found = training_state::from(file);
    learner_->load(file);
    state_ = found;
    options_.schedule.state = found.schedule;
  }

  /// Trains until the epochs are over, validation has not improved for `patience` epochs, or Ctrl-C (the
  /// step is finished and saved first; a validation is given up, and resuming repeats it). Throws
  /// argument_error for a loader that does not fit the network or is not where the run is, and segnet::error
  /// when the loss is not finite; the checkpoints written before stay as they are.
  training_result run(loader& training, loader& validation) {
    check_fit("training", training);
    check_fit("validation", validation);
    const interrupt_guard guard;
    if (learner_->works_ahead) learner_->forget_prepared();  // perhaps of another loader
    batches_ = training.batches_per_epoch();
    const int steps_per_epoch = (batches_ + options_.accumulate - 1) / options_.accumulate;
    total_steps_ = static_cast<std::int64_t>(steps_per_epoch) * options_.epochs;
    saved_ = clock::now();
    using enum training_result::end;
    while (state_.epoch < options_.epochs) {
      if (stale()) return result(stopped_early);
      epoch_report<Task> report;
      report.epoch = state_.epoch + 1;
      const auto started = clock::now();
      for (int images = 0; state_.batch < batches_;) {
        images += step(training, report);
        report.images_per_second = images / seconds_since(started);
        show(report, training.size());
        if (interrupt_guard::requested()) return save_interrupted();
      }
      // Reached at once where the run that is resumed was interrupted in validation.
      if (!end_epoch(report, validation, started)) return save_interrupted();
      if (interrupt_guard::requested() && state_.epoch < options_.epochs) return save_interrupted();
    }
    return result(finished);
  }

  std::filesystem::path best_file() const { return options_.folder / "best.safetensors"; }
  std::filesystem::path last_file() const { return options_.folder / "last.safetensors"; }

 protected:
  training_loop(std::unique_ptr<detail::learner<Task>> network, training_options options)
      : learner_(std::move(network)), options_(std::move(options)), progress_(options_.progress) {
    const auto positive = [](const char* what, int found) {
      if (found < 1)
        throw argument_error(std::string(what) + ": found " + std::to_string(found) +
                             ", expected at least 1");
    };
    positive("epochs", options_.epochs);
    positive("accumulate", options_.accumulate);
  }
  ~training_loop() = default;

 private:
  using clock = std::chrono::steady_clock;

  static double seconds_since(clock::time_point start) {
    return std::chrono::duration<double>(clock::now() - start).count();
  }

  /// The batches go to the network as bare pointers.
  void check_fit(const char* which, const loader& l) const {
    if (l.labels() != Task::labels)
      throw argument_error("trainer: the " + std::string(which) + " loader gives " +
                           (l.labels() ? "labels" : "masks") + ", the task expects " +
                           (Task::labels ? "labels" : "masks") + ": see loader_options::labels");
    if (l.raw() && !learner_->works_ahead)
      throw argument_error("trainer: the " + std::string(which) +
                           " loader gives raw pictures, which only a card can use: see "
                           "loader_options::raw");
    const shape expected = learner_->input_shape;
    const auto size = [](int height, int width) {
      return std::to_string(height) + "x" + std::to_string(width);
    };
    if (l.height() != expected.h || l.width() != expected.w)
      throw argument_error("trainer: the " + std::string(which) + " loader gives pictures of " +
                           size(l.height(), l.width()) + ", the network expects " +
                           size(expected.h, expected.w) + " (height x width)");
    if (l.batch_size() > learner_->batch_size)
      throw argument_error("trainer: the " + std::string(which) + " loader gives batches of " +
                           std::to_string(l.batch_size()) + ", the network was made for at most " +
                           std::to_string(learner_->batch_size));
  }

  /// One step of the optimizer; returns how many images it saw.
  int step(loader& training, epoch_report<Task>& report) {
    report.rate = options_.schedule.rate(state_.steps, total_steps_);
    const int group = std::min(options_.accumulate, batches_ - state_.batch);
    step_report done{.epoch = report.epoch, .step = state_.steps + 1, .rate = report.rate};
    int images = 0;
    for (int i = 0; i < group; ++i) {
      const batch& next = training.next();
      if (next.epoch != state_.epoch || next.number != state_.batch + i)
        throw argument_error("trainer: the training loader gave batch " + std::to_string(next.number) +
                             " of epoch " + std::to_string(next.epoch) + ", the run is at batch " +
                             std::to_string(state_.batch + i) + " of epoch " + std::to_string(state_.epoch) +
                             " (counted from 0): call start() with the loader's options before making it");
      learner_->add(next, part(i, group, state_.batch + i));
      images += next.count;
    }
    learner_->update(report.rate, state_.steps);
    if (learner_->works_ahead) {
      const bool at_the_end = state_.epoch + 1 == options_.epochs && state_.batch + group == batches_;
      // What is wrong with the next batch is no reason to lose this step: next() will say it.
      if (const batch* const ahead = at_the_end ? nullptr : training.ahead()) learner_->prepare(*ahead);
    }
    const step_outcome outcome = learner_->outcome();
    if (outcome.hopeless) fail_not_finite("gradient", std::numeric_limits<double>::infinity(), done.step);
    for (const batch_result& found : outcome.parts) {
      if (!std::isfinite(found.loss)) fail_not_finite("loss", found.loss, done.step);
      done.loss += found.loss / group;
      done.score += found.score / group;
      state_.loss_sum += found.loss;
      state_.score_sum += found.score;
    }
    state_.batch += group;
    if (outcome.updated) ++state_.steps;
    if (on_step) on_step(done);
    return images;
  }

  [[noreturn]] void fail_not_finite(const char* what, double found, std::int64_t step) const {
    std::string kept = "No checkpoint was written before";
    for (const auto& file : {best_file(), last_file()})
      if (std::filesystem::exists(file)) kept = "The last good checkpoint is " + file.string();
    throw error("the " + std::string(what) + " is not finite (" + std::to_string(found) + ") in epoch " +
                std::to_string(state_.epoch + 1) + ", step " + std::to_string(step) +
                "; a lower learning rate may help. " + kept);
  }

  /// Part `i` of a step of `group` batches, of which it is number `batch` of the epoch.
  step_part part(int i, int group, int batch) const {
    // A momentum of 0.99 would still remember the initial statistics after hundreds of steps: the window
    // grows with the run instead, until it is as long as the layers ask for.
    const std::int64_t number = static_cast<std::int64_t>(state_.epoch) * batches_ + batch;
    const auto seen = static_cast<double>(number);
    return {.first = i == 0,
            .last = i == group - 1,
            .parts = group,
            .momentum_limit = (1 + seen) / (10 + seen),
            .seed = random_stream{options_.seed, static_cast<std::uint64_t>(number)}()};
  }

  /// False, with everything as it was, when Ctrl-C stopped the validation.
  bool end_epoch(epoch_report<Task>& report, loader& validation, clock::time_point started) {
    check_parameters();
    if (!validate(validation)) return false;
    report.loss = state_.loss_sum / batches_;
    report.score = state_.score_sum / batches_;
    report.rate = options_.schedule.rate(state_.steps - 1, total_steps_);
    report.validation = learner_->validation_scores();
    const double score = Task::score(report.validation);
    report.best = score > state_.best_score;
    options_.schedule.on_epoch_end(1.0 - score);
    state_.schedule = options_.schedule.state;
    ++state_.epoch;
    state_.batch = 0;
    state_.loss_sum = state_.score_sum = 0;
    if (report.best) {
      state_.best_score = score;
      state_.best_epoch = report.epoch;
      save(best_file(), false);
    }
    const bool over = state_.epoch == options_.epochs || stale();
    if (over || seconds_since(saved_) >= options_.save_interval) save_last();
    char line[240];
    std::snprintf(line, sizeof line, "epoch %*d/%d  loss %.4f  %s %.4f | validation %s%s | %.1f img/s  %s",
                  digits(options_.epochs), report.epoch, options_.epochs, report.loss, Task::training_score,
                  report.score, Task::in_words(report.validation).c_str(), report.best ? " *" : "  ",
                  report.images_per_second, as_time(seconds_since(started)).c_str());
    progress_.finish(line);
    if (on_epoch) on_epoch(report);
    return true;
  }

  /// The last step's loss was finite before the step: nothing else has looked at what it made.
  void check_parameters() {
    if (const double sum = learner_->parameter_sum(); !std::isfinite(sum))
      fail_not_finite("sum of the parameters", sum, state_.steps);
  }

  /// Scores the validation pictures at the network's size, with the weights of inference; false after Ctrl-C.
  bool validate(loader& validation) {
    learner_->start_validation();
    for (int b = 0; b < validation.batches_per_epoch(); ++b) {
      if (interrupt_guard::requested()) return false;
      learner_->validate(validation.next());
    }
    return true;
  }

  void show(const epoch_report<Task>& report, int images) {
    const double left = options_.epochs - state_.epoch - static_cast<double>(state_.batch) / batches_;
    char line[240];
    std::snprintf(line, sizeof line, "epoch %*d/%d  batch %*d/%d  loss %.4f  %s %.4f | %.1f img/s  %s left",
                  digits(options_.epochs), report.epoch, options_.epochs, digits(batches_), state_.batch,
                  batches_, state_.loss_sum / state_.batch, Task::training_score,
                  state_.score_sum / state_.batch, report.images_per_second,
                  as_time(left * images / report.images_per_second).c_str());
    progress_.update(line);
  }
  static int digits(int number) { return static_cast<int>(std::to_string(number).size()); }

  bool stale() const {
    return options_.patience > 0 && state_.epoch - state_.best_epoch >= options_.patience;
  }

  void save_last() {
    save(last_file(), true);
    saved_ = clock::now();
  }

  void save(const std::filesystem::path& file, bool with_training) {
    check_parameters();
    checkpoint_metadata metadata = options_.metadata;
    // Of the run so far: the weights of last.safetensors are mostly others.
    if (state_.best_epoch > 0)
      metadata["metrics"] = nlohmann::json{
          {std::string("best_validation_") + Task::validation_score, state_.best_score},
          {"best_epoch",
           state_.best_epoch}}.dump();
    if (with_training) metadata[training_state::key] = state_.to_text();
    learner_->save(file, metadata, with_training);
  }

  training_result save_interrupted() {
    save_last();
    progress_.finish("interrupted in epoch " + std::to_string(state_.epoch + 1) + " after batch " +
                     std::to_string(state_.batch) + " of " + std::to_string(batches_) + "; resume from " +
                     last_file().string());
    return result(training_result::end::interrupted);
  }

  training_result result(training_result::end how) const {
    return {how, state_.best_score, state_.best_epoch, state_.epoch};
  }

  std::unique_ptr<detail::learner<Task>> learner_;
  training_options options_;
  training_state state_;
  progress_line progress_;
  int batches_ = 0;
  std::int64_t total_steps_ = 0;
  clock::time_point saved_;
};

/// The training_loop of a network, which must outlive it.
///
///     trainer masks(net, options);                                    trainer<Network, mask_task>
///     trainer classes(net, options, class_task{.weights = weights});
template <class Network, training_task Task = mask_task>
class trainer : public training_loop<Task> {
 public:
  /// The network's parameters must be initialised or loaded.
  trainer(Network& net, const training_options& options, const Task& task = {})
      : training_loop<Task>(
            std::make_unique<detail::network_learner<Network, Task>>(net, options.optimizer, task), options) {
  }
};

}  // namespace segnet
