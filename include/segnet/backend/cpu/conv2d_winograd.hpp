// SPDX-License-Identifier: MIT
// A 3 x 3 convolution with stride 1 in Winograd's form: the image is transformed tile by tile, each of the
// (M + 2)^2 places of a transformed tile becomes a matrix product (tiles x channels) times (channels x
// columns), and the products are transformed back. Weights are transformed on the fly, one panel of columns
// at a time: that is cheap beside the products, keeps no second copy of them, and reads the originals, a
// quarter of the size, from memory instead.
#pragma once

#include <segnet/backend/cpu/conv2d_panel.hpp>
#include <segnet/backend/cpu/conv2d_tile.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/backend/cpu/winograd_tiles.hpp>

namespace segnet::detail {

/// Sizes of the parts that the work is cut into; a matter of the geometry alone.
template <class T, int M>
struct winograd_plan {
  static constexpr int size = M + 2, places = size * size;
  static constexpr int packets = 2, width = packets * simd<T>::lanes;  ///< of a panel of columns
  static constexpr int group = 2 * max_tile_rows;  ///< tiles whose transformed data lie together
  static constexpr int groups_per_task = 4;
  static constexpr int max_channels =
      128;  ///< of a block: its transformed weights fit the second-level cache
  static constexpr std::size_t image_bytes =
      4 << 20;  ///< of transformed data: fits a share of the third-level cache

  int channels;

  /// Channels of one row of transformed data: whole lines of the cache, and not a power of two of them, lest
  /// the rows fight for the same places in the first-level cache.
  constexpr int row() const { return (channels + 15) / 16 * 16 + 16; }
  constexpr std::size_t group_size() const {
    return static_cast<std::size_t>(places) * static_cast<std::size_t>(group) *
           static_cast<std::size_t>(row());
  }
  /// Groups that are transformed before they are multiplied.
  constexpr int groups() const {
    return std::max(1, static_cast<int>(image_bytes / sizeof(T) / group_size()));
  }
  constexpr int block() const {
    const int blocks = (channels + max_channels - 1) / max_channels;
    return ((channels + blocks - 1) / blocks + 15) / 16 * 16;
  }
  /// Elements from the weights of one place to those of the next; again not a power of two.
  constexpr std::size_t weights_step() const {
    return static_cast<std::size_t>(std::min(block(), channels)) * width + 16;
  }
  static constexpr int packed_channels = 16;  ///< at a time: they stay in the first-level cache
  constexpr std::size_t tap_size() const { return std::size_t{packed_channels} * width + 16; }
  constexpr std::size_t products_size() const { return std::size_t{places} * group * width; }

  constexpr std::size_t shared() const { return static_cast<std::size_t>(groups()) * group_size(); }
  constexpr std::size_t per_thread() const {
    return 9 * tap_size() + static_cast<std::size_t>(places) * weights_step() +
           groups_per_task * products_size();
  }
};

/// One product in this form, on panels of two packets of columns.
template <class T, int M>
class winograd_product {
 public:
  using V = columns<T, 1>;
  using plan_type = winograd_plan<T, M>;
  using transforms = winograd<V, M>;
  using packet = typename V::packet;
  static constexpr int size = plan_type::size, places = plan_type::places, group = plan_type::group;
  static constexpr int width = plan_type::width;

  explicit winograd_product(const gather_product<T>& product)
      : p_(product),
        plan_{product.channels},
        grid_(product.out_h, product.out_w, M),
        tiles_(grid_.tiles(product.batch)),
        // Backward is a forward convolution with flipped taps and the complementary padding.
        pad_top_(product.y.transposed ? 2 - product.y.pad : product.y.pad),
        pad_left_(product.y.transposed ? 2 - product.x.pad : product.x.pad) {}

