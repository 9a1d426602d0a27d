// SPDX-License-Identifier: MIT
// Memory is read and written 16 bytes at a time, and computed on as floats.
#pragma once

#include <segnet/backend/cuda/kernels/launch.cuh>
#include <segnet/core/half.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#if defined(__CUDA_ARCH__)
#define SEGNET_UNROLL _Pragma("unroll")
#else
#define SEGNET_UNROLL
#endif

namespace segnet::gpu::kernels::detail {

/// How many neighbouring elements a thread takes.
template <int N>
using width = std::integral_constant<int, N>;
/// As many elements as 16 bytes hold.
template <class T>
inline constexpr int whole_pack = 16 / static_cast<int>(sizeof(T));

template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) pack {
  T lane[N];
};
template <int N>
struct floats {
  float lane[N];
};

/// `from` and `to` are multiples of the pack's size, or of 16 bytes.
template <int N, class T>
SEGNET_HD pack<T, N> load(const T* from) {
  return *reinterpret_cast<const pack<T, N>*>(from);
}
#if defined(__CUDA_ARCH__)
/// Four bytes of a pack.
SEGNET_HD inline unsigned word_of(const float* lane) { return __float_as_uint(lane[0]); }
template <class T>
SEGNET_HD unsigned word_of(const T* lane) {
  static_assert(sizeof(T) == 2);
  return lane[0].bits | static_cast<unsigned>(lane[1].bits) << 16;
}
SEGNET_HD inline unsigned word_of(const std::uint8_t* lane) {
  return lane[0] | static_cast<unsigned>(lane[1]) << 8 | static_cast<unsigned>(lane[2]) << 16 |
         static_cast<unsigned>(lane[3]) << 24;
}
#endif
/// To the card's memory, not to that of a block.
template <class T, int N>
SEGNET_HD void store(T* to, const pack<T, N>& value) {
#if defined(__CUDA_ARCH__)
  // The compiler takes assignments apart, of vectors too where a loop has two of them: four times as many
  // pieces of lines, and the loads of the second wait for the first. Not an instruction that it is given.
  constexpr int step = 4 / static_cast<int>(sizeof(T)), words = N / step;
  if constexpr (words > 0 && words % 4 == 0) {
    SEGNET_UNROLL
    for (int i = 0; i < N; i += 4 * step)
      asm("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to + i)),
          "r"(word_of(value.lane + i)), "r"(word_of(value.lane + i + step)),
          "r"(word_of(value.lane + i + 2 * step)), "r"(word_of(value.lane + i + 3 * step))
          : "memory");
    return;
  } else if constexpr (words == 2) {
    *reinterpret_cast<uint2*>(to) = make_uint2(word_of(value.lane), word_of(value.lane + step));
    return;
  }
#endif
  *reinterpret_cast<pack<T, N>*>(to) = value;
}

template <class T, int N>
SEGNET_HD floats<N> widen(const pack<T, N>& value) {
  floats<N> result;
  SEGNET_UNROLL
  for (int i = 0; i < N; ++i) result.lane[i] = static_cast<float>(value.lane[i]);
  return result;
}
template <class T, int N>
SEGNET_HD pack<T, N> narrow(const floats<N>& value) {
  pack<T, N> result;
  SEGNET_UNROLL
  for (int i = 0; i < N; ++i) result.lane[i] = static_cast<T>(value.lane[i]);
  return result;
}
template <int N, class T>
SEGNET_HD floats<N> read(const T* from) {
  return widen(load<N>(from));
}
/// Writes, or adds to what is there.
template <class T, int N>
SEGNET_HD void write(T* to, floats<N> value, bool accumulate) {
  if (accumulate) {
    const floats<N> before = read<N>(to);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) value.lane[i] += before.lane[i];
  }
  store(to, narrow<T>(value));
}

/// Whether whole packs can be used: all pointers (null ones do not count) are multiples of 16 bytes, and all
/// counts, of channels that lie together, multiples of a pack.
template <class T>
bool fits_packs(std::initializer_list<const void*> pointers, std::initializer_list<int> counts = {}) {
  bool fits = true;
  for (const void* p : pointers) fits = fits && reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  for (int count : counts) fits = fits && count % whole_pack<T> == 0;
  return fits;
}
/// f(width<n>) with whole packs, or with single elements.
template <class T, class F>
void with_packs(bool whole, F f) {
  if (whole)
    f(width<whole_pack<T>>{});
  else
    f(width<1>{});
}

