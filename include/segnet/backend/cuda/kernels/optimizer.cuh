// SPDX-License-Identifier: MIT
// Optimizers over flat buffers, in one pass that also writes the parameters' copy in 16 bits.
#pragma once

#include <segnet/backend/cuda/kernels/reduce_all.cuh>

#include <cmath>

namespace segnet::gpu::kernels {

namespace detail {

struct adam_rule {
  static constexpr int slots = 2;
  float beta1, beta2, epsilon, weight_decay;
  const step_values* step;
  float* slot[slots];  ///< m and v

  SEGNET_HD adam_update<float> update(float rate, float decay) const {
    return {.beta1 = beta1,
            .beta2 = beta2,
            .gradient_scale = step->gradient_scale,
            .decay = 1 - step->rate * rate * (weight_decay * decay),
            .rate = step->corrected_rate * rate,
            .v_correction = step->v_correction,
            .epsilon = epsilon};
  }
  template <int N>
  static SEGNET_HD void apply(const adam_update<float>& update, float& parameter, float gradient,
                              floats<N> (&held)[slots], int i) {
    update(parameter, gradient, held[0].lane[i], held[1].lane[i]);
  }
};

struct sgd_rule {
  static constexpr int slots = 1;
  float momentum, weight_decay;
  const step_values* step;
  float* slot[slots];  ///< the velocity; null: 0, and not kept

  SEGNET_HD sgd_update<float> update(float rate, float decay) const {
    return {.momentum = momentum,
            .gradient_scale = step->gradient_scale,
            .decay = weight_decay * decay,
            .rate = step->rate * rate};
  }
  template <int N>
  static SEGNET_HD void apply(const sgd_update<float>& update, float& parameter, float gradient,
                              floats<N> (&held)[slots], int i) {
    update(parameter, gradient, held[0].lane[i]);
  }
};

/// The first group that ends behind element i.
SEGNET_HD inline const parameter_group* group_of(std::size_t i, const parameter_group* groups,
                                                 std::size_t count) {
  while (count > 0) {
    const std::size_t half = count / 2;
    if (groups[half].end <= i) {
      groups += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return groups;
}

template <class T, class Rule, bool Grouped>
struct optimizer_step {
  float* parameters;
  T* copy;
  const float* gradients;
  Rule rule;
  const parameter_group* groups;
  std::size_t group_count;
  const unsigned* skip;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>) const {
    if (skip != nullptr && *skip != 0) return;
    const parameter_group* group = nullptr;
    if constexpr (Grouped) {
      group = group_of(at, groups, group_count);
      if (at + N <= group->end && group->rate == 0) return;  // frozen
    }
    floats<N> p = read<N>(parameters + at);
    const floats<N> g = read<N>(gradients + at);
    floats<N> held[Rule::slots] = {};
    for (int s = 0; s < Rule::slots; ++s)
      if (rule.slot[s] != nullptr) held[s] = read<N>(rule.slot[s] + at);
    if constexpr (Grouped) {
      if (at + N <= group->end) {
        all(rule.update(group->rate, group->decay), p, g, held);
      } else {
        SEGNET_UNROLL
        for (int i = 0; i < N; ++i) {
          while (group->end <= at + static_cast<std::size_t>(i)) ++group;
          if (group->rate != 0)
            Rule::apply(rule.update(group->rate, group->decay), p.lane[i], g.lane[i], held, i);
        }
      }
    } else {
      all(rule.update(1, 1), p, g, held);
    }
    store(parameters + at, narrow<float>(p));
    for (int s = 0; s < Rule::slots; ++s)
      if (rule.slot[s] != nullptr) store(rule.slot[s] + at, narrow<float>(held[s]));
    if (copy != nullptr) store(copy + at, narrow<T>(p));
  }

 private:
  template <class Update, int N>
  static SEGNET_HD void all(const Update& update, floats<N>& p, const floats<N>& g,
                            floats<N> (&held)[Rule::slots]) {
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) Rule::apply(update, p.lane[i], g.lane[i], held, i);
  }
};

template <class T, class Rule>
void optimize(cudaStream_t stream, std::size_t n, float* parameters, T* copy, const float* gradients,
              const Rule& rule, std::span<const parameter_group> groups, const unsigned* skip) {
  bool whole = fits_packs<T>({parameters, copy, gradients});
  for (const float* slot : rule.slot) whole = whole && fits_packs<T>({slot});
  const auto start = [&](auto grouped) {
    for_each_pack<T>(stream, n, whole,
                     optimizer_step<T, Rule, grouped>{parameters, copy, gradients, rule, groups.data(),
                                                      groups.size(), skip});
  };
  if (groups.empty())
    start(std::false_type{});
  else
    start(std::true_type{});
}

struct set_values {
  step_values values;
  step_values* to;
  SEGNET_HD void operator()(std::size_t) const { *to = values; }
};

struct add_numbers {
  const float* x;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>, double (&sums)[1]) const {
    const floats<N> value = read<N>(x + at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) sums[0] += static_cast<double>(value.lane[i]);
  }
};
struct keep_sum {
  double* to;
  SEGNET_HD void operator()(const double* sums) const { *to = sums[0]; }
};

struct add_squares {
  const float* x;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>, double (&sums)[1]) const {
    const floats<N> value = read<N>(x + at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i)
      sums[0] += static_cast<double>(value.lane[i]) * static_cast<double>(value.lane[i]);
  }
};
/// No sum of squares of finite floats is too large for a double.
struct judge_squares {
  unsigned* found;
  double* to;
  SEGNET_HD void operator()(const double* sums) const {
    *found = std::isfinite(sums[0]) ? 0U : 1U;
    if (to != nullptr) *to = sums[0];
  }
};

}  // namespace detail

void set_step_values(cudaStream_t stream, const step_values& values, step_values* to) {
  for_each(stream, 1, detail::set_values{values, to});
}

void sum(cudaStream_t stream, std::size_t n, const float* x, double* sum, void* workspace) {
  detail::sum_packs<1, float>(stream, n, detail::fits_packs<float>({x}), detail::add_numbers{x}, workspace,
                              detail::keep_sum{sum});
}
void find_not_finite(cudaStream_t stream, std::size_t n, const float* x, unsigned* found, void* workspace,
                     double* sum_of_squares) {
  detail::sum_packs<1, float>(stream, n, detail::fits_packs<float>({x}), detail::add_squares{x}, workspace,
                              detail::judge_squares{found, sum_of_squares});
}

template <class T>
void adam(cudaStream_t stream, const segnet::adam& how, std::size_t n, float* parameters, T* copy,
          const float* gradients, float* m, float* v, std::span<const parameter_group> groups,
          const step_values* step, const unsigned* skip) {
  detail::optimize(stream, n, parameters, copy, gradients,
                   detail::adam_rule{static_cast<float>(how.beta1),
                                     static_cast<float>(how.beta2),
                                     static_cast<float>(how.epsilon),
                                     static_cast<float>(how.weight_decay),
                                     step,
                                     {m, v}},
                   groups, skip);
}
template <class T>
void sgd(cudaStream_t stream, const segnet::sgd& how, std::size_t n, float* parameters, T* copy,
         const float* gradients, float* velocity, std::span<const parameter_group> groups,
         const step_values* step, const unsigned* skip) {
  detail::optimize(
      stream, n, parameters, copy, gradients,
      detail::sgd_rule{
          static_cast<float>(how.momentum), static_cast<float>(how.weight_decay), step, {velocity}},
      groups, skip);
}

}  // namespace segnet::gpu::kernels
