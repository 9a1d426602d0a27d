// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/core/random.hpp>

#include <cstdint>

namespace segnet {

/// Where a layer's random numbers start: `seed` differs between calls of network::forward(), `layer` between
/// layers. Kept apart, so that a backend may take the seed from elsewhere when the numbers are drawn.
struct random_key {
  std::uint64_t seed = 0, layer = 0;

  SEGNET_HD constexpr std::uint64_t operator()() const { return random_stream{seed, layer}(); }
  constexpr operator std::uint64_t() const { return (*this)(); }
};

}  // namespace segnet