/// f(first element, width<n>) for all packs of [0, size), the last elements one by one where they do not
/// fill one.
template <int N, class F>
struct each_pack {
  std::size_t size;
  F f;

  SEGNET_HD void operator()(std::size_t i) const {
    const std::size_t first = i * N;
    if (first + N <= size) {
      f(first, width<N>{});
    } else {
      for (std::size_t at = first; at < size; ++at) f(at, width<1>{});
    }
  }
};
template <class T, class F>
void for_each_pack(cudaStream_t stream, std::size_t size, bool whole, F f) {
  with_packs<T>(whole, [=](auto n) {
    constexpr int N = n;
    for_each(stream, (size + N - 1) / N, each_pack<N, F>{size, f});
  });
}

template <class I>
struct quotient {
  I whole;
  unsigned rest;
};
/// i / d, in 32 bits where that is enough.
SEGNET_HD inline quotient<std::size_t> divide(std::size_t i, unsigned d) {
  if (i <= 0xffffffffU) {
    const auto low = static_cast<unsigned>(i), whole = low / d;
    return {whole, low - whole * d};
  }
  const std::size_t whole = i / d;
  return {whole, static_cast<unsigned>(i - whole * d)};
}

/// Division by a number that the host knows: a product and a shift, where the card's own division takes some
/// twenty instructions (Granlund & Montgomery 1994, "Division by invariant integers using multiplication").
class divisor {
 public:
  divisor(int by) : by_(static_cast<unsigned>(by)) {
    while ((1U << shift_) < by_) ++shift_;
    factor_ = static_cast<unsigned>(((std::uint64_t{1} << (31 + shift_)) + by_ - 1) / by_);
  }

  static constexpr unsigned largest = 0x7fffffff;
  /// n / by; n is at most `largest`.
  SEGNET_HD unsigned whole(unsigned n) const {
    return static_cast<unsigned>(std::uint64_t{n} * factor_ >> (31 + shift_));
  }
  SEGNET_HD int whole(int n) const { return static_cast<int>(whole(static_cast<unsigned>(n))); }
  SEGNET_HD unsigned by() const { return by_; }

 private:
  unsigned by_, factor_ = 0, shift_ = 0;
};
/// i is at most divisor::largest.
SEGNET_HD inline quotient<unsigned> divide(unsigned i, const divisor& d) {
  const unsigned whole = d.whole(i);
  return {whole, i - whole * d.by()};
}
SEGNET_HD inline quotient<std::size_t> divide(std::size_t i, const divisor& d) {
  if (i > divisor::largest) return divide(i, d.by());
  const quotient<unsigned> low = divide(static_cast<unsigned>(i), d);
  return {low.whole, low.rest};
}

/// std::min and std::max are for the host.
template <class T>
SEGNET_HD constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
SEGNET_HD constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

SEGNET_HD constexpr std::size_t to_size(int value) { return static_cast<std::size_t>(value); }
SEGNET_HD constexpr std::size_t product(int a, int b, int c = 1, int d = 1) {
  return to_size(a) * to_size(b) * to_size(c) * to_size(d);
}

/// Where a pack of an activation [...][h][w][channels] lies: `line` counts the rows of all images, `image`
/// the images.
struct pixel_place {
  std::size_t image, line;
  int y, x, channel;
};
/// The packs of such activations, of N elements each.
template <int N>
struct pack_grid {
  divisor h, w, packs;

  pack_grid(int rows, int columns, int channels) : h(rows), w(columns), packs(channels / N) {}
  /// Of so many images.
  std::size_t size(std::size_t images) const {
    return images * std::size_t{h.by()} * std::size_t{w.by()} * std::size_t{packs.by()};
  }
  std::size_t size(int images) const { return size(to_size(images)); }
  /// Pack i.
  SEGNET_HD pixel_place operator[](std::size_t i) const {
    return i <= divisor::largest ? place(static_cast<unsigned>(i)) : place(i);
  }

 private:
  template <class I>
  SEGNET_HD pixel_place place(I i) const {
    const auto pixel = divide(i, packs), line = divide(pixel.whole, w), image = divide(line.whole, h);
    return {image.whole, line.whole, static_cast<int>(image.rest), static_cast<int>(line.rest),
            static_cast<int>(pixel.rest) * N};
  }
};

}  // namespace segnet::gpu::kernels::detail
