// SPDX-License-Identifier: MIT
// Measures how good a trained network's masks are.
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/inference/evaluation.hpp>
#include <segnet/io/file.hpp>
#include <segnet/train/progress.hpp>

#include "carvana_checkpoint.hpp"
#include "device_options.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using namespace segnet;

namespace {

struct options {
  fs::path weights, data, csv;
  std::string split = "val";
  std::optional<double> threshold;
  bool tta = false;
  device::options device;
};

int evaluate(const options& o) {
  std::optional<file_sink> csv;  // opened first: a wrong path shows now, not after minutes of work
  if (!o.csv.empty()) csv.emplace(o.csv);
  carvana_dataset found = find_carvana(o.data);
  for (const std::string& note : found.notes) std::fprintf(stderr, "note: %s\n", note.c_str());

  carvana::loaded_network net = carvana::load_network(o.weights, o.device);
  std::vector<sample> samples = std::move(found.samples);
  if (o.split == "val") {
    samples = split_by_car(samples, net.header.val_fraction, net.header.split_seed).validation;
    const std::string& held_out = net.header.validation_pictures;
    if (!held_out.empty() && held_out != fingerprint(from_samples(samples)))
      throw file_error(
          o.data,
          "is not the set that the network was trained on, so the pictures that training held out "
          "are unknown here: score all of them with --split all");
  }
  const double threshold = o.threshold.value_or(net.header.threshold);
  std::printf("network   %s, threshold %g%s\n", net.description.c_str(), threshold,
              o.tta ? ", mean with the mirror image" : "");
  std::printf("data      %s: %zu photographs (%s)\n\n", o.data.string().c_str(), samples.size(),
              o.split.c_str());
  std::fflush(stdout);

  picture_source source = from_samples(samples);
  source.name = [&](int i) { return samples[static_cast<std::size_t>(i)].image.filename().string(); };
  progress_line progress;
  const photograph_scores scores = evaluate_photographs(
      net.segment, source,
      {.threshold = threshold, .mirrored_too = o.tta, .on_image = [&](int done, int all) {
         progress.update(std::to_string(done) + "/" + std::to_string(all));
       }});
  progress.finish(evaluation_report(scores));
  if (csv) {
    csv->write(scores_csv(scores.at_photograph_size));
    csv->commit(durability::renamed);
    std::printf("scores of each photograph at its own size: %s\n", o.csv.string().c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  options o;
  CLI::App app{
      "Compares the masks of a network that train_carvana trained with true ones, at the photographs' own "
      "size\n"
      "and at the network's: Dice (mean over photographs, percentiles, worst), IoU, pixel accuracy, "
      "precision and\n"
      "recall; and names the photographs with the lowest Dice."};
  app.footer(
      "Exit code: 0, 1 if anything failed (a photograph or mask that cannot be read, too), 2 for wrong "
      "options.\n\n"
      "Example: evaluate_carvana --weights runs/carvana-1/best.safetensors --data carvana --csv scores.csv");
  app.set_version_flag("--version", SEGNET_VERSION);
  app.add_option("--weights", o.weights, "checkpoint (.safetensors)")->required()->type_name("FILE");
  app.add_option("--data", o.data, "a folder with train/ID_VIEW.jpg and train_masks/ID_VIEW_mask.gif")
      ->required()
      ->type_name("DIR");
  app.add_option("--split", o.split,
                 "val: the cars that training held out, as the checkpoint says; all: every car")
      ->check(CLI::IsMember({"val", "all"}))
      ->capture_default_str();
  app.add_option("--csv", o.csv, "write the scores of each photograph at its own size")->type_name("FILE");
  app.add_option("--threshold", o.threshold,
                 "pixels of a higher probability are car [the checkpoint's, mostly 0.5]")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--tta", o.tta, "average over the photograph and its mirror image");
  device::add_options(app, o.device);
  app.add_option("--threads", o.device.threads, "0: as many as the machine has; scores do not depend on it")
      ->check(CLI::Range(0, 1024));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : 2;
  }
  return evaluate(o);
} catch (const std::exception& problem) {
  std::fprintf(stderr, "evaluate_carvana: %s\n", problem.what());
  return 1;
}
