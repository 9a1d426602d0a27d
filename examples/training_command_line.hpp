// SPDX-License-Identifier: MIT
// The command line of the programs that train; a resumed run takes its options from its checkpoint. Not in
// training_run.hpp, which is compiled for each backend: CLI11 takes seconds.
#pragma once

#include <segnet/train/schedule.hpp>

#include "device_options.hpp"
#include "training_run.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

namespace training_run {

inline constexpr int exit_wrong_options = 2;

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

}  // namespace training_run
