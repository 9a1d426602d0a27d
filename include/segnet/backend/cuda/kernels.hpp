// SPDX-License-Identifier: MIT
// The primitives of the CUDA backend apart from the convolutions, which are cuDNN's: what basic_cpu's
// functions of the same names do, on the card. nvcc compiles them, in kernels.cuh.
//
// Activations and their gradients are T (float, bfloat16 or float16), everything that belongs to a channel is
// float, and so is the arithmetic. All pointers are the card's, dense, and need no alignment; where they are
// multiples of 16 bytes and the channels of a pixel fill whole 16 bytes, memory is read and written so. The
// functions return at once, do not allocate and do not wait, so that a graph may record them. Results depend
// on nothing but the operands and their sizes and alignment: nothing is added up in an order of chance.
#pragma once

#include <segnet/backend/cuda/error.hpp>
#include <segnet/backend/cuda/step_values.hpp>
#include <segnet/core/half.hpp>
#include <segnet/core/primitives.hpp>
#include <segnet/core/shape.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace segnet::gpu::kernels {

// --- Scratch memory in bytes, to be aligned as a double ----------------------------------------------------

/// Rows are added up in so many parts at most.
constexpr std::size_t most_column_chunks(int channels) {
  constexpr std::size_t fill_the_card = 132 * 4, values = 1 << 18;
  return std::min(fill_the_card, std::max<std::size_t>(128, values / static_cast<std::size_t>(channels)));
}
/// For `sums` sums per channel over any number of rows.
constexpr std::size_t column_sums_workspace(int sums, int channels) {
  return most_column_chunks(channels) * static_cast<std::size_t>(sums) * static_cast<std::size_t>(channels) *
         sizeof(float);
}
constexpr std::size_t channel_sums_workspace(int channels) { return column_sums_workspace(1, channels); }
constexpr std::size_t batch_statistics_workspace(int channels) { return column_sums_workspace(2, channels); }
constexpr std::size_t slope_sums_workspace(int channels) { return column_sums_workspace(2, channels); }
constexpr std::size_t batch_norm_backward_workspace(int channels) {
  return slope_sums_workspace(channels) + 2 * static_cast<std::size_t>(channels) * sizeof(float);
}

/// Parts in which a tap's gradient is added up, at most.
constexpr std::size_t most_depthwise_chunks(const conv2d_geometry& g) {
  return std::max<std::size_t>(
      1, 132 * 8 / (static_cast<std::size_t>(g.kernel_h) * static_cast<std::size_t>(g.kernel_w)));
}
constexpr std::size_t depthwise_transposed_backward_weights_workspace(const conv2d_geometry& g) {
  return most_depthwise_chunks(g) * static_cast<std::size_t>(g.kernel_h) *
         static_cast<std::size_t>(g.kernel_w) * static_cast<std::size_t>(g.in_channels) * sizeof(float);
}

// --- Sums and batch normalisation; rows = batch * h * w ----------------------------------------------------

/// sums[c] = (or +=) the sum of channel c over all rows.
template <class T>
void channel_sums(cudaStream_t stream, std::size_t rows, int channels, const T* x, float* sums,
                  bool accumulate, void* workspace);

/// The mean and the biased variance of each channel.
template <class T>
void batch_statistics(cudaStream_t stream, std::size_t rows, int channels, const T* x, float* mean,
                      float* variance, void* workspace);
/// The same from the sums over `rows` rows that a convolution's epilogue gives; mean may be sum, and variance
/// sum_of_squares.
void finish_statistics(cudaStream_t stream, int channels, std::size_t rows, const float* sum,
                       const float* sum_of_squares, float* mean, float* variance);

/// The smaller of `momentum` and step->momentum_limit is taken; step may be null. `saved_inv_std` holds the
/// variance, in whose place 1 / sqrt(variance + epsilon) is left.
template <class T>
void batch_norm_forward(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* gamma,
                        const float* beta, float epsilon, double momentum, const step_values* step,
                        float* running_mean, float* running_var, float* saved_mean, float* saved_inv_std,
                        activation act, T* y);
