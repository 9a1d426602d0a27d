// SPDX-License-Identifier: MIT
// How well predicted outlines follow the labels', which counts of pixels hardly show.
#pragma once

#include <segnet/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace segnet {

namespace detail {

/// What is no class.
inline constexpr std::uint8_t no_class = 255;

/// For each class the pixels on its outline (y * width + x): those with a neighbour of another class above,
/// below, left or right. Neither the image's edge nor a neighbour without a class makes an outline.
inline std::vector<std::vector<std::size_t>> outlines(std::span<const std::uint8_t> map, std::size_t width,
                                                      std::size_t classes) {
  std::vector<std::vector<std::size_t>> found(classes);
  for (std::size_t i = 0; i < map.size(); ++i) {
    const std::uint8_t c = map[i];
    if (c == no_class) continue;
    const auto differs = [&](std::size_t at) { return map[at] != c && map[at] != no_class; };
    const std::size_t x = i % width;
    if ((x > 0 && differs(i - 1)) || (x + 1 < width && differs(i + 1)) ||
        (i >= width && differs(i - width)) || (i + width < map.size() && differs(i + width)))
      found[c].push_back(i);
  }
  return found;
}

/// How many pixels of `from` are within `reach` of one of `to`, by Euclidean distance. The first half of an
/// exact distance transform, down the columns, is made for the whole image; the second, along the rows, only
/// as far as it is asked for.
inline std::size_t count_near(std::span<const std::size_t> from, std::span<const std::size_t> to,
                              std::size_t height, std::size_t width, double reach,
                              std::vector<std::uint16_t>& distance) {
  if (from.empty() || to.empty()) return 0;
  const auto far = static_cast<std::uint16_t>(std::min(reach, 65533.0) + 1);  // stands for all beyond `reach`
  distance.assign(height * width, far);
  for (std::size_t i : to) distance[i] = 0;
  const auto relax = [&](std::size_t i, std::size_t neighbour) {
    distance[i] = std::min(distance[i], static_cast<std::uint16_t>(distance[neighbour] + 1));
  };
  for (std::size_t i = width; i < distance.size(); ++i) relax(i, i - width);
  for (std::size_t y = height - 1; y-- > 0;)
    for (std::size_t i = y * width; i < (y + 1) * width; ++i) relax(i, i + width);

  const double square = reach * reach;
  const auto is_near = [&](std::size_t i) {
    const std::size_t x = i % width;
    const auto within = [&](std::size_t at, std::size_t across) {
      const auto down = static_cast<double>(distance[at]), side = static_cast<double>(across);
      return down * down + side * side <= square;
    };
    for (std::size_t d = 0; static_cast<double>(d) <= reach; ++d)
      if ((d <= x && within(i - d, d)) || (x + d < width && within(i + d, d))) return true;
    return false;
  };
  return static_cast<std::size_t>(std::ranges::count_if(from, is_near));
}

/// The harmonic mean of precision and recall. Where neither has an outline, nothing was to be found, and
/// nothing was: 1.
inline double f1(double precise, double predicted, double recalled, double labelled) {
  if (predicted == 0 && labelled == 0) return 1;
  if (precise == 0 || recalled == 0) return 0;
  const double precision = precise / predicted, recall = recalled / labelled;
  return 2 * precision * recall / (precision + recall);
}

}  // namespace detail

/// The boundary F1 of Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic
/// segmentation?", 2013: for each image and each class that its labels have, the harmonic mean of precision
/// (the part of the predicted outline within `tolerance` of the labels' outline) and recall (the other way
/// round); averaged over an image's classes, then over the images. Pixels with the label `ignore` are left
/// out of both; images without any other label do not count.
class boundary_f1 {
 public:
  /// 2 to 255 classes; tolerance: a part of the image's diagonal, as in the paper. Throws argument_error.
  explicit boundary_f1(int classes, double tolerance = 0.0075, std::uint8_t ignore = 255)
      : tolerance_(tolerance), ignore_(ignore) {
    if (classes < 2 || classes > 255)
      throw argument_error("boundary_f1: " + std::to_string(classes) + " classes, expected 2 to 255");
    if (!(tolerance >= 0)) throw argument_error("boundary_f1: the tolerance is negative or no number");
    of_class_.resize(static_cast<std::size_t>(classes));
  }

