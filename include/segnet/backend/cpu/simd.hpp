// SPDX-License-Identifier: MIT
// Portable SIMD on Eigen's packets: SSE2, AVX2, AVX-512 and whatever else Eigen knows, chosen by the
// compiler's target flags. Nothing else of Eigen is used.
#pragma once

#include <segnet/config.hpp>

// g++ 12 warns of its own AVX-512 intrinsics, wherever they end up.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <Eigen/Core>
#if defined(__AVX512F__)
#include <immintrin.h>  // which Eigen leaves out where nvcc compiles
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__GNUC__)
#define SEGNET_INLINE inline __attribute__((always_inline))
#define SEGNET_INLINE_LAMBDA __attribute__((always_inline))
#else
#define SEGNET_INLINE inline
#define SEGNET_INLINE_LAMBDA
#endif

namespace segnet::detail {

/// Registers that a kernel may count on: 16 up to AVX2, 32 with AVX-512.
inline constexpr int vector_registers = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS;

/// Calls f(integral_constant 0), ..., f(integral_constant N - 1): loops over arrays of packets have to
/// disappear, or the packets live in memory.
template <int N, class F>
SEGNET_INLINE void unroll(F&& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) SEGNET_INLINE_LAMBDA {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // of vector types as template arguments
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

/// Element i of the result is element index(i) of a followed by b; `index` has no state.
template <int Elements, class V, class Index>
SEGNET_INLINE auto shuffle(V a, V b, Index) {
#if defined(__CUDACC__)
  // nvcc would hand the builtin's pack on to the compiler as one argument.
  using T = std::remove_cvref_t<decltype(a[0])>;
  constexpr int half = sizeof(V) / sizeof(T);
  typedef T shuffled __attribute__((vector_size(sizeof(T) * Elements)));
  shuffled result{};
  for (int i = 0; i < Elements; ++i) result[i] = Index{}(i) < half ? a[Index{}(i)] : b[Index{}(i)-half];
  return result;
#else
  return [&]<int... i>(std::integer_sequence<int, i...>) SEGNET_INLINE_LAMBDA {
    return __builtin_shufflevector(a, b, Index{}(i)...);
  }
  (std::make_integer_sequence<int, Elements>{});
#endif
}

/// One full packet of T. A traits type rather than the packet itself, as template arguments lose the
/// attributes of the compilers' vector types.
template <class T>
struct simd {
  using scalar = T;
  using packet = typename Eigen::internal::packet_traits<T>::type;
  static constexpr int lanes = Eigen::internal::unpacket_traits<packet>::size;

  static SEGNET_INLINE packet load(const T* p) { return Eigen::internal::ploadu<packet>(p); }
  static SEGNET_INLINE void store(T* p, packet a) { Eigen::internal::pstoreu(p, a); }
  static SEGNET_INLINE packet set(T a) { return Eigen::internal::pset1<packet>(a); }
  static SEGNET_INLINE packet zero() { return set(T{0}); }
  static SEGNET_INLINE packet add(packet a, packet b) { return Eigen::internal::padd(a, b); }
  static SEGNET_INLINE packet mul(packet a, packet b) { return Eigen::internal::pmul(a, b); }
  /// a * b + c, fused where the machine can.
  static SEGNET_INLINE packet madd(packet a, packet b, packet c) { return Eigen::internal::pmadd(a, b, c); }

  /// As many elements as half of the lanes, as one of the compiler's vectors.
  static SEGNET_INLINE auto load_half(const T* p) {
    decltype(low_half(packet{})) low;
    std::memcpy(&low, p, sizeof low);
    return low;
  }
  /// The first half of the lanes from memory, zeros in the others.
  static SEGNET_INLINE packet load_low(const T* p) {
    const auto low = load_half(p);
    return packet(shuffle<lanes>(low, decltype(low_half(packet{})){}, [](int i) { return i; }));
  }
  /// The first half of the lanes, as one of the compiler's vectors.
  static SEGNET_INLINE auto low_half(packet a) {
    return shuffle<lanes / 2>(a, a, [](int i) { return i; });
  }

  /// Transposes a square block: row i of `from` (stride `from_step`) becomes column i of `to`.
  static SEGNET_INLINE void transpose(const T* from, std::ptrdiff_t from_step, T* to,
                                      std::ptrdiff_t to_step) {
    Eigen::internal::PacketBlock<packet, lanes> block;
    unroll<lanes>([&](auto i) SEGNET_INLINE_LAMBDA { block.packet[i] = load(from + i * from_step); });
    Eigen::internal::ptranspose(block);
    unroll<lanes>([&](auto i) SEGNET_INLINE_LAMBDA { store(to + i * to_step, block.packet[i]); });
  }
};

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/// Asks for the line of the cache that holds p, which may lie behind the end of its array.
template <class T>
SEGNET_INLINE void prefetch(const T* p) {
  Eigen::internal::prefetch(p);
}

/// As many floats as doubles, in the compilers' vectors.
template <class Doubles, class Floats>
SEGNET_INLINE Doubles widen(Floats a) {
#if defined(__AVX512F__)
  // g++ 12 would do it in two halves.
  if constexpr (sizeof a == 32) return std::bit_cast<Doubles>(_mm512_cvtps_pd(std::bit_cast<__m256>(a)));
#endif
  return __builtin_convertvector(a, Doubles);
}

/// How a matrix product's columns lie in a packet. With Depth 1 a lane is a column. With Depth 2, two
/// neighbouring lanes hold the even and the odd terms of one column's sum, so that 8 columns fill a packet
/// of 16 lanes; what is broadcast is then a pair of neighbouring values.
template <class T, int Depth>
struct columns : simd<T> {
  using base = simd<T>;
  using typename base::packet;
  static_assert(Depth == 1 || (Depth == 2 && std::is_same_v<T, float> && base::lanes >= 4));
  static constexpr int depth = Depth;
  static constexpr int width = base::lanes / Depth;

  /// `depth` values, repeated over the packet.
  static SEGNET_INLINE packet broadcast(const T* p) {
    if constexpr (Depth == 1) {
      return base::set(*p);
    } else {
      double pair;
      std::memcpy(&pair, p, sizeof pair);
      return std::bit_cast<packet>(simd<double>::set(pair));
    }
  }

  /// The columns of a packet: its lanes, or the sums of neighbouring lanes, as one of the compiler's vectors.
  static SEGNET_INLINE auto collapse(packet a) {
    if constexpr (Depth == 1) {
      return a;
    } else {
      return shuffle<width>(a, a, [](int i) { return 2 * i; }) +
             shuffle<width>(a, a, [](int i) { return 2 * i + 1; });
    }
  }
};

}  // namespace segnet::detail
