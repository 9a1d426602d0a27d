// SPDX-License-Identifier: MIT
// Tensors that learn faster or slower than others, or not at all.
#pragma once

#include <segnet/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

namespace segnet {

/// A part of the flat buffers and what its learning rate and weight decay are multiplied with. It begins
/// where the one before ends, the first at 0. A rate of 0 freezes: neither parameters nor moments are
/// touched.
struct parameter_group {
  std::size_t end = 0;  ///< in elements
  float rate = 1, decay = 1;
  friend bool operator==(const parameter_group&, const parameter_group&) = default;
};

namespace detail {

/// Throws argument_error where groups (none: all multipliers are 1) do not end with the parameters.
inline void check_groups(const char* optimizer, std::span<const parameter_group> groups, std::size_t n) {
  if (!groups.empty() && groups.back().end != n)
    throw argument_error(std::string(optimizer) + ": the last group ends at " +
                         std::to_string(groups.back().end) + ", expected " + std::to_string(n) +
                         ", the number of parameters");
}

/// f(begin, end, group), on all threads, for pieces of [0, n) that lie in one group, but for frozen ones. The
/// pieces do not depend on the number of threads.
template <class Backend, class F>
void for_each_in_groups(Backend& backend, std::size_t n, std::span<const parameter_group> groups, F f) {
  backend.parallel_for(n, std::size_t{1} << 16, [=](std::size_t begin, std::size_t end, int) {
    if (groups.empty()) return f(begin, end, parameter_group{n});
    auto group = std::ranges::upper_bound(groups, begin, {}, &parameter_group::end);
    for (; begin < end; ++group) {
      const std::size_t stop = std::min(end, group->end);
      if (group->rate != 0) f(begin, stop, *group);
      begin = stop;
    }
  });
}

}  // namespace detail

}  // namespace segnet
