// SPDX-License-Identifier: MIT
#include <algorithm>
#include <catch2/catch.hpp>
#include <segnet/data/carvana_dataset.hpp>
#include <set>

#include "../carvana_folder.hpp"
#include "../temporary_folder.hpp"

using namespace segnet;
using namespace segnet_test;
using Catch::Contains;

namespace {

void add_image(const temporary_folder& folder, const std::string& name, int w = 12, int h = 8) {
  std::filesystem::create_directories(folder / "train");
  write_jpeg(folder / ("train/" + name), image(w, h, 3, 90));
}

void add_mask(const temporary_folder& folder, const std::string& name, int w = 12, int h = 8) {
  std::filesystem::create_directories(folder / "train_masks");
  write_png(folder / ("train_masks/" + name), image(w, h, 1, 255));
}

std::vector<sample> cars(int count) {
  std::vector<sample> samples;
  for (int car = 0; car < count; ++car)
    for (int view = 1; view <= 16; ++view) samples.push_back({"car" + std::to_string(car), view, {}, {}});
  return samples;
}

std::set<std::string> ids(const std::vector<sample>& samples) {
  std::set<std::string> found;
  for (const sample& s : samples) found.insert(s.car);
  return found;
}

}  // namespace

TEST_CASE("Kaggle's layout is found in order of car and view", "[data]") {
  temporary_folder folder;
  for (const char* name : {"b_02.jpg", "b_01.JPG", "a_x_10.jpeg", "a_x_09.jpg"}) add_image(folder, name);
  for (const char* name : {"b_01_mask.png", "b_02_mask.PNG", "a_x_09_mask.png", "a_x_10_mask.png"})
    add_mask(folder, name);
  write_file(folder / "train/.DS_Store", {1});
  write_file(folder / "train/._b_01.jpg", {1});
  write_file(folder / "train/notes.txt", {1});
  const carvana_dataset found = find_carvana(folder.path());
  REQUIRE(found.samples.size() == 4);
  CHECK(found.notes.empty());
  CHECK(found.samples[0].car == "a_x");
  CHECK(found.samples[0].view == 9);
  CHECK(found.samples[1].view == 10);
  CHECK(found.samples[2].image.filename() == "b_01.JPG");
  CHECK(found.samples[3].mask.filename() == "b_02_mask.PNG");
  const labelled_photo pair = read_sample(found.samples[0]);
  CHECK(pair.photo.channels == 3);
  CHECK(pair.mask == image(12, 8, 1, 255));
}

TEST_CASE("What a data folder lacks is named", "[data]") {
  temporary_folder folder;
  const auto message = [&] { return message_of<file_error>([&] { find_carvana(folder.path()); }); };
  CHECK_THAT(message_of<file_error>([&] { find_carvana(folder / "absent"); }),
             Contains("absent: no such folder") && Contains("train_masks/ID_VIEW_mask.gif"));
  write_file(folder / "cars.zip", {1});
  CHECK_THAT(message_of<file_error>([&] { find_carvana(folder / "cars.zip"); }),
             Contains("cars.zip: is a file, but a folder is needed; expected the Carvana layout"));
  CHECK_THAT(message(), Contains("has no folder 'train'"));
  std::filesystem::create_directories(folder / "train");
  CHECK_THAT(message(), Contains("has no folder 'train_masks'"));
  std::filesystem::create_directories(folder / "train_masks");
  CHECK_THAT(message(), Contains("no photographs found"));

  for (int view = 1; view <= 8; ++view) add_image(folder, "car_0" + std::to_string(view) + ".jpg");
  add_mask(folder, "car_01_mask.png");
  CHECK_THAT(message(),
             Contains("7 of 8 images have no mask") && Contains("car_02.jpg") && Contains("2 more"));
}

TEST_CASE("Odd files are noted, ambiguous ones refused", "[data]") {
  temporary_folder folder;
  add_image(folder, "car_01.jpg");
  add_image(folder, "holiday.jpg");
  add_mask(folder, "car_01_mask.png");
  add_mask(folder, "car_02_mask.png");
  const carvana_dataset found = find_carvana(folder.path());
  CHECK(found.samples.size() == 1);
  REQUIRE(found.notes.size() == 2);
  CHECK_THAT(found.notes[0], Contains("holiday.jpg: ignored"));
  CHECK_THAT(found.notes[1], Contains("car_02_mask.png: ignored, no image"));
  add_image(folder, "car_01.jpeg");
  CHECK_THROWS_WITH(find_carvana(folder.path()), Contains("car_01.jpg") && Contains("same car and view"));
}

