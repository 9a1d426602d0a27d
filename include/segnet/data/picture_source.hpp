// SPDX-License-Identifier: MIT
// Where a loader's pictures come from: files, the generator, or whatever a user brings.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/data/carvana_dataset.hpp>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace segnet {

/// `size` photographs with masks, numbered from 0. Both functions are called from several threads at once.
struct picture_source {
  int size = 0;
  /// RGB, and of the same size a mask of 0/255 or, for a loader of labels, class numbers (255 = ignored).
  std::function<labelled_photo(int)> read;
  std::function<std::string(int)> name;  ///< for error messages
};

/// FNV-1a, as 16 hexadecimal digits, over the pictures' names in their order: tells whether two sources hold
/// the same pictures. The folders are left out, for a data set may move.
inline std::string fingerprint(const picture_source& source) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (int i = 0; i < source.size; ++i) {
    for (const char c : std::filesystem::path(source.name(i)).filename().string())
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash = (hash ^ 0xff) * 0x100000001b3;  // the end of a name: 0xff is in no UTF-8 text
  }
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

/// The samples of a data set on disk, in their order.
inline picture_source from_samples(std::vector<sample> samples) {
  auto shared = std::make_shared<const std::vector<sample>>(std::move(samples));
  return {static_cast<int>(shared->size()),
          [shared](int i) { return read_sample((*shared)[static_cast<std::size_t>(i)]); },
          [shared](int i) { return (*shared)[static_cast<std::size_t>(i)].image.string(); }};
}

/// A source of masks as one of two classes: 0 = background, 1 = the object, where the mask is >= 128.
inline picture_source masks_as_labels(picture_source masks) {
  auto read = std::move(masks.read);
  masks.read = [read = std::move(read)](int i) {
    labelled_photo pair = read(i);
    for (std::uint8_t& value : pair.mask.data) value = value >= 128;
    return pair;
  };
  return masks;
}

}  // namespace segnet
