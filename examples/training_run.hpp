// SPDX-License-Identifier: MIT
// What the programs that train have in common: their options, which a resumed run takes from its checkpoint,
// and the course of a run.
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

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>

namespace training_run {

namespace fs = std::filesystem;
using namespace segnet;

inline constexpr int exit_wrong_options = 2, exit_interrupted = 130;

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

/// Checks an option's number. CLI11's own message for one that is not positive names the largest double, in
/// three hundred digits.
template <class F>
CLI::Validator number_that(F fits, const std::string& expected, const std::string& in_help) {
  return {[=](std::string& text) {
            char* end = nullptr;
            const double value = std::strtod(text.c_str(), &end);
            const bool whole = !text.empty() && *end == '\0';
            return whole && std::isfinite(value) && fits(value) ? std::string()
                                                                : "found " + text + ", expected " + expected;
          },
          in_help};
}

inline const CLI::Validator positive =
    number_that([](double x) { return x > 0; }, "a number above 0", "POSITIVE");
inline const CLI::Validator not_negative =
    number_that([](double x) { return x >= 0; }, "0 or a number above it", "NONNEGATIVE");
inline const CLI::Validator proper_fraction =
    number_that([](double x) { return x > 0 && x < 1; }, "a number between 0 and 1", "between 0 and 1");

/// Adds the options that need no words of the program's own.
inline void add_options(CLI::App& app, options& o, const program& self) {
  app.add_option("--batch", o.batch, "pictures in one batch")->check(positive);
  app.add_option("--accumulate", o.accumulate, "batches whose gradients make one step")->check(positive);
  app.add_option("--schedule", o.schedule,
                 "of the learning rate: constant, cosine, plateau, one-cycle, poly, step");
  app.add_option("--augment", o.augment, "random flips, shifts, scales and colours")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--patience", o.patience, "stop after so many epochs without improvement; 0: never")
      ->check(not_negative);
  device::add_options(app, o.device);
  app.add_option("--threads", o.device.threads, "0: as many as the machine has; results do not depend on it")
      ->check(CLI::Range(0, 1024));
  app.add_option("--seed", o.seed, "of weights, order, augmentation and dropout");
  app.add_option("--out", o.out, "folder for checkpoints, curves (TensorBoard) and pictures")
      ->type_name("DIR")
      ->default_str("runs/" + std::string(self.folder) + "-N");
  app.add_option("--resume", o.resume, "a run's last.safetensors: continue it as if it had never stopped")
      ->type_name("FILE");
}

template <class Options>
nlohmann::json to_json(const Options& o, const program& self) {
  nlohmann::json json{{"program", self.name}, {"data", o.data.string()}};
  Options::each(o, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

/// A resumed run goes on with the options that it was started with; one given again must be the same.
template <class Options>
void take_options(Options& o, const CLI::App& app, const program& self) {
  const safetensors_file file(o.resume);
  const auto found = file.metadata().find(options_key);
  if (found == file.metadata().end())
    throw file_error(o.resume, "was not written by " + std::string(self.name) +
                                   ": a run is resumed from its last.safetensors");
  try {
    const nlohmann::json stored = nlohmann::json::parse(found->second), asked = to_json(o, self);
    // Earlier files do not say which program wrote them.
    if (const auto writer = stored.value("program", std::string(self.name)); writer != self.name)
      throw file_error(o.resume, "was written by " + writer + ", expected a run of " + self.name);
    const auto given = [&](const std::string& key) {
      const CLI::Option* const option = app.get_option_no_throw("--" + key);
      return option != nullptr && option->count() > 0;
    };
    for (const auto& [key, value] : stored.items())
      if (key != "data" && given(key) && asked.at(key) != value)
        throw argument_error("--" + key + ": found " + asked.at(key).dump() + ", but the run to resume has " +
                             value.dump());
    if (!given("data")) o.data = stored.at("data").get<std::string>();
    Options::each(o, [&](const char* name, auto& value) { stored.at(name).get_to(value); });
  } catch (const nlohmann::json::exception& problem) {
    throw file_error(o.resume, std::string("its training options are damaged: ") + problem.what());
  }
  const fs::path folder = fs::absolute(o.resume).parent_path();
  if (!o.out.empty() && !(fs::exists(o.out) && fs::equivalent(o.out, folder)))
    throw argument_error("--out: found " + o.out.string() + ", but a resumed run goes on in its own folder " +
                         folder.string());
  o.out = folder;
}

/// runs/NAME-1, -2, ...: the first that does not exist.
inline fs::path new_folder(const std::string& name) {
  for (int i = 1;; ++i)
    if (const fs::path folder = fs::path("runs") / (name + "-" + std::to_string(i)); !fs::exists(folder))
      return folder;
}

/// Reads the command line and completes it; an exit code where there is nothing more to do.
template <class Options>
std::optional<int> parse(CLI::App& app, Options& o, const program& self, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : exit_wrong_options;
  }
  // As it is stored, for a run to be resumed from anywhere.
  if (!o.data.empty()) o.data = fs::absolute(o.data).lexically_normal();
  if (!o.resume.empty()) take_options(o, app, self);
  if (o.device.threads == 0)
    o.device.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  parse_schedule(o.schedule);
  if (o.out.empty()) o.out = new_folder(self.folder);
  if (o.resume.empty())
    for (const char* name : {"best.safetensors", "last.safetensors"})
      if (fs::exists(o.out / name))
        throw argument_error(
            "--out " + o.out.string() + " holds " + name +
            " of an earlier run: choose another folder, or continue that run with --resume " +
            (o.out / "last.safetensors").string());
  return std::nullopt;
}

/// Runs `body`, which returns an exit code; an exception becomes a message of one line and another code.
template <class F>
int guarded(const program& self, F&& body) try {
  return body();
} catch (const argument_error& problem) {
  std::fprintf(stderr, "%s: %s\n", self.name, problem.what());
  return exit_wrong_options;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "%s: %s\n", self.name, problem.what());
  return 1;
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

/// Says what the run will need; returns the bytes for keeping shrunken pictures.
inline std::size_t plan_memory(const memory_plan& plan, shape input, const options& o, const pictures& source,
                               const any_optimizer& optimizer) {
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

/// A whole run: trains from the beginning or from where --resume left it. After each epoch
/// `curves(event_writer&, const epoch_report<Task>&)`; at the end, with the best weights,
/// `finish(network&, const training_result&, loader& validation)`. `with` are the backend's options for the
/// network. Returns the program's exit code.
template <class Network, class Options, class Task, class Curves, class Finish>
int run(const program& self, const Options& o, network_options with, const pictures& source, const Task& task,
        const any_optimizer& optimizer, checkpoint_metadata metadata, Curves curves, Finish finish) {
  const shape input = Network::input_shape;
  if (source.train.size < o.batch)  // the loader would have no whole batch
    throw argument_error("--batch: found " + std::to_string(o.batch) + ", but there are only " +
                         std::to_string(source.train.size) +
                         " pictures to train with: " + source.description);
  const std::size_t budget = plan_memory(Network::memory, input, o, source, optimizer);
  with.batch = o.batch;
  Network net(with);
  create_folder(o.out);

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

  trainer train(net, how, task);
  if (o.resume.empty())
    net.initialise(o.seed);
  else
    train.resume(safetensors_file(o.resume));
  if (train.state().best_epoch > 0 && !fs::exists(train.best_file()))
    throw file_error(train.best_file(), "is missing: it holds the best weights of the run to resume");

  loader_options load{.height = input.h,
                      .width = input.w,
                      .batch_size = o.batch,
                      .labels = Task::labels,
                      .drop_last = true,
                      .seed = o.seed,
                      // Decoding must not starve a network that computes on the same processor.
                      .workers = std::max(1, o.device.threads / (o.device.is_card() ? 1 : 2))};
  if (o.augment == "on") load.augment = augment_options{};
  // A card makes its own of pictures faster than they can be copied to it.
  load.raw = Network::backend_type::on_device;
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

  load_checkpoint(safetensors_file(train.best_file()), net);
  finish(net, result, validation);
  return 0;
}

}  // namespace training_run
