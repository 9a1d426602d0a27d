// SPDX-License-Identifier: MIT
// Trains a network to tell classes apart: on generated streets, on a folder in CamVid's layout, or on the
// Kaggle Carvana set as two classes.
#include "train_segmentation.hpp"

#include <segnet/data/camvid.hpp>
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/label_picture.hpp>
#include <segnet/data/labelled_dataset.hpp>
#include <segnet/data/street.hpp>
#include <segnet/inference/class_prediction.hpp>
#include <segnet/io/file.hpp>
#include <segnet/loss/class_weights.hpp>
#include <segnet/metrics/boundary_f1.hpp>
#include <segnet/metrics/class_report.hpp>

#include "listed.hpp"
#include "segmentation_networks.hpp"
#include "training_command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace train_segmentation {

namespace fs = std::filesystem;
using namespace segnet;

namespace {

/// The generated streets, before they are shrunk.
constexpr int generated_width = 320, generated_height = 240;
constexpr std::uint64_t generated_seed = 1;

class_pictures find_streets(const options& o) {
  const int held_out = std::clamp(static_cast<int>(std::lround(o.scenes * o.val_fraction)), 1, o.scenes - 1);
  const int kept = o.scenes - held_out;
  const auto streets = [](int first, int count) {
    return street_source(generated_seed, first, count, generated_width, generated_height);
  };
  return {{streets(0, kept), streets(kept, held_out), "generated streets"},
          {camvid_names.begin(), camvid_names.end()},
          {camvid_palette.begin(), camvid_palette.end()},
          "generated streets"};
}

class_pictures find_pictures(const options& o) {
  if (o.data.empty()) return find_streets(o);
  const auto show = [](const std::vector<std::string>& notes) {
    for (const std::string& note : notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  };
  if (fs::is_directory(o.data / "train_masks")) {
    const carvana_dataset found = find_carvana(o.data);
    show(found.notes);
    carvana_split split = split_by_car(found.samples, o.val_fraction, training_run::split_seed);
    return {{masks_as_labels(from_samples(std::move(split.train))),
             masks_as_labels(from_samples(std::move(split.validation))), o.data.string()},
            {"background", "car"},
            {rgb_colour{0, 0, 0}, rgb_colour{255, 255, 255}},
            o.data.string()};
  }
  labelled_dataset found =
      find_labelled(o.data, {.fraction = o.val_fraction, .seed = training_run::split_seed});
  show(found.notes);
  return {{from_labelled(std::move(found.train), found.classes),
           from_labelled(std::move(found.validation), found.classes), o.data.string()},
          found.classes.names,
          found.classes.palette,
          found.classes.file.string()};
}

/// What the best weights are worth.
struct findings {
  confusion_matrix counts;
  boundary_f1 outlines;
  double dice = 0;  ///< of class 1, the mean over the pictures; of two classes only
};

/// One channel or three of the middle of picture i of a batch.
image picture_of(std::span<const std::uint8_t> values, int i, shape size) {
  image result(size.w, size.h, size.c);
  std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(size.size()) * i, size.size(),
              result.data.begin());
  return result;
}

/// The middle of the photographs of a batch, as a network with a smaller output sees it.
std::vector<std::uint8_t> photographs_of(const batch& b, shape input, shape output) {
  std::vector<std::uint8_t> result;
  const int top = (input.h - output.h) / 2, left = (input.w - output.w) / 2;
  for (int i = 0; i < b.count; ++i)
    for (int y = 0; y < output.h; ++y)
      for (int x = 0; x < 3 * output.w; ++x) {
        const auto pixel = (static_cast<std::size_t>(i) * static_cast<std::size_t>(input.h) +
                            static_cast<std::size_t>(top + y)) *
                               static_cast<std::size_t>(input.w) +
                           static_cast<std::size_t>(left);
        result.push_back(
            static_cast<std::uint8_t>(255 * b.images[3 * pixel + static_cast<std::size_t>(x)] + 0.5f));
      }
  return result;
}

/// A batch as floats and labels, also where its loader leaves the bytes to a card.
const batch& unpacked(const batch& b, batch& memory) {
  if (b.pictures.empty()) return b;
  memory.count = b.count;
  memory.labels.resize(b.pictures.size() / 4);
  memory.images.resize(3 * memory.labels.size());
  for (std::size_t p = 0; p < memory.labels.size(); ++p) {
    for (std::size_t c = 0; c < 3; ++c)
      memory.images[3 * p + c] = static_cast<float>(b.pictures[4 * p + c]) * (1.0f / 255.0f);
    memory.labels[p] = b.pictures[4 * p + 3];
  }
  return memory;
}

/// Scores the classes that `predict` finds for the pixels of each batch, and writes some of the pictures.
findings score(loader& validation, const class_pictures& source, shape input, shape output,
               const fs::path& folder, const class_prediction& predict) {
  create_folder(folder);
  findings found{confusion_matrix(source.classes()), boundary_f1(source.classes())};
  const int pictures = validation.size(), shown = std::min(8, pictures);
  const shape labels{output.h, output.w, 1}, photo{output.h, output.w, 3};
  batch floats;
  for (int b = 0, seen = 0, written = 0; b < validation.batches_per_epoch(); ++b) {
    const batch& next = unpacked(validation.next(), floats);
    std::vector<std::uint8_t> predicted(static_cast<std::size_t>(next.count) * labels.size()),
        truth(predicted.size());
    predict(next, predicted);
    copy_centre(next.labels, input, truth, output);
    const std::vector<std::uint8_t> photographs = photographs_of(next, input, output);
    for (int i = 0; i < next.count; ++i, ++seen) {
      const image result = picture_of(predicted, i, labels), expected = picture_of(truth, i, labels);
      confusion_matrix one(source.classes());
      one.add(result.data, expected.data);
      found.counts += one;
      found.outlines.add(result.data, expected.data, output.h, output.w);
      const auto both = static_cast<double>(one.labelled(1) + one.predicted(1));
      found.dice += (both > 0 ? 2 * static_cast<double>(one.count(1, 1)) / both : 1) / pictures;
      if (written == shown || seen < written * pictures / shown) continue;
      const fs::path stem = folder / ("unseen_" + std::to_string(written++));
      write_png(stem.string() + "_photo.png", picture_of(photographs, i, photo));
      write_png(stem.string() + "_labels.png", label_picture(result, source.palette));
      write_png(stem.string() + "_truth.png", label_picture(expected, source.palette));
    }
  }
  return found;
}

/// For a program to read; numbers that are not known are null.
void write_result(const options& o, const class_pictures& source, const findings& found,
                  const network_facts& network, const finished_run& run, double step) {
  nlohmann::json json{{"network", o.network},
                      {"size", o.size},
                      {"width", segmentation_build::width},
                      {"classes", source.classes()},
                      {"parameters", network.parameters},
                      {"batch", o.batch},
                      {"device", o.device.device},
                      {"precision", o.device.chosen_precision()},
                      {"threads", o.device.threads},
                      {"training_bytes", run.bytes},
                      {"step_milliseconds", nullptr},
                      {"epochs", run.result.epochs},
                      {"best_epoch", run.result.best_epoch},
                      {"mean_iou", found.counts.mean_iou()},
                      {"global_accuracy", found.counts.global_accuracy()},
                      {"mean_accuracy", found.counts.mean_accuracy()},
                      {"boundary_f1", found.outlines.mean()},
                      {"iou", nlohmann::json::object()}};
  if (step > 0) json["step_milliseconds"] = step;
  for (int c = 0; c < source.classes(); ++c) {
    const auto iou = found.counts.iou(c);
    json["iou"][source.names[static_cast<std::size_t>(c)]] = iou ? nlohmann::json(*iou) : nlohmann::json();
  }
  if (source.classes() == 2) json["dice"] = found.dice;
  const std::string text = json.dump(2) + "\n";
  atomic_write(o.out / "result.json", std::as_bytes(std::span(text)), durability::renamed);
}

void complete(options& o) {
  const bool adam_used = o.optimizer == "adam";
  if (o.size.empty()) o.size = segmentation::to_text(segmentation_build::sizes.front());
  if (o.epochs == 0) o.epochs = o.data.empty() ? 10 : 40;
  if (o.rate == 0) o.rate = adam_used ? 2e-3 : 0.05;
  if (o.weight_decay < 0) o.weight_decay = adam_used ? 0 : 5e-4;
}

}  // namespace

