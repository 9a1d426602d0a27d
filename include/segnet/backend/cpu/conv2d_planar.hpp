// SPDX-License-Identifier: MIT
// The thinnest levels, as 3 -> 8 and 8 -> 8 channels: too few to fill a packet, so pixels lie in the lanes
// instead. A few input rows are kept channel by channel; a tile of several packets of neighbouring pixels and
// of a few columns stays in registers over all taps and channels, and is turned back to NHWC at its end.
#pragma once

#include <segnet/backend/cpu/conv2d_rows.hpp>
#include <segnet/backend/cpu/interleave.hpp>

namespace segnet::detail {

/// A tile: `columns` columns of `packets` packets of pixels. More would leave no registers to load the next
/// ones into; fewer would load as often as multiply.
template <class T>
struct planar_tile {
  static constexpr int packets = 2;
  static constexpr int columns = vector_registers >= 32 ? 8 : 4;
  static constexpr int pixels = packets * simd<T>::lanes;
};

/// How the kernels walk over an image in this form, and how its scratch memory is laid out.
template <class T>
struct planar_plan {
  int channels, columns, kernel_h, kernel_w, out_w;

  /// P: product_geometry or gather_product.
  template <class P>
  explicit constexpr planar_plan(const P& p)
      : channels(p.channels),
        columns(p.columns),
        kernel_h(p.kernel_h),
        kernel_w(p.kernel_w),
        out_w(p.out_w) {}

  constexpr int pixels() const { return out_w + kernel_w - 1; }  ///< of a row with its padding
  /// Elements of one channel of a row: what a tile over the right edge reads, and an odd number of the
  /// cache's lines, lest the channels fight for the same places in the first-level cache.
  constexpr std::ptrdiff_t plane() const { return ((pixels() + planar_tile<T>::pixels + 15) / 16 | 1) * 16; }
  constexpr std::ptrdiff_t row() const { return plane() * channels; }
  constexpr int blocks() const { return (columns + planar_tile<T>::columns - 1) / planar_tile<T>::columns; }
  constexpr std::ptrdiff_t row_weights() const {  ///< of one kernel row, for one block of columns
    return std::ptrdiff_t{kernel_w} * channels * planar_tile<T>::columns;
  }

  /// One interleaved row, the rows channel by channel, and the weights [block][tap][channel][column].
  constexpr std::size_t interleaved() const { return padded_rows<T>::row_size(pixels(), channels); }
  constexpr std::size_t size() const {
    return interleaved() + static_cast<std::size_t>(kernel_h * row()) +
           static_cast<std::size_t>(blocks() * kernel_h * row_weights());
  }
};

/// A row of `pixels` pixels from NHWC to one plane per channel.
template <class T>
void to_planes(const T* from, int pixels, int channels, T* to, std::ptrdiff_t plane) {
  using V = simd<T>;
  const auto whole = [&]<int Channels>(std::integral_constant<int, Channels>) {
    int x = 0;
    for (; x + V::lanes <= pixels; x += V::lanes) {
      typename V::packet values[Channels];
      unroll<Channels>([&](auto i)
                           SEGNET_INLINE_LAMBDA { values[i] = V::load(from + x * Channels + i * V::lanes); });
      deinterleave<Channels, V::lanes>(values);
      unroll<Channels>([&](auto c) SEGNET_INLINE_LAMBDA { V::store(to + c * plane + x, values[c]); });
    }
    return x;
  };
  int x = 0;
  if (channels == 3) x = whole(std::integral_constant<int, 3>{});
  if (channels == 4) x = whole(std::integral_constant<int, 4>{});
  if (channels == 8) x = whole(std::integral_constant<int, 8>{});
  if (channels == 16) x = whole(std::integral_constant<int, 16>{});
  for (; x < pixels; ++x)
    for (int c = 0; c < channels; ++c) to[c * plane + x] = from[x * channels + c];
}

/// The last few rows that were asked for, padded, channel by channel.
template <class T>
class planar_rows {
 public:
  planar_rows(std::span<const conv2d_source<T>> sources, int h, int w, int pad_left,
              const planar_plan<T>& plan, T* memory)
      : plan_(plan),
        row_(sources, h, w, pad_left, plan.pixels(), plan.channels, 1, memory),
        h_(h),
        planes_(memory + plan.interleaved()) {
    std::fill_n(key_, max_kernel, std::int64_t{-1});
  }

