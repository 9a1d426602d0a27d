// SPDX-License-Identifier: MIT
// Generated studio photographs of cars with exact masks: data to learn, test and demonstrate with when the
// real data set is not at hand. Every picture is a function of (seed, car, view).
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/random.hpp>
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/picture_source.hpp>
#include <segnet/data/synthetic/car_mesh.hpp>
#include <segnet/data/synthetic/car_shape.hpp>
#include <segnet/data/synthetic/film.hpp>
#include <segnet/data/synthetic/rasterizer.hpp>
#include <segnet/data/synthetic/shading.hpp>
#include <segnet/data/synthetic/studio.hpp>
#include <segnet/data/synthetic/vec3.hpp>
#include <segnet/io/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <numbers>
#include <string>
#include <vector>

namespace segnet {

struct synthetic_car_options {
  double neutral_paint = 0.6;  ///< share of white, silver, grey and black cars: those that hide in the studio
  double thin_parts = 0.6;     ///< probability of an antenna, a roof rack, ...
  double letters = 0.7;        ///< probability of lettering on the wall
  double exposure = 0.12;      ///< brightness varies by this fraction either way
  double noise = 0.012;        ///< the most sensor noise, standard deviation as a fraction of white
  double blur = 0.2;           ///< the most weight that a pixel gives to its neighbours
};

inline constexpr int synthetic_views =
    16;  ///< views 1 to 16, 22.5 degrees apart; 1 = front, 5 = side, 9 = rear

namespace detail {

/// Everything that is drawn at random for one photograph besides the car itself.
struct synthetic_scene {
  camera eye;
  studio room;
  film sensor;
  float cos_yaw{}, sin_yaw{};

  vec3 to_world(vec3 p) const { return {p.x * cos_yaw - p.y * sin_yaw, p.x * sin_yaw + p.y * cos_yaw, p.z}; }
};

inline synthetic_scene draw_scene(std::uint64_t seed, int car, int view, int width, int height,
                                  const car_shape& shape, const synthetic_car_options& options) {
  static constexpr std::uint64_t session_key = 0x5e5510, shot_key = 0x5407;
  // The 16 photographs of a car are one session in front of a fixed camera: what varies between sessions must
  // not vary between views.
  random_stream session{seed, session_key, static_cast<std::uint64_t>(car)};
  random_stream shot{seed, shot_key, static_cast<std::uint64_t>(car), static_cast<std::uint64_t>(view)};
  const auto between = [](random_stream& r, double low, double high) {
    return static_cast<float>(r.uniform(low, high));
  };
  synthetic_scene scene;
  const float w = static_cast<float>(width), h = static_cast<float>(height);
  scene.eye.distance = between(session, 6.6, 7.6);
  scene.eye.height = between(session, 1.35, 1.75);
  scene.eye.focal = w * scene.eye.distance / between(session, 6.5, 7.4);
  scene.eye.centre_x = w * between(session, 0.46, 0.54);
  scene.eye.centre_y = h * between(session, 0.45, 0.52);
  const float pitch = std::atan2(scene.eye.height - 0.72f, scene.eye.distance);
  scene.eye.sin_pitch = std::sin(pitch), scene.eye.cos_pitch = std::cos(pitch);
  // The turntable turns the nose from the camera (view 1) to the left (view 5) and on.
  const float yaw =
      -std::numbers::pi_v<float> * (0.5f + static_cast<float>(view - 1) / 8.0f) + between(shot, -0.02, 0.02);
  scene.cos_yaw = std::cos(yaw), scene.sin_yaw = std::sin(yaw);

  studio& room = scene.room;
  room.wall_brightness = between(session, 0.84, 0.96);
  room.floor_brightness = between(session, 0.50, 0.68);
  room.tint = between(session, -0.7, 0.7);
  room.shadow = between(session, 0.45, 0.75);
  room.letters = session.chance(options.letters) ? between(session, 0.3, 0.75) : 0.0f;
  room.letter_angle = between(session, -0.74, -0.56);
  room.half_length = 0.5f * shape.length, room.half_width = 0.5f * shape.width;
  room.cos_yaw = scene.cos_yaw, room.sin_yaw = scene.sin_yaw;

  scene.sensor.exposure =
      1.0f + between(session, -options.exposure, options.exposure) + between(shot, -0.01, 0.01);
  scene.sensor.warmth = between(session, -0.015, 0.015);
  scene.sensor.noise = between(session, 0.2 * options.noise, options.noise);
  scene.sensor.blur = between(session, 0.0, options.blur);
  return scene;
}

/// One picture's worth of shaded samples of the car.
class car_painter {
 public:
  /// `mirror` = -1 draws the car's image in the floor.
  car_painter(const car_shape& shape, const mesh& m, const synthetic_scene& scene, int w, int h, int samples,
              float mirror)
      : shape_(shape), mesh_(m), scene_(scene), mirror_(mirror), points_(m.vertices.size()) {
    for (std::size_t i = 0; i < points_.size(); ++i) {
      vec3 p = m.vertices[i].position;
      p.z *= mirror;
      points_[i] = scene.eye.project(scene.to_world(p));
    }
    view = rasterize(m, points_, w, h, samples);
  }

