// SPDX-License-Identifier: MIT
// 1 x 1 convolutions to very few channels, as at the end of a segmentation network: there a matrix product
// would leave most lanes empty. What remains is to read the pixels once.
#pragma once

#include <segnet/backend/cpu/lanes.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/backend/cpu/row_sums.hpp>
#include <segnet/core/primitives.hpp>

#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>

namespace segnet::detail {

/// From here on a matrix product fills enough lanes to win.
inline constexpr int max_pointwise_outputs = 4;

constexpr bool pointwise_fits(const conv2d_geometry& g) {
  return g.kernel_h == 1 && g.kernel_w == 1 && g.stride == 1 && g.pad_top == 0 && g.pad_left == 0 &&
         g.h == g.out_h && g.w == g.out_w && g.out_channels <= max_pointwise_outputs;
}
/// Whether the sources are one tensor that is read as it is.
template <class T>
bool is_plain(std::span<const conv2d_source<T>> sources) {
  return sources.size() == 1 && sources[0].upsample == 1;
}

inline constexpr std::size_t pointwise_grain = 4096;  // pixels

inline std::size_t pixels_of(const conv2d_geometry& g, int batch) {
  return static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.h) * static_cast<std::size_t>(g.w);
}

/// The sum of a[i] * b[i].
template <class T>
SEGNET_INLINE T dot(const T* a, const T* b, std::size_t size) {
  constexpr int widest = simd<T>::lanes;
  vec<T, widest> wide{};
  std::size_t rest = 0;
  for (; rest + widest <= size; rest += widest) wide += load<widest>(a + rest) * load<widest>(b + rest);
  T sum = rest > 0 ? sum_of<T, widest>(wide) : T{0};
  const auto add = [&](auto l, std::size_t i)
                       SEGNET_INLINE_LAMBDA { sum += sum_of<T, l>(load<l>(a + i) * load<l>(b + i)); };
  for_each_vector<T>(size, add, rest);
  return sum;
}

/// Lane i is the sum of Channels neighbouring products, x[Channels i + c] * weight[c]; `weight` is repeated
/// to fill its vector. Half of the sums twice, then neighbours added: the order remains.
template <int Channels, int Lanes, class T>
SEGNET_INLINE vec<T, Lanes> neighbour_dots(const T* x, vec<T, Lanes> weight) {
  if constexpr (Channels == 1) {
    return load<Lanes>(x) * weight;
  } else {
    const auto low = neighbour_dots<Channels / 2, Lanes>(x, weight);
    const auto high = neighbour_dots<Channels / 2, Lanes>(x + Channels / 2 * Lanes, weight);
    return shuffle<Lanes>(low, high, [](int i) { return 2 * i; }) +
           shuffle<Lanes>(low, high, [](int i) { return 2 * i + 1; });
  }
}

/// out[i * step] = the product of pixel i and `weight`, for one output.
template <class T>
void pointwise_products(const T* x, std::size_t pixels, std::size_t channels, const T* weight, T* out,
                        std::size_t step) {
  std::size_t pixel = 0;
  with_channels(channels, [&](auto width) SEGNET_INLINE_LAMBDA {
    if constexpr (!std::is_same_v<decltype(width), std::size_t>) {
      constexpr int lanes = simd<T>::lanes, fixed = static_cast<int>(width());
      if constexpr (fixed <= lanes) {
        std::array<T, lanes> repeated, sums;
        for (std::size_t i = 0; i < lanes; ++i) repeated[i] = weight[i % width];
        for (; pixel + lanes <= pixels; pixel += lanes) {
          store<lanes>(sums.data(),
                       neighbour_dots<fixed, lanes>(x + pixel * width, load<lanes>(repeated.data())));
          for (std::size_t i = 0; i < lanes; ++i) out[(pixel + i) * step] = sums[i];
        }
      }
    }
    for (; pixel < pixels; ++pixel) out[pixel * step] = dot(x + pixel * width, weight, width);
  });
}

