// SPDX-License-Identifier: MIT
// Irregular surfaces without stored textures: noise as a function of the place.
#pragma once

#include <segnet/data/synthetic/vec3.hpp>

#include <cmath>
#include <cstdint>

namespace segnet::detail {

/// A number in [0, 1) for each point of a grid; other patterns are independent of each other.
inline float grid_noise(int x, int y, int z, std::uint32_t pattern) {
  std::uint32_t bits = static_cast<std::uint32_t>(x) * 0x9e3779b1u ^
                       static_cast<std::uint32_t>(y) * 0x85ebca77u ^
                       static_cast<std::uint32_t>(z) * 0xc2b2ae3du ^ pattern * 0x27d4eb2fu;
  bits = (bits ^ bits >> 15) * 0x2c1b3c6du;
  bits = (bits ^ bits >> 12) * 0x297a2d39u;
  return static_cast<float>((bits ^ bits >> 15) >> 8) * 0x1.0p-24f;
}

/// grid_noise() interpolated smoothly between the points of the unit grid: value noise.
inline float smooth_noise(vec3 p, std::uint32_t pattern) {
  const float fx = std::floor(p.x), fy = std::floor(p.y), fz = std::floor(p.z);
  const int x = static_cast<int>(fx), y = static_cast<int>(fy), z = static_cast<int>(fz);
  const float u = smooth_step(0.0f, 1.0f, p.x - fx), v = smooth_step(0.0f, 1.0f, p.y - fy),
              w = smooth_step(0.0f, 1.0f, p.z - fz);
  const auto edge = [&](int dy, int dz) {
    return mix(grid_noise(x, y + dy, z + dz, pattern), grid_noise(x + 1, y + dy, z + dz, pattern), u);
  };
  return mix(mix(edge(0, 0), edge(1, 0), v), mix(edge(0, 1), edge(1, 1), v), w);
}

/// Two octaves of it, in [0, 1].
inline float rough_noise(vec3 p, std::uint32_t pattern) {
  return 0.65f * smooth_noise(p, pattern) + 0.35f * smooth_noise(p * 2.7f, pattern + 1);
}

}  // namespace segnet::detail
