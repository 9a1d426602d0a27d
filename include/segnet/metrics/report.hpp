// SPDX-License-Identifier: MIT
// Scores as text: an aligned table for people, CSV for programs.
#pragma once

#include <segnet/metrics/segmentation.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace segnet {

namespace detail {

/// With a point whatever the locale.
inline std::string fixed(double value, int decimals) {
  std::array<char, 64> text;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, decimals);
  return {text.data(), end.ptr};
}

/// Quoted where commas, quotes or line breaks ask for it (RFC 4180).
inline std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

/// Columns two spaces apart, the first flush left, the others flush right.
inline std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      text += i == 0 ? row[i] + padding : "  " + padding + row[i];
    }
    text += '\n';
  }
  return text;
}

}  // namespace detail

/// One line of a table: what was scored (say "1918x1280"), and how it came out.
struct summary_row {
  std::string label;
  segmentation_summary summary;
};

/// A line of headings, then a line for each row; ends with a line break.
inline std::string summary_table(std::span<const summary_row> rows) {
  std::vector<std::vector<std::string>> cells{
      {"", "images", "Dice", "5 %", "50 %", "95 %", "worst", "IoU", "accuracy", "precision", "recall"}};
  for (const auto& [label, s] : rows) {
    cells.push_back({label, std::to_string(s.images)});
    for (double value :
         {s.dice, s.dice_p5, s.dice_p50, s.dice_p95, s.worst_dice, s.iou, s.accuracy, s.precision, s.recall})
      cells.back().push_back(detail::fixed(value, 4));
  }
  return detail::aligned(cells);
}

/// One line for each image, in the order given.
inline std::string image_table(std::span<const image_score> scores) {
  std::vector<std::vector<std::string>> cells{{"image", "Dice", "IoU", "accuracy", "precision", "recall"}};
  for (const auto& [name, c] : scores) {
    cells.push_back({name});
    for (double value : {c.dice(), c.iou(), c.accuracy(), c.precision(), c.recall()})
      cells.back().push_back(detail::fixed(value, 4));
  }
  return detail::aligned(cells);
}

/// All images as CSV (RFC 4180 but for plain line feeds) with a line of headings, sorted by name.
inline std::string scores_csv(std::span<const image_score> scores) {
  std::vector<image_score> sorted(scores.begin(), scores.end());
  std::ranges::stable_sort(sorted, {}, &image_score::name);
  std::string text =
      "image,dice,iou,accuracy,precision,recall,true_positive,false_positive,false_negative,true_negative\n";
  for (const auto& [name, c] : sorted) {
    text += detail::csv_field(name);
    for (double value : {c.dice(), c.iou(), c.accuracy(), c.precision(), c.recall()})
      text += ',' + detail::fixed(value, 6);
    for (auto count : {c.true_positive, c.false_positive, c.false_negative, c.true_negative})
      text += ',' + std::to_string(count);
    text += '\n';
  }
  return text;
}

}  // namespace segnet
