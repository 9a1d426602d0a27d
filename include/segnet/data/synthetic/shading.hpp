// SPDX-License-Identifier: MIT
// The colour of one visible point of the car: which material it is, and the studio's light on it.
#pragma once

#include <segnet/data/synthetic/car_mesh.hpp>
#include <segnet/data/synthetic/car_shape.hpp>
#include <segnet/data/synthetic/studio.hpp>
#include <segnet/data/synthetic/vec3.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace segnet::detail {

struct material {
  vec3 colour;
  float mirror = 0.0f;  ///< how much of the room it mirrors, at normal incidence
  float glow = 0.0f;    ///< light of its own
};

constexpr material rubber{{0.07f, 0.07f, 0.075f}, 0.01f};
constexpr material plastic{{0.09f, 0.09f, 0.095f}, 0.03f};
constexpr material gap{{0.03f, 0.03f, 0.03f}, 0.0f};
constexpr material chrome{{0.55f, 0.56f, 0.58f}, 0.45f};

inline material wheel_material(const car_shape& c, vec3 p, vec3 n) {
  if (std::fabs(n.y) < 0.6f) return rubber;
  const float axle = c.x(p.x > 0.0f ? c.front_axle : c.rear_axle);
  const float dx = p.x - axle, dz = p.z - c.wheel_radius;
  const float r = std::sqrt(dx * dx + dz * dz) / c.wheel_radius;
  if (r > 0.70f) return rubber;
  if (r > 0.63f || r < 0.13f) return {c.rim, 0.15f};
  const float turn = std::atan2(dz, dx) / (2.0f * std::numbers::pi_v<float>)*static_cast<float>(c.spokes);
  const float from_spoke = std::fabs(turn - std::round(turn));  // 0 on a spoke, 0.5 between two
  return from_spoke < mix(0.36f, 0.17f, r) ? material{c.rim, 0.15f} : material{{0.05f, 0.05f, 0.05f}, 0.0f};
}

inline bool in_wheel_arch(const car_shape& c, vec3 p) {
  for (const float axle : {c.front_axle, c.rear_axle}) {
    const float dx = p.x - c.x(axle), dz = p.z - c.wheel_radius, reach = 1.13f * c.wheel_radius;
    if (dx * dx + dz * dz < reach * reach) return true;
  }
  return false;
}

/// Glass, pillars and roof: the body above its belt line.
inline material cabin_material(const car_shape& c, float u, vec3 p, float ring) {
  const material paint{c.paint, 0.05f * c.gloss}, roof_paint{c.roof_paint, 0.05f * c.gloss};
  const float front = c.front_slope(u), rear = c.rear_slope(u);
  const float cabin_height = std::max(c.top(u) - c.belt(u), 1e-3f), f = (p.z - c.belt(u)) / cabin_height;
  const material window{{0.11f, 0.12f, 0.13f}, 0.10f};
  if (ring > 8.35f) {  // seen from above or along the car: windscreen, roof, rear window
    if (front < 0.97f && front > 0.05f && front < rear) return window;
    if (rear < 0.93f && rear > 0.12f && rear < front && c.style != body_style::pickup) return window;
    return front > 0.0f && rear > 0.0f ? roof_paint : paint;
  }
  if (f < 0.07f || f > 0.86f || ring < 6.2f)
    return front > 0.0f && rear > 0.0f && f > 0.86f ? roof_paint : paint;
  if (front < f * 0.95f + 0.12f || rear < f * 0.95f + 0.15f) return paint;
  for (const float door : {c.doors[1], c.doors[2]})
    if (std::fabs(u - door) < 0.009f) return plastic;
  // A light seat or the far window now and then shows through.
  const float inside = 0.10f * smooth_step(0.55f, 0.75f, f) +
                       0.06f * (std::fabs(u - c.doors[1] - 0.09f) < 0.025f && f < 0.7f ? 1.0f : 0.0f);
  return {window.colour + vec3{inside, inside, inside}, 0.09f};
}

