// SPDX-License-Identifier: MIT
// How a gathered product is cut into panels of columns and blocks of channels, and how a panel's weights
// are packed.
#pragma once

#include <segnet/backend/cpu/conv2d_gather.hpp>
#include <segnet/backend/cpu/simd.hpp>

#include <algorithm>
#include <cstddef>

namespace segnet::detail {

/// A packed panel stays below this many bytes, to leave room in a second-level cache of 1 MiB.
inline constexpr std::size_t panel_bytes = 384 * 1024;
/// Channels of a block: what a zero vector standing in for padding must hold.
inline constexpr int max_block_channels = 512;
/// Terms (taps times sources) of a block.
inline constexpr int max_block_terms = 64;

/// The shape of the panels for a number of columns: the one that wastes the fewest lanes.
template <class T>
struct panel_shape {
  int packets;
  int depth;

  static constexpr int lanes = simd<T>::lanes;
  static constexpr bool pairs = std::is_same_v<T, float> && lanes >= 4;  ///< whether a depth of 2 exists

  static constexpr panel_shape of(int columns) {
    if (pairs && columns <= lanes / 2) return {1, 2};
    if (columns <= lanes) return {1, 1};
    if (pairs && columns <= lanes / 2 * 3) return {3, 2};
    return {2, 1};
  }
  constexpr int width() const { return packets * lanes / depth; }
};

/// Channels of one block when `taps` taps share a panel of `width` columns. Even, for pairs of channels.
template <class T>
constexpr int block_channels(int channels, int taps, int width) {
  const auto fitting = static_cast<int>(panel_bytes / sizeof(T)) / (std::max(1, taps) * width) / 16 * 16;
  const int limit = std::clamp(fitting, 16, max_block_channels);
  const int blocks = (channels + limit - 1) / limit;
  return ((channels + blocks - 1) / blocks + 15) / 16 * 16;
}

/// Elements that a packed panel needs: every source's channels are rounded up to a pair.
template <class T>
constexpr std::size_t panel_size(int channels, int taps, int columns) {
  const int width = panel_shape<T>::of(columns).width();
  const int shared_taps = std::min(taps, max_block_terms);
  // Fewer taps than that may be in use, with blocks of more channels: bounded by both.
  std::size_t most = 0;
  for (int used = 1; used <= shared_taps; ++used)
    most =
        std::max(most, static_cast<std::size_t>(used) * static_cast<std::size_t>(width) *
                           static_cast<std::size_t>(
                               std::min(block_channels<T>(channels, used, width), channels) + max_sources));
  return most;
}

/// Packs the weights of one tap: columns [column, column + width), channels [channel, channel + count) of
/// the concatenated sources, to [count / depth][packets][lanes]. What is missing becomes zero.
template <class V>
void pack_panel(const gather_product<typename V::scalar>& p, int column, int width, int tap, int channel,
                int count, typename V::scalar* panel) {
  using T = typename V::scalar;
  const T* from = p.weight + column * p.column_step + tap * p.tap_step + channel * p.channel_step;
  const int columns = std::min(width, p.columns - column);
  const std::ptrdiff_t row = std::ptrdiff_t{width} * V::depth;  // elements of a step of the reduction
  int done = 0;
  if constexpr (V::depth == 1) {
    if (p.channel_step == 1 && columns == width) {
      done = count / V::lanes * V::lanes;
      for (int k = 0; k < width; k += V::lanes)
        for (int c = 0; c < done; c += V::lanes)
          V::transpose(from + k * p.column_step + c, p.column_step, panel + c * row + k, row);
    } else if (p.column_step == 1 && columns == width) {
      for (; done < count; ++done)
        for (int k = 0; k < width; k += V::lanes)
          V::store(panel + done * row + k, V::load(from + done * p.channel_step + k));
    }
  }
  for (int c = done; c < count + count % V::depth; ++c) {
    T* to = panel + c / V::depth * row + c % V::depth;
    for (int k = 0; k < width; ++k)
      to[k * V::depth] = k < columns && c < count ? from[k * p.column_step + c * p.channel_step] : T{0};
  }
}

}  // namespace segnet::detail
