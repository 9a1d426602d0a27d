// SPDX-License-Identifier: MIT
// The room: a light wall that curves around a grey floor with a turntable, lettering on the wall, lamps
// above, and the car's shadow on the floor. Colours are display values, 0 = black and 1 = white.
#pragma once

#include <segnet/data/synthetic/car_shape.hpp>
#include <segnet/data/synthetic/vec3.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace segnet::detail {

struct studio {
  float wall_radius = 5.6f, table_radius = 3.05f;
  float wall_brightness = 0.90f, floor_brightness = 0.60f;
  float tint = 0.0f;     ///< warm (> 0) or cold (< 0) light
  float shadow = 0.6f;   ///< 0 = none
  float letters = 0.0f;  ///< darkness of the lettering; 0 = none
  float letter_angle = 0.0f;
  // The car's footprint, which throws the shadow.
  float half_length = 2.2f, half_width = 0.85f, cos_yaw = 1.0f, sin_yaw = 0.0f;

  /// How much light the car takes from a point of the floor.
  float shadow_at(float x, float y) const {
    const float along = std::fabs(x * cos_yaw + y * sin_yaw), across = std::fabs(y * cos_yaw - x * sin_yaw);
    // Distance to a rounded rectangle, negative inside.
    const float dx = along - half_length + 0.35f, dy = across - half_width + 0.25f;
    const float outside =
        std::sqrt(std::max(dx, 0.0f) * std::max(dx, 0.0f) + std::max(dy, 0.0f) * std::max(dy, 0.0f));
    const float distance = outside + std::min(std::max(dx, dy), 0.0f) - 0.3f;
    return shadow *
           (0.75f * smooth_step(0.12f, -0.32f, distance) + 0.25f * smooth_step(1.1f, -0.3f, distance));
  }

  vec3 floor_at(float x, float y) const {
    const float r = std::sqrt(x * x + y * y);
    float value =
        floor_brightness * (1.0f - 0.05f * smooth_step(0.0f, -5.0f, y)) + 0.06f * smooth_step(1.0f, 5.0f, y);
    value += r < table_radius ? 0.012f : 0.0f;
    value -= 0.30f * smooth_step(0.022f, 0.006f, std::fabs(r - table_radius));
    // Faint joints between the floor's plates.
    value -= 0.025f *
             smooth_step(0.02f, 0.006f, std::min(std::fabs(x + 0.6f), std::fabs(x * 0.6f + y * 0.8f - 0.4f)));
    value += 0.05f * smooth_step(2.4f, 0.0f, std::fabs(r - 1.6f)) * smooth_step(-1.0f, 2.0f, x);
    value *= 1.0f - shadow_at(x, y);
    return {value * (0.985f + 0.05f * tint), value, value * (1.02f - 0.05f * tint)};
  }

  /// Letters of 5 x 7 cells, repeated along the wall: something with hard edges behind the car's outline.
  bool letter_at(float angle, float z) const {
    static constexpr std::array<std::array<std::uint8_t, 7>, 6> glyphs{
        {{0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e},
         {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f},
         {0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0e},
         {0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11},
         {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f},
         {0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04}}};
    const float row = (1.75f - z) / 1.35f * 7.0f;
    const float column = (angle - letter_angle) * wall_radius / 0.17f;
    if (row < 0.0f || row >= 7.0f || column < 0.0f || column >= 42.0f) return false;
    const int cell = static_cast<int>(column), glyph = cell / 7, bit = cell % 7;
    return bit < 5 &&
           (glyphs[static_cast<std::size_t>(glyph)][static_cast<std::size_t>(row)] >> (4 - bit) & 1) != 0;
  }

  vec3 wall_at(float angle, float z) const {
    float value = wall_brightness * (0.93f + 0.07f * smooth_step(0.0f, 2.5f, z)) - 0.05f * std::fabs(angle);
    value -= 0.10f * smooth_step(0.25f, 0.0f, z);
    if (letters > 0.0f && letter_at(angle, z)) value *= 1.0f - letters;
    return {value * (1.0f + 0.03f * tint), value, value * (1.0f - 0.03f * tint)};
  }

  /// What a camera at `eye` sees along `d`, the car apart.
  vec3 look(vec3 eye, vec3 d) const {
    if (d.z < 0.0f) {
      const float t = -eye.z / d.z, x = eye.x + t * d.x, y = eye.y + t * d.y;
      if (x * x + y * y < wall_radius * wall_radius || y < 0.0f) return floor_at(x, y);
    }
    // The wall is the far side of an upright cylinder.
    const float a = d.x * d.x + d.y * d.y, b = eye.x * d.x + eye.y * d.y;
    const float c = eye.x * eye.x + eye.y * eye.y - wall_radius * wall_radius;
    const float t = (-b + std::sqrt(std::max(b * b - a * c, 0.0f))) / a;
    return wall_at(std::atan2(eye.x + t * d.x, eye.y + t * d.y), eye.z + t * d.z);
  }

  /// What shiny surfaces mirror: the floor, the wall, and bright lamp panels on the ceiling.
  float mirrored(vec3 d) const {
    const float below =
        mix(floor_brightness * 0.85f, floor_brightness * 0.45f, smooth_step(0.0f, -0.6f, d.z));
    const float around = wall_brightness * 0.95f;
    float value = mix(below, around, smooth_step(-0.06f, 0.04f, d.z));
    if (d.z > 0.15f) {
      const float x = d.x / d.z, y = d.y / d.z;
      const float panel = smooth_step(0.95f, 0.75f, std::fabs(std::fabs(x) - 1.3f) + 0.15f) *
                          smooth_step(3.2f, 2.6f, std::fabs(y));
      value = mix(value, 0.55f + 1.0f * panel, smooth_step(0.15f, 0.45f, d.z));
    }
    return value;
  }
};

}  // namespace segnet::detail
