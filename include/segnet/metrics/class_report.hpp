// SPDX-License-Identifier: MIT
// Scores of classes as an aligned table.
#pragma once

#include <segnet/metrics/boundary_f1.hpp>
#include <segnet/metrics/confusion_matrix.hpp>
#include <segnet/metrics/report.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace segnet {

/// A line of headings, one for each class, one of means and one for all pixels together; ends with a line
/// break. A class without a score has a dash. `outlines` (nullable) adds a column. Throws argument_error
/// where no pixel was counted, or where there are not as many names as classes.
inline std::string class_table(const confusion_matrix& counts, std::span<const std::string> names,
                               const boundary_f1* outlines = nullptr) {
  if (names.size() != static_cast<std::size_t>(counts.classes()) ||
      (outlines != nullptr && outlines->classes() != counts.classes()))
    throw argument_error(
        "class_table: found " + std::to_string(names.size()) + " names" +
        (outlines == nullptr ? "" : " and outlines of " + std::to_string(outlines->classes())) +
        ", expected " + std::to_string(counts.classes()) + ", one for each class");
  const auto text = [](std::optional<double> value) { return value ? detail::fixed(*value, 4) : "-"; };
  std::vector<std::vector<std::string>> cells{{"class", "pixels", "accuracy", "IoU"}};
  for (int c = 0; c < counts.classes(); ++c)
    cells.push_back({names[static_cast<std::size_t>(c)], std::to_string(counts.labelled(c)),
                     text(counts.accuracy(c)), text(counts.iou(c))});
  cells.push_back({"mean", "", text(counts.mean_accuracy()), text(counts.mean_iou())});
  if (outlines != nullptr) {
    cells.front().push_back("boundary F1");
    for (int c = 0; c < counts.classes(); ++c)
      cells[static_cast<std::size_t>(c) + 1].push_back(text(outlines->score(c)));
    cells.back().push_back(text(outlines->mean()));  // over images, not classes
  }
  cells.push_back({"all pixels", std::to_string(counts.pixels()), text(counts.global_accuracy())});
  return detail::aligned(cells);
}

}  // namespace segnet