template <class T>
void pointwise_forward(thread_pool& pool, const conv2d_geometry& g, int batch, const T* x, const T* weight,
                       const conv2d_epilogue<T>& finish, T* out) {
  const auto channels = static_cast<std::size_t>(g.in_channels),
             outputs = static_cast<std::size_t>(g.out_channels);
  const T floor = finish.act == activation::relu ? T{0} : -std::numeric_limits<T>::infinity();
  parallel_for(pool, pixels_of(g, batch), pointwise_grain, [=](std::size_t begin, std::size_t end, int) {
    T* const to = out + begin * outputs;
    for (std::size_t k = 0; k < outputs; ++k) {
      pointwise_products(x + begin * channels, end - begin, channels, weight + k * channels, to + k, outputs);
      const T scale = finish.scale != nullptr ? finish.scale[k] : T{1};
      const T bias = finish.bias != nullptr ? finish.bias[k] : T{0};
      for (std::size_t i = k; i < (end - begin) * outputs; i += outputs) {
        const T value = scale * to[i] + bias;
        to[i] = value < floor ? floor : value;  // keeps NaN
      }
    }
  });
}

template <class T>
void pointwise_backward_data(thread_pool& pool, const conv2d_geometry& g, int batch, const T* dy,
                             const T* weight, T* dx, bool accumulate) {
  const auto outputs = static_cast<std::size_t>(g.out_channels);
  with_channels(static_cast<std::size_t>(g.in_channels), [&](auto channels) {
    parallel_for(pool, pixels_of(g, batch), pointwise_grain, [=](std::size_t begin, std::size_t end, int) {
      for (std::size_t pixel = begin; pixel < end; ++pixel) {
        const T* const slope = dy + pixel * outputs;
        T* const to = dx + pixel * channels;
        for_each_vector<T>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
          auto sum = accumulate ? load<l>(to + c) : broadcast<l>(T{0});
          for (std::size_t k = 0; k < outputs; ++k) sum += load<l>(weight + k * channels + c) * slope[k];
          store<l>(to + c, sum);
        });
      }
    });
  });
}

template <class T>
constexpr std::size_t pointwise_backward_weights_size(const conv2d_geometry& g) {
  return row_sums_size<T>(g.out_channels, g.in_channels);
}

/// Adds to sums[0 .. Lanes) the products of channels [c, c + Lanes) with output k's gradient.
template <int Lanes, class T>
SEGNET_INLINE void add_pointwise_products(const T* x, std::size_t channels, const T* dy, std::size_t outputs,
                                          std::size_t first, std::size_t last, double* sums) {
  constexpr std::size_t side_by_side = 4;  // sums, to hide how long an addition takes
  const auto product = [=](std::size_t pixel) SEGNET_INLINE_LAMBDA {
    return convert<double, Lanes>(load<Lanes>(x + pixel * channels)) *
           static_cast<double>(dy[pixel * outputs]);
  };
  vec<double, Lanes> sum[side_by_side] = {};
  std::size_t pixel = first;
  for (; pixel + side_by_side <= last; pixel += side_by_side)
    unroll<side_by_side>([&](auto i) SEGNET_INLINE_LAMBDA { sum[i] += product(pixel + i); });
  for (; pixel < last; ++pixel) sum[0] += product(pixel);
  store<Lanes>(sums, load<Lanes>(sums) + ((sum[0] + sum[1]) + (sum[2] + sum[3])));
}

/// `memory`: pointwise_backward_weights_size() elements.
template <class T>
void pointwise_backward_weights(thread_pool& pool, const conv2d_geometry& g, int batch, const T* x,
                                const T* dy, T* dweight, bool accumulate, T* memory) {
  const auto channels = static_cast<std::size_t>(g.in_channels),
             outputs = static_cast<std::size_t>(g.out_channels);
  const double* total = chunked_row_sums(
      pool, pixels_of(g, batch), g.weights(), memory, [=](std::size_t first, std::size_t last, double* sums) {
        for (std::size_t k = 0; k < outputs; ++k)
          for_each_vector<double>(channels, [=](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
            add_pointwise_products<l>(x + c, channels, dy + k, outputs, first, last, sums + k * channels + c);
          });
      });
  for (std::size_t i = 0; i < g.weights(); ++i)
    dweight[i] = static_cast<T>(total[i]) + (accumulate ? dweight[i] : T{0});
}

}  // namespace segnet::detail
