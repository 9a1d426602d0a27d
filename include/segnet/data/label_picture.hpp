// SPDX-License-Identifier: MIT
// Labels as pictures, for people to look at: a colour for each class, alone or over the photograph.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/label.hpp>
#include <segnet/data/camvid.hpp>
#include <segnet/data/image.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace segnet {

/// `classes` colours that differ as much as may be: the bits of k + 1 dealt to red, green and blue from the
/// highest on, as Pascal VOC colours its classes; black is left for pixels without one.
inline std::vector<rgb_colour> distinct_palette(int classes) {
  std::vector<rgb_colour> palette(static_cast<std::size_t>(classes));
  for (std::size_t k = 0; k < palette.size(); ++k)
    for (std::size_t bit = 0; bit < 8; ++bit)
      for (std::size_t c = 0; c < 3; ++c)
        palette[k][c] |= static_cast<std::uint8_t>(((k + 1) >> (3 * bit + c) & 1) << (7 - bit));
  return palette;
}

/// Colours labels (one channel of class numbers): class k becomes palette[k], ignored_label black. Throws
/// argument_error for a class that has no colour.
inline image label_picture(const image& labels, std::span<const rgb_colour> palette = camvid_palette) {
  if (labels.channels != 1)
    throw argument_error("label_picture: expected one channel of class numbers, got " +
                         std::to_string(labels.channels));
  image result(labels.width, labels.height, 3);
  for (std::size_t i = 0; i < labels.data.size(); ++i) {
    const std::size_t label = labels.data[i];
    if (label == ignored_label) continue;
    if (label >= palette.size())
      throw argument_error("label_picture: class " + std::to_string(label) +
                           " has no colour; the palette has " + std::to_string(palette.size()));
    std::copy(palette[label].begin(), palette[label].end(),
              result.data.begin() + static_cast<std::ptrdiff_t>(3 * i));
  }
  return result;
}

/// `photo` (RGB) under the colours of `labels` of the same size: `cover` (0 to 1) of each colour is the
/// class's, of ignored pixels none. Throws argument_error as above and for pictures of different sizes.
inline image label_overlay(const image& photo, const image& labels,
                           std::span<const rgb_colour> palette = camvid_palette, double cover = 0.5) {
  const image colours = label_picture(labels, palette);
  if (photo.channels != 3 || photo.width != labels.width || photo.height != labels.height)
    throw argument_error("label_overlay: expected an RGB photograph of the labels' size " +
                         std::to_string(labels.width) + "x" + std::to_string(labels.height) + ", got " +
                         std::to_string(photo.width) + "x" + std::to_string(photo.height) + "x" +
                         std::to_string(photo.channels));
  const double weight = std::clamp(cover, 0.0, 1.0);
  image result = photo;
  for (std::size_t i = 0; i < result.data.size(); ++i)
    if (labels.data[i / 3] != ignored_label)
      result.data[i] =
          static_cast<std::uint8_t>((1.0 - weight) * result.data[i] + weight * colours.data[i] + 0.5);
  return result;
}

}  // namespace segnet
