// SPDX-License-Identifier: MIT
// Vectors of 1, 2, 4, ... elements, for the kernels around the convolutions: the compilers' vector
// extension, which has operators, comparisons and conversions between types for every length.
#pragma once

#include <segnet/backend/cpu/simd.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace segnet::detail {

template <class T, int Lanes>
struct vector_of {
  typedef T type __attribute__((vector_size(sizeof(T) * Lanes)));
};
template <class T>
struct vector_of<T, 1> {
  using type = T;
};
/// A single element is a plain T: the same operators and `?:` apply.
template <class T, int Lanes>
using vec = typename vector_of<T, Lanes>::type;

/// How many lanes a kernel is called for.
template <int Lanes>
using lanes = std::integral_constant<int, Lanes>;

template <int Lanes, class T>
SEGNET_INLINE vec<T, Lanes> load(const T* p) {
  vec<T, Lanes> value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
template <int Lanes, class T>
SEGNET_INLINE void store(T* p, vec<T, Lanes> value) {
  std::memcpy(p, &value, sizeof value);
}
template <int Lanes, class T>
SEGNET_INLINE vec<T, Lanes> broadcast(T value) {
  return value - vec<T, Lanes>{};
}
template <std::size_t Bytes>
using unsigned_of = std::conditional_t<Bytes == 2, std::uint16_t, std::uint32_t>;

/// An integer as wide as a T: the mask of its comparisons selects elements of T.
template <class T>
using integer_of = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;

/// Lane by lane, as static_cast. Integers grow and shrink in steps of two, as g++ 12 takes larger steps one
/// lane at a time.
template <class To, int Lanes, class From>
SEGNET_INLINE vec<To, Lanes> convert(From value) {
  constexpr std::size_t from = sizeof(From) / Lanes, to = sizeof(To);
  if constexpr (Lanes == 1) {
    return static_cast<To>(value);
  } else if constexpr (to >= 4 * from) {
    return convert<To, Lanes>(convert<unsigned_of<from * 2>, Lanes>(value));
  } else if constexpr (from >= 4 * to) {
    return convert<To, Lanes>(convert<unsigned_of<from / 2>, Lanes>(value));
  } else {
    if constexpr (std::is_same_v<From, vec<float, 8>> && std::is_same_v<To, double>)
      return widen<vec<double, 8>>(value);
    else
      return __builtin_convertvector(value, vec<To, Lanes>);
  }
}
/// The sum of a vector's lanes.
template <class T, int Lanes>
SEGNET_INLINE T sum_of(vec<T, Lanes> value) {
  if constexpr (Lanes == 1) {
    return value;
  } else {
    if constexpr (Lanes == 2)
      return value[0] + value[1];
    else
      return sum_of<T, Lanes / 2>(shuffle<Lanes / 2>(value, value, [](int i) { return i; }) +
                                  shuffle<Lanes / 2>(value, value, [](int i) { return Lanes / 2 + i; }));
  }
}

/// Calls f(lanes<n>, i) for the runs [i, i + n) that make up [0, size): as many of the widest vectors as fit,
/// then ever shorter ones, so that 8 channels are half a vector of 16 instead of 8 single elements.
template <class T, int Widest = simd<T>::lanes, class F>
SEGNET_INLINE void for_each_vector(std::size_t size, F&& f, std::size_t i = 0) {
  for (; i + Widest <= size; i += Widest) f(lanes<Widest>{}, i);
  if constexpr (Widest > 1) for_each_vector<T, Widest / 2>(size, f, i);
}

/// f(channels), or, where they are few and usual, f(constant): for_each_vector() is then straight code.
template <class F>
SEGNET_INLINE void with_channels(std::size_t channels, F&& f) {
  switch (channels) {
    case 4:
      return f(std::integral_constant<std::size_t, 4>{});
    case 8:
      return f(std::integral_constant<std::size_t, 8>{});
    case 16:
      return f(std::integral_constant<std::size_t, 16>{});
    default:
      return f(channels);
  }
}

}  // namespace segnet::detail
