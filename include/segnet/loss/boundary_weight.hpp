// SPDX-License-Identifier: MIT
// Loss weights that make the pixels near an outline count more.
#pragma once

#include <segnet/config.hpp>
#include <segnet/core/error.hpp>
#include <segnet/core/tensor_view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace segnet {

/// The window's width in pixels for images of this size: 11 up to 128 pixels, in proportion above, odd.
constexpr int boundary_window(shape dims) { return std::max(11, 11 * std::min(dims.h, dims.w) / 128) | 1; }

/// Weighs a pixel 1 or, where its window sees both car and background, `weight`: with a the average of the
/// mask over the window x window pixels around it (those inside the image),
///
///   w = (low < a < high ? weight : 1) / mean,    mean = the mean of the numerator over the batch.
///
/// From the weighted BCE-Dice loss of the Keras solutions of the Carvana challenge.
struct boundary_weight {
  double weight = 3;
  double low = 0.01, high = 0.99;
  int window = 0;  ///< odd; 0: boundary_window(dims)

  /// Whether a window of `seen` pixels with this sum of the mask holds both car and background.
  SEGNET_HD bool sees_both(double sum, int seen) const { return low * seen < sum && sum < high * seen; }

  /// How many doubles of workspace a batch needs.
  static constexpr std::size_t workspace_size(int n, shape dims) {
    return static_cast<std::size_t>(n) * static_cast<std::size_t>(dims.w);
  }

  /// masks: n images of one channel in [0, 1]; weights: as many. O(pixels) whatever the window. Throws
  /// argument_error where a shape does not fit.
  template <class Backend>
  void operator()(Backend& backend, tensor_view<const typename Backend::scalar> masks,
                  tensor_view<typename Backend::scalar> weights, std::span<double> workspace) const {
    using T = typename Backend::scalar;
    const shape dims = masks.dims;
    const int side = window != 0 ? window : boundary_window(dims);
    if (dims.c != 1 || weights.n != masks.n || weights.dims != dims)
      throw argument_error("boundary_weight: masks and weights must have one channel and one shape");
    if (side < 1 || side % 2 == 0)
      throw argument_error("boundary_weight: the window is " + std::to_string(side) +
                           " pixels wide, expected an odd number");
    if (workspace.size() < workspace_size(masks.n, dims))
      throw argument_error("boundary_weight: the workspace holds " + std::to_string(workspace.size()) +
                           " numbers, expected " + std::to_string(workspace_size(masks.n, dims)));

    const auto images = static_cast<std::size_t>(masks.n), width = static_cast<std::size_t>(dims.w);
    const auto near =
        backend.template parallel_sum<1>(images, 1, [=, this](std::size_t begin, std::size_t end) {
          std::array<double, 1> count{};
          for (std::size_t i = begin; i < end; ++i) {
            const std::size_t first = i * dims.pixels();
            count[0] += mark(masks.data + first, weights.data + first, dims, side,
                             workspace.subspan(i * width, width));
          }
          return count;
        });

    const double pixels = static_cast<double>(masks.size());
    const T normal = static_cast<T>(pixels / (pixels + (weight - 1) * near[0]));
    backend.parallel_for(masks.size(), 16384, [=](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i) weights.data[i] *= normal;
    });
  }

 private:
  /// Writes 1 or `weight` for one image; returns how many pixels are near the outline. The window's sum
  /// slides: `columns` holds the sums over its rows, for each column, and loses and gains one row per step.
  /// In double, so that sliding leaves no error in two-valued masks and none worth a name in others.
  template <class T>
  double mark(const T* mask, T* out, shape dims, int side, std::span<double> columns) const {
    const int reach = side / 2, h = dims.h, w = dims.w;
    const auto add_row = [&](int y, double sign) {
      const T* row = mask + static_cast<std::ptrdiff_t>(y) * w;
      for (int x = 0; x < w; ++x) columns[static_cast<std::size_t>(x)] += sign * static_cast<double>(row[x]);
    };
    const auto column = [&](int x) { return columns[static_cast<std::size_t>(x)]; };

    std::ranges::fill(columns, 0.0);
    for (int y = 0; y < std::min(reach, h); ++y) add_row(y, 1);
    double count = 0;
    for (int y = 0; y < h; ++y) {
      if (y + reach < h) add_row(y + reach, 1);
      if (y - reach > 0) add_row(y - reach - 1, -1);
      const int rows = std::min(y + reach, h - 1) - std::max(y - reach, 0) + 1;
      double sum = 0;
      for (int x = 0; x < std::min(reach, w); ++x) sum += column(x);
      for (int x = 0; x < w; ++x) {
        if (x + reach < w) sum += column(x + reach);
        if (x - reach > 0) sum -= column(x - reach - 1);
        const int seen = rows * (std::min(x + reach, w - 1) - std::max(x - reach, 0) + 1);
        const bool boundary = sees_both(sum, seen);
        out[static_cast<std::ptrdiff_t>(y) * w + x] = boundary ? static_cast<T>(weight) : T(1);
        count += boundary;
      }
    }
    return count;
  }
};

}  // namespace segnet