  /// Adds up the samples of pixel (x, y) of the window; returns how many the car covers.
  int pixel(int x, int y, vec3& sum, float& height) const {
    int covered = 0;
    for (int j = 0; j < view.samples; ++j)
      for (int i = 0; i < view.samples; ++i) {
        const int column = x * view.samples + i, row = y * view.samples + j;
        const int t = view.triangle[static_cast<std::size_t>(row) * static_cast<std::size_t>(view.stride()) +
                                    static_cast<std::size_t>(column)];
        if (t < 0) continue;
        ++covered;
        const float step = 1.0f / static_cast<float>(view.samples);
        const float px = static_cast<float>(view.x0) + (static_cast<float>(column) + 0.5f) * step;
        const float py = static_cast<float>(view.y0) + (static_cast<float>(row) + 0.5f) * step;
        const auto weight = view.projected[static_cast<std::size_t>(t)].weights(px, py);
        const auto& corner = mesh_.triangles[static_cast<std::size_t>(t)];
        vec3 p, n;
        float ring = 0.0f;
        for (std::size_t k = 0; k < 3; ++k) {
          const mesh_vertex& v = mesh_.vertices[static_cast<std::size_t>(corner[k])];
          p = p + v.position * weight[k], n = n + v.normal * weight[k], ring += v.ring * weight[k];
        }
        vec3 eye = scene_.eye.position();
        eye.z *= mirror_;  // the image seen from above is the car seen from below
        sum = sum + shade(
                        shape_, scene_.room, mesh_.parts[static_cast<std::size_t>(t)], p, normalize(n), ring,
                        [&](vec3 q) { return scene_.to_world(q); }, eye);
        height += p.z;
      }
    return covered;
  }

  visibility view;

