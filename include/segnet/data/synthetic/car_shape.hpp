// SPDX-License-Identifier: MIT
// One car, drawn at random: its proportions, colours and extras. Lengths in metres; x forward, y left, z up,
// the origin on the floor below the middle of the car. `u` runs along the car from 0 (rear) to 1 (front).
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/data/synthetic/vec3.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace segnet::detail {

enum class body_style { sedan, hatchback, suv, van, pickup, coupe };

struct car_shape {
  body_style style{};
  float length{}, width{}, height{}, clearance{};
  float wheel_radius{}, front_axle{}, rear_axle{};  ///< axles as u
  float rear_deck{}, cowl{}, nose{};  ///< heights of boot lid, windscreen base, bonnet's front edge
  float rear_base{}, rear_top{}, front_top{}, front_base{};  ///< u where the roof's slopes start and end
  float doors[3]{};                                          ///< u of door gaps
  float tumblehome{};                                        ///< how far the roof is narrower, as a fraction
  int spokes{};
  vec3 paint, rim, roof_paint, trim;
  float gloss{};
  bool antenna{}, roof_rack{}, spoiler{}, shark_fin{};
  float antenna_length{}, antenna_tilt{};

  float x(float u) const { return (u - 0.5f) * length; }
  float u(float x_) const { return x_ / length + 0.5f; }

  /// Height of the belt line: boot lid, doors' upper edge, bonnet.
  float belt(float u_) const {
    const float body = mix(rear_deck, cowl, smooth_step(0.1f, 0.6f, u_));
    return mix(body, nose, smooth_step(front_base - 0.08f, 1.0f, u_));
  }
  /// The two slopes of the roof, 0 at their base, 1 at the top.
  float front_slope(float u_) const { return (front_base - u_) / (front_base - front_top); }
  float rear_slope(float u_) const { return (u_ - rear_base) / (rear_top - rear_base); }
  /// Height of the roof above the belt, relative to its full height.
  float roof(float u_) const {
    const float middle = 0.5f * (rear_top + front_top);
    const float arch = 1.0f - 1.1f * (u_ - middle) * (u_ - middle);
    return std::max(0.0f, smooth_min(smooth_min(front_slope(u_), rear_slope(u_), 0.15f), arch, 0.3f));
  }
  float top(float u_) const { return belt(u_) + (height - belt(u_)) * roof(u_); }
  /// Half the width in plan view: a box whose ends are rounded.
  float half_width(float u_) const {
    const float end = 2.0f * std::fabs(u_ - 0.5f);
    return 0.5f * width * (1.0f - 0.05f * end * end - 0.16f * smooth_step(0.80f, 1.02f, end));
  }
  float bottom(float u_) const {
    return clearance + 0.10f * smooth_step(0.84f, 1.0f, 2.0f * std::fabs(u_ - 0.5f));
  }
};

/// Half of a car buyer's choices are white, silver, grey or black: the hard ones before a light wall.
inline vec3 draw_paint(random_stream& random, double neutral_share) {
  static constexpr std::array<vec3, 6> neutral{{{0.90f, 0.90f, 0.89f},
                                                {0.70f, 0.71f, 0.72f},
                                                {0.52f, 0.54f, 0.56f},
                                                {0.33f, 0.34f, 0.36f},
                                                {0.06f, 0.06f, 0.07f},
                                                {0.80f, 0.79f, 0.76f}}};
  static constexpr std::array<vec3, 8> colour{{{0.60f, 0.05f, 0.07f},
                                               {0.07f, 0.16f, 0.42f},
                                               {0.10f, 0.30f, 0.18f},
                                               {0.55f, 0.47f, 0.34f},
                                               {0.82f, 0.34f, 0.05f},
                                               {0.85f, 0.70f, 0.08f},
                                               {0.25f, 0.45f, 0.66f},
                                               {0.30f, 0.14f, 0.10f}}};
  const vec3 base = random.chance(neutral_share) ? neutral[static_cast<std::size_t>(random.below(6))]
                                                 : colour[static_cast<std::size_t>(random.below(8))];
  const auto vary = [&] { return static_cast<float>(random.uniform(-0.03, 0.03)); };
  return {std::clamp(base.x + vary(), 0.02f, 0.95f), std::clamp(base.y + vary(), 0.02f, 0.95f),
          std::clamp(base.z + vary(), 0.02f, 0.95f)};
}

/// Draws the car number `car` of the family `seed`.
inline car_shape draw_car(std::uint64_t seed, std::uint64_t car, double neutral_share, double thin_parts) {
  static constexpr std::uint64_t shape_key = 0xca7;
  random_stream random{seed, shape_key, car};
  const auto between = [&](double low, double high) { return static_cast<float>(random.uniform(low, high)); };
  struct proportions {
    float length, width, height, clearance, deck, cowl, nose, rear_base, rear_top, front_top, front_base;
  };
  // Heights of deck, cowl and nose are fractions of the car's height.
  static constexpr std::array<proportions, 6> styles{{
      {4.75f, 1.84f, 1.46f, 0.17f, 0.69f, 0.66f, 0.50f, 0.13f, 0.30f, 0.545f, 0.715f},
      {4.10f, 1.77f, 1.50f, 0.17f, 0.64f, 0.64f, 0.50f, -0.01f, 0.11f, 0.570f, 0.760f},
      {4.65f, 1.88f, 1.72f, 0.24f, 0.64f, 0.64f, 0.54f, 0.00f, 0.085f, 0.570f, 0.715f},
      {4.95f, 1.92f, 1.76f, 0.18f, 0.60f, 0.59f, 0.45f, 0.00f, 0.060f, 0.640f, 0.830f},
      {5.35f, 1.95f, 1.80f, 0.30f, 0.63f, 0.63f, 0.56f, 0.39f, 0.435f, 0.600f, 0.715f},
      {4.50f, 1.84f, 1.34f, 0.14f, 0.70f, 0.67f, 0.50f, 0.07f, 0.38f, 0.520f, 0.690f},
  }};
  car_shape c;
  const int style = random.below(static_cast<int>(styles.size()));
  const proportions& p = styles[static_cast<std::size_t>(style)];
  c.style = static_cast<body_style>(style);
  c.length = p.length * between(0.94, 1.06);
  c.width = p.width * between(0.97, 1.03);
  c.height = p.height * between(0.96, 1.05);
  c.clearance = p.clearance * between(0.9, 1.15);
  c.wheel_radius = between(0.30, 0.345) * (style == 2 || style == 4 ? 1.15f : 1.0f);
  c.front_axle = 1.0f - between(0.175, 0.20);
  c.rear_axle = between(0.185, 0.22);
  c.rear_deck = c.height * p.deck * between(0.97, 1.04);
  c.cowl = c.height * p.cowl * between(0.97, 1.03);
  c.nose = c.height * p.nose * between(0.95, 1.06);
  c.rear_base = p.rear_base + between(-0.01, 0.01);
  c.rear_top = p.rear_top + between(-0.01, 0.02);
  c.front_top = p.front_top + between(-0.02, 0.02);
  c.front_base = p.front_base + between(-0.015, 0.015);
  c.doors[0] = c.front_base - between(0.02, 0.04);
  c.doors[1] = c.doors[0] - between(0.21, 0.24);
  c.doors[2] = style == 5 || style == 4 ? -1.0f : c.doors[1] - between(0.18, 0.20);
  c.tumblehome = between(0.70, 0.78) + (style == 3 || style == 2 ? 0.05f : 0.0f);
  c.spokes = 5 + random.below(6);
  c.paint = draw_paint(random, neutral_share);
  c.gloss = between(0.5, 1.0);
  c.rim = random.chance(0.75) ? vec3{0.66f, 0.67f, 0.69f} : vec3{0.14f, 0.14f, 0.15f};
  c.roof_paint = random.chance(0.1) ? vec3{0.05f, 0.05f, 0.06f} : c.paint;
  c.trim = style == 2 || style == 4 || random.chance(0.3) ? vec3{0.10f, 0.10f, 0.11f} : c.paint * 0.85f;
  c.antenna = random.chance(thin_parts);
  c.roof_rack = (style == 2 || style == 3 || style == 1) && random.chance(thin_parts);
  c.spoiler = style != 4 && random.chance(0.6 * thin_parts);
  c.shark_fin = !c.antenna && random.chance(thin_parts);
  c.antenna_length = between(0.18, 0.75);
  c.antenna_tilt = between(0.1, 0.9);
  return c;
}

}  // namespace segnet::detail
