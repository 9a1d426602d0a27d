// SPDX-License-Identifier: MIT
// Where every buffer of a step lies in one block of memory, found while compiling.
#pragma once

#include <segnet/memory/aligned_buffer.hpp>

#include <cstddef>
#include <span>

namespace segnet {

/// A buffer that lives from step `first` to step `last`, both included.
struct planned_buffer {
  std::size_t bytes = 0;
  int first = 0;
  int last = -1;
  std::size_t offset = 0;

  constexpr bool overlaps_in_time(const planned_buffer& other) const {
    return first <= other.last && other.first <= last;
  }
};

namespace detail {

/// Places the buffers one after the other, those that `goes_before` others first, each into the smallest gap
/// that fits between those already placed that live at the same time. Returns the size of the block.
template <int MaxBuffers, class Order>
constexpr std::size_t place_in_order(std::span<planned_buffer> buffers, Order goes_before) {
  const int count = static_cast<int>(buffers.size());
  planned_buffer* all = buffers.data();

  short order[MaxBuffers]{};
  for (int i = 0; i < count; ++i) {
    int at = i;
    for (; at > 0 && goes_before(all[i], all[order[at - 1]]); --at) order[at] = order[at - 1];
    order[at] = static_cast<short>(i);
  }

  short placed[MaxBuffers]{};  // sorted by offset
  int used = 0;
  std::size_t total = 0;
  for (int i = 0; i < count; ++i) {
    planned_buffer& buffer = all[order[i]];
    if (buffer.bytes == 0) continue;
    constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
    std::size_t best = nowhere, best_room = nowhere, free_from = 0;
    for (int k = 0; k < used; ++k) {
      const planned_buffer& other = all[placed[k]];
      if (!buffer.overlaps_in_time(other)) continue;
      if (other.offset > free_from) {
        const std::size_t room = other.offset - free_from;
        if (room >= buffer.bytes && room < best_room) best = free_from, best_room = room;
      }
      if (other.offset + other.bytes > free_from) free_from = other.offset + other.bytes;
    }
    buffer.offset = best == nowhere ? free_from : best;
    if (buffer.offset + buffer.bytes > total) total = buffer.offset + buffer.bytes;
    int at = used++;
    for (; at > 0 && all[placed[at - 1]].offset > buffer.offset; --at) placed[at] = placed[at - 1];
    placed[at] = order[i];
  }
  return total;
}

}  // namespace detail

/// Gives every buffer an offset such that buffers alive at the same step never share a byte, and returns the
/// size of the block. Offsets and sizes are multiples of `alignment`.
///
/// Greedy (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference"), in two orders
/// of which the better one is taken. Those that live longest first, of equals the largest: an encoder's skips
/// then lie side by side, below all that comes and goes while they wait, which is perfect for networks of
/// that kind. Or the largest first, which does better where lifetimes follow no pattern. O(n^2) with a small
/// constant, so that it fits a compiler's budget for constant expressions.
template <int MaxBuffers>
constexpr std::size_t plan_arena(std::span<planned_buffer> buffers) {
  for (planned_buffer& buffer : buffers) buffer.bytes = align_up(buffer.bytes);
  const auto larger = [](const planned_buffer& a, const planned_buffer& b) { return a.bytes > b.bytes; };
  const auto longer = [](const planned_buffer& a, const planned_buffer& b) {
    const int steps_a = a.last - a.first, steps_b = b.last - b.first;
    return steps_a != steps_b ? steps_a > steps_b : a.bytes > b.bytes;
  };
  const std::size_t largest_first = detail::place_in_order<MaxBuffers>(buffers, larger);
  const std::size_t longest_first = detail::place_in_order<MaxBuffers>(buffers, longer);
  return longest_first <= largest_first ? longest_first : detail::place_in_order<MaxBuffers>(buffers, larger);
}

}  // namespace segnet
