// SPDX-License-Identifier: MIT
// Convolutions as the backend's primitives describe them, on top of cuDNN's plans: several sources, numbers
// of channels that are padded, and what a plan does not fuse.
#pragma once

#include <segnet/backend/cuda/convolution.hpp>
#include <segnet/backend/cuda/cudnn.hpp>
#include <segnet/backend/cuda/device.hpp>
#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/scratch_area.hpp>
#include <segnet/core/half.hpp>
#include <segnet/core/primitives.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <type_traits>

namespace segnet::gpu {

/// What one call has: a stream, and scratch memory; without memory it only measures how much it takes. With
/// `choose`, the engines of its plan are timed on the call's operands, whose values do not matter, instead of
/// the call being carried out.
struct conv2d_call {
  cudaStream_t stream;
  scratch_area& area;
  bool measure = false, choose = false;
};

/// Weights as they are trained, and, unless null, as they are multiplied.
template <class T>
struct conv2d_weights {
  const float* trained = nullptr;
  const T* multiplied = nullptr;
};

/// What a backend with activations T multiplies in, unless it is told otherwise.
template <class T>
inline constexpr precision default_precision = std::is_same_v<T, bfloat16>  ? precision::bf16
                                               : std::is_same_v<T, float16> ? precision::fp16
                                                                            : precision::fp32;

template <class T>
class conv2d {
 public:
  /// `deterministic`: the same operands give the same bits each time.
  conv2d(const cudnn& library, const device& card, precision format, bool deterministic)
      : handle_(library.get()),
        format_(format),
        deterministic_(deterministic),
        plans_(plan_target(handle_),
               engine_cache(engine_cache_scope{card.name, card.capability, cudnnGetVersion()})) {}

  // The primitives of basic_cuda.

  void forward(const conv2d_call& call, const conv2d_geometry& g, int batch,
               std::span<const conv2d_source<T>> sources, const conv2d_weights<T>& weights,
               const conv2d_epilogue<T, float>& finish, T* out, bool accumulate,
               const conv2d_prologue<float>& prologue) {
    const operand padded = pad(g);
    const std::size_t rows = pixels(batch, g.out_h, g.out_w);
    const bool whole = padded.out == g.out_channels;  // else a part of what cuDNN writes is wanted
    const bool activates_later = finish.pooled != nullptr && finish.act != activation::none;
    convolution_problem problem = problem_of(convolution_pass::forward, g, padded, batch);
    if (whole) {
      problem.scale = finish.scale != nullptr;
      problem.bias = finish.bias != nullptr;
      if (!activates_later) problem.act = finish.act;
      problem.accumulate = accumulate;
      // cuDNN's sums are added by atomic operations, although it does not say so.
      problem.statistics = finish.mean != nullptr && !accumulate && !deterministic_;
    }
    if (prologue.scale != nullptr) problem.prologue = true, problem.input_act = prologue.act;
    const T* const x = gather(call, g, batch, sources, padded.in);
    const float* const input_scale = pad_values(call, prologue.scale, g.in_channels, padded.in);
    const float* const input_shift = pad_values(call, prologue.shift, g.in_channels, padded.in);
    T* const normalised = problem.prologue && may_leave_prologue(problem)
                              ? call.area.take<T>(pixels(batch, g.h, g.w) * at(padded.in))
                              : nullptr;
    const T* const w = multiply(call, g, weights, padded);
    T* const aside = whole && !accumulate ? nullptr : call.area.take<T>(rows * at(padded.out));
    float* const sums = problem.statistics ? call.area.take<float>(2 * at(g.out_channels)) : nullptr;
    void* const statistics = finish.mean != nullptr
                                 ? call.area.take_bytes(kernels::batch_statistics_workspace(g.out_channels))
                                 : nullptr;

    carry_out(call, problem, [&](const convolution_plan& plan, void* workspace) {
      const bool direct = whole && (!accumulate || plan.accumulates());
      convolution_data data{.x = x, .w = w, .y = direct ? out : aside};
      data.scale = finish.scale, data.bias = finish.bias;
      if (plan.fuses_prologue()) {
        data.input_scale = input_scale, data.input_shift = input_shift;
      } else if (problem.prologue) {
        kernels::scale_shift_act<T>(call.stream, pixels(batch, g.h, g.w), padded.in, x, input_scale,
                                    input_shift, prologue.act, normalised);
        data.x = normalised;
      }
      if (plan.fuses_statistics()) {
        data.sum = sums, data.squares = sums + g.out_channels;
        clear(call.stream, 2 * at(g.out_channels), sums);
      }
      plan.run(handle_, data, workspace);
      if (!direct)
        kernels::unpad_channels<T>(call.stream, rows, padded.out, g.out_channels, aside, out, accumulate);
      const bool scaled = plan.fuses_epilogue();
      finish_output(call.stream, g, batch, finish, scaled, scaled && !activates_later, out);
      if (plan.fuses_statistics())
        kernels::finish_statistics(call.stream, g.out_channels, rows, sums, sums + g.out_channels,
                                   finish.mean, finish.variance);
      else if (finish.mean != nullptr)
        kernels::batch_statistics<T>(call.stream, rows, g.out_channels, out, finish.mean, finish.variance,
                                     statistics);
    });
  }

