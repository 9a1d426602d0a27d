// SPDX-License-Identifier: MIT
// A 3 x 3 convolution with stride 1 in Winograd's form: the image is transformed tile by tile, each of the
// (M + 2)^2 places of a transformed tile becomes a matrix product (tiles x channels) times (channels x
// columns), and the products are transformed back. Weights are transformed anew in each call: that is cheap
// beside the products, keeps no second copy of them, and reads the originals, a quarter of the size, from
// memory instead.
#pragma once

#include <segnet/backend/cpu/conv2d_panel.hpp>
#include <segnet/backend/cpu/conv2d_pool.hpp>
#include <segnet/backend/cpu/conv2d_statistics.hpp>
#include <segnet/backend/cpu/conv2d_tile.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/backend/cpu/winograd_tiles.hpp>

namespace segnet::detail {

/// Sizes of the parts that the work is cut into, and the order of the work: a matter of the geometry alone.
template <class V, int Packets, int M>
struct winograd_plan {
  using T = typename V::scalar;
  static constexpr int size = M + 2, places = size * size;
  static constexpr int width = Packets * V::width;  ///< of a panel of columns
  static constexpr int group = 2 * max_tile_rows;   ///< tiles whose transformed data lie together

  // Channels at a time, so that what they need fits the first- or the second-level cache.
  static constexpr int packed_channels = 64;
  static constexpr int multiplied_channels = 128;

  static constexpr int groups_per_task = 4;
  static constexpr std::size_t image_bytes = 4 << 20;    ///< of data transformed beforehand
  static constexpr std::size_t weights_bytes = 5 << 19;  ///< of weights transformed beforehand

  int channels, columns;

  constexpr int panels() const { return (columns + width - 1) / width; }

  /// Channels of one row of transformed data: an odd number of the cache's lines, lest the rows fight for the
  /// same places in the first-level cache, with room for a last packet. The same goes for the steps below.
  constexpr int row() const { return (((channels + 15) / 16 + 1) | 1) * 16; }
  static constexpr std::ptrdiff_t step(int count) { return std::ptrdiff_t{count} * width + 16; }

  constexpr std::size_t group_size() const {
    return std::size_t{places} * group * static_cast<std::size_t>(row());
  }
  static constexpr std::size_t sums_size() { return std::size_t{places} * group * width; }

  /// Many tiles and few weights: those are transformed first, for all.
  constexpr bool weights_first() const {
    return all_weights_size() * sizeof(T) <= weights_bytes && channels <= 192;
  }
  constexpr std::size_t panel_weights_size() const {
    return std::size_t{places} * static_cast<std::size_t>(step(channels));
  }
  constexpr std::size_t all_weights_size() const {
    return static_cast<std::size_t>(panels()) * panel_weights_size();
  }

  /// Groups that are transformed before they are multiplied, where the weights are not.
  constexpr int groups() const {
    return std::clamp(static_cast<int>(image_bytes / sizeof(T) / group_size()), 1,
                      groups_per_task * fewest_slots);  // each task has a slot for sums
  }
  constexpr int block() const {
    const int blocks = (channels + multiplied_channels - 1) / multiplied_channels;
    return ((channels + blocks - 1) / blocks + packed_channels - 1) / packed_channels * packed_channels;
  }

  constexpr std::size_t shared() const {
    return weights_first() ? all_weights_size() : static_cast<std::size_t>(groups()) * group_size();
  }
  constexpr std::size_t per_thread() const {
    const std::size_t taps = 9 * static_cast<std::size_t>(step(packed_channels));
    if (weights_first()) return std::max(taps, group_size() + sums_size());
    return taps + places * static_cast<std::size_t>(step(block())) + groups_per_task * sums_size();
  }
};

/// Calls f(winograd_plan<...>) for the panels that fit the columns: two packets, or half of one.
template <class T, class F>
constexpr auto with_winograd(product_form form, int channels, int column_count, F f) {
  using few = std::conditional_t<panel_shape<T>::pairs, columns<T, 2>, columns<T, 1>>;
  if (form == product_form::winograd_2) return f(winograd_plan<columns<T, 1>, 2, 2>{channels, column_count});
  if (column_count <= few::width) return f(winograd_plan<few, 1, 4>{channels, column_count});
  return f(winograd_plan<columns<T, 1>, 2, 4>{channels, column_count});
}

/// One product in this form; V and Packets give the panels of columns.
template <class V, int Packets, int M>
class winograd_product {
 public:
  using T = typename V::scalar;
  using plan = winograd_plan<V, Packets, M>;
  using transforms = winograd<V, M>;
  using packet = typename V::packet;
  static constexpr int size = plan::size, places = plan::places, group = plan::group, width = plan::width;

