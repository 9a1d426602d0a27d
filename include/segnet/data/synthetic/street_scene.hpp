// SPDX-License-Identifier: MIT
// A street before it is drawn: the ground's plan, the light, the camera, and the things that stand about.
#pragma once

#include <segnet/data/synthetic/film.hpp>
#include <segnet/data/synthetic/rasterizer.hpp>
#include <segnet/data/synthetic/street_model.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace segnet::detail {

/// What lies to one side of the road, from the kerb outwards.
struct roadside {
  float pavement{};  ///< width
  float setback{};   ///< from the pavement to the buildings
  bool lawn{};       ///< between pavement and buildings; else it is paved
  struct house {
    float from, to, height;
  };
  std::vector<house> houses;  ///< by y, for their shadows
};

struct daylight {
  vec3 ambient, sun;     ///< colours of the light from all around, and of the sun's
  vec3 to_sun;           ///< unit length
  vec3 zenith, skyline;  ///< the sky's colours
  float clouds{};        ///< 0 = clear, 1 = covered
  float fog{};           ///< how much of a colour a metre of air takes away
  bool lit_windows{};
};

struct street_scene {
  street_model things;
  camera eye;                          ///< looks along +y of a frame of its own
  vec3 at;                             ///< where it stands in the street
  float cos_heading{}, sin_heading{};  ///< 0 radians is along the street, positive to the right
  float half_road{}, end{};            ///< of the road: half its width; y where it ends
  int lanes = 2;
  std::array<roadside, 2> sides;                   ///< left, right
  std::vector<std::array<float, 2>> side_streets;  ///< [y0, y1]
  float zebra = -1.0f;                             ///< y of a crossing; < 0: none
  vec3 asphalt, slabs, grass, markings;
  float slab_size{}, wet{};
  std::uint32_t pattern{};
  daylight light;
  film sensor;

  vec3 to_camera(vec3 p) const {
    const float dx = p.x - at.x, dy = p.y - at.y;
    return {dx * cos_heading - dy * sin_heading, dx * sin_heading + dy * cos_heading, p.z};
  }
  /// The unit direction, in the street's frame, through a point of the picture.
  vec3 direction(float px, float py) const {
    const vec3 d = eye.direction(px, py);
    return normalize({d.x * cos_heading + d.y * sin_heading, d.y * cos_heading - d.x * sin_heading, d.z});
  }
  const roadside& side_of(float x) const { return sides[x < 0.0f ? 0 : 1]; }
  bool in_side_street(float y) const {
    for (const auto& [from, to] : side_streets)
      if (y > from && y < to) return true;
    return false;
  }

  /// Whose ground is (x, y)?
  camvid ground(float x, float y) const {
    const float beyond = std::fabs(x) - half_road;
    if (y > end) return camvid::pavement;
    if (beyond < 0.0f || in_side_street(y)) return camvid::road;
    const roadside& side = side_of(x);
    return beyond > side.pavement && side.lawn ? camvid::tree : camvid::pavement;
  }

  /// Does the sun reach p over the houses on its side?
  bool sun_reaches(vec3 p) const {
    const vec3 d = light.to_sun;
    if (std::fabs(d.x) < 0.05f) return true;
    const roadside& side = side_of(d.x);
    const float line = (half_road + side.pavement + side.setback) * (d.x < 0.0f ? -1.0f : 1.0f);
    const float t = (line - p.x) / d.x;
    if (t <= 0.0f) return true;  // beyond the fronts already: a wall lit or not by its own direction
    const float y = p.y + t * d.y, z = p.z + t * d.z;
    for (const auto& house : side.houses)
      if (y > house.from && y < house.to) return z > house.height;
    return true;
  }
};

}  // namespace segnet::detail
