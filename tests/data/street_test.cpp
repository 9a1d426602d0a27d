// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <segnet/data/resize.hpp>
#include <segnet/data/street.hpp>
#include <vector>

using namespace segnet;

namespace {

using counts = std::array<double, camvid_classes>;

counts shares(const image& labels) {
  counts share{};
  for (const std::uint8_t label : labels.data) {
    REQUIRE(label < camvid_classes);
    share[label] += 1.0 / static_cast<double>(labels.data.size());
  }
  return share;
}

/// Twenty-four streets, drawn once for all tests.
const std::vector<labelled_photo>& streets() {
  static const std::vector<labelled_photo> drawn = [] {
    std::vector<labelled_photo> pictures;
    for (int scene = 0; scene < 24; ++scene) pictures.push_back(render_street(3, scene, 160, 120));
    return pictures;
  }();
  return drawn;
}

}  // namespace

TEST_CASE("Generated streets are a function of seed and scene", "[data]") {
  const labelled_photo a = render_street(1, 2, 96, 72), b = render_street(1, 2, 96, 72);
  CHECK(a.photo == b.photo);
  CHECK(a.mask == b.mask);
  CHECK(a.photo != render_street(2, 2, 96, 72).photo);
  CHECK(a.mask != render_street(1, 3, 96, 72).mask);
  const picture_source source = street_source(1, 2, 5, 96, 72);
  CHECK(source.size == 5);
  CHECK(source.read(0).photo == a.photo);
  CHECK(source.read(1).mask == render_street(1, 3, 96, 72).mask);
  CHECK(source.name(4) == "generated street 6");
  CHECK_THROWS_AS(render_street(1, -1, 96, 72), argument_error);
  CHECK_THROWS_AS(render_street(1, 0, 8, 72), argument_error);
}

TEST_CASE("Every class appears, the large ones in every street", "[data]") {
  std::array<int, camvid_classes> present{};
  counts mean{};
  for (const labelled_photo& street : streets()) {
    REQUIRE(street.photo.channels == 3);
    REQUIRE(street.mask.channels == 1);
    const counts share = shares(street.mask);
    for (std::size_t k = 0; k < share.size(); ++k)
      present[k] += share[k] > 0.0, mean[k] += share[k] / static_cast<double>(streets().size());
    CHECK(share[static_cast<std::size_t>(camvid::road)] > 0.1);
    CHECK(*std::max_element(share.begin(), share.end()) < 0.75);
  }
  const auto of = [&](camvid c) { return mean[static_cast<std::size_t>(c)]; };
  for (std::size_t k = 0; k < present.size(); ++k) {
    INFO(camvid_names[k] << " in " << present[k] << " of 24 streets, " << mean[k] << " of the pixels");
    CHECK(present[k] >= 12);
    CHECK(mean[k] > 0.0008);
  }
  // The order of magnitudes of real streets: few pixels are signs, poles and people.
  for (const camvid large : {camvid::sky, camvid::building, camvid::road, camvid::tree})
    for (const camvid small :
         {camvid::sign, camvid::pole, camvid::pedestrian, camvid::bicyclist, camvid::fence})
      CHECK(of(large) > 2.0 * of(small));
}

TEST_CASE("Sky is above, road below", "[data]") {
  double sky_rows = 0, road_rows = 0, sky = 0, road = 0;
  for (const labelled_photo& street : streets())
    for (int y = 0; y < 120; ++y)
      for (int x = 0; x < 160; ++x) {
        const auto label = static_cast<camvid>(*street.mask.at(x, y));
        if (label == camvid::sky) sky_rows += y, ++sky;
        if (label == camvid::road) road_rows += y, ++road;
        if (y > 85) REQUIRE(label != camvid::sky);
        if (y < 30) REQUIRE(label != camvid::road);
      }
  CHECK(sky_rows / sky < 45);
  CHECK(road_rows / road > 80);
}

TEST_CASE("Labels lie where the photograph changes", "[data]") {
  // Between two classes colours differ more than inside of one: a map that is shifted or mirrored would not.
  const auto contrast = [](const image& photo, const image& labels) {
    double across = 0, inside = 0, edges = 0, others = 0;
    for (int y = 0; y < photo.height; ++y)
      for (int x = 0; x + 1 < photo.width; ++x) {
        double d = 0;
        for (int c = 0; c < 3; ++c) d += std::abs(photo.at(x, y)[c] - photo.at(x + 1, y)[c]);
        if (*labels.at(x, y) != *labels.at(x + 1, y))
          across += d, ++edges;
        else
          inside += d, ++others;
      }
    return across / edges / (inside / others);
  };
  double right = 0, shifted = 0;
  for (const labelled_photo& street : streets()) {
    image moved = street.mask;
    std::rotate(moved.data.begin(), moved.data.begin() + 4, moved.data.end());
    right += contrast(street.photo, street.mask) / 24, shifted += contrast(street.photo, moved) / 24;
  }
  CHECK(right > 2.2);
  CHECK(shifted < 0.75 * right);
}

TEST_CASE("A small picture's labels are the large one's, shrunk", "[data]") {
  const image large = resize_nearest(render_street(4, 1, 640, 480).mask, 120, 160);
  const image small = render_street(4, 1, 160, 120).mask;
  int different = 0;
  for (std::size_t i = 0; i < small.data.size(); ++i) different += large.data[i] != small.data[i];
  CHECK(different < 160 * 120 / 25);  // outlines and what is thinner than a pixel
}

TEST_CASE("Colour alone does not give the class", "[data]") {
  // The best guess from a pixel's colour, learnt on one half of the streets and tried on the other.
  std::vector<counts> table(16 * 16 * 16);
  const auto cell = [](const std::uint8_t* p) {
    return static_cast<std::size_t>((p[0] >> 4) * 256 + (p[1] >> 4) * 16 + (p[2] >> 4));
  };
  std::array<double, camvid_classes> hit{}, all{};
  for (std::size_t s = 0; s < streets().size(); ++s)
    for (int y = 0; y < 120; ++y)
      for (int x = 0; x < 160; ++x) {
        const std::uint8_t* p = streets()[s].photo.at(x, y);
        const std::size_t label = *streets()[s].mask.at(x, y);
        if (s % 2 == 0) table[cell(p)][label] += 1;
      }
  for (std::size_t s = 1; s < streets().size(); s += 2)
    for (int y = 0; y < 120; ++y)
      for (int x = 0; x < 160; ++x) {
        const counts& c = table[cell(streets()[s].photo.at(x, y))];
        const std::size_t label = *streets()[s].mask.at(x, y);
        all[label] += 1;
        hit[label] += static_cast<std::size_t>(std::max_element(c.begin(), c.end()) - c.begin()) == label;
      }
  double recall = 0;
  for (std::size_t k = 0; k < camvid_classes; ++k) recall += hit[k] / all[k] / camvid_classes;
  CHECK(recall < 0.35);  // mean over the classes
}
