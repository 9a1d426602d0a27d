// SPDX-License-Identifier: MIT
// The colour of each visible point of a generated street: its surface, the light on it, the air before it.
#pragma once

#include <segnet/data/synthetic/shading.hpp>
#include <segnet/data/synthetic/street_scene.hpp>
#include <segnet/data/synthetic/studio.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace segnet::detail {

/// The sky in the unit direction d.
inline vec3 sky_colour(const street_scene& s, vec3 d) {
  const daylight& l = s.light;
  const float up = std::max(d.z, 0.0f);
  const vec3 clear = mix(l.skyline, l.zenith, smooth_step(0.0f, 0.45f, up));
  const vec3 above{d.x / (up + 0.15f), d.y / (up + 0.15f), 0.0f};
  const float cover =
      smooth_step(0.75f - 0.6f * l.clouds, 0.95f - 0.4f * l.clouds, rough_noise(above * 1.3f, s.pattern));
  const float glare = std::pow(std::max(dot(d, l.to_sun), 0.0f), 24.0f);
  return mix(clear, l.skyline * (0.80f + 0.35f * smooth_noise(above * 3.0f, s.pattern + 7)), 0.8f * cover) +
         l.sun * (0.5f * glare);
}

/// The light on a point p with the unit normal n.
inline vec3 light_on(const street_scene& s, vec3 p, vec3 n) {
  const float facing = dot(n, s.light.to_sun);
  vec3 light = s.light.ambient * (0.72f + 0.28f * n.z);
  if (facing > 0.0f && s.sun_reaches(p)) light = light + s.light.sun * facing;
  return light;
}

inline vec3 behind_air(const street_scene& s, vec3 colour, float distance) {
  return mix(s.light.skyline * 0.95f, colour, std::exp(-s.light.fog * distance));
}

/// Is (x, y) of the road painted?
inline bool is_marking(const street_scene& s, float x, float y) {
  if (s.zebra > 0.0f && std::fabs(y - s.zebra) < 1.6f) return std::fmod(x + 100.0f, 1.0f) < 0.5f;
  if (s.zebra > 0.0f && std::fabs(y - s.zebra + 2.6f) < 0.15f) return x > 0.0f;
  if (s.in_side_street(y)) return false;
  if (std::fabs(s.half_road - 0.25f - std::fabs(x)) < 0.06f) return true;
  const float lane = 2.0f * s.half_road / static_cast<float>(s.lanes);
  const float line = std::round((x + s.half_road) / lane);
  if (line < 0.5f || line > static_cast<float>(s.lanes) - 0.5f) return false;
  const float off = std::fabs(x + s.half_road - line * lane);
  return off < 0.07f && std::fmod(y, 9.0f) < 4.0f;
}

