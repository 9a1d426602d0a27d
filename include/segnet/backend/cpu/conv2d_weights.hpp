// SPDX-License-Identifier: MIT
// The gradient of a convolution's weights: for every tap a product of dY and X over the pixels, both copied
// block by block into the thread's scratch so that the inner loop reads the first-level cache in order.
#pragma once

#include <segnet/backend/cpu/conv2d_gather.hpp>
#include <segnet/backend/cpu/conv2d_weights_rows.hpp>
#include <segnet/backend/cpu/conv2d_weights_winograd.hpp>
#include <segnet/backend/cpu/parallel.hpp>
#include <segnet/backend/cpu/simd.hpp>

#include <algorithm>
#include <cstdint>

namespace segnet::detail {

/// The sizes of one convolution's weight gradient. An independent piece of dW is what one task adds up:
/// `group` out channels x `panel` in channels of one source x one row of the kernel (or all of it).
template <class T>
struct weights_plan {
  static constexpr int lanes = simd<T>::lanes;
  static constexpr int rows = vector_registers >= 32 ? 8 : 4;  // out channels of a register tile
  static constexpr int packets = 2;                            // packets of in channels of a register tile
  static constexpr int panel = packets * lanes;
  static constexpr int max_group = 64;
  static constexpr int block = 128;        // pixels
  static constexpr int wanted_tasks = 16;  // of a thin layer: then the pixels are cut into chunks too

  int groups, panels;  // panels: if there is one source; every source begins a panel of its own
  int kernel_rows;

  constexpr explicit weights_plan(const conv2d_geometry& g)
      : groups((g.out_channels + max_group - 1) / max_group),
        panels((g.in_channels + panel - 1) / panel),
        kernel_rows(g.kernel_h) {}

  /// Pixels are cut into so many chunks with sums of their own: a matter of the geometry alone, so that the
  /// result does not depend on the number of threads.
  constexpr int chunks() const {
    const int tasks = groups * panels * kernel_rows;
    return tasks >= wanted_tasks ? 1 : (wanted_tasks + tasks - 1) / tasks;
  }
  static constexpr std::size_t per_thread() { return std::size_t{block} * (max_group + panel); }
};

/// sums[Rows][Packets packets] = the sum over pixels of dy[pixel][i] * x[pixel][...], the pixels of dy picked
/// by index.
template <class V, int Rows, int Packets>
void multiply_weights_tile(const typename V::scalar* dy, int dy_step, const std::uint8_t* index,
                           const typename V::scalar* x, int count, typename V::scalar* sums) {
  using packet = typename V::packet;
  packet sum[Rows][Packets];
  unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
    unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { sum[i][v] = V::zero(); });
  });
  for (int p = 0; p < count; ++p) {
    const auto* row = dy + std::ptrdiff_t{index[p]} * dy_step;
    packet values[Packets];
    unroll<Packets>([&](auto v) SEGNET_INLINE_LAMBDA { values[v] = V::load(x + v * V::lanes); });
    unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
      const packet factor = V::set(row[i]);
      unroll<Packets>([&](auto v)
                          SEGNET_INLINE_LAMBDA { sum[i][v] = V::madd(factor, values[v], sum[i][v]); });
    });
    x += Packets * V::lanes;
  }
  unroll<Rows>([&](auto i) SEGNET_INLINE_LAMBDA {
    unroll<Packets>([&](auto v)
                        SEGNET_INLINE_LAMBDA { V::store(sums + (i * Packets + v) * V::lanes, sum[i][v]); });
  });
}

/// One task: the pixels [first, last) of the flattened batch, one group of out channels, one panel of in
/// channels of one source, one row of the kernel.
template <class T>
class weights_task {
 public:
  using V = simd<T>;
  using plan = weights_plan<T>;

  weights_task(const conv2d_geometry& g, const T* dy, T* dweight, T* scratch)
      : g_(g),
        dy_(dy),
        dweight_(dweight),
        dy_block_(scratch),
        x_block_(scratch + plan::block * plan::max_group) {}