/// The same without the output: what it is made of instead, y = act(scale * x + shift).
void batch_norm_coefficients(cudaStream_t stream, std::size_t rows, int channels, const float* gamma,
                             const float* beta, float epsilon, double momentum, const step_values* step,
                             float* running_mean, float* running_var, float* saved_mean, float* saved_inv_std,
                             float* scale, float* shift);
template <class T>
void batch_norm_apply(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* gamma,
                      const float* beta, const float* saved_mean, const float* saved_inv_std, activation act,
                      T* y);
template <class T>
void batch_norm_inference(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* gamma,
                          const float* beta, const float* running_mean, const float* running_var,
                          float epsilon, activation act, T* y);
/// The sum of g of each channel, and behind those of all channels the sums of g * (x - mean); g is dy where
/// act(scale * x + shift) let the value through, else 0.
template <class T>
void slope_sums(cudaStream_t stream, std::size_t rows, int channels, const T* x, const T* dy,
                const float* scale, const float* shift, const float* mean, activation act, float* sums,
                void* workspace);
/// dx may be dy when it is not accumulated to, and null where it is not wanted. `sums`: what slope_sums()
/// gives, or null.
template <class T>
void batch_norm_backward(cudaStream_t stream, std::size_t rows, int channels, const T* x, const T* dy,
                         const float* gamma, const float* beta, const float* saved_mean,
                         const float* saved_inv_std, activation act, T* dx, bool accumulate_dx, float* dgamma,
                         float* dbeta, bool accumulate_parameters, void* workspace,
                         const float* sums = nullptr);

/// y = act(scale * x + bias), as the epilogue of a convolution that has none of its own, or as its prologue;
/// y may be x, scale and bias may be null.
template <class T>
void scale_shift_act(cudaStream_t stream, std::size_t rows, int channels, const T* x, const float* scale,
                     const float* bias, activation act, T* y);
/// And the maxima of 2 x 2 pixels of it to pooled [batch][h / 2][w / 2][channels], or, with pools_first, of
/// scale * y + bias; h and w are even.
template <class T>
void scale_shift_act_pool(cudaStream_t stream, int batch, int h, int w, int channels, const float* scale,
                          const float* bias, activation act, bool pools_first, T* y, T* pooled);

/// x and y [rows][channels]; y may not be x.
template <class T>
void local_response_norm_forward(cudaStream_t stream, const response_norm& norm, std::size_t rows,
                                 int channels, const T* x, T* y);
/// dx may be dy when it is not accumulated to. Throws error for more than 2048 channels.
template <class T>
void local_response_norm_backward(cudaStream_t stream, const response_norm& norm, std::size_t rows,
                                  int channels, const T* x, const T* dy, T* dx, bool accumulate);

// --- Activations and dropout; y may be x, dx may be dy when it is not accumulated to -----------------------

template <class T>
void relu_forward(cudaStream_t stream, std::size_t size, const T* x, T* y);
template <class T>
void relu_backward(cudaStream_t stream, std::size_t size, const T* y, const T* dy, T* dx, bool accumulate);
template <class T>
void sigmoid_forward(cudaStream_t stream, std::size_t size, const T* x, T* y);
template <class T>
void sigmoid_backward(cudaStream_t stream, std::size_t size, const T* y, const T* dy, T* dx, bool accumulate);

template <class T>
void softmax_forward(cudaStream_t stream, std::size_t rows, std::size_t channels, const T* x, T* y);
template <class T>
void softmax_backward(cudaStream_t stream, std::size_t rows, std::size_t channels, const T* y, const T* dy,
                      T* dx, bool accumulate);
/// At most 256 channels.
template <class T>
void argmax(cudaStream_t stream, std::size_t rows, std::size_t channels, const T* x, std::uint8_t* y);

/// The mask is that of basic_cpu's with the key random_key{step->seed, layer}().
template <class T>
void dropout(cudaStream_t stream, std::size_t size, const step_values* step, std::uint64_t layer, double rate,
             const T* x, T* y, bool accumulate);

// --- Pooling and resizing ----------------------------------------------------------------------------------

/// `index` may be null.
template <class T>
void max_pool_forward(cudaStream_t stream, const pool2d_geometry& g, int batch, const T* x, T* y,
                      std::uint8_t* index);
