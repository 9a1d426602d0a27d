// SPDX-License-Identifier: MIT
// The thin levels: few channels, many pixels. There a pointer per pixel and tap costs as much as the
// arithmetic behind it. Instead, a few input rows are copied side by side with their padding and with all
// sources' channels together; a kernel row over a pixel is then one contiguous run of kernel_w * channels.
#pragma once

#include <segnet/backend/cpu/conv2d_panel.hpp>
#include <segnet/backend/cpu/conv2d_pool.hpp>
#include <segnet/backend/cpu/conv2d_statistics.hpp>
#include <segnet/backend/cpu/conv2d_tile.hpp>
#include <segnet/backend/cpu/thread_pool.hpp>

#include <cstdint>
#include <cstring>

namespace segnet::detail {

/// The last few rows that were asked for, padded on both sides.
template <class T>
class padded_rows {
 public:
  /// Elements of one row for `pixels` padded pixels; a packet may be read past the last of them.
  static constexpr std::size_t row_size(int pixels, int channels) {
    return (static_cast<std::size_t>(pixels) * static_cast<std::size_t>(channels) + 2 * simd<T>::lanes + 15) /
           16 * 16;
  }

  padded_rows(std::span<const conv2d_source<T>> sources, int h, int w, int pad_left, int pixels, int channels,
              int rows, T* memory)
      : sources_(sources), h_(h), w_(w), pad_(pad_left), pixels_(pixels), channels_(channels), rows_(rows) {
    for (int i = 0; i < rows; ++i)
      slot_[i] = {-1, memory + static_cast<std::size_t>(i) * row_size(pixels, channels)};
  }

  /// Row y in [0, h) of an image, starting with its padding. Good until `rows` other rows were asked for.
  const T* get(int image, int y) {
    slot& s = slot_[y % rows_];
    const std::int64_t key = std::int64_t{image} * h_ + y;
    if (s.key != key) copy(image, y, s.data);
    s.key = key;
    return s.data;
  }

 private:
  struct slot {
    std::int64_t key;
    T* data;
  };

  void copy(int image, int y, T* to) const {
    const int inside = std::min(w_, pixels_ - pad_);
    T* const begin = to + std::ptrdiff_t{pad_} * channels_;
    T* const end = begin + std::ptrdiff_t{inside} * channels_;
    std::fill(to, begin, T{0});
    std::fill(end, to + row_size(pixels_, channels_), T{0});
    if (sources_.size() == 1 && sources_[0].upsample == 1) {
      std::copy_n(sources_[0].data + (std::ptrdiff_t{image} * h_ + y) * w_ * channels_, end - begin, begin);
      return;
    }
    int offset = 0;
    for (const conv2d_source<T>& source : sources_) {
      const int u = source.upsample;
      const T* from = source.data + (std::ptrdiff_t{image} * (h_ / u) + y / u) * (w_ / u) * source.channels;
      T* pixel = begin + offset;
      for (int x = 0; x < inside; from += source.channels)
        for (int i = 0; i < u && x < inside; ++i, ++x, pixel += channels_)
          copy_pixel(from, source.channels, pixel);
      offset += source.channels;
    }
  }

  /// A loop of pieces of a fixed size, as the library's copy of a few bytes is a call.
  static void copy_pixel(const T* from, int count, T* to) {
    constexpr int piece = 8;
    int c = 0;
    for (; c + piece <= count; c += piece) std::memcpy(to + c, from + c, piece * sizeof(T));
    for (; c < count; ++c) to[c] = from[c];
  }