  /// `channel` counts within the source, `offset` is the source's place among the in channels. Without
  /// `add`, what dW holds is overwritten.
  void run(std::size_t first, std::size_t last, int group, const conv2d_source<T>& source, int offset,
           int channel, int r, bool add) {
    const int k = group * plan::max_group;
    const int group_size = std::min(plan::max_group, g_.out_channels - k);
    const int panel_size = std::min(plan::panel, source.channels - channel);
    const int step = (group_size + plan::rows - 1) / plan::rows * plan::rows;
    const gather_axis ys{g_.h, g_.stride, g_.pad_top, false}, xs{g_.w, g_.stride, g_.pad_left, false};
    T* const to =
        dweight_ + (std::ptrdiff_t{k} * g_.kernel_h + r) * g_.kernel_w * g_.in_channels + offset + channel;
    bool present[max_kernel];
    std::fill_n(present, g_.kernel_w, add);
    for (std::size_t pixel = first; pixel < last; pixel += plan::block) {
      const int count = static_cast<int>(std::min(last - pixel, std::size_t{plan::block}));
      bool dy_copied = false;
      for (int s = 0; s < g_.kernel_w; ++s) {
        const int used = copy_x(pixel, count, source, channel, panel_size, ys, r, xs, s);
        if (used == 0) continue;
        if (!dy_copied) copy_dy(pixel, count, k, group_size, step);
        dy_copied = true;
        for (int i = 0; i < group_size; i += plan::rows)
          add_tile(dy_block_ + i, step, used, to + i * row_step() + std::ptrdiff_t{s} * g_.in_channels,
                   std::min(plan::rows, group_size - i), panel_size, present[s]);
        present[s] = true;
      }
    }
    for (int s = 0; s < g_.kernel_w; ++s)  // taps that met padding only
      for (int i = 0; i < group_size && !present[s]; ++i)
        std::fill_n(to + i * row_step() + std::ptrdiff_t{s} * g_.in_channels, panel_size, T{0});
  }

 private:
  std::ptrdiff_t row_step() const { return std::ptrdiff_t{g_.kernel_h} * g_.kernel_w * g_.in_channels; }

  void copy_dy(std::size_t pixel, int count, int k, int size, int step) {
    const T* from = dy_ + static_cast<std::ptrdiff_t>(pixel) * g_.out_channels + k;
    for (int p = 0; p < count; ++p, from += g_.out_channels)
      copy_padded(from, size, step, dy_block_ + p * step);
  }

  /// Copies what the tap reads, and notes for which pixels: those that meet padding are left out.
  int copy_x(std::size_t pixel, int count, const conv2d_source<T>& source, int channel, int size,
             const gather_axis& ys, int r, const gather_axis& xs, int s) {
    const auto out_w = static_cast<std::size_t>(g_.out_w), out_h = static_cast<std::size_t>(g_.out_h);
    const int h = g_.h / source.upsample, w = g_.w / source.upsample;
    int x = static_cast<int>(pixel % out_w), y = static_cast<int>(pixel / out_w % out_h);
    int image = static_cast<int>(pixel / (out_w * out_h));
    int used = 0;
    for (int p = 0; p < count;) {
      const int in_y = ys.at(y, r);
      const int run = std::min(count - p, g_.out_w - x);
      if (in_y >= 0) {
        const T* row = source.data +
                       (std::ptrdiff_t{image} * h + in_y / source.upsample) * w * source.channels + channel;
        for (int i = 0; i < run; ++i) {
          const int in_x = xs.at(x + i, s);
          if (in_x < 0) continue;
          const int at = source.upsample == 1 ? in_x : in_x / source.upsample;
          copy_padded(row + std::ptrdiff_t{at} * source.channels, size, plan::panel,
                      x_block_ + used * plan::panel);
          index_[used++] = static_cast<std::uint8_t>(p + i);
        }
      }
      p += run;
      x = 0;
      if (++y == g_.out_h) y = 0, ++image;
    }
    return used;
  }

  static SEGNET_INLINE void copy_padded(const T* from, int size, int padded, T* to) {
    int c = 0;
    for (; c + V::lanes <= size; c += V::lanes) V::store(to + c, V::load(from + c));
    for (; c < size; ++c) to[c] = from[c];
    for (; c < padded; ++c) to[c] = T{0};
  }

