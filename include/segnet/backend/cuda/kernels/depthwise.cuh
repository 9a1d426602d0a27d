// SPDX-License-Identifier: MIT
// Transposed convolutions with one kernel for each channel, [channels][kernel_h][kernel_w]; only taps that
// meet a pixel are visited. The geometry is that of the convolution whose backward pass this is: h, w are the
// result's size, out_h, out_w the input's.
#pragma once

#include <segnet/backend/cuda/kernels/batch_norm.cuh>
#include <segnet/core/axes.hpp>

namespace segnet::gpu::kernels {

namespace detail {

using segnet::detail::across, segnet::detail::down, segnet::detail::spread_axis;

/// sum += value * the weights of a tap; `weight` is that of the first channel's first tap.
template <int N>
SEGNET_HD void add_tap(floats<N>& sum, const floats<N>& value, const float* weight, std::size_t taps,
                       std::size_t tap) {
  SEGNET_UNROLL
  for (int c = 0; c < N; ++c) sum.lane[c] += value.lane[c] * weight[to_size(c) * taps + tap];
}

template <class T, int N>
struct depthwise_spread {
  conv2d_geometry g;
  pack_grid<N> grid;
  const T* x;
  const float* weight;
  given_scale_shift coefficients;
  float floor;
  T* y;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const auto rows = down(g).inputs(at.y), columns = across(g).inputs(at.x);
    const std::size_t taps = product(g.kernel_h, g.kernel_w), channel = to_size(at.channel);
    const T* const image = x + at.image * product(g.out_h, g.out_w, g.in_channels) + channel;
    floats<N> sum{};
    for (int r = rows.begin; r < rows.end; ++r)
      for (int s = columns.begin; s < columns.end; ++s) {
        const int tap = (at.y + g.pad_top - r * g.stride) * g.kernel_w + (at.x + g.pad_left - s * g.stride);
        add_tap(sum, read<N>(image + (product(r, g.out_w) + to_size(s)) * to_size(g.in_channels)),
                weight + channel * taps, taps, to_size(tap));
      }
    const auto s = coefficients.of(
        lane_channels<N>(static_cast<unsigned>(at.channel), static_cast<unsigned>(g.in_channels)));
    store(y + i * N, narrow<T>(scaled(s, sum, floor)));
  }
};

template <class T, int N>
struct depthwise_collect {
  conv2d_geometry g;
  pack_grid<N> grid;
  const T* dy;
  const float* weight;
  T* dx;
  bool accumulate;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const auto rows = down(g).taps(at.y), columns = across(g).taps(at.x);
    const std::size_t taps = product(g.kernel_h, g.kernel_w), channel = to_size(at.channel);
    const T* const image = dy + at.image * product(g.h, g.w, g.in_channels) + channel;
    floats<N> sum{};
    for (int r = rows.begin; r < rows.end; ++r)
      for (int s = columns.begin; s < columns.end; ++s) {
        const int y = at.y * g.stride + r - g.pad_top, x = at.x * g.stride + s - g.pad_left;
        add_tap(sum, read<N>(image + (product(y, g.w) + to_size(x)) * to_size(g.in_channels)),
                weight + channel * taps, taps, product(r, g.kernel_w) + to_size(s));
      }
    write(dx + i * N, sum, accumulate);
  }
};