  explicit winograd_product(const gather_product<T>& product)
      : p_(product),
        plan_{product.channels, product.columns},
        grid_(product.out_h, product.out_w, M),
        tiles_(grid_.tiles(product.batch)),
        // Backward is a forward convolution with flipped taps and the complementary padding.
        pad_top_(product.y.transposed ? 2 - product.y.pad : product.y.pad),
        pad_left_(product.y.transposed ? 2 - product.x.pad : product.x.pad) {}

  void run(thread_pool& pool, const scratch<T>& memory) const {
    if (plan_.weights_first())
      run_weights_first(pool, memory);
    else
      run_image_first(pool, memory);
  }

 private:
  /// Each task takes a group of tiles from the image to the result; the data stay in its caches.
  void run_weights_first(thread_pool& pool, const scratch<T>& memory) const {
    const int parts = (p_.channels + plan::packed_channels - 1) / plan::packed_channels;
    const std::ptrdiff_t step = plan::step(p_.channels);
    const auto weights_of = [&](int panel) {
      return memory.shared + static_cast<std::size_t>(panel) * plan_.panel_weights_size();
    };
    pool.run(plan_.panels() * parts, [&](int task, int thread) {
      const int panel = task / parts, channel = task % parts * plan::packed_channels;
      transform_weights(panel * width, channel, std::min(plan::packed_channels, p_.channels - channel),
                        memory.of(thread), weights_of(panel) + std::ptrdiff_t{channel} * width, step);
    });
    const auto run_group = [&](std::ptrdiff_t g, int slot, T* image) {
      T* const sums = image + plan_.group_size();
      const int tiles = tiles_of(g);
      for (int tile = 0; tile < tiles; ++tile)
        transform_tile(g * group + tile, image + std::ptrdiff_t{tile} * plan_.row());
      for (int panel = 0; panel < plan_.panels(); ++panel) {
        for (int at = 0; at < places; ++at)
          multiply(image + std::ptrdiff_t{at} * group * plan_.row(), tiles, weights_of(panel) + at * step,
                   p_.channels, false, sums + std::ptrdiff_t{at} * group * width);
        transform_results(g, slot, tiles, panel * width, sums);
      }
    };
    const std::ptrdiff_t tasks =
        p_.sums == nullptr ? groups() : std::min<std::ptrdiff_t>(groups(), statistics_slots(p_.columns));
    pool.run(static_cast<int>(tasks), [&](int task, int thread) {
      for (std::ptrdiff_t g = task * groups() / tasks; g < (task + 1) * groups() / tasks; ++g)
        run_group(g, task, memory.of(thread));
    });
  }

  /// Each task takes one panel of weights to a few groups of tiles, which were transformed for all.
  void run_image_first(thread_pool& pool, const scratch<T>& memory) const {
    for (std::ptrdiff_t first = 0; first < groups(); first += plan_.groups()) {
      const int count = static_cast<int>(std::min<std::ptrdiff_t>(plan_.groups(), groups() - first));
      constexpr std::size_t grain = 4;  // tiles
      const auto tiles =
          static_cast<std::size_t>(std::min(std::ptrdiff_t{count} * group, tiles_ - first * group));
      parallel_for(pool, tiles, grain, [&](std::size_t begin, std::size_t end, int) {
        for (std::size_t tile = begin; tile < end; ++tile)
          transform_tile(first * group + static_cast<std::ptrdiff_t>(tile),
                         memory.shared + tile / group * plan_.group_size() +
                             tile % group * static_cast<std::size_t>(plan_.row()));
      });
      const int tasks = (count + plan::groups_per_task - 1) / plan::groups_per_task;
      const int share = (count + tasks - 1) / tasks;
      pool.run(plan_.panels() * tasks, [&](int task, int thread) {
        const int column = task / tasks * width, slot = task % tasks, begin = slot * share;
        multiply_groups(column, slot, first, begin, std::min(begin + share, count), memory.shared,
                        memory.of(thread));
      });
    }
  }