void describe(const options& o, const network_facts& network) {
  const auto size = [](shape s) { return std::to_string(s.h) + "x" + std::to_string(s.w); };
  std::printf("network   %s, %s -> %s for %d classes, %s parameters\n", o.network.c_str(),
              size(network.input).c_str(), size(network.output).c_str(), network.output.c,
              with_thousands(network.parameters).c_str());
  if (o.optimizer == "adam")
    std::printf("optimizer adam, learning rate %g, weight decay %g, %s\n", o.rate, o.weight_decay,
                o.schedule.c_str());
  else
    std::printf("optimizer sgd, learning rate %g, momentum %g, weight decay %g, %s\n", o.rate, o.momentum,
                o.weight_decay, o.schedule.c_str());
}

std::vector<double> median_weights(const options& o, const class_pictures& source, shape input) {
  loader all(source.train, {.height = input.h,
                            .width = input.w,
                            .batch_size = 1,  // what counts is in how many pictures a class occurs
                            .labels = true,
                            .shuffle = false,
                            .workers = o.device.threads,
                            .cache_bytes = 0});
  class_counts counts(source.classes());
  for (int i = 0; i < all.size(); ++i) counts.add(all.next().labels);
  if (std::ranges::all_of(counts.pixels(), [](std::uint64_t pixels) { return pixels == 0; }))
    throw file_error(o.data, "--weights median: all pixels of the pictures to train with are ignored");
  return median_frequency_weights(counts);
}

