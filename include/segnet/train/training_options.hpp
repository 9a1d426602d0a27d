// SPDX-License-Identifier: MIT
// What a trainer is told, and what it tells.
#pragma once

#include <segnet/network/checkpoint_header.hpp>
#include <segnet/train/mask_task.hpp>
#include <segnet/train/optimizer.hpp>
#include <segnet/train/schedule.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>

namespace segnet {

struct training_options {
  int epochs = 20;
  int accumulate = 1;  ///< batches whose gradients make one step
  learning_rate_schedule schedule{};
  any_optimizer optimizer = adam{};
  int patience = 0;                ///< stop after so many epochs without a better validation score; 0: never
  std::uint64_t seed = 0;          ///< of the layers' random numbers (dropout)
  std::filesystem::path folder{};  ///< takes best.safetensors and last.safetensors; must exist
  /// Seconds between two of last.safetensors, which holds two (SGD) or three (Adam) times the weights.
  double save_interval = 60;
  checkpoint_metadata metadata{};  ///< for every checkpoint
  std::FILE* progress = stdout;    ///< takes a line per epoch, see progress_line; null: silent
};

/// What is known after a step of the optimizer.
struct step_report {
  int epoch = 0;               ///< from 1
  std::int64_t step = 0;       ///< from 1, over all epochs
  double loss = 0, score = 0;  ///< means over the step's batches; what the score is, the task says
  double rate = 0;             ///< learning rate
};

/// What is known after an epoch.
template <training_task Task = mask_task>
struct epoch_report {
  int epoch = 0;               ///< from 1
  double loss = 0, score = 0;  ///< means over the epoch's batches
  double rate = 0;             ///< learning rate of the last step
  double images_per_second = 0;
  typename Task::scores validation{};  ///< at the network's size
  bool best = false;
};

struct training_result {
  enum class end { finished, stopped_early, interrupted } how = end::finished;
  double best_score = 0;  ///< of validation
  int best_epoch = 0;
  int epochs = 0;  ///< completed
};

}  // namespace segnet
