// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cuda/kernels/reduce_all.cuh>
#include <segnet/backend/cuda/kernels/softmax.cuh>

#include <cmath>
#include <string>

namespace segnet::gpu::kernels {

namespace detail {

// --- BCE and Dice ------------------------------------------------------------------------------------------

template <int N>
SEGNET_HD floats<N> read_or_ones(const float* from, std::size_t at) {
  if (from != nullptr) return read<N>(from + at);
  floats<N> ones;
  for (int i = 0; i < N; ++i) ones.lane[i] = 1;
  return ones;
}

template <class T>
struct bce_dice_pixels {
  using terms = segnet::detail::bce_dice_terms;
  const T* logits;
  const float *targets, *weights;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>, double (&sums)[terms::count]) const {
    const floats<N> z = read<N>(logits + at), t = read<N>(targets + at), w = read_or_ones<N>(weights, at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      const auto [probability, softplus] = segnet::detail::logistic_of(z.lane[i]);
      const terms add(z.lane[i], t.lane[i], probability, softplus, w.lane[i]);
      for (int s = 0; s < terms::count; ++s) sums[s] += add.of[s];
    }
  }
};

struct bce_dice_finish {
  segnet::bce_dice loss;
  std::size_t n;
  const step_values* step;
  bce_dice_gradient<float>* slope;
  bce_dice_values* result;

  SEGNET_HD void operator()(const double* sums) const {
    const loss_result found = loss.finish(n, sums, static_cast<double>(step->loss_scale), *slope);
    *result = {found.total, found.bce, found.dice, std::isfinite(found.total) ? 1U : 0U};
  }
};

template <class T>
struct bce_dice_slope {
  const T* logits;
  const float *targets, *weights;
  const bce_dice_gradient<float>* slope;
  T* gradient;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>) const {
    const bce_dice_gradient<float> by = *slope;
    floats<N> z = read<N>(logits + at);
    const floats<N> t = read<N>(targets + at), w = read_or_ones<N>(weights, at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i)
      z.lane[i] = by(segnet::detail::logistic_of(z.lane[i]).probability, t.lane[i], w.lane[i]);
    store(gradient + at, narrow<T>(z));
  }
};

// --- Cross-entropy -----------------------------------------------------------------------------------------

/// What a label counts: the weight of its class, or 1 where classes have none.
struct label_weights {
  segnet::detail::label_rule rule;
  const float* of;

  SEGNET_HD float operator()(unsigned label) const {
    if (rule.ignores(label) || rule.refuses(label)) return 0;
    return of != nullptr ? of[label] : 1;
  }
};

/// Sums of the weights, of the labels that are not ignored, and of those that are no class.
struct label_sums {
  const std::uint8_t* labels;
  label_weights weight;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>, double (&sums)[3]) const {
    const pack<std::uint8_t, N> label = load<N>(labels + at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      const unsigned l = label.lane[i];
      sums[0] += static_cast<double>(weight(l));
      sums[1] += weight.rule.ignores(l) ? 0 : 1;
      sums[2] += weight.rule.refuses(l) ? 1 : 0;
    }
  }
};

struct label_finish {
  double* normal;
  cross_entropy_values* result;

  SEGNET_HD void operator()(const double* sums) const {
    *normal = segnet::detail::cross_entropy_normal(sums[0]);
    result->labelled = static_cast<std::uint64_t>(sums[1]);
    result->unknown = static_cast<std::uint64_t>(sums[2]);
  }
};

/// Sums of the weighted losses, and of the pixels that are right.
template <class T, class Lanes>
struct cross_entropy_pixels {
  using terms = segnet::detail::cross_entropy_terms;
  const T* logits;
  const std::uint8_t* labels;
  label_weights weight;
  const double* normal;
  const step_values* step;
  T* gradient;

  __device__ void operator()(std::size_t i, double (&sums)[terms::count]) const {
    const std::size_t row = i / Lanes::lanes;
    const unsigned label = labels[row];
    if (weight.rule.ignores(label) || weight.rule.refuses(label))
      clear(row);
    else
      add(row, label, weight.rule.classes, sums);
  }

 private:
  /// Pixels that do not count may have any logits.
  __device__ void clear(std::size_t row) const {
    if (gradient == nullptr) return;
    for (unsigned c = Lanes::lane(); c < weight.rule.classes; c += Lanes::lanes)
      gradient[row * weight.rule.classes + c] = static_cast<T>(0.0F);
  }