  /// The groups [begin, end) behind `first`.
  void multiply_groups(int column, int slot, std::ptrdiff_t first, int begin, int end, const T* image,
                       T* memory) const {
    const int block = plan_.block();
    const std::ptrdiff_t step = plan::step(block);
    T* const weights = memory + 9 * plan::step(plan::packed_channels);
    T* const all_sums = weights + places * step;
    for (int channel = 0; channel < p_.channels; channel += block) {
      const int count = std::min(block, p_.channels - channel);
      transform_weights(column, channel, count, memory, weights, step);
      for (int g = begin; g < end; ++g) {
        const int tiles = tiles_of(first + g);
        const T* const data = image + static_cast<std::size_t>(g) * plan_.group_size() + channel;
        T* const sums = all_sums + static_cast<std::size_t>(g - begin) * plan::sums_size();
        for (int at = 0; at < places; ++at)
          multiply(data + std::ptrdiff_t{at} * group * plan_.row(), tiles, weights + at * step, count,
                   channel > 0, sums + std::ptrdiff_t{at} * group * width);
        if (channel + count == p_.channels) transform_results(first + g, slot, tiles, column, sums);
      }
    }
  }

  std::ptrdiff_t groups() const { return (tiles_ + group - 1) / group; }
  int tiles_of(std::ptrdiff_t g) const {
    return static_cast<int>(std::min<std::ptrdiff_t>(group, tiles_ - g * group));
  }

  /// All channels of a tile to [place][tiles of the group][channel].
  void transform_tile(std::ptrdiff_t tile, T* to) const {
    const auto at = grid_.at(tile);
    for (const conv2d_source<T>& source : p_.sources) {
      tile_pixels<T, size>(source, p_.y.extent, p_.x.extent, at.image, at.y - pad_top_, at.x - pad_left_)
          .template transform<size>(
              0, source.channels,
              [](const packet(&x)[size], packet(&d)[size]) SEGNET_INLINE_LAMBDA { transforms::data(x, d); },
              to, std::ptrdiff_t{group} * plan_.row());
      to += source.channels;
    }
  }

  /// [tap][channel][width]. Taps of one filter are neighbours: memory is read in that order, not tap by tap.
  void pack_taps(int column, int channel, int count, T* taps, std::ptrdiff_t step) const {
    const T* const from = p_.weight + column * p_.column_step + channel * p_.channel_step;
    const auto tap_of = [&](int tap) { return p_.y.transposed ? 8 - tap : tap; };
    const bool whole = p_.columns - column >= width;
    if (V::depth == 1 && whole && p_.channel_step == 1 && count % V::lanes == 0) {
      for (int k = 0; k < width; k += V::lanes)
        for (int tap = 0; tap < 9; ++tap)
          for (int c = 0; c < count; c += V::lanes)
            V::transpose(from + k * p_.column_step + tap_of(tap) * p_.tap_step + c, p_.column_step,
                         taps + tap * step + c * width + k, width);
    } else if (V::depth == 1 && whole && p_.column_step == 1) {
      for (int c = 0; c < count; ++c)
        for (int tap = 0; tap < 9; ++tap)
          for (int k = 0; k < width; k += V::lanes)
            V::store(taps + tap * step + c * width + k,
                     V::load(from + c * p_.channel_step + tap_of(tap) * p_.tap_step + k));
    } else {
      for (int tap = 0; tap < 9; ++tap)
        pack_panel<V>(p_, column, width, tap_of(tap), channel, count, taps + tap * step);
    }
  }

