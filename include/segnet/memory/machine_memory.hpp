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
/// container) sets a limit. The largest number where neither can be read. `root` stands before the paths of
/// the system's files.
inline std::size_t available_memory(const std::string& root = "") {
  constexpr std::size_t unknown = std::numeric_limits<std::size_t>::max();
  std::size_t available = unknown;
  std::ifstream meminfo(root + "/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    std::size_t kibibytes = 0;
    if (key == "MemAvailable:" && meminfo >> kibibytes) {
      available = kibibytes * 1024;
      break;
    }
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  const std::string group = root + "/sys/fs/cgroup/memory.";
  std::size_t limit = 0, used = 0;
  std::ifstream maximum(group + "max"), current(group + "current"), statistics(group + "stat");
  if (!(maximum >> limit && current >> used)) return available;
  // Pages of files count as used, but are given up when memory is short: a data set that was read once would
  // otherwise look like a full machine.
  std::size_t bytes = 0;
  for (std::string key; statistics >> key >> bytes;)
    if (key == "inactive_file" || key == "active_file") used -= std::min(used, bytes);
  return std::min(available, limit - std::min(limit, used));
}

}  // namespace segnet