template <class T>
void max_pool_backward(cudaStream_t stream, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                       const T* dy, T* dx, bool accumulate);
template <class T>
void max_unpool_forward(cudaStream_t stream, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                        const T* x, T* y);
template <class T>
void max_unpool_backward(cudaStream_t stream, const pool2d_geometry& g, int batch, const std::uint8_t* index,
                         const T* dy, T* dx, bool accumulate);

template <class T>
void upsample_nearest_forward(cudaStream_t stream, int factor, int batch, shape in, const T* x, T* y,
                              int y_channels, int y_offset);
template <class T>
void upsample_nearest_backward(cudaStream_t stream, int factor, int batch, shape in, const T* dy, T* dx,
                               bool accumulate, int dy_channels, int dy_offset);
template <class T>
void upsample_bilinear_forward(cudaStream_t stream, int factor, int batch, shape in, const T* x, T* y);
template <class T>
void upsample_bilinear_backward(cudaStream_t stream, int factor, int batch, shape in, const T* dy, T* dx,
                                bool accumulate);

template <class T>
void crop_forward(cudaStream_t stream, int batch, shape in, shape window, int top, int left, const T* x,
                  T* y);
template <class T>
void crop_backward(cudaStream_t stream, int batch, shape in, shape window, int top, int left, const T* dy,
                   T* dx, bool accumulate);

// --- Transposed convolution with a kernel for each channel -------------------------------------------------

/// y = act(scale * convolution + bias); scale and bias may be null.
template <class T>
void depthwise_transposed_forward(cudaStream_t stream, const conv2d_geometry& g, int batch, const T* x,
                                  const float* weight, const float* scale, const float* bias, activation act,
                                  T* y);
template <class T>
void depthwise_transposed_backward_data(cudaStream_t stream, const conv2d_geometry& g, int batch, const T* dy,
                                        const float* weight, T* dx, bool accumulate);
template <class T>
void depthwise_transposed_backward_weights(cudaStream_t stream, const conv2d_geometry& g, int batch,
                                           const T* x, const T* dy, float* dweight, bool accumulate,
                                           void* workspace);

// --- Copies and sums ---------------------------------------------------------------------------------------

template <class T>
void copy_channels(cudaStream_t stream, std::size_t rows, int channels, const T* src, int src_channels,
                   int src_offset, T* dst, int dst_channels, int dst_offset, bool accumulate);
/// y = a + b; y may be a or b.
template <class T>
void add(cudaStream_t stream, std::size_t size, const T* a, const T* b, T* y);
template <class T>
void fill(cudaStream_t stream, std::size_t size, float value, T* y);

inline constexpr int most_gathered_sources = 4;
/// out [batch][h][w][padded_channels]: the sources side by side, each upsampled, and zeros after them.
template <class T>
void gather_sources(cudaStream_t stream, int batch, int h, int w, std::span<const conv2d_source<T>> sources,
                    int padded_channels, T* out);
/// x [rows][from_channels] to y [rows][to_channels], with zeros after x's channels.
template <class T>
void pad_channels(cudaStream_t stream, std::size_t rows, int from_channels, int to_channels, const T* x,
                  T* y);
/// The first to_channels of x's from_channels.
template <class T>
void unpad_channels(cudaStream_t stream, std::size_t rows, int from_channels, int to_channels, const T* x,
                    T* y, bool accumulate);

/// weight [out_channels][taps][in_channels] to padded [padded_out][taps][padded_in], with zeros around it.
template <class T>
void pad_weights(cudaStream_t stream, int out_channels, int taps, int in_channels, int padded_out,
                 int padded_in, const float* weight, T* padded);
/// Back from [at least out_channels][taps][padded_in].
template <class T>
void unpad_weights_gradient(cudaStream_t stream, int out_channels, int taps, int in_channels, int padded_in,
                            const T* padded, float* gradient, bool accumulate);

template <class T>
void cast(cudaStream_t stream, std::size_t size, const float* from, T* to);
template <class T>
void cast_back(cudaStream_t stream, std::size_t size, const T* from, float* to);
/// gradient = (or +=) from.
template <class T>
void accumulate_gradient(cudaStream_t stream, std::size_t size, const T* from, float* gradient,
                         bool accumulate);

}  // namespace segnet::gpu::kernels
