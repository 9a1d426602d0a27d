// SPDX-License-Identifier: MIT
// The indirect convolution algorithm (M. Dukhan, "The Indirect Convolution Algorithm", 2019): instead of
// copying patches into a matrix, a tile of pixels carries one pointer per pixel and tap; padding points to
// zeros. Pixels are those of the whole batch in a row, so that tiny images fill tiles too.
#pragma once

#include <segnet/backend/cpu/conv2d_dot.hpp>
#include <segnet/backend/cpu/conv2d_panel.hpp>
#include <segnet/backend/cpu/conv2d_planar.hpp>
#include <segnet/backend/cpu/conv2d_rows.hpp>
#include <segnet/backend/cpu/conv2d_tile.hpp>
#include <segnet/backend/cpu/conv2d_winograd.hpp>
#include <segnet/backend/cpu/thread_pool.hpp>

#include <memory>

namespace segnet::detail {

template <class T>
alignas(64) inline constexpr T padding_zeros[max_block_channels + 16] = {};

/// A term before its pointers are known: one tap of one source, and its packed weights.
template <class T>
struct block_term {
  int tap_y, tap_x;
  const T* data;  // of the source, at the block's first channel
  int channels;   // of the source
  int upsample;
  int count;
  const T* panel;
};

/// The order in which an output row's pixels are computed. Backward with a stride, a tap meets only every
/// stride-th of them: those that share their taps stand together, for a tile to skip all the others.
class pixel_order {
 public:
  template <class T>
  explicit pixel_order(const gather_product<T>& p)
      : width_(p.out_w), step_(p.x.transposed ? p.x.stride : 1) {}

  int step() const { return step_; }
  struct place {
    int x;
    int run;  // pixels from here on that share their taps, each `step` behind the one before
  };
  place at(int i) const {
    const int share = width_ / step_, larger = width_ % step_, in_larger = larger * (share + 1);
    if (i < in_larger) return {i / (share + 1) + i % (share + 1) * step_, share + 1 - i % (share + 1)};
    i -= in_larger;
    return {larger + i / share + i % share * step_, share - i % share};
  }

 private:
  int width_, step_;
};

/// Fills the pointers of one tile: pixels [first, first + rows) of the flattened batch, in pixel_order.
template <class T>
class tile_gather {
 public:
  explicit tile_gather(const gather_product<T>& product) : p_(product), order_(product) {}

  struct place {
    std::size_t pixel;  // of the output
    std::size_t run;    // pixels that a tile may take from here on
    int step;           // from one of them to the next
  };
  place at(std::size_t first, std::size_t last) const {
    if (order_.step() == 1) return {first, last - first, 1};
    const auto w = static_cast<std::size_t>(p_.out_w);
    const auto [x, run] = order_.at(static_cast<int>(first % w));
    return {first / w * w + static_cast<std::size_t>(x),
            std::min(last - first, static_cast<std::size_t>(run)), order_.step()};
  }

  void move_to(const place& from, int rows) {
    const auto w = static_cast<std::size_t>(p_.out_w), h = static_cast<std::size_t>(p_.out_h);
    int x = static_cast<int>(from.pixel % w), y = static_cast<int>(from.pixel / w % h);
    int image = static_cast<int>(from.pixel / (w * h));
    rows_ = rows;
    strided_ = from.step > 1;
    if (strided_) return move_to(image, y, x);
    for (int i = 0; i < rows; ++i) {
      image_[i] = image;
      for (int r = 0; r < p_.kernel_h; ++r) y_[r][i] = p_.y.at(y, r);
      for (int s = 0; s < p_.kernel_w; ++s) x_[s][i] = p_.x.at(x, s);
      if (++x == p_.out_w) {
        x = 0;
        if (++y == p_.out_h) y = 0, ++image;
      }
    }
  }

  /// False where the tap meets padding only: the term can be left out. Rows up to `padded` become zeros.
  bool fill(const block_term<T>& term, int padded, tile_term<T>& to) const {
    if (strided_ && (y_[term.tap_y][0] < 0 || !meets_[term.tap_x])) return false;
    const int *ys = y_[term.tap_y], *xs = x_[term.tap_x];
    const int h = p_.y.extent / term.upsample, w = p_.x.extent / term.upsample;
    bool any = false;
    for (int i = 0; i < rows_; ++i) {
      const bool inside = (ys[i] | xs[i]) >= 0;
      const int y = term.upsample == 1 ? ys[i] : ys[i] / term.upsample;
      const int x = term.upsample == 1 ? xs[i] : xs[i] / term.upsample;
      const std::ptrdiff_t pixel = (std::ptrdiff_t{image_[i]} * h + y) * w + x;
      to.pixel[i] = inside ? term.data + pixel * term.channels : padding_zeros<T>;
      any |= inside;
    }
    for (int i = rows_; i < padded; ++i) to.pixel[i] = padding_zeros<T>;
    to.panel = term.panel;
    to.count = term.count;
    return any;
  }

