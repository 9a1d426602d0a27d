// SPDX-License-Identifier: MIT
// What stands in a generated street, as triangles with a surface each. Lengths in metres; x to the right
// across the road, y along it, z up, the origin on the middle of the road below the camera.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/data/camvid.hpp>
#include <segnet/data/synthetic/car_mesh.hpp>
#include <segnet/data/synthetic/car_shape.hpp>
#include <segnet/data/synthetic/texture.hpp>
#include <segnet/data/synthetic/vec3.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

namespace segnet::detail {

/// How a surface's colour varies over it.
enum class finish { plain, facade, planks, foliage, plate, car };

struct surface {
  camvid label{};
  finish kind{};
  vec3 colour{};
  vec3 second{};            ///< windows, joints, a plate's border
  vec3 origin{};            ///< of the pattern
  float size = 1.0f;        ///< of the pattern's cells
  float share = 0.5f;       ///< of a cell that windows take, of a plate that its border leaves
  float glow = 0.0f;        ///< light of its own
  std::uint32_t pattern{};  ///< seeds the noise; for a car: its number
};

struct placed_car {
  car_shape shape;
  vec3 at;
  float cos_yaw{}, sin_yaw{};

  vec3 turn(vec3 p) const { return {p.x * cos_yaw - p.y * sin_yaw, p.x * sin_yaw + p.y * cos_yaw, p.z}; }
  vec3 turn_back(vec3 p) const { return {p.x * cos_yaw + p.y * sin_yaw, p.y * cos_yaw - p.x * sin_yaw, p.z}; }
};

/// A dark ellipse on the ground, its first axis along (cos, sin).
struct ground_shadow {
  float x, y, half_length, half_width, cos_yaw, sin_yaw, strength;
};

struct street_model {
  mesh shape;
  std::vector<int> surface_of;  ///< one per triangle
  std::vector<surface> surfaces;
  std::vector<placed_car> cars;
  std::vector<ground_shadow> shadows;

  /// Leaves out the triangles that have a corner for which `hidden(position)` holds.
  template <class Hidden>
  void remove_if(Hidden hidden) {
    std::size_t kept = 0;
    for (std::size_t t = 0; t < shape.triangles.size(); ++t) {
      const auto& corner = shape.triangles[t];
      if (std::any_of(corner.begin(), corner.end(),
                      [&](int v) { return hidden(shape.vertices[static_cast<std::size_t>(v)].position); }))
        continue;
      shape.triangles[kept] = corner, shape.parts[kept] = shape.parts[t], surface_of[kept] = surface_of[t];
      ++kept;
    }
    shape.triangles.resize(kept), shape.parts.resize(kept), surface_of.resize(kept);
  }

  /// Gives the triangles added since the last call this surface.
  void finish_as(const surface& s) {
    surfaces.push_back(s);
    surface_of.resize(shape.triangles.size(), static_cast<int>(surfaces.size()) - 1);
  }
};

/// Numbers for drawing scenes, as floats.
class scene_random : public random_stream {
 public:
  using random_stream::random_stream;
  float between(double low, double high) { return static_cast<float>(uniform(low, high)); }
  template <class T, std::size_t N>
  T pick(const std::array<T, N>& values) {
    return values[static_cast<std::size_t>(below(static_cast<int>(N)))];
  }
  std::uint32_t pattern() { return static_cast<std::uint32_t>((*this)() >> 40); }
  vec3 vary(vec3 c, float by) {
    const float light = between(-by, by);
    const auto one = [&](float v) {
      return std::clamp(v + light + between(-0.3 * by, 0.3 * by), 0.02f, 0.98f);
    };
    return {one(c.x), one(c.y), one(c.z)};
  }
  vec3 any_colour() { return {between(0.05, 0.9), between(0.05, 0.9), between(0.05, 0.9)}; }
};

/// A square rod from a to b.
inline void add_rod(mesh& m, vec3 a, vec3 b, float half_thickness) {
  const vec3 along = (b - a) * 0.5f, unit = normalize(along);
  const vec3 side = normalize(cross(unit, std::fabs(unit.z) < 0.9f ? vec3{0, 0, 1} : vec3{1, 0, 0}));
  add_box(m, a + along, along, side * half_thickness, cross(unit, side) * half_thickness, part::painted);
}

/// A flat regular polygon that faces against y, its first corner at `turn` radians from x.
inline void add_plate(mesh& m, vec3 centre, float radius, int corners, float turn) {
  const vec3 normal{0.0f, -1.0f, 0.0f};
  const int middle = m.add({centre, normal});
  for (int i = 0; i <= corners; ++i) {
    const float a =
        turn + 2.0f * std::numbers::pi_v<float> * static_cast<float>(i) / static_cast<float>(corners);
    const int v = m.add({centre + vec3{std::cos(a), 0.0f, std::sin(a)} * radius, normal});
    if (i > 0) m.add_triangle(middle, v - 1, v, part::painted);
  }
}

/// An ellipsoid with dents and bulges: a clump of leaves.
inline void add_clump(mesh& m, vec3 centre, vec3 radius, std::uint32_t pattern) {
  const std::size_t first = m.vertices.size();
  add_ellipsoid(m, centre, radius, part::painted);
  for (std::size_t i = first; i < m.vertices.size(); ++i) {
    vec3& p = m.vertices[i].position;
    const float scale = 2.5f / std::max(radius.z, 0.1f);
    p = centre + (p - centre) * (0.62f + 0.75f * smooth_noise((p - centre) * scale, pattern));
  }
}

}  // namespace segnet::detail