  void run(thread_pool& pool, const scratch<T>& memory) const {
    const std::ptrdiff_t all = (tiles_ + group - 1) / group;
    const int panels = (p_.columns + width - 1) / width;
    for (std::ptrdiff_t first = 0; first < all; first += plan_.groups()) {
      const int groups = static_cast<int>(std::min<std::ptrdiff_t>(plan_.groups(), all - first));
      transform_image(pool, first, groups, memory.shared);
      const int tasks = (groups + plan_type::groups_per_task - 1) / plan_type::groups_per_task;
      const int share = (groups + tasks - 1) / tasks;
      pool.run(panels * tasks, [&](int task, int thread) {
        const int begin = task % tasks * share;
        multiply(task / tasks * width, first, begin, std::min(begin + share, groups), memory.shared,
                 memory.of(thread));
      });
    }
  }

 private:
  int tiles_of(std::ptrdiff_t g) const {
    return static_cast<int>(std::min<std::ptrdiff_t>(group, tiles_ - g * group));
  }

  /// Groups [first, first + groups) into `to`, [group][place][tile][channel].
  void transform_image(thread_pool& pool, std::ptrdiff_t first, int groups, T* to) const {
    constexpr std::size_t grain = 4;  // tiles
    const auto tiles =
        static_cast<std::size_t>(std::min(std::ptrdiff_t{groups} * group, tiles_ - first * group));
    parallel_for(pool, tiles, grain, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t tile = begin; tile < end; ++tile) {
        const auto at = grid_.at(first * group + static_cast<std::ptrdiff_t>(tile));
        T* data =
            to + tile / group * plan_.group_size() + tile % group * static_cast<std::size_t>(plan_.row());
        for (const conv2d_source<T>& source : p_.sources) {
          tile_pixels<T, size>(source, p_.y.extent, p_.x.extent, at.image, at.y - pad_top_, at.x - pad_left_)
              .template transform<size>(
                  0, source.channels,
                  [](const packet(&x)[size], packet(&d)[size])
                      SEGNET_INLINE_LAMBDA { transforms::data(x, d); },
                  data, std::ptrdiff_t{group} * plan_.row());
          data += source.channels;
        }
      }
    });
  }

  /// Columns [column, column + width) of the groups [begin, end) behind `first`.
  void multiply(int column, std::ptrdiff_t first, int begin, int end, const T* image, T* memory) const {
    T* const taps = memory;
    T* const weights = taps + 9 * plan_.tap_size();
    T* const products = weights + places * plan_.weights_step();
    const int block = plan_.block();
    for (int channel = 0; channel < p_.channels; channel += block) {
      const int count = std::min(block, p_.channels - channel);
      transform_weights(column, channel, count, taps, weights);
      for (int g = begin; g < end; ++g) {
        // A single block of channels needs no sums kept for later.
        T* const sums = products + (block >= p_.channels ? 0 : static_cast<std::size_t>(g - begin)) *
                                       plan_.products_size();
        const int tiles = tiles_of(first + g);
        multiply_group(image + static_cast<std::size_t>(g) * plan_.group_size() + channel, count, tiles,
                       weights, channel > 0, sums);
        if (channel + count == p_.channels)
          for (int tile = 0; tile < tiles; ++tile)
            transform_result(grid_.at((first + g) * group + tile), column,
                             sums + std::ptrdiff_t{tile} * width);
      }
    }
  }

  /// [place][channel][width], as pack_panel() lays out a tap.
  void transform_weights(int column, int channel, int count, T* taps, T* weights) const {
    const auto tap_size = static_cast<std::ptrdiff_t>(plan_.tap_size()),
               step = static_cast<std::ptrdiff_t>(plan_.weights_step());
    for (int done = 0; done < count; done += plan_type::packed_channels) {
      const int part = std::min(plan_type::packed_channels, count - done);
      for (int tap = 0; tap < 9; ++tap)
        pack_panel<V>(p_, column, width, p_.y.transposed ? 8 - tap : tap, channel + done, part,
                      taps + tap * tap_size);
      T* const to = weights + std::ptrdiff_t{done} * width;
      for (int i = 0; i < part * width; i += V::lanes)
        transform_square<V, 3, size>(
            [](const packet(&w)[3], packet(&u)[size]) SEGNET_INLINE_LAMBDA { transforms::weights(w, u); },
            [&](auto r, auto s) SEGNET_INLINE_LAMBDA { return V::load(taps + (r * 3 + s) * tap_size + i); },
            [&](auto r, auto s, packet u)
                SEGNET_INLINE_LAMBDA { V::store(to + (r * size + s) * step + i, u); });
    }
  }

  void multiply_group(const T* image, int count, int tiles, const T* weights, bool add, T* sums) const {
    using kernels = tile_kernels<V, plan_type::packets>;
    const auto step = static_cast<std::ptrdiff_t>(plan_.weights_step());
    for (int at = 0; at < places; ++at)
      for (int tile = 0; tile < tiles;) {
        const int left = tiles - tile;
        const int rows = left >= 2 * kernels::rows ? kernels::rows
                         : left > kernels::rows    ? std::min(kernels::rows, (left + 3) / 4 * 2)
                                                   : left;
        tile_term<T> term;
        for (int i = 0; i < kernels::rows; ++i)
          term.pixel[i] = image + (std::ptrdiff_t{at} * group + tile + std::min(i, rows - 1)) * plan_.row();
        term.panel = weights + at * step;
        term.count = count;
        kernels::multiply(&term, 1,
                          {.out = sums + (std::ptrdiff_t{at} * group + tile) * width,
                           .step = width,
                           .rows = rows,
                           .columns = width,
                           .add = add,
                           .last = false,
                           .finish = {}});
        tile += rows;
      }
  }

  void transform_result(const tile_grid::place& at, int column, const T* sums) const {
    const std::ptrdiff_t row = std::ptrdiff_t{p_.out_w} * p_.columns;
    T* const out = p_.out + (std::ptrdiff_t{at.image} * p_.out_h + at.y) * row +
                   std::ptrdiff_t{at.x} * p_.columns + column;
    const int columns = std::min(width, p_.columns - column);
    const int down = std::min(M, p_.out_h - at.y), across = std::min(M, p_.out_w - at.x);
    const tile_result<T> finish{.out = nullptr,
                                .step = 0,
                                .rows = 0,
                                .columns = columns,
                                .add = p_.accumulate,
                                .last = true,
                                .finish = p_.finish.from(column)};
    alignas(64) T values[M * M][width + V::lanes];
    for (int c = 0; c < width; c += V::lanes) {
      const bool whole = c + V::lanes <= columns;
      transform_square<V, size, M>(
          [](const packet(&m)[size], packet(&y)[M]) SEGNET_INLINE_LAMBDA { transforms::result(m, y); },
          [&](auto i, auto j) SEGNET_INLINE_LAMBDA {
            return V::load(sums + (i * size + j) * std::ptrdiff_t{group} * width + c);
          },
          [&](auto i, auto j, packet y) SEGNET_INLINE_LAMBDA {
            if (!whole)
              V::store(values[i * M + j] + c, y);
            else if (i < down && j < across)
              finish_packet(y, finish, c, out + i * row + j * p_.columns);
          });
      if (whole) continue;
      for (int i = 0; i < down; ++i)
        for (int j = 0; j < across; ++j) {
          T* to = out + i * row + std::ptrdiff_t{j} * p_.columns;
          tile_result<T> rest = finish;
          rest.columns = columns - c;
          rest.finish = finish.finish.from(c);
          finish_row(values[i * M + j] + c, rest, to + c);
        }
      break;
    }
  }

  const gather_product<T>& p_;
  plan_type plan_;
  tile_grid grid_;
  std::ptrdiff_t tiles_;
  int pad_top_, pad_left_;
};

}  // namespace segnet::detail