 private:
  const car_shape& shape_;
  const mesh& mesh_;
  const synthetic_scene& scene_;
  float mirror_;
  std::vector<vec3> points_;
};

}  // namespace detail

/// Photograph and mask (0/255) of car number `car` (>= 0) from `view` (1 to 16), `width` x `height` pixels
/// (at least 16 each; Carvana's own shape is 1918 x 1280). The mask marks the pixels that the car covers by
/// half or more, thin parts included, shadow and reflection not. Throws argument_error for arguments out of
/// range.
inline labelled_photo render_synthetic_car(std::uint64_t seed, int car, int view, int width, int height,
                                           const synthetic_car_options& options = {}) {
  if (car < 0 || view < 1 || view > synthetic_views || width < 16 || height < 16)
    throw argument_error("render_synthetic_car: car " + std::to_string(car) + ", view " +
                         std::to_string(view) + ", " + std::to_string(width) + "x" + std::to_string(height) +
                         " is out of range; expected car >= 0, view 1 to 16 and at least 16x16 pixels");
  using namespace detail;
  const car_shape shape =
      draw_car(seed, static_cast<std::uint64_t>(car), options.neutral_paint, options.thin_parts);
  const synthetic_scene scene = draw_scene(seed, car, view, width, height, shape, options);
  const mesh body = build_car(shape);
  // Small pictures take more samples per pixel: a thin part must not fall between them.
  const int samples = std::clamp((960 + width - 1) / width, 2, 4);
  const car_painter painter(shape, body, scene, width, height, samples, 1.0f);
  const car_painter reflection(shape, body, scene, width, height, 1, -1.0f);

  labelled_photo result{{}, image(width, height, 1)};
  std::vector<vec3> pixels(result.mask.pixels());
  const auto inside = [](const visibility& v, int x, int y) {
    return x >= v.x0 && y >= v.y0 && x < v.x0 + v.width && y < v.y0 + v.height;
  };
  const vec3 eye = scene.eye.position();
  const int all = samples * samples;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      vec3 sum;
      float unused = 0.0f;
      int covered = 0;
      if (inside(painter.view, x, y))
        covered = painter.pixel(x - painter.view.x0, y - painter.view.y0, sum, unused);
      if (2 * covered >= all) *result.mask.at(x, y) = 255;
      if (covered < all) {
        vec3 ground = scene.room.look(
            eye, scene.eye.direction(static_cast<float>(x) + 0.5f, static_cast<float>(y) + 0.5f));
        if (inside(reflection.view, x, y)) {
          vec3 mirrored;
          float above = 0.0f;
          if (reflection.pixel(x - reflection.view.x0, y - reflection.view.y0, mirrored, above) > 0)
            ground = mix(ground, mirrored, 0.20f * std::exp(-1.6f * std::max(above, 0.0f)));
        }
        sum = sum + ground * static_cast<float>(all - covered);
      }
      pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] =
          sum * (1.0f / static_cast<float>(all));
    }
  blur_picture(pixels, width, height, scene.sensor.blur);
  static constexpr std::uint64_t noise_key = 0x2015e;
  result.photo =
      develop(pixels, width, height, scene.sensor,
              {seed, noise_key, static_cast<std::uint64_t>(car), static_cast<std::uint64_t>(view)});
  return result;
}

/// All 16 views of the cars [first_car, first_car + cars): picture i shows car first_car + i / 16, view i %
/// 16 + 1.
inline picture_source synthetic_source(std::uint64_t seed, int first_car, int cars, int width, int height,
                                       const synthetic_car_options& options = {}) {
  const auto car = [first_car](int i) { return first_car + i / synthetic_views; };
  const auto view = [](int i) { return i % synthetic_views + 1; };
  return {
      cars * synthetic_views,
      [=](int i) { return render_synthetic_car(seed, car(i), view(i), width, height, options); },
      [=](int i) { return "generated car " + std::to_string(car(i)) + ", view " + std::to_string(view(i)); }};
}

/// Writes `cars` cars with all 16 views in Kaggle's layout below `folder` (created if missing), photographs
/// as JPEG, masks as PNG; car ids are "synthetic0000" and so on. Throws file_error.
inline void write_synthetic_dataset(const std::filesystem::path& folder, std::uint64_t seed, int cars,
                                    int width, int height, const synthetic_car_options& options = {}) {
  for (const char* part : {"train", "train_masks"}) create_folder(folder / part);
  for (int car = 0; car < cars; ++car)
    for (int view = 1; view <= synthetic_views; ++view) {
      const labelled_photo pair = render_synthetic_car(seed, car, view, width, height, options);
      char name[40];
      std::snprintf(name, sizeof name, "synthetic%04d_%02d", car, view);
      write_jpeg(folder / "train" / (std::string(name) + ".jpg"), pair.photo, 92);
      write_png(folder / "train_masks" / (std::string(name) + "_mask.png"), pair.mask);
    }
}

}  // namespace segnet
