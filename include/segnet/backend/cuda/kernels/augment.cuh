// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cuda/kernels/pack.cuh>
#include <segnet/backend/cuda/training_kernels.hpp>

namespace segnet::gpu::kernels {

namespace detail {

/// Four bytes as numbers in [0, 1].
struct byte_pixel {
  pack<std::uint8_t, 4> bytes;
  SEGNET_HD float operator[](int c) const { return static_cast<float>(bytes.lane[c]) * (1.0F / 255.0F); }
};

struct byte_pixels {
  const std::uint8_t* source;
  int w;
  SEGNET_HD byte_pixel operator()(int v, int u) const {
    return {load<4>(source + 4 * (product(v, w) + to_size(u)))};
  }
};

/// One pixel; `N`: elements that are written at once.
template <class T, int N>
struct augment_pixels {
  int h, w;
  const std::uint8_t* pictures;
  const augmentation* changes;
  T* images;
  int image_channels;
  float* masks;
  std::uint8_t* labels;

  SEGNET_HD void operator()(std::size_t i) const {
    const auto line = divide(i, static_cast<unsigned>(w));
    const auto image = divide(line.whole, static_cast<unsigned>(h));
    const int y = static_cast<int>(image.rest), x = static_cast<int>(line.rest);
    const augmentation change = changes[image.whole];
    const std::uint8_t* const picture = pictures + 4 * image.whole * product(h, w);
    float value[4];
    augment_pixel(change, !change.colour.is_identity(), h, w, x, y, byte_pixels{picture, w}, value);
    if (masks != nullptr) masks[i] = value[3];

    T* const to = images + i * to_size(image_channels);
    constexpr int first = N < 3 ? 3 : N;
    T pixel[first];
    SEGNET_UNROLL
    for (int c = 0; c < first; ++c) pixel[c] = static_cast<T>(c < 3 ? value[c] : 0.0F);
    if constexpr (N == 1) {
      SEGNET_UNROLL
      for (int c = 0; c < 3; ++c) to[c] = pixel[c];
      for (int c = 3; c < image_channels; ++c) to[c] = static_cast<T>(0.0F);
    } else {
      pack<T, N> whole;
      SEGNET_UNROLL
      for (int c = 0; c < N; ++c) whole.lane[c] = pixel[c];
      store(to, whole);
      for (int c = 0; c < N; ++c) whole.lane[c] = static_cast<T>(0.0F);
      for (int c = N; c < image_channels; c += N) store(to + c, whole);
    }

    if (labels == nullptr) return;
    const nearest_tap nearest(change.warp, x, y);
    labels[i] =
        nearest.inside(h, w) ? picture[4 * (product(nearest.y, w) + to_size(nearest.x)) + 3] : ignored_label;
  }
};

}  // namespace detail

template <class T>
void augment(cudaStream_t stream, int count, int h, int w, const std::uint8_t* pictures,
             const augmentation* changes, T* images, int image_channels, float* masks, std::uint8_t* labels) {
  detail::with_packs<T>(detail::fits_packs<T>({images}, {image_channels}), [&](auto n) {
    for_each(stream, detail::product(count, h, w),
             detail::augment_pixels<T, n>{h, w, pictures, changes, images, image_channels, masks, labels});
  });
}

}  // namespace segnet::gpu::kernels
