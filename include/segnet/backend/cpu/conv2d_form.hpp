// SPDX-License-Identifier: MIT
// Which algorithm computes a convolution, decided from its geometry alone.
#pragma once

#include <segnet/core/primitives.hpp>

#include <algorithm>
#include <cstddef>

namespace segnet::detail {

/// The ways to compute a convolution forward, or backward to its input.
enum class product_form : unsigned char {
  direct,      ///< an indirect convolution; with a 1 x 1 kernel, a plain matrix product
  rows,        ///< few channels, wide images
  planar,      ///< the fewest channels: pixels in the lanes
  winograd_2,  ///< F(2 x 2, 3 x 3)
  winograd_4,  ///< F(4 x 4, 3 x 3)
  dot,         ///< many channels, hardly any pixels
};

/// A convolution as the product sees it: backward, outputs are the convolution's inputs.
struct product_geometry {
  int channels = 0, columns = 0;  ///< read and written for each pixel
  int out_h = 0, out_w = 0;
  int kernel_h = 3, kernel_w = 3;
  int stride = 1;
  bool transposed = false;
  bool same = false;   ///< forward, and padded by one zero on every side
  bool flips = false;  ///< backward, with stride 1 and less padding than kernel: forward with flipped taps

  static constexpr product_geometry forward(const conv2d_geometry& g) {
    const bool same = g.pad_top == 1 && g.pad_left == 1 && g.h == g.out_h && g.w == g.out_w;
    return {g.in_channels, g.out_channels, g.out_h, g.out_w, g.kernel_h,
            g.kernel_w,    g.stride,       false,   same,    false};
  }
  static constexpr product_geometry backward_data(const conv2d_geometry& g) {
    const bool flips = g.stride == 1 && g.pad_top < g.kernel_h && g.pad_left < g.kernel_w;
    return {g.out_channels, g.in_channels, g.h, g.w, g.kernel_h, g.kernel_w, g.stride, true, false, flips};
  }
};

/// Channels that Winograd's form can read from one source: what its zeros for padding must hold.
inline constexpr int max_winograd_channels = 4096;

/// Whether the rows form fits: its weights stay in the second-level cache, and the images are wide.
constexpr bool rows_form_fits(const product_geometry& p) {
  const auto pairs = static_cast<std::size_t>(p.channels) * static_cast<std::size_t>(p.columns);
  return p.kernel_w > 1 && p.out_w >= 24 && p.kernel_h <= 7 &&
         pairs * static_cast<std::size_t>(p.kernel_h * p.kernel_w) <= 40000 &&
         (!p.transposed || (p.flips && p.channels % 2 == 0));
}

/// Whether the planar form fits: its rows stay in the second-level cache.
constexpr bool planar_form_fits(const product_geometry& p) {
  return p.kernel_w > 1 && p.kernel_h <= 7 && p.kernel_w <= 7 && p.out_w >= 24 && p.channels <= 32 &&
         p.columns <= 32 && (p.transposed ? p.flips : p.stride == 1);
}

/// Whether Winograd's forms fit, and their transforms have a chance to pay.
constexpr bool winograd_form_fits(const product_geometry& p) {
  return p.kernel_h == 3 && p.kernel_w == 3 && p.stride == 1 && p.channels >= 24 &&
         (p.columns >= 24 || p.columns == 8) && p.channels <= max_winograd_channels;
}

/// Whether the dot form fits, which has code for these sizes of images only.
constexpr bool dot_form_fits(const product_geometry& p) {
  return p.kernel_h == 3 && p.kernel_w == 3 && p.stride == 1 && p.same && p.out_h == p.out_w &&
         (p.out_h == 2 || p.out_h == 4) && p.channels % 16 == 0;
}

/// Estimated processor cycles of one image for each pair of a channel and a packet of columns, from timings
/// of the kernels' parts with 16 lanes (docs/performance.md). A tile of M x M results takes (M + 2)^2
/// multiplications, which run at about 0.57 cycles each, and its share of three transforms: of the image (for
/// all columns at once), of the result (for all channels), and of the weights (for all tiles).
constexpr double winograd_cost(const product_geometry& p, int m) {
  const double image = m == 4 ? 150 : 60, result = m == 4 ? 170 : 70, weights = m == 4 ? 130 : 75;
  const auto tiles = static_cast<double>(((p.out_h + m - 1) / m) * ((p.out_w + m - 1) / m));
  return tiles * (0.57 * (m + 2) * (m + 2) + image / p.columns + result / p.channels) + weights;
}
/// The same for the direct form, which skips taps that meet padding.
constexpr double direct_cost(const product_geometry& p) {
  return 0.57 * (3.0 * p.out_h - 2) * (3.0 * p.out_w - 2) + 30;
}

constexpr product_form choose_form(const product_geometry& p) {
  if (dot_form_fits(p) && p.channels >= 64) return product_form::dot;
  if (winograd_form_fits(p)) {
    const double two = winograd_cost(p, 2), four = winograd_cost(p, 4);
    if (std::min(two, four) < direct_cost(p))
      return four <= two ? product_form::winograd_4 : product_form::winograd_2;
  }
  if (planar_form_fits(p) && p.channels <= 16 && p.columns <= 12) return product_form::planar;
  return rows_form_fits(p) ? product_form::rows : product_form::direct;
}

/// The form of the weight gradient. F(2 x 2) never pays there.
constexpr product_form choose_weights_form(const conv2d_geometry& g) {
  if (g.kernel_h == 3 && g.kernel_w == 3 && g.stride == 1 && g.in_channels >= 24 && g.out_channels >= 24 &&
      g.out_h >= 4 && g.out_w >= 4 && std::max(g.in_channels, g.out_channels) <= max_winograd_channels)
    return product_form::winograd_4;
  return g.kernel_w > 1 && g.out_w >= 24 && g.weights() <= 40000 && g.kernel_h <= 7 ? product_form::rows
                                                                                    : product_form::direct;
}

}  // namespace segnet::detail