  __device__ void add(std::size_t row, unsigned label, unsigned classes, double (&sums)[terms::count]) const {
    const T* const z = logits + row * classes;
    auto top = static_cast<float>(z[0]);
    for (unsigned c = Lanes::lane(); c < classes; c += Lanes::lanes) {
      const auto value = static_cast<float>(z[c]);
      top = top < value ? value : top;
    }
    for (unsigned mask = Lanes::lanes / 2; mask > 0; mask /= 2) {
      const float other = Lanes::other(top, mask);
      top = top < other ? other : top;
    }
    // The lane that will overwrite the label's logit tells the others what it was.
    float sum = 0, below = 0;
    for (unsigned c = Lanes::lane(); c < classes; c += Lanes::lanes) {
      const float distance = top - static_cast<float>(z[c]);
      sum += std::exp(-distance);
      if (c == label) below = distance;
    }
    sum = sum_of_lanes(sum, Lanes{});
    below = sum_of_lanes(below, Lanes{});

    const auto counts = static_cast<double>(weight(label));
    if (Lanes::lane() == 0) {
      const terms add(std::log(sum), below, counts);
      for (int s = 0; s < terms::count; ++s) sums[s] += add.of[s];
    }
    if (gradient == nullptr) return;
    const segnet::detail::cross_entropy_gradient<float> slope(static_cast<double>(step->loss_scale), *normal,
                                                              counts);
    if (slope.factor == 0) return clear(row);
    const float part = 1 / sum;
    for (unsigned c = Lanes::lane(); c < classes; c += Lanes::lanes) {
      const float p = std::exp(static_cast<float>(z[c]) - top) * part;
      gradient[row * classes + c] = static_cast<T>(slope(p, c == label));
    }
  }
};

struct cross_entropy_finish {
  const double* normal;
  cross_entropy_values* result;

  SEGNET_HD void operator()(const double* sums) const {
    using terms = segnet::detail::cross_entropy_terms;
    result->total = sums[terms::loss] * *normal;
    result->correct = static_cast<std::uint64_t>(sums[terms::correct]);
  }
};

// --- Boundary weights --------------------------------------------------------------------------------------

/// The sum of the window's rows for each column, over a few rows of the result: it loses and gains one row
/// from one to the next.
struct window_columns {
  static constexpr int rows = 32;
  int h, w, reach;
  const float* masks;
  float* sums;

  static SEGNET_HD constexpr int parts(int h) { return (h + rows - 1) / rows; }

  SEGNET_HD void operator()(std::size_t i) const {
    const auto line = divide(i, static_cast<unsigned>(w));
    const auto image = divide(line.whole, static_cast<unsigned>(parts(h)));
    const std::size_t first = image.whole * product(h, w) + line.rest;
    const int begin = static_cast<int>(image.rest) * rows, end = smaller(begin + rows, h);
    const auto mask = [&](int y) { return static_cast<double>(masks[first + product(y, w)]); };
    double sum = 0;
    for (int y = larger(begin - reach, 0); y < smaller(begin + reach, h); ++y) sum += mask(y);
    for (int y = begin; y < end; ++y) {
      if (y + reach < h) sum += mask(y + reach);
      if (y > begin && y - reach > 0) sum -= mask(y - reach - 1);
      sums[first + product(y, w)] = static_cast<float>(sum);
    }
  }
};

/// Writes a pixel's weight, apart from the factor that all have.
struct boundary_pixels {
  segnet::boundary_weight how;
  int h, w, reach;
  const float* columns;
  float* weights;

  SEGNET_HD void operator()(std::size_t i, double (&sums)[1]) const {
    const auto line = divide(i, static_cast<unsigned>(w));
    const int x = static_cast<int>(line.rest),
              y = static_cast<int>(divide(line.whole, static_cast<unsigned>(h)).rest);
    const int left = larger(x - reach, 0), right = smaller(x + reach, w - 1);
    const int rows = smaller(y + reach, h - 1) - larger(y - reach, 0) + 1;
    double sum = 0;
    for (int at = left; at <= right; ++at)
      sum += static_cast<double>(columns[line.whole * to_size(w) + to_size(at)]);
    const bool boundary = how.sees_both(sum, rows * (right - left + 1));
    weights[i] = boundary ? static_cast<float>(how.weight) : 1.0F;
    if (boundary) sums[0] += 1;
  }
};

struct boundary_finish {
  double pixels, weight;
  float* normal;

  SEGNET_HD void operator()(const double* near) const {
    *normal = static_cast<float>(pixels / (pixels + (weight - 1) * near[0]));
  }
};

