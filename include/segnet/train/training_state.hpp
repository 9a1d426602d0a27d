// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/io/safetensors.hpp>
#include <segnet/train/schedule.hpp>

#include <cstdint>
#include <string>

namespace segnet {

/// Where a training run is. With the parameters, running statistics and Adam's moments it is all that a
/// run consists of: every random number is a function of the seed, the epoch and the picture.
struct training_state {
  int epoch = 0;                      ///< completed ones
  int batch = 0;                      ///< of the current epoch, done
  std::int64_t adam_steps = 0;        ///< of all epochs
  double loss_sum = 0, dice_sum = 0;  ///< over the current epoch's batches
  double best_dice = -1;
  int best_epoch = 0;
  schedule_state schedule;

  static constexpr const char* key = "training_state";

  /// As JSON; doubles come back to the same bits.
  std::string to_text() const {
    return nlohmann::json{{"epoch", epoch},           {"batch", batch},
                          {"adam_steps", adam_steps}, {"loss_sum", loss_sum},
                          {"dice_sum", dice_sum},     {"best_dice", best_dice},
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
      json.at("epoch").get_to(s.epoch);
      json.at("batch").get_to(s.batch);
      json.at("adam_steps").get_to(s.adam_steps);
      json.at("loss_sum").get_to(s.loss_sum);
      json.at("dice_sum").get_to(s.dice_sum);
      json.at("best_dice").get_to(s.best_dice);
      json.at("best_epoch").get_to(s.best_epoch);
      s.schedule = schedule_state_from_text(json.at("schedule").get<std::string>());
      if (s.epoch < 0 || s.batch < 0 || s.adam_steps < 0) throw argument_error("a negative position");
      return s;
    } catch (const std::exception& problem) {
      throw file_error(file.path(), std::string("metadata \"") + key + "\" is damaged: " + problem.what());
    }
  }
};

}  // namespace segnet
