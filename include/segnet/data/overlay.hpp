// SPDX-License-Identifier: MIT
// Masks painted over photographs, for people to look at.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/data/image.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace segnet {

struct overlay_options {
  std::array<std::uint8_t, 3> colour{255, 40, 120};  ///< red, green, blue; a colour that few cars have
  double tint = 0.35;                                ///< how much of it covers the inside of the mask, 0 to 1
  int outline = 0;  ///< width of the boundary in pixels; 0 = chosen by the picture's size
};

/// Returns `photo` (RGB) with the inside of `mask` (one channel of the same size, car where >= 128) tinted
/// and its boundary drawn. Throws argument_error for pictures that do not fit together.
inline image overlay(const image& photo, const image& mask, const overlay_options& options = {}) {
  if (photo.channels != 3 || mask.channels != 1 || photo.width != mask.width || photo.height != mask.height)
    throw argument_error("overlay: expected an RGB photograph and a one-channel mask of the same size, got " +
                         std::to_string(photo.width) + "x" + std::to_string(photo.height) + "x" +
                         std::to_string(photo.channels) + " and " + std::to_string(mask.width) + "x" +
                         std::to_string(mask.height) + "x" + std::to_string(mask.channels));
  const int outline = options.outline > 0 ? options.outline : std::max(1, photo.width / 640);
  const auto inside = [&](int x, int y) {
    return *mask.at(std::clamp(x, 0, mask.width - 1), std::clamp(y, 0, mask.height - 1)) >= 128;
  };
  image result = photo;
  for (int y = 0; y < photo.height; ++y)
    for (int x = 0; x < photo.width; ++x) {
      if (!inside(x, y)) continue;
      // The boundary: car pixels with background within `outline` along an axis.
      const bool boundary = !inside(x - outline, y) || !inside(x + outline, y) || !inside(x, y - outline) ||
                            !inside(x, y + outline);
      const double weight = boundary ? 1.0 : std::clamp(options.tint, 0.0, 1.0);
      std::uint8_t* pixel = result.at(x, y);
      for (std::size_t c = 0; c < 3; ++c)
        pixel[c] = static_cast<std::uint8_t>((1.0 - weight) * pixel[c] + weight * options.colour[c] + 0.5);
    }
  return result;
}

}  // namespace segnet
