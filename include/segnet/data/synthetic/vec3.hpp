// SPDX-License-Identifier: MIT
// The little vector algebra that drawing a car takes.
#pragma once

#include <algorithm>
#include <cmath>

namespace segnet::detail {

struct vec3 {
  float x = 0.0f, y = 0.0f, z = 0.0f;

  constexpr friend vec3 operator+(vec3 a, vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
  constexpr friend vec3 operator-(vec3 a, vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
  constexpr friend vec3 operator*(vec3 a, float s) { return {a.x * s, a.y * s, a.z * s}; }
  constexpr friend vec3 operator*(vec3 a, vec3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
};

constexpr float dot(vec3 a, vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
constexpr vec3 cross(vec3 a, vec3 b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline vec3 normalize(vec3 a) { return a * (1.0f / std::sqrt(std::max(dot(a, a), 1e-20f))); }
constexpr vec3 mix(vec3 a, vec3 b, float t) { return a + (b - a) * t; }
constexpr float mix(float a, float b, float t) { return a + (b - a) * t; }

/// 0 at and below `low`, 1 at and above `high`, smooth between; low > high reverses it.
constexpr float smooth_step(float low, float high, float x) {
  const float t = std::clamp((x - low) / (high - low), 0.0f, 1.0f);
  return t * t * (3.0f - 2.0f * t);
}

/// A minimum whose corner is rounded over the width k.
constexpr float smooth_min(float a, float b, float k) {
  const float h = std::clamp(0.5f + 0.5f * (b - a) / k, 0.0f, 1.0f);
  return mix(b, a, h) - k * h * (1.0f - h);
}

}  // namespace segnet::detail
