// SPDX-License-Identifier: MIT
// Learning rates over the course of a training run.
#pragma once

#include <segnet/core/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <numbers>
#include <string>
#include <string_view>
#include <system_error>

namespace segnet {

enum class schedule_kind : unsigned char { constant, cosine, plateau, one_cycle, poly, step };

inline constexpr std::array<std::string_view, 6> schedule_names{"constant",  "cosine", "plateau",
                                                                "one-cycle", "poly",   "step"};

/// The kind of this name; throws argument_error, which lists the known ones.
inline schedule_kind parse_schedule(std::string_view name) {
  const auto found = std::ranges::find(schedule_names, name);
  if (found != schedule_names.end()) return static_cast<schedule_kind>(found - schedule_names.begin());
  std::string known;
  for (std::string_view each : schedule_names) known += (known.empty() ? "" : ", ") + std::string(each);
  throw argument_error("unknown learning-rate schedule \"" + std::string(name) + "\", expected one of " +
                       known);
}

/// What on_epoch_end has seen so far: the only part of a schedule that a checkpoint must keep.
struct schedule_state {
  double best = std::numeric_limits<double>::infinity();  ///< lowest metric
  int stale = 0;                                          ///< epochs since it last improved, or dropped
  double factor = 1;                                      ///< what the rate was multiplied with so far
  friend bool operator==(const schedule_state&, const schedule_state&) = default;
};

/// As text that from_text reads back to the same bits.
inline std::string to_text(const schedule_state& state) {
  std::array<char, 96> text;
  char* at = text.data();
  char* const end = at + text.size();
  at = std::to_chars(at, end, state.best).ptr;  // the shortest text that stands for this number alone
  *at++ = ' ';
  at = std::to_chars(at, end, state.stale).ptr;
  *at++ = ' ';
  at = std::to_chars(at, end, state.factor).ptr;
  return {text.data(), at};
}

/// Throws argument_error where to_text did not write this.
inline schedule_state schedule_state_from_text(std::string_view text) {
  schedule_state state;
  const char* at = text.data();
  const char* const end = at + text.size();
  bool good = true;
  const auto number = [&](auto& value) {
    const auto [next, problem] = std::from_chars(at, end, value);
    good = good && problem == std::errc{};
    at = next;
  };
  const auto space = [&] { good = good && at != end && *at++ == ' '; };
  number(state.best), space(), number(state.stale), space(), number(state.factor);
  if (!good || at != end)
    throw argument_error("\"" + std::string(text) + "\" is not the state of a learning-rate schedule");
  return state;
}

/// The learning rate of each step, with p the part of all steps that lies behind:
/// - constant: `peak`;
/// - cosine: rises linearly over the first `warm_up` of the steps (Goyal et al., 2017), then falls from
///   `peak` to `floor` along half a cosine (Loshchilov and Hutter, 2017);
/// - plateau: `peak`, times `reduction` whenever the metric has not fallen by more than `threshold` for
///   `patience` epochs, but not below `floor`;
/// - one-cycle: rises from peak / 25 over the first `rise` of the steps, then falls to peak / 250000, both
///   along half a cosine (Smith and Topin, 2018; shape and constants as in PyTorch's OneCycleLR);
/// - poly: falls from `peak` to `floor` as (1 - p)^power (Caffe's; with a power of 0.9 in DeepLab, Chen et
///   al., 2017);
/// - step: `peak`, times `reduction` after every `every` epochs or, where that is 0, once for each part of
///   the run in `drops` that lies behind.
struct learning_rate_schedule {
  schedule_kind kind = schedule_kind::constant;
  double peak = 1e-3;
  double floor = 0;
  double warm_up = 0.05;
  double rise = 0.3;
  double reduction = 0.1;
  double threshold = 1e-4;
  int patience = 4;
  double power = 0.9;
  int every = 0;
  std::array<double, 4> drops{0.5, 0.75};  ///< each in (0, 1]; 0: none
  schedule_state state = {};

  /// The rate of `step`, 0 to total_steps - 1, in a run of total_steps >= 1. Steps beyond have the last's.
  double rate(std::int64_t step, std::int64_t total_steps) const {
    const auto total = static_cast<double>(total_steps);
    const double at = std::clamp(static_cast<double>(step), 0.0, total - 1);
    switch (kind) {
      case schedule_kind::constant:
        break;
      case schedule_kind::plateau:
        return std::max(peak * state.factor, std::min(floor, peak));
      case schedule_kind::cosine: {
        const double rising = std::floor(warm_up * total);
        if (at < rising) return peak * (at + 1) / rising;
        return between(peak, floor, (at - rising) / (total - rising));
      }
      case schedule_kind::one_cycle: {
        const double top = std::max(rise * total - 1, 0.0), last = total - 1, start = peak / 25;
        if (at < top) return between(start, peak, at / top);
        return last > top ? between(peak, start / 1e4, (at - top) / (last - top)) : peak;
      }
      case schedule_kind::poly:
        return floor + (peak - floor) * std::pow(1 - at / total, power);
      case schedule_kind::step: {
        double rate = peak * state.factor;
        if (every == 0)
          for (double drop : drops)
            if (drop > 0 && at >= std::round(drop * total)) rate *= reduction;
        return rate;
      }
    }
    return peak;
  }

  /// To be called after each epoch with what should fall, such as the validation loss. Only `plateau` minds
  /// it, where a NaN is no improvement; `step` counts the epochs.
  void on_epoch_end(double metric) {
    if (kind == schedule_kind::step && every > 0 && ++state.stale == every) {
      state.factor *= reduction;
      state.stale = 0;
    }
    if (kind != schedule_kind::plateau) return;
    if (metric < state.best - threshold) {
      state.best = metric;
      state.stale = 0;
    } else if (++state.stale >= patience) {
      state.factor *= reduction;
      state.stale = 0;
    }
  }

 private:
  static double between(double from, double to, double part) {
    return to + (from - to) * (1 + std::cos(std::numbers::pi * part)) / 2;
  }
};

}  // namespace segnet
