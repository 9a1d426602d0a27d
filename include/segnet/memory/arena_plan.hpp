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

/// Gives every buffer an offset such that buffers alive at the same step never share a byte, and returns the
/// size of the block. Offsets and sizes are multiples of `alignment`.
///
/// Greedy by size (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference"): the
/// largest buffer first, each into the smallest gap that fits between those already placed that live at the
/// same time. O(n^2) with a small constant, so that it fits a compiler's budget for constant expressions.
template <int MaxBuffers>
constexpr std::size_t plan_arena(std::span<planned_buffer> buffers) {
  const int count = static_cast<int>(buffers.size());
  planned_buffer* all = buffers.data();

  short by_size[MaxBuffers]{};
  for (int i = 0; i < count; ++i) {
    all[i].bytes = align_up(all[i].bytes);
    int at = i;
    for (; at > 0 && all[by_size[at - 1]].bytes < all[i].bytes; --at) by_size[at] = by_size[at - 1];
    by_size[at] = static_cast<short>(i);
  }

  short placed[MaxBuffers]{};  // sorted by offset
  std::size_t total = 0;
  for (int i = 0; i < count; ++i) {
    planned_buffer& buffer = all[by_size[i]];
    if (buffer.bytes == 0) continue;
    constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
    std::size_t best = nowhere, best_gap = nowhere, free_from = 0;
    int used = i;
    for (int k = 0; k < used; ++k) {
      const planned_buffer& other = all[placed[k]];
      if (!buffer.overlaps_in_time(other)) continue;
      if (other.offset > free_from) {
        const std::size_t gap = other.offset - free_from;
        if (gap >= buffer.bytes && gap < best_gap) best = free_from, best_gap = gap;
      }
      if (other.offset + other.bytes > free_from) free_from = other.offset + other.bytes;
    }
    buffer.offset = best == nowhere ? free_from : best;
    if (buffer.offset + buffer.bytes > total) total = buffer.offset + buffer.bytes;
    for (; used > 0 && all[placed[used - 1]].offset > buffer.offset; --used) placed[used] = placed[used - 1];
    placed[used] = by_size[i];
  }
  return total;
}

}  // namespace segnet
