// SPDX-License-Identifier: MIT
// From the light of a scene to the 8 bits of a photograph.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/synthetic/vec3.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace segnet::detail {

struct film {
  float exposure = 1.0f;  ///< a factor
  float warmth = 0.0f;    ///< red gains and blue loses this fraction
  float noise = 0.0f;     ///< standard deviation as a fraction of white
  float blur = 0.0f;      ///< the weight that a pixel gives to its neighbours
};

/// [blur/2, 1 - blur, blur/2] along both axes; edges repeat.
inline void blur_picture(std::vector<vec3>& pixels, int w, int h, float blur) {
  std::vector<vec3> line(static_cast<std::size_t>(std::max(w, h)));
  const auto pass = [&](std::size_t first, std::size_t stride, int count) {
    for (int i = 0; i < count; ++i)
      line[static_cast<std::size_t>(i)] = pixels[first + static_cast<std::size_t>(i) * stride];
    for (int i = 0; i < count; ++i) {
      const vec3 sides = line[static_cast<std::size_t>(std::max(i - 1, 0))] +
                         line[static_cast<std::size_t>(std::min(i + 1, count - 1))];
      pixels[first + static_cast<std::size_t>(i) * stride] =
          line[static_cast<std::size_t>(i)] * (1.0f - blur) + sides * (0.5f * blur);
    }
  };
  for (int y = 0; y < h; ++y) pass(static_cast<std::size_t>(y) * static_cast<std::size_t>(w), 1, w);
  for (int x = 0; x < w; ++x) pass(static_cast<std::size_t>(x), static_cast<std::size_t>(w), h);
}

/// Exposure, white balance, sensor noise and rounding to 8 bits of w x h display colours.
inline image develop(const std::vector<vec3>& pixels, int w, int h, const film& sensor,
                     random_stream random) {
  image photo(w, h, 3);
  const vec3 gain{sensor.exposure * (1.0f + sensor.warmth), sensor.exposure,
                  sensor.exposure * (1.0f - sensor.warmth)};
  // The sum of two uniform numbers from 10 random bits each, close enough to a normal one for noise.
  const float scale = sensor.noise * 2.45f / 1023.0f;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    std::uint64_t bits = random();
    const auto noise = [&] {
      const auto sum = static_cast<int>(bits & 1023) + static_cast<int>(bits >> 10 & 1023);
      bits >>= 20;
      return static_cast<float>(sum - 1023) * scale;
    };
    const vec3 c = pixels[i] * gain;
    const float value[3] = {c.x + noise(), c.y + noise(), c.z + noise()};
    for (std::size_t k = 0; k < 3; ++k)
      photo.data[3 * i + k] = static_cast<std::uint8_t>(std::clamp(value[k], 0.0f, 1.0f) * 255.0f + 0.5f);
  }
  return photo;
}

}  // namespace segnet::detail