  /// One image of class numbers, row after row. O(pixels) for each class in its labels. Throws
  /// argument_error, and counts nothing, where the sizes differ or a number is no class.
  void add(std::span<const std::uint8_t> prediction, std::span<const std::uint8_t> labels, int height,
           int width) {
    const auto h = static_cast<std::size_t>(height), w = static_cast<std::size_t>(width);
    check(prediction, labels, h * w, height, width);
    std::vector<std::uint8_t> found(prediction.begin(), prediction.end()),
        truth(labels.begin(), labels.end());
    std::vector<bool> present(of_class_.size());
    for (std::size_t i = 0; i < truth.size(); ++i) {
      if (labels[i] == ignore_)
        found[i] = truth[i] = detail::no_class;
      else
        present[labels[i]] = true;
    }
    const auto predicted = detail::outlines(found, w, of_class_.size());
    const auto labelled = detail::outlines(truth, w, of_class_.size());
    const double reach = tolerance_ * std::hypot(height, width);
    std::vector<std::uint16_t> distance;
    average image;
    for (std::size_t c = 0; c < of_class_.size(); ++c) {
      if (!present[c]) continue;
      const auto near = [&](const auto& from, const auto& to) {
        return static_cast<double>(detail::count_near(from[c], to[c], h, w, reach, distance));
      };
      const double score = detail::f1(near(predicted, labelled), static_cast<double>(predicted[c].size()),
                                      near(labelled, predicted), static_cast<double>(labelled[c].size()));
      image.add(score);
      of_class_[c].add(score);
    }
    if (image.count > 0) images_.add(*image.value());
  }

  /// Adds what another one counted; throws argument_error where it has other classes.
  boundary_f1& operator+=(const boundary_f1& other) {
    if (other.of_class_.size() != of_class_.size())
      throw argument_error("boundary_f1: found one of " + std::to_string(other.of_class_.size()) +
                           " classes to add, expected " + std::to_string(of_class_.size()));
    images_ += other.images_;
    for (std::size_t c = 0; c < of_class_.size(); ++c) of_class_[c] += other.of_class_[c];
    return *this;
  }

  int classes() const { return static_cast<int>(of_class_.size()); }
  std::size_t images() const { return images_.count; }
  /// Over the images; throws argument_error where there is none.
  double mean() const {
    if (images_.count == 0) throw argument_error("boundary_f1: no image with labels was counted");
    return *images_.value();
  }
  /// Of one class over the images whose labels have it; none where there is no such image.
  std::optional<double> score(int c) const { return of_class_[static_cast<std::size_t>(c)].value(); }

 private:
  struct average {
    double sum = 0;
    std::size_t count = 0;

    void add(double value) { sum += value, ++count; }
    average& operator+=(const average& other) {
      sum += other.sum, count += other.count;
      return *this;
    }
    std::optional<double> value() const {
      if (count == 0) return std::nullopt;
      return sum / static_cast<double>(count);
    }
  };

  void check(std::span<const std::uint8_t> prediction, std::span<const std::uint8_t> labels,
             std::size_t pixels, int height, int width) const {
    if (height < 1 || width < 1 || prediction.size() != pixels || labels.size() != pixels)
      throw argument_error("boundary_f1: " + std::to_string(prediction.size()) + " predictions and " +
                           std::to_string(labels.size()) + " labels, expected those of " +
                           std::to_string(height) + "x" + std::to_string(width) + " pixels");
    for (std::size_t i = 0; i < pixels; ++i) {
      if (labels[i] == ignore_) continue;
      if (const int found = std::max(prediction[i], labels[i]); found >= classes())
        throw argument_error("boundary_f1: found the class " + std::to_string(found) + ", expected 0 to " +
                             std::to_string(classes() - 1));
    }
  }

  std::vector<average> of_class_;
  average images_;
  double tolerance_;
  std::uint8_t ignore_;
};

}  // namespace segnet