  void add_tile(const T* dy, int step, int count, T* dweight, int rows, int size, bool add) {
    alignas(64) T sums[plan::rows * plan::panel];
    multiply_weights_tile<V, plan::rows, plan::packets>(dy, step, index_, x_block_, count, sums);
    for (int i = 0; i < rows; ++i, dweight += row_step()) {
      const T* sum = sums + i * plan::panel;
      int c = 0;
      for (; c + V::lanes <= size; c += V::lanes)
        V::store(dweight + c, add ? V::add(V::load(dweight + c), V::load(sum + c)) : V::load(sum + c));
      for (; c < size; ++c) dweight[c] = add ? dweight[c] + sum[c] : sum[c];
    }
  }

  const conv2d_geometry& g_;
  const T* dy_;
  T* dweight_;
  T *dy_block_, *x_block_;
  std::uint8_t index_[plan::block];
};

/// Where panel `number` of `width` in channels lies; every source begins a panel of its own.
template <class T>
struct source_panel {
  const conv2d_source<T>* source;
  int offset;   ///< of the source among the in channels
  int channel;  ///< of the panel within the source

  static int count(std::span<const conv2d_source<T>> sources, int width) {
    int panels = 0;
    for (const auto& source : sources) panels += (source.channels + width - 1) / width;
    return panels;
  }
  static source_panel find(std::span<const conv2d_source<T>> sources, int width, int number) {
    int offset = 0;
    for (const auto& source : sources) {
      const int own = (source.channels + width - 1) / width;
      if (number < own) return {&source, offset, number * width};
      number -= own;
      offset += source.channels;
    }
    return {};
  }
};

/// At 1 x 1 pixels most taps meet padding only: their part of dW is cleared in long runs beforehand. Returns
/// whether that was so.
template <class T>
bool clear_unused_taps(thread_pool& pool, const conv2d_geometry& g, T* dweight) {
  const gather_axis ys{g.h, g.stride, g.pad_top, false}, xs{g.w, g.stride, g.pad_left, false};
  bool unused = false;
  for (int r = 0; r < g.kernel_h; ++r) unused |= !ys.used(r, g.out_h);
  for (int s = 0; s < g.kernel_w; ++s) unused |= !xs.used(s, g.out_w);
  if (unused)
    parallel_for(pool, g.weights(), 1 << 14, [&](std::size_t begin, std::size_t end, int) {
      std::fill(dweight + begin, dweight + end, T{0});
    });
  return unused;
}

/// One convolution's weight gradient; the forms add to `to`, or to one copy of dW for each chunk.
template <class T>
struct weights_product {
  const conv2d_geometry& g;
  int batch;
  std::span<const conv2d_source<T>> sources;
  const T* dy;
  T* to;
  bool accumulate;
};

template <class T>
void run_weights_direct(thread_pool& pool, const weights_product<T>& p, const scratch<T>& memory) {
  using plan_type = weights_plan<T>;
  const conv2d_geometry& g = p.g;
  const plan_type plan(g);
  const auto chunks = static_cast<std::size_t>(plan.chunks());
  const std::size_t pixels = static_cast<std::size_t>(p.batch) * static_cast<std::size_t>(g.out_h) *
                             static_cast<std::size_t>(g.out_w);
  // No chunk is empty but in the smallest problems; its sums are zeros then.
  const std::size_t chunk = (pixels + chunks - 1) / chunks;
  const bool add = chunks == 1 && (p.accumulate || clear_unused_taps(pool, g, p.to));
  const int panels = source_panel<T>::count(p.sources, plan_type::panel);
  const int pieces = plan.groups * panels * g.kernel_h;
  pool.run(pieces * plan.chunks(), [&](int task, int thread) {
    const auto part = static_cast<std::size_t>(task / pieces);
    // Panels run fastest: tasks that follow each other write to the same pages.
    const auto panel = source_panel<T>::find(p.sources, plan_type::panel, task % panels);
    const int r = task % pieces / panels % g.kernel_h;
    const int group = task % pieces / panels / g.kernel_h;
    weights_task<T>(g, p.dy, p.to + part * g.weights(), memory.of(thread))
        .run(part * chunk, std::min((part + 1) * chunk, pixels), group, *panel.source, panel.offset,
             panel.channel, r, add);
  });
}

