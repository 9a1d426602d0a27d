// SPDX-License-Identifier: MIT
// Folders of photographs with label images of several classes: CamVid's layout as SegNet's tutorial lays it
// out, or simply images and labels.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/random.hpp>
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/label_classes.hpp>
#include <segnet/data/label_image.hpp>
#include <segnet/data/picture_source.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace segnet {

/// One photograph and its label image.
struct labelled_file {
  std::filesystem::path image;
  std::filesystem::path labels;
};

/// What a folder holds, each part in the order of the file names, and remarks worth showing the user.
struct labelled_dataset {
  label_classes classes;
  std::vector<labelled_file> train, validation, test;
  std::vector<std::string> notes;
};

/// How pictures are held out where a folder does not say which to validate with.
struct holdout_options {
  double fraction = 0.2;  ///< in (0, 1)
  std::uint64_t seed = 1;
};

namespace detail {

/// The pictures of `folder` by the part of their names before the extension.
inline std::map<std::string, std::filesystem::path> pictures_by_stem(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (is_picture(entry.path()) && !is_hidden(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::map<std::string, std::filesystem::path> found;
  for (const auto& file : files) {
    const auto [place, is_new] = found.emplace(file.stem().string(), file);
    if (!is_new)
      throw file_error(file, "has the name of " + place->second.filename().string() +
                                 "; expected one picture for each name");
  }
  return found;
}

/// Each photograph of `images` with NAME or NAME_L of `labels`.
inline std::vector<labelled_file> pair_with_labels(const std::filesystem::path& images,
                                                   const std::filesystem::path& labels,
                                                   std::vector<std::string>& notes) {
  const auto photographs = pictures_by_stem(images);
  auto label_images = pictures_by_stem(labels);
  if (photographs.empty())
    throw file_error(images, "no photographs found; expected .png or .jpg files with label images in " +
                                 labels.filename().string());
  std::vector<labelled_file> pairs;
  std::vector<std::string> without;
  for (const auto& [name, file] : photographs) {
    const auto same = label_images.find(name), with_suffix = label_images.find(name + "_L");
    if (same != label_images.end() && with_suffix != label_images.end())
      throw file_error(same->second, "and " + with_suffix->second.filename().string() +
                                         " are both the labels of " + file.filename().string() +
                                         "; expected one of them");
    const auto place = same != label_images.end() ? same : with_suffix;
    if (place == label_images.end()) {
      without.push_back(file.filename().string());
    } else {
      pairs.push_back({file, place->second});
      label_images.erase(place);
    }
  }
  if (!without.empty())
    throw file_error(images, std::to_string(without.size()) + " of " + std::to_string(photographs.size()) +
                                 " photographs have no label image NAME.png or NAME_L.png in " +
                                 labels.filename().string() + ": " + enumerate_some(without));
  for (const auto& [name, file] : label_images)
    notes.push_back(file.string() + ": ignored, no photograph in " + images.filename().string());
  return pairs;
}

/// The one file of classes in `folder`.
inline std::filesystem::path find_classes_file(const std::filesystem::path& folder) {
  std::filesystem::path found;
  std::error_code problem;
  for (const char* name : {"label_colors.txt", "class_dict.csv", "classes.txt"}) {
    if (!std::filesystem::exists(folder / name, problem)) continue;
    if (!found.empty())
      throw file_error(
          folder, "holds " + found.filename().string() + " and " + name + "; expected one list of classes");
    found = folder / name;
  }
  if (found.empty())
    throw file_error(folder,
                     "has no list of classes; expected label_colors.txt (\"R G B name\" on each line), "
                     "class_dict.csv (\"name,R,G,B\") or classes.txt (a name on each line, for label images "
                     "that hold class numbers from 0)");
  return found;
}

/// Moves a part of `train`, the same for the same seed, to the result; both stay in order.
inline std::vector<labelled_file> hold_out(const std::filesystem::path& folder,
                                           std::vector<labelled_file>& train, const holdout_options& o) {
  if (!(o.fraction > 0.0 && o.fraction < 1.0))
    throw argument_error("find_labelled: the fraction held out must lie between 0 and 1, not " +
                         std::to_string(o.fraction));
  const auto count = static_cast<std::ptrdiff_t>(train.size());
  if (count < 2)
    throw file_error(folder, "has one photograph, but one for training and one for validation are needed");
  static constexpr std::uint64_t holdout_key = 0x401d;
  random_stream random{o.seed, holdout_key};
  std::vector<std::ptrdiff_t> order(train.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::ptrdiff_t>(i);
  shuffle(order, random);
  const auto wanted =
      std::clamp<std::ptrdiff_t>(std::llround(o.fraction * static_cast<double>(count)), 1, count - 1);
  std::sort(order.begin(), order.begin() + wanted);
  std::vector<labelled_file> held, kept;
  for (std::ptrdiff_t i = 0; i < count; ++i)
    (std::binary_search(order.begin(), order.begin() + wanted, i) ? held : kept)
        .push_back(std::move(train[static_cast<std::size_t>(i)]));
  train = std::move(kept);
  return held;
}

}  // namespace detail

/// Lists a folder in one of two layouts:
///
/// - train/, val/, test/ with the photographs and trainannot/, valannot/, testannot/ (or train_labels/, ...)
///   with their labels; test is optional, and without val a part of train is held out;
/// - images/ and labels/; a part is held out for validation.
///
/// Labels have the photograph's name, or that and _L: a.png and a_L.png. The folder holds one list of
/// classes, see read_label_classes(): label_colors.txt, class_dict.csv or classes.txt. What is held out is
/// drawn picture by picture: frames of one film resemble each other, and belong into val and train by hand.
/// Opens no picture. Throws file_error for what is missing or ambiguous.
inline labelled_dataset find_labelled(const std::filesystem::path& folder,
                                      const holdout_options& holdout = {}) {
  namespace fs = std::filesystem;
  static constexpr char layout[] =
      "expected train/ and trainannot/ (perhaps val/, valannot/, test/, testannot/), or images/ and labels/";
  detail::require_folder(folder, layout);
  std::error_code problem;
  const auto has = [&](const std::string& name) { return fs::is_directory(folder / name, problem); };
  labelled_dataset found;
  const auto part = [&](const std::string& name) {
    for (const char* suffix : {"annot", "_labels"})
      if (has(name + suffix))
        return detail::pair_with_labels(folder / name, folder / (name + suffix), found.notes);
    throw file_error(folder, "has " + name + "/, but no folder " + name + "annot/ of its labels; " + layout);
  };
  if (has("train")) {
    found.train = part("train");
    if (has("val")) found.validation = part("val");
    if (has("test")) found.test = part("test");
  } else if (has("images") && has("labels")) {
    found.train = detail::pair_with_labels(folder / "images", folder / "labels", found.notes);
  } else {
    throw file_error(folder, std::string("holds no labelled data set; ") + layout);
  }
  found.classes = read_label_classes(detail::find_classes_file(folder));
  if (found.validation.empty()) found.validation = detail::hold_out(folder, found.train, holdout);
  return found;
}

/// Decodes a photograph and its labels at their own size. Throws file_error naming the file that cannot be
/// read, or both sizes where they differ.
inline labelled_photo read_labelled(const labelled_file& which, const label_classes& classes) {
  labelled_photo pair{read_image(which.image, 3), read_labels(which.labels, classes)};
  const auto size = [](const image& picture) {
    return std::to_string(picture.width) + "x" + std::to_string(picture.height);
  };
  if (pair.photo.width != pair.mask.width || pair.photo.height != pair.mask.height)
    throw file_error(which.labels, "the labels are " + size(pair.mask) + " but their photograph " +
                                       which.image.string() + " is " + size(pair.photo) +
                                       "; expected equal sizes");
  return pair;
}

/// One part of a labelled_dataset for loaders of labels, in its order.
inline picture_source from_labelled(std::vector<labelled_file> files, label_classes classes) {
  auto shared = std::make_shared<const std::pair<std::vector<labelled_file>, label_classes>>(
      std::move(files), std::move(classes));
  const auto file = [shared](int i) -> const labelled_file& {
    return shared->first[static_cast<std::size_t>(i)];
  };
  return {static_cast<int>(shared->first.size()),
          [=](int i) { return read_labelled(file(i), shared->second); },
          [=](int i) { return file(i).image.string(); }};
}

}  // namespace segnet
