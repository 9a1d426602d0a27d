// SPDX-License-Identifier: MIT
// Who is about in a generated street: people, cyclists and cars, each added to the model with its surfaces.
#pragma once

#include <segnet/data/synthetic/street_model.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

namespace segnet::detail {

struct clothes {
  vec3 top, legs, skin, hair, shoes;
};

inline clothes draw_clothes(scene_random& r) {
  static constexpr std::array<vec3, 4> skins{
      {{0.82f, 0.62f, 0.50f}, {0.66f, 0.46f, 0.34f}, {0.42f, 0.28f, 0.20f}, {0.28f, 0.18f, 0.13f}}};
  static constexpr std::array<vec3, 5> dull{{{0.08f, 0.08f, 0.10f},
                                             {0.16f, 0.20f, 0.32f},
                                             {0.42f, 0.40f, 0.38f},
                                             {0.30f, 0.24f, 0.18f},
                                             {0.75f, 0.74f, 0.72f}}};
  const vec3 top = r.chance(0.5) ? r.pick(dull) : r.any_colour();
  return {top, r.vary(r.pick(dull), 0.05f), r.vary(r.pick(skins), 0.05f), r.vary({0.16f, 0.12f, 0.09f}, 0.1f),
          r.vary({0.12f, 0.11f, 0.10f}, 0.08f)};
}

/// Someone on foot, `height` metres tall, walking in the direction `yaw`.
inline void add_pedestrian(street_model& s, scene_random& r, float x, float y, float yaw, float height) {
  mesh& m = s.shape;
  const vec3 ahead{std::cos(yaw), std::sin(yaw), 0}, right{std::sin(yaw), -std::cos(yaw), 0}, up{0, 0, 1};
  const clothes c = draw_clothes(r);
  const auto at = [&](float forward, float side, float z) {
    return vec3{x, y, 0} + (ahead * forward + right * side + up * z) * height;
  };
  const auto paint = [&](vec3 colour) {
    s.finish_as({.label = camvid::pedestrian, .kind = finish::plain, .colour = colour});
  };
  const float stride = r.between(-0.16, 0.16), swing = -0.8f * stride, thick = 0.034f * height;
  for (const float side : {-1.0f, 1.0f})
    add_rod(m, at(0, 0.05f * side, 0.5f), at(side * stride, 0.05f * side, 0.04f), 1.1f * thick);
  const bool coat = r.chance(0.3);
  if (coat) add_ellipsoid(m, at(0, 0, 0.46f), vec3{0.095f, 0.095f, 0.2f} * height, part::painted);
  paint(coat ? c.top * 0.9f : c.legs);
  for (const float side : {-1.0f, 1.0f})
    add_rod(m, at(side * stride, 0.05f * side, 0.04f), at(side * stride + 0.09f, 0.05f * side, 0.03f), thick);
  paint(c.shoes);
  const float wide = 0.10f * height;
  add_ellipsoid(m, at(0, 0, 0.66f), {wide, wide, 0.19f * height}, part::painted);
  for (const float side : {-1.0f, 1.0f})
    add_rod(m, at(0, 0.115f * side, 0.8f), at(side * swing, 0.13f * side, 0.47f), 0.8f * thick);
  paint(c.top);
  add_ellipsoid(m, at(0.01f, 0, 0.915f), vec3{0.052f, 0.052f, 0.07f} * height, part::painted);
  add_rod(m, at(0, 0, 0.82f), at(0, 0, 0.88f), 0.8f * thick);
  paint(c.skin);
  add_ellipsoid(m, at(-0.015f, 0, 0.94f), vec3{0.055f, 0.055f, 0.06f} * height, part::painted);
  paint(c.hair);
  if (r.chance(0.35)) {
    add_box(m, at(-0.08f, 0.11f, r.chance(0.5) ? 0.45f : 0.68f), ahead * 0.1f, right * 0.06f, up * 0.16f,
            part::painted);
    paint(r.any_colour());
  }
}

/// Someone on a bicycle; label and shape take in both.
inline void add_cyclist(street_model& s, scene_random& r, float x, float y, float yaw) {
  mesh& m = s.shape;
  const vec3 ahead{std::cos(yaw), std::sin(yaw), 0}, right{std::sin(yaw), -std::cos(yaw), 0}, up{0, 0, 1};
  const clothes c = draw_clothes(r);
  const auto at = [&](float forward, float side, float z) {
    return vec3{x, y, 0} + ahead * forward + right * side + up * z;
  };
  const auto paint = [&](vec3 colour) {
    s.finish_as({.label = camvid::bicyclist, .kind = finish::plain, .colour = colour});
  };
  constexpr float wheel = 0.34f;
  constexpr int spans = 14;
  for (const float axle : {-0.52f, 0.52f})
    for (int i = 0; i < spans; ++i) {
      const auto rim = [&](int k) {
        const float a = 2.0f * std::numbers::pi_v<float> * static_cast<float>(k) / spans;
        return at(axle + wheel * std::cos(a), 0, wheel + 0.02f + wheel * std::sin(a));
      };
      add_rod(m, rim(i), rim(i + 1), 0.025f);
    }
  paint({0.08f, 0.08f, 0.09f});
  const vec3 seat = at(-0.2f, 0, 0.95f), crank = at(-0.05f, 0, 0.32f), head = at(0.4f, 0, 0.9f);
  add_rod(m, seat, crank, 0.025f), add_rod(m, crank, head, 0.025f), add_rod(m, seat, head, 0.022f);
  add_rod(m, crank, at(-0.52f, 0, wheel), 0.02f), add_rod(m, head, at(0.52f, 0, wheel), 0.02f);
  add_rod(m, at(0.42f, -0.26f, 1.02f), at(0.42f, 0.26f, 1.02f), 0.02f);
  paint(r.any_colour());
  const float turn = r.between(-0.16, 0.16);
  for (const float side : {-1.0f, 1.0f}) {
    const vec3 knee = at(0.2f, 0.12f * side, 0.72f + side * turn);
    add_rod(m, at(-0.17f, 0.1f * side, 0.98f), knee, 0.075f);
    add_rod(m, knee, at(-0.02f, 0.12f * side, 0.33f + side * turn), 0.055f);
  }
  paint(c.legs);
  add_rod(m, at(-0.2f, 0, 0.98f), at(0.16f, 0, 1.42f), 0.14f);
  for (const float side : {-1.0f, 1.0f})
    add_rod(m, at(0.14f, 0.17f * side, 1.4f), at(0.42f, 0.22f * side, 1.04f), 0.05f);
  paint(c.top);
  add_ellipsoid(m, at(0.26f, 0, 1.6f), {0.1f, 0.1f, 0.13f}, part::painted);
  paint(c.skin);
  add_ellipsoid(m, at(0.24f, 0, 1.67f), {0.12f, 0.12f, 0.1f}, part::painted);
  paint(r.chance(0.6) ? r.any_colour() : c.hair);
}

/// `car` (in its own frame) at (x, y), heading in the direction `yaw`.
inline void add_car(street_model& s, const car_shape& car, float x, float y, float yaw) {
  placed_car placed{car, {x, y, 0}, std::cos(yaw), std::sin(yaw)};
  const mesh body = build_car(car);
  const int first = static_cast<int>(s.shape.vertices.size());
  // Positions go to the street's frame; normals stay in the car's, where its materials are decided.
  for (mesh_vertex v : body.vertices) {
    v.position = placed.turn(v.position) + placed.at;
    s.shape.vertices.push_back(v);
  }
  for (std::size_t t = 0; t < body.triangles.size(); ++t) {
    const auto& corner = body.triangles[t];
    s.shape.add_triangle(first + corner[0], first + corner[1], first + corner[2], body.parts[t]);
  }
  s.finish_as(
      {.label = camvid::car, .kind = finish::car, .pattern = static_cast<std::uint32_t>(s.cars.size())});
  s.cars.push_back(placed);
}

}  // namespace segnet::detail
