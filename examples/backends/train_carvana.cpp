// SPDX-License-Identifier: MIT
// Trains every network of the Carvana programs, on the backend SEGNET_BACKEND.
#include <segnet/carvana.hpp>
#include <segnet/io/file.hpp>

#include "../carvana_networks.hpp"
#include "../train_carvana.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <type_traits>

namespace train_carvana {

namespace fs = std::filesystem;
using namespace segnet;

namespace {

/// The generated data set: all 16 views of each of these cars.
constexpr int generated_cars = 20, generated_width = 480, generated_height = 320;

training_run::pictures find_pictures(const options& o) {
  if (o.data.empty()) {
    const int held_out =
        std::clamp(static_cast<int>(std::lround(generated_cars * o.val_fraction)), 1, generated_cars - 1);
    const int kept = generated_cars - held_out;
    return {synthetic_source(training_run::split_seed, 0, kept, generated_width, generated_height),
            synthetic_source(training_run::split_seed, kept, held_out, generated_width, generated_height),
            "generated photographs of " + std::to_string(kept) + " + " + std::to_string(held_out) + " cars"};
  }
  carvana_dataset found = find_carvana(o.data);
  for (const std::string& note : found.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  carvana_split split = split_by_car(found.samples, o.val_fraction, training_run::split_seed);
  return {from_samples(std::move(split.train)), from_samples(std::move(split.validation)), o.data.string()};
}

/// Masks and overlays of a few pictures that training never saw.
void show_some(segmenter& segment, const picture_source& source, const fs::path& folder) {
  create_folder(folder);
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

template <class Definition, class Backend>
int train(options o, const network_options& with) {
  using network_t = network<Definition, Backend>;
  const training_run::pictures source = find_pictures(o);
  training_run::remember_pictures(o, source);
  std::printf("network   carvana %s, %dx%d, %s parameters\n", o.variant.c_str(), o.size, o.size,
              with_thousands(network_t::parameter_count).c_str());

  const checkpoint_metadata metadata =
      training_run::metadata_of(carvana::header_of<Definition>(o.variant, o.size), o, source);
  const auto curves = [](event_writer& events, const epoch_report<>& e) {
    events.scalar("training/loss", e.loss, e.epoch);
    events.scalar("training/dice", e.score, e.epoch);
    events.scalar("training/rate", e.rate, e.epoch);
    events.scalar("validation/dice", e.validation.dice, e.epoch);
    events.scalar("validation/iou", e.validation.iou, e.epoch);
  };
  const auto finish = [&](network_t& net, const training_result& result, loader&) {
    segmenter segment(net);
    const photograph_scores scores = evaluate_photographs(segment, source.validation);
    std::printf("\nvalidation with the weights of epoch %d (%s)\n%s", result.best_epoch,
                (o.out / "best.safetensors").string().c_str(),
                summary_table(
                    std::vector<summary_row>{{scores.network_size, summarise(scores.at_network_size)},
                                             {scores.photograph_size, summarise(scores.at_photograph_size)}})
                    .c_str());
    show_some(segment, source.validation, o.out / "unseen");
    std::printf("masks and overlays of unseen pictures: %s\n", (o.out / "unseen").string().c_str());
  };
  return training_run::run<network_t>(self, o, with, source,
                                      mask_task{.boundary_weighted = o.boundary_weight == "on"}, adam{},
                                      metadata, curves, finish);
}

}  // namespace

template <class Backend>
int train_on(const options& o, const network_options& with) {
  return carvana::with_network(o.variant, o.size, [&]<class Definition>(std::type_identity<Definition>) {
    return train<Definition, Backend>(o, with);
  });
}

template int train_on<SEGNET_BACKEND>(const options&, const network_options&);

}  // namespace train_carvana
