// SPDX-License-Identifier: MIT
// The weight gradient of a 3 x 3 convolution with stride 1 in Winograd's form: tiles of dY and of X are
// transformed, multiplied place by place, summed over all tiles, and only the sums are transformed back.
#pragma once

#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/backend/cpu/winograd_tiles.hpp>

namespace segnet::detail {

/// One piece of dW is what a task adds up: `rows` out channels x `width` in channels of one source. Its sums
/// and a group of transformed tiles fit the second-level cache together.
template <class T, int M>
struct winograd_weights_plan {
  static constexpr int size = M + 2, places = size * size;
  static constexpr int packets = 2, width = packets * simd<T>::lanes;
  static constexpr int rows = 64;
  static constexpr int tile_rows = vector_registers >= 32 ? 8 : 4;  ///< out channels of a register tile
  static constexpr int group = 32;                                  ///< tiles
  static constexpr int wanted_tasks = 16;

  int in_channels, out_channels;

  // From one place to the next: not a power of two, lest all places fight for the same lines of the cache.
  static constexpr std::ptrdiff_t x_step = group * width + 16, dy_step = group * rows + 16,
                                  sums_step = rows * width + 16;
  static constexpr std::size_t x_size() { return std::size_t{places} * x_step; }
  static constexpr std::size_t dy_size() { return std::size_t{places} * dy_step; }
  static constexpr std::size_t sums_size() { return std::size_t{places} * sums_step; }
  static constexpr std::size_t per_thread() { return x_size() + dy_size() + sums_size(); }

  constexpr int groups_of_rows() const { return (out_channels + rows - 1) / rows; }
  /// The tiles of a layer with few weights are cut into chunks with sums of their own: a matter of the
  /// geometry alone, so that the result does not depend on the number of threads.
  constexpr int chunks() const {
    const int tasks = groups_of_rows() * ((in_channels + width - 1) / width);
    return tasks >= wanted_tasks ? 1 : (wanted_tasks + tasks - 1) / tasks;
  }
};

template <class T, int M>
class winograd_weights_task {
 public:
  using V = simd<T>;
  using packet = typename V::packet;
  using plan = winograd_weights_plan<T, M>;
  using transforms = winograd<V, M>;
  static constexpr int size = plan::size, places = plan::places, width = plan::width;

  winograd_weights_task(const conv2d_geometry& g, const T* dy, T* scratch)
      : g_(g),
        grid_(g.out_h, g.out_w, M),
        dy_{dy, g.out_channels, 1},
        x_tiles_(scratch),
        dy_tiles_(x_tiles_ + plan::x_size()),
        sums_(dy_tiles_ + plan::dy_size()) {}

  /// The tiles [first, last), out channels from `k` and channels from `channel` of a source, which stands at
  /// `offset` among the in channels.
  void run(std::ptrdiff_t first, std::ptrdiff_t last, int k, const conv2d_source<T>& source, int offset,
           int channel, T* dweight, bool add) {
    const int rows = std::min(plan::rows, g_.out_channels - k),
              count = std::min(width, source.channels - channel);
    // Lanes beyond the channels are multiplied too.
    if (count < width) std::fill_n(x_tiles_, plan::x_size(), T{0});
    if (rows % plan::tile_rows != 0) std::fill_n(dy_tiles_, plan::dy_size(), T{0});
    if (first >= last) std::fill_n(sums_, plan::sums_size(), T{0});
    for (std::ptrdiff_t tile = first; tile < last; tile += plan::group) {
      const int tiles = static_cast<int>(std::min<std::ptrdiff_t>(plan::group, last - tile));
      transform_tiles(tile, tiles, k, rows, source, channel, count);
      for (int at = 0; at < places; ++at)
        for (int row = 0; row < rows; row += plan::tile_rows)
          multiply(dy_tiles_ + at * plan::dy_step + row, x_tiles_ + at * plan::x_step, tiles, tile > first,
                   sums_ + at * plan::sums_step + std::ptrdiff_t{row} * width);
    }
    transform_sums(rows, count, dweight + std::ptrdiff_t{k} * 9 * g_.in_channels + offset + channel, add);
  }

