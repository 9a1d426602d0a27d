// SPDX-License-Identifier: MIT
// What stands in a generated street: each function adds one thing to the model, with its surfaces.
#pragma once

#include <segnet/data/synthetic/street_model.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <utility>

namespace segnet::detail {

/// A block over [x0, x1] x [y0, y1] with windows all round, some with a ridged roof along y.
inline void add_building(street_model& s, scene_random& r, float x0, float x1, float y0, float y1,
                         float height) {
  static constexpr std::array<vec3, 12> walls{{{0.55f, 0.53f, 0.50f},
                                               {0.40f, 0.40f, 0.41f},
                                               {0.72f, 0.68f, 0.58f},
                                               {0.52f, 0.28f, 0.20f},
                                               {0.38f, 0.20f, 0.16f},
                                               {0.80f, 0.79f, 0.76f},
                                               {0.66f, 0.52f, 0.36f},
                                               {0.30f, 0.32f, 0.36f},
                                               {0.50f, 0.58f, 0.62f},
                                               {0.60f, 0.66f, 0.50f},
                                               {0.74f, 0.55f, 0.45f},
                                               {0.24f, 0.23f, 0.22f}}};
  mesh& m = s.shape;
  const vec3 half{0.5f * (x1 - x0), 0.5f * (y1 - y0), 0.5f * height};
  const vec3 centre{0.5f * (x0 + x1), 0.5f * (y0 + y1), 0.5f * height};
  add_box(m, centre, {half.x, 0, 0}, {0, half.y, 0}, {0, 0, half.z}, part::painted);
  surface wall{.label = camvid::building, .kind = finish::facade, .colour = r.vary(r.pick(walls), 0.08f)};
  wall.second = r.chance(0.7) ? r.vary({0.16f, 0.18f, 0.21f}, 0.08f) : r.vary({0.45f, 0.52f, 0.58f}, 0.1f);
  wall.origin = {x0 < 0.0f ? x1 : x0, y0, 0.0f};
  wall.size = r.between(2.1, 3.6);
  wall.share = r.chance(0.15) ? 0.86f : r.between(0.3, 0.62);
  wall.pattern = r.pattern();
  s.finish_as(wall);
  if (r.chance(0.45)) {
    const float ridge = height + r.between(1.5, 4.0), eaves = height - 0.05f, over = 0.35f;
    const vec3 a{x0 - over, y0, eaves}, b{x1 + over, y0, eaves}, top{centre.x, y0, ridge};
    const vec3 back{0.0f, y1 - y0, 0.0f};
    for (const auto& [low, high] : {std::pair{a, top}, std::pair{top, b}}) {
      const vec3 n = normalize({low.z - high.z, 0.0f, high.x - low.x});
      const int v = m.add({low, n});
      m.add({high, n}), m.add({high + back, n}), m.add({low + back, n});
      m.add_quad(v, v + 1, v + 2, v + 3, part::painted);
    }
    const int v = m.add({a, {0, -1, 0}});
    m.add({b, {0, -1, 0}}), m.add({top, {0, -1, 0}});
    m.add_triangle(v, v + 1, v + 2, part::painted);
    static constexpr std::array<vec3, 4> tiles{
        {{0.45f, 0.20f, 0.14f}, {0.24f, 0.24f, 0.26f}, {0.34f, 0.27f, 0.22f}, {0.5f, 0.5f, 0.5f}}};
    surface roof{.label = camvid::building, .kind = finish::planks, .colour = r.vary(r.pick(tiles), 0.05f)};
    roof.second = roof.colour * 0.8f, roof.size = 0.4f, roof.pattern = r.pattern();
    s.finish_as(roof);
  }
}

/// Trunk and crown: broad-leaved in leaf, conical, or bare as in winter; `season` is 0 for green, 1 for
/// autumn, 2 for winter.
inline void add_tree(street_model& s, scene_random& r, float x, float y, float height, int season) {
  static constexpr std::array<vec3, 4> summer{
      {{0.16f, 0.28f, 0.10f}, {0.24f, 0.36f, 0.12f}, {0.12f, 0.22f, 0.12f}, {0.32f, 0.38f, 0.20f}}};
  static constexpr std::array<vec3, 4> autumn{
      {{0.55f, 0.34f, 0.10f}, {0.50f, 0.20f, 0.10f}, {0.58f, 0.48f, 0.16f}, {0.34f, 0.34f, 0.14f}}};
  mesh& m = s.shape;
  const bool conical = r.chance(0.2), bare = season == 2 && !conical;
  const float trunk = height * (conical ? 0.15f : r.between(0.25, 0.4)), thick = 0.012f * height + 0.04f;
  add_rod(m, {x, y, 0}, {x + r.between(-0.15, 0.15), y, bare ? 0.6f * height : trunk + 0.2f * height}, thick);
  const int branches = bare ? 26 : 4;
  for (int i = 0; i < branches; ++i) {
    const float turn = r.between(0.0, 2.0 * std::numbers::pi), from = r.between(trunk, 0.55 * height);
    const float reach = (bare ? 0.32f : 0.2f) * height, rise = r.between(0.15, 0.4) * height;
    const vec3 elbow{x + 0.6f * reach * std::cos(turn), y + 0.6f * reach * std::sin(turn),
                     from + 0.6f * rise};
    add_rod(m, {x, y, from}, elbow, 0.4f * thick);
    for (int k = 0; bare && k < 4; ++k)
      add_rod(m, elbow,
              elbow + vec3{r.between(-0.16, 0.16), r.between(-0.16, 0.16), r.between(0.05, 0.2)} * height,
              0.18f * thick);
  }
  s.finish_as({.label = camvid::tree, .kind = finish::plain, .colour = r.vary({0.27f, 0.22f, 0.17f}, 0.08f)});
  if (bare) return;
  const int clumps = conical ? 7 : 9 + r.below(6);
  const float wide = r.between(0.22, 0.36) * height, crown = height - trunk;
  for (int i = 0; i < clumps; ++i) {
    const float t = static_cast<float>(i) / static_cast<float>(clumps - 1);
    if (conical) {
      const float w = mix(0.26f, 0.04f, t) * height;
      add_clump(m, {x, y, mix(trunk + 0.1f * crown, height - 0.05f * crown, t)}, {w, w, 0.13f * height},
                r.pattern());
    } else {
      const float turn = r.between(0.0, 2.0 * std::numbers::pi), out = r.between(0.1, 0.75) * wide;
      const float size = r.between(0.4, 0.7) * wide;
      add_clump(m, {x + out * std::cos(turn), y + out * std::sin(turn), trunk + crown * r.between(0.2, 0.82)},
                {size, size, 0.85f * size}, r.pattern());
    }
  }
  surface leaves{.label = camvid::tree, .kind = finish::foliage};
  leaves.colour = r.vary(season == 1 && !conical ? r.pick(autumn) : r.pick(summer), 0.05f);
  leaves.size = r.between(0.12, 0.3), leaves.pattern = r.pattern();
  s.finish_as(leaves);
}

/// A row of leaf clumps: a hedge or shrubs.
inline void add_hedge(street_model& s, scene_random& r, float x, float y0, float y1, float height) {
  for (float y = y0; y < y1; y += 0.7f)
    add_clump(s.shape, {x + r.between(-0.1, 0.1), y, 0.5f * height},
              {0.55f, 0.65f, height * r.between(0.55, 0.8)}, r.pattern());
  surface leaves{.label = camvid::tree, .kind = finish::foliage};
  leaves.colour = r.vary({0.18f, 0.27f, 0.12f}, 0.07f), leaves.size = 0.12f, leaves.pattern = r.pattern();
  s.finish_as(leaves);
}

inline vec3 pole_colour(scene_random& r) {
  static constexpr std::array<vec3, 5> paints{{{0.45f, 0.46f, 0.47f},
                                               {0.16f, 0.17f, 0.17f},
                                               {0.62f, 0.62f, 0.60f},
                                               {0.16f, 0.26f, 0.20f},
                                               {0.34f, 0.26f, 0.19f}}};
  return r.vary(r.pick(paints), 0.06f);
}

/// A street lamp whose arm reaches `arm` metres along x.
inline void add_lamp(street_model& s, scene_random& r, float x, float y, float height, float arm) {
  const float thick = r.between(0.05, 0.10);
  add_rod(s.shape, {x, y, 0}, {x, y, height}, thick);
  add_rod(s.shape, {x, y, 0}, {x, y, 0.9f}, 1.5f * thick);
  add_rod(s.shape, {x, y, height}, {x + arm, y, height + 0.3f}, 0.5f * thick);
  add_rod(s.shape, {x + 0.8f * arm, y, height + 0.22f}, {x + 1.3f * arm, y, height + 0.32f}, 1.6f * thick);
  s.finish_as({.label = camvid::pole, .kind = finish::plain, .colour = pole_colour(r)});
}

/// A traffic sign on its pole.
inline void add_sign(street_model& s, scene_random& r, float x, float y) {
  struct kind {
    int corners;
    float turn;
    vec3 face, border;
  };
  constexpr float quarter = std::numbers::pi_v<float> / 4.0f;
  static constexpr std::array<kind, 8> kinds{
      {{16, 0.0f, {0.92f, 0.92f, 0.90f}, {0.72f, 0.06f, 0.08f}},            // limits
       {16, 0.0f, {0.72f, 0.06f, 0.08f}, {0.72f, 0.06f, 0.08f}},            // no entry
       {3, 2.0f * quarter, {0.92f, 0.92f, 0.90f}, {0.72f, 0.06f, 0.08f}},   // warnings
       {3, -2.0f * quarter, {0.90f, 0.90f, 0.88f}, {0.75f, 0.08f, 0.08f}},  // give way
       {8, 0.5f * quarter, {0.70f, 0.07f, 0.08f}, {0.9f, 0.9f, 0.9f}},      // stop
       {4, quarter, {0.06f, 0.20f, 0.55f}, {0.06f, 0.20f, 0.55f}},          // directions
       {4, 0.0f, {0.88f, 0.70f, 0.08f}, {0.9f, 0.9f, 0.88f}},               // right of way
       {4, quarter, {0.85f, 0.85f, 0.83f}, {0.25f, 0.25f, 0.26f}}}};        // plain boards
  const kind k = r.pick(kinds);
  const float radius = r.between(0.32, 0.5), height = r.between(2.1, 2.9);
  add_rod(s.shape, {x, y, 0}, {x, y, height + 0.1f}, 0.035f);
  s.finish_as({.label = camvid::pole, .kind = finish::plain, .colour = pole_colour(r)});
  surface face{.label = camvid::sign, .kind = finish::plate, .colour = r.vary(k.face, 0.05f)};
  face.second = k.border, face.origin = {x, y - 0.06f, height}, face.size = radius, face.share = 0.74f;
  face.pattern = r.pattern();
  // Some drivers see only the grey back of it.
  if (r.chance(0.2)) face.colour = face.second = r.vary({0.5f, 0.5f, 0.5f}, 0.08f);
  add_plate(s.shape, face.origin, radius, k.corners, k.turn);
  s.finish_as(face);
}

inline void add_traffic_light(street_model& s, scene_random& r, float x, float y) {
  const float height = r.between(2.4, 3.4);
  add_rod(s.shape, {x, y, 0}, {x, y, height}, 0.055f);
  s.finish_as({.label = camvid::pole, .kind = finish::plain, .colour = pole_colour(r)});
  add_box(s.shape, {x, y - 0.1f, height}, {0.17f, 0, 0}, {0, 0.12f, 0}, {0, 0, 0.48f}, part::painted);
  s.finish_as({.label = camvid::sign, .kind = finish::plain, .colour = r.vary({0.08f, 0.08f, 0.08f}, 0.04f)});
  static constexpr std::array<vec3, 3> lamps{
      {{0.10f, 0.75f, 0.35f}, {0.90f, 0.60f, 0.10f}, {0.90f, 0.10f, 0.08f}}};
  const int lit = r.below(3);
  for (int i = 0; i < 3; ++i) {
    add_plate(s.shape, {x, y - 0.24f, height + 0.3f * static_cast<float>(i - 1)}, 0.11f, 12, 0.0f);
    const vec3 colour = lamps[static_cast<std::size_t>(i)];
    s.finish_as({.label = camvid::sign,
                 .kind = finish::plain,
                 .colour = i == lit ? colour : colour * 0.15f,
                 .glow = i == lit ? 0.9f : 0.0f});
  }
}

/// A fence along y: boards, pickets, railings or a guard rail. Between pickets one sees what is behind.
inline void add_fence(street_model& s, scene_random& r, float x, float y0, float y1) {
  static constexpr std::array<vec3, 6> paints{{{0.42f, 0.30f, 0.20f},
                                               {0.80f, 0.80f, 0.78f},
                                               {0.12f, 0.12f, 0.13f},
                                               {0.50f, 0.51f, 0.52f},
                                               {0.18f, 0.28f, 0.20f},
                                               {0.55f, 0.45f, 0.32f}}};
  mesh& m = s.shape;
  const int kind = r.below(4);
  const float height = kind == 3 ? 0.75f : r.between(0.9, 1.9), middle = 0.5f * (y0 + y1);
  const auto rail = [&](float z, float half_height, float half_width) {
    add_box(m, {x, middle, z}, {half_width, 0, 0}, {0, 0.5f * (y1 - y0), 0}, {0, 0, half_height},
            part::painted);
  };
  const auto posts = [&](float step, float half_width, float top) {
    for (float y = y0; y < y1; y += step)
      add_box(m, {x, y, 0.5f * top}, {0.02f, 0, 0}, {0, half_width, 0}, {0, 0, 0.5f * top}, part::painted);
  };
  if (kind == 0) {
    rail(0.5f * height, 0.5f * height, 0.03f);
    posts(2.5f, 0.06f, height + 0.1f);
  } else if (kind == 3) {
    rail(height - 0.15f, 0.16f, 0.04f);
    posts(2.0f, 0.05f, height - 0.1f);
  } else {
    rail(0.25f * height, 0.035f, 0.02f);
    rail(0.9f * height, 0.035f, 0.02f);
    posts(kind == 1 ? r.between(0.13, 0.17) : r.between(0.15, 0.24), kind == 1 ? 0.05f : 0.025f, height);
  }
  surface wood{.label = camvid::fence, .kind = finish::planks, .colour = r.vary(r.pick(paints), 0.07f)};
  wood.second = wood.colour * 0.7f, wood.size = r.between(0.12, 0.25), wood.pattern = r.pattern();
  s.finish_as(wood);
}

}  // namespace segnet::detail
