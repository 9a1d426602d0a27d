// SPDX-License-Identifier: MIT
// Between pixels of a few channels each, as NHWC has them, and one vector per channel, in registers.
#pragma once

#include <segnet/backend/cpu/simd.hpp>

#include <utility>

namespace segnet::detail {

/// v holds Lanes pixels of Count channels, pixel after pixel; afterwards v[c] holds channel c of each.
/// Where Count is even, the channels of even and of odd number are separated first; then each half has half
/// as many.
template <int Count, int Lanes, class Packet>
SEGNET_INLINE void deinterleave(Packet (&v)[Count]) {
  if constexpr (Count % 2 == 0) {
    const auto every_second = [&]<int... i>(std::integer_sequence<int, i...>, auto first, auto at)
        SEGNET_INLINE_LAMBDA {
      return __builtin_shufflevector(v[2 * at], v[2 * at + 1], (2 * i + first)...);
    };
    Packet even[Count / 2], odd[Count / 2];
    unroll<Count / 2>([&](auto at) SEGNET_INLINE_LAMBDA {
      constexpr std::make_integer_sequence<int, Lanes> lanes;
      even[at] = every_second(lanes, std::integral_constant<int, 0>{}, at);
      odd[at] = every_second(lanes, std::integral_constant<int, 1>{}, at);
    });
    deinterleave<Count / 2, Lanes>(even);
    deinterleave<Count / 2, Lanes>(odd);
    unroll<Count / 2>([&](auto c) SEGNET_INLINE_LAMBDA {
      v[2 * c] = even[c];
      v[2 * c + 1] = odd[c];
    });
  } else if constexpr (Count > 1) {
    // Channel c of pixel i is element i * Count + c: one packet after the other gives what it has of them.
    Packet result[Count];
    unroll<Count>([&](auto c) SEGNET_INLINE_LAMBDA {
      result[c] = v[0];
      unroll<Count>([&](auto from) SEGNET_INLINE_LAMBDA {
        result[c] = [&]<int... i>(std::integer_sequence<int, i...>) SEGNET_INLINE_LAMBDA {
          return __builtin_shufflevector(
              result[c], v[from], ((i * Count + c) / Lanes == from ? Lanes + (i * Count + c) % Lanes : i)...);
        }
        (std::make_integer_sequence<int, Lanes>{});
      });
    });
    unroll<Count>([&](auto c) SEGNET_INLINE_LAMBDA { v[c] = result[c]; });
  }
}

/// The way back, for a Count that is a power of two.
template <int Count, int Lanes, class Packet>
SEGNET_INLINE void interleave(Packet (&v)[Count]) {
  static_assert((Count & (Count - 1)) == 0);
  if constexpr (Count > 1) {
    Packet even[Count / 2], odd[Count / 2];
    unroll<Count / 2>([&](auto c) SEGNET_INLINE_LAMBDA {
      even[c] = v[2 * c];
      odd[c] = v[2 * c + 1];
    });
    interleave<Count / 2, Lanes>(even);
    interleave<Count / 2, Lanes>(odd);
    unroll<Count / 2>([&](auto at) SEGNET_INLINE_LAMBDA {
      [&]<int... i>(std::integer_sequence<int, i...>) SEGNET_INLINE_LAMBDA {
        v[2 * at] = __builtin_shufflevector(even[at], odd[at], (i / 2 + i % 2 * Lanes)...);
        v[2 * at + 1] = __builtin_shufflevector(even[at], odd[at], (Lanes / 2 + i / 2 + i % 2 * Lanes)...);
      }
      (std::make_integer_sequence<int, Lanes>{});
    });
  }
}

}  // namespace segnet::detail
