// SPDX-License-Identifier: MIT
// Pictures for networks whose output is smaller than their input.
#pragma once

#include <segnet/core/label.hpp>
#include <segnet/data/augment.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/picture_cache.hpp>
#include <segnet/data/picture_source.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace segnet {

/// Photographs with labels, shrunk to height x width pixels, in the middle of `outer_height` x `outer_width`
/// pixels, where the photograph goes on as its mirror image and no class is known: so U-Net (Ronneberger et
/// al. 2015), whose convolutions do not pad, is shown what lies beyond the edge. Throws argument_error where
/// the outer size is the smaller one.
inline picture_source with_mirrored_border(picture_source source, int height, int width, int outer_height,
                                           int outer_width) {
  if (height < 1 || width < 1 || outer_height < height || outer_width < width)
    throw argument_error("with_mirrored_border: cannot put " + std::to_string(height) + "x" +
                         std::to_string(width) + " pixels into " + std::to_string(outer_height) + "x" +
                         std::to_string(outer_width) + " (height x width)");
  auto read = std::move(source.read);
  source.read = [=, read = std::move(read)](int i) {
    const image inner = shrink(read(i), height, width, true).rgbm;
    labelled_photo pair{image(outer_width, outer_height, 3), image(outer_width, outer_height, 1)};
    const int top = (outer_height - height) / 2, left = (outer_width - width) / 2;
    for (int row = 0; row < outer_height; ++row)
      for (int column = 0; column < outer_width; ++column) {
        const int y = reflect_101(row - top, height), x = reflect_101(column - left, width);
        const bool inside = y == row - top && x == column - left;
        std::copy_n(inner.at(x, y), 3, pair.photo.at(column, row));
        *pair.mask.at(column, row) = inside ? inner.at(x, y)[3] : ignored_label;
      }
    return pair;
  };
  return source;
}

}  // namespace segnet