TEST_CASE("Image and mask must agree in size and be readable", "[data]") {
  temporary_folder folder;
  add_image(folder, "car_01.jpg", 12, 8);
  add_mask(folder, "car_01_mask.png", 12, 9);
  const sample s = find_carvana(folder.path()).samples.at(0);
  CHECK_THAT(message_of<file_error>([&] { read_sample(s); }),
             Contains("car_01_mask.png: the mask is 12x9") && Contains("car_01.jpg is 12x8"));
  write_file(s.image, {0xff, 0xd8, 0xff, 0xe0});
  CHECK_THAT(message_of<file_error>([&] { read_sample(s); }), Contains("car_01.jpg: truncated"));
}

TEST_CASE("Photographs without masks are found below a folder", "[data]") {
  temporary_folder folder;
  add_image(folder, "x.jpg");
  add_mask(folder, "y.PNG");
  write_file(folder / "train/readme.md", {1});
  const auto found = find_photographs(folder.path());
  REQUIRE(found.size() == 2);
  CHECK(found[0].filename() == "x.jpg");
  CHECK(find_photographs(found[0]) == std::vector{found[0]});
  CHECK_THROWS_WITH(find_photographs(folder / "no"), Contains("no such file or folder"));
  std::filesystem::create_directory(folder / "bare");
  CHECK_THROWS_WITH(find_photographs(folder / "bare"), Contains("no pictures"));
}

TEST_CASE("No car stands on both sides of a split", "[data]") {
  for (const int count : {2, 3, 10, 80})
    for (const double fraction : {0.001, 0.2, 0.5, 0.999})
      for (std::uint64_t seed = 0; seed < 5; ++seed) {
        const auto samples = cars(count);
        const carvana_split split = split_by_car(samples, fraction, seed);
        CHECK(split.train.size() + split.validation.size() == samples.size());
        const auto left = ids(split.train), right = ids(split.validation);
        CHECK(!left.empty());
        CHECK(!right.empty());
        CHECK(left.size() + right.size() == static_cast<std::size_t>(count));
      }
  CHECK(ids(split_by_car(cars(80), 0.2, 1).validation).size() == 16);
}

TEST_CASE("A split is a function of its seed", "[data]") {
  const auto split = [](std::uint64_t seed) { return ids(split_by_car(cars(40), 0.25, seed).validation); };
  CHECK(split(1) == split(1));
  CHECK(split(1) != split(2));
  CHECK_THROWS_AS(split_by_car({}, 0.5, 1), argument_error);
  CHECK_THROWS_AS(split_by_car(cars(9), 0.0, 1), argument_error);
  CHECK_THROWS_AS(split_by_car(cars(9), 1.0, 1), argument_error);
}

TEST_CASE("A single car cannot be split, and the message says where it is", "[data]") {
  temporary_folder folder;
  for (const char* view : {"1", "2"}) {
    add_image(folder, std::string("a_") + view + ".jpg");
    add_mask(folder, std::string("a_") + view + "_mask.png");
  }
  CHECK(message_of<file_error>([&] { split_by_car(find_carvana(folder.path()).samples, 0.5, 1); }) ==
        (folder / "train").string() +
            ": found photographs of 1 car (a), expected at least 2 cars: one to train with and one to "
            "validate with");
}

TEST_CASE("The real data set reads", "[data]") {
  const auto folder = segnet_test::carvana_folder();
  if (!folder) return;
  const carvana_dataset found = find_carvana(*folder);
  REQUIRE(found.samples.size() >= 8);
  for (std::size_t i = 0; i < found.samples.size(); i += found.samples.size() / 4) {
    const labelled_photo pair = read_sample(found.samples[i]);
    CHECK(pair.photo.width == 1918);
    CHECK(pair.photo.height == 1280);
    const auto car = std::count(pair.mask.data.begin(), pair.mask.data.end(), std::uint8_t{255});
    const auto background = std::count(pair.mask.data.begin(), pair.mask.data.end(), std::uint8_t{0});
    CHECK(static_cast<std::size_t>(car + background) == pair.mask.data.size());
    const double share = static_cast<double>(car) / static_cast<double>(pair.mask.data.size());
    CHECK(share > 0.05);
    CHECK(share < 0.6);
  }
}
