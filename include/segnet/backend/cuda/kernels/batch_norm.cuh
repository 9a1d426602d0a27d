// SPDX-License-Identifier: MIT
// Sums per channel, batch normalisation and what else scales channels.
#pragma once

#include <segnet/backend/cuda/kernels/columns.cuh>

#include <cmath>
#include <limits>

namespace segnet::gpu::kernels {

namespace detail {

inline float floor_of(activation act) {
  return act == activation::relu ? 0 : -std::numeric_limits<float>::infinity();
}

template <int N>
struct scale_shift {
  floats<N> scale, shift;
};

/// Coefficients from gamma, beta and the statistics; `inverted`: `spread` holds 1 / sqrt(variance + epsilon)
/// instead of the variance.
struct normalisation {
  const float *gamma, *beta, *mean, *spread;
  bool inverted;
  float epsilon;

  template <int N>
  SEGNET_HD scale_shift<N> of(const lane_channels<N>& c) const {
    const floats<N> factor = c.read(gamma), offset = c.read(beta), centre = c.read(mean),
                    width_of = c.read(spread);
    scale_shift<N> r;
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      const float inverse = inverted ? width_of.lane[i] : 1 / std::sqrt(width_of.lane[i] + epsilon);
      r.scale.lane[i] = factor.lane[i] * inverse;
      r.shift.lane[i] = offset.lane[i] - centre.lane[i] * r.scale.lane[i];
    }
    return r;
  }
};
/// Coefficients as they are given; null: ones and zeros.
struct given_scale_shift {
  const float *scale, *shift;

  template <int N>
  SEGNET_HD scale_shift<N> of(const lane_channels<N>& c) const {
    scale_shift<N> r;
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      r.scale.lane[i] = scale != nullptr ? scale[c.of[i]] : 1;
      r.shift.lane[i] = shift != nullptr ? shift[c.of[i]] : 0;
    }
    return r;
  }
};

template <int N>
SEGNET_HD floats<N> scaled(const scale_shift<N>& s, const floats<N>& x, float floor) {
  floats<N> y;
  SEGNET_UNROLL
  for (int i = 0; i < N; ++i) {
    const float value = x.lane[i] * s.scale.lane[i] + s.shift.lane[i];
    y.lane[i] = value < floor ? floor : value;  // keeps NaN
  }
  return y;
}

/// y = max(floor, scale * x + shift).
template <class T, class Coefficients>
struct scale_body {
  Coefficients coefficients;
  float floor;
  const T* x;
  T* y;

  template <int N>
  SEGNET_HD scale_shift<N> prepare(const lane_channels<N>& c) const {
    return coefficients.of(c);
  }
  template <int N>
  SEGNET_HD pack<T, N> fetch(std::size_t at, width<N>) const {
    return load<N>(x + at);
  }
  template <int N>
  SEGNET_HD void use(const scale_shift<N>& s, const pack<T, N>& value, std::size_t at, no_sums&, int) const {
    store(y + at, narrow<T>(scaled(s, widen(value), floor)));
  }
};
template <class T, class Coefficients>
void scale_rows(cudaStream_t stream, std::size_t rows, int channels, const T* x, Coefficients of,
                activation act, T* y) {
  for_each_column<T>(stream, rows, channels, fits_packs<T>({x, y}),
                     scale_body<T, Coefficients>{of, floor_of(act), x, y});
}

template <class T>
struct sum_body {
  static constexpr int sums = 1;
  const T* x;

  template <int N>
  SEGNET_HD no_sums prepare(const lane_channels<N>&) const {
    return {};
  }
  template <int N>
  SEGNET_HD pack<T, N> fetch(std::size_t at, width<N>) const {
    return load<N>(x + at);
  }
  template <int N, class Sums>
  SEGNET_HD void use(no_sums, const pack<T, N>& value, std::size_t, Sums& to, int lane) const {
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) to.of[0][lane + i] += static_cast<float>(value.lane[i]);
  }
};
struct finish_sums {
  float* sums;
  bool accumulate;

  SEGNET_HD void operator()(unsigned c, const double* sum) const {
    sums[c] = static_cast<float>(sum[0]) + (accumulate ? sums[c] : 0);
  }
};

/// Sums of x and x^2 relative to the first row, so that a mean far from zero costs no digits of the variance.
template <class T>
struct statistics_body {
  static constexpr int sums = 2;
  const T* x;

