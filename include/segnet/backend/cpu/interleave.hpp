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
    Packet even[Count / 2], odd[Count / 2];
    unroll<Count / 2>([&](auto at) SEGNET_INLINE_LAMBDA {
      even[at] = shuffle<Lanes>(v[2 * at], v[2 * at + 1], [](int i) { return 2 * i; });
      odd[at] = shuffle<Lanes>(v[2 * at], v[2 * at + 1], [](int i) { return 2 * i + 1; });
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
        result[c] = shuffle<Lanes>(result[c], v[from], [](int i) {
          constexpr int channel = decltype(c)::value, packet = decltype(from)::value;
          const int element = i * Count + channel;
          return element / Lanes == packet ? Lanes + element % Lanes : i;
        });
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
      v[2 * at] = shuffle<Lanes>(even[at], odd[at], [](int i) { return i / 2 + i % 2 * Lanes; });
      v[2 * at + 1] =
          shuffle<Lanes>(even[at], odd[at], [](int i) { return Lanes / 2 + i / 2 + i % 2 * Lanes; });
    });
  }
}

}  // namespace segnet::detail
