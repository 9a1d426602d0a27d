// SPDX-License-Identifier: MIT
// Trains a network to tell classes apart: on generated streets, on a folder in CamVid's layout, or on the
// Kaggle Carvana set as two classes.
#include <segnet/data/mirrored_border.hpp>
#include <segnet/io/file.hpp>
#include <segnet/segmentation.hpp>

#include "segmentation_networks.hpp"
#include "training_run.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace segnet;

namespace {

struct options : training_run::options {
  std::string network{segmentation_build::networks.front()};
  std::string size, optimizer = "adam", weights = "none";
  double momentum = 0.9, weight_decay = -1;
  int scenes = 300;
  std::vector<double> class_weights;  ///< that the run was started with; none: all 1

  template <class Self, class F>
  static void each(Self& o, F&& f) {
    training_run::options::each(o, f);
    f("network", o.network);
    f("size", o.size);
    f("optimizer", o.optimizer);
    f("momentum", o.momentum);
    f("weight-decay", o.weight_decay);
    f("weights", o.weights);
    f("scenes", o.scenes);
    f("class-weights", o.class_weights);
  }
};

constexpr training_run::program self{"train_segmentation", "segmentation"};

/// The generated streets, before they are shrunk.
constexpr int generated_width = 320, generated_height = 240;
constexpr std::uint64_t generated_seed = 1;

struct class_pictures : training_run::pictures {
  std::vector<std::string> names;
  std::vector<rgb_colour> palette;
  std::string listed_in;  ///< what says which classes there are
  int classes() const { return static_cast<int>(names.size()); }
};

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

/// Counts the classes of the pictures to train with, at the network's size.
std::vector<double> median_weights(const class_pictures& source, shape input, const options& o) {
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

/// Scores the classes that `predict` finds for the pixels of each batch, and writes some of the pictures.
findings evaluate(loader& validation, const class_pictures& source, shape input, shape output,
                  const fs::path& folder,
                  const std::function<void(const batch&, std::span<std::uint8_t>)>& predict) {
  create_folder(folder);
  findings found{confusion_matrix(source.classes()), boundary_f1(source.classes())};
  const int pictures = validation.size(), shown = std::min(8, pictures);
  const shape labels{output.h, output.w, 1}, photo{output.h, output.w, 3};
  for (int b = 0, seen = 0, written = 0; b < validation.batches_per_epoch(); ++b) {
    const batch& next = validation.next();
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
                  std::size_t parameters, std::size_t bytes, double step, const training_result& result) {
  nlohmann::json json{{"network", o.network},
                      {"size", o.size},
                      {"width", segmentation_build::width},
                      {"classes", source.classes()},
                      {"parameters", parameters},
                      {"batch", o.batch},
                      {"threads", o.device.threads},
                      {"training_bytes", bytes},
                      {"step_milliseconds", nullptr},
                      {"epochs", result.epochs},
                      {"best_epoch", result.best_epoch},
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

void describe(const options& o, shape input, shape output, std::size_t parameters) {
  const auto size = [](shape s) { return std::to_string(s.h) + "x" + std::to_string(s.w); };
  std::printf("network   %s, %s -> %s for %d classes, %s parameters\n", o.network.c_str(),
              size(input).c_str(), size(output).c_str(), output.c, with_thousands(parameters).c_str());
  if (o.optimizer == "adam")
    std::printf("optimizer adam, learning rate %g, weight decay %g, %s\n", o.rate, o.weight_decay,
                o.schedule.c_str());
  else
    std::printf("optimizer sgd, learning rate %g, momentum %g, weight decay %g, %s\n", o.rate, o.momentum,
                o.weight_decay, o.schedule.c_str());
}

/// The header of a checkpoint, with the classes.
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

template <class Definition, class Backend>
int train(options o, const network_options& with, class_pictures source, segmentation::size size) {
  using network_t = network<Definition, Backend>;
  constexpr shape input = network_t::input_shape, output = network_t::output_shape;
  if (input.pixels() != output.pixels()) {
    // What the padding of other networks does: all of the picture is classified, and the pixels around it are
    // its mirror image.
    for (picture_source* part : {&source.train, &source.validation})
      *part = with_mirrored_border(std::move(*part), size.h, size.w, input.h, input.w);
  }
  training_run::remember_pictures(o, source);
  if (o.weights == "median" && o.class_weights.empty()) o.class_weights = median_weights(source, input, o);
  const any_optimizer optimizer =
      o.optimizer == "adam" ? any_optimizer(adam{.weight_decay = o.weight_decay})
                            : any_optimizer(sgd{.momentum = o.momentum, .weight_decay = o.weight_decay});
  describe(o, input, output, network_t::parameter_count);

  std::vector<double> steps;  // milliseconds, the mean of each epoch
  const auto curves = [&](event_writer& events, const epoch_report<class_task>& e) {
    events.scalar("training/loss", e.loss, e.epoch);
    events.scalar("training/accuracy", e.score, e.epoch);
    events.scalar("training/rate", e.rate, e.epoch);
    events.scalar("validation/mean_iou", e.validation.mean_iou, e.epoch);
    events.scalar("validation/global_accuracy", e.validation.global_accuracy, e.epoch);
    if (e.images_per_second > 0) steps.push_back(1000.0 * o.batch * o.accumulate / e.images_per_second);
  };
  const auto finish = [&](network_t& net, const training_result& result, loader& validation) {
    const findings found = evaluate(
        validation, source, input, output, o.out / "unseen", [&](const batch& b, std::span<std::uint8_t> to) {
          highest_classes(net.backend(), net.infer({b.images.data(), b.count, input}), to);
        });
    std::printf("\nvalidation with the weights of epoch %d (%s)\n%s", result.best_epoch,
                (o.out / "best.safetensors").string().c_str(),
                class_table(found.counts, source.names, &found.outlines).c_str());
    if (source.classes() == 2) std::printf("mean Dice of %s: %.4f\n", source.names[1].c_str(), found.dice);
    const double step = steps.empty() ? 0 : percentile(steps, 50);
    if (step > 0) std::printf("training step: %.1f ms (median of the epochs' means)\n", step);
    write_result(o, source, found, network_t::parameter_count,
                 training_run::training_bytes(network_t::memory, o, optimizer), step, result);
    std::printf("classes of unseen pictures: %s\n", (o.out / "unseen").string().c_str());
  };
  return training_run::run<network_t>(self, o, with, source, class_task{.weights = o.class_weights},
                                      optimizer, metadata_of(o, source, input), curves, finish);
}

void complete(options& o) {
  const bool adam_used = o.optimizer == "adam";
  if (o.size.empty()) o.size = segmentation::to_text(segmentation_build::sizes.front());
  if (o.epochs == 0) o.epochs = o.data.empty() ? 10 : 40;
  if (o.rate == 0) o.rate = adam_used ? 2e-3 : 0.05;
  if (o.weight_decay < 0) o.weight_decay = adam_used ? 0 : 5e-4;
}

}  // namespace

int main(int argc, char** argv) {
  return training_run::guarded(self, [&] {
    options o;
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
    training_run::add_options(app, o, self);
    if (const auto code = training_run::parse(app, o, self, argc, argv)) return *code;
    complete(o);
    class_pictures source = find_pictures(o);
    return segmentation::with_network(
        o.network, o.size, source.classes(), source.listed_in,
        [&]<class Definition>(std::type_identity<Definition>, segmentation::size size) {
          return device::with_backend(
              o.device, [&]<class Backend>(std::type_identity<Backend>, const network_options& with) {
                return train<Definition, Backend>(o, with, std::move(source), size);
              });
        });
  });
}