checkpoint_metadata metadata_of(const options& o, const class_pictures& source, shape input) {
  checkpoint_header header;
  header.network = o.network;
  header.filters = std::to_string(segmentation_build::width);
  header.height = input.h;
  header.width = input.w;
  checkpoint_metadata metadata = training_run::metadata_of(header, o, source);
  metadata["class_names"] = nlohmann::json(source.names).dump();
  metadata["class_colours"] = nlohmann::json(source.palette).dump();
  return metadata;
}

void write_curves(event_writer& events, const epoch_report<class_task>& e) {
  events.scalar("training/loss", e.loss, e.epoch);
  events.scalar("training/accuracy", e.score, e.epoch);
  events.scalar("training/rate", e.rate, e.epoch);
  events.scalar("validation/mean_iou", e.validation.mean_iou, e.epoch);
  events.scalar("validation/global_accuracy", e.validation.global_accuracy, e.epoch);
}

void evaluate(const options& o, const class_pictures& source, const network_facts& network,
              const finished_run& run, loader& validation, const class_prediction& predict) {
  const findings found = score(validation, source, network.input, network.output, o.out / "unseen", predict);
  std::printf("\nvalidation with the weights of epoch %d (%s)\n%s", run.result.best_epoch,
              (o.out / "best.safetensors").string().c_str(),
              class_table(found.counts, source.names, &found.outlines).c_str());
  if (source.classes() == 2) std::printf("mean Dice of %s: %.4f\n", source.names[1].c_str(), found.dice);
  const double step = run.steps.empty() ? 0 : percentile(run.steps, 50);
  if (step > 0) std::printf("training step: %.1f ms (median of the epochs' means)\n", step);
  write_result(o, source, found, network, run, step);
  std::printf("classes of unseen pictures: %s\n", (o.out / "unseen").string().c_str());
}

}  // namespace train_segmentation

int main(int argc, char** argv) {
  return training_run::guarded(train_segmentation::self, [&] {
    train_segmentation::options o;
    CLI::App app{
        "Trains a network to tell classes apart. Without --data it generates streets with CamVid's classes."};
    app.footer(
        "In the output folder: best.safetensors, last.safetensors for --resume, curves for TensorBoard, "
        "result.json,\n"
        "and unseen/ with photographs, the classes found and the true ones. Ctrl-C finishes the step, saves "
        "and leaves.\n\n"
        "Exit code: 0, 1 if anything failed, 2 for wrong options, 130 when interrupted, after saving.\n\n"
        "Examples: train_segmentation --network fcn-8s --data camvid --out runs/fcn\n"
        "          train_segmentation --resume runs/fcn/last.safetensors");
    app.set_version_flag("--version", SEGNET_VERSION);
    app.option_defaults()->always_capture_default();
    app.add_option("--data", o.data,
                   "a folder in CamVid's layout (train/, trainannot/, ... or images/, labels/), or Kaggle's "
                   "Carvana set (train/, train_masks/)")
        ->type_name("DIR");
    app.add_option("--scenes", o.scenes, "generated streets, without --data")
        ->check(CLI::Range(2, 1'000'000));
    app.add_option("--network", o.network,
                   listed(segmentation_build::networks, ", ", [](auto name) { return std::string(name); }));
    app.add_option("--size", o.size, "pictures are resized to HEIGHTxWIDTH pixels")
        ->default_str(segmentation::to_text(segmentation_build::sizes.front()));
    app.add_option("--epochs", o.epochs, "passes over the training pictures")
        ->check(training_run::positive)
        ->default_str("40 with --data, else 10");
    app.add_option("--optimizer", o.optimizer, "adam, or sgd as in the papers")
        ->check(CLI::IsMember({"adam", "sgd"}));
    app.add_option("--lr", o.rate, "highest learning rate")
        ->check(training_run::positive)
        ->default_str("0.002 for adam, 0.05 for sgd");
    app.add_option("--momentum", o.momentum, "of sgd")->check(CLI::Range(0.0, 1.0));
    app.add_option("--weight-decay", o.weight_decay, "decoupled with adam, L2 with sgd")
        ->check(training_run::not_negative)
        ->default_str("0 for adam, 0.0005 for sgd");
    app.add_option("--weights", o.weights,
                   "of the classes in the loss: none, or median (frequency balancing)")
        ->check(CLI::IsMember({"median", "none"}));
    app.add_option("--val-fraction", o.val_fraction,
                   "part of the pictures (Carvana: cars) held out where the folder names none")
        ->check(training_run::proper_fraction);
    training_run::add_options(app, o, train_segmentation::self);
    if (const auto code = training_run::parse(app, o, train_segmentation::self, argc, argv)) return *code;
    train_segmentation::complete(o);
    return device::with_backend(
        o.device, [&]<class Backend>(std::type_identity<Backend>, const segnet::network_options& with) {
          return train_segmentation::train_on<Backend>(o, with, train_segmentation::find_pictures(o));
        });
  });
}
