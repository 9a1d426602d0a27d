// SPDX-License-Identifier: MIT
// Generated street scenes with exact labels of CamVid's eleven classes: what several-class networks learn,
// are tested and demonstrated with when no labelled photographs are at hand. Every picture is a function of
// (seed, scene).
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/data/camvid.hpp>
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/picture_source.hpp>
#include <segnet/data/synthetic/film.hpp>
#include <segnet/data/synthetic/rasterizer.hpp>
#include <segnet/data/synthetic/street_layout.hpp>
#include <segnet/data/synthetic/street_scene.hpp>
#include <segnet/data/synthetic/street_shading.hpp>
#include <segnet/io/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace segnet {

/// Photograph (RGB) and labels (one channel, the numbers of enum camvid, no pixel without a class) of street
/// number `scene` (>= 0), `width` x `height` pixels (at least 16 each; CamVid's own shape is 4 to 3). A
/// pixel's label is the class that covers most of it, poles and fences between whose bars one sees included;
/// shadows and mirror images belong to what they fall on. Throws argument_error for arguments out of range.
inline labelled_photo render_street(std::uint64_t seed, int scene, int width, int height) {
  if (scene < 0 || width < 16 || height < 16)
    throw argument_error("render_street: scene " + std::to_string(scene) + ", " + std::to_string(width) +
                         "x" + std::to_string(height) +
                         " is out of range; expected scene >= 0 and at least 16x16 pixels");
  using namespace detail;
  const auto number = static_cast<std::uint64_t>(scene);
  const street_scene street = draw_street(seed, number, width, height);
  std::vector<vec3> points(street.things.shape.vertices.size());
  for (std::size_t i = 0; i < points.size(); ++i)
    points[i] = street.eye.project(street.to_camera(street.things.shape.vertices[i].position));
  // Small pictures take more samples per pixel: a pole must not fall between them.
  const int samples = std::clamp((480 + width - 1) / width, 2, 4);
  const visibility view = rasterize(street.things.shape, points, width, height, samples);

  labelled_photo result{{}, image(width, height, 1)};
  std::vector<vec3> pixels(result.mask.pixels());
  const float step = 1.0f / static_cast<float>(samples);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      vec3 sum;
      std::array<int, camvid_classes> count{};
      for (int k = 0; k < samples * samples; ++k) {
        const int i = k % samples, j = k / samples;
        const float px = static_cast<float>(x) + (static_cast<float>(i) + 0.5f) * step;
        const float py = static_cast<float>(y) + (static_cast<float>(j) + 0.5f) * step;
        const int u = (x - view.x0) * samples + i, v = (y - view.y0) * samples + j;
        const bool inside = u >= 0 && v >= 0 && u < view.stride() && v < view.height * samples;
        const int triangle =
            inside ? view.triangle[static_cast<std::size_t>(v) * static_cast<std::size_t>(view.stride()) +
                                   static_cast<std::size_t>(u)]
                   : -1;
        const street_sample seen =
            triangle < 0 ? sample_ground(street, px, py) : sample_thing(street, view, triangle, px, py);
        sum = sum + seen.colour;
        ++count[static_cast<std::size_t>(seen.label)];
      }
      *result.mask.at(x, y) =
          static_cast<std::uint8_t>(std::max_element(count.begin(), count.end()) - count.begin());
      pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] =
          sum * (step * step);
    }
  blur_picture(pixels, width, height, street.sensor.blur);
  static constexpr std::uint64_t noise_key = 0x2015e5;
  result.photo = develop(pixels, width, height, street.sensor, {seed, noise_key, number});
  return result;
}

/// The streets [first, first + count) of the family `seed`: scenes are independent of each other, and those
/// of other numbers are held out. For loaders of labels.
inline picture_source street_source(std::uint64_t seed, int first, int count, int width, int height) {
  return {count, [=](int i) { return render_street(seed, first + i, width, height); },
          [=](int i) { return "generated street " + std::to_string(first + i); }};
}

/// Writes streets in the layout of SegNet's tutorial below `folder` (created if missing): `train` of them as
/// train/*.png with class numbers in trainannot/*.png, the next `validation` in val/ and valannot/, and the
/// class names in classes.txt. find_labelled() reads it. Throws file_error.
inline void write_street_dataset(const std::filesystem::path& folder, std::uint64_t seed, int train,
                                 int validation, int width, int height) {
  for (int scene = 0; scene < train + validation; ++scene) {
    const std::string part = scene < train ? "train" : "val";
    create_folder(folder / part);
    create_folder(folder / (part + "annot"));
    const labelled_photo street = render_street(seed, scene, width, height);
    char name[40];
    std::snprintf(name, sizeof name, "street%05d.png", scene);
    write_png(folder / part / name, street.photo);
    write_png(folder / (part + "annot") / name, street.mask);
  }
  std::string names;
  for (const std::string_view name : camvid_names) names += std::string(name) + "\n";
  atomic_write(folder / "classes.txt", std::as_bytes(std::span(names)), durability::renamed);
}

}  // namespace segnet
