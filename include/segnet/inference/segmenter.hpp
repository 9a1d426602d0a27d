// SPDX-License-Identifier: MIT
// From a photograph of any size to the probability of each of its pixels.
#pragma once

#include <segnet/data/image.hpp>
#include <segnet/data/resize.hpp>
#include <segnet/network/network.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace segnet {

/// Runs a network on photographs one at a time. The photograph is shrunk to the network's input by area averaging
/// and the *probabilities* are enlarged bilinearly to the photograph's size, before any threshold: their
/// level line lies between the network's pixels.
template <class Network>
class segmenter {
 public:
  explicit segmenter(Network& net) : net_(net), input_(Network::input_shape.size()) {}

  /// Probabilities of an RGB photograph, row by row, at its own size. With `mirrored_too` (test-time
  /// augmentation) the mean of those of the photograph and of its mirror image.
  std::vector<float> probability(const image& photo, bool mirrored_too = false) {
    const std::vector<float> small = probability_at_network_size(photo, mirrored_too);
    return resize(small.data(), {Network::input_shape.h, Network::input_shape.w, 1}, photo.height, photo.width);
  }

  /// The same at the network's size.
  std::vector<float> probability_at_network_size(const image& photo, bool mirrored_too = false) {
    constexpr shape in = Network::input_shape;
    static_assert(in.c == 3 && Network::output_shape == shape{in.h, in.w, 1});
    if (photo.channels != 3)
      throw argument_error("segmenter: found a picture of " + std::to_string(photo.channels) +
                           " channels, expected 3 (RGB)");
    // Rounded to 8 bits as the training pictures are.
    const image small = resize(photo, in.h, in.w);
    std::transform(small.data.begin(), small.data.end(), input_.begin(),
                   [](std::uint8_t v) { return static_cast<float>(v) / 255.0f; });
    std::vector<float> result = run();
    if (!mirrored_too) return result;
    for (int y = 0; y < in.h; ++y) {
      float* row = input_.data() + static_cast<std::ptrdiff_t>(y) * in.w * 3;
      for (int x = 0; x < in.w / 2; ++x) std::swap_ranges(row + 3 * x, row + 3 * x + 3, row + 3 * (in.w - 1 - x));
    }
    const std::vector<float> mirrored = run();
    for (int y = 0; y < in.h; ++y)
      for (int x = 0; x < in.w; ++x) {
        const auto row = static_cast<std::size_t>(y) * static_cast<std::size_t>(in.w);
        float& p = result[row + static_cast<std::size_t>(x)];
        p = 0.5f * (p + mirrored[row + static_cast<std::size_t>(in.w - 1 - x)]);
      }
    return result;
  }

 private:
  std::vector<float> run() {
    const auto p = net_.infer({input_.data(), 1, Network::input_shape});
    return {p.begin(), p.end()};
  }

  Network& net_;
  std::vector<float> input_;
};

/// 0 or 255 where the probability is at most, or above, the threshold.
inline image to_mask(const std::vector<float>& probability, int width, int height, double threshold) {
  image mask(width, height, 1);
  std::transform(probability.begin(), probability.end(), mask.data.begin(), [=](float p) {
    return static_cast<std::uint8_t>(static_cast<double>(p) > threshold ? 255 : 0);
  });
  return mask;
}

}  // namespace segnet
