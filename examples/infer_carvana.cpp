// SPDX-License-Identifier: MIT
// Cuts the cars out of photographs with a trained network.
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/overlay.hpp>
#include <segnet/io/file.hpp>
#include <segnet/train/progress.hpp>

#include "carvana_checkpoint.hpp"
#include "device_options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace segnet;

namespace {

struct options {
  fs::path weights = SEGNET_CARVANA_WEIGHTS, input, output;
  std::optional<double> threshold;
  bool tta = false, overlay = false, probability = false;
  device::options device;
};

/// A photograph and what is written for it: `mask`, and beside it `stem`_overlay.png and so on.
struct job {
  fs::path photo, mask, stem;
};

/// True for `path` itself and everything below it.
bool is_within(const fs::path& path, const fs::path& folder) {
  const fs::path relative = fs::weakly_canonical(path).lexically_relative(fs::weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

bool is_hidden(const fs::path& relative) {
  return std::any_of(relative.begin(), relative.end(),
                     [](const fs::path& part) { return part.string().starts_with('.'); });
}

/// One photograph: the output is a PNG, or a folder that exists or is meant by a slash at the end.
job job_for_file(const options& o) {
  if (fs::is_directory(o.output) || !o.output.has_filename()) {
    const fs::path stem = o.output / o.input.stem();
    return {o.input, stem.string() + "_mask.png", stem};
  }
  if (const fs::path extension = o.output.extension(); extension != ".png" && extension != ".PNG")
    throw file_error(o.output,
                     "masks are PNG files: expected a name that ends in .png, or an existing folder");
  if (fs::exists(o.output) && fs::equivalent(o.input, o.output))
    throw file_error(o.output, "is the photograph itself");
  return {o.input, o.output, fs::path(o.output).replace_extension()};
}

/// Every picture below the input; the output has the same sub-folders. What earlier runs wrote to an output
/// folder within the input is no input.
std::vector<job> jobs_for_folder(const options& o) {
  if (fs::exists(o.output) && !fs::is_directory(o.output))
    throw file_error(o.output, "is a file; the input is a folder, so that a folder was expected");
  if (is_within(o.input, o.output) && is_within(o.output, o.input))
    throw file_error(o.output, "is the folder of the photographs: masks need a folder of their own");
  const bool output_in_input = is_within(o.output, o.input);
  std::vector<job> jobs;
  std::map<fs::path, fs::path> taken;
  for (const fs::path& photo : find_photographs(o.input)) {
    const fs::path relative = photo.lexically_relative(o.input);
    if (is_hidden(relative) || (output_in_input && is_within(photo, o.output))) continue;
    const fs::path stem = o.output / fs::path(relative).replace_extension();
    const fs::path mask = stem.string() + "_mask.png";
    if (!output_in_input && is_within(mask, o.input))
      throw file_error(photo, "its mask would lie among the photographs, as " + mask.string() +
                                  ": choose another output folder");
    if (const auto [other, is_new] = taken.emplace(mask, photo); !is_new)
      throw file_error(photo, "its mask would overwrite that of " + other->second.string() + ": both are " +
                                  mask.string() + "; rename one of the photographs");
    jobs.push_back({photo, mask, stem});
  }
  if (jobs.empty()) throw file_error(o.input, "no pictures besides those in the output folder");
  return jobs;
}

void segment_one(segmenter& segment, const image& photo, const job& to, const options& o, double threshold) {
  const std::vector<float> probability = segment.probability(photo, o.tta);
  const image mask = to_mask(probability, photo.width, photo.height, threshold);
  if (to.mask.has_parent_path()) create_folder(to.mask.parent_path());
  write_png(to.mask, mask);
  if (o.overlay) write_png(to.stem.string() + "_overlay.png", overlay(photo, mask));
  if (o.probability)
    write_png(to.stem.string() + "_probability.png", to_grey(probability, photo.width, photo.height));
}

/// Returns the number of photographs that failed; each was reported on stderr.
std::size_t segment_all(segmenter& segment, const std::vector<job>& jobs, const options& o,
                        double threshold) {
  const auto read = [](const fs::path& photo) { return read_image(photo); };
  progress_line progress;
  std::size_t failed = 0;
  // The next photograph is decoded while the network looks at this one.
  std::future<image> next = std::async(std::launch::async, read, jobs[0].photo);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    std::future<image> current = std::move(next);
    if (i + 1 < jobs.size()) next = std::async(std::launch::async, read, jobs[i + 1].photo);
    try {
      segment_one(segment, current.get(), jobs[i], o, threshold);
    } catch (const std::exception& problem) {
      ++failed;
      std::fprintf(stderr, "infer_carvana: %s\n", problem.what());
    }
    progress.update(std::to_string(i + 1) + "/" + std::to_string(jobs.size()));
  }
  const std::size_t written = jobs.size() - failed;
  std::string summary =
      std::to_string(written) + (written == 1 ? " mask" : " masks") + " written to " + o.output.string();
  if (failed > 0)
    summary += ", " + std::to_string(failed) + " of " + std::to_string(jobs.size()) + " photographs failed";
  progress.finish(summary);
  return failed;
}

}  // namespace

int main(int argc, char** argv) try {
  options o;
  CLI::App app{
      "Cuts the cars out of photographs with a network that train_carvana trained.\n\n"
      "A mask is a PNG of the photograph's own size, 255 where the car is and 0 elsewhere. The network's\n"
      "probabilities are enlarged to that size before the threshold is applied, so that outlines are "
      "smooth.\n"
      "The checkpoint says which network it holds and how photographs are prepared for it."};
  app.footer(
      "For a folder, NAME.jpg in a sub-folder gives NAME_mask.png in the same sub-folder of the output. "
      "Pictures\n"
      "are .jpg, .jpeg, .png and .gif files; hidden ones are skipped. One that cannot be read is reported "
      "and\n"
      "the others are done.\n\n"
      "Exit code: 0, 1 if anything failed, 2 for wrong options.\n\n"
      "Example: infer_carvana --weights runs/carvana-1/best.safetensors --input photos --output masks "
      "--overlay");
  app.set_version_flag("--version", SEGNET_VERSION);
  app.add_option("--weights", o.weights, "checkpoint (.safetensors)")
      ->default_str("data/weights/carvana-lite-512.safetensors of segnet's source")
      ->type_name("FILE");
  app.add_option("--input", o.input, "a photograph, or a folder of them and of folders")
      ->required()
      ->type_name("PATH");
  app.add_option("--output", o.output, "the mask (.png) of a photograph, or a folder")
      ->required()
      ->type_name("PATH");
  app.add_option("--threshold", o.threshold,
                 "pixels of a higher probability are car [the checkpoint's, mostly 0.5]")
      ->check(CLI::Range(0.0, 1.0));
  app.add_flag("--tta", o.tta, "average over the photograph and its mirror image; takes twice the time");
  app.add_flag("--overlay", o.overlay, "also write NAME_overlay.png: the mask painted over the photograph");
  app.add_flag("--probability", o.probability, "also write NAME_probability.png: grey, 255 = certainly car");
  device::add_options(app, o.device);
  app.add_option("--threads", o.device.threads, "0: as many as the machine has; masks do not depend on it")
      ->check(CLI::Range(0, 1024));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : 2;
  }

  // What can be wrong with the paths shows before a large checkpoint is loaded.
  if (!fs::exists(o.input)) throw file_error(o.input, "no such file or folder");
  const std::vector<job> jobs = fs::is_directory(o.input) ? jobs_for_folder(o) : std::vector{job_for_file(o)};
  carvana::loaded_network net = carvana::load_network(o.weights, o.device);
  const double threshold = o.threshold.value_or(net.header.threshold);
  std::printf("network   %s, threshold %g\n", net.description.c_str(), threshold);
  return segment_all(net.segment, jobs, o, threshold) == 0 ? 0 : 1;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "infer_carvana: %s\n", problem.what());
  return 1;
}
