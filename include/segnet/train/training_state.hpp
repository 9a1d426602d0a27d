// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/io/safetensors.hpp>
#include <segnet/train/schedule.hpp>

#include <cstdint>
#include <string>

namespace segnet {

/// Where a training run is. With the parameters, running statistics and what the optimizer remembers it is
/// all that a run consists of: every random number is a function of the seed, the epoch and the picture.
struct training_state {
  int epoch = 0;                       ///< completed ones
  int batch = 0;                       ///< of the current epoch, done
  std::int64_t steps = 0;              ///< of the optimizer, in all epochs
  double loss_sum = 0, score_sum = 0;  ///< over the current epoch's batches
  double best_score = -1;              ///< of validation
  int best_epoch = 0;
  schedule_state schedule;

  static constexpr const char* key = "training_state";

  /// As JSON; doubles come back to the same bits.
  std::string to_text() const {
    return nlohmann::json{{"epoch", epoch},           {"batch", batch},
                          {"steps", steps},           {"loss_sum", loss_sum},
                          {"score_sum", score_sum},   {"best_score", best_score},
                          {"best_epoch", best_epoch}, {"schedule", segnet::to_text(schedule)}}
        .dump();
  }

  /// Throws file_error for a checkpoint that holds weights only.
  static training_state from(const safetensors_file& file) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end())
      throw file_error(file.path(),
                       "holds weights but no state of training; a run is resumed from its last.safetensors");
    try {
      const auto json = nlohmann::json::parse(found->second);
      training_state s;
      // Some names are of the time when there were only Adam and Dice.
      const auto read = [&](const char* name, auto& to, const char* earlier = nullptr) {
        json.at(earlier != nullptr && json.contains(earlier) ? earlier : name).get_to(to);
      };
      read("epoch", s.epoch);
      read("batch", s.batch);
      read("steps", s.steps, "adam_steps");
      read("loss_sum", s.loss_sum);
      read("score_sum", s.score_sum, "dice_sum");
      read("best_score", s.best_score, "best_dice");
      read("best_epoch", s.best_epoch);
      s.schedule = schedule_state_from_text(json.at("schedule").get<std::string>());
      if (s.epoch < 0 || s.batch < 0 || s.steps < 0) throw argument_error("a negative position");
      return s;
    } catch (const std::exception& problem) {
      throw file_error(file.path(), std::string("metadata \"") + key + "\" is damaged: " + problem.what());
    }
  }
};

}  // namespace segnet
