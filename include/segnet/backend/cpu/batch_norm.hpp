// SPDX-License-Identifier: MIT
// Batch normalisation (S. Ioffe and C. Szegedy, 2015) over the rows of a [rows][channels] matrix.
#pragma once

#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/backend/cpu/row_sums.hpp>
#include <segnet/core/primitives.hpp>

#include <cmath>
#include <limits>

namespace segnet::detail {

/// Per-channel coefficients, repeated so that the inner loop stays long even at 8 channels.
template <class T, int N>
struct channel_table {
  static constexpr int size = 512;
  alignas(64) T value[N][size];
};

/// Calls f(index, table, count) for runs of elements whose coefficients are table.value[n][0 .. count);
/// of(channel) gives the N coefficients of a channel.
template <class T, int N, class Of, class F>
void for_each_run(thread_pool& pool, std::size_t rows, int channels, Of of, F f) {
  using table_type = channel_table<T, N>;
  const int block = std::min(channels, table_type::size / 2);
  const int repeat = block == channels ? table_type::size / channels : 1;
  for (int first = 0; first < channels; first += block) {
    const int width = std::min(block, channels - first);
    table_type table;
    for (int c = 0; c < width; ++c) {
      const std::array<T, N> values = of(static_cast<std::size_t>(first + c));
      for (int i = 0; i < repeat; ++i)
        for (int n = 0; n < N; ++n) table.value[n][i * width + c] = values[static_cast<std::size_t>(n)];
    }
    const auto step = static_cast<std::size_t>(repeat);
    const std::size_t grain =
        std::max<std::size_t>(1, 16384 / static_cast<std::size_t>(width * repeat)) * step;
    parallel_for(pool, rows, grain, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t row = begin; row < end; row += step)
        f(row * static_cast<std::size_t>(channels) + static_cast<std::size_t>(first), table,
          std::min(step, end - row) * static_cast<std::size_t>(width));
    });
  }
}

/// y = act(scale * x + shift); of(channel) gives a scale_shift.
template <class T, class Of>
void scale_rows(thread_pool& pool, std::size_t rows, int channels, const T* x, Of of, activation act, T* y) {
  const T floor = act == activation::relu ? T{0} : -std::numeric_limits<T>::infinity();
  const auto coefficients = [&](std::size_t c) {
    const auto [scale, shift] = of(c);
    return std::array<T, 2>{scale, shift};
  };
  for_each_run<T, 2>(pool, rows, channels, coefficients,
                     [=](std::size_t at, const channel_table<T, 2>& table, std::size_t count) {
                       const auto factor = table.value;
                       for_each_vector<T>(count, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
                         const auto value =
                             load<l>(x + at + i) * load<l>(factor[0] + i) + load<l>(factor[1] + i);
                         const auto lowest = broadcast<l>(floor);
                         store<l>(y + at + i, value < lowest ? lowest : value);  // keeps NaN
                       });
                     });
}

/// T: a number or a vector.
template <class T>
struct scale_shift {
  T scale, shift;
};
template <class T>
SEGNET_INLINE scale_shift<T> scale_and_shift(T gamma, T beta, T mean, T inv_std) {
  const T scale = gamma * inv_std;
  return {scale, beta - mean * scale};
}

template <class T>
void batch_statistics(thread_pool& pool, std::size_t rows, int channels, const T* x, T* mean, T* variance,
                      T* memory) {
  // Summed relative to the first row, so that a mean far from zero costs no digits of the variance.
  const double* sums = row_sums<2>(
      pool, rows, channels,
      [x](auto l, const lane_channels& at) {
        const auto first = convert<double, l>(at.load<l>(x));
        return [=](std::size_t i) SEGNET_INLINE_LAMBDA {
          const auto value = convert<double, l>(load<l>(x + i)) - first;
          return row_terms<2, l>{{value, value * value}};
        };
      },
      memory);
  const auto n = static_cast<double>(rows);
  const auto width = static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < width; ++c) {
    const double offset = sums[c] / n;
    mean[c] = static_cast<T>(static_cast<double>(x[c]) + offset);
    variance[c] = static_cast<T>(std::max(0.0, sums[width + c] / n - offset * offset));
  }
}

template <class T>
struct batch_norm_statistics {
  T *running_mean, *running_var;  // updated
  T *saved_mean, *saved_inv_std;  // for backward; the latter found as the variance
};

