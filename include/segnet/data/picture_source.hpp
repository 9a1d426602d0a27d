// SPDX-License-Identifier: MIT
// Where a loader's pictures come from: files, the generator, or whatever a user brings.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/data/carvana_dataset.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace segnet {

/// `size` photographs with masks, numbered from 0. Both functions are called from several threads at once.
struct picture_source {
  int size = 0;
  std::function<labelled_photo(int)> read;  ///< RGB, and a mask of 0/255 of the same size
  std::function<std::string(int)> name;     ///< for error messages
};

/// The samples of a data set on disk, in their order.
inline picture_source from_samples(std::vector<sample> samples) {
  auto shared = std::make_shared<const std::vector<sample>>(std::move(samples));
  return {static_cast<int>(shared->size()),
          [shared](int i) { return read_sample((*shared)[static_cast<std::size_t>(i)]); },
          [shared](int i) { return (*shared)[static_cast<std::size_t>(i)].image.string(); }};
}

}  // namespace segnet
