// SPDX-License-Identifier: MIT
// What train_segmentation is asked for, the run itself, and what of it does not depend on the network.
#pragma once

#include <segnet/core/shape.hpp>
#include <segnet/data/label_picture.hpp>
#include <segnet/network/network_base.hpp>
#include <segnet/train/class_task.hpp>

#include "training_run.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <segmentation_build.hpp>
#include <span>
#include <string>
#include <vector>

namespace train_segmentation {

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

inline constexpr training_run::program self{"train_segmentation", "segmentation"};

struct class_pictures : training_run::pictures {
  std::vector<std::string> names;
  std::vector<segnet::rgb_colour> palette;
  std::string listed_in;  ///< what says which classes there are
  int classes() const { return static_cast<int>(names.size()); }
};

/// Trains the network that the options name, on a backend, and returns the program's exit code; compiled from
/// backends/train_segmentation.cpp for each of them.
template <class Backend>
int train_on(const options& o, const segnet::network_options& with, class_pictures source);

// --- Compiled once for all backends, in train_segmentation.cpp --------------------------------------------

struct network_facts {
  segnet::shape input, output;
  std::size_t parameters;
};

void describe(const options& o, const network_facts& network);

/// Counts the classes of the pictures to train with, at the network's size.
std::vector<double> median_weights(const options& o, const class_pictures& source, segnet::shape input);

/// The header of a checkpoint, with the classes.
segnet::checkpoint_metadata metadata_of(const options& o, const class_pictures& source, segnet::shape input);

void write_curves(segnet::event_writer& events, const segnet::epoch_report<segnet::class_task>& e);

struct finished_run {
  segnet::training_result result;
  std::size_t bytes;          ///< of the network and its optimizer
  std::vector<double> steps;  ///< milliseconds, the mean of each epoch
};

/// Writes the class of each pixel of a batch, whose pictures are floats.
using class_prediction = std::function<void(const segnet::batch&, std::span<std::uint8_t>)>;

/// Scores the classes that the best weights find in the pictures to validate with: a table, result.json, and
/// some of the pictures.
void evaluate(const options& o, const class_pictures& source, const network_facts& network,
              const finished_run& run, segnet::loader& validation, const class_prediction& predict);

}  // namespace train_segmentation
