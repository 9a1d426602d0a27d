// SPDX-License-Identifier: MIT
// What the programs that train have in common: what they are asked for, and the course of a run.
#pragma once

#include <segnet/data/loader.hpp>
#include <segnet/io/file.hpp>
#include <segnet/io/tensorboard.hpp>
#include <segnet/memory/machine_memory.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/network.hpp>
#include <segnet/network/summary.hpp>
#include <segnet/train/trainer.hpp>

#include "device.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace training_run {

namespace fs = std::filesystem;
using namespace segnet;

inline constexpr int exit_interrupted = 130;

/// Chooses the pictures that are held out. Fixed, so that runs with different --seed can be compared.
inline constexpr std::uint64_t split_seed = 1;

/// A checkpoint's metadata hold the run's options under this name.
inline constexpr const char* options_key = "training_options";

/// Those of every program that trains; each derives its own from them.
struct options {
  fs::path data, out, resume;
  std::string schedule = "one-cycle", augment = "on";
  int batch = 8, accumulate = 1, epochs = 0, patience = 0;
  device::options device;  // a run may go on elsewhere
  double rate = 0, val_fraction = 0.2;
  std::uint64_t seed = 1;
  std::string pictures;  ///< fingerprint() of those that the run was started with

  /// Calls f(name, value) for what a resumed run takes from its checkpoint: all that its course depends on,
  /// but for --data.
  template <class Self, class F>
  static void each(Self& o, F&& f) {
    f("batch", o.batch);
    f("accumulate", o.accumulate);
    f("epochs", o.epochs);
    f("lr", o.rate);
    f("schedule", o.schedule);
    f("augment", o.augment);
    f("val-fraction", o.val_fraction);
    f("patience", o.patience);
    f("seed", o.seed);
    f("pictures", o.pictures);
  }
};

/// What a program is called, and its runs' folders: runs/carvana-1, ...
struct program {
  const char* name;
  const char* folder;
};

