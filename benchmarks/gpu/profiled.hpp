// SPDX-License-Identifier: MIT
// A backend on a card that can say how long each kind of its work took.
#pragma once

#include <segnet/backend/cuda/cuda.hpp>

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace segnet_benchmark {

using namespace segnet;

/// As `Backend`, until start_profile(): from then on work that would be recorded is done at once instead,
/// with an event behind every call. Recordings made before are not affected.
template <class Backend>
class profiled : public Backend {
  using T = typename Backend::scalar;
  using source_list = std::span<const conv2d_source<T>>;

 public:
  using Backend::Backend;
  using typename Backend::recording;

  /// `ahead` bytes are copied on the card before the work starts, so that the program is ahead of it: without
  /// gaps, times are those of the work alone. 0: nothing.
  void start_profile(std::size_t ahead) {
    profiling_ = true;
    marks_.clear();
    if (ahead > 0) {
      const std::size_t block = std::size_t{64} << 20;
      if (delay_.size() == 0) delay_ = gpu::device_buffer<std::byte>(2 * block);
      for (std::size_t done = 0; done < ahead; done += block)
        Backend::copy(delay_.data(), block, delay_.data() + block);
    }
    mark("");
  }
  /// Milliseconds of each kind of work since start_profile().
  std::map<std::string, double> stop_profile() {
    profiling_ = false;
    this->wait();
    std::map<std::string, double> times;
    for (std::size_t i = 1; i < marks_.size(); ++i)
      times[marks_[i].kind] += static_cast<double>(marks_[i].end.milliseconds_since(marks_[i - 1].end));
    marks_.clear();
    delay_ = {};
    return times;
  }

  template <class F>
  recording record(F&& f) {
    if (!profiling_) return Backend::record(std::forward<F>(f));
    std::forward<F>(f)();
    mark("the rest");
    return {};
  }
  void play(const recording& r) {
    if (!r.empty()) Backend::play(r);
  }

  // Written out where callers give lists in braces.
  void conv2d_forward(const conv2d_geometry& g, int batch, source_list sources, const float* weight,
                      const conv2d_epilogue<T, float>& finish, T* out, const scratch<T>& none,
                      bool accumulate = false, const conv2d_prologue<float>& prologue = {}) {
    Backend::conv2d_forward(g, batch, sources, weight, finish, out, none, accumulate, prologue);
    mark("convolution, forward");
  }
  void conv2d_backward_data(const conv2d_geometry& g, int batch, const T* dy, const float* weight, T* dx,
                            bool accumulate, const scratch<T>& none,
                            const conv2d_epilogue<T, float>& finish = {},
                            const conv2d_slope_sums<T, float>& slopes = {}) {
    Backend::conv2d_backward_data(g, batch, dy, weight, dx, accumulate, none, finish, slopes);
    mark("convolution, backward data");
  }
  void conv2d_backward_weights(const conv2d_geometry& g, int batch, source_list sources, const T* dy,
                               float* dweight, float* dbias, bool accumulate, const scratch<T>& none) {
    Backend::conv2d_backward_weights(g, batch, sources, dy, dweight, dbias, accumulate, none);
    mark("convolution, backward weights");
  }

#define SEGNET_PROFILED(function, kind)               \
  template <class... A>                               \
  void function(A&&... arguments) {                   \
    Backend::function(std::forward<A>(arguments)...); \
    mark(kind);                                       \
  }
  SEGNET_PROFILED(batch_statistics, "batch-norm, forward")
  SEGNET_PROFILED(batch_norm_forward, "batch-norm, forward")
  SEGNET_PROFILED(batch_norm_coefficients, "batch-norm, forward")
  SEGNET_PROFILED(batch_norm_inference, "batch-norm, forward")
  SEGNET_PROFILED(batch_norm_apply, "batch-norm, recomputed")
  SEGNET_PROFILED(batch_norm_backward, "batch-norm, backward")
  SEGNET_PROFILED(relu_forward, "ReLU")
  SEGNET_PROFILED(relu_backward, "ReLU")
  SEGNET_PROFILED(sigmoid_forward, "sigmoid and loss")
  SEGNET_PROFILED(bce_dice, "sigmoid and loss")
  SEGNET_PROFILED(max_pool_forward, "pooling")
  SEGNET_PROFILED(max_pool_backward, "pooling")
  SEGNET_PROFILED(upsample_nearest_forward, "upsampling and joining")
  SEGNET_PROFILED(upsample_nearest_backward, "upsampling and joining")
  SEGNET_PROFILED(copy_channels, "upsampling and joining")
  SEGNET_PROFILED(adam, "Adam")
  SEGNET_PROFILED(convert, "conversion of inputs and weights")
  SEGNET_PROFILED(find_not_finite, "search for what is not finite")
#undef SEGNET_PROFILED

 private:
  struct mark_at {
    std::string kind;
    gpu::event end;
  };
  void mark(const char* kind) {
    if (!profiling_) return;
    marks_.push_back({kind, {}});
    marks_.back().end.record(this->stream());
  }

  bool profiling_ = false;
  std::vector<mark_at> marks_;
  gpu::device_buffer<std::byte> delay_;
};

}  // namespace segnet_benchmark