 private:
  void transform_tiles(std::ptrdiff_t first, int tiles, int k, int rows, const conv2d_source<T>& source,
                       int channel, int count) const {
    for (int tile = 0; tile < tiles; ++tile) {
      const auto at = grid_.at(first + tile);
      tile_pixels<T, size>(source, g_.h, g_.w, at.image, at.y - g_.pad_top, at.x - g_.pad_left)
          .template transform<size>(
              channel, count,
              [](const packet(&x)[size], packet(&d)[size]) SEGNET_INLINE_LAMBDA { transforms::data(x, d); },
              x_tiles_ + std::ptrdiff_t{tile} * width, plan::x_step);
      tile_pixels<T, M>(dy_, g_.out_h, g_.out_w, at.image, at.y, at.x)
          .template transform<size>(
              k, rows,
              [](const packet(&d)[M], packet(&u)[size]) SEGNET_INLINE_LAMBDA { transforms::gradient(d, u); },
              dy_tiles_ + std::ptrdiff_t{tile} * plan::rows, plan::dy_step);
    }
  }

  /// sums[row][width] = (or +=) the sum over the tiles of dy[tile][row] * x[tile][width].
  static void multiply(const T* dy, const T* x, int tiles, bool add, T* sums) {
    packet sum[plan::tile_rows][plan::packets];
    unroll<plan::tile_rows>([&](auto i) SEGNET_INLINE_LAMBDA {
      unroll<plan::packets>([&](auto v) SEGNET_INLINE_LAMBDA {
        sum[i][v] = add ? V::load(sums + i * width + v * V::lanes) : V::zero();
      });
    });
    for (int tile = 0; tile < tiles; ++tile, dy += plan::rows, x += width) {
      packet values[plan::packets];
      unroll<plan::packets>([&](auto v) SEGNET_INLINE_LAMBDA { values[v] = V::load(x + v * V::lanes); });
      unroll<plan::tile_rows>([&](auto i) SEGNET_INLINE_LAMBDA {
        const packet factor = V::set(dy[i]);
        unroll<plan::packets>(
            [&](auto v) SEGNET_INLINE_LAMBDA { sum[i][v] = V::madd(factor, values[v], sum[i][v]); });
      });
    }
    unroll<plan::tile_rows>([&](auto i) SEGNET_INLINE_LAMBDA {
      unroll<plan::packets>(
          [&](auto v) SEGNET_INLINE_LAMBDA { V::store(sums + i * width + v * V::lanes, sum[i][v]); });
    });
  }

  void transform_sums(int rows, int count, T* dweight, bool add) const {
    const std::ptrdiff_t tap = g_.in_channels;
    for (int row = 0; row < rows; ++row, dweight += 9 * tap)
      for (int c = 0; c < count; c += V::lanes) {
        const bool whole = c + V::lanes <= count;
        transform_square<V, size, 3>(
            [](const packet(&m)[size], packet(&w)[3])
                SEGNET_INLINE_LAMBDA { transforms::weights_gradient(m, w); },
            [&](auto i, auto j) SEGNET_INLINE_LAMBDA {
              return V::load(sums_ + (i * size + j) * plan::sums_step + std::ptrdiff_t{row} * width + c);
            },
            [&](auto r, auto s, packet w) SEGNET_INLINE_LAMBDA {
              T* const to = dweight + (r * 3 + s) * tap + c;
              if (whole) return V::store(to, add ? V::add(V::load(to), w) : w);
              alignas(64) T values[V::lanes];
              V::store(values, w);
              for (int i = 0; i < count - c; ++i) to[i] = add ? to[i] + values[i] : values[i];
            });
      }
  }

  const conv2d_geometry& g_;
  tile_grid grid_;
  conv2d_source<T> dy_;
  T *x_tiles_, *dy_tiles_, *sums_;
};

}  // namespace segnet::detail