inline vec3 ground_colour(const street_scene& s, vec3 p, camvid kind, vec3 view, float distance) {
  const float fine = std::exp(-0.04f * distance);  // what is smaller than a pixel far away averages out
  const float grain = smooth_noise(p * 9.0f, s.pattern) - 0.5f,
              patch = rough_noise(p * 0.35f, s.pattern + 3) - 0.5f;
  vec3 colour;
  if (kind == camvid::road) {
    colour = s.asphalt * (1.0f + 0.22f * grain * fine + 0.35f * patch);
    // Repairs, cracks, and the paler tracks of the wheels.
    if (smooth_noise({std::floor(p.x * 0.5f), std::floor(p.y * 0.2f), 0}, s.pattern + 5) > 0.86f)
      colour = colour * 0.8f;
    if (std::fabs(smooth_noise(p * 0.6f, s.pattern + 6) - 0.5f) < 0.008f)
      colour = colour * mix(1.0f, 0.7f, fine);
    if (is_marking(s, p.x, p.y))
      colour = mix(colour, s.markings, 0.55f + 0.4f * smooth_noise(p * 5.0f, s.pattern + 8));
  } else if (kind == camvid::pavement) {
    const float u = std::fabs(p.x) / s.slab_size, v = p.y / s.slab_size;
    const int row = static_cast<int>(std::floor(v)),
              column = static_cast<int>(std::floor(u + 0.5f * static_cast<float>(row & 1)));
    const float along = u + 0.5f * static_cast<float>(row & 1) - static_cast<float>(column),
                across = v - static_cast<float>(row);
    const bool joint = along < 0.05f || across < 0.05f;
    colour = s.slabs * (1.0f +
                        fine * (0.16f * (grid_noise(column, row, 1, s.pattern) - 0.5f) + 0.12f * grain -
                                (joint ? 0.3f : 0.0f)) +
                        0.3f * patch);
    if (std::fabs(p.x) < s.half_road + 0.16f) colour = mix(colour, {0.62f, 0.61f, 0.59f}, 0.7f);  // the kerb
  } else {
    colour = s.grass * (1.0f + 0.7f * grain * fine + 0.5f * patch);
  }
  float shade = 1.0f;
  for (const ground_shadow& g : s.things.shadows) {
    const float dx = p.x - g.x, dy = p.y - g.y, reach = std::max(g.half_length, g.half_width);
    if (std::fabs(dx) > reach || std::fabs(dy) > reach) continue;
    const float a = (dx * g.cos_yaw + dy * g.sin_yaw) / g.half_length,
                b = (dy * g.cos_yaw - dx * g.sin_yaw) / g.half_width;
    shade *= 1.0f - std::min(g.strength, 0.85f) * smooth_step(1.0f, 0.6f, a * a + b * b);
  }
  colour = colour * light_on(s, p, {0, 0, 1}) * shade;
  if (s.wet > 0.0f && kind != camvid::tree) {
    const float grazing = std::pow(1.0f + view.z, 4.0f), puddle = smooth_step(0.35f, 0.75f, patch + 0.5f);
    const vec3 mirrored = sky_colour(s, {view.x, view.y, -view.z});
    colour =
        mix(colour * (1.0f - 0.35f * s.wet), mirrored, s.wet * grazing * (0.35f + 0.5f * puddle) * shade);
  }
  return colour;
}

/// A wall with windows floor by floor, a ground floor of its own, and dirt.
inline vec3 facade_colour(const street_scene& s, const surface& f, vec3 p, vec3 n, float& glow) {
  const bool across = std::fabs(n.y) > std::fabs(n.x);
  if (n.z > 0.7f) return {0.3f, 0.3f, 0.31f};
  const float along = across ? p.x - f.origin.x : p.y - f.origin.y, storey = f.size * 1.05f;
  const float base = 0.15f * grid_noise(1, 2, 3, f.pattern) + 0.9f;
  const float dirt = rough_noise(p * 0.5f, f.pattern) - 0.5f;
  const vec3 wall = f.colour * (1.0f + 0.25f * dirt);
  const float cell_x = along / f.size, cell_z = p.z / storey;
  const int i = static_cast<int>(std::floor(cell_x)), j = static_cast<int>(std::floor(cell_z));
  const float u = cell_x - static_cast<float>(i) - 0.5f, v = cell_z - static_cast<float>(j) - 0.5f;
  const bool shop = j == 0 && grid_noise(5, 6, 7, f.pattern) < 0.4f;
  const float half = 0.5f * (shop ? 0.85f : f.share),
              tall = shop ? 0.36f : std::min(0.42f, 0.6f * f.share + 0.12f);
  if (shop && v > 0.36f)
    return mix(
        wall,
        {grid_noise(1, 0, 0, f.pattern), grid_noise(2, 0, 0, f.pattern), grid_noise(3, 0, 0, f.pattern)},
        0.6f);
  if (std::fabs(u) < half && std::fabs(v) < tall && (p.z > 0.5f || shop)) {
    if (half - std::fabs(u) < 0.03f || tall - std::fabs(v) < 0.025f)
      return wall * 0.6f + vec3{0.25f, 0.25f, 0.25f};
    const float own = grid_noise(i, j, across ? 1 : 0, f.pattern);
    if (s.light.lit_windows && own < 0.3f) {
      glow = 0.8f;
      return {0.85f, 0.68f, 0.40f};
    }
    // Glass shows the sky, curtains or the dark.
    const float bright = own > 0.75f ? 0.45f : 0.12f * own;
    return mix(f.second, s.light.skyline * 0.8f, bright * base);
  }
  if (std::fabs(v) > 0.47f && j > 0) return wall * 0.86f;
  return wall;
}

