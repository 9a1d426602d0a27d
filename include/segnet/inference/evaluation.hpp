// SPDX-License-Identifier: MIT
// How good a network's masks are, on labelled photographs at their own size and at the network's.
#pragma once

#include <segnet/data/picture_source.hpp>
#include <segnet/data/resize.hpp>
#include <segnet/inference/segmenter.hpp>
#include <segnet/metrics/report.hpp>
#include <segnet/metrics/segmentation.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <span>
#include <string>
#include <vector>

namespace segnet {

struct evaluation_options {
  double threshold = 0.5;     ///< probabilities above it are the object
  bool mirrored_too = false;  ///< test-time augmentation, see segmenter
  int decode_ahead = 2;       ///< photographs that are decoded in the background meanwhile
  std::function<void(int done, int all)> on_image = {};  ///< after each photograph
};

/// One entry per photograph, in the source's order.
struct photograph_scores {
  std::vector<image_score> at_photograph_size;
  std::vector<image_score> at_network_size;
  std::string photograph_size;  ///< "1918x1280", or "own size" where the photographs differ
  std::string network_size;     ///< "128x128"
};

/// Scores every photograph of `source`. At the network's size the truth is the mask's area average, rounded
/// to 8 bits as for training, car from one half on. A photograph that cannot be read throws, since a score of
/// the others would be one of another data set.
inline photograph_scores evaluate_photographs(segmenter& segment, const picture_source& source,
                                              const evaluation_options& options = {}) {
  if (source.size < 1) throw argument_error("evaluate_photographs: the source holds no pictures");
  const auto label = [](int width, int height) {
    return std::to_string(width) + "x" + std::to_string(height);
  };
  photograph_scores scores;
  scores.network_size = label(segment.width(), segment.height());

  // Decoding takes as long as a small network does. A future waits for its thread when it is destroyed, so
  // that an exception leaves none behind.
  std::deque<std::future<labelled_photo>> ahead;
  int requested = 0;
  for (int i = 0; i < source.size; ++i) {
    for (; requested < source.size && requested <= i + std::max(options.decode_ahead, 0); ++requested)
      ahead.push_back(std::async(std::launch::async, source.read, requested));
    const labelled_photo pair = ahead.front().get();
    ahead.pop_front();

    const std::string name = source.name ? source.name(i) : "picture " + std::to_string(i);
    const image& mask = pair.mask;
    const std::vector<float> small = segment.probability_at_network_size(pair.photo, options.mirrored_too);
    const std::vector<float> full = segment.enlarged(small, pair.photo.height, pair.photo.width);
    scores.at_photograph_size.push_back(
        {name, compare(std::span(full), std::span(mask.data), options.threshold)});

    image small_mask = resize(mask, segment.height(), segment.width());
    for (std::uint8_t& value : small_mask.data) value = value >= 128;
    scores.at_network_size.push_back(
        {name, compare(std::span(small), std::span(small_mask.data), options.threshold)});

    const std::string size = label(mask.width, mask.height);
    if (i == 0) scores.photograph_size = size;
    if (size != scores.photograph_size) scores.photograph_size = "own size";
    if (options.on_image) options.on_image(i + 1, source.size);
  }
  return scores;
}

/// The same for a network.
template <segmentation_network Network>
photograph_scores evaluate_photographs(Network& net, const picture_source& source,
                                       const evaluation_options& options = {}) {
  segmenter segment(net);
  return evaluate_photographs(segment, source, options);
}

/// The metric table at both sizes and the `worst` photographs of the lowest Dice, as text.
inline std::string evaluation_report(const photograph_scores& scores, std::size_t worst = 5) {
  const summary_row rows[] = {{scores.photograph_size, summarise(scores.at_photograph_size)},
                              {scores.network_size, summarise(scores.at_network_size)}};
  return summary_table(rows) + "\nLowest Dice at " + scores.photograph_size + ":\n" +
         image_table(worst_images(scores.at_photograph_size, worst));
}

}  // namespace segnet