  void backward_data(const conv2d_call& call, const conv2d_geometry& g, int batch, const T* dy,
                     const conv2d_weights<T>& weights, T* dx, bool accumulate,
                     const conv2d_epilogue<T, float>& finish, const conv2d_slope_sums<T, float>& slopes) {
    const operand padded = pad(g);
    const std::size_t rows = pixels(batch, g.h, g.w);
    const bool whole = padded.in == g.in_channels;
    convolution_problem problem = problem_of(convolution_pass::backward_data, g, padded, batch);
    if (whole) {
      problem.scale = finish.scale != nullptr;
      problem.bias = finish.bias != nullptr;
      problem.act = finish.act;
      problem.accumulate = accumulate;
      problem.slope_sums = slopes.x != nullptr && !deterministic_;
      if (problem.slope_sums) problem.input_act = slopes.front.act;
    }
    void* const summing =
        slopes.x != nullptr ? call.area.take_bytes(kernels::slope_sums_workspace(g.in_channels)) : nullptr;
    const T* const y = pad_rows(call, pixels(batch, g.out_h, g.out_w), g.out_channels, padded.out, dy);
    const T* const w = multiply(call, g, weights, padded);
    T* const aside = whole && !accumulate ? nullptr : call.area.take<T>(rows * at(padded.in));

    carry_out(call, problem, [&](const convolution_plan& plan, void* workspace) {
      const bool direct = whole && (!accumulate || plan.accumulates());
      convolution_data data{.x = direct ? dx : aside, .w = w, .y = y};
      data.scale = finish.scale, data.bias = finish.bias;
      if (plan.fuses_slope_sums()) {
        data.front = slopes.x, data.centre = slopes.mean;
        data.input_scale = slopes.front.scale, data.input_shift = slopes.front.shift;
        data.sum = slopes.sums, data.products = slopes.sums + g.in_channels;
        clear(call.stream, 2 * at(g.in_channels), slopes.sums);
      }
      plan.run(handle_, data, workspace);
      if (!direct)
        kernels::unpad_channels<T>(call.stream, rows, padded.in, g.in_channels, aside, dx, accumulate);
      if (!finish.is_empty() && !plan.fuses_epilogue())
        kernels::scale_shift_act<T>(call.stream, rows, g.in_channels, dx, finish.scale, finish.bias,
                                    finish.act, dx);
      if (slopes.x != nullptr && !plan.fuses_slope_sums())
        kernels::slope_sums<T>(call.stream, rows, g.in_channels, slopes.x, dx, slopes.front.scale,
                               slopes.front.shift, slopes.mean, slopes.front.act, slopes.sums, summing);
    });
  }

