// SPDX-License-Identifier: MIT
// Masks on disk: which pixels are car. Anything that is not clearly two-valued is refused, because a wrong
// reading (class ids taken for a mask, say) would train without complaint and learn nonsense.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/data/image.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace segnet {
namespace detail {

using histogram = std::array<std::size_t, 256>;

/// "value x count" for up to `limit` of the commonest values, in the order of their values.
inline std::string describe(const histogram& counts, std::size_t limit = 8) {
  std::vector<int> values;
  for (int v = 0; v < 256; ++v)
    if (counts[static_cast<std::size_t>(v)]) values.push_back(v);
  const std::size_t distinct = values.size();
  const auto count = [&](int v) { return counts[static_cast<std::size_t>(v)]; };
  std::stable_sort(values.begin(), values.end(), [&](int a, int b) { return count(a) > count(b); });
  values.resize(std::min(distinct, limit));
  std::sort(values.begin(), values.end());
  std::string text;
  for (int v : values)
    text += (text.empty() ? "" : ", ") + std::to_string(v) + " x " + std::to_string(count(v));
  if (distinct > limit) text += " and " + std::to_string(distinct - limit) + " other values";
  return text;
}

/// The value that stands for car, judged by all values of a picture; 0 when it is no mask.
inline int car_value(const histogram& counts, std::size_t pixels, bool lossy) {
  int distinct = 0, last = 0;
  for (int v = 0; v < 256; ++v)
    if (counts[static_cast<std::size_t>(v)]) ++distinct, last = v;
  if (last == 0) return 255;  // all background, in any encoding
  if (!lossy) {
    const bool two_valued = distinct == 1 || (distinct == 2 && counts[0]);
    return two_valued && (last == 1 || last == 255) ? last : 0;
  }
  // JPEG rings around edges: the values cluster at both ends and a few lie between. A hard edge stays within
  // about 48 of either end at quality 75; the rest, at most 2 %, are edges that were soft before.
  std::size_t between = 0;
  for (std::size_t v = 49; v < 207; ++v) between += counts[v];
  return last >= 207 && between * 50 <= pixels ? 255 : 0;
}

}  // namespace detail

/// Reads a mask at its own size: one channel, 0 = background, 255 = car. Accepted are 0/1 and 0/255 in any
/// encoding (palette GIF, grey or RGB PNG with equal channels, a picture that is all background or all car)
/// and JPEGs whose values cluster at both ends, split at 128. Throws file_error for anything else (a colour
/// picture, class ids, grey levels); the message holds the histogram of what was found.
inline image read_mask(const std::filesystem::path& file) {
  static constexpr char expected[] = "expected two values, 0 (background) and 255 or 1 (car)";
  const std::vector<std::uint8_t> bytes = detail::read_bytes(file);
  const bool lossy = detail::starts_with(bytes, "\xff\xd8\xff");
  const image picture = detail::decode_image(file, bytes, 4);
  image mask(picture.width, picture.height, 1);
  const std::size_t pixels = picture.pixels();

  // JPEG stores grey as luma and chroma, whose rounding and noise leave the channels a little apart.
  const int grey_tolerance = lossy ? 8 : 0;
  detail::histogram counts{};
  std::size_t coloured = 0, transparent = 0;
  std::array<int, 3> colour{};
  for (std::size_t i = 0; i < pixels; ++i) {
    const std::uint8_t* p = picture.data.data() + 4 * i;
    const auto [low, high] = std::minmax({p[0], p[1], p[2]});
    if (high - low > grey_tolerance && coloured++ == 0) colour = {p[0], p[1], p[2]};
    transparent += p[3] != 255;
    mask.data[i] = p[1];
    ++counts[p[1]];
  }
  if (coloured)
    throw file_error(file, "not a mask but a colour picture: " + std::to_string(coloured) + " of " +
                               std::to_string(pixels) + " pixels are coloured, the first is rgb(" +
                               std::to_string(colour[0]) + ", " + std::to_string(colour[1]) + ", " +
                               std::to_string(colour[2]) + "); " + expected);
  const int car = detail::car_value(counts, pixels, lossy);
  if (car == 0)
    throw file_error(file,
                     "not a two-valued mask: its values are " + detail::describe(counts) + "; " + expected);
  // The car may have been drawn into the alpha channel alone, over one plain colour.
  const bool plain = std::count(counts.begin(), counts.end(), std::size_t{0}) == 255;
  if (plain && transparent != 0 && transparent != pixels)
    throw file_error(file, std::string("not a mask: only its alpha channel varies; ") + expected);

  for (std::uint8_t& value : mask.data) value = value * 2 > car ? 255 : 0;
  return mask;
}

}  // namespace segnet
