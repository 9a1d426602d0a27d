// SPDX-License-Identifier: MIT
// The CPU backend: SIMD through Eigen's packets, one pool of threads. The only place that includes Eigen.
#pragma once

#include <segnet/backend/cpu/batch_norm.hpp>
#include <segnet/backend/cpu/bilinear.hpp>
#include <segnet/backend/cpu/conv2d.hpp>
#include <segnet/backend/cpu/conv2d_pointwise.hpp>
#include <segnet/backend/cpu/crop.hpp>
#include <segnet/backend/cpu/depthwise.hpp>
#include <segnet/backend/cpu/dropout.hpp>
#include <segnet/backend/cpu/elementwise.hpp>
#include <segnet/backend/cpu/local_response_norm.hpp>
#include <segnet/backend/cpu/pooling.hpp>
#include <segnet/backend/cpu/softmax.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <span>

namespace segnet {

/// A backend's primitives on the CPU, in float or double. Pointers are dense and need no alignment; `batch`
/// is the number of images. Nothing allocates after construction: scratch memory is the caller's, as large
/// as the primitive's `..._workspace` function says and aligned as a double. Results of finite operands do
/// not depend on the number of threads. One caller at a time.
template <class T>
class basic_cpu {
 public:
  static constexpr bool on_device = false;  ///< pointers are the program's own

  using scalar = T;            ///< of activations and their gradients
  using parameter_scalar = T;  ///< of parameters, their gradients, and values per channel

  /// 0 threads: as many as the machine has.
  explicit basic_cpu(int threads = 0) : pool_(threads) {}
  int threads() const { return pool_.size(); }

  // --- Convolution -------------------------------------------------------------------------------------

  static constexpr workspace_size conv2d_forward_workspace(const conv2d_geometry& g) {
    return detail::conv2d_forward_workspace<T>(g);
  }
  static constexpr workspace_size conv2d_backward_data_workspace(const conv2d_geometry& g) {
    return detail::conv2d_backward_data_workspace<T>(g);
  }
  static constexpr workspace_size conv2d_backward_weights_workspace(const conv2d_geometry& g) {
    workspace_size size = detail::conv2d_backward_weights_workspace<T>(g);
    if (detail::pointwise_fits(g))
      size.shared = std::max(size.shared, detail::pointwise_backward_weights_size<T>(g));
    return size;
  }

  /// out [batch][out_h][out_w][out_channels] = act(scale * convolution + bias), as `finish` says. As the
  /// backward pass of a transposed convolution it may also add to what `out` holds; `finish` is empty then.
  void conv2d_forward(const conv2d_geometry& g, int batch, std::span<const conv2d_source<T>> sources,
                      const T* weight, const conv2d_epilogue<T>& finish, T* out, const scratch<T>& memory,
                      bool accumulate = false) {
    if (detail::pointwise_fits(g) && detail::is_plain(sources) && finish.pooled == nullptr &&
        finish.mean == nullptr && !accumulate)
      return detail::pointwise_forward(pool_, g, batch, sources[0].data, weight, finish, out);
    auto product = detail::forward_product(g, batch, sources, weight, finish, out);
    product.accumulate = accumulate;
    detail::run_product(pool_, product, memory);
  }

  /// dx [batch][h][w][in_channels] at the resolution that the convolution sees: upsampling of a source is
  /// not undone here. As the forward pass of a transposed convolution it may take an epilogue of
  /// in_channels values, without pooling and statistics, unless it accumulates.
  void conv2d_backward_data(const conv2d_geometry& g, int batch, const T* dy, const T* weight, T* dx,
                            bool accumulate, const scratch<T>& memory,
                            const conv2d_epilogue<T>& finish = {}) {
    assert(finish.pooled == nullptr && finish.mean == nullptr && (finish.is_empty() || !accumulate));
    if (detail::pointwise_fits(g) && finish.is_empty())
      return detail::pointwise_backward_data(pool_, g, batch, dy, weight, dx, accumulate);
    const conv2d_source<T> source{dy, g.out_channels, 1};
    auto product = detail::backward_data_product(g, batch, source, weight, dx, accumulate);
    product.finish = finish;
    detail::run_product(pool_, product, memory);
  }

