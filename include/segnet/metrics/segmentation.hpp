// SPDX-License-Identifier: MIT
// Scores of many images: means, percentiles, the worst ones.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/metrics/confusion.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace segnet {

/// One image's result. Lists of them from several threads or runs are merged by appending: whatever is made
/// of a list does not depend on its order.
struct image_score {
  std::string name;
  confusion counts;
};

/// Means over images, each image counting the same whatever its size, as the Carvana challenge scores; and
/// percentiles of the images' Dice.
struct segmentation_summary {
  std::size_t images = 0;
  double dice = 0, iou = 0, accuracy = 0, precision = 0, recall = 0;
  double dice_p5 = 0, dice_p50 = 0, dice_p95 = 0;
  double worst_dice = 0;
  confusion total;  ///< all images' pixels together
};

/// The value below which `percent` (0 to 100) of the values lie, interpolated linearly between the nearest
/// two, as numpy.percentile does by default. Throws argument_error where there are none.
inline double percentile(std::vector<double> values, double percent) {
  if (values.empty()) throw argument_error("percentile: there are no values");
  if (!(percent >= 0 && percent <= 100))
    throw argument_error("percentile: " + std::to_string(percent) + ", expected 0 to 100");
  std::ranges::sort(values);
  const double rank = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const auto above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], rank - static_cast<double>(below));
}

/// Throws argument_error where there is no image.
inline segmentation_summary summarise(std::span<const image_score> scores) {
  if (scores.empty()) throw argument_error("summarise: no image was scored");
  // Added up in the order of their size, so that the last bit of a mean does not depend on who came first.
  const auto sorted = [&](auto metric) {
    std::vector<double> values;
    values.reserve(scores.size());
    for (const image_score& score : scores) values.push_back((score.counts.*metric)());
    std::ranges::sort(values);
    return values;
  };
  const auto mean = [&](const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  };
  const std::vector<double> dice = sorted(&confusion::dice);
  segmentation_summary result{.images = scores.size(),
                              .dice = mean(dice),
                              .iou = mean(sorted(&confusion::iou)),
                              .accuracy = mean(sorted(&confusion::accuracy)),
                              .precision = mean(sorted(&confusion::precision)),
                              .recall = mean(sorted(&confusion::recall)),
                              .dice_p5 = percentile(dice, 5),
                              .dice_p50 = percentile(dice, 50),
                              .dice_p95 = percentile(dice, 95),
                              .worst_dice = dice.front(),
                              .total = {}};
  for (const image_score& score : scores) result.total += score.counts;
  return result;
}

/// The `count` images of the lowest Dice (or all), the worst first, equal ones by name.
inline std::vector<image_score> worst_images(std::span<const image_score> scores, std::size_t count) {
  std::vector<image_score> all(scores.begin(), scores.end());
  std::ranges::sort(
      all, {}, [](const image_score& s) { return std::tuple(s.counts.dice(), std::string_view(s.name)); });
  all.resize(std::min(count, all.size()));
  return all;
}

}  // namespace segnet
