// SPDX-License-Identifier: MIT
// Augmentation: one affine warp of picture and mask or labels together, then a change of colours. What is
// drawn depends on a random_stream alone, so that {seed, epoch, index} gives the same picture on any thread.
#pragma once

#include <segnet/config.hpp>
#include <segnet/core/error.hpp>
#include <segnet/core/label.hpp>
#include <segnet/core/random.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string>

namespace segnet {

/// Each change happens with its own probability; its amount is uniform within +- the range.
struct augment_options {
  double flip_probability = 0.5;  ///< left and right exchanged
  double shift_probability = 0.5;
  double shift = 0.0625;  ///< fraction of the width and of the height, drawn separately; [0, 1]
  double scale_probability = 0.5;
  double scale = 0.10;  ///< the car grows or shrinks by this fraction; [0, 0.9]
  double rotation_probability = 0.5;
  double rotation = 0.0;  ///< degrees around the picture's centre; [0, 180]
  double colour_probability = 0.5;
  double hue = 18.0;         ///< degrees on the colour circle; [0, 180]
  double saturation = 0.20;  ///< factor 1 +- this; [0, 1]
  double value = 0.15;       ///< factor 1 +- this; [0, 1]
};

/// Throws argument_error naming the first option that is out of its range.
inline void check(const augment_options& o) {
  const auto in = [](const char* name, double value, double high) {
    if (!(value >= 0.0 && value <= high))
      throw argument_error("augment_options." + std::string(name) + " = " + std::to_string(value) +
                           " is out of range; expected 0 to " + std::to_string(high));
  };
  in("flip_probability", o.flip_probability, 1.0);
  in("shift_probability", o.shift_probability, 1.0);
  in("shift", o.shift, 1.0);
  in("scale_probability", o.scale_probability, 1.0);
  in("scale", o.scale, 0.9);
  in("rotation_probability", o.rotation_probability, 1.0);
  in("rotation", o.rotation, 180.0);
  in("colour_probability", o.colour_probability, 1.0);
  in("hue", o.hue, 180.0);
  in("saturation", o.saturation, 1.0);
  in("value", o.value, 1.0);
}

/// From the pixel (x, y) of the result to the point of the source that it shows; pixel centres at integers.
struct affine {
  float xx = 1, xy = 0, x0 = 0;  ///< source x = xx * x + xy * y + x0
  float yx = 0, yy = 1, y0 = 0;  ///< source y = yx * x + yy * y + y0
  SEGNET_HD bool is_identity() const {
    return xx == 1 && xy == 0 && x0 == 0 && yx == 0 && yy == 1 && y0 == 0;
  }
};

/// Hue in degrees, saturation and value as factors.
struct colour_change {
  float hue = 0.0f, saturation = 1.0f, value = 1.0f;
  SEGNET_HD bool is_identity() const { return hue == 0.0f && saturation == 1.0f && value == 1.0f; }
};

struct augmentation {
  affine warp;
  colour_change colour;
};

/// The index that reflect-101 borders put in place of i: ... 2 1 | 0 1 2 ... n-1 | n-2 n-3 ..., for any i.
SEGNET_HD constexpr int reflect_101(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  i %= period;
  if (i < 0) i += period;
  return i < n ? i : period - i;
}

/// The map that flips, then scales by `scale` and rotates by `radians` (anticlockwise as seen) around the
/// centre, then shifts the content by (shift_x, shift_y) pixels to the right and down. `pixel_aspect` is a
/// pixel's width over its height in the photograph: a 1918x1280 picture resized to a square has 1918/1280,
/// and a rotation that ignored it would shear the car.
inline affine make_affine(int w, int h, bool flip, double scale, double radians, double shift_x,
                          double shift_y, double pixel_aspect = 1.0) {
  // The inverse of the described map: undo the shift, the rotation, the scale, the flip.
  const double cx = 0.5 * (w - 1), cy = 0.5 * (h - 1), mirror = flip ? -1.0 : 1.0;
  const double c = std::cos(radians) / scale, s = std::sin(radians) / scale;
  const double xx = mirror * c, xy = mirror * -s / pixel_aspect, yx = s * pixel_aspect, yy = c;
  return {static_cast<float>(xx),
          static_cast<float>(xy),
          static_cast<float>(cx - xx * (cx + shift_x) - xy * (cy + shift_y)),
          static_cast<float>(yx),
          static_cast<float>(yy),
          static_cast<float>(cy - yx * (cx + shift_x) - yy * (cy + shift_y))};
}

/// Draws one augmentation for pictures of w x h pixels. Every number is drawn whether it is used or not, so
/// that one option does not change what the others draw.
inline augmentation draw_augmentation(const augment_options& o, int w, int h, double pixel_aspect,
                                      random_stream random) {
  const bool flip = random.chance(o.flip_probability);
  const auto amount = [&](double probability, double range) {
    const bool used = random.chance(probability);
    const double drawn = random.uniform(-range, range);
    return used ? drawn : 0.0;
  };
  const bool shifted = random.chance(o.shift_probability);
  const double dx = random.uniform(-o.shift, o.shift) * w, dy = random.uniform(-o.shift, o.shift) * h;
  const double scale = 1.0 + amount(o.scale_probability, o.scale);
  const double radians = amount(o.rotation_probability, o.rotation) * std::numbers::pi / 180.0;
  augmentation a;
  a.warp = make_affine(w, h, flip, scale, radians, shifted ? dx : 0.0, shifted ? dy : 0.0, pixel_aspect);
  const bool recoloured = random.chance(o.colour_probability);
  const double hue = random.uniform(-o.hue, o.hue);
  const double saturation = random.uniform(-o.saturation, o.saturation),
               value = random.uniform(-o.value, o.value);
  if (recoloured)
    a.colour = {static_cast<float>(hue), static_cast<float>(1.0 + saturation),
                static_cast<float>(1.0 + value)};
  return a;
}

/// Turns one colour in [0, 1] through the HSV cone (Smith, "Color gamut transform pairs", 1978). Factors
/// rather than offsets: grey stays grey and black stays black.
SEGNET_HD inline void change_colour(float* rgb, const colour_change& change) {
  // Those of the standard library are for the host alone.
  const auto lesser = [](float a, float b) { return b < a ? b : a; };
  const auto greater = [](float a, float b) { return a < b ? b : a; };
  const float r = rgb[0], g = rgb[1], b = rgb[2];
  const float high = greater(r, greater(g, b)), low = lesser(r, lesser(g, b)), chroma = high - low;
  const float new_high = lesser(high * change.value, 1.0f);
  if (chroma <= 1e-6f) {
    rgb[0] = rgb[1] = rgb[2] = new_high;
    return;
  }
  float hue;  // in sextants
  if (high == r)
    hue = (g - b) / chroma;
  else if (high == g)
    hue = 2.0f + (b - r) / chroma;
  else
    hue = 4.0f + (r - g) / chroma;
  hue += change.hue / 60.0f + 12.0f;
  const float new_chroma = lesser(chroma / high * change.saturation, 1.0f) * new_high;
  // Each channel is new_high less a share of the chroma that depends on how far its own hue is.
  const auto channel = [&](float offset) {
    float k = offset + hue;
    k -= 6.0f * static_cast<float>(static_cast<int>(k * (1.0f / 6.0f)));
    const float share = lesser(k, 4.0f - k);
    return new_high - new_chroma * (share < 0.0f ? 0.0f : lesser(share, 1.0f));
  };
  rgb[0] = channel(5.0f), rgb[1] = channel(3.0f), rgb[2] = channel(1.0f);
}

/// Pixel (x, y) of the result: red, green, blue and the mask's coverage to `value`. at(v, u)[c] is channel c
/// of the source's pixel in row v, column u.
template <class At>
SEGNET_HD void augment_pixel(const augmentation& a, bool recolour, int h, int w, int x, int y, const At& at,
                             float (&value)[4]) {
  const float sx = a.warp.xx * static_cast<float>(x) + a.warp.xy * static_cast<float>(y) + a.warp.x0;
  const float sy = a.warp.yx * static_cast<float>(x) + a.warp.yy * static_cast<float>(y) + a.warp.y0;
  const float left = std::floor(sx), upper = std::floor(sy);
  const float fx = sx - left, fy = sy - upper;
  int x0 = static_cast<int>(left), y0 = static_cast<int>(upper), x1 = x0 + 1, y1 = y0 + 1;
  if (x0 < 0 || x1 >= w) x0 = reflect_101(x0, w), x1 = reflect_101(x1, w);
  if (y0 < 0 || y1 >= h) y0 = reflect_101(y0, h), y1 = reflect_101(y1, h);
  const auto p00 = at(y0, x0), p01 = at(y0, x1), p10 = at(y1, x0), p11 = at(y1, x1);
  const float w00 = (1 - fx) * (1 - fy), w01 = fx * (1 - fy), w10 = (1 - fx) * fy, w11 = fx * fy;
  for (int c = 0; c < 4; ++c) value[c] = w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c];
  if (recolour) change_colour(value, a.colour);
}