  /// [place][channel][width].
  void transform_weights(int column, int channel, int count, T* taps, T* weights, std::ptrdiff_t step) const {
    constexpr std::ptrdiff_t tap_step = plan::step(plan::packed_channels);
    for (int done = 0; done < count; done += plan::packed_channels) {
      const int part = std::min(plan::packed_channels, count - done);
      pack_taps(column, channel + done, part, taps, tap_step);
      T* const to = weights + std::ptrdiff_t{done} * width;
      for (int k = 0; k < (part + part % V::depth) * width; k += V::lanes)
        transform_square<V, 3, size>(
            [](const packet(&w)[3], packet(&u)[size]) SEGNET_INLINE_LAMBDA { transforms::weights(w, u); },
            [&](auto r, auto s) SEGNET_INLINE_LAMBDA { return V::load(taps + (r * 3 + s) * tap_step + k); },
            [&](auto r, auto s, packet u)
                SEGNET_INLINE_LAMBDA { V::store(to + (r * size + s) * step + k, u); });
    }
  }

  /// The product of one place: sums[tile][width] = (or +=) image[tile][channel] * weights[channel][width].
  void multiply(const T* image, int tiles, const T* weights, int count, bool add, T* sums) const {
    using kernels = tile_kernels<V, Packets>;
    tile_term<T> term;
    term.panel = weights;
    term.count = count;
    for (int tile = 0; tile < tiles;) {
      const int rows = kernels::share(tiles - tile);
      for (int i = 0; i < kernels::rows; ++i)
        term.pixel[i] = image + std::ptrdiff_t{tile + std::min(i, rows - 1)} * plan_.row();
      kernels::multiply(&term, 1,
                        {.out = sums + std::ptrdiff_t{tile} * width,
                         .step = width,
                         .rows = rows,
                         .columns = width,
                         .add = add,
                         .last = false,
                         .finish = {}});
      tile += rows;
    }
  }

  void transform_results(std::ptrdiff_t g, int slot, int tiles, int column, const T* sums) const {
    constexpr int together = std::max(1, V::lanes / width);  // tiles that share a packet
    alignas(64) T values[M * M][std::max(width, V::lanes)];
    for (int tile = 0; tile < tiles; tile += together) {
      for (int c = 0; c < together * width; c += V::lanes)
        transform_square<V, size, M>(
            [](const packet(&m)[size], packet(&y)[M]) SEGNET_INLINE_LAMBDA { transforms::result(m, y); },
            [&](auto i, auto j) SEGNET_INLINE_LAMBDA {
              return V::load(sums + (std::ptrdiff_t{i * size + j} * group + tile) * width + c);
            },
            [&](auto i, auto j, packet y) SEGNET_INLINE_LAMBDA { V::store(values[i * M + j] + c, y); });
      for (int i = 0; i < std::min(together, tiles - tile); ++i)
        finish_tile(grid_.at(g * group + tile + i), slot, column, values[0] + i * width,
                    sizeof values[0] / sizeof(T));
    }
  }

  /// Values of one tile to the image, as far as they lie inside.
  void finish_tile(const tile_grid::place& at, int slot, int column, const T* values,
                   std::ptrdiff_t step) const {
    const std::ptrdiff_t row = std::ptrdiff_t{p_.out_w} * p_.columns;
    T* const out = p_.out + (std::ptrdiff_t{at.image} * p_.out_h + at.y) * row +
                   std::ptrdiff_t{at.x} * p_.columns + column;
    const int down = std::min(M, p_.out_h - at.y), across = std::min(M, p_.out_w - at.x);
    const tile_result<T> finish{.out = nullptr,
                                .step = 0,
                                .rows = 0,
                                .columns = std::min(width, p_.columns - column),
                                .add = p_.accumulate,
                                .last = true,
                                .finish = p_.finish.before_pooling().from(column)};
    for (int i = 0; i < down; ++i)
      for (int j = 0; j < across; ++j)
        finish_row<V>(values + (i * M + j) * step, finish, out + i * row + std::ptrdiff_t{j} * p_.columns);
    if (p_.finish.pooled != nullptr)
      pool_block(p_, std::ptrdiff_t{at.image} * p_.out_h + at.y, down, at.x, across, column,
                 static_cast<std::size_t>(finish.columns));
    if (p_.sums != nullptr) sum_block(p_, slot, out, down, across, column, finish.columns);
  }

  const gather_product<T>& p_;
  plan plan_;
  tile_grid grid_;
  std::ptrdiff_t tiles_;
  int pad_top_, pad_left_;
};

}  // namespace segnet::detail
