// SPDX-License-Identifier: MIT
// Random numbers as a pure function of a key, so that the same seed gives the same pictures, weights and
// orders whatever the number of threads, and a resumed run continues the stream it left.
#pragma once

#include <segnet/config.hpp>

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <numbers>

namespace segnet {

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection with full avalanche.
SEGNET_HD constexpr std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// A SplitMix64 stream that starts from a list of keys, e.g. {seed, epoch, image}: different keys give
/// independent streams, equal keys the same one. Satisfies uniform_random_bit_generator.
class random_stream {
 public:
  using result_type = std::uint64_t;

  SEGNET_HD constexpr random_stream(std::initializer_list<std::uint64_t> keys) {
    for (std::uint64_t key : keys)
      state_ = mix64(state_ + 0x9e3779b97f4a7c15ULL + mix64(key + 0x632be59bd9b4e019ULL));
  }

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  SEGNET_HD constexpr result_type operator()() { return mix64(state_ += 0x9e3779b97f4a7c15ULL); }

  /// Uniform in [0, 1), 53 random bits.
  SEGNET_HD constexpr double uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  /// Uniform in [low, high).
  SEGNET_HD constexpr double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform in {0, ..., n - 1}; n > 0.
  constexpr int below(int n) { return static_cast<int>(uniform() * n); }
  /// True with probability p.
  constexpr bool chance(double p) { return uniform() < p; }
  /// Standard normal, by Box and Muller's transform.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::uint64_t state_ = 0x853c49e6748fea9bULL;
};

/// Fisher and Yates' shuffle of a random-access range; unlike std::shuffle the same on every library.
template <class Range>
constexpr void shuffle(Range& range, random_stream& random) {
  for (int i = static_cast<int>(range.size()) - 1; i > 0; --i) {
    auto a = range.begin() + i;
    auto b = range.begin() + random.below(i + 1);
    auto held = *a;
    *a = *b;
    *b = held;
  }
}

}  // namespace segnet