  /// Row y in [0, h) of an image. Good until kernel_h other rows were asked for.
  const T* get(int image, int y) {
    const int slot = y % plan_.kernel_h;
    T* const to = planes_ + slot * plan_.row();
    const std::int64_t key = std::int64_t{image} * h_ + y;
    if (key_[slot] != key) {
      to_planes(row_.get(image, y), plan_.pixels(), plan_.channels, to, plan_.plane());
      // What tiles over the edge read has no effect, but is to be a number.
      for (int c = 0; c < plan_.channels; ++c)
        std::fill(to + c * plan_.plane() + plan_.pixels(), to + (c + 1) * plan_.plane(), T{0});
    }
    key_[slot] = key;
    return to;
  }

 private:
  planar_plan<T> plan_;
  padded_rows<T> row_;
  int h_;
  T* planes_;
  std::int64_t key_[max_kernel];
};

/// One convolution, in the scratch memory of one thread.
template <class T>
class planar_product {
 public:
  using V = simd<T>;
  using packet = typename V::packet;
  using tile = planar_tile<T>;

  planar_product(const gather_product<T>& product, const planar_plan<T>& plan, T* memory)
      : p_(product),
        plan_(plan),
        // Backward is a forward convolution with flipped taps and the complementary padding.
        pad_top_(product.y.transposed ? product.kernel_h - 1 - product.y.pad : product.y.pad),
        rows_(product.sources, product.y.extent, product.x.extent,
              product.x.transposed ? product.kernel_w - 1 - product.x.pad : product.x.pad, plan, memory),
        weights_(memory + plan.interleaved() + plan.kernel_h * plan.row()) {
    pack_weights();
  }

  /// Row `row` of the flattened batch's output.
  void run(std::ptrdiff_t row) {
    const int image = static_cast<int>(row / p_.out_h), top = static_cast<int>(row % p_.out_h) - pad_top_;
    first_tap_ = std::max(0, -top);
    last_tap_ = std::max(first_tap_, std::min(p_.kernel_h, p_.y.extent - top));
    for (int r = first_tap_; r < last_tap_; ++r) data_[r] = rows_.get(image, top + r);
    T* const out = p_.out + row * p_.out_w * p_.columns;
    for (int x = 0; x < p_.out_w;) {
      const bool whole = x + (tile::packets - 1) * V::lanes < p_.out_w;
      for (int block = 0; block < plan_.blocks(); ++block)
        whole ? multiply<tile::packets>(x, block, out) : multiply<1>(x, block, out);
      x += whole ? tile::pixels : V::lanes;
    }
  }

 private:
  void pack_weights() {
    T* to = weights_;
    for (int column = 0; column < plan_.blocks() * tile::columns; column += tile::columns)
      for (int tap = 0; tap < p_.kernel_h * p_.kernel_w; ++tap) {
        const int from = p_.y.transposed ? p_.kernel_h * p_.kernel_w - 1 - tap : tap;
        for (int c = 0; c < p_.channels; ++c, to += tile::columns)
          for (int k = 0; k < tile::columns; ++k)
            to[k] = column + k < p_.columns
                        ? p_.weight[(column + k) * p_.column_step + from * p_.tap_step + c * p_.channel_step]
                        : T{0};
      }
  }

