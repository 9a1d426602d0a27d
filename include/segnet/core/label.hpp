// SPDX-License-Identifier: MIT
// Labels: one class number per pixel, 0 to K - 1.
#pragma once

#include <cstdint>

namespace segnet {

/// The label of pixels that no class is known for: losses and metrics pass over them.
inline constexpr std::uint8_t ignored_label = 255;

}  // namespace segnet
