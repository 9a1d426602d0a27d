// SPDX-License-Identifier: MIT
// A car_shape as triangles: a body lofted through cross-sections, wheels, mirrors and thin parts.
#pragma once

#include <segnet/data/synthetic/car_shape.hpp>
#include <segnet/data/synthetic/vec3.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

namespace segnet::detail {

enum class part : int { body, wheel, painted, dark, chrome };

struct mesh_vertex {
  vec3 position;   ///< metres, in the car's frame
  vec3 normal;     ///< unit length, outwards
  float ring = 0;  ///< the body's cross-section from 0 (below) over 6 (belt line) to 11 (middle of the roof)
};

struct mesh {
  std::vector<mesh_vertex> vertices;
  std::vector<std::array<int, 3>> triangles;
  std::vector<part> parts;  ///< one per triangle

  int add(mesh_vertex v) {
    vertices.push_back(v);
    return static_cast<int>(vertices.size()) - 1;
  }
  void add_triangle(int a, int b, int c, part p) {
    triangles.push_back({a, b, c});
    parts.push_back(p);
  }
  void add_quad(int a, int b, int c, int d, part p) {
    add_triangle(a, b, c, p);
    add_triangle(a, c, d, p);
  }
};

/// A box around `centre` with the half extents `ex`, `ey`, `ez` as vectors; slanted ones make antennas.
inline void add_box(mesh& m, vec3 centre, vec3 ex, vec3 ey, vec3 ez, part p) {
  const std::array<vec3, 3> axis{ex, ey, ez};
  for (std::size_t a = 0; a < 3; ++a)
    for (const float side : {-1.0f, 1.0f}) {
      const vec3 n = axis[a] * side, s = axis[(a + 1) % 3], t = axis[(a + 2) % 3] * side;
      const vec3 unit = normalize(n);
      const int v0 = m.add({centre + n - s - t, unit}), v1 = m.add({centre + n + s - t, unit});
      const int v2 = m.add({centre + n + s + t, unit}), v3 = m.add({centre + n - s + t, unit});
      m.add_quad(v0, v1, v2, v3, p);
    }
}

inline void add_ellipsoid(mesh& m, vec3 centre, vec3 radius, part p) {
  constexpr int around = 14, up = 8;
  const int first = static_cast<int>(m.vertices.size());
  for (int i = 0; i <= up; ++i)
    for (int j = 0; j <= around; ++j) {
      const float a = std::numbers::pi_v<float> * static_cast<float>(i) / up - std::numbers::pi_v<float> / 2;
      const float b = 2 * std::numbers::pi_v<float> * static_cast<float>(j) / around;
      const vec3 n{std::cos(a) * std::cos(b), std::cos(a) * std::sin(b), std::sin(a)};
      m.add({centre + n * radius, normalize({n.x / radius.x, n.y / radius.y, n.z / radius.z})});
    }
  for (int i = 0; i < up; ++i)
    for (int j = 0; j < around; ++j) {
      const int v = first + i * (around + 1) + j;
      m.add_quad(v, v + 1, v + around + 2, v + around + 1, p);
    }
}

/// A wheel around the axis through (x, *, r): both faces flat, the tread slightly rounded.
inline void add_wheel(mesh& m, float x, float inner, float outer, float r) {
  constexpr int around = 28;
  const float sign = outer > inner ? 1.0f : -1.0f;
  struct ring {
    float y, radius;
    vec3 normal;  // x stands for the radial direction
  };
  const std::array<ring, 6> rings{{{inner, 0.0f, {0, -sign, 0}},
                                   {inner, 0.94f * r, {0, -sign, 0}},
                                   {inner + 0.02f * sign, r, {1, 0, 0}},
                                   {outer - 0.03f * sign, r, {1, 0, 0}},
                                   {outer, 0.93f * r, {0, sign, 0}},
                                   {outer - 0.02f * sign, 0.0f, {0, sign, 0}}}};
  const int first = static_cast<int>(m.vertices.size());
  for (const ring& ring_ : rings)
    for (int j = 0; j <= around; ++j) {
      const float b = 2 * std::numbers::pi_v<float> * static_cast<float>(j) / around;
      const float cx = std::cos(b), cz = std::sin(b);
      m.add({{x + ring_.radius * cx, ring_.y, r + ring_.radius * cz},
             normalize({ring_.normal.x * cx, ring_.normal.y, ring_.normal.x * cz})});
    }
  for (int i = 0; i + 1 < static_cast<int>(rings.size()); ++i)
    for (int j = 0; j < around; ++j) {
      const int v = first + i * (around + 1) + j;
      m.add_quad(v, v + 1, v + around + 2, v + around + 1, part::wheel);
    }
}

constexpr int ring_points = 12;

/// The left half of the cross-section at u, from the middle of the underside to the middle of the roof.
inline std::array<vec3, ring_points> cross_section(const car_shape& c, float u, float shrink) {
  const float hw = c.half_width(u), low = c.bottom(u), belt = c.belt(u), roof = c.top(u) - belt;
  const float side = belt - low;
  // Where there is a cabin (s = 1) the upper points stand as walls and roof, else they lie flat as a bonnet.
  const float s = smooth_step(0.0f, 0.22f, roof), top = hw * c.tumblehome;
  const std::array<float, ring_points> y{0.0f,
                                         0.86f * hw,
                                         0.955f * hw,
                                         1.0f * hw,
                                         0.995f * hw,
                                         0.975f * hw,
                                         0.93f * hw,
                                         mix(0.84f * hw, mix(0.91f * hw, top, 0.35f), s),
                                         mix(0.70f * hw, mix(0.91f * hw, top, 0.85f), s),
                                         mix(0.54f * hw, top * 0.93f, s),
                                         mix(0.32f * hw, top * 0.6f, s),
                                         0.0f};
  const std::array<float, ring_points> z{low,
                                         low,
                                         low + 0.05f,
                                         low + 0.36f * side,
                                         low + 0.66f * side,
                                         belt - 0.06f,
                                         belt,
                                         belt + mix(0.018f, 0.36f * roof, s),
                                         belt + mix(0.028f, 0.80f * roof, s),
                                         belt + mix(0.034f, 0.94f * roof, s),
                                         belt + mix(0.040f, 0.985f * roof, s),
                                         belt + mix(0.042f, roof, s)};
  std::array<vec3, ring_points> points;
  const float centre = 0.5f * (low + belt);
  for (std::size_t j = 0; j < ring_points; ++j)
    points[j] = {c.x(u), y[j] * (1.0f - 0.5f * shrink), centre + (z[j] - centre) * (1.0f - shrink)};
  return points;
}

inline void add_body(mesh& m, const car_shape& c) {
  // Stations along the car, closer where the shape bends; the last ones round the bumpers off.
  std::vector<float> stations;
  for (int i = 0; i <= 44; ++i) stations.push_back(0.015f + 0.97f * static_cast<float>(i) / 44);
  for (const float centre : {c.rear_base, c.rear_top, c.front_top, c.front_base})
    for (const float offset : {-0.012f, -0.004f, 0.004f, 0.012f})
      if (centre + offset > 0.0f && centre + offset < 1.0f) stations.push_back(centre + offset);
  for (const float end : {0.0f, 0.002f, 0.006f}) stations.push_back(end), stations.push_back(1.0f - end);
  std::sort(stations.begin(), stations.end());

  constexpr int around = 2 * ring_points - 1;  // left half and mirrored right half, sharing the roof's middle
  const int rows = static_cast<int>(stations.size());
  const int first = static_cast<int>(m.vertices.size());
  for (const float u : stations) {
    const float end = std::min(u, 1.0f - u) / 0.015f;
    const float shrink = end < 1.0f ? 0.12f * (1.0f - std::sqrt(end * (2.0f - end))) : 0.0f;
    const auto half = cross_section(c, u, shrink);
    for (int j = 0; j < around; ++j) {
      const int k = j < ring_points ? j : around - 1 - j;
      vec3 p = half[static_cast<std::size_t>(k)];
      if (j >= ring_points) p.y = -p.y;
      m.add({p, {}, static_cast<float>(k)});
    }
  }
  const auto at = [&](int i, int j) -> mesh_vertex& {
    return m.vertices[static_cast<std::size_t>(first + std::clamp(i, 0, rows - 1) * around +
                                               std::clamp(j, 0, around - 1))];
  };
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < around; ++j) {
      const vec3 along = at(i + 1, j).position - at(i - 1, j).position;
      const vec3 across = at(i, j + 1).position - at(i, j - 1).position;
      at(i, j).normal = normalize(cross(along, across));
    }
  for (int i = 0; i + 1 < rows; ++i)
    for (int j = 0; j + 1 < around; ++j) {
      const int v = first + i * around + j;
      m.add_quad(v, v + around, v + around + 1, v + 1, part::body);
    }
  // The flat middle of both bumpers, with normals of its own.
  for (const int i : {0, rows - 1}) {
    const vec3 n{i == 0 ? -1.0f : 1.0f, 0.0f, 0.0f};
    const int centre =
        m.add({{c.x(i == 0 ? 0.0f : 1.0f), 0.0f, 0.5f * (c.bottom(0.0f) + at(i, 6).position.z)}, n, 4.0f});
    int previous = -1;
    for (int j = 0; j < around; ++j) {
      const mesh_vertex edge = at(i, j);
      const int v = m.add({edge.position, normalize(n + edge.normal * 0.3f), 4.0f});
      if (previous >= 0) m.add_triangle(centre, previous, v, part::body);
      previous = v;
    }
  }
}

