// SPDX-License-Identifier: MIT
// Kaggle's Carvana layout as it is downloaded, and the split by car.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/random.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/mask.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace segnet {

/// One photograph of a car and its mask. `mask` is empty where a data set has no masks.
struct sample {
  std::string car;  ///< the car's id: the part of the file name before the view
  int view = 0;     ///< 1 to 16, steps of 22.5 degrees around the car
  std::filesystem::path image;
  std::filesystem::path mask;
};

/// A photograph (RGB) with its mask (one channel, 0 or 255) of the same size.
struct labelled_photo {
  image photo;
  image mask;
};

/// What a folder holds, ordered by car and view, and remarks worth showing the user.
struct carvana_dataset {
  std::vector<sample> samples;
  std::vector<std::string> notes;
};

namespace detail {

inline std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

inline bool is_picture(const std::filesystem::path& file) {
  const std::string extension = lower_case(file.extension().string());
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".gif";
}

/// Files whose names start with a dot belong to the system that wrote them ("._0a1b_01.jpg" on macOS).
inline bool is_hidden(const std::filesystem::path& file) { return file.filename().string().starts_with('.'); }

/// "0a1b_07" + suffix -> {"0a1b", 7}; an empty car where `stem` has another form.
inline std::pair<std::string, int> parse_name(std::string_view stem, std::string_view suffix) {
  if (!stem.ends_with(suffix)) return {};
  stem.remove_suffix(suffix.size());
  const auto bar = stem.rfind('_');
  if (bar == std::string_view::npos || bar == 0) return {};
  int view = 0;
  const std::string_view digits = stem.substr(bar + 1);
  if (digits.empty() || digits.size() > 4) return {};
  for (const char c : digits) {
    if (c < '0' || c > '9') return {};
    view = view * 10 + (c - '0');
  }
  return {std::string(stem.substr(0, bar)), view};
}

using picture_map = std::map<std::pair<std::string, int>, std::filesystem::path>;

/// The pictures of `folder` by car and view; what has another name goes to `notes`.
inline picture_map list_pictures(const std::filesystem::path& folder, std::string_view suffix,
                                 std::vector<std::string>& notes) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (is_picture(entry.path()) && !is_hidden(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  picture_map found;
  for (const auto& file : files) {
    auto key = parse_name(file.stem().string(), suffix);
    if (key.first.empty()) {
      notes.push_back(file.string() + ": ignored, its name is not ID_VIEW" + std::string(suffix));
      continue;
    }
    const auto [place, is_new] = found.emplace(std::move(key), file);
    if (!is_new)
      throw file_error(file, "stands for the same car and view as " + place->second.filename().string() +
                                 "; expected one picture for each");
  }
  return found;
}

/// "a, b, c and 7 more"
inline std::string enumerate_some(const std::vector<std::string>& names, std::size_t limit = 5) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), limit); ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > limit) text += " and " + std::to_string(names.size() - limit) + " more";
  return text;
}

/// Throws file_error, which says what the folder should hold, where there is none.
inline void require_folder(const std::filesystem::path& folder, const std::string& expected) {
  std::error_code problem;
  if (std::filesystem::is_directory(folder, problem)) return;
  throw file_error(folder, (std::filesystem::exists(folder, problem) ? "is a file, but a folder is needed; "
                                                                     : "no such folder; ") +
                               expected);
}

}  // namespace detail

/// All pictures at or below `path`, sorted: what inference walks. One file gives that file, whatever its
/// extension. Throws file_error when nothing is there.
inline std::vector<std::filesystem::path> find_photographs(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code problem;
  if (fs::is_regular_file(path, problem)) return {path};
  if (!fs::is_directory(path, problem)) throw file_error(path, "no such file or folder");
  std::vector<fs::path> files;
  for (const auto& entry :
       fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied))
    if (entry.is_regular_file(problem) && detail::is_picture(entry.path()) &&
        !detail::is_hidden(entry.path()))
      files.push_back(entry.path());
  if (files.empty())
    throw file_error(path, "no pictures (.jpg, .jpeg, .png or .gif) in this folder or below");
  std::sort(files.begin(), files.end());
  return files;
}

