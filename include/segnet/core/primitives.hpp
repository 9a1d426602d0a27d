// SPDX-License-Identifier: MIT
// The vocabulary between layers and backends: plain descriptors, filled from what the compiler knows and
// handed to a backend's primitives. `docs/backends.md` lists the primitives that a backend provides.
//
// Activations are dense NHWC. Convolution weights are KRSC: [out channel][kernel row][kernel column][in
// channel], the in channels of several sources one after the other.
#pragma once

#include <segnet/config.hpp>

#include <cstddef>

namespace segnet {

enum class activation : unsigned char { none, relu };

/// Convolutions have at most so many rows and columns of taps.
inline constexpr int max_kernel = 32;

/// The static facts of one 2-d convolution. Sizes in pixels; h and w are those of the convolution's input
/// as it sees it, that is after an upsampling that a source asks for.
struct conv2d_geometry {
  int h = 0, w = 0;
  int out_h = 0, out_w = 0;
  int in_channels = 0, out_channels = 0;  ///< in_channels: the sum over all sources
  int kernel_h = 3, kernel_w = 3;
  int stride = 1;
  int pad_top = 1, pad_left = 1;  ///< zeros before the first row and column

  constexpr std::size_t weights() const {
    return static_cast<std::size_t>(out_channels) * static_cast<std::size_t>(kernel_h) *
           static_cast<std::size_t>(kernel_w) * static_cast<std::size_t>(in_channels);
  }
};

/// One input of a convolution. Two sources are read as if concatenated along the channels, and a source with
/// `upsample` u as if each of its pixels were repeated u x u times (nearest neighbour): neither is ever
/// materialised. `data` is [batch][h / upsample][w / upsample][channels].
template <class T>
struct conv2d_source {
  const T* data = nullptr;
  int channels = 0;
  int upsample = 1;
};

/// What a convolution does to what it reads from its only source: act(scale[c] * x + shift[c]), with the
/// zeros of its padding around that. Null pointers: nothing.
template <class P>
struct conv2d_prologue {
  const P* scale = nullptr;
  const P* shift = nullptr;
  activation act = activation::none;
};

/// Where a convolution's input is y = act(scale[c] * x + shift[c]), made by a batch-norm: what the
/// batch-norm's backward pass needs of the gradient of y, of each channel over all pixels of the batch. With
/// g, which is that gradient where act let the value through and else 0, `sums` gets the sum of g, and behind
/// those of all channels the sums of g * (x - mean[c]). The gradient itself may then be written as g. Null
/// `x`: not asked for.
template <class T, class P>
struct conv2d_slope_sums {
  const T* x = nullptr;
  conv2d_prologue<P> front{};  ///< scale, shift and act
  const P* mean = nullptr;
  P* sums = nullptr;
};

/// What a convolution does to the sums that it writes: act(scale[k] * sum + bias[k]). Null pointers stand for
/// ones and zeros. Where `pooled` is given, the maximum of each 2 x 2 pixels goes there, [batch][out_h / 2]
/// [out_w / 2][out_channels]; the output's height and width must be even then. Where `mean` and `variance`
/// are given, each channel's over all pixels of the batch go there, the variance biased; not together with a
/// pooling. P is the type of values per channel.
template <class T, class P = T>
struct conv2d_epilogue {
  const P* scale = nullptr;
  const P* bias = nullptr;
  activation act = activation::none;
  T* pooled = nullptr;
  bool pools_first = false;  ///< before the activation instead of after it
  P* mean = nullptr;
  P* variance = nullptr;

  constexpr bool is_empty() const {
    return scale == nullptr && bias == nullptr && act == activation::none && pooled == nullptr &&
           mean == nullptr;
  }
  /// The same for the channels from `channel` on.
  constexpr conv2d_epilogue from(std::ptrdiff_t channel) const {
    return {scale != nullptr ? scale + channel : nullptr, bias != nullptr ? bias + channel : nullptr, act,
            pooled != nullptr ? pooled + channel : nullptr, pools_first};
  }
  /// What has to be applied before the pooling, and the activation that is left for afterwards.
  constexpr conv2d_epilogue before_pooling() const {
    conv2d_epilogue first = *this;
    if (activates_after_pooling()) first.act = activation::none;
    return first;
  }
  constexpr bool activates_after_pooling() const {
    return pooled != nullptr && pools_first && act == activation::relu;
  }
};

/// Scratch memory that a primitive asks for, in elements of T: so much for each thread, and so much in all,
/// independent of the batch.
struct workspace_size {
  std::size_t per_thread = 0;
  std::size_t shared = 0;
};

/// 2-d pooling with square windows; out = ceil(in / stride) where the window may stand over the edge.
struct pool2d_geometry {
  int h = 0, w = 0, channels = 0;
  int out_h = 0, out_w = 0;
  int window = 2, stride = 2;
};

/// Local response normalisation: x / (k + alpha / size * the sum of x^2 over `size` channels)^beta.
struct response_norm {
  int size = 5;
  double alpha = 1e-4, beta = 0.75, k = 1;
};

/// Where a primitive finds its scratch memory: `shared` elements in all, and a part for each thread.
template <class T>
struct scratch {
  T* shared = nullptr;
  T* threads = nullptr;
  std::size_t per_thread = 0;

  constexpr T* of(int thread) const { return threads + static_cast<std::size_t>(thread) * per_thread; }
};

}  // namespace segnet