  /// `dbias` may be null.
  void conv2d_backward_weights(const conv2d_geometry& g, int batch, std::span<const conv2d_source<T>> sources,
                               const T* dy, T* dweight, T* dbias, bool accumulate, const scratch<T>& memory) {
    if (detail::pointwise_fits(g) && detail::is_plain(sources))
      detail::pointwise_backward_weights(pool_, g, batch, sources[0].data, dy, dweight, accumulate,
                                         memory.shared);
    else
      detail::weights_gradient(pool_, g, batch, sources, dy, dweight, accumulate, memory);
    if (dbias == nullptr) return;
    const std::size_t rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(g.out_h) *
                             static_cast<std::size_t>(g.out_w);
    channel_sums(rows, g.out_channels, dy, dbias, accumulate, memory);
  }

  static constexpr workspace_size channel_sums_workspace(int channels) {
    return {.per_thread = 0, .shared = detail::row_sums_size<T>(1, channels)};
  }
  /// sums[c] = (or +=) the sum of channel c over all rows: a bias' gradient.
  void channel_sums(std::size_t rows, int channels, const T* x, T* sums, bool accumulate,
                    const scratch<T>& memory) {
    const double* total = detail::row_sums<1>(
        pool_, rows, channels,
        [x](auto l, const detail::lane_channels&) {
          return [=](std::size_t i) SEGNET_INLINE_LAMBDA {
            return detail::row_terms<1, l>{{detail::convert<double, l>(detail::load<l>(x + i))}};
          };
        },
        memory.shared);
    for (int c = 0; c < channels; ++c) sums[c] = static_cast<T>(total[c]) + (accumulate ? sums[c] : T{0});
  }

  // --- Transposed convolution with a kernel for each channel, [channels][kernel_h][kernel_w]. `g` is, as for
  // all transposed ones, the convolution whose backward pass it is: h, w are the output's size. ------------

  static constexpr workspace_size depthwise_transposed_workspace(const conv2d_geometry& g) {
    return {.per_thread = 0,
            .shared = static_cast<std::size_t>(g.in_channels) * static_cast<std::size_t>(g.kernel_h) *
                      static_cast<std::size_t>(g.kernel_w)};
  }
  /// x [batch][out_h][out_w][channels] to y [batch][h][w][channels]; `finish` without pooling.
  void depthwise_transposed_forward(const conv2d_geometry& g, int batch, const T* x, const T* weight,
                                    const conv2d_epilogue<T>& finish, T* y, const scratch<T>& memory) {
    detail::depthwise_forward(pool_, g, batch, x, weight, finish, y, memory.shared);
  }
  void depthwise_transposed_backward_data(const conv2d_geometry& g, int batch, const T* dy, const T* weight,
                                          T* dx, bool accumulate, const scratch<T>& memory) {
    detail::depthwise_backward_data(pool_, g, batch, dy, weight, dx, accumulate, memory.shared);
  }
  void depthwise_transposed_backward_weights(const conv2d_geometry& g, int batch, const T* x, const T* dy,
                                             T* dweight, bool accumulate) {
    detail::depthwise_backward_weights(pool_, g, batch, x, dy, dweight, accumulate);
  }

  // --- Batch normalisation; rows = batch * h * w -------------------------------------------------------

  static constexpr workspace_size batch_statistics_workspace(int channels) {
    return {.per_thread = 0, .shared = detail::row_sums_size<T>(2, channels)};
  }
  static constexpr workspace_size batch_norm_backward_workspace(int channels) {
    return {.per_thread = 0, .shared = detail::row_sums_size<T>(2, channels)};
  }

  /// The mean and the biased variance of each channel, as conv2d_forward() also gives them for its output.
  void batch_statistics(std::size_t rows, int channels, const T* x, T* mean, T* variance,
                        const scratch<T>& memory) {
    detail::batch_statistics(pool_, rows, channels, x, mean, variance, memory.shared);
  }

