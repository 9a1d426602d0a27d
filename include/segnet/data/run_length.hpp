// SPDX-License-Identifier: MIT
// The run-length encoding of Kaggle's Carvana submissions: pairs "start length" of car pixels, separated by
// spaces. Pixels are numbered from 1, along each row from left to right, rows from top to bottom.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/data/image.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace segnet {

/// Encodes a one-channel mask (car where >= 128); an empty string when it holds no car.
inline std::string encode_runs(const image& mask) {
  if (mask.channels != 1)
    throw argument_error("encode_runs: expected one channel, got " + std::to_string(mask.channels));
  std::string text;
  const std::size_t size = mask.data.size();
  for (std::size_t i = 0; i < size;) {
    if (mask.data[i] < 128) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < size && mask.data[end] >= 128) ++end;
    if (!text.empty()) text += ' ';
    text += std::to_string(i + 1) + ' ' + std::to_string(end - i);
    i = end;
  }
  return text;
}

/// The mask (0/255) of width x height pixels that `runs` describe. Throws error when they are no numbers, run
/// beyond the picture, overlap or are out of order.
inline image decode_runs(std::string_view runs, int width, int height) {
  if (width < 1 || height < 1) throw argument_error("decode_runs: width and height must be positive");
  image mask(width, height, 1);
  const char *at = runs.data(), *const last = at + runs.size();
  const auto skip_spaces = [&] {
    while (at != last && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
  };
  const auto number = [&](const char* what) {
    skip_spaces();
    std::size_t value = 0;
    const auto [end, problem] = std::from_chars(at, last, value);
    if (problem != std::errc{})
      throw error(std::string("decode_runs: expected the ") + what + " of a run at character " +
                  std::to_string(at - runs.data() + 1));
    at = end;
    return value;
  };
  std::size_t free_from = 1;  // the first pixel that a run may still start at
  for (;;) {
    skip_spaces();
    if (at == last) break;
    const std::size_t start = number("start"), length = number("length");
    if (start < free_from || length < 1 || start > mask.data.size() || length > mask.data.size() - start + 1)
      throw error("decode_runs: the run " + std::to_string(start) + " " + std::to_string(length) +
                  " overlaps the one before or leaves the " + std::to_string(width) + "x" +
                  std::to_string(height) + " picture");
    std::fill_n(mask.data.begin() + static_cast<std::ptrdiff_t>(start - 1), length, std::uint8_t{255});
    free_from = start + length;
  }
  return mask;
}

}  // namespace segnet