inline mesh build_car(const car_shape& c) {
  mesh m;
  m.vertices.reserve(4000);
  m.triangles.reserve(6000);
  m.parts.reserve(6000);
  add_body(m, c);
  for (const float u : {c.rear_axle, c.front_axle})
    for (const float side : {-1.0f, 1.0f}) {
      const float outer = c.half_width(u) + 0.008f;
      add_wheel(m, c.x(u), side * (outer - 0.22f), side * outer, c.wheel_radius);
    }

  const float mirror_u = c.front_base - 0.055f, mirror_z = c.belt(mirror_u) + 0.07f;
  for (const float side : {-1.0f, 1.0f}) {
    const float door = c.half_width(mirror_u);
    add_ellipsoid(m, {c.x(mirror_u), side * (door + 0.10f), mirror_z}, {0.07f, 0.11f, 0.075f}, part::painted);
    add_box(m, {c.x(mirror_u), side * door, mirror_z - 0.04f}, {0.03f, 0, 0}, {0, 0.08f, 0}, {0, 0, 0.015f},
            part::dark);
  }
  if (c.roof_rack) {
    const float from = c.x(c.rear_top + 0.02f), to = c.x(c.front_top - 0.02f);
    for (const float side : {-1.0f, 1.0f}) {
      const float y = side * 0.86f * 0.5f * c.width * c.tumblehome;
      const float z = c.height + 0.045f;
      add_box(m, {0.5f * (from + to), y, z}, {0.5f * (to - from), 0, 0}, {0, 0.018f, 0}, {0, 0, 0.014f},
              part::chrome);
      for (const float t : {0.06f, 0.5f, 0.94f})
        add_box(m, {mix(from, to, t), y, z - 0.05f}, {0.03f, 0, 0}, {0, 0.015f, 0}, {0, 0, 0.06f},
                part::dark);
    }
  }
  if (c.spoiler) {
    const bool boot = c.style == body_style::sedan || c.style == body_style::coupe;
    const float u = boot ? 0.035f : c.rear_top - 0.02f;
    const float z = (boot ? c.top(u) + 0.12f : c.height - 0.01f),
                half = 0.40f * c.width * (boot ? 1.0f : 0.9f);
    add_box(m, {c.x(u) - 0.05f, 0, z}, {0.13f, 0, 0.015f}, {0, half, 0}, {0, 0, 0.014f}, part::painted);
    if (boot)
      for (const float side : {-1.0f, 1.0f})
        add_box(m, {c.x(u), side * 0.8f * half, z - 0.07f}, {0.05f, 0, 0}, {0, 0.015f, 0}, {0, 0, 0.07f},
                part::painted);
  }
  if (c.antenna) {
    const float u = c.style == body_style::pickup ? c.front_base + 0.02f : c.rear_top + 0.02f;
    const float y = c.style == body_style::pickup ? 0.4f * c.width : 0.0f;
    const vec3 rod = normalize({-c.antenna_tilt, 0.0f, 1.0f}) * (0.5f * c.antenna_length);
    const vec3 foot{c.x(u), y, c.top(u) - 0.01f};
    add_box(m, foot + rod, rod, {0.011f, 0, 0.011f * c.antenna_tilt}, {0, 0.011f, 0}, part::dark);
  }
  if (c.shark_fin)
    add_box(m, {c.x(c.rear_top + 0.03f), 0, c.top(c.rear_top + 0.03f) + 0.03f}, {0.09f, 0, -0.01f},
            {0, 0.02f, 0}, {-0.03f, 0, 0.05f}, part::painted);
  return m;
}

}  // namespace segnet::detail