template <class Options>
nlohmann::json to_json(const Options& o, const program& self) {
  nlohmann::json json{{"program", self.name}, {"data", o.data.string()}};
  Options::each(o, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

struct pictures {
  picture_source train, validation;
  std::string description;
};

/// Remembers which pictures a run has; throws file_error where those of the run to resume are others.
inline void remember_pictures(options& o, const pictures& source) {
  const std::string found = fingerprint(source.train) + fingerprint(source.validation);
  if (!o.pictures.empty() && o.pictures != found)
    throw file_error(o.data, "the pictures are not those that the run was started with");
  o.pictures = found;
}

/// What a checkpoint says of the network, and what of the pictures that are held out.
inline checkpoint_metadata metadata_of(checkpoint_header header, const options& o, const pictures& source) {
  header.val_fraction = o.val_fraction;
  header.split_seed = split_seed;
  header.validation_pictures = fingerprint(source.validation);
  return header.to_metadata();
}

/// Bytes of the network and its optimizer. (The plan counts Adam's two moments, SGD has one velocity.)
inline std::size_t training_bytes(const memory_plan& plan, const options& o, const any_optimizer& optimizer) {
  const std::size_t unused = std::holds_alternative<sgd>(optimizer) ? plan.parameters : 0;
  return plan.training_bytes(o.batch, o.device.is_card() ? 1 : o.device.threads) - unused;
}

/// Says what the run will need; returns the bytes for keeping shrunken pictures. Throws argument_error where
/// the pictures are too few.
inline std::size_t plan_memory(const memory_plan& plan, shape input, const options& o, const pictures& source,
                               const any_optimizer& optimizer) {
  if (source.train.size < o.batch)  // the loader would have no whole batch
    throw argument_error("--batch: found " + std::to_string(o.batch) + ", but there are only " +
                         std::to_string(source.train.size) +
                         " pictures to train with: " + source.description);
  const bool adam_used = std::holds_alternative<adam>(optimizer);
  const std::size_t needed = training_bytes(plan, o, optimizer), available = available_memory();
  const std::string where =
      o.device.is_card() ? "on the card" : std::to_string(o.device.threads) + " threads";
  std::printf("data      %s: %d pictures to train, %d to validate\n", source.description.c_str(),
              source.train.size, source.validation.size);
  std::printf("memory    %s: weights %s, gradients and %s %s, %d x %s for the images; %s\n",
              in_mebibytes(needed).c_str(), in_mebibytes(plan.parameters).c_str(), adam_used ? "Adam" : "SGD",
              in_mebibytes((adam_used ? 3 : 2) * plan.parameters).c_str(), o.batch,
              in_mebibytes(plan.training_per_image).c_str(), where.c_str());
  // What is left after the network must do for others, too.
  const std::size_t budget =
      std::min(2_GiB, (available - (o.device.is_card() ? 0 : std::min(needed, available))) / 2);
  const std::size_t picture_bytes = shape{input.h, input.w, 4}.size();
  const auto all = static_cast<std::size_t>(source.train.size + source.validation.size);
  const std::size_t fitting = std::min(all, budget / picture_bytes);
  std::printf("cache     %s: %zu of %zu pictures fit%s\n", in_mebibytes(fitting * picture_bytes).c_str(),
              fitting, all, fitting < all ? ", the others are decoded in every epoch" : "");
  std::printf("output    %s\n", o.out.string().c_str());
  std::fflush(stdout);
  return budget;
}

template <class Options>
training_options trainer_options(const program& self, const Options& o, const any_optimizer& optimizer,
                                 checkpoint_metadata metadata) {
  training_options how{.epochs = o.epochs,
                       .accumulate = o.accumulate,
                       .optimizer = optimizer,
                       .patience = o.patience,
                       .seed = o.seed,
                       .folder = o.out,
                       .metadata = std::move(metadata)};
  how.metadata[options_key] = to_json(o, self).dump();
  how.schedule.kind = parse_schedule(o.schedule);
  how.schedule.peak = o.rate;
  return how;
}

/// What a run calls after each epoch, and at the end, with the loader of the pictures to validate with.
template <class Task>
using epoch_function = std::function<void(event_writer&, const epoch_report<Task>&)>;
using end_function = std::function<void(const training_result&, loader&)>;

/// The course of a run: compiled once for a task, whatever the network. `budget` bytes may be taken to keep
/// shrunken pictures. Returns the program's exit code.
template <class Task>
int follow(training_loop<Task>& train, const shape& input, bool on_device, const options& o,
           const pictures& source, std::size_t budget,
           const std::type_identity_t<epoch_function<Task>>& curves, const end_function& finish) {
  if (train.state().best_epoch > 0 && !fs::exists(train.best_file()))
    throw file_error(train.best_file(), "is missing: it holds the best weights of the run to resume");

  loader_options load{.height = input.h,
                      .width = input.w,
                      .batch_size = o.batch,
                      .labels = Task::labels,
                      .drop_last = true,
                      .seed = o.seed,
                      // Decoding must not starve a network that computes on the same processor.
                      .workers = std::max(1, o.device.threads / (on_device ? 1 : 2))};
  if (o.augment == "on") load.augment = augment_options{};
  // A card makes its own of pictures faster than they can be copied to it.
  load.raw = on_device;
  train.start(load);
  load.cache_bytes =
      std::min(budget, static_cast<std::size_t>(source.train.size) * shape{input.h, input.w, 4}.size());
  loader training(source.train, load);
  loader validation(source.validation, {.height = input.h,
                                        .width = input.w,
                                        .batch_size = o.batch,
                                        .labels = Task::labels,
                                        .raw = load.raw,
                                        .shuffle = false,
                                        .cache_bytes = budget - load.cache_bytes});

  event_writer events(o.out);
  train.on_epoch = [&](const epoch_report<Task>& e) { curves(events, e); };
  const training_result result = train.run(training, validation);
  if (result.how == training_result::end::interrupted) return exit_interrupted;
  if (result.how == training_result::end::stopped_early)
    std::printf("stopped early: no better validation %s for %d epochs\n", Task::validation_score, o.patience);
  finish(result, validation);
  return 0;
}

/// A whole run: trains from the beginning or from where --resume left it. `with` are the backend's options
/// for the network; `finish(network&, const training_result&, loader& validation)` finds the best weights in
/// it. Returns the program's exit code.
template <class Network, class Options, class Task, class Finish>
int run(const program& self, const Options& o, network_options with, const pictures& source, const Task& task,
        const any_optimizer& optimizer, checkpoint_metadata metadata,
        const std::type_identity_t<epoch_function<Task>>& curves, Finish finish) {
  constexpr shape input = Network::input_shape;
  const std::size_t budget = plan_memory(Network::memory, input, o, source, optimizer);
  with.batch = o.batch;
  Network net(with);
  create_folder(o.out);
  trainer train(net, trainer_options(self, o, optimizer, std::move(metadata)), task);
  if (o.resume.empty())
    net.initialise(o.seed);
  else
    train.resume(safetensors_file(o.resume));
  return follow<Task>(train, input, Network::backend_type::on_device, o, source, budget, curves,
                      [&](const training_result& result, loader& validation) {
                        load_checkpoint(safetensors_file(train.best_file()), net);
                        finish(net, result, validation);
                      });
}

}  // namespace training_run