  /// y = act(gamma * (x - mean) * inv_std + beta), inv_std = 1 / sqrt(variance + epsilon). `saved_mean` holds
  /// the batch's mean, `saved_inv_std` its biased variance, in whose place inv_std is left. The running
  /// statistics become momentum * old + (1 - momentum) * new, the variance unbiased.
  void batch_norm_forward(std::size_t rows, int channels, const T* x, const T* gamma, const T* beta,
                          T epsilon, T momentum, T* running_mean, T* running_var, T* saved_mean,
                          T* saved_inv_std, activation act, T* y) {
    detail::batch_norm_forward(pool_, rows, channels, x, gamma, beta, epsilon, momentum,
                               {running_mean, running_var, saved_mean, saved_inv_std}, act, y);
  }

  /// y of batch_norm_forward() once more, from what it saved.
  void batch_norm_apply(std::size_t rows, int channels, const T* x, const T* gamma, const T* beta,
                        const T* saved_mean, const T* saved_inv_std, activation act, T* y) {
    detail::scale_rows(
        pool_, rows, channels, x,
        [&](std::size_t c) {
          return detail::scale_and_shift(gamma[c], beta[c], saved_mean[c], saved_inv_std[c]);
        },
        act, y);
  }

  void batch_norm_inference(std::size_t rows, int channels, const T* x, const T* gamma, const T* beta,
                            const T* running_mean, const T* running_var, T epsilon, activation act, T* y) {
    detail::scale_rows(
        pool_, rows, channels, x,
        [&](std::size_t c) {
          return detail::scale_and_shift(gamma[c], beta[c], running_mean[c],
                                         T{1} / std::sqrt(running_var[c] + epsilon));
        },
        act, y);
  }

  /// With a ReLU its mask is recomputed from x, so that y need not be kept. `dx` may be `dy` when it is not
  /// accumulated to, and null where it is not wanted.
  void batch_norm_backward(std::size_t rows, int channels, const T* x, const T* dy, const T* gamma,
                           const T* beta, const T* saved_mean, const T* saved_inv_std, activation act, T* dx,
                           bool accumulate_dx, T* dgamma, T* dbeta, bool accumulate_parameters,
                           const scratch<T>& memory) {
    detail::batch_norm_backward(pool_, rows, channels, x, dy, gamma, beta, saved_mean, saved_inv_std, act, dx,
                                accumulate_dx, dgamma, dbeta, accumulate_parameters, memory.shared);
  }

  // --- Local response normalisation; rows = batch * h * w ----------------------------------------------

  static constexpr workspace_size local_response_norm_workspace(int channels) {
    return detail::response_norm_workspace(channels);
  }
  void local_response_norm_forward(const response_norm& norm, std::size_t rows, int channels, const T* x,
                                   T* y, const scratch<T>& memory) {
    detail::response_norm_forward(pool_, norm, rows, channels, x, y, memory);
  }
  /// dx may be dy when it is not accumulated to.
  void local_response_norm_backward(const response_norm& norm, std::size_t rows, int channels, const T* x,
                                    const T* dy, T* dx, bool accumulate, const scratch<T>& memory) {
    detail::response_norm_backward(pool_, norm, rows, channels, x, dy, dx, accumulate, memory);
  }

  // --- Activations and dropout; y may be x, dx may be dy when it is not accumulated to ----------------

