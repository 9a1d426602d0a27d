// SPDX-License-Identifier: MIT
// Which triangle does each sample of the picture see? A z-buffer over the part of the picture that the car
// covers; shading comes later, once per visible sample.
#pragma once

#include <segnet/data/synthetic/car_mesh.hpp>
#include <segnet/data/synthetic/vec3.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

namespace segnet::detail {

/// A pinhole camera at (0, -distance, height) that looks along +y, tilted down by `pitch`; world frame in
/// metres, z up. Pixel centres lie at half-integers.
struct camera {
  float distance{}, height{}, focal{}, centre_x{}, centre_y{};
  float sin_pitch{}, cos_pitch{};

  vec3 position() const { return {0.0f, -distance, height}; }
  /// x, y in pixels; z = distance along the axis of view.
  vec3 project(vec3 world) const {
    const vec3 d = world - position();
    const float depth = d.y * cos_pitch - d.z * sin_pitch;
    const float up = d.y * sin_pitch + d.z * cos_pitch;
    return {centre_x + focal * d.x / depth, centre_y - focal * up / depth, depth};
  }
  /// The (not normalised) direction through a point of the picture.
  vec3 direction(float px, float py) const {
    const float right = (px - centre_x) / focal, up = (centre_y - py) / focal;
    return {right, cos_pitch + up * sin_pitch, up * cos_pitch - sin_pitch};
  }
};

/// The plane equations of one projected triangle: weight_i / depth_i are affine in the picture.
struct projected_triangle {
  float a[3], b[3], c[3];  ///< barycentric weight i at (x, y) is a x + b y + c
  float inverse_depth[3];

  /// Perspective-correct weights of the three corners.
  std::array<float, 3> weights(float x, float y) const {
    std::array<float, 3> w;
    float sum = 0.0f;
    for (std::size_t i = 0; i < 3; ++i) sum += w[i] = (a[i] * x + b[i] * y + c[i]) * inverse_depth[i];
    for (float& v : w) v /= sum;
    return w;
  }
};

/// A window of the picture, sampled `samples` times per pixel and axis.
struct visibility {
  int x0 = 0, y0 = 0, width = 0, height = 0;  ///< the window, in pixels
  int samples = 1;
  std::vector<int> triangle;  ///< per sample, -1 = none
  std::vector<projected_triangle> projected;

  int stride() const { return width * samples; }
};

/// Draws `m`, whose vertices stand at `points` (as project() returns them), into a picture of w x h pixels.
inline visibility rasterize(const mesh& m, const std::vector<vec3>& points, int w, int h, int samples) {
  float low_x = 1e9f, high_x = -1e9f, low_y = 1e9f, high_y = -1e9f;
  for (const vec3& p : points) {
    low_x = std::min(low_x, p.x), high_x = std::max(high_x, p.x);
    low_y = std::min(low_y, p.y), high_y = std::max(high_y, p.y);
  }
  visibility view;
  view.samples = samples;
  view.x0 = std::clamp(static_cast<int>(std::floor(low_x)), 0, w);
  view.y0 = std::clamp(static_cast<int>(std::floor(low_y)), 0, h);
  view.width = std::clamp(static_cast<int>(std::ceil(high_x)), view.x0, w) - view.x0;
  view.height = std::clamp(static_cast<int>(std::ceil(high_y)), view.y0, h) - view.y0;
  const int columns = view.width * samples, rows = view.height * samples;
  view.triangle.assign(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows), -1);
  std::vector<float> nearest(view.triangle.size(), 0.0f);
  view.projected.resize(m.triangles.size());

  const float step = 1.0f / static_cast<float>(samples);
  const float origin_x = static_cast<float>(view.x0), origin_y = static_cast<float>(view.y0);
  for (std::size_t t = 0; t < m.triangles.size(); ++t) {
    const auto& corner = m.triangles[t];
    const vec3 p[3] = {points[static_cast<std::size_t>(corner[0])],
                       points[static_cast<std::size_t>(corner[1])],
                       points[static_cast<std::size_t>(corner[2])]};
    const float area = (p[1].x - p[0].x) * (p[2].y - p[0].y) - (p[2].x - p[0].x) * (p[1].y - p[0].y);
    if (std::fabs(area) < 1e-9f) continue;
    projected_triangle& plane = view.projected[t];
    for (int i = 0; i < 3; ++i) {
      const vec3 &q = p[(i + 1) % 3], &r = p[(i + 2) % 3];
      plane.a[i] = (q.y - r.y) / area;
      plane.b[i] = (r.x - q.x) / area;
      plane.c[i] = (q.x * r.y - r.x * q.y) / area;
      plane.inverse_depth[i] = 1.0f / p[i].z;
    }
    // 1/depth is affine in the picture, and so is each weight: along a row of samples the triangle is one
    // span.
    float slope = 0.0f, along_y = 0.0f, constant = 0.0f;
    for (int i = 0; i < 3; ++i) {
      slope += plane.a[i] * plane.inverse_depth[i];
      along_y += plane.b[i] * plane.inverse_depth[i];
      constant += plane.c[i] * plane.inverse_depth[i];
    }
    const auto [left, right] = std::minmax({p[0].x, p[1].x, p[2].x});
    const auto [upper, lower] = std::minmax({p[0].y, p[1].y, p[2].y});
    const int j0 = std::max(static_cast<int>(std::floor((upper - origin_y) / step)), 0);
    const int j1 = std::min(static_cast<int>(std::ceil((lower - origin_y) / step)), rows - 1);
    for (int j = j0; j <= j1; ++j) {
      const float y = origin_y + (static_cast<float>(j) + 0.5f) * step;
      // Neighbours share an edge: a span that is a hair too long leaves no holes between them.
      constexpr float hair = 1e-3f;
      float from = left, to = right;
      bool empty = false;
      for (int i = 0; i < 3; ++i) {
        const float rest = plane.b[i] * y + plane.c[i];
        if (plane.a[i] > 1e-12f)
          from = std::max(from, -rest / plane.a[i]);
        else if (plane.a[i] < -1e-12f)
          to = std::min(to, -rest / plane.a[i]);
        else
          empty |= rest < 0.0f;
      }
      if (empty || from > to + 2 * hair) continue;
      const int i0 = std::max(static_cast<int>(std::ceil((from - hair - origin_x) / step - 0.5f)), 0);
      const int i1 =
          std::min(static_cast<int>(std::floor((to + hair - origin_x) / step - 0.5f)), columns - 1);
      const std::size_t row = static_cast<std::size_t>(j) * static_cast<std::size_t>(columns);
      const float at_row = along_y * y + constant;
      for (int i = i0; i <= i1; ++i) {
        const float inverse = slope * (origin_x + (static_cast<float>(i) + 0.5f) * step) + at_row;
        float& best = nearest[row + static_cast<std::size_t>(i)];
        if (inverse > best) {
          best = inverse;
          view.triangle[row + static_cast<std::size_t>(i)] = static_cast<int>(t);
        }
      }
    }
  }
  return view;
}

}  // namespace segnet::detail
