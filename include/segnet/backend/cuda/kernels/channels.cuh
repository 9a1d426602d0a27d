// SPDX-License-Identifier: MIT
// Copies between activations, and weights, of different widths.
#pragma once

#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/kernels/pack.cuh>

#include <cassert>

namespace segnet::gpu::kernels {

namespace detail {

/// Source and result may be of different types.
template <int N, class From, class To>
struct copy_pack {
  divisor packs;
  const From* from;
  int from_channels;
  To* to;
  int to_channels;
  bool accumulate;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto at = divide(i, packs);
    const std::size_t channel = at.rest * std::size_t{N};
    write(to + at.whole * to_size(to_channels) + channel,
          read<N>(from + at.whole * to_size(from_channels) + channel), accumulate);
  }
};

/// Copies the first `channels` of each row.
template <class From, class To>
void copy_rows(cudaStream_t stream, std::size_t rows, int channels, const From* from, int from_channels,
               To* to, int to_channels, bool accumulate) {
  using smaller_type = std::conditional_t<sizeof(From) < sizeof(To), From, To>;
  const bool whole = fits_packs<smaller_type>({from, to}, {channels, from_channels, to_channels});
  with_packs<smaller_type>(whole, [&](auto n) {
    const int packs = channels / n;
    for_each(stream, rows * to_size(packs),
             copy_pack<n, From, To>{packs, from, from_channels, to, to_channels, accumulate});
  });
}

template <class T>
struct gathered_source {
  const T* data = nullptr;
  int channels = 0;
  int h = 1, w = 1;
  divisor upsample{1};
  int begin = 0, end = 0;  // of its channels in the result
  bool whole = true;       // whole packs
};

template <class T, int N>
struct gather_pack {
  pack_grid<N> grid;
  T* out;
  gathered_source<T> from[most_gathered_sources] = {};

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    pack<T, N> value = narrow<T>(floats<N>{});
    SEGNET_UNROLL
    for (int s = 0; s < most_gathered_sources; ++s) {
      const gathered_source<T>& source = from[s];
      if (at.channel >= source.end || at.channel + N <= source.begin) continue;
      const int y = source.upsample.whole(at.y), x = source.upsample.whole(at.x);
      const std::size_t pixel = (at.image * to_size(source.h) + to_size(y)) * to_size(source.w) + to_size(x);
      const T* const first = source.data + pixel * to_size(source.channels);
      const int channel = at.channel - source.begin;
      if (source.whole) {
        value = load<N>(first + channel);
      } else {
        SEGNET_UNROLL
        for (int c = 0; c < N; ++c)
          if (channel + c >= 0 && channel + c < source.channels) value.lane[c] = first[channel + c];
      }
    }
    store(out + i * N, value);
  }
};

template <class T>
struct pad_weight {
  int out_channels, in_channels, taps, padded_in;
  const float* weight;
  T* padded;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto at = divide(i, static_cast<unsigned>(padded_in));
    const bool inside =
        at.rest < static_cast<unsigned>(in_channels) && at.whole < product(out_channels, taps);
    padded[i] = static_cast<T>(inside ? weight[at.whole * to_size(in_channels) + at.rest] : 0);
  }
};

}  // namespace detail

template <class T>
void copy_channels(cudaStream_t stream, std::size_t rows, int channels, const T* src, int src_channels,
                   int src_offset, T* dst, int dst_channels, int dst_offset, bool accumulate) {
  detail::copy_rows(stream, rows, channels, src + src_offset, src_channels, dst + dst_offset, dst_channels,
                    accumulate);
}

template <class T>
void gather_sources(cudaStream_t stream, int batch, int h, int w, std::span<const conv2d_source<T>> sources,
                    int padded_channels, T* out) {
  assert(sources.size() <= std::size_t{most_gathered_sources});
  detail::with_packs<T>(detail::fits_packs<T>({out}, {padded_channels}), [&](auto n) {
    detail::gather_pack<T, n> f{{h, w, padded_channels}, out};
    int channel = 0;
    for (std::size_t s = 0; s < sources.size(); ++s) {
      const conv2d_source<T>& source = sources[s];
      const int end = channel + source.channels;
      f.from[s] = {source.data,
                   source.channels,
                   h / source.upsample,
                   w / source.upsample,
                   source.upsample,
                   channel,
                   end,
                   n == 1 || detail::fits_packs<T>({source.data}, {source.channels, channel})};
      channel = end;
    }
    for_each(stream, f.grid.size(batch), f);
  });
}
template <class T>
void pad_channels(cudaStream_t stream, std::size_t rows, int from_channels, int to_channels, const T* x,
                  T* y) {
  detail::with_packs<T>(detail::fits_packs<T>({y}, {to_channels}), [&](auto n) {
    // As pictures of one pixel.
    detail::gather_pack<T, n> f{{1, 1, to_channels}, y};
    f.from[0] = {
        x, from_channels, 1, 1, 1, 0, from_channels, n == 1 || detail::fits_packs<T>({x}, {from_channels})};
    for_each(stream, f.grid.size(rows), f);
  });
}
template <class T>
void unpad_channels(cudaStream_t stream, std::size_t rows, int from_channels, int to_channels, const T* x,
                    T* y, bool accumulate) {
  detail::copy_rows(stream, rows, to_channels, x, from_channels, y, to_channels, accumulate);
}

template <class T>
void pad_weights(cudaStream_t stream, int out_channels, int taps, int in_channels, int padded_out,
                 int padded_in, const float* weight, T* padded) {
  for_each(stream, detail::product(padded_out, taps, padded_in),
           detail::pad_weight<T>{out_channels, in_channels, taps, padded_in, weight, padded});
}
template <class T>
void unpad_weights_gradient(cudaStream_t stream, int out_channels, int taps, int in_channels, int padded_in,
                            const T* padded, float* gradient, bool accumulate) {
  detail::copy_rows(stream, detail::product(out_channels, taps), in_channels, padded, padded_in, gradient,
                    in_channels, accumulate);
}

}  // namespace segnet::gpu::kernels