template <class T>
void batch_norm_forward(thread_pool& pool, std::size_t rows, int channels, const T* x, const T* gamma,
                        const T* beta, T epsilon, T momentum, const batch_norm_statistics<T>& to,
                        activation act, T* y) {
  const auto n = static_cast<double>(rows);
  const auto width = static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < width; ++c) {
    const auto variance = static_cast<double>(to.saved_inv_std[c]);
    const double unbiased = rows > 1 ? variance * (n / (n - 1)) : variance;
    to.saved_inv_std[c] = static_cast<T>(1 / std::sqrt(variance + static_cast<double>(epsilon)));
    to.running_mean[c] = momentum * to.running_mean[c] + (1 - momentum) * to.saved_mean[c];
    to.running_var[c] = momentum * to.running_var[c] + (1 - momentum) * static_cast<T>(unbiased);
  }
  scale_rows(
      pool, rows, channels, x,
      [&](std::size_t c) {
        return scale_and_shift(gamma[c], beta[c], to.saved_mean[c], to.saved_inv_std[c]);
      },
      act, y);
}

template <class T>
void batch_norm_backward(thread_pool& pool, std::size_t rows, int channels, const T* x, const T* dy,
                         const T* gamma, const T* beta, const T* mean, const T* inv_std, activation act,
                         T* dx, bool accumulate_dx, T* dgamma, T* dbeta, bool accumulate_parameters,
                         T* memory) {
  const T floor = act == activation::relu ? T{0} : -std::numeric_limits<T>::infinity();
  // g is dy where the activation let the value through: the mask is recomputed from x, as forward did it.
  const double* sums = row_sums<2>(
      pool, rows, channels,
      [=](auto l, const lane_channels& at) {
        const auto centre = at.load<l>(mean);
        const auto of = scale_and_shift(at.load<l>(gamma), at.load<l>(beta), centre, at.load<l>(inv_std));
        return [=](std::size_t i) SEGNET_INLINE_LAMBDA {
          const auto value = load<l>(x + i), zero = broadcast<l>(T{0});
          const auto through = value * of.scale + of.shift > broadcast<l>(floor) ? load<l>(dy + i) : zero;
          const auto g = convert<double, l>(through);
          return row_terms<2, l>{{g, g * (convert<double, l>(value) - convert<double, l>(centre))}};
        };
      },
      memory);
  const auto width = static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < width; ++c) {
    const T db = static_cast<T>(sums[c]),
            dg = static_cast<T>(sums[width + c] * static_cast<double>(inv_std[c]));
    dbeta[c] = accumulate_parameters ? dbeta[c] + db : db;
    dgamma[c] = accumulate_parameters ? dgamma[c] + dg : dg;
  }
  if (dx == nullptr) return;
  // dx = scale * (g - mean(g) - xhat * mean(g * xhat)), as scale * g + slope * (x - mean) + offset.
  const double n = static_cast<double>(rows);
  const auto coefficients = [&](std::size_t c) {
    const auto [scale, shift] = scale_and_shift(gamma[c], beta[c], mean[c], inv_std[c]);
    const double inverse = static_cast<double>(inv_std[c]);
    const double slope = -static_cast<double>(scale) * inverse * inverse * sums[width + c] / n;
    const double offset = -static_cast<double>(scale) * sums[c] / n;
    return std::array<T, 5>{scale, shift, mean[c], static_cast<T>(slope), static_cast<T>(offset)};
  };
  for_each_run<T, 5>(pool, rows, channels, coefficients,
                     [=](std::size_t at, const channel_table<T, 5>& table, std::size_t count) {
                       const auto factor = table.value;
                       for_each_vector<T>(count, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
                         const auto value = load<l>(x + at + i), scale = load<l>(factor[0] + i);
                         const auto through = value * scale + load<l>(factor[1] + i) > broadcast<l>(floor);
                         const auto g = through ? load<l>(dy + at + i) : broadcast<l>(T{0});
                         const auto centred = value - load<l>(factor[2] + i);
                         const auto d =
                             scale * g + (centred * load<l>(factor[3] + i) + load<l>(factor[4] + i));
                         store<l>(dx + at + i, accumulate_dx ? load<l>(dx + at + i) + d : d);
                       });
                     });
}

}  // namespace segnet::detail
