// SPDX-License-Identifier: MIT
#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace segnet_test {

/// Where the real data set is; nothing, with a remark, where there is none.
inline std::optional<std::filesystem::path> carvana_folder() {
  const char* variable = std::getenv("SEGNET_CARVANA_DIR");
  const std::filesystem::path folder = variable ? variable : SEGNET_SOURCE_DIR "/../shared/carvana";
  if (std::filesystem::is_directory(folder / "train")) return folder;
  WARN("skipped: no Carvana data set at " << folder.string() << "; set SEGNET_CARVANA_DIR to test with it");
  return std::nullopt;
}

}  // namespace segnet_test