  template <int N>
  SEGNET_HD floats<N> prepare(const lane_channels<N>& c) const {
    floats<N> first;
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) first.lane[i] = static_cast<float>(x[c.of[i]]);
    return first;
  }
  template <int N>
  SEGNET_HD pack<T, N> fetch(std::size_t at, width<N>) const {
    return load<N>(x + at);
  }
  template <int N, class Sums>
  SEGNET_HD void use(const floats<N>& first, const pack<T, N>& value, std::size_t, Sums& to, int lane) const {
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      const float difference = static_cast<float>(value.lane[i]) - first.lane[i];
      to.of[0][lane + i] += difference;
      to.of[1][lane + i] += difference * difference;
    }
  }
};
SEGNET_HD inline float variance_of(double mean_square, double mean) {
  const double variance = mean_square - mean * mean;
  return static_cast<float>(variance < 0 ? 0 : variance);
}
template <class T>
struct finish_shifted_statistics {
  const T* x;
  double rows;
  float *mean, *variance;

  SEGNET_HD void operator()(unsigned c, const double* sum) const {
    const double offset = sum[0] / rows;
    mean[c] = static_cast<float>(static_cast<double>(static_cast<float>(x[c])) + offset);
    variance[c] = variance_of(sum[1] / rows, offset);
  }
};
struct finish_plain_statistics {
  double rows;
  const float *sum, *sum_of_squares;
  float *mean, *variance;

  SEGNET_HD void operator()(std::size_t c) const {
    const double centre = static_cast<double>(sum[c]) / rows;
    const float spread = variance_of(static_cast<double>(sum_of_squares[c]) / rows, centre);
    mean[c] = static_cast<float>(centre);
    variance[c] = spread;
  }
};

/// Moves the running statistics and inverts the variance.
inline double unbiased(std::size_t rows) {
  return rows > 1 ? static_cast<double>(rows) / static_cast<double>(rows - 1) : 1;
}
struct move_statistics {
  float epsilon, momentum;
  double unbiased;  // n / (n - 1)
  const step_values* step;
  float *running_mean, *running_var, *mean, *variance;

  SEGNET_HD void operator()(std::size_t c) const {
    const float keep = step != nullptr ? smaller(momentum, step->momentum_limit) : momentum;
    const double spread = static_cast<double>(variance[c]);
    variance[c] = static_cast<float>(1 / std::sqrt(spread + static_cast<double>(epsilon)));
    running_mean[c] = keep * running_mean[c] + (1 - keep) * mean[c];
    running_var[c] = keep * running_var[c] + (1 - keep) * static_cast<float>(spread * unbiased);
  }
};

/// And the coefficients that the normalisation comes to.
struct move_statistics_to_coefficients {
  move_statistics move;
  const float *gamma, *beta;
  float *scale, *shift;

  SEGNET_HD void operator()(std::size_t c) const {
    move(c);
    const float factor = gamma[c] * move.variance[c];  // which is 1 / sqrt(variance + epsilon) now
    scale[c] = factor;
    shift[c] = beta[c] - move.mean[c] * factor;
  }
};

template <class T, int N>
struct x_and_dy {
  pack<T, N> x, dy;
};

/// Sums of g and g * (x - mean); g is dy where the activation let the value through: the mask is computed
/// again from x, as forward did it.
template <class T, class Coefficients>
struct slope_sums_body {
  static constexpr int sums = 2;
  Coefficients norm;
  const float* mean;
  float floor;
  const T *x, *dy;

  template <int N>
  struct state {
    scale_shift<N> of;
    floats<N> centre;
  };
  template <int N>
  SEGNET_HD state<N> prepare(const lane_channels<N>& c) const {
    return {norm.of(c), c.read(mean)};
  }
  template <int N>
  SEGNET_HD x_and_dy<T, N> fetch(std::size_t at, width<N>) const {
    return {load<N>(x + at), load<N>(dy + at)};
  }
  template <int N, class Sums>
  SEGNET_HD void use(const state<N>& s, const x_and_dy<T, N>& value, std::size_t, Sums& to, int lane) const {
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      const auto in = static_cast<float>(value.x.lane[i]);
      const bool through = in * s.of.scale.lane[i] + s.of.shift.lane[i] > floor;
      const float g = through ? static_cast<float>(value.dy.lane[i]) : 0;
      to.of[0][lane + i] += g;
      to.of[1][lane + i] += g * (in - s.centre.lane[i]);
    }
  }
};
/// The parameters' gradients, and the coefficients of dx = scale * (g - mean(g) - xhat * mean(g * xhat)) =
/// scale * g + slope * (x - mean) + offset.
struct finish_slope_sums {
  const float *gamma, *inv_std;
  double rows;
  float *dgamma, *dbeta;
  bool accumulate;
  float *slope, *offset;

