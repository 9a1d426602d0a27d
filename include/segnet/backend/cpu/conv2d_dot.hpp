// SPDX-License-Identifier: MIT
// The deepest levels: images of 2 x 2 or 4 x 4 pixels under many channels. There the weights are nearly all
// that is read, each of them for a few pixels only, and packing them would cost more than the arithmetic.
// Instead every filter is read once, in the order in which it lies in memory, and multiplied with all pixels:
// lanes are channels, whose sums are added up at the end.
#pragma once

#include <segnet/backend/cpu/conv2d_gather.hpp>
#include <segnet/backend/cpu/conv2d_pool.hpp>
#include <segnet/backend/cpu/conv2d_statistics.hpp>
#include <segnet/backend/cpu/conv2d_tile.hpp>
#include <segnet/backend/cpu/parallel.hpp>

namespace segnet::detail {

template <class T>
struct dot_plan {
  static constexpr int lanes = simd<T>::lanes;
  static constexpr int filters = 16;     ///< of a task
  static constexpr int max_pixels = 16;  ///< of an image

  int pixels, channels;

  constexpr std::size_t image_size() const {
    return static_cast<std::size_t>(pixels) * static_cast<std::size_t>(channels);
  }
  /// Images whose pixels are rearranged at a time.
  static constexpr int images = 16;
  constexpr std::size_t shared() const { return images * image_size(); }
  static constexpr std::size_t per_thread() { return images * std::size_t{filters} * max_pixels; }
};

/// Calls f(integral_constant side) for the side of square images of this form.
template <class F>
void with_dot_side(int side, F f) {
  side == 2 ? f(std::integral_constant<int, 2>{}) : f(std::integral_constant<int, 4>{});
}

template <class T, int Side>
class dot_product {
 public:
  using V = simd<T>;
  using packet = typename V::packet;
  using plan = dot_plan<T>;
  static constexpr int pixels = Side * Side, rounded = (pixels + V::lanes - 1) / V::lanes * V::lanes;

  explicit dot_product(const gather_product<T>& product) : p_(product), plan_{pixels, product.channels} {}

  void run(thread_pool& pool, const scratch<T>& memory) const {
    for (int first = 0; first < p_.batch; first += plan::images) {
      const int images = std::min(plan::images, p_.batch - first);
      parallel_for(pool, static_cast<std::size_t>(images), 1, [&](std::size_t begin, std::size_t end, int) {
        for (std::size_t image = begin; image < end; ++image)
          rearrange(first + static_cast<int>(image), memory.shared + image * plan_.image_size());
      });
      parallel_for(pool, static_cast<std::size_t>(p_.columns), plan::filters,
                   [&](std::size_t begin, std::size_t end, int thread) {
                     multiply(first, images, static_cast<int>(begin), static_cast<int>(end), memory.shared,
                              memory.of(thread));
                   });
    }
    if (p_.finish.pooled != nullptr) pool_all(pool, p_);
  }

 private:
  /// One image's sources to [channels / lanes][pixels][lanes]: all that a packet of weights meets is
  /// together.
  void rearrange(int image, T* to) const {
    for (const conv2d_source<T>& source : p_.sources) {
      const int side = Side / source.upsample;
      for (int pixel = 0; pixel < pixels; ++pixel) {
        const T* from =
            source.data + ((std::ptrdiff_t{image} * side + pixel / Side / source.upsample) * side +
                           pixel % Side / source.upsample) *
                              source.channels;
        for (int c = 0; c < source.channels; c += V::lanes)
          V::store(to + std::ptrdiff_t{c} * pixels + pixel * V::lanes, V::load(from + c));
      }
      to += std::ptrdiff_t{source.channels} * pixels;
    }
  }

  /// The filters [begin, end) for all images.
  void multiply(int first, int images, int begin, int end, const T* x, T* sums) const {
    constexpr std::ptrdiff_t image_sums = std::ptrdiff_t{plan::filters} * plan::max_pixels;
    for (int k = begin; k < end; ++k)
      for (int image = 0; image < images; ++image) {
        alignas(64) T result[rounded];
        filter(p_.weight + k * p_.column_step, x + static_cast<std::size_t>(image) * plan_.image_size(),
               result);
        for (int pixel = 0; pixel < pixels; ++pixel)
          sums[image * image_sums + pixel * plan::filters + k - begin] = result[pixel];
      }
    const tile_result<T> finish{.out = nullptr,
                                .step = 0,
                                .rows = 0,
                                .columns = end - begin,
                                .add = p_.accumulate,
                                .last = true,
                                .finish = p_.finish.before_pooling().from(begin)};
    for (int image = 0; image < images; ++image)
      for (int pixel = 0; pixel < pixels; ++pixel)
        finish_row<V>(sums + image * image_sums + pixel * plan::filters, finish,
                      p_.out + (std::ptrdiff_t{first + image} * pixels + pixel) * p_.columns + begin);
    if (p_.sums != nullptr)
      sum_block(p_, 0, p_.out + std::ptrdiff_t{first} * pixels * p_.columns + begin, 1,
                std::ptrdiff_t{images} * pixels, begin, end - begin);
  }

  /// One filter at all pixels. Taps that meet padding are left out while compiling.
  void filter(const T* weight, const T* x, T* result) const {
    packet sum[rounded];
    unroll<rounded>([&](auto i) SEGNET_INLINE_LAMBDA { sum[i] = V::zero(); });
    for (int c = 0; c < p_.channels; c += V::lanes, weight += V::lanes, x += pixels * V::lanes)
      unroll<9>([&](auto tap) SEGNET_INLINE_LAMBDA {
        prefetch(weight + tap * p_.tap_step + p_.column_step);  // the next filter's
        const packet value = V::load(weight + tap * p_.tap_step);
        unroll<pixels>([&](auto i) SEGNET_INLINE_LAMBDA {
          constexpr int y = i / Side + tap / 3 - 1, column = i % Side + tap % 3 - 1;
          if constexpr (y >= 0 && y < Side && column >= 0 && column < Side)
            sum[i] = V::madd(value, V::load(x + (y * Side + column) * V::lanes), sum[i]);
        });
      });
    // The sums of each packet's lanes: a packet's worth of pixels at a time, turned round.
    alignas(64) T block[V::lanes * V::lanes];
    unroll<rounded / V::lanes>([&](auto part) SEGNET_INLINE_LAMBDA {
      unroll<V::lanes>(
          [&](auto i) SEGNET_INLINE_LAMBDA { V::store(block + i * V::lanes, sum[part * V::lanes + i]); });
      V::transpose(block, V::lanes, block, V::lanes);
      packet total = V::load(block);
      unroll<V::lanes - 1>(
          [&](auto i) SEGNET_INLINE_LAMBDA { total = V::add(total, V::load(block + (i + 1) * V::lanes)); });
      V::store(result + part * V::lanes, total);
    });
  }

  const gather_product<T>& p_;
  plan plan_;
};

}  // namespace segnet::detail
