// SPDX-License-Identifier: MIT
#include <segnet/loss/class_weights.hpp>

#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

using namespace segnet;
using labels = std::vector<std::uint8_t>;

TEST_CASE("median-frequency weights count a class where it occurs only", "[loss]") {
  class_counts counts(5);
  counts.add(labels{0, 0, 0, 0, 0, 0, 1, 1, 2, 255});
  counts.add(labels{0, 0, 1, 1, 1});
  counts.add(labels{4, 4, 4, 4});
  counts.add(labels{255, 255});
  CHECK(std::vector(counts.pixels().begin(), counts.pixels().end()) ==
        std::vector<std::uint64_t>{8, 5, 1, 0, 4});
  // Frequencies 8/15, 5/15, 1/10 and 4/4; the median of four lies between the middle two.
  const double median = (5.0 / 15 + 8.0 / 15) / 2;
  const auto weights = median_frequency_weights(counts);
  REQUIRE(weights.size() == 5);
  CHECK(weights[0] == Approx(median * 15 / 8));
  CHECK(weights[1] == Approx(median * 3));
  CHECK(weights[2] == Approx(median * 10));
  CHECK(weights[3] == 1);
  CHECK(weights[4] == Approx(median));
}

TEST_CASE("labels that are no class are refused before anything is counted", "[loss]") {
  class_counts counts(3, 7);
  CHECK_THROWS_WITH(counts.add(labels{0, 1, 3, 255}),
                    "class_counts: found the label 3, expected 0 to 2, or 7 for pixels to ignore");
  CHECK(counts.pixels()[0] == 0);
  counts.add(labels{7, 7});
  CHECK_THROWS_WITH(median_frequency_weights(counts), "median_frequency_weights: no pixel has a class");
  CHECK_THROWS_AS(class_counts(1), argument_error);
  CHECK_THROWS_AS(class_counts(256), argument_error);
}