  /// `Packets` packets of pixels from x on, of one block of columns.
  template <int Packets>
  void multiply(int x, int block, T* out) const {
    packet sum[Packets][tile::columns];
    unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA {
      unroll<tile::columns>([&](auto k) SEGNET_INLINE_LAMBDA { sum[v][k] = V::zero(); });
    });
    const T* weight = weights_ + (block * plan_.kernel_h + first_tap_) * plan_.row_weights();
    for (int r = first_tap_; r < last_tap_; ++r)
      for (int s = 0; s < p_.kernel_w; ++s) {
        const T* pixel = data_[r] + x + s;
        for (int c = 0; c < p_.channels; ++c, pixel += plan_.plane(), weight += tile::columns) {
          packet value[Packets];
          unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { value[v] = V::load(pixel + v * V::lanes); });
          unroll<tile::columns>([&](auto k) SEGNET_INLINE_LAMBDA {
            const packet factor = V::set(weight[k]);
            unroll<Packets>([&](auto v)
                                SEGNET_INLINE_LAMBDA { sum[v][k] = V::madd(value[v], factor, sum[v][k]); });
          });
        }
      }
    unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { finish(x + v * V::lanes, block, sum[v], out); });
  }

  /// A packet of pixels to the image: scaled, shifted, rectified, and back in NHWC.
  SEGNET_INLINE void finish(int x, int block, packet (&sum)[tile::columns], T* out) const {
    const int column = block * tile::columns, columns = std::min(tile::columns, p_.columns - column);
    const int pixels = std::min(V::lanes, p_.out_w - x);
    const conv2d_epilogue<T> end = p_.finish.before_pooling().from(column);
    unroll<tile::columns>([&](auto k) SEGNET_INLINE_LAMBDA {
      if (k >= columns) return;
      if (end.scale != nullptr) sum[k] = V::mul(sum[k], V::set(end.scale[k]));
      if (end.bias != nullptr) sum[k] = V::add(sum[k], V::set(end.bias[k]));
      if (end.act == activation::relu) sum[k] = sum[k] < V::zero() ? V::zero() : sum[k];  // keeps NaN
    });
    interleave<tile::columns, V::lanes>(sum);
    T* const to = out + std::ptrdiff_t{x} * p_.columns + column;
    if (pixels == V::lanes && p_.columns == tile::columns) {
      unroll<tile::columns>([&](auto i) SEGNET_INLINE_LAMBDA {
        T* const at = to + i * V::lanes;
        V::store(at, p_.accumulate ? V::add(V::load(at), sum[i]) : sum[i]);
      });
      return;
    }
    alignas(64) T values[V::lanes * tile::columns];
    unroll<tile::columns>([&](auto i) SEGNET_INLINE_LAMBDA { V::store(values + i * V::lanes, sum[i]); });
    const auto copy = [&](auto count) SEGNET_INLINE_LAMBDA {
      for (int i = 0; i < pixels; ++i)
        for (int k = 0; k < count; ++k) {
          T& result = to[std::ptrdiff_t{i} * p_.columns + k];
          result = values[i * tile::columns + k] + (p_.accumulate ? result : T{0});
        }
    };
    columns == tile::columns ? copy(std::integral_constant<int, tile::columns>{}) : copy(columns);
  }

  const gather_product<T>& p_;
  planar_plan<T> plan_;
  int pad_top_;
  planar_rows<T> rows_;
  T* weights_;
  int first_tap_ = 0, last_tap_ = 0;
  const T* data_[max_kernel];
};

template <class T>
void run_planar(thread_pool& pool, const gather_product<T>& p, const scratch<T>& memory) {
  const planar_plan<T> plan(p);
  for_each_band(pool, p, [&](std::ptrdiff_t first, std::ptrdiff_t last, int thread, auto finish_row) {
    planar_product<T> product(p, plan, memory.of(thread));
    for (std::ptrdiff_t row = first; row < last; ++row) {
      product.run(row);
      finish_row(row);
    }
  });
}

}  // namespace segnet::detail