inline material body_material(const car_shape& c, vec3 p, vec3 n, float ring) {
  const material paint{c.paint, 0.05f * c.gloss};
  const float u = c.u(p.x), across = std::fabs(p.y) / (0.5f * c.width), low = c.bottom(u), belt = c.belt(u);
  const bool front_end = u > 0.5f;
  const float h = (p.z - low) / (belt - low);  // 0 at the sill, 1 at the belt line
  if (std::fabs(n.y) > 0.35f && in_wheel_arch(c, p)) return gap;
  if (ring < 2.3f) return plastic;
  if (ring >= 6.0f && c.roof(u) > 0.0f) return cabin_material(c, u, p, ring);
  if (c.style == body_style::pickup && ring > 7.0f && u < c.rear_base && u > 0.03f)
    return gap;  // the load bed
  if (ring > 7.0f)
    return std::fabs(across - 0.55f) < 0.012f && u > c.front_base ? material{c.paint * 0.8f, 0.03f} : paint;
  if (h < 0.14f) return {c.trim, 0.03f};

  const bool faces_end = std::fabs(n.x) > 0.45f;
  if (front_end) {
    if (u > 0.93f && across > 0.52f && h > 0.60f && h < 0.88f)
      return {across < 0.60f || h < 0.66f ? vec3{0.25f, 0.26f, 0.27f} : vec3{0.78f, 0.79f, 0.80f}, 0.25f,
              0.05f};
    if (faces_end && across < 0.28f && h > 0.22f && h < 0.42f) return {{0.86f, 0.87f, 0.88f}, 0.02f};
    if (faces_end && across < 0.48f && h > 0.50f && h < 0.80f)
      return std::fmod(h * 18.0f, 1.0f) < 0.35f ? chrome : gap;
    if (faces_end && across < 0.62f && h > 0.17f && h < 0.36f) return gap;
  } else {
    if (u < 0.06f && across > 0.58f && h > 0.56f && h < 0.90f) return {{0.50f, 0.03f, 0.04f}, 0.12f, 0.03f};
    if (faces_end && across < 0.28f && h > 0.55f && h < 0.76f) return {{0.86f, 0.87f, 0.88f}, 0.02f};
    if (faces_end && h < 0.24f) return plastic;
    if (faces_end && (std::fabs(h - 0.46f) < 0.012f)) return gap;
  }
  if (std::fabs(n.y) > 0.6f) {
    for (const float door : c.doors) {
      if (door < 0.0f) continue;
      if (std::fabs(u - door) < 0.0016f) return gap;
      if (u > door + 0.012f && u < door + 0.045f && std::fabs(h - 0.80f) < 0.03f && door != c.doors[0])
        return chrome;
    }
    if (std::fabs(h - 0.24f) < 0.012f) return {c.paint * 0.7f, 0.03f};
  }
  return paint;
}

/// The display colour of the point `p` with the normal `n` (both in the car's frame) of part `which`.
/// `to_world` turns the car's frame on the turntable, `eye` stands in the world's frame.
template <class ToWorld>
vec3 shade(const car_shape& c, const studio& room, part which, vec3 p, vec3 n, float ring, ToWorld to_world,
           vec3 eye) {
  material m;
  switch (which) {
    case part::body:
      m = body_material(c, p, n, ring);
      break;
    case part::wheel:
      m = wheel_material(c, p, n);
      break;
    case part::painted:
      m = {c.paint, 0.05f * c.gloss};
      break;
    case part::dark:
      m = plastic;
      break;
    case part::chrome:
      m = chrome;
      break;
  }
  vec3 normal = to_world(n);
  const vec3 view = normalize(eye - to_world(p));
  float facing = dot(normal, view);
  if (facing < 0.0f) normal = normal * -1.0f, facing = -facing;
  const vec3 reflected = normal * (2.0f * facing) - view;
  // Schlick's approximation of Fresnel's reflectance; polished paint keeps only a part of it.
  const float grazing =
      (1.0f - facing) * (1.0f - facing) * (1.0f - facing) * (1.0f - facing) * (1.0f - facing);
  const float mirror = m.mirror > 0.0f ? std::min(m.mirror + 0.5f * grazing, 0.75f) : 0.0f;
  // A wide ceiling lamp, a weaker light from the camera's side, and what the floor throws back.
  const float light = 0.42f + 0.36f * std::max(normal.z, 0.0f) + 0.16f * std::max(-normal.y, 0.0f) +
                      0.10f * std::max(normal.z * 0.8f - normal.x * 0.5f, 0.0f);
  const float floor_shade = mix(0.55f, 1.0f, smooth_step(0.0f, 0.8f, p.z));
  const float room_light = room.mirrored(reflected);
  const float highlight = m.mirror * 8.0f * smooth_step(1.25f, 1.55f, room_light);
  vec3 colour = m.colour * (light * floor_shade * (1.0f - 0.5f * mirror) + m.glow);
  const float added = mirror * room_light * floor_shade + 0.35f * std::min(highlight, 0.6f);
  return colour + vec3{added, added, added};
}

}  // namespace segnet::detail