  void backward_weights(const conv2d_call& call, const conv2d_geometry& g, int batch,
                        std::span<const conv2d_source<T>> sources, const T* dy, float* dweight,
                        bool accumulate) {
    const operand padded = pad(g);
    const bool whole = padded.in == g.in_channels && padded.out == g.out_channels;
    convolution_problem problem = problem_of(convolution_pass::backward_weights, g, padded, batch);
    // The engine that writes float gradients of 16-bit tensors by itself knows but one way to share the work
    // out; 16-bit gradients are written, and added to float ones behind it.
    problem.accumulate = whole && accumulate && std::is_same_v<T, float>;
    const T* const x = gather(call, g, batch, sources, padded.in);
    const T* const y = pad_rows(call, pixels(batch, g.out_h, g.out_w), g.out_channels, padded.out, dy);
    const int taps = g.kernel_h * g.kernel_w;
    const std::size_t size = at(padded.out) * at(taps) * at(padded.in);
    const bool needs_aside = !whole || accumulate || !std::is_same_v<T, float>;
    float* const aside = needs_aside ? call.area.take<float>(size) : nullptr;

    carry_out(call, problem, [&](const convolution_plan& plan, void* workspace) {
      const bool is_float = plan.gradient_is_float();
      const bool direct = whole && is_float && (!accumulate || plan.accumulates());
      plan.run(handle_, {.x = x, .w = direct ? dweight : aside, .y = y}, workspace);
      if (direct) return;
      const auto collect = [&](const auto* from) {
        if (whole)
          kernels::accumulate_gradient(call.stream, size, from, dweight, accumulate);
        else
          kernels::unpad_weights_gradient(call.stream, g.out_channels, taps, g.in_channels, padded.in, from,
                                          dweight, accumulate);
      };
      if (is_float)
        collect(static_cast<const float*>(aside));
      else
        collect(reinterpret_cast<const T*>(aside));
    });
  }

  /// Whether calls since the last time made plans whose engines are neither known nor timed.
  bool has_to_choose() const { return plans_.size() > chosen_; }
  /// After calls with `choose`: writes down what was found.
  void finish_choosing() {
    chosen_ = plans_.size();
    plans_.save();
  }

 private:
  /// Numbers of channels as they lie in memory.
  struct operand {
    int in, out;
  };
  operand pad(const conv2d_geometry& g) const {
    return {padded_channels(g.in_channels, format_), padded_channels(g.out_channels, format_)};
  }
  static std::size_t at(int n) { return static_cast<std::size_t>(n); }
  static std::size_t pixels(int batch, int h, int w) { return at(batch) * at(h) * at(w); }

  convolution_problem problem_of(convolution_pass pass, const conv2d_geometry& g, const operand& padded,
                                 int batch) const {
    convolution_problem problem{.pass = pass, .geometry = g, .batch = batch, .format = format_};
    problem.geometry.in_channels = padded.in;
    problem.geometry.out_channels = padded.out;
    return problem;
  }

