// SPDX-License-Identifier: MIT
// Pictures in memory and on disk: JPEG, PNG and GIF in, PNG and JPEG out.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/data/detail/container_check.hpp>
#include <segnet/data/detail/file_bytes.hpp>
#include <segnet/data/detail/stb.hpp>
#include <segnet/io/file.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace segnet {

/// An 8-bit picture, rows from top to bottom, channels interleaved: 1 = grey, 3 = RGB, 4 = RGB and alpha.
struct image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<std::uint8_t> data;  ///< height * width * channels values

  image() = default;
  image(int w, int h, int c, std::uint8_t value = 0)
      : width(w), height(h), channels(c), data(size(), value) {}

  std::size_t pixels() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(height); }
  std::size_t size() const { return pixels() * static_cast<std::size_t>(channels); }
  bool empty() const { return data.empty(); }
  /// The channels of one pixel; 0 <= x < width, 0 <= y < height.
  std::uint8_t* at(int x, int y) { return data.data() + offset(x, y); }
  const std::uint8_t* at(int x, int y) const { return data.data() + offset(x, y); }
  friend bool operator==(const image&, const image&) = default;

 private:
  std::size_t offset(int x, int y) const {
    return (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)) *
           static_cast<std::size_t>(channels);
  }
};

namespace detail {
/// Decodes the content of `file`; see read_image().
inline image decode_image(const std::filesystem::path& file, byte_span bytes, int channels) {
  // What a cut-off GIF lacks, or with some versions a JPEG, stb fills with zeros and calls it a success.
  if (const std::string problem = detail::container_problem(bytes); !problem.empty())
    throw file_error(file, problem);

  const int size = static_cast<int>(bytes.size());
  int w = 0, h = 0, in_file = 0;
  try {
    if (!detail::stb::segnet_stbi_info_from_memory(bytes.data(), size, &w, &h, &in_file))
      throw file_error(file, std::string("damaged picture: ") + detail::stb::segnet_stbi_failure_reason());
    if (static_cast<std::int64_t>(w) * h > (std::int64_t{1} << 28))
      throw file_error(file, "a picture of " + std::to_string(w) + "x" + std::to_string(h) +
                                 " is too large; at most 2^28 pixels can be read");
    const std::unique_ptr<std::uint8_t, void (*)(void*)> pixels(
        detail::stb::segnet_stbi_load_from_memory(bytes.data(), size, &w, &h, &in_file, channels), ::free);
    if (!pixels)
      throw file_error(file, std::string("damaged picture: ") + detail::stb::segnet_stbi_failure_reason());
    image result;
    result.width = w, result.height = h, result.channels = channels;
    result.data.assign(pixels.get(), pixels.get() + result.size());
    return result;
  } catch (const file_error&) {
    throw;
  } catch (const error& broken) {
    throw file_error(file, std::string("damaged picture: ") + broken.what());
  }
}

}  // namespace detail

/// Decodes the JPEG, PNG or GIF (its first frame) in `file`, converted to `channels` (1, 3 or 4) channels.
/// Orientation tags are not applied. Throws file_error when the file is missing, empty, of another format,
/// truncated, damaged or larger than 2^28 pixels.
inline image read_image(const std::filesystem::path& file, int channels = 3) {
  if (channels != 1 && channels != 3 && channels != 4)
    throw argument_error("read_image: 1, 3 or 4 channels can be read, not " + std::to_string(channels));
  return detail::decode_image(file, detail::read_bytes(file), channels);
}

/// Writes a PNG of 1, 3 or 4 channels under a temporary name beside `file`, then renames it, so that `file`
/// is never half written. Throws file_error when the folder is missing or the disk refuses.
inline void write_png(const std::filesystem::path& file, const image& picture) {
  int size = 0;
  const std::unique_ptr<std::uint8_t, void (*)(void*)> png(
      picture.empty()
          ? nullptr
          : detail::stb::stbi_write_png_to_mem(picture.data.data(), picture.width * picture.channels,
                                               picture.width, picture.height, picture.channels, &size),
      ::free);
  if (!png) throw file_error(file, "cannot encode an empty picture");
  atomic_write(file, std::as_bytes(std::span(png.get(), static_cast<std::size_t>(size))),
               durability::renamed);
}

/// Writes a baseline JPEG of 1 or 3 channels; `quality` from 1 to 100. Errors as for write_png().
inline void write_jpeg(const std::filesystem::path& file, const image& picture, int quality = 90) {
  std::vector<std::uint8_t> bytes;
  const auto append = [](void* context, void* data, int size) {
    const auto* first = static_cast<const std::uint8_t*>(data);
    static_cast<std::vector<std::uint8_t>*>(context)->insert(
        static_cast<std::vector<std::uint8_t>*>(context)->end(), first, first + size);
  };
  if (picture.empty() || !detail::stb::stbi_write_jpg_to_func(append, &bytes, picture.width, picture.height,
                                                              picture.channels, picture.data.data(), quality))
    throw file_error(file, "cannot encode an empty picture");
  atomic_write(file, std::as_bytes(std::span(bytes)), durability::renamed);
}

}  // namespace segnet
