// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/config.hpp>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <limits>
#include <string>

namespace segnet {

/// Bytes that a program may still take: what Linux calls available, or less where a control group (a
/// container) sets a limit. The largest number where neither can be read.
inline std::size_t available_memory() {
  constexpr std::size_t unknown = std::numeric_limits<std::size_t>::max();
  std::size_t available = unknown;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    std::size_t kibibytes = 0;
    if (key == "MemAvailable:" && meminfo >> kibibytes) {
      available = kibibytes * 1024;
      break;
    }
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  std::size_t limit = 0, used = 0;
  std::ifstream maximum("/sys/fs/cgroup/memory.max"), current("/sys/fs/cgroup/memory.current");
  if (maximum >> limit && current >> used) available = std::min(available, limit - std::min(limit, used));
  return available;
}

}  // namespace segnet