template <class T>
void run_weights_rows(thread_pool& pool, const weights_product<T>& p, const scratch<T>& memory) {
  const std::ptrdiff_t rows = std::ptrdiff_t{p.batch} * p.g.out_h;
  const std::ptrdiff_t parts = weights_row_chunks, band = (rows + parts - 1) / parts;
  pool.run(static_cast<int>(parts), [&](int part, int thread) {
    T* const sums = p.to + static_cast<std::size_t>(part) * p.g.weights();
    std::fill_n(sums, p.g.weights(), T{0});
    add_weights_band(p.g, p.sources, p.dy, std::min(part * band, rows), std::min((part + 1) * band, rows),
                     sums, memory.of(thread));
  });
}

template <class T, int M>
void run_weights_winograd(thread_pool& pool, const weights_product<T>& p, const scratch<T>& memory) {
  using plan_type = winograd_weights_plan<T, M>;
  const plan_type plan{p.g.in_channels, p.g.out_channels};
  const int panels = source_panel<T>::count(p.sources, plan_type::width),
            pieces = panels * plan.groups_of_rows();
  const std::ptrdiff_t tiles = tile_grid(p.g.out_h, p.g.out_w, M).tiles(p.batch);
  const std::ptrdiff_t chunk = (tiles + plan.chunks() - 1) / plan.chunks();
  pool.run(pieces * plan.chunks(), [&](int task, int thread) {
    const int part = task / pieces;
    const auto panel = source_panel<T>::find(p.sources, plan_type::width, task % panels);
    winograd_weights_task<T, M>(p.g, p.dy, memory.of(thread))
        .run(std::min(part * chunk, tiles), std::min((part + 1) * chunk, tiles),
             task % pieces / panels * plan_type::rows, *panel.source, panel.offset, panel.channel,
             p.to + static_cast<std::size_t>(part) * p.g.weights(), plan.chunks() == 1 && p.accumulate);
  });
}

/// Copies of dW that the form sums up in; 1: dW itself.
template <class T>
constexpr std::size_t weights_chunks(const conv2d_geometry& g) {
  switch (choose_weights_form(g)) {
    case product_form::rows:
      return weights_row_chunks;
    case product_form::winograd_2:
    case product_form::winograd_4:
      return static_cast<std::size_t>(winograd_weights_plan<T, 4>{g.in_channels, g.out_channels}.chunks());
    case product_form::planar:
    case product_form::dot:
    case product_form::direct:
      break;
  }
  return static_cast<std::size_t>(weights_plan<T>(g).chunks());
}

template <class T>
void weights_gradient(thread_pool& pool, const conv2d_geometry& g, int batch,
                      std::span<const conv2d_source<T>> sources, const T* dy, T* dweight, bool accumulate,
                      const scratch<T>& memory) {
  const std::size_t chunks = weights_chunks<T>(g), weights = g.weights();
  T* const sums = chunks == 1 ? dweight : memory.shared;
  const weights_product<T> product{g, batch, sources, dy, sums, accumulate};
  switch (choose_weights_form(g)) {
    case product_form::planar:
    case product_form::dot:
    case product_form::direct:
      run_weights_direct(pool, product, memory);
      break;
    case product_form::rows:
      run_weights_rows(pool, product, memory);
      break;
    case product_form::winograd_2:
    case product_form::winograd_4:
      run_weights_winograd<T, 4>(pool, product, memory);
      break;
  }
  if (chunks == 1) return;
  parallel_for(pool, weights, 1 << 11, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t i = begin; i < end; ++i) {
      T sum = accumulate ? dweight[i] : T{0};
      for (std::size_t part = 0; part < chunks; ++part) sum += sums[part * weights + i];
      dweight[i] = sum;
    }
  });
}

}  // namespace segnet::detail