 private:
  /// A tile within one row, of pixels `stride` apart: neighbours of the source.
  void move_to(int image, int y, int x) {
    std::fill_n(image_, rows_, image);
    for (int r = 0; r < p_.kernel_h; ++r) std::fill_n(y_[r], rows_, p_.y.at(y, r));
    for (int s = 0; s < p_.kernel_w; ++s) {
      const int reach = x + p_.x.pad - s;
      meets_[s] = reach % p_.x.stride == 0;
      if (!meets_[s]) continue;
      for (int i = 0; i < rows_; ++i) {
        const int in = reach / p_.x.stride + i;
        x_[s][i] = in >= 0 && in < p_.x.extent ? in : -1;
      }
    }
  }

  const gather_product<T>& p_;
  pixel_order order_;
  int rows_ = 0;
  bool strided_ = false;
  bool meets_[max_kernel];  // of a strided tile's taps, along the row: whether they fall on pixels at all
  int image_[max_tile_rows];
  int y_[max_kernel][max_tile_rows], x_[max_kernel][max_tile_rows];
};

/// Works through blocks of the reduction: at most max_block_terms terms whose panels fit the scratch.
template <class V, int Packets>
class product_task {
 public:
  using T = typename V::scalar;
  static constexpr int width = Packets * V::width;

  product_task(const gather_product<T>& product, T* scratch)
      : p_(product), scratch_(scratch), gather_(product) {
    for (int r = 0; r < p_.kernel_h; ++r)
      for (int s = 0; s < p_.kernel_w; ++s) taps_ += p_.y.used(r, p_.out_h) && p_.x.used(s, p_.out_w) ? 1 : 0;
  }

  /// Columns [column, column + width) of the pixels [first, last).
  void run(int column, std::size_t first, std::size_t last) {
    const int sources = static_cast<int>(p_.sources.size());
    const int group = std::max(1, max_block_terms / sources);
    const int block = block_channels<T>(p_.channels, std::min(taps_, group), width);
    bool add = p_.accumulate;
    for (int channel = 0; channel < p_.channels; channel += block) {
      const int end = std::min(channel + block, p_.channels);
      terms_ = 0;
      T* panel = scratch_;
      int left = taps_, in_group = 0;
      for (int r = 0; r < p_.kernel_h; ++r) {
        if (!p_.y.used(r, p_.out_h)) continue;
        for (int s = 0; s < p_.kernel_w; ++s) {
          if (!p_.x.used(s, p_.out_w)) continue;
          panel = add_tap(r, s, column, channel, end, panel);
          --left;
          if (++in_group < group && left > 0) continue;
          multiply(column, first, last, add, left == 0 && end == p_.channels);
          add = true;
          terms_ = in_group = 0;
          panel = scratch_;
        }
      }
    }
    if (taps_ == 0) multiply(column, first, last, add, true);
  }

 private:
  /// Packs one tap of the channels [channel, end) of all sources; returns the scratch behind it.
  T* add_tap(int r, int s, int column, int channel, int end, T* panel) {
    int begin = 0;
    for (const conv2d_source<T>& source : p_.sources) {
      const int from = std::max(channel, begin), to = std::min(end, begin + source.channels);
      if (from < to) {
        pack_panel<V>(p_, column, width, r * p_.kernel_w + s, from, to - from, panel);
        block_[terms_++] = {.tap_y = r,
                            .tap_x = s,
                            .data = source.data + (from - begin),
                            .channels = source.channels,
                            .upsample = source.upsample,
                            .count = to - from,
                            .panel = panel};
        panel += std::ptrdiff_t{width} * (to - from + (to - from) % V::depth);
      }
      begin += source.channels;
    }
    return panel;
  }

  void multiply(int column, std::size_t first, std::size_t last, bool add, bool finish) {
    using kernels = tile_kernels<V, Packets>;
    tile_result<T> to{.out = nullptr,
                      .step = 0,
                      .rows = 0,
                      .columns = std::min(width, p_.columns - column),
                      .add = add,
                      .last = finish,
                      .finish = p_.finish.before_pooling().from(column)};
    for (std::size_t pixel = first; pixel < last;) {
      const auto place = gather_.at(pixel, last);
      to.rows = kernels::share(static_cast<std::ptrdiff_t>(place.run));
      to.out = p_.out + static_cast<std::ptrdiff_t>(place.pixel) * p_.columns + column;
      to.step = std::ptrdiff_t{place.step} * p_.columns;
      gather_.move_to(place, to.rows);
      int count = 0;
      for (int term = 0; term < terms_; ++term)
        count += gather_.fill(block_[term], kernels::padded(to.rows), tile_[count]) ? 1 : 0;
      kernels::multiply(tile_, count, to);
      pixel += static_cast<std::size_t>(to.rows);
    }
  }

