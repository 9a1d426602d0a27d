// SPDX-License-Identifier: MIT
// Separable resampling. Shrinking averages areas, enlarging interpolates linearly; both per axis.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/shape.hpp>
#include <segnet/data/image.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace segnet {
namespace detail {

/// One axis of a resampling: output i is the sum over t < taps of weight[i * taps + t] * input[first[i] + t].
struct axis_weights {
  int taps = 0;
  std::vector<int> first;
  std::vector<float> weight;
};

/// Shrinking: output i covers the inputs [i * in / out, (i + 1) * in / out), each weighted by the exact
/// fraction of it that is covered. Otherwise: linear interpolation between pixel centres (half-pixel
/// convention), edges clamped.
inline axis_weights make_axis_weights(int in, int out) {
  axis_weights axis;
  const double scale = static_cast<double>(in) / out;
  axis.taps = std::min(in, out < in ? static_cast<int>(std::ceil(scale)) + 1 : 2);
  axis.first.resize(static_cast<std::size_t>(out));
  axis.weight.assign(static_cast<std::size_t>(out) * static_cast<std::size_t>(axis.taps), 0.0f);
  for (int i = 0; i < out; ++i) {
    float* weight = axis.weight.data() + static_cast<std::ptrdiff_t>(i) * axis.taps;
    int& first = axis.first[static_cast<std::size_t>(i)];
    if (out < in) {
      const double low = i * scale, high = (i + 1) * scale;
      first = std::clamp(static_cast<int>(low), 0, in - axis.taps);
      for (int t = 0; t < axis.taps; ++t) {
        const double covered =
            std::min(high, first + t + 1.0) - std::max(low, static_cast<double>(first + t));
        weight[t] = static_cast<float>(std::max(covered, 0.0) / scale);
      }
    } else {
      const double centre = std::clamp((i + 0.5) * scale - 0.5, 0.0, in - 1.0);
      first = std::clamp(static_cast<int>(centre), 0, in - axis.taps);
      const float fraction = static_cast<float>(centre - first);
      weight[0] = 1.0f - fraction;
      if (axis.taps > 1) weight[1] = fraction;
    }
  }
  return axis;
}

/// Rows of `row` values in, axis.first.size() rows out. The inner loop runs along the row: it vectorises.
template <class T>
void resample_rows(const T* in, std::size_t row, const axis_weights& axis, float* out) {
  for (std::size_t i = 0; i < axis.first.size(); ++i) {
    float* sum = out + i * row;
    std::fill_n(sum, row, 0.0f);
    for (int t = 0; t < axis.taps; ++t) {
      const float weight = axis.weight[i * static_cast<std::size_t>(axis.taps) + static_cast<std::size_t>(t)];
      if (weight == 0.0f) continue;
      const T* source = in + static_cast<std::size_t>(axis.first[i] + t) * row;
      for (std::size_t x = 0; x < row; ++x) sum[x] += weight * static_cast<float>(source[x]);
    }
  }
}

/// The same along x, for `rows` rows of `width` pixels with C channels.
template <int C, class T>
void resample_columns(const T* in, int rows, int width, const axis_weights& axis, float* out) {
  for (int y = 0; y < rows; ++y) {
    const T* source = in + static_cast<std::ptrdiff_t>(y) * width * C;
    const float* weight = axis.weight.data();
    for (const int first : axis.first) {
      float sum[C] = {};
      const T* pixel = source + static_cast<std::ptrdiff_t>(first) * C;
      for (int t = 0; t < axis.taps; ++t, pixel += C)
        for (int c = 0; c < C; ++c) sum[c] += weight[t] * static_cast<float>(pixel[c]);
      for (int c = 0; c < C; ++c) *out++ = sum[c];
      weight += axis.taps;
    }
  }
}

template <class T>
void resample_columns(const T* in, int rows, int width, int channels, const axis_weights& axis, float* out) {
  switch (channels) {
    case 1:
      return resample_columns<1>(in, rows, width, axis, out);
    case 3:
      return resample_columns<3>(in, rows, width, axis, out);
    case 4:
      return resample_columns<4>(in, rows, width, axis, out);
    default:
      throw argument_error("resize: 1, 3 or 4 channels, not " + std::to_string(channels));
  }
}

}  // namespace detail

/// Resamples an interleaved picture of `from.h` x `from.w` x `from.c` (1, 3 or 4 channels) values to
/// `height` x `width`, in the input's range. An axis that shrinks is area-averaged (exact box filter, so
/// nothing aliases); one that grows is interpolated linearly with half-pixel centres and clamped edges.
template <class T>
std::vector<float> resize(const T* data, shape from, int height, int width) {
  if (from.h < 1 || from.w < 1 || height < 1 || width < 1)
    throw argument_error("resize: cannot resize " + std::to_string(from.w) + "x" + std::to_string(from.h) +
                         " to " + std::to_string(width) + "x" + std::to_string(height));
  const detail::axis_weights x = detail::make_axis_weights(from.w, width);
  const detail::axis_weights y = detail::make_axis_weights(from.h, height);
  const std::size_t channels = static_cast<std::size_t>(from.c);
  std::vector<float> result(shape{height, width, from.c}.size());
  // The pass that leaves fewer values goes first.
  if (height <= from.h) {
    std::vector<float> rows(shape{height, from.w, from.c}.size());
    detail::resample_rows(data, static_cast<std::size_t>(from.w) * channels, y, rows.data());
    detail::resample_columns(rows.data(), height, from.w, from.c, x, result.data());
  } else {
    std::vector<float> columns(shape{from.h, width, from.c}.size());
    detail::resample_columns(data, from.h, from.w, from.c, x, columns.data());
    detail::resample_rows(columns.data(), static_cast<std::size_t>(width) * channels, y, result.data());
  }
  return result;
}

/// The same for 8-bit pictures, rounded to the nearest value.
inline image resize(const image& picture, int height, int width) {
  const std::vector<float> values =
      resize(picture.data.data(), {picture.height, picture.width, picture.channels}, height, width);
  image result(width, height, picture.channels);
  for (std::size_t i = 0; i < values.size(); ++i)
    result.data[i] = static_cast<std::uint8_t>(std::clamp(values[i], 0.0f, 255.0f) + 0.5f);
  return result;
}

/// Class numbers (one channel): each pixel of the result takes the value at its centre. Averages of class
/// numbers would be other classes.
inline image resize_nearest(const image& labels, int height, int width) {
  if (labels.empty() || labels.channels != 1 || height < 1 || width < 1)
    throw argument_error("resize_nearest: cannot resize " + std::to_string(labels.width) + "x" +
                         std::to_string(labels.height) + "x" + std::to_string(labels.channels) + " to " +
                         std::to_string(width) + "x" + std::to_string(height) + "x1");
  // The pixel below (i + 0.5) * in / out, in whole numbers.
  const auto source = [](int i, int in, int out) {
    return static_cast<int>((2 * static_cast<std::int64_t>(i) + 1) * in /
                            (2 * static_cast<std::int64_t>(out)));
  };
  image result(width, height, 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      *result.at(x, y) = *labels.at(source(x, labels.width, width), source(y, labels.height, height));
  return result;
}

}  // namespace segnet
