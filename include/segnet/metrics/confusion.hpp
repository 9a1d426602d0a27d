// SPDX-License-Identifier: MIT
// How well one predicted mask covers the true one: pixel counts, and the ratios that the field makes of them.
#pragma once

#include <segnet/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

namespace segnet {

/// Pixels by what was predicted and what is true. Sums over images or parts of one are exact.
///
/// A ratio whose denominator is 0 is 1 where both prediction and mask are empty (nothing was to be found, and
/// nothing was) and 0 elsewhere.
struct confusion {
  std::uint64_t true_positive = 0, false_positive = 0, false_negative = 0, true_negative = 0;

  /// 2 |P and M| / (|P| + |M|), the score of the Carvana challenge.
  double dice() const {
    return ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative);
  }
  /// |P and M| / |P or M|, Jaccard's index.
  double iou() const { return ratio(true_positive, true_positive + false_positive + false_negative); }
  /// The part of the predicted pixels that are right.
  double precision() const { return ratio(true_positive, true_positive + false_positive); }
  /// The part of the mask's pixels that were found.
  double recall() const { return ratio(true_positive, true_positive + false_negative); }
  /// The part of all pixels that are right.
  double accuracy() const { return ratio(true_positive + true_negative, pixels()); }
  std::uint64_t pixels() const { return true_positive + false_positive + false_negative + true_negative; }

  confusion& operator+=(const confusion& other) {
    true_positive += other.true_positive;
    false_positive += other.false_positive;
    false_negative += other.false_negative;
    true_negative += other.true_negative;
    return *this;
  }
  friend bool operator==(const confusion&, const confusion&) = default;

 private:
  double ratio(std::uint64_t part, std::uint64_t whole) const {
    if (whole == 0) return true_positive + false_positive + false_negative == 0 ? 1 : 0;
    return static_cast<double>(part) / static_cast<double>(whole);
  }
};

namespace detail {
/// Masks of whole numbers (0 and 1, or 0 and 255) hold the object where they are not 0.
template <class T>
constexpr bool above(T value, [[maybe_unused]] T threshold) {
  if constexpr (std::is_integral_v<T>) {
    return value != 0;
  } else {
    return value > threshold;
  }
}
}  // namespace detail

/// Compares one image's prediction with its mask; both hold one value per pixel, in the same order, and are
/// either of floating point in [0, 1] or of whole numbers, 0 being background. Probabilities count as object
/// above `threshold`, soft masks above 0.5. Throws argument_error where the sizes differ.
template <class P, class M>
confusion compare(std::span<P> prediction, std::span<M> mask, double threshold = 0.5) {
  using probability = std::remove_const_t<P>;
  using truth = std::remove_const_t<M>;
  if (prediction.size() != mask.size())
    throw argument_error("compare: the prediction has " + std::to_string(prediction.size()) +
                         " pixels, the mask " + std::to_string(mask.size()));
  const auto limit = static_cast<probability>(threshold);
  constexpr auto half = static_cast<truth>(0.5);
  confusion counts;
  // Narrow counters, emptied now and then, let the compiler count a whole vector at once.
  constexpr std::size_t block = 1 << 16;
  for (std::size_t begin = 0; begin < mask.size(); begin += block) {
    const std::size_t end = std::min(begin + block, mask.size());
    std::uint32_t predicted = 0, actual = 0, both = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t p = detail::above<probability>(prediction[i], limit),
                          m = detail::above<truth>(mask[i], half);
      predicted += p;
      actual += m;
      both += p & m;
    }
    counts += {.true_positive = both,
               .false_positive = predicted - both,
               .false_negative = actual - both,
               .true_negative = static_cast<std::uint32_t>(end - begin) - (predicted + actual - both)};
  }
  return counts;
}

}  // namespace segnet