/// Sums a tap's gradient over a part of the pixels that it meets: [chunk][channel][tap]. Neighbouring threads
/// take `together` channels of a pixel.
template <class T>
__global__ void __launch_bounds__(block_threads)
    sum_taps(conv2d_geometry g, int batch, unsigned chunks, unsigned together, const T* x, const T* dy,
             float* parts) {
  __shared__ float part[block_threads];
  const auto taps = static_cast<unsigned>(g.kernel_h * g.kernel_w);
  const auto channels = static_cast<unsigned>(g.in_channels);
  const unsigned chunk = blockIdx.x / taps, tap = blockIdx.x - chunk * taps;
  const auto r = static_cast<int>(tap) / g.kernel_w, s = static_cast<int>(tap) % g.kernel_w;
  const auto rows = down(g).inputs_of_tap(r), columns = across(g).inputs_of_tap(s);
  const int high = larger(0, rows.end - rows.begin), wide = larger(0, columns.end - columns.begin);
  const std::size_t pixels = product(batch, high, wide);
  const unsigned groups = block_threads / together, group = threadIdx.x / together;
  for (unsigned first = 0; first < channels; first += together) {
    const unsigned c = first + (threadIdx.x - group * together);
    float sum = 0;
    for (std::size_t p = chunk * groups + group; p < pixels && c < channels;
         p += std::size_t{chunks} * groups) {
      const auto line = divide(p, static_cast<unsigned>(wide));
      const auto image = divide(line.whole, static_cast<unsigned>(high));
      const int i = rows.begin + static_cast<int>(image.rest),
                j = columns.begin + static_cast<int>(line.rest);
      const int to_y = i * g.stride + r - g.pad_top, to_x = j * g.stride + s - g.pad_left;
      const std::size_t from = (image.whole * to_size(g.out_h) + to_size(i)) * to_size(g.out_w) + to_size(j),
                        to = (image.whole * to_size(g.h) + to_size(to_y)) * to_size(g.w) + to_size(to_x);
      sum += static_cast<float>(x[from * channels + c]) * static_cast<float>(dy[to * channels + c]);
    }
    part[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned left = groups / 2; left > 0; left /= 2) {
      if (group < left) part[threadIdx.x] += part[threadIdx.x + left * together];
      __syncthreads();
    }
    if (group == 0 && c < channels)
      parts[(std::size_t{chunk} * channels + c) * taps + tap] = part[threadIdx.x];
    __syncthreads();
  }
}

}  // namespace detail

template <class T>
void depthwise_transposed_forward(cudaStream_t stream, const conv2d_geometry& g, int batch, const T* x,
                                  const float* weight, const float* scale, const float* bias, activation act,
                                  T* y) {
  detail::with_packs<T>(detail::fits_packs<T>({x, y}, {g.in_channels}), [&](auto n) {
    const detail::pack_grid<n> grid{g.h, g.w, g.in_channels};
    for_each(stream, grid.size(batch),
             detail::depthwise_spread<T, n>{g, grid, x, weight, {scale, bias}, detail::floor_of(act), y});
  });
}
template <class T>
void depthwise_transposed_backward_data(cudaStream_t stream, const conv2d_geometry& g, int batch, const T* dy,
                                        const float* weight, T* dx, bool accumulate) {
  detail::with_packs<T>(detail::fits_packs<T>({dy, dx}, {g.in_channels}), [&](auto n) {
    const detail::pack_grid<n> grid{g.out_h, g.out_w, g.in_channels};
    for_each(stream, grid.size(batch), detail::depthwise_collect<T, n>{g, grid, dy, weight, dx, accumulate});
  });
}
template <class T>
void depthwise_transposed_backward_weights(cudaStream_t stream, const conv2d_geometry& g, int batch,
                                           const T* x, const T* dy, float* dweight, bool accumulate,
                                           void* workspace) {
  const auto taps = static_cast<unsigned>(g.kernel_h * g.kernel_w),
             channels = static_cast<unsigned>(g.in_channels);
  unsigned together = 1;
  while (together < 32 && together < channels) together *= 2;
  // A few pixels for each thread.
  const std::size_t pixels = detail::product(batch, g.out_h, g.out_w),
                    enough = pixels / (4 * (block_threads / together)) + 1;
  const auto chunks = static_cast<unsigned>(std::min(enough, most_depthwise_chunks(g)));
  auto* const parts = static_cast<float*>(workspace);
  launch(&detail::sum_taps<T>, std::size_t{chunks} * taps, block_threads, stream, g, batch, chunks, together,
         x, dy, parts);
  detail::add_up_chunks<1>(stream, chunks, channels * taps, parts, detail::finish_sums{dweight, accumulate});
}

}  // namespace segnet::gpu::kernels
