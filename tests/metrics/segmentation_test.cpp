// SPDX-License-Identifier: MIT
#include <segnet/core/random.hpp>
#include <segnet/metrics/report.hpp>
#include <segnet/metrics/segmentation.hpp>

#include <catch2/catch.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

using namespace segnet;

namespace {

std::vector<image_score> three() {
  return {{"b", {.true_positive = 3, .false_positive = 1, .false_negative = 0, .true_negative = 4}},
          {"a", {.true_positive = 0, .false_positive = 0, .false_negative = 0, .true_negative = 8}},
          {"c", {.true_positive = 1, .false_positive = 0, .false_negative = 3, .true_negative = 4}}};
}

}  // namespace

TEST_CASE("compare counts pixels of every kind of mask", "[metrics]") {
  const std::vector<float> probabilities{0.9F, 0.6F, 0.5F, 0.1F, 0.8F};
  const std::vector<std::uint8_t> bytes{255, 0, 255, 0, 1};
  const std::vector<float> soft{1, 0.5F, 0.51F, 0, 1};
  const confusion expected{.true_positive = 2, .false_positive = 1, .false_negative = 1, .true_negative = 1};
  CHECK(compare(std::span(probabilities), std::span(bytes)) == expected);
  CHECK(compare(std::span(probabilities), std::span(soft)) == expected);
  const confusion strict = compare(std::span(probabilities), std::span(bytes), 0.85);
  CHECK(strict ==
        confusion{.true_positive = 1, .false_positive = 0, .false_negative = 2, .true_negative = 2});
  const std::vector<std::uint8_t> predicted{1, 1, 0, 0, 255};
  CHECK(compare(std::span(predicted), std::span(bytes)) == expected);
  CHECK_THROWS_WITH(compare(std::span(predicted).first(4), std::span(bytes)),
                    "compare: the prediction has 4 pixels, the mask 5");
}

TEST_CASE("compare counts large images exactly", "[metrics]") {
  random_stream random{1};
  std::vector<float> p(200001), m(p.size());
  confusion expected;
  for (std::size_t i = 0; i < p.size(); ++i) {
    p[i] = static_cast<float>(random.uniform());
    m[i] = random.chance(0.3);
    const bool hit = p[i] > 0.25F;
    if (m[i] > 0) {
      ++(hit ? expected.true_positive : expected.false_negative);
    } else {
      ++(hit ? expected.false_positive : expected.true_negative);
    }
  }
  CHECK(compare(std::span(p), std::span(m), 0.25) == expected);
}

TEST_CASE("ratios of a confusion", "[metrics]") {
  const confusion c{.true_positive = 6, .false_positive = 2, .false_negative = 4, .true_negative = 8};
  CHECK(c.dice() == Approx(12.0 / 18));
  CHECK(c.iou() == Approx(0.5));
  CHECK(c.precision() == Approx(0.75));
  CHECK(c.recall() == Approx(0.6));
  CHECK(c.accuracy() == Approx(0.7));
}

TEST_CASE("ratios of empty masks and predictions", "[metrics]") {
  const confusion both{.true_negative = 5}, missed{.false_negative = 5}, invented{.false_positive = 5};
  for (auto metric : {&confusion::dice, &confusion::iou, &confusion::precision, &confusion::recall}) {
    CHECK((both.*metric)() == 1);
    CHECK((missed.*metric)() == 0);
    CHECK((invented.*metric)() == 0);
    CHECK((confusion{}.*metric)() == 1);
  }
  CHECK(both.accuracy() == 1);
  CHECK(missed.accuracy() == 0);
}

TEST_CASE("percentile agrees with numpy", "[metrics]") {
  const std::vector<double> values{0.91, 0.13, 0.99, 0.5, 0.975, 0.985, 0.7};
  // numpy.percentile(values, (0, 5, 37, 50, 95, 100))
  CHECK(percentile(values, 0) == 0.13);
  CHECK(percentile(values, 5) == Approx(0.241).epsilon(1e-14));
  CHECK(percentile(values, 37) == Approx(0.7462).epsilon(1e-14));
  CHECK(percentile(values, 50) == 0.91);
  CHECK(percentile(values, 95) == Approx(0.9885).epsilon(1e-14));
  CHECK(percentile(values, 100) == 0.99);
  CHECK(percentile({0.25}, 95) == 0.25);
  CHECK_THROWS_AS(percentile({}, 5), argument_error);
  CHECK_THROWS_AS(percentile(values, 101), argument_error);
}

TEST_CASE("summarise takes means over images, whatever their order", "[metrics]") {
  auto scores = three();
  const auto s = summarise(scores);
  CHECK(s.images == 3);
  CHECK(s.dice == Approx((6.0 / 7 + 1 + 0.4) / 3));
  CHECK(s.iou == Approx((0.75 + 1 + 0.25) / 3));
  CHECK(s.accuracy == Approx((7.0 / 8 + 1 + 5.0 / 8) / 3));
  CHECK(s.precision == Approx((0.75 + 1 + 1) / 3));
  CHECK(s.recall == Approx((1 + 1 + 0.25) / 3));
  CHECK(s.dice_p50 == Approx(6.0 / 7));
  CHECK(s.dice_p5 == Approx(0.4 + 0.1 * (6.0 / 7 - 0.4)));
  CHECK(s.dice_p95 == Approx(6.0 / 7 + 0.9 / 7));
  CHECK(s.worst_dice == 0.4);
  CHECK(s.total.pixels() == 24);
  for (int i = 0; i < 6; ++i) {
    std::ranges::next_permutation(scores, {}, &image_score::name);
    CHECK(summarise(scores).dice == s.dice);
  }
  CHECK_THROWS_AS(summarise({}), argument_error);
}

TEST_CASE("worst_images come first, equal ones by name", "[metrics]") {
  auto scores = three();
  scores.push_back({"B", scores[0].counts});
  const auto worst = worst_images(scores, 3);
  REQUIRE(worst.size() == 3);
  CHECK(worst[0].name == "c");
  CHECK(worst[1].name == "B");
  CHECK(worst[2].name == "b");
  CHECK(worst_images(scores, 10).size() == 4);
}

TEST_CASE("tables are aligned", "[metrics]") {
  const summary_row rows[] = {{"128x128", summarise(three())}, {"own size", summarise(three())}};
  CHECK(summary_table(rows) ==
        "          images    Dice     5 %    50 %    95 %   worst     IoU  accuracy  precision  recall\n"
        "128x128        3  0.7524  0.4457  0.8571  0.9857  0.4000  0.6667    0.8333     0.9167  0.7500\n"
        "own size       3  0.7524  0.4457  0.8571  0.9857  0.4000  0.6667    0.8333     0.9167  0.7500\n");
  CHECK(image_table(worst_images(three(), 1)) ==
        "image    Dice     IoU  accuracy  precision  recall\n"
        "c      0.4000  0.2500    0.6250     1.0000  0.2500\n");
}

TEST_CASE("CSV is sorted by name and quoted where needed", "[metrics]") {
  auto scores = three();
  scores[1].name = "a, \"b\"";
  scores.pop_back();
  CHECK(scores_csv(scores) ==
        "image,dice,iou,accuracy,precision,recall,true_positive,false_positive,false_negative,true_negative\n"
        "\"a, \"\"b\"\"\",1.000000,1.000000,1.000000,1.000000,1.000000,0,0,0,8\n"
        "b,0.857143,0.750000,0.875000,0.750000,1.000000,3,1,0,4\n");
}