  const gather_product<T>& p_;
  T* scratch_;
  tile_gather<T> gather_;
  int taps_ = 0, terms_ = 0;
  block_term<T> block_[max_block_terms];
  tile_term<T> tile_[max_block_terms];
};

template <class V, int Packets>
void run_direct(thread_pool& pool, const gather_product<typename V::scalar>& p,
                const scratch<typename V::scalar>& memory) {
  constexpr int width = Packets * V::width;
  constexpr std::size_t smallest = std::size_t{16} * tile_rows<Packets>;  // pixels that pay for packing
  const std::size_t pixels = p.pixels();
  const int panels = (p.columns + width - 1) / width;
  // Every thread gets several tasks. How the pixels are cut does not change any pixel's sum, but those over
  // the pixels: with them, it must not depend on the threads.
  const int tasks = p.sums == nullptr ? 4 * pool.size() : 4 * fewest_slots;
  const auto wanted = static_cast<std::size_t>(
      std::min((tasks + panels - 1) / panels, p.sums == nullptr ? tasks : statistics_slots(p.columns)));
  const std::size_t blocks =
      pool.size() == 1 && p.sums == nullptr ? 1 : std::clamp<std::size_t>(pixels / smallest, 1, wanted);
  const std::size_t block = (pixels + blocks - 1) / blocks;
  pool.run(panels * static_cast<int>(blocks), [&](int task, int thread) {
    const int part = task % static_cast<int>(blocks), column = task / static_cast<int>(blocks) * width;
    const std::size_t first = std::min(static_cast<std::size_t>(part) * block, pixels);
    const std::size_t last = std::min(first + block, pixels);
    product_task<V, Packets>(p, memory.of(thread)).run(column, first, last);
    if (p.sums != nullptr)
      sum_block(p, part, p.out + static_cast<std::ptrdiff_t>(first) * p.columns + column, 1,
                static_cast<std::ptrdiff_t>(last - first), column, std::min(width, p.columns - column));
  });
  if (p.finish.pooled != nullptr) pool_all(pool, p);
}

template <class T>
void run_form(thread_pool& pool, const gather_product<T>& p, const scratch<T>& memory) {
  assert(p.kernel_h <= max_kernel && p.kernel_w <= max_kernel);
  assert(p.sources.size() <= std::size_t{max_sources});
  if (p.form == product_form::winograd_2 || p.form == product_form::winograd_4)
    return with_winograd<T>(p.form, p.channels, p.columns,
                            [&]<class V, int Packets, int M>(const winograd_plan<V, Packets, M>&) {
                              winograd_product<V, Packets, M>(p).run(pool, memory);
                            });
  if (p.form == product_form::planar) return run_planar(pool, p, memory);
  // Channels that are cut into sources in the midst of a packet go the general way.
  const bool whole = std::ranges::all_of(
      p.sources, [](const auto& source) { return source.channels % simd<T>::lanes == 0; });
  if (p.form == product_form::dot && whole)
    return with_dot_side(p.out_h, [&](auto side) { dot_product<T, side>(p).run(pool, memory); });
  const auto run = [&]<class V>(V, auto packets) {
    if (p.form == product_form::rows)
      run_rows_form<V, packets>(pool, p, memory);
    else
      run_direct<V, packets>(pool, p, memory);
  };
  constexpr std::integral_constant<int, 1> one{};
  constexpr std::integral_constant<int, 2> two{};
  constexpr std::integral_constant<int, 3> three{};
  const auto shape = panel_shape<T>::of(p.columns);
  if constexpr (panel_shape<T>::pairs)
    if (shape.depth == 2) return shape.packets == 1 ? run(columns<T, 2>{}, one) : run(columns<T, 2>{}, three);
  shape.packets == 1 ? run(columns<T, 1>{}, one) : run(columns<T, 1>{}, two);
}

/// The product, and the statistics of its result where the epilogue asks for them: their sums stand in front
/// of the form's own scratch memory.
template <class T>
void run_product(thread_pool& pool, const gather_product<T>& p, const scratch<T>& memory) {
  if (p.finish.mean == nullptr) return run_form(pool, p, memory);
  assert(p.finish.pooled == nullptr);
  const std::size_t size = statistics_size<T>(p.columns);
  gather_product<T> summed = p;
  summed.sums = reinterpret_cast<double*>(memory.shared);
  std::uninitialized_fill_n(summed.sums, size * sizeof(T) / sizeof(double), 0.0);
  run_form(pool, summed, {memory.shared + size, memory.threads, memory.per_thread});
  finish_statistics(summed);
}

}  // namespace segnet::detail
