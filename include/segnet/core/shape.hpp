// SPDX-License-Identifier: MIT
// The static part of an activation's shape: everything but the batch size.
#pragma once

#include <segnet/config.hpp>

#include <cstddef>

namespace segnet {

/// Height, width (pixels) and channels of one image's activations, stored as NHWC: channels lie together.
struct shape {
  int h = 1;
  int w = 1;
  int c = 1;

  constexpr std::size_t pixels() const { return static_cast<std::size_t>(h) * static_cast<std::size_t>(w); }
  constexpr std::size_t size() const { return pixels() * static_cast<std::size_t>(c); }
  friend constexpr bool operator==(const shape&, const shape&) = default;
};

}  // namespace segnet
