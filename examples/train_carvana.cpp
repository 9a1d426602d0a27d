// SPDX-License-Identifier: MIT
// Trains a network to cut cars out of studio photographs: on generated ones, or on the Kaggle Carvana set.
#include <segnet/carvana.hpp>

#include "carvana_networks.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>

namespace fs = std::filesystem;
using namespace segnet;

namespace {

struct options {
  fs::path data, out, resume;
  std::string variant = "7-2-7-1", schedule = "one-cycle", augment = "on", boundary_weight = "off";
  int size = 128, batch = 8, accumulate = 1, epochs = 0, patience = 0, threads = 0;
  double rate = 5e-3, val_fraction = 0.2;
  std::uint64_t seed = 1;
  std::string pictures;  ///< fingerprint() of those that the run was started with

  /// What a resumed run takes from its checkpoint: everything that its course depends on.
  nlohmann::json to_json() const {
    return {{"data", data.string()},
            {"variant", variant},
            {"size", size},
            {"batch", batch},
            {"accumulate", accumulate},
            {"epochs", epochs},
            {"lr", rate},
            {"schedule", schedule},
            {"augment", augment},
            {"boundary-weight", boundary_weight},
            {"val-fraction", val_fraction},
            {"patience", patience},
            {"seed", seed},
            {"pictures", pictures}};
  }
};

constexpr const char* options_key = "training_options";
constexpr int exit_wrong_options = 2, exit_interrupted = 130;

/// Chooses the cars that are held out. Fixed, so that runs with different --seed can be compared.
constexpr std::uint64_t split_seed = 1;

/// The generated data set: all 16 views of each of these cars.
constexpr int generated_cars = 20, generated_width = 480, generated_height = 320;

struct pictures {
  picture_source train, validation;
  std::string description;
};

pictures find_pictures(const options& o) {
  if (o.data.empty()) {
    const int held_out =
        std::clamp(static_cast<int>(std::lround(generated_cars * o.val_fraction)), 1, generated_cars - 1);
    const int kept = generated_cars - held_out;
    return {synthetic_source(split_seed, 0, kept, generated_width, generated_height),
            synthetic_source(split_seed, kept, held_out, generated_width, generated_height),
            "generated photographs of " + std::to_string(kept) + " + " + std::to_string(held_out) + " cars"};
  }
  carvana_dataset found = find_carvana(o.data);
  for (const std::string& note : found.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  carvana_split split = split_by_car(found.samples, o.val_fraction, split_seed);
  return {from_samples(std::move(split.train)), from_samples(std::move(split.validation)), o.data.string()};
}

/// Masks and overlays of a few pictures that training never saw.
void show_some(segmenter& segment, const picture_source& source, const fs::path& folder) {
  fs::create_directories(folder);
  const int count = std::min(8, source.size);
  for (int i = 0; i < count; ++i) {
    // Spread over the cars and, since a car's views follow one another, over the views.
    const labelled_photo pair = source.read((i * source.size / count + i) % source.size);
    const image mask = to_mask(segment.probability(pair.photo), pair.photo.width, pair.photo.height, 0.5);
    const fs::path stem = folder / ("unseen_" + std::to_string(i));
    write_png(stem.string() + "_photo.png", pair.photo);
    write_png(stem.string() + "_mask.png", mask);
    write_png(stem.string() + "_overlay.png", overlay(pair.photo, mask));
  }
}

template <class Definition>
int train(options o) {
  using network_t = network<Definition>;
  const pictures source = find_pictures(o);
  const std::string found = fingerprint(source.train) + fingerprint(source.validation);
  if (!o.pictures.empty() && o.pictures != found)
    throw file_error(o.data, "the pictures are not those that the run was started with");
  o.pictures = found;
  loader_options load{.height = o.size,
                      .width = o.size,
                      .batch_size = o.batch,
                      .drop_last = true,
                      .seed = o.seed,
                      .workers = std::max(1, o.threads / 2)};  // decoding must not starve the network
  if (o.augment == "on") load.augment = augment_options{};

  std::printf("network   carvana %s, %dx%d, %s parameters\n", o.variant.c_str(), o.size, o.size,
              with_thousands(network_t::parameter_count).c_str());
  std::printf("data      %s: %d pictures to train, %d to validate\n", source.description.c_str(),
              source.train.size, source.validation.size);
  constexpr memory_plan plan = network_t::memory;
  std::printf("memory    %s: weights %s, gradients and Adam %s, %d x %s for the images; %d threads\n",
              in_mebibytes(plan.training_bytes(o.batch, o.threads)).c_str(),
              in_mebibytes(plan.parameters).c_str(), in_mebibytes(3 * plan.parameters).c_str(), o.batch,
              in_mebibytes(plan.training_per_image).c_str(), o.threads);
  // What is left after the network must do for others, too.
  const std::size_t needed = plan.training_bytes(o.batch, o.threads), available = available_memory();
  const std::size_t budget = std::min(2_GiB, (available - std::min(needed, available)) / 2);
  const std::size_t picture_bytes = shape{o.size, o.size, 4}.size();
  const auto all = static_cast<std::size_t>(source.train.size + source.validation.size);
  const std::size_t fitting = std::min(all, budget / picture_bytes);
  std::printf("cache     %s: %zu of %zu pictures fit%s\n", in_mebibytes(fitting * picture_bytes).c_str(),
              fitting, all, fitting < all ? ", the others are decoded in every epoch" : "");
  std::printf("output    %s\n", o.out.string().c_str());
  std::fflush(stdout);
  network_t net({.batch = o.batch, .threads = o.threads});
  fs::create_directories(o.out);

  checkpoint_header header = carvana::header_of<Definition>(o.variant, o.size);
  header.val_fraction = o.val_fraction;
  header.split_seed = split_seed;
  header.validation_pictures = fingerprint(source.validation);
  training_options how{.epochs = o.epochs,
                       .accumulate = o.accumulate,
                       .patience = o.patience,
                       .folder = o.out,
                       .metadata = header.to_metadata()};
  how.metadata[options_key] = o.to_json().dump();
  how.schedule.kind = parse_schedule(o.schedule);
  how.schedule.peak = o.rate;

  trainer run(net, how, mask_task{.boundary_weighted = o.boundary_weight == "on"});
  if (o.resume.empty())
    net.initialise(o.seed);
  else
    run.resume(safetensors_file(o.resume));
  if (run.state().best_epoch > 0 && !fs::exists(run.best_file()))
    throw file_error(run.best_file(), "is missing: it holds the best weights of the run to resume");
  run.start(load);
  load.cache_bytes = std::min(budget, static_cast<std::size_t>(source.train.size) * picture_bytes);
  loader training(source.train, load);
  loader validation(source.validation, {.height = o.size,
                                        .width = o.size,
                                        .batch_size = o.batch,
                                        .shuffle = false,
                                        .cache_bytes = budget - load.cache_bytes});

  event_writer curves(o.out);
  run.on_epoch = [&](const epoch_report<>& e) {
    curves.scalar("training/loss", e.loss, e.epoch);
    curves.scalar("training/dice", e.score, e.epoch);
    curves.scalar("training/rate", e.rate, e.epoch);
    curves.scalar("validation/dice", e.validation.dice, e.epoch);
    curves.scalar("validation/iou", e.validation.iou, e.epoch);
  };
  const training_result result = run.run(training, validation);
  if (result.how == training_result::end::interrupted) return exit_interrupted;
  if (result.how == training_result::end::stopped_early)
    std::printf("stopped early: no better validation Dice for %d epochs\n", o.patience);

  load_checkpoint(safetensors_file(run.best_file()), net);
  segmenter segment(net);
  const photograph_scores scores = evaluate_photographs(segment, source.validation);
  std::printf(
      "\nvalidation with the weights of epoch %d (%s)\n%s", result.best_epoch,
      run.best_file().string().c_str(),
      summary_table(std::vector<summary_row>{{scores.network_size, summarise(scores.at_network_size)},
                                             {scores.photograph_size, summarise(scores.at_photograph_size)}})
          .c_str());
  show_some(segment, source.validation, o.out / "unseen");
  std::printf("masks and overlays of unseen pictures: %s\n", (o.out / "unseen").string().c_str());
  return 0;
}

/// runs/carvana-1, -2, ...: the first that does not exist.
fs::path new_folder() {
  for (int i = 1;; ++i)
    if (const fs::path folder = fs::path("runs") / ("carvana-" + std::to_string(i)); !fs::exists(folder))
      return folder;
}

/// A resumed run goes on with the options that it was started with; one given again must be the same.
void take_options(options& o, const CLI::App& app) {
  const safetensors_file file(o.resume);
  const auto found = file.metadata().find(options_key);
  if (found == file.metadata().end())
    throw file_error(o.resume,
                     "was not written by train_carvana: a run is resumed from its last.safetensors");
  try {
    const nlohmann::json stored = nlohmann::json::parse(found->second), asked = o.to_json();
    for (const auto& [key, value] : stored.items())
      if (key != "data" && key != "pictures" && app.count("--" + key) > 0 && asked.at(key) != value)
        throw argument_error("--" + key + ": found " + asked.at(key).dump() + ", but the run to resume has " +
                             value.dump());
    if (app.count("--data") == 0) o.data = stored.at("data").get<std::string>();
    stored.at("variant").get_to(o.variant);
    stored.at("size").get_to(o.size);
    stored.at("batch").get_to(o.batch);
    stored.at("accumulate").get_to(o.accumulate);
    stored.at("epochs").get_to(o.epochs);
    stored.at("lr").get_to(o.rate);
    stored.at("schedule").get_to(o.schedule);
    stored.at("augment").get_to(o.augment);
    stored.at("boundary-weight").get_to(o.boundary_weight);
    stored.at("val-fraction").get_to(o.val_fraction);
    stored.at("patience").get_to(o.patience);
    stored.at("seed").get_to(o.seed);
    stored.at("pictures").get_to(o.pictures);
  } catch (const nlohmann::json::exception& problem) {
    throw file_error(o.resume, std::string("its training options are damaged: ") + problem.what());
  }
  const fs::path folder = fs::absolute(o.resume).parent_path();
  if (!o.out.empty() && !(fs::exists(o.out) && fs::equivalent(o.out, folder)))
    throw argument_error("--out: found " + o.out.string() + ", but a resumed run goes on in its own folder " +
                         folder.string());
  o.out = folder;
}

}  // namespace

int main(int argc, char** argv) try {
  options o;
  CLI::App app{
      "Trains a network to cut cars out of studio photographs. Without --data it generates its own."};
  app.footer(
      "Two checkpoints are kept in the output folder: best.safetensors, for infer_carvana and "
      "evaluate_carvana, and\n"
      "last.safetensors, for --resume. Ctrl-C finishes the step, saves and leaves.\n\n"
      "Exit code: 0, 1 if anything failed, 2 for wrong options, 130 when interrupted, after saving.\n\n"
      "Examples: train_carvana --data carvana --size 256 --batch 4 --out runs/carvana-256\n"
      "          train_carvana --resume runs/carvana-256/last.safetensors");
  app.set_version_flag("--version", SEGNET_VERSION);
  app.option_defaults()->always_capture_default();
  app.add_option("--data", o.data, "Kaggle's Carvana set: a folder with train/ and train_masks/")
      ->type_name("DIR");
  app.add_option("--variant", o.variant, "7-2-7-1, 6-2-6-1, or lite (7-2-7-1 with a quarter of the filters)");
  app.add_option("--size", o.size, "pictures are shrunk to SIZE x SIZE pixels");
  app.add_option("--batch", o.batch, "pictures in one batch")->check(CLI::PositiveNumber);
  app.add_option("--accumulate", o.accumulate, "batches whose gradients make one step")
      ->check(CLI::PositiveNumber);
  app.add_option("--epochs", o.epochs, "passes over the training pictures")
      ->check(CLI::PositiveNumber)
      ->default_str("40 with --data, else 6");
  app.add_option("--lr", o.rate, "highest learning rate of Adam")->check(CLI::PositiveNumber);
  app.add_option("--schedule", o.schedule,
                 "of the learning rate: constant, cosine, plateau, one-cycle, poly, step");
  app.add_option("--augment", o.augment, "random flips, shifts, scales and colours")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--boundary-weight", o.boundary_weight, "pixels near the outline count three times")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--val-fraction", o.val_fraction, "part of the cars that is held out for validation")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--patience", o.patience, "stop after so many epochs without improvement; 0: never")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--threads", o.threads, "0: as many as the machine has; results do not depend on it")
      ->check(CLI::Range(0, 1024));
  app.add_option("--seed", o.seed, "of weights, order and augmentation");
  app.add_option("--out", o.out, "folder for checkpoints, curves (TensorBoard) and pictures")
      ->type_name("DIR")
      ->default_str("runs/carvana-N");
  app.add_option("--resume", o.resume, "a run's last.safetensors: continue it as if it had never stopped")
      ->type_name("FILE");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : exit_wrong_options;
  }

  // As it is stored, for a run to be resumed from anywhere.
  if (!o.data.empty()) o.data = fs::absolute(o.data).lexically_normal();
  if (!o.resume.empty()) take_options(o, app);
  if (o.threads == 0) o.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (o.epochs == 0) o.epochs = o.data.empty() ? 6 : 40;
  parse_schedule(o.schedule);
  if (o.out.empty()) o.out = new_folder();
  if (o.resume.empty())
    for (const char* name : {"best.safetensors", "last.safetensors"})
      if (fs::exists(o.out / name))
        throw argument_error(
            "--out " + o.out.string() + " holds " + name +
            " of an earlier run: choose another folder, or continue that run with --resume " +
            (o.out / "last.safetensors").string());
  return carvana::with_network(
      o.variant, o.size, [&](auto definition) { return train<typename decltype(definition)::type>(o); });
} catch (const argument_error& problem) {
  std::fprintf(stderr, "train_carvana: %s\n", problem.what());
  return exit_wrong_options;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "train_carvana: %s\n", problem.what());
  return 1;
}