/// The surface's own colour at p; `n` is its unit normal.
inline vec3 surface_colour(const street_scene& s, const surface& f, vec3 p, vec3 n, float& glow) {
  glow = f.glow;
  switch (f.kind) {
    case finish::facade:
      return facade_colour(s, f, p, n, glow);
    case finish::planks: {
      const float cell = (std::fabs(n.x) > 0.3f ? p.y : p.x) / f.size;
      const int i = static_cast<int>(std::floor(cell));
      if (cell - static_cast<float>(i) < 0.08f) return f.second;
      return f.colour * (0.85f + 0.3f * grid_noise(i, 0, 0, f.pattern));
    }
    case finish::foliage: {
      const float leaf = rough_noise(p * (1.0f / f.size), f.pattern),
                  depth = rough_noise(p * 1.2f, f.pattern + 2);
      return f.colour * (0.25f + 1.5f * leaf * leaf + 0.8f * depth * depth);
    }
    case finish::plate: {
      const float dx = (p.x - f.origin.x) / f.size, dz = (p.z - f.origin.z) / f.size;
      if (dx * dx + dz * dz > f.share * f.share) return f.second;
      const bool mark = std::fabs(dz) < 0.16f || (std::fabs(dx) < 0.12f && f.pattern % 2 == 0);
      return mark && std::fabs(dx) < 0.42f ? vec3{1, 1, 1} - f.colour * 0.95f : f.colour;
    }
    case finish::plain:
    case finish::car:
      break;
  }
  return f.colour * (0.92f + 0.16f * smooth_noise(p * 6.0f, f.pattern));
}

/// What a sample of the picture sees: its class, and its colour before the film.
struct street_sample {
  camvid label{};
  vec3 colour;
};

inline street_sample sample_ground(const street_scene& s, float px, float py) {
  const vec3 d = s.direction(px, py);
  if (d.z > -0.004f) return {camvid::sky, sky_colour(s, d)};
  const float distance = -s.eye.height / d.z;
  const vec3 p{s.at.x + d.x * distance, s.at.y + d.y * distance, 0.0f};
  const camvid kind = s.ground(p.x, p.y);
  return {kind, behind_air(s, ground_colour(s, p, kind, d, distance), distance)};
}

inline street_sample sample_thing(const street_scene& s, const visibility& view, int triangle, float px,
                                  float py) {
  const auto t = static_cast<std::size_t>(triangle);
  const auto weight = view.projected[t].weights(px, py);
  const auto& corner = s.things.shape.triangles[t];
  const surface& f = s.things.surfaces[static_cast<std::size_t>(s.things.surface_of[t])];
  vec3 p, n;
  float ring = 0.0f;
  for (std::size_t k = 0; k < 3; ++k) {
    const mesh_vertex& v = s.things.shape.vertices[static_cast<std::size_t>(corner[k])];
    p = p + v.position * weight[k], n = n + v.normal * weight[k], ring += v.ring * weight[k];
  }
  n = normalize(n);
  const vec3 eye{s.at.x, s.at.y, s.eye.height}, to_eye = eye - p;
  const float distance = std::sqrt(dot(to_eye, to_eye));
  vec3 colour;
  if (f.kind == finish::car) {
    const placed_car& car = s.things.cars[f.pattern];
    studio street;  // the room whose mirror image lies on the paint
    street.floor_brightness = 0.6f * s.asphalt.y, street.wall_brightness = s.light.skyline.y;
    colour = shade(
                 car.shape, street, s.things.shape.parts[t], car.turn_back(p - car.at), n, ring,
                 [&](vec3 q) { return car.turn(q); }, eye - car.at) *
             (light_on(s, p, normalize(car.turn(n) + vec3{0, 0, 0.4f})) * 0.95f);
  } else {
    if (dot(n, to_eye) < 0.0f) n = n * -1.0f;
    float glow = 0.0f;
    colour = surface_colour(s, f, p, n, glow);
    const vec3 light = light_on(s, p, n);
    colour = colour * (light * (1.0f - glow) + vec3{glow, glow, glow}) *
             mix(0.75f, 1.0f, smooth_step(0.0f, 0.5f, p.z));
  }
  return {f.label, behind_air(s, colour, distance)};
}

}  // namespace segnet::detail