  void relu_forward(std::size_t size, const T* x, T* y) {
    detail::transform(pool_, size, y, false, [x](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
      const auto value = detail::load<l>(x + i), zero = detail::broadcast<l>(T{0});
      return value < zero ? zero : value;
    });
  }
  void relu_backward(std::size_t size, const T* y, const T* dy, T* dx, bool accumulate) {
    detail::transform(pool_, size, dx, accumulate, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
      const auto zero = detail::broadcast<l>(T{0});
      return detail::load<l>(y + i) > zero ? detail::load<l>(dy + i) : zero;
    });
  }
  void sigmoid_forward(std::size_t size, const T* x, T* y) {
    parallel_for(size, detail::element_grain, [=](std::size_t begin, std::size_t end, int) {
      detail::sigmoid_run(x + begin, end - begin, y + begin);
    });
  }
  void sigmoid_backward(std::size_t size, const T* y, const T* dy, T* dx, bool accumulate) {
    detail::transform(pool_, size, dx, accumulate, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
      const auto p = detail::load<l>(y + i);
      return detail::load<l>(dy + i) * p * (T{1} - p);
    });
  }

  /// Over the channels of each row; x and y are [rows][channels].
  void softmax_forward(std::size_t rows, std::size_t channels, const T* x, T* y) {
    parallel_for(rows, detail::softmax_grain(channels), [=](std::size_t begin, std::size_t end, int) {
      const std::size_t at = begin * channels;
      detail::softmax_rows<T>(end - begin, channels, x + at, y + at, nullptr, nullptr);
    });
  }
  void softmax_backward(std::size_t rows, std::size_t channels, const T* y, const T* dy, T* dx,
                        bool accumulate) {
    parallel_for(rows, detail::softmax_grain(channels), [=](std::size_t begin, std::size_t end, int) {
      const std::size_t at = begin * channels;
      detail::softmax_backward_rows(end - begin, channels, y + at, dy + at, dx + at, accumulate);
    });
  }
  /// The class of every pixel: the channel with the largest value of each row, the first of equals; at most
  /// 256 channels. x is [rows][channels], y [rows].
  void argmax(std::size_t rows, std::size_t channels, const T* x, std::uint8_t* y) {
    parallel_for(rows, detail::softmax_grain(channels), [=](std::size_t begin, std::size_t end, int) {
      detail::argmax_rows(end - begin, channels, x + begin * channels, y + begin);
    });
  }

  /// y[i] = x[i] / (1 - rate), or 0 with probability `rate`; which of them `key` and i decide alone, so that
  /// y = x, dy = dx and the same key make the backward pass.
  void dropout(std::size_t size, std::uint64_t key, double rate, const T* x, T* y, bool accumulate) {
    detail::dropout(pool_, size, key, rate, x, y, accumulate);
  }

  /// p = sigmoid(x) and s = log(1 + exp(-|x|)): what losses on logits are made of. On the calling thread, for
  /// use within parallel_for() and parallel_sum().
  static void logistic_run(std::size_t size, const T* x, T* p, T* s) { detail::logistic_run(x, size, p, s); }
  /// p = softmax(x) over the channels of each row; its maximum m, and log(sum exp(x - m)). As logistic_run().
  static void softmax_run(std::size_t rows, std::size_t channels, const T* x, T* p, T* highest, T* log_sum) {
    detail::softmax_rows(rows, channels, x, p, highest, log_sum);
  }

  // --- Pooling and upsampling --------------------------------------------------------------------------

  /// `index` (nullable): for every output the place of its maximum in the window; the first of equals wins.
  void max_pool_forward(const pool2d_geometry& g, int batch, const T* x, T* y, std::uint8_t* index) {
    detail::max_pool_forward(pool_, g, batch, x, y, index);
  }
  void max_pool_backward(const pool2d_geometry& g, int batch, const std::uint8_t* index, const T* dy, T* dx,
                         bool accumulate) {
    detail::max_pool_backward(pool_, g, batch, index, dy, dx, accumulate);
  }

  /// Each pixel of x goes to the place that `index`, of a pooling with this geometry, notes; zeros elsewhere.
  /// x [batch][out_h][out_w][channels], y [batch][h][w][channels].
  void max_unpool_forward(const pool2d_geometry& g, int batch, const std::uint8_t* index, const T* x, T* y) {
    detail::max_pool_backward(pool_, g, batch, index, x, y, false);  // which spreads gradients so
  }
  void max_unpool_backward(const pool2d_geometry& g, int batch, const std::uint8_t* index, const T* dy, T* dx,
                           bool accumulate) {
    detail::max_unpool_backward(pool_, g, batch, index, dy, dx, accumulate);
  }

  /// Repeats each pixel factor x factor times, into channels [y_offset, y_offset + in.c) of y's y_channels.
  void upsample_nearest_forward(int factor, int batch, shape in, const T* x, T* y, int y_channels,
                                int y_offset) {
    detail::upsample_forward(pool_, factor, batch, in, x, y, y_channels, y_offset);
  }
  void upsample_nearest_forward(int factor, int batch, shape in, const T* x, T* y) {
    upsample_nearest_forward(factor, batch, in, x, y, in.c, 0);
  }
  void upsample_nearest_backward(int factor, int batch, shape in, const T* dy, T* dx, bool accumulate,
                                 int dy_channels, int dy_offset) {
    detail::upsample_backward(pool_, factor, batch, in, dy, dx, accumulate, dy_channels, dy_offset);
  }
  void upsample_nearest_backward(int factor, int batch, shape in, const T* dy, T* dx, bool accumulate) {
    upsample_nearest_backward(factor, batch, in, dy, dx, accumulate, in.c, 0);
  }

  /// Upsampling by interpolation between the pixels' centres. x, dx: batch images `in`.
  void upsample_bilinear_forward(int factor, int batch, shape in, const T* x, T* y) {
    detail::bilinear_forward(pool_, factor, batch, in, x, y);
  }
  void upsample_bilinear_backward(int factor, int batch, shape in, const T* dy, T* dx, bool accumulate) {
    detail::bilinear_backward(pool_, factor, batch, in, dy, dx, accumulate);
  }

  // --- Copies and sums ---------------------------------------------------------------------------------

  /// y = the pixels of x in the window of y's size that starts at (top, left); backward, dx is zero around
  /// it.
  void crop_forward(int batch, shape in, shape window, int top, int left, const T* x, T* y) {
    detail::crop_forward(pool_, batch, in, window, top, left, x, y);
  }
  void crop_backward(int batch, shape in, shape window, int top, int left, const T* dy, T* dx,
                     bool accumulate) {
    detail::crop_backward(pool_, batch, in, window, top, left, dy, dx, accumulate);
  }

  /// Channels [src_offset, src_offset + channels) of src to those at dst_offset of dst, or added to them.
  void copy_channels(std::size_t rows, int channels, const T* src, int src_channels, int src_offset, T* dst,
                     int dst_channels, int dst_offset, bool accumulate) {
    detail::copy_channels(pool_, rows, channels, src, src_channels, src_offset, dst, dst_channels, dst_offset,
                          accumulate);
  }
  /// y = a + b; y may be a or b.
  void add(std::size_t size, const T* a, const T* b, T* y) {
    detail::transform(pool_, size, y, false, [=](auto l, std::size_t i) SEGNET_INLINE_LAMBDA {
      return detail::load<l>(a + i) + detail::load<l>(b + i);
    });
  }
  /// Of few values: the gradients of a layer's parameters.
  void clear(std::size_t n, T* values) { std::fill_n(values, n, T{0}); }
  void fill(std::size_t size, T value, T* y) {
    detail::transform(pool_, size, y, false,
                      [=](auto l, std::size_t) SEGNET_INLINE_LAMBDA { return detail::broadcast<l>(value); });
  }

  /// Calls f(begin, end, thread) for the chunks [k * grain, (k + 1) * grain) of [0, n), whatever the number
  /// of threads. f must not throw and must not call the backend.
  template <class F>
  void parallel_for(std::size_t n, std::size_t grain, F f) {
    detail::parallel_for(pool_, n, grain, f);
  }
  /// The sum of f(begin, end) -> std::array<double, N> over chunks of at least `grain`, added in order.
  template <int N, class F>
  std::array<double, N> parallel_sum(std::size_t n, std::size_t grain, F f) {
    return detail::parallel_sum<N>(pool_, n, grain, f);
  }

 private:
  thread_pool pool_;
};

/// The CPU backend in single precision.
using cpu = basic_cpu<float>;

}  // namespace segnet
