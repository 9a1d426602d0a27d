// SPDX-License-Identifier: MIT
// Reading an image tile by tile and transforming what was read, for convolutions in Winograd's form.
#pragma once

#include <segnet/backend/cpu/conv2d_form.hpp>
#include <segnet/backend/cpu/winograd.hpp>

#include <algorithm>
#include <cstddef>

namespace segnet::detail {

/// The images of a batch cut into tiles of `m` x `m` pixels, numbered row by row; the last ones may stand
/// over the edge.
struct tile_grid {
  int m, across, down;

  struct place {
    int image, y, x;  // of the tile's first pixel
  };

  constexpr tile_grid(int h, int w, int tile)
      : m(tile), across((w + tile - 1) / tile), down((h + tile - 1) / tile) {}
  constexpr std::ptrdiff_t tiles(int batch) const { return std::ptrdiff_t{batch} * down * across; }
  constexpr place at(std::ptrdiff_t tile) const {
    const auto per_image = std::ptrdiff_t{across} * down;
    const int inside = static_cast<int>(tile % per_image);
    return {static_cast<int>(tile / per_image), inside / across * m, inside % across * m};
  }
};

/// What padding reads.
template <class T>
alignas(64) inline constexpr T winograd_zeros[max_winograd_channels] = {};

/// The pixels of a square of one source, and their transform.
template <class T, int Size>
class tile_pixels {
 public:
  using V = simd<T>;
  using packet = typename V::packet;

  /// The square whose first pixel is (top, left) of the source as the convolution sees it, h x w pixels.
  tile_pixels(const conv2d_source<T>& source, int h, int w, int image, int top, int left)
      : channels_(source.channels) {
    const int u = source.upsample;
    std::ptrdiff_t offset[Size];
    for (int j = 0; j < Size; ++j) {
      const int x = left + j;
      offset[j] = static_cast<unsigned>(x) >= static_cast<unsigned>(w)
                      ? -1
                      : std::ptrdiff_t{u == 1 ? x : x / u} * channels_;
    }
    for (int i = 0; i < Size; ++i) {
      const int y = top + i;
      const bool inside = static_cast<unsigned>(y) < static_cast<unsigned>(h);
      const T* row = inside ? source.data + (std::ptrdiff_t{image} * (h / u) + (u == 1 ? y : y / u)) *
                                                (w / u) * channels_
                            : nullptr;
      for (int j = 0; j < Size; ++j)
        pixel_[i * Size + j] = inside && offset[j] >= 0 ? row + offset[j] : winograd_zeros<T>;
    }
  }

  /// Transforms the channels [first, first + count) by `change`, which takes Size packets to To: place (i, j)
  /// of channel c goes to to[(i * To + j) * step + c - first], up to a whole packet of channels.
  template <int To, class Change>
  void transform(int first, int count, Change change, T* to, std::ptrdiff_t step) const {
    if constexpr (V::lanes >= 8)
      if (count == V::lanes / 2)
        return square<To>([&](auto i) SEGNET_INLINE_LAMBDA { return V::load_low(pixel_[i] + first); }, change,
                          to, step);
    if (count < V::lanes) return transform_few<To>(first, count, change, to, step);
    // The last packet overlaps the one before it where the channels do not fill it.
    for (int c = 0; c < count; c += V::lanes) {
      const int at = std::min(c, count - V::lanes);
      square<To>([&](auto i) SEGNET_INLINE_LAMBDA { return V::load(pixel_[i] + first + at); }, change,
                 to + at, step);
    }
  }

 private:
  template <int To, class Load, class Change>
  static SEGNET_INLINE void square(Load load, Change change, T* to, std::ptrdiff_t step) {
    transform_square<V, Size, To>(
        change,
        [&](auto i, auto j)
            SEGNET_INLINE_LAMBDA { return load(std::integral_constant<int, i * Size + j>{}); },
        [&](auto i, auto j, packet d) SEGNET_INLINE_LAMBDA { V::store(to + (i * To + j) * step, d); });
  }

  /// Fewer channels than a packet holds.
  template <int To, class Change>
  void transform_few(int first, int count, Change change, T* to, std::ptrdiff_t step) const {
    alignas(64) T padded[Size * Size][V::lanes] = {};
    for (int i = 0; i < Size * Size; ++i) std::copy_n(pixel_[i] + first, count, padded[i]);
    square<To>([&](auto i) SEGNET_INLINE_LAMBDA { return V::load(padded[i]); }, change, to, step);
  }

  int channels_;
  const T* pixel_[Size * Size];
};

}  // namespace segnet::detail
