// SPDX-License-Identifier: MIT
// Transposed convolutions with one kernel for each channel. A pixel of the result meets about
// (kernel / stride)^2 taps, whatever the kernel's size, and no others are visited. The geometry is, as for
// all transposed convolutions, that of the convolution whose backward pass this is: h, w are the result's
// size, out_h, out_w the input's.
#pragma once

#include <segnet/backend/cpu/lanes.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/core/axes.hpp>
#include <segnet/core/primitives.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace segnet::detail {

/// [channel][row][column] to [row][column][channel], for neighbouring channels to be multiplied together.
template <class T>
void pack_depthwise(thread_pool& pool, const conv2d_geometry& g, const T* weight, T* packed) {
  const auto channels = static_cast<std::size_t>(g.in_channels),
             taps = static_cast<std::size_t>(g.kernel_h) * static_cast<std::size_t>(g.kernel_w);
  parallel_for(pool, taps, 256, [=](std::size_t begin, std::size_t end, int) {
    for (std::size_t tap = begin; tap < end; ++tap)
      for (std::size_t c = 0; c < channels; ++c) packed[tap * channels + c] = weight[c * taps + tap];
  });
}

/// y [batch][h][w][channels]; `packed` has room for all weights.
template <class T>
void depthwise_forward(thread_pool& pool, const conv2d_geometry& g, int batch, const T* x, const T* weight,
                       const conv2d_epilogue<T>& finish, T* y, T* packed) {
  pack_depthwise(pool, g, weight, packed);
  const auto channels = static_cast<std::size_t>(g.in_channels);
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.h);
  parallel_for(pool, rows, 2, [=](std::size_t begin, std::size_t end, int) {
    const spread_axis ys = down(g), xs = across(g);
    for (std::size_t row = begin; row < end; ++row) {
      const int out_y = static_cast<int>(row % static_cast<std::size_t>(g.h));
      const T* const image = x + static_cast<std::ptrdiff_t>(row) / g.h * g.out_h * g.out_w * g.in_channels;
      const auto from_y = ys.inputs(out_y);
      for (int out_x = 0; out_x < g.w; ++out_x) {
        const auto from_x = xs.inputs(out_x);
        T* const to = y + (static_cast<std::ptrdiff_t>(row) * g.w + out_x) * g.in_channels;
        for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
          auto sum = broadcast<l>(T{0});
          for (int i = from_y.begin; i < from_y.end; ++i)
            for (int j = from_x.begin; j < from_x.end; ++j) {
              const std::ptrdiff_t tap = std::ptrdiff_t{out_y + g.pad_top - i * g.stride} * g.kernel_w +
                                         (out_x + g.pad_left - j * g.stride);
              sum += load<l>(image + (std::ptrdiff_t{i} * g.out_w + j) * g.in_channels + c) *
                     load<l>(packed + tap * g.in_channels + c);
            }
          if (finish.scale != nullptr) sum *= load<l>(finish.scale + c);
          if (finish.bias != nullptr) sum += load<l>(finish.bias + c);
          const auto zero = broadcast<l>(T{0});
          if (finish.act == activation::relu) sum = sum < zero ? zero : sum;
          store<l>(to + c, sum);
        });
      }
    }
  });
}

/// dx [batch][out_h][out_w][channels].
template <class T>
void depthwise_backward_data(thread_pool& pool, const conv2d_geometry& g, int batch, const T* dy,
                             const T* weight, T* dx, bool accumulate, T* packed) {
  pack_depthwise(pool, g, weight, packed);
  const auto channels = static_cast<std::size_t>(g.in_channels);
  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.out_h);
  parallel_for(pool, rows, 1, [=](std::size_t begin, std::size_t end, int) {
    const spread_axis ys = down(g), xs = across(g);
    for (std::size_t row = begin; row < end; ++row) {
      const int y = static_cast<int>(row % static_cast<std::size_t>(g.out_h));
      const T* const image = dy + static_cast<std::ptrdiff_t>(row) / g.out_h * g.h * g.w * g.in_channels;
      const auto taps_y = ys.taps(y);
      for (int column = 0; column < g.out_w; ++column) {
        const auto taps_x = xs.taps(column);
        T* const to = dx + (static_cast<std::ptrdiff_t>(row) * g.out_w + column) * g.in_channels;
        for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
          auto sum = accumulate ? load<l>(to + c) : broadcast<l>(T{0});
          for (int r = taps_y.begin; r < taps_y.end; ++r) {
            const std::ptrdiff_t line =
                std::ptrdiff_t{y * g.stride + r - g.pad_top} * g.w + (column * g.stride - g.pad_left);
            for (int s = taps_x.begin; s < taps_x.end; ++s)
              sum += load<l>(image + (line + s) * g.in_channels + c) *
                     load<l>(packed + (std::ptrdiff_t{r} * g.kernel_w + s) * g.in_channels + c);
          }
          store<l>(to + c, sum);
        });
      }
    }
  });
}

/// dweight [channel][row][column]: a task's tap is summed over all images by it alone, row by row in T and
/// the rows' sums in double.
template <class T>
void depthwise_backward_weights(thread_pool& pool, const conv2d_geometry& g, int batch, const T* x,
                                const T* dy, T* dweight, bool accumulate) {
  const auto channels = static_cast<std::size_t>(g.in_channels),
             taps = static_cast<std::size_t>(g.kernel_h) * static_cast<std::size_t>(g.kernel_w);
  parallel_for(pool, taps, 1, [=](std::size_t tap, std::size_t, int) {
    const int r = static_cast<int>(tap) / g.kernel_w, s = static_cast<int>(tap) % g.kernel_w;
    const auto rows = down(g).inputs_of_tap(r), columns = across(g).inputs_of_tap(s);
    for_each_vector<T, simd<double>::lanes>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
      auto total = broadcast<l>(0.0);
      for (int image = 0; image < batch; ++image)
        for (int i = rows.begin; i < rows.end; ++i) {
          const T* from = x + (std::ptrdiff_t{image} * g.out_h + i) * g.out_w * g.in_channels + c;
          const T* slope =
              dy + (std::ptrdiff_t{image} * g.h + i * g.stride + r - g.pad_top) * g.w * g.in_channels + c;
          auto sum = broadcast<l>(T{0});
          for (int j = columns.begin; j < columns.end; ++j)
            sum += load<l>(from + std::ptrdiff_t{j} * g.in_channels) *
                   load<l>(slope + std::ptrdiff_t{j * g.stride + s - g.pad_left} * g.in_channels);
          total += convert<double, l>(sum);
        }
      std::array<double, l> lane;
      store<l>(lane.data(), total);
      for (std::size_t i = 0; i < lane.size(); ++i) {
        T& to = dweight[(c + i) * taps + tap];
        to = static_cast<T>(lane[i]) + (accumulate ? to : T{0});
      }
    });
  });
}

}  // namespace segnet::detail