  std::span<const conv2d_source<T>> sources_;
  int h_, w_, pad_, pixels_, channels_, rows_;
  slot slot_[max_kernel];
};

template <class T>
constexpr std::size_t rows_form_size(const product_geometry& p) {
  const int width = panel_shape<T>::of(p.columns).width();
  const int pixels = (p.out_w - 1) * (p.transposed ? 1 : p.stride) + p.kernel_w;
  return static_cast<std::size_t>(p.kernel_h) * padded_rows<T>::row_size(pixels, p.channels) +
         static_cast<std::size_t>((p.columns + width - 1) / width * width) *
             static_cast<std::size_t>(p.kernel_h) * static_cast<std::size_t>(p.kernel_w * p.channels + 1);
}

/// Hands out bands of rows of the flattened batch's output: f(first, last, thread, finish_row), where
/// finish_row(row) is to be called after each row.
template <class T, class F>
void for_each_band(thread_pool& pool, const gather_product<T>& p, F f) {
  // So long that packing and the rows shared with the neighbours do not matter, of an even number of rows, to
  // pool in pairs, and each with a slot of its own for sums.
  const std::ptrdiff_t rows = std::ptrdiff_t{p.batch} * p.out_h, shortest = 32;
  const std::ptrdiff_t slots = statistics_slots(p.columns);
  const std::ptrdiff_t band =
      p.sums == nullptr ? shortest : std::max(shortest, (rows + 2 * slots - 1) / (2 * slots) * 2);
  pool.run(static_cast<int>((rows + band - 1) / band), [&](int task, int thread) {
    f(task * band, std::min((task + 1) * band, rows), thread, [&p, task](std::ptrdiff_t row) {
      if (p.finish.pooled != nullptr && row % 2 != 0) pool_two_rows(p, row - 1);
      if (p.sums != nullptr) sum_row(p, task, row);
    });
  });
}

/// All columns of the output rows [first, last) of the flattened batch; calls finish_row() after each.
template <class V, int Packets, class FinishRow>
void multiply_rows(const gather_product<typename V::scalar>& p, std::ptrdiff_t first, std::ptrdiff_t last,
                   typename V::scalar* scratch, FinishRow finish_row) {
  using T = typename V::scalar;
  using kernels = tile_kernels<V, Packets>;
  constexpr int width = Packets * V::width;
  // Backward with stride 1 is a forward convolution with flipped taps and the complementary padding.
  const bool flipped = p.y.transposed;
  const int stride = flipped ? 1 : p.y.stride;
  const int pad_top = flipped ? p.kernel_h - 1 - p.y.pad : p.y.pad;
  const int pad_left = flipped ? p.kernel_w - 1 - p.x.pad : p.x.pad;
  const int pixels = (p.out_w - 1) * stride + p.kernel_w;
  padded_rows<T> rows(p.sources, p.y.extent, p.x.extent, pad_left, pixels, p.channels, p.kernel_h, scratch);

  const int run = p.kernel_w * p.channels;
  const std::ptrdiff_t row_panel = std::ptrdiff_t{width} * (run + run % V::depth);
  T* const panels =
      scratch + static_cast<std::size_t>(p.kernel_h) * padded_rows<T>::row_size(pixels, p.channels);
  T* panel = panels;
  for (int column = 0; column < p.columns; column += width)
    for (int r = 0; r < p.kernel_h; ++r, panel += row_panel) {
      if (!flipped) {
        pack_panel<V>(p, column, width, r * p.kernel_w, 0, run, panel);
      } else {
        for (int s = 0; s < p.kernel_w; ++s)
          pack_panel<V>(p, column, width, (p.kernel_h - r) * p.kernel_w - 1 - s, 0, p.channels,
                        panel + std::ptrdiff_t{s} * p.channels * width);
      }
    }

  tile_term<T> terms[max_kernel];
  for (std::ptrdiff_t row = first; row < last; ++row) {
    const int image = static_cast<int>(row / p.out_h),
              top = static_cast<int>(row % p.out_h) * stride - pad_top;
    const int begin = std::max(0, -top), end = std::min(p.kernel_h, p.y.extent - top);
    const T* data[max_kernel];
    for (int r = begin; r < end; ++r) data[r] = rows.get(image, top + r);
    for (int x = 0; x < p.out_w;) {
      const int count = kernels::share(p.out_w - x);
      for (int r = begin; r < end; ++r) {
        tile_term<T>& term = terms[r - begin];
        const T* pixel = data[r] + std::ptrdiff_t{x} * stride * p.channels;
        const std::ptrdiff_t step = std::ptrdiff_t{stride} * p.channels;
        for (int i = 0; i < kernels::rows; ++i) term.pixel[i] = pixel + std::min(i, count - 1) * step;
        term.count = run;
      }
      for (int column = 0; column < p.columns; column += width) {
        for (int r = begin; r < end; ++r)
          terms[r - begin].panel = panels + (column / width * p.kernel_h + r) * row_panel;
        kernels::multiply(terms, std::max(0, end - begin),
                          {.out = p.out + (row * p.out_w + x) * p.columns + column,
                           .step = p.columns,
                           .rows = count,
                           .columns = std::min(width, p.columns - column),
                           .add = p.accumulate,
                           .last = true,
                           .finish = p.finish.before_pooling().from(column)});
      }
      x += count;
    }
    finish_row(row);
  }
}

template <class V, int Packets>
void run_rows_form(thread_pool& pool, const gather_product<typename V::scalar>& p,
                   const scratch<typename V::scalar>& memory) {
  for_each_band(pool, p, [&](std::ptrdiff_t first, std::ptrdiff_t last, int thread, auto finish_row) {
    multiply_rows<V, Packets>(p, first, last, memory.of(thread), finish_row);
  });
}

}  // namespace segnet::detail