/// Pixels of four floats.
struct float_pixels {
  const float* source;
  int w;
  SEGNET_HD const float* operator()(int v, int u) const {
    return source + 4 * (static_cast<std::ptrdiff_t>(v) * w + u);
  }
};

/// The source's pixel (x, y) nearest to the point that the warp shows; it may lie outside.
struct nearest_tap {
  int x, y;

  SEGNET_HD nearest_tap(const affine& warp, int to_x, int to_y) {
    const float sx = warp.xx * static_cast<float>(to_x) + warp.xy * static_cast<float>(to_y) + warp.x0;
    const float sy = warp.yx * static_cast<float>(to_x) + warp.yy * static_cast<float>(to_y) + warp.y0;
    x = static_cast<int>(std::floor(sx + 0.5f)), y = static_cast<int>(std::floor(sy + 0.5f));
  }
  SEGNET_HD bool inside(int h, int w) const { return x >= 0 && x < w && y >= 0 && y < h; }
};

/// Warps and recolours one picture. `source` holds h x w pixels of 4 floats in [0, 1]: red, green, blue and
/// the mask's coverage. They lie together because one interpolation then serves all four, as one vector.
/// Writes h x w x 3 to `rgb` and h x w to `mask`, or no mask where `mask` is null. Both are interpolated
/// bilinearly: the mask stays a coverage, with soft edges, as area-averaging made it. Beyond the borders the
/// picture is reflected without repeating its outermost pixels.
///
/// The source is the picture at the network's size, not the photograph: decoding and shrinking a photograph
/// costs tens of milliseconds, and this way it is done once. The price is one bilinear interpolation's blur.
inline void apply_augmentation(const float* source, int h, int w, const augmentation& a, float* rgb,
                               float* mask) {
  const bool recolour = !a.colour.is_identity();
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x, rgb += 3) {
      float value[4];
      augment_pixel(a, recolour, h, w, x, y, float_pixels{source, w}, value);
      rgb[0] = value[0], rgb[1] = value[1], rgb[2] = value[2];
      if (mask) *mask++ = value[3];
    }
  }
}

/// Class numbers under the warp of apply_augmentation(): each pixel takes the class of the source's nearest
/// pixel, since between two class numbers there is nothing. What the warp brings in from beyond the borders
/// is ignored_label: the picture shows a reflection there, which only looks like its class. Label i of the
/// h x w of the source stands at source[i * stride]; writes h x w.
inline void warp_labels(const std::uint8_t* source, std::ptrdiff_t stride, int h, int w, const affine& warp,
                        std::uint8_t* labels) {
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      const nearest_tap t(warp, x, y);
      *labels++ =
          t.inside(h, w) ? source[(static_cast<std::ptrdiff_t>(t.y) * w + t.x) * stride] : ignored_label;
    }
}

}  // namespace segnet
