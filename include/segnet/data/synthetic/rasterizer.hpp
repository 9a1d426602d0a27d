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
  const auto sample_x = [&](int i) {
    return static_cast<float>(view.x0) + (static_cast<float>(i) + 0.5f) * step;
  };
  const auto sample_y = [&](int i) {
    return static_cast<float>(view.y0) + (static_cast<float>(i) + 0.5f) * step;
  };
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
    const auto [left, right] = std::minmax({p[0].x, p[1].x, p[2].x});
    const auto [upper, lower] = std::minmax({p[0].y, p[1].y, p[2].y});
    const auto index = [&](float v, int origin, int limit) {
      return std::clamp(static_cast<int>(std::floor((v - static_cast<float>(origin)) / step)), 0, limit);
    };
    const int i1 = index(right, view.x0, columns - 1), j1 = index(lower, view.y0, rows - 1);
    for (int j = index(upper, view.y0, rows); j <= j1; ++j) {
      const float y = sample_y(j);
      const std::size_t row = static_cast<std::size_t>(j) * static_cast<std::size_t>(columns);
      for (int i = index(left, view.x0, columns); i <= i1; ++i) {
        const float x = sample_x(i);
        const float w0 = plane.a[0] * x + plane.b[0] * y + plane.c[0];
        const float w1 = plane.a[1] * x + plane.b[1] * y + plane.c[1];
        const float w2 = plane.a[2] * x + plane.b[2] * y + plane.c[2];
        if (w0 < 0.0f || w1 < 0.0f || w2 < 0.0f) continue;
        const float inverse =
            w0 * plane.inverse_depth[0] + w1 * plane.inverse_depth[1] + w2 * plane.inverse_depth[2];
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
