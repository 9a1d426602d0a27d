// SPDX-License-Identifier: MIT
// Draws a street at random: weather, road, houses, and who is about.
#pragma once

#include <segnet/data/synthetic/street_objects.hpp>
#include <segnet/data/synthetic/street_scene.hpp>
#include <segnet/data/synthetic/street_traffic.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

namespace segnet::detail {

/// Clear, covered, foggy or towards evening.
inline daylight draw_daylight(scene_random& r) {
  daylight l;
  const double kind = r.uniform();
  const float turn = r.between(0.0, 2.0 * std::numbers::pi);
  float height = r.between(0.35, 1.1);
  const bool clear = kind<0.45, fog = kind> 0.68 && kind < 0.8, evening = kind >= 0.8;
  if (clear) {
    l.zenith = r.vary({0.26f, 0.45f, 0.76f}, 0.08f), l.skyline = r.vary({0.72f, 0.80f, 0.88f}, 0.06f);
    l.clouds = r.between(0.0, 0.7);
    l.ambient = vec3{0.66f, 0.71f, 0.79f} * r.between(0.75, 1.1);
    l.sun = vec3{0.90f, 0.84f, 0.72f} * r.between(0.7, 1.1);
  } else if (evening) {
    height = r.between(0.1, 0.3);
    l.zenith = r.vary({0.24f, 0.28f, 0.42f}, 0.08f), l.skyline = r.vary({0.72f, 0.48f, 0.34f}, 0.12f);
    l.clouds = r.between(0.2, 0.9);
    l.ambient = vec3{0.56f, 0.54f, 0.62f} * r.between(0.7, 1.1);
    l.sun = vec3{0.70f, 0.48f, 0.30f} * r.between(0.3, 1.0);
    l.lit_windows = true;
  } else {
    const float grey = fog ? r.between(0.62, 0.85) : r.between(0.5, 0.9);
    l.zenith = r.vary(vec3{grey, grey, grey * 1.03f}, 0.03f), l.skyline = l.zenith * 1.06f;
    l.clouds = fog ? 0.2f : 0.9f;
    l.ambient = vec3{1.08f, 1.10f, 1.12f} * r.between(0.75, 1.1);
    l.sun = vec3{0.12f, 0.12f, 0.12f};
  }
  l.fog = fog ? r.between(0.012, 0.035) : r.between(0.0, 0.005);
  l.to_sun = normalize({std::cos(turn), std::sin(turn), std::tan(height)});
  return l;
}

inline void draw_camera(street_scene& s, scene_random& r, int width, int height) {
  const float w = static_cast<float>(width), h = static_cast<float>(height);
  s.at = {s.half_road * r.between(-0.6, 0.8), 0.0f, 0.0f};
  s.eye.height = r.between(1.25, 2.0);
  s.eye.focal = 0.5f * std::max(w, 1.2f * h) / std::tan(r.between(0.42, 0.58));
  s.eye.centre_x = w * r.between(0.46, 0.54), s.eye.centre_y = h * r.between(0.46, 0.56);
  const float pitch = r.between(-0.05, 0.07), heading = r.between(-0.13, 0.13);
  s.eye.sin_pitch = std::sin(pitch), s.eye.cos_pitch = std::cos(pitch);
  s.sin_heading = std::sin(heading), s.cos_heading = std::cos(heading);
}

inline void draw_ground(street_scene& s, scene_random& r) {
  s.lanes = 2 + r.below(2);
  s.half_road = 0.5f * static_cast<float>(s.lanes) * r.between(2.8, 3.4) + (r.chance(0.25) ? 1.6f : 0.0f);
  s.end = r.chance(0.65) ? r.between(70.0, 130.0) : 180.0f;
  for (roadside& side : s.sides) {
    side.pavement = r.between(2.5, 6.5);
    side.setback = r.chance(0.35) ? 0.0f : r.between(2.0, 9.0);
    side.lawn = side.setback > 0.0f && r.chance(0.65);
  }
  for (float y = r.between(15.0, 45.0); y < s.end && r.chance(0.5); y += r.between(30.0, 60.0))
    s.side_streets.push_back({y, y + r.between(5.0, 8.0)});
  if (r.chance(0.3)) s.zebra = r.between(8.0, 30.0);
  const float grey = r.between(0.20, 0.52);
  s.asphalt = r.vary({grey, grey, 1.02f * grey}, 0.02f);
  static constexpr std::array<vec3, 6> stones{{{0.52f, 0.51f, 0.49f},
                                               {0.40f, 0.40f, 0.41f},
                                               {0.60f, 0.55f, 0.46f},
                                               {0.48f, 0.33f, 0.28f},
                                               {0.66f, 0.65f, 0.62f},
                                               {0.32f, 0.31f, 0.31f}}};
  s.slabs = r.vary(r.pick(stones), 0.05f);
  s.slab_size = r.chance(0.3) ? r.between(0.2, 0.3) : r.between(0.5, 1.0);
  s.grass = r.vary(r.chance(0.8) ? vec3{0.26f, 0.34f, 0.14f} : vec3{0.48f, 0.44f, 0.26f}, 0.06f);
  s.markings = r.chance(0.85) ? vec3{0.82f, 0.82f, 0.80f} : vec3{0.80f, 0.66f, 0.20f};
  s.wet = r.chance(0.22) ? r.between(0.3, 0.8) : 0.0f;
  s.pattern = r.pattern();
}

/// Rows of houses with gaps, and what closes the view where the road ends.
inline void add_houses(street_scene& s, scene_random& r) {
  for (std::size_t i = 0; i < 2; ++i) {
    roadside& side = s.sides[i];
    const float sign = i == 0 ? -1.0f : 1.0f;
    const float front = s.half_road + side.pavement + side.setback, typical = r.between(4.0, 15.0);
    // Whatever begins closer than this stays outside the picture, and nothing has to be cut at the camera.
    for (float y = 3.0f; y < s.end + 20.0f;) {
      const float length = r.between(7.0, 22.0), depth = r.between(7.0, 12.0);
      float to = y + length;
      for (const auto& [from, until] : s.side_streets)
        if (to > from - 1.0f && y < until + 1.0f) to = y < from - 4.0f ? from - 1.0f : y;
      if (to - y < 3.0f) {
        y += 2.0f;
        continue;
      }
      const float height = typical * r.between(0.6, 1.4), set = r.between(0.0, 0.8);
      add_building(s.things, r, sign < 0 ? -front - set - depth : front + set,
                   sign < 0 ? -front - set : front + set + depth, y, to, height);
      side.houses.push_back({y, to, height});
      y = to + (r.chance(0.35) ? r.between(2.0, 16.0) : r.between(0.0, 0.05));
    }
  }
  if (s.end < 150.0f)
    for (float x = -75.0f; x < 75.0f;) {
      const float length = r.between(9.0, 25.0);
      add_building(s.things, r, x, x + length, s.end + 5.0f, s.end + 16.0f, r.between(4.0, 14.0));
      x += length + (r.chance(0.4) ? 8.0f : 0.02f);
    }
}

/// Along the pavements: trees, lamps, signs, fences and hedges.
inline void add_furniture(street_scene& s, scene_random& r) {
  const int season = r.chance(0.55) ? 0 : 1 + r.below(2);
  street_model& m = s.things;
  const auto shadow = [&](float x, float y, float radius, float strength) {
    m.shadows.push_back({x, y, radius, radius, 1.0f, 0.0f, strength});
  };
  const auto tree = [&](float x, float y, float height) {
    add_tree(m, r, x, y, height, season);
    const vec3 d = s.light.to_sun;
    const float far = std::min(0.65f / std::max(d.z, 0.2f), 2.0f) * height;
    shadow(x - d.x * far, y - d.y * far, 0.27f * height, 0.75f * s.light.sun.x);
    shadow(x, y, 0.3f * height, 0.2f);
  };
  for (std::size_t i = 0; i < 2; ++i) {
    const roadside& side = s.sides[i];
    const float sign = i == 0 ? -1.0f : 1.0f, kerb = s.half_road, back = kerb + side.pavement;
    const auto free = [&](float y) { return !s.in_side_street(y) && y < s.end; };
    if (r.chance(0.6)) {
      const float step = r.between(7.0, 15.0), height = r.between(4.0, 10.0);
      for (float y = r.between(5.0, 14.0); y < 75.0f; y += step * r.between(0.8, 1.3))
        if (free(y) && r.chance(0.85))
          tree(sign * (kerb + r.between(0.6, 0.9)), y, height * r.between(0.7, 1.2));
    }
    if (side.setback > 1.5f)
      for (float y = r.between(4.0, 16.0); y < 80.0f; y += r.between(5.0, 20.0))
        if (free(y) && r.chance(0.6))
          tree(sign * (back + r.between(0.4, 0.8) * side.setback), y, r.between(3.0, 9.0));
    if (r.chance(0.8)) {
      const float step = r.between(14.0, 28.0), height = r.between(4.0, 8.5), arm = r.between(0.5, 1.8);
      for (float y = r.between(5.0, 18.0); y < 110.0f; y += step)
        if (free(y)) add_lamp(m, r, sign * (kerb + 0.4f), y, height, -sign * arm);
    }
    for (float y = r.between(5.0, 14.0); y < 70.0f; y += r.between(6.0, 24.0))
      if (free(y)) {
        const float x = sign * (kerb + r.between(0.3, 0.7));
        r.chance(0.25) ? add_traffic_light(m, r, x, y) : add_sign(m, r, x, y);
      }
    if (r.chance(side.setback > 0.0f ? 0.85 : 0.45)) {
      const float x = sign * (side.setback > 0.0f ? back + 0.15f : kerb + 0.3f);
      for (float y = r.between(3.0, 10.0); y < 70.0f;) {
        float to = std::min(y + r.between(6.0, 30.0), s.end);
        for (const auto& [from, until] : s.side_streets)
          if (to > from && y < until) to = from;
        if (to > y + 1.0f)
          r.chance(0.7) ? add_fence(m, r, x, y, to)
                        : add_hedge(m, r, x, y, std::min(to, y + 12.0f), r.between(0.8, 1.7));
        y = std::max(to, y) + r.between(1.5, 12.0);
      }
    }
  }
}

/// Cars parked and driving, people on the pavements and across the road, cyclists.
inline void add_traffic(street_scene& s, scene_random& r, std::uint64_t seed, std::uint64_t scene) {
  constexpr float along = 0.5f * std::numbers::pi_v<float>;
  street_model& m = s.things;
  std::uint64_t number = scene * 64;
  const auto car = [&](float x, float y, float yaw) {
    const car_shape shape = draw_car(seed, number++, 0.6, 0.5);
    add_car(m, shape, x, y, yaw);
    m.shadows.push_back(
        {x, y, 0.56f * shape.length, 0.62f * shape.width, std::cos(yaw), std::sin(yaw), 0.75f});
  };
  const auto sway = [&] { return r.between(-0.04, 0.04); };
  for (const float sign : {-1.0f, 1.0f})
    if (r.chance(0.6)) {
      const float x = sign * (s.half_road - 1.05f), share = r.between(0.3, 0.95);
      int parked = 0;
      for (float y = r.between(6.0, 12.0); y < 60.0f && parked < 6; y += r.between(5.6, 7.5))
        if (r.chance(share) && !s.in_side_street(y) && std::fabs(s.at.x - x) > 1.8f)
          car(x + r.between(-0.15, 0.15), y, (r.chance(0.8) ? sign : -sign) * along + sway()), ++parked;
    }
  const float lane = 2.0f * s.half_road / static_cast<float>(s.lanes);
  for (int i = 0; i < s.lanes; ++i) {
    const float x = -s.half_road + (static_cast<float>(i) + 0.5f) * lane;
    if (r.chance(0.35)) continue;
    const bool mine = std::fabs(x - s.at.x) < 1.9f;
    for (float y = r.between(mine ? 11.0 : 7.0, 32.0); y < 75.0f; y += r.between(9.0, 40.0))
      if (s.zebra < 0.0f || std::fabs(y - s.zebra) > 5.0f)
        car(x + r.between(-0.3, 0.3), y, (x > 0.0f ? along : -along) + sway());
  }

  const auto person = [&](float x, float y, float yaw) {
    add_pedestrian(m, r, x, y, yaw, r.chance(0.12) ? r.between(1.0, 1.4) : r.between(1.52, 1.92));
    m.shadows.push_back({x, y, 0.3f, 0.3f, 1.0f, 0.0f, 0.45f});
  };
  for (const float sign : {-1.0f, 1.0f}) {
    const roadside& side = s.side_of(sign);
    const int groups = r.below(6);
    for (int g = 0; g < groups; ++g) {
      const float y = r.between(6.0, 15.0 + 9.0 * g), yaw = (r.chance(0.5) ? along : -along);
      const int members = 1 + (r.chance(0.3) ? 1 + r.below(2) : 0);
      for (int k = 0; k < members; ++k)
        person(sign * (s.half_road + r.between(0.9, std::max(1.0f, side.pavement - 0.2f))),
               y + r.between(-0.6, 0.6), yaw + 4.0f * sway());
    }
  }
  const int crossing = s.zebra > 0.0f ? r.below(5) : (r.chance(0.3) ? 1 : 0);
  for (int k = 0; k < crossing; ++k)
    person(r.between(-0.9, 0.9) * s.half_road,
           s.zebra > 0.0f ? s.zebra + r.between(-1.2, 1.2) : r.between(8.0, 30.0),
           r.chance(0.5) ? 0.0f : 2.0f * along);
  const int cyclists = r.chance(0.7) ? 1 + r.below(3) : 0;
  for (int k = 0; k < cyclists; ++k) {
    const float sign = r.chance(0.6) ? 1.0f : -1.0f;
    const float x = sign * (s.half_road + (r.chance(0.3) ? 0.9f : r.between(-2.6, -0.4))),
                y = r.between(5.0, 26.0);
    add_cyclist(m, r, x, y, sign * along + 3.0f * sway());
    m.shadows.push_back({x, y, 0.9f, 0.25f, 0.0f, 1.0f, 0.45f});
  }
}

inline street_scene draw_street(std::uint64_t seed, std::uint64_t number, int width, int height) {
  static constexpr std::uint64_t street_key = 0x57ee7;
  // A stream for each part: a taller house does not reshuffle the traffic.
  const auto stream = [&](std::uint64_t part) { return scene_random{seed, street_key, number, part}; };
  street_scene s;
  scene_random light = stream(0), ground = stream(1), houses = stream(2), furniture = stream(3),
               traffic = stream(4), lens = stream(5);
  s.light = draw_daylight(light);
  draw_ground(s, ground);
  draw_camera(s, lens, width, height);
  add_houses(s, houses);
  add_furniture(s, furniture);
  add_traffic(s, traffic, seed, number);
  // Beside the camera and behind it: out of sight, and not to be projected.
  s.things.remove_if([&](vec3 p) { return s.to_camera(p).y * s.eye.cos_pitch < 1.0f; });
  s.sensor = {lens.between(0.72, 1.15), lens.between(-0.06, 0.06), lens.between(0.004, 0.03),
              lens.between(0.0, 0.3)};
  return s;
}

}  // namespace segnet::detail
