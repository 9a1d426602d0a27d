// SPDX-License-Identifier: MIT
// Pictures at the network's size, kept in memory so that each photograph is decoded once.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/shape.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/picture_source.hpp>
#include <segnet/data/resize.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace segnet {

/// A photograph and its mask or labels at the network's size.
struct small_picture {
  image rgbm;  ///< red, green, blue, and how much of the pixel the car covers (255 = all), or its class
  double pixel_aspect = 1.0;  ///< width over height of the part of the photograph that a pixel stands for
};

/// Shrinks a photograph and its mask to `height` x `width`. The mask becomes a soft coverage: that keeps
/// where inside a pixel the outline runs, which a two-valued small mask would lose. With `labels`, the mask
/// holds class numbers, and each pixel takes the one at its centre.
inline small_picture shrink(const labelled_photo& pair, int height, int width, bool labels = false) {
  if (pair.photo.channels != 3 || pair.mask.channels != 1 || pair.photo.pixels() == 0 ||
      pair.photo.width != pair.mask.width || pair.photo.height != pair.mask.height)
    throw error("expected an RGB photograph and a one-channel mask of the same size");
  const image photo = resize(pair.photo, height, width);
  const image mask = labels ? resize_nearest(pair.mask, height, width) : resize(pair.mask, height, width);
  small_picture result{image(width, height, 4), static_cast<double>(pair.photo.width) * height /
                                                    (static_cast<double>(pair.photo.height) * width)};
  for (std::size_t i = 0; i < mask.data.size(); ++i) {
    std::copy_n(photo.data.data() + 3 * i, 3, result.rgbm.data.data() + 4 * i);
    result.rgbm.data[4 * i + 3] = mask.data[i];
  }
  return result;
}

/// The pictures of a source at the size height x width. The first capacity() of them stay in memory once
/// read; a fixed choice, so that the same pictures are found there in every epoch. Safe to use from many
/// threads.
class picture_cache {
 public:
  /// `labels`: the source's masks hold class numbers, see shrink().
  picture_cache(picture_source source, int height, int width, std::size_t budget_bytes, bool labels = false)
      : source_(std::move(source)), height_(height), width_(width), labels_(labels) {
    if (height < 1 || width < 1) throw argument_error("picture_cache: height and width must be positive");
    if (source_.size < 1) throw argument_error("picture_cache: the source holds no pictures");
    const std::size_t fit = budget_bytes / shape{height, width, 4}.size();
    kept_.resize(std::min(fit, static_cast<std::size_t>(source_.size)));
    ready_ = std::make_unique<std::atomic<bool>[]>(kept_.size());
  }

  int size() const { return source_.size; }
  /// How many pictures fit the budget; the others are decoded again whenever they are needed.
  int capacity() const { return static_cast<int>(kept_.size()); }

  /// Picture i, either the kept one or one read into `scratch`. Errors of the source pass through when they
  /// name a file; others are wrapped with the picture's name.
  const small_picture& get(int i, small_picture& scratch) {
    const auto k = static_cast<std::size_t>(i);
    const bool keep = k < kept_.size();
    if (keep && ready_[k].load(std::memory_order_acquire)) return kept_[k];
    small_picture fresh = read(i);
    if (!keep) return scratch = std::move(fresh);
    // Two threads may have decoded the same picture; the first one in wins.
    const std::scoped_lock lock(mutex_);
    if (!ready_[k].load(std::memory_order_relaxed)) {
      kept_[k] = std::move(fresh);
      ready_[k].store(true, std::memory_order_release);
    }
    return kept_[k];
  }

 private:
  small_picture read(int i) const {
    try {
      return shrink(source_.read(i), height_, width_, labels_);
    } catch (const file_error&) {
      throw;
    } catch (const std::exception& problem) {
      throw file_error(source_.name ? source_.name(i) : "picture " + std::to_string(i), problem.what());
    }
  }

  picture_source source_;
  int height_, width_;
  bool labels_;
  std::vector<small_picture> kept_;
  std::unique_ptr<std::atomic<bool>[]> ready_;
  std::mutex mutex_;
};

}  // namespace segnet
