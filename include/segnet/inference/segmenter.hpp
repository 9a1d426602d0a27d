// SPDX-License-Identifier: MIT
// From a photograph of any size to the probability of each of its pixels.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/shape.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/resize.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace segnet {

/// A network that maps an RGB image to one probability per pixel.
template <class N>
concept segmentation_network = requires(N& net, const float* data) {
  requires N::input_shape.c == 3 && N::output_shape == shape{N::input_shape.h, N::input_shape.w, 1};
  { net.infer({data, 1, N::input_shape}).data } -> std::convertible_to<const float*>;
};

/// Runs a network on photographs one at a time. The photograph is shrunk to the network's input by area
/// averaging, and the *probabilities* are enlarged bilinearly to the photograph's size, before any threshold:
/// their level line lies between the network's pixels.
///
/// Not a template: what works with photographs is written and compiled once for all networks.
class segmenter {
 public:
  /// The network must outlive the segmenter.
  template <segmentation_network Network>
  explicit segmenter(Network& net)
      : size_(Network::input_shape), infer_([&net](const float* x) -> const float* {
          return net.infer({x, 1, Network::input_shape}).data;
        }) {}
  /// Keeps the network alive.
  template <segmentation_network Network>
  explicit segmenter(std::shared_ptr<Network> net)
      : size_(Network::input_shape), infer_([net = std::move(net)](const float* x) -> const float* {
          return net->infer({x, 1, Network::input_shape}).data;
        }) {}

  /// Of the network's input, pixels.
  int height() const { return size_.h; }
  int width() const { return size_.w; }

  /// Probabilities of an RGB photograph, row by row, at its own size. With `mirrored_too` (test-time
  /// augmentation) the mean of those of the photograph and of its mirror image.
  std::vector<float> probability(const image& photo, bool mirrored_too = false) {
    const std::vector<float> small = probability_at_network_size(photo, mirrored_too);
    return enlarged(small, photo.height, photo.width);
  }

  /// The same at the network's size. Throws argument_error for a picture that is empty or not RGB.
  std::vector<float> probability_at_network_size(const image& photo, bool mirrored_too = false) {
    if (photo.channels != 3 || photo.empty())
      throw argument_error("segmenter: found a picture of " + std::to_string(photo.width) + "x" +
                           std::to_string(photo.height) + " pixels with " + std::to_string(photo.channels) +
                           " channels, expected an RGB photograph");
    // Rounded to 8 bits as the training pictures are.
    const image small = resize(photo, size_.h, size_.w);
    std::vector<float> input(small.data.size());
    std::ranges::transform(small.data, input.begin(),
                           [](std::uint8_t v) { return static_cast<float>(v) / 255.0f; });
    std::vector<float> result = run(input);
    if (!mirrored_too) return result;

    mirror(input, 3);
    std::vector<float> mirrored = run(input);
    mirror(mirrored, 1);
    std::ranges::transform(result, mirrored, result.begin(), [](float a, float b) { return 0.5f * (a + b); });
    return result;
  }

  /// Bilinearly, from the network's size to `height` x `width`.
  std::vector<float> enlarged(const std::vector<float>& probability, int height, int width) const {
    return resize(probability.data(), {size_.h, size_.w, 1}, height, width);
  }

 private:
  std::vector<float> run(const std::vector<float>& input) {
    const float* p = infer_(input.data());
    return {p, p + size_.pixels()};
  }

  /// Exchanges left and right, pixels of `channels` values.
  void mirror(std::vector<float>& values, int channels) const {
    for (int y = 0; y < size_.h; ++y) {
      const auto row = values.begin() + static_cast<std::ptrdiff_t>(y) * size_.w * channels;
      for (int left = 0, right = size_.w - 1; left < right; ++left, --right)
        std::swap_ranges(row + left * channels, row + (left + 1) * channels, row + right * channels);
    }
  }

  shape size_;
  std::function<const float*(const float*)> infer_;
};

/// 255 where the probability is above the threshold, else 0.
inline image to_mask(const std::vector<float>& probability, int width, int height, double threshold) {
  image mask(width, height, 1);
  if (mask.data.size() != probability.size())
    throw argument_error("to_mask: found " + std::to_string(probability.size()) +
                         " probabilities, expected " + std::to_string(width) + "x" + std::to_string(height));
  // As compare() of metrics/confusion.hpp does it.
  const auto limit = static_cast<float>(threshold);
  std::ranges::transform(probability, mask.data.begin(),
                         [=](float p) { return static_cast<std::uint8_t>(p > limit ? 255 : 0); });
  return mask;
}

/// Probabilities as grey levels, 255 = certain.
inline image to_grey(const std::vector<float>& probability, int width, int height) {
  image grey(width, height, 1);
  if (grey.data.size() != probability.size())
    throw argument_error("to_grey: found " + std::to_string(probability.size()) +
                         " probabilities, expected " + std::to_string(width) + "x" + std::to_string(height));
  std::ranges::transform(probability, grey.data.begin(), [](float p) {
    return static_cast<std::uint8_t>(std::clamp(p, 0.0f, 1.0f) * 255.0f + 0.5f);
  });
  return grey;
}

}  // namespace segnet
