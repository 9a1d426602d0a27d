// SPDX-License-Identifier: MIT
// Label images on disk: which class is each pixel? As for masks, what is not clearly one of the classes is
// refused: a wrong reading would train without complaint.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/label.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/label_classes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace segnet {
namespace detail {

enum class png_colour : std::uint8_t { grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgb_alpha = 6 };

/// Turns a PNG with a palette into the grey PNG of its indices, which stb would replace by their colours.
/// (stb does not check the checksums that this leaves wrong.)
inline void show_palette_indices(std::vector<std::uint8_t>& png) {
  png[25] = static_cast<std::uint8_t>(png_colour::grey);
  for (std::size_t at = 8; at + 12 <= png.size();) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8 | png[at + i];
    // The palette's transparency would be an error in a grey picture; a chunk of an unknown name is skipped.
    const std::string type(png.begin() + static_cast<std::ptrdiff_t>(at + 4),
                           png.begin() + static_cast<std::ptrdiff_t>(at + 8));
    if (type == "tRNS") png[at + 7] = 'X';
    if (length > png.size() - at - 12) return;
    at += 12 + length;
  }
}

inline std::string describe_pixel(std::size_t i, int width) {
  const auto w = static_cast<std::size_t>(width);
  return "the pixel in column " + std::to_string(i % w) + ", row " + std::to_string(i / w);
}

inline std::string describe_colour(const rgb_colour& c) {
  return std::to_string(c[0]) + " " + std::to_string(c[1]) + " " + std::to_string(c[2]);
}

/// Class numbers in place of colours (RGB).
inline image labels_from_colours(const std::filesystem::path& file, const image& picture,
                                 const label_classes& classes) {
  image labels(picture.width, picture.height, 1);
  const label_classes::line* last = &classes.lines.front();  // neighbours are mostly of one class
  for (std::size_t i = 0; i < labels.data.size(); ++i) {
    const std::uint8_t* p = picture.data.data() + 3 * i;
    const rgb_colour colour{p[0], p[1], p[2]};
    if (*last->colour != colour) {
      const label_classes::line* nearest = last;
      int least = 1 << 30;
      for (const label_classes::line& line : classes.lines) {
        int distance = 0;
        for (std::size_t c = 0; c < 3; ++c) {
          const int d = int{(*line.colour)[c]} - int{colour[c]};
          distance += d * d;
        }
        if (distance < least) least = distance, nearest = &line;
      }
      if (least > 0)
        throw file_error(file, describe_pixel(i, picture.width) + " has the colour " +
                                   describe_colour(colour) + "; expected one of the " +
                                   std::to_string(classes.lines.size()) + " colours in " +
                                   classes.file.string() + ", the nearest is " +
                                   describe_colour(*nearest->colour) + " (" + nearest->name + ")");
      last = nearest;
    }
    labels.data[i] = last->label;
  }
  return labels;
}

}  // namespace detail

/// Reads a label image at its own size: one channel of class numbers, ignored_label (255) where the file of
/// classes says so or the picture itself holds 255. A coloured PNG is read by its colours where `classes`
/// has them; a grey one holds numbers of lines, from 0, and so does one with a palette where `classes` has no
/// colours. Throws file_error for anything else; the message holds the place, what was found and what was
/// expected.
inline image read_labels(const std::filesystem::path& file, const label_classes& classes) {
  using detail::png_colour;
  std::vector<std::uint8_t> bytes = detail::read_bytes(file);
  if (!detail::starts_with(bytes, "\x89PNG\r\n\x1a\n") || bytes.size() < 33)
    throw file_error(file, "not a label image: expected a PNG, which keeps each pixel's class as it is");
  const int depth = bytes[24];
  if (depth == 16)
    throw file_error(file, "not a label image: it has 16 bits per channel; expected at most 8");
  const auto kind = static_cast<png_colour>(bytes[25]);
  const bool coloured = kind == png_colour::rgb || kind == png_colour::rgb_alpha;
  if (classes.has_colours() && (coloured || kind == png_colour::palette))
    return detail::labels_from_colours(file, detail::decode_image(file, bytes, 3), classes);

  if (kind == png_colour::palette) detail::show_palette_indices(bytes);
  image picture = detail::decode_image(file, bytes, coloured ? 3 : 1);
  image labels(picture.width, picture.height, 1);
  // Numbers of fewer than 8 bits come spread over 0 to 255.
  const int spread = coloured ? 1 : 255 / ((1 << depth) - 1);
  const auto stride = static_cast<std::size_t>(picture.channels);
  for (std::size_t i = 0; i < labels.data.size(); ++i) {
    const std::uint8_t* p = picture.data.data() + stride * i;
    if (coloured && (p[0] != p[1] || p[0] != p[2]))
      throw file_error(file, detail::describe_pixel(i, picture.width) + " has the colour " +
                                 detail::describe_colour({p[0], p[1], p[2]}) + ", but " +
                                 classes.file.string() + " lists no colours; expected grey class numbers");
    const auto number = static_cast<std::size_t>(*p / spread);
    if (number >= classes.lines.size() && number != ignored_label)
      throw file_error(file, detail::describe_pixel(i, picture.width) + " has the number " +
                                 std::to_string(number) + "; expected 0 to " +
                                 std::to_string(classes.lines.size() - 1) + ", the lines of " +
                                 classes.file.string() + ", or 255 (ignored)");
    labels.data[i] = number == ignored_label ? ignored_label : classes.lines[number].label;
  }
  return labels;
}

}  // namespace segnet
