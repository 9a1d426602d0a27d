// SPDX-License-Identifier: MIT
#include <segnet/core/tensor_view.hpp>
#include <segnet/data/synthetic.hpp>
#include <segnet/inference/evaluation.hpp>
#include <segnet/metrics/confusion.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace segnet;

namespace {

/// Calls the red part of a pixel the probability of car.
struct red_network {
  static constexpr shape input_shape{32, 32, 3}, output_shape{32, 32, 1};
  struct result {
    const float* data;
  };
  result infer(tensor_view<const float> x) {
    for (std::size_t i = 0; i < output.size(); ++i) output[i] = x.data[3 * i];
    return {output.data()};
  }
  std::vector<float> output = std::vector<float>(output_shape.size());
};

/// "Photographs" that are red where the mask is, so that red_network is right up to its resolution; `wrong`
/// ones are red elsewhere.
picture_source painted(const picture_source& cars, int wrong = -1) {
  picture_source source = cars;
  source.read = [cars, wrong](int i) {
    labelled_photo pair = cars.read(i);
    for (std::size_t p = 0; p < pair.mask.data.size(); ++p)
      pair.photo.data[3 * p] =
          i == wrong ? static_cast<std::uint8_t>(255 - pair.mask.data[p]) : pair.mask.data[p];
    return pair;
  };
  return source;
}

}  // namespace

TEST_CASE("a perfect network is perfect at its own size and nearly so at the photograph's", "[inference]") {
  red_network net;
  const picture_source source = painted(synthetic_source(1, 0, 1, 192, 128));
  const photograph_scores scores = evaluate_photographs(net, source);
  REQUIRE(scores.at_network_size.size() == 16);
  REQUIRE(scores.at_photograph_size.size() == 16);
  CHECK(scores.network_size == "32x32");
  CHECK(scores.photograph_size == "192x128");
  for (const image_score& s : scores.at_network_size) {
    CHECK(s.counts.dice() == 1.0);
    CHECK(s.counts.pixels() == 32 * 32);
  }
  for (const image_score& s : scores.at_photograph_size) {
    CHECK(s.counts.pixels() == 192 * 128);
    CHECK(s.counts.dice() > 0.94);
    CHECK(s.counts.dice() < 1.0);
  }
  CHECK(scores.at_network_size[3].name == source.name(3));
}

TEST_CASE("scores are those of the masks that inference writes", "[inference]") {
  red_network net;
  segmenter segment(net);
  const picture_source source = synthetic_source(2, 5, 1, 150, 100);
  for (const bool mirrored : {false, true}) {
    const photograph_scores scores =
        evaluate_photographs(net, source, {.threshold = 0.6, .mirrored_too = mirrored, .decode_ahead = 0});
    for (const int i : {0, 7, 15}) {
      const labelled_photo pair = source.read(i);
      const image mask = to_mask(segment.probability(pair.photo, mirrored), 150, 100, 0.6);
      CHECK(scores.at_photograph_size[static_cast<std::size_t>(i)].counts ==
            compare(std::span(mask.data), std::span(pair.mask.data)));
    }
  }
}

TEST_CASE("the report names the worst photographs", "[inference]") {
  red_network net;
  const picture_source source = painted(synthetic_source(1, 0, 1, 96, 64), 9);
  int calls = 0, last = 0;
  const photograph_scores scores = evaluate_photographs(
      net, source, {.on_image = [&](int done, int all) { ++calls, last = done * 100 + all; }});
  CHECK(calls == 16);
  CHECK(last == 1616);
  CHECK(scores.at_network_size[9].counts.dice() < 0.1);
  const std::string report = evaluation_report(scores, 1);
  CHECK_THAT(report, Catch::Contains("Lowest Dice at 96x64") && Catch::Contains(source.name(9)) &&
                         !Catch::Contains(source.name(8)) && Catch::Contains("32x32"));
}

TEST_CASE("photographs of different sizes, and one that cannot be read", "[inference]") {
  red_network net;
  picture_source source = synthetic_source(1, 0, 1, 64, 48);
  const auto read = source.read;
  source.read = [](int i) { return render_synthetic_car(1, 0, 1 + i, 64 + i, 48); };
  CHECK(evaluate_photographs(net, source).photograph_size == "own size");
  source.read = [read](int i) -> labelled_photo {
    if (i == 5) throw file_error("car_05.jpg", "damaged");
    return read(i);
  };
  CHECK_THROWS_WITH(evaluate_photographs(net, source), "car_05.jpg: damaged");
  source.size = 0;
  CHECK_THROWS_AS(evaluate_photographs(net, source), argument_error);
}
