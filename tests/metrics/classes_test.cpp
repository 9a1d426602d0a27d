// SPDX-License-Identifier: MIT
#include <segnet/metrics/class_report.hpp>

#include <catch2/catch.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

using namespace segnet;
using map = std::vector<std::uint8_t>;

namespace {

/// Labels 0 0 0 0 1 1 1 2 and one ignored; class 3 is predicted once and never labelled, class 4 neither.
confusion_matrix small() {
  confusion_matrix m(5);
  m.add(map{0, 0, 0, 1, 1, 1, 3, 0, 9}, map{0, 0, 0, 0, 1, 1, 1, 2, 255});
  return m;
}

}  // namespace

TEST_CASE("confusion_matrix counts pixels by label and prediction", "[metrics]") {
  const confusion_matrix m = small();
  CHECK(m.count(0, 0) == 3);
  CHECK(m.count(0, 1) == 1);
  CHECK(m.count(1, 1) == 2);
  CHECK(m.count(1, 3) == 1);
  CHECK(m.count(2, 0) == 1);
  CHECK(m.labelled(0) == 4);
  CHECK(m.predicted(0) == 4);
  CHECK(m.pixels() == 8);
}

TEST_CASE("scores of a confusion matrix", "[metrics]") {
  const confusion_matrix m = small();
  CHECK(m.global_accuracy() == Approx(5.0 / 8));
  CHECK(*m.accuracy(0) == Approx(3.0 / 4));
  CHECK(*m.accuracy(1) == Approx(2.0 / 3));
  CHECK(*m.accuracy(2) == 0);
  CHECK_FALSE(m.accuracy(3).has_value());
  CHECK(m.mean_accuracy() == Approx((3.0 / 4 + 2.0 / 3 + 0) / 3));
  CHECK(*m.iou(0) == Approx(3.0 / 5));
  CHECK(*m.iou(1) == Approx(2.0 / 4));
  CHECK(*m.iou(2) == 0);
  CHECK(*m.iou(3) == 0);
  CHECK_FALSE(m.iou(4).has_value());
  CHECK(m.mean_iou() == Approx((3.0 / 5 + 2.0 / 4) / 4));
}

TEST_CASE("confusion matrices of parts add up", "[metrics]") {
  confusion_matrix first(5), second(5);
  first.add(map{0, 0, 0, 1}, map{0, 0, 0, 0});
  second.add(map{1, 1, 3, 0}, map{1, 1, 1, 2});
  first += second;
  CHECK(first == small());
  CHECK_THROWS_WITH(first += confusion_matrix(4),
                    "confusion_matrix: found one of 4 classes to add, expected 5");
}

TEST_CASE("confusion_matrix refuses what does not fit, and counts nothing of it", "[metrics]") {
  confusion_matrix m(3, 0);
  CHECK_THROWS_WITH(m.add(map{1}, map{1, 2}), "confusion_matrix: the prediction has 1 pixels, the labels 2");
  CHECK_THROWS_WITH(m.add(map{1, 3}, map{1, 1}), "confusion_matrix: found the prediction 3, expected 0 to 2");
  CHECK_THROWS_WITH(m.add(map{1, 2}, map{1, 3}), "confusion_matrix: found the label 3, expected 0 to 2");
  CHECK(m.pixels() == 0);
  m.add(map{1, 2}, map{0, 0});  // ignored
  CHECK_THROWS_WITH(m.mean_iou(), "confusion_matrix: no labelled pixel was counted");
  CHECK_THROWS_AS(m.global_accuracy(), argument_error);
  CHECK_THROWS_WITH(confusion_matrix(1), "confusion_matrix: 1 classes, expected 2 to 255");
  CHECK_THROWS_AS(confusion_matrix(256), argument_error);
  confusion_matrix widest(255);
  widest.add(map{254}, map{254});
  CHECK(widest.global_accuracy() == 1);
}

TEST_CASE("class tables are aligned", "[metrics]") {
  const std::vector<std::string> names{"sky", "road", "car", "sign", "pole"};
  CHECK(class_table(small(), names) ==
        "class       pixels  accuracy     IoU\n"
        "sky              4    0.7500  0.6000\n"
        "road             3    0.6667  0.5000\n"
        "car              1    0.0000  0.0000\n"
        "sign             0         -  0.0000\n"
        "pole             0         -       -\n"
        "mean                  0.4722  0.2750\n"
        "all pixels       8    0.6250\n");
  boundary_f1 outlines(5, 0.1);
  outlines.add(map{0, 0, 0, 1, 1, 1, 1, 0, 1, 1}, map{0, 0, 0, 0, 0, 1, 1, 1, 1, 1}, 1, 10);
  CHECK(class_table(small(), names, &outlines) ==
        "class       pixels  accuracy     IoU  boundary F1\n"
        "sky              4    0.7500  0.6000       0.0000\n"
        "road             3    0.6667  0.5000       0.5000\n"
        "car              1    0.0000  0.0000            -\n"
        "sign             0         -  0.0000            -\n"
        "pole             0         -       -            -\n"
        "mean                  0.4722  0.2750       0.2500\n"
        "all pixels       8    0.6250\n");
  CHECK_THROWS_WITH(class_table(small(), std::span(names).first(4)),
                    "class_table: found 4 names, expected 5, one for each class");
  const boundary_f1 other(4);
  CHECK_THROWS_WITH(class_table(small(), names, &other),
                    "class_table: found 5 names and outlines of 4, expected 5, one for each class");
}