struct multiply {
  const float* by;
  float* x;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>) const {
    floats<N> value = read<N>(x + at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) value.lane[i] *= *by;
    store(x + at, narrow<float>(value));
  }
};

struct crop_label {
  shape in, out;
  int top, left;
  const std::uint8_t* labels;
  std::uint8_t* cropped;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto line = divide(i, static_cast<unsigned>(out.w));
    const auto image = divide(line.whole, static_cast<unsigned>(out.h));
    const std::size_t y = to_size(top) + image.rest, x = to_size(left) + line.rest;
    cropped[i] = labels[(image.whole * to_size(in.h) + y) * to_size(in.w) + x];
  }
};

}  // namespace detail

template <class T>
void bce_dice(cudaStream_t stream, const segnet::bce_dice& loss, std::size_t n, const T* logits,
              const float* targets, const float* weights, const step_values* step, T* gradient,
              bce_dice_values* result, void* workspace) {
  constexpr int sums = segnet::detail::bce_dice_terms::count;
  auto* const slope = detail::behind_parts<bce_dice_gradient<float>>(workspace, sums);
  const bool whole = detail::fits_packs<T>({logits, targets, weights, gradient});
  detail::sum_packs<sums, T>(stream, n, whole, detail::bce_dice_pixels<T>{logits, targets, weights},
                             workspace, detail::bce_dice_finish{loss, n, step, slope, result});
  if (gradient != nullptr)
    detail::for_each_pack<T>(stream, n, whole,
                             detail::bce_dice_slope<T>{logits, targets, weights, slope, gradient});
}

template <class T>
void softmax_cross_entropy(cudaStream_t stream, const segnet::softmax_cross_entropy& loss, std::size_t pixels,
                           int classes, const T* logits, const std::uint8_t* labels,
                           const float* class_weights, const step_values* step, T* gradient,
                           cross_entropy_values* result, void* workspace) {
  auto* const normal = detail::behind_parts<double>(workspace, 3);
  const detail::label_weights weight{{static_cast<unsigned>(classes), loss.ignore}, class_weights};
  detail::sum_packs<3, std::uint8_t>(stream, pixels, detail::fits_packs<std::uint8_t>({labels}),
                                     detail::label_sums{labels, weight}, workspace,
                                     detail::label_finish{normal, result});
  const auto with_lanes = [&](auto lanes) {
    using lanes_t = decltype(lanes);
    detail::sum_all<segnet::detail::cross_entropy_terms::count>(
        stream, pixels * lanes_t::lanes,
        detail::cross_entropy_pixels<T, lanes_t>{logits, labels, weight, normal, step, gradient}, workspace,
        detail::cross_entropy_finish{normal, result});
  };
  if (weight.rule.classes <= detail::one_warp::lanes)
    with_lanes(detail::one_thread{});
  else
    with_lanes(detail::one_warp{});
}

void boundary_weight(cudaStream_t stream, const segnet::boundary_weight& how, int n, shape dims,
                     const float* masks, float* weights, void* workspace) {
  const int side = how.window != 0 ? how.window : boundary_window(dims), reach = side / 2;
  if (side < 1 || side % 2 == 0)
    throw argument_error("boundary_weight: the window is " + std::to_string(side) +
                         " pixels wide, expected an odd number");
  const std::size_t pixels = static_cast<std::size_t>(n) * dims.pixels();
  auto* const normal = detail::behind_parts<float>(workspace, 1);
  float* const columns = normal + 2;
  for_each(stream,
           static_cast<std::size_t>(n) * detail::product(detail::window_columns::parts(dims.h), dims.w),
           detail::window_columns{dims.h, dims.w, reach, masks, columns});
  detail::sum_all<1>(stream, pixels, detail::boundary_pixels{how, dims.h, dims.w, reach, columns, weights},
                     workspace, detail::boundary_finish{static_cast<double>(pixels), how.weight, normal});
  detail::for_each_pack<float>(stream, pixels, detail::fits_packs<float>({weights}),
                               detail::multiply{normal, weights});
}

void crop_labels(cudaStream_t stream, int n, shape in, shape out, const std::uint8_t* labels,
                 std::uint8_t* cropped) {
  for_each(stream, static_cast<std::size_t>(n) * out.pixels(),
           detail::crop_label{in, out, (in.h - out.h) / 2, (in.w - out.w) / 2, labels, cropped});
}

}  // namespace segnet::gpu::kernels