  SEGNET_HD void operator()(unsigned c, const double* sum) const {
    const double inverse = static_cast<double>(inv_std[c]), scale = static_cast<double>(gamma[c]) * inverse;
    dbeta[c] = static_cast<float>(sum[0]) + (accumulate ? dbeta[c] : 0);
    dgamma[c] = static_cast<float>(sum[1] * inverse) + (accumulate ? dgamma[c] : 0);
    slope[c] = static_cast<float>(-scale * inverse * inverse * sum[1] / rows);
    offset[c] = static_cast<float>(-scale * sum[0] / rows);
  }
};
/// The same from sums that are there already.
struct finish_given_slope_sums {
  finish_slope_sums finish;
  const float* sums;
  unsigned channels;

  SEGNET_HD void operator()(std::size_t c) const {
    const double sum[2] = {static_cast<double>(sums[c]), static_cast<double>(sums[channels + c])};
    finish(static_cast<unsigned>(c), sum);
  }
};
struct keep_sums {
  float* sums;
  unsigned channels;

  SEGNET_HD void operator()(unsigned c, const double* sum) const {
    sums[c] = static_cast<float>(sum[0]);
    sums[channels + c] = static_cast<float>(sum[1]);
  }
};
template <class T>
struct slope_body {
  normalisation norm;
  float floor;
  const float *slope, *offset;
  const T *x, *dy;
  T* dx;
  bool accumulate;

  template <int N>
  struct state {
    scale_shift<N> of;
    floats<N> centre, slope, offset;
  };
  template <int N>
  SEGNET_HD state<N> prepare(const lane_channels<N>& c) const {
    return {norm.of(c), c.read(norm.mean), c.read(slope), c.read(offset)};
  }
  template <int N>
  SEGNET_HD x_and_dy<T, N> fetch(std::size_t at, width<N>) const {
    return {load<N>(x + at), load<N>(dy + at)};
  }
  template <int N>
  SEGNET_HD void use(const state<N>& s, const x_and_dy<T, N>& value, std::size_t at, no_sums&, int) const {
    floats<N> d;
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      const auto in = static_cast<float>(value.x.lane[i]);
      const bool through = in * s.of.scale.lane[i] + s.of.shift.lane[i] > floor;
      const float g = through ? static_cast<float>(value.dy.lane[i]) : 0;
      d.lane[i] = s.of.scale.lane[i] * g + ((in - s.centre.lane[i]) * s.slope.lane[i] + s.offset.lane[i]);
    }
    write(dx + at, d, accumulate);
  }
};

/// One window of 2 x 2 pixels.
template <class T, int N>
struct scale_and_pool {
  given_scale_shift coefficients;
  float floor;
  bool pools_first;
  int w, channels;    // of the pooled image
  pack_grid<N> grid;  // the same
  T *y, *pooled;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const auto row = 2 * to_size(w) * to_size(channels);
    T* const first = y + 2 * at.line * row + product(2 * at.x, channels) + at.channel;
    const auto s =
        coefficients.of(lane_channels<N>(static_cast<unsigned>(at.channel), static_cast<unsigned>(channels)));
    floats<N> most{};
    SEGNET_UNROLL
    for (int k = 0; k < 4; ++k) {
      T* const pixel = first + (k < 2 ? 0 : row) + (k % 2 == 0 ? 0 : channels);
      const floats<N> value = read<N>(pixel);
      const pack<T, N> activated = narrow<T>(scaled(s, value, floor));
      const pack<T, N> seen = pools_first ? narrow<T>(scaled(s, value, -INFINITY)) : activated;
      store(pixel, activated);
      const floats<N> candidate = widen(seen);
      SEGNET_UNROLL
      for (int c = 0; c < N; ++c) {
        const float v = candidate.lane[c];
        most.lane[c] = k == 0 || v > most.lane[c] || v != v ? v : most.lane[c];
      }
    }
    store(pooled + (at.line * to_size(w) + to_size(at.x)) * to_size(channels) + at.channel, narrow<T>(most));
  }
};

}  // namespace detail

template <class T>
void channel_sums(cudaStream_t stream, std::size_t rows, int channels, const T* x, float* sums,
                  bool accumulate, void* workspace) {
  detail::sum_columns<T>(stream, rows, channels, detail::fits_packs<T>({x}), detail::sum_body<T>{x},
                         workspace, detail::finish_sums{sums, accumulate});
}

template <class T>
void batch_statistics(cudaStream_t stream, std::size_t rows, int channels, const T* x, float* mean,
                      float* variance, void* workspace) {
  detail::sum_columns<T>(stream, rows, channels, detail::fits_packs<T>({x}), detail::statistics_body<T>{x},
                         workspace,
                         detail::finish_shifted_statistics<T>{x, static_cast<double>(rows), mean, variance});
}
void finish_statistics(cudaStream_t stream, int channels, std::size_t rows, const float* sum,
                       const float* sum_of_squares, float* mean, float* variance) {
  for_each(stream, detail::to_size(channels),
           detail::finish_plain_statistics{static_cast<double>(rows), sum, sum_of_squares, mean, variance});
}