  /// The input as cuDNN reads it: one dense tensor.
  const T* gather(const conv2d_call& call, const conv2d_geometry& g, int batch,
                  std::span<const conv2d_source<T>> sources, int channels) {
    if (sources.size() == 1 && sources[0].upsample == 1 && channels == g.in_channels) return sources[0].data;
    T* const x = call.area.take<T>(pixels(batch, g.h, g.w) * at(channels));
    if (runs(call)) kernels::gather_sources<T>(call.stream, batch, g.h, g.w, sources, channels, x);
    return x;
  }
  const T* pad_rows(const conv2d_call& call, std::size_t rows, int channels, int padded, const T* values) {
    if (channels == padded) return values;
    T* const wide = call.area.take<T>(rows * at(padded));
    if (runs(call)) kernels::pad_channels<T>(call.stream, rows, channels, padded, values, wide);
    return wide;
  }
  /// Values per channel, with zeros for channels that are only there to pad.
  const float* pad_values(const conv2d_call& call, const float* values, int channels, int padded) {
    if (values == nullptr || channels == padded) return values;
    float* const wide = call.area.take<float>(at(padded));
    if (runs(call)) kernels::pad_channels<float>(call.stream, 1, channels, padded, values, wide);
    return wide;
  }
  /// Whether a kernel may have to do what the plan is to do to its input.
  bool may_leave_prologue(const convolution_problem& problem) {
    const convolution_plan& plan = plans_.get(problem);
    return !plan.fuses_prologue() || (has_to_choose() && !plan.is_known());
  }
  const T* multiply(const conv2d_call& call, const conv2d_geometry& g, const conv2d_weights<T>& weights,
                    const operand& padded) {
    if (padded.in == g.in_channels && padded.out == g.out_channels && weights.multiplied != nullptr)
      return weights.multiplied;
    const int taps = g.kernel_h * g.kernel_w;
    T* const w = call.area.take<T>(at(padded.out) * at(taps) * at(padded.in));
    if (runs(call))
      kernels::pad_weights<T>(call.stream, g.out_channels, taps, g.in_channels, padded.out, padded.in,
                              weights.trained, w);
    return w;
  }
  /// For sums that a plan takes: its kernels add to what is there.
  static void clear(cudaStream_t s, std::size_t n, float* sums) {
    check(cudaMemsetAsync(sums, 0, n * sizeof(float), s), "cudaMemsetAsync");
  }
  static bool runs(const conv2d_call& call) { return !call.measure && !call.choose; }

  /// run(plan, workspace) with the problem's plan; or what else the call is for.
  template <class F>
  void carry_out(const conv2d_call& call, const convolution_problem& problem, const F& run) {
    const std::size_t bytes = room_for(plans_.get(problem));
    void* const workspace = call.area.take_bytes(bytes);
    if (call.measure) return;
    if (call.choose)
      plans_.choose(
          problem, [&](const convolution_plan& plan) { run(plan, workspace); }, bytes,
          [&](const std::function<void()>& launch) { return milliseconds(call.stream, launch); });
    else
      run(plans_.get(problem), workspace);
  }
  /// While engines may still be timed, those that need a usual amount of working memory shall have it.
  std::size_t room_for(const convolution_plan& plan) const {
    return plan.is_known() || !has_to_choose()
               ? plan.workspace_bytes()
               : std::max(plan.workspace_bytes(), convolution_plan::usual_workspace);
  }

  /// The fastest of a few runs after one that warms up.
  static double milliseconds(cudaStream_t s, const std::function<void()>& run) {
    run();
    double least = 0;
    const event before, after;
    for (int i = 0; i < 3; ++i) {
      check(cudaEventRecord(before.get(), s), "cudaEventRecord");
      run();
      check(cudaEventRecord(after.get(), s), "cudaEventRecord");
      after.wait();
      const double spent = after.milliseconds_since(before);
      if (i == 0 || spent < least) least = spent;
    }
    return least;
  }

  /// What is left of an epilogue, and the pooling.
  static void finish_output(cudaStream_t s, const conv2d_geometry& g, int batch,
                            const conv2d_epilogue<T, float>& finish, bool scaled, bool activated, T* y) {
    const float* const scale = scaled ? nullptr : finish.scale;
    const float* const bias = scaled ? nullptr : finish.bias;
    const activation act = activated ? activation::none : finish.act;
    if (finish.pooled != nullptr)
      kernels::scale_shift_act_pool<T>(s, batch, g.out_h, g.out_w, g.out_channels, scale, bias, act,
                                       finish.pools_first, y, finish.pooled);
    else if (scale != nullptr || bias != nullptr || act != activation::none)
      kernels::scale_shift_act<T>(s, pixels(batch, g.out_h, g.out_w), g.out_channels, y, scale, bias, act, y);
  }

  cudnnHandle_t handle_;
  precision format_;
  bool deterministic_;
  convolutions plans_;
  std::size_t chosen_ = 0;
};

}  // namespace segnet::gpu