/// Lists `folder`/train/ID_VIEW.jpg and `folder`/train_masks/ID_VIEW_mask.gif (also .png, .jpg, .jpeg, in
/// upper or lower case). Opens no picture. Throws file_error when a folder is missing, or an image has no
/// mask or two; a mask without an image is ignored with a note.
inline carvana_dataset find_carvana(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  static constexpr char layout[] =
      "expected the Carvana layout beneath it: train/ID_VIEW.jpg and train_masks/ID_VIEW_mask.gif (or .png, "
      ".jpg)";
  const fs::path images = folder / "train", masks = folder / "train_masks";
  detail::require_folder(folder, layout);
  std::error_code problem;
  for (const fs::path& part : {images, masks})
    if (!fs::is_directory(part, problem))
      throw file_error(folder, "has no folder '" + part.filename().string() + "'; " + layout);

  carvana_dataset found;
  const detail::picture_map by_image = detail::list_pictures(images, "", found.notes);
  detail::picture_map by_mask = detail::list_pictures(masks, "_mask", found.notes);
  std::vector<std::string> without_mask;
  for (const auto& [key, file] : by_image) {
    const auto mask = by_mask.find(key);
    if (mask == by_mask.end()) {
      without_mask.push_back(file.filename().string());
    } else {
      found.samples.push_back({key.first, key.second, file, mask->second});
      by_mask.erase(mask);
    }
  }
  if (!without_mask.empty())
    throw file_error(images,
                     std::to_string(without_mask.size()) + " of " + std::to_string(by_image.size()) +
                         " images have no mask in train_masks: " + detail::enumerate_some(without_mask));
  if (found.samples.empty()) throw file_error(images, std::string("no photographs found; ") + layout);
  for (const auto& [key, file] : by_mask)
    found.notes.push_back(file.string() + ": ignored, no image in train");
  return found;
}

/// Decodes one sample at its own size. Throws file_error naming the file that is unreadable, or both sizes
/// where image and mask differ.
inline labelled_photo read_sample(const sample& which) {
  labelled_photo pair{read_image(which.image, 3), read_mask(which.mask)};
  const auto size = [](const image& picture) {
    return std::to_string(picture.width) + "x" + std::to_string(picture.height);
  };
  if (pair.photo.width != pair.mask.width || pair.photo.height != pair.mask.height)
    throw file_error(which.mask, "the mask is " + size(pair.mask) + " but its image " + which.image.string() +
                                     " is " + size(pair.photo) + "; expected equal sizes");
  return pair;
}

struct carvana_split {
  std::vector<sample> train;
  std::vector<sample> validation;
};

/// Holds out the fraction `val_fraction` of the *cars* (rounded, at least one on each side): the 16 views of
/// one car are so alike that a split by picture would measure memory instead of skill. The same cars,
/// fraction and seed give the same split; both sides keep the order of `samples`. Throws argument_error for
/// a fraction outside (0, 1) or no photographs, and file_error, which names their folder, for a single car.
inline carvana_split split_by_car(const std::vector<sample>& samples, double val_fraction,
                                  std::uint64_t seed) {
  if (!(val_fraction > 0.0 && val_fraction < 1.0))
    throw argument_error("split_by_car: the validation fraction must lie between 0 and 1, not " +
                         std::to_string(val_fraction));
  if (samples.empty()) throw argument_error("split_by_car: found no photographs");
  std::vector<std::string> cars;
  for (const sample& s : samples) cars.push_back(s.car);
  std::sort(cars.begin(), cars.end());
  cars.erase(std::unique(cars.begin(), cars.end()), cars.end());
  if (cars.size() < 2)
    throw file_error(samples.front().image.parent_path(),
                     "found photographs of 1 car (" + cars.front() +
                         "), expected at least 2 cars: one to train with and one to validate with");
  static constexpr std::uint64_t split_key = 0x5911;  // other uses of the seed draw from other streams
  random_stream random{seed, split_key};
  shuffle(cars, random);
  const auto wanted = std::llround(val_fraction * static_cast<double>(cars.size()));
  cars.resize(
      static_cast<std::size_t>(std::clamp<long long>(wanted, 1, static_cast<long long>(cars.size()) - 1)));
  std::sort(cars.begin(), cars.end());
  carvana_split split;
  for (const sample& s : samples)
    (std::binary_search(cars.begin(), cars.end(), s.car) ? split.validation : split.train).push_back(s);
  return split;
}

}  // namespace segnet