template <class T>
void batch_norm_forward(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* gamma,
                        const float* beta, float epsilon, double momentum, const step_values* step,
                        float* running_mean, float* running_var, float* saved_mean, float* saved_inv_std,
                        activation act, T* y) {
  for_each(stream, detail::to_size(channels),
           detail::move_statistics{epsilon, static_cast<float>(momentum), detail::unbiased(rows), step,
                                   running_mean, running_var, saved_mean, saved_inv_std});
  batch_norm_apply(stream, rows, channels, x, gamma, beta, saved_mean, saved_inv_std, act, y);
}
void batch_norm_coefficients(cudaStream_t stream, std::size_t rows, int channels, const float* gamma,
                             const float* beta, float epsilon, double momentum, const step_values* step,
                             float* running_mean, float* running_var, float* saved_mean, float* saved_inv_std,
                             float* scale, float* shift) {
  for_each(
      stream, detail::to_size(channels),
      detail::move_statistics_to_coefficients{{epsilon, static_cast<float>(momentum), detail::unbiased(rows),
                                               step, running_mean, running_var, saved_mean, saved_inv_std},
                                              gamma,
                                              beta,
                                              scale,
                                              shift});
}
template <class T>
void batch_norm_apply(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* gamma,
                      const float* beta, const float* saved_mean, const float* saved_inv_std, activation act,
                      T* y) {
  detail::scale_rows(stream, rows, channels, x,
                     detail::normalisation{gamma, beta, saved_mean, saved_inv_std, true, 0}, act, y);
}
template <class T>
void batch_norm_inference(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* gamma,
                          const float* beta, const float* running_mean, const float* running_var,
                          float epsilon, activation act, T* y) {
  detail::scale_rows(stream, rows, channels, x,
                     detail::normalisation{gamma, beta, running_mean, running_var, false, epsilon}, act, y);
}

template <class T>
void slope_sums(cudaStream_t stream, std::size_t rows, int channels, const T* x, const T* dy,
                const float* scale, const float* shift, const float* mean, activation act, float* sums,
                void* workspace) {
  detail::sum_columns<T>(stream, rows, channels, detail::fits_packs<T>({x, dy}),
                         detail::slope_sums_body<T, detail::given_scale_shift>{
                             {scale, shift}, mean, detail::floor_of(act), x, dy},
                         workspace, detail::keep_sums{sums, static_cast<unsigned>(channels)});
}
template <class T>
void batch_norm_backward(cudaStream_t stream, std::size_t rows, int channels, const T* x, const T* dy,
                         const float* gamma, const float* beta, const float* saved_mean,
                         const float* saved_inv_std, activation act, T* dx, bool accumulate_dx, float* dgamma,
                         float* dbeta, bool accumulate_parameters, void* workspace, const float* sums) {
  const detail::normalisation norm{gamma, beta, saved_mean, saved_inv_std, true, 0};
  const float floor = detail::floor_of(act);
  float* const slope = static_cast<float*>(workspace) + slope_sums_workspace(channels) / sizeof(float);
  float* const offset = slope + channels;
  const detail::finish_slope_sums finish{
      gamma, saved_inv_std, static_cast<double>(rows), dgamma, dbeta, accumulate_parameters, slope, offset};
  if (sums != nullptr)
    for_each(stream, detail::to_size(channels),
             detail::finish_given_slope_sums{finish, sums, static_cast<unsigned>(channels)});
  else
    detail::sum_columns<T>(stream, rows, channels, detail::fits_packs<T>({x, dy}),
                           detail::slope_sums_body<T, detail::normalisation>{norm, saved_mean, floor, x, dy},
                           workspace, finish);
  if (dx == nullptr) return;
  detail::for_each_column<T>(stream, rows, channels, detail::fits_packs<T>({x, dy, dx}),
                             detail::slope_body<T>{norm, floor, slope, offset, x, dy, dx, accumulate_dx});
}

template <class T>
void scale_shift_act(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* scale,
                     const float* bias, activation act, T* y) {
  detail::scale_rows(stream, rows, channels, x, detail::given_scale_shift{scale, bias}, act, y);
}
template <class T>
void scale_shift_act_pool(cudaStream_t stream, int batch, int h, int w, int channels, const float* scale,
                          const float* bias, activation act, bool pools_first, T* y, T* pooled) {
  detail::with_packs<T>(detail::fits_packs<T>({y, pooled}, {channels}), [&](auto n) {
    const detail::pack_grid<n> grid{h / 2, w / 2, channels};
    for_each(stream, grid.size(batch),
             detail::scale_and_pool<T, n>{
                 {scale, bias}, detail::floor_of(act), pools_first, w / 2, channels, grid, y, pooled});
  });
}

}  // namespace segnet::gpu::kernels
