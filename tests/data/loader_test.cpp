// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <numeric>
#include <segnet/data/loader.hpp>
#include <thread>

#include "temporary_folder.hpp"

using namespace segnet;
using namespace segnet_test;
using Catch::Contains;

namespace {

/// `count` small pictures, each with its number as its red value; counts how often they are read.
struct numbered_source {
  std::atomic<int> reads{0};
  int bad = -1;

  picture_source source(int count) {
    return {count,
            [this](int i) {
              ++reads;
              // Some take longer than others, so that the workers finish out of order.
              if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
              if (i == bad) throw std::runtime_error("it is broken");
              image photo(12, 8, 3), mask(12, 8, 1);
              for (std::size_t p = 0; p < photo.pixels(); ++p) {
                photo.data[3 * p] = static_cast<std::uint8_t>(i);
                photo.data[3 * p + 1] = static_cast<std::uint8_t>(p);
                mask.data[p] = p % 12 < 6 ? 255 : 0;
              }
              return labelled_photo{photo, mask};
            },
            [](int i) { return "picture-" + std::to_string(i); }};
  }
};

loader_options small() { return {.height = 8, .width = 12, .batch_size = 4, .seed = 5}; }

struct copied {
  int epoch, number;
  std::vector<int> indices;
  std::vector<float> images, masks;
  bool operator==(const copied&) const = default;
};

std::vector<copied> take(loader& l, int batches) {
  std::vector<copied> all;
  for (int i = 0; i < batches; ++i) {
    const batch& b = l.next();
    all.push_back({b.epoch, b.number, b.indices, b.images, b.masks});
  }
  return all;
}

}  // namespace

TEST_CASE("Batches hold the pictures in order and scale", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.shuffle = false;
  loader l(numbers.source(10), o);
  REQUIRE(l.batches_per_epoch() == 3);
  const auto batches = take(l, 4);
  CHECK(batches[0].indices == std::vector<int>{0, 1, 2, 3});
  CHECK(batches[2].indices == std::vector<int>{8, 9});
  CHECK(batches[2].images.size() == 2u * 8 * 12 * 3);
  CHECK(batches[2].masks.size() == 2u * 8 * 12);
  CHECK(batches[3].epoch == 1);
  CHECK(batches[3].number == 0);
  CHECK(batches[3].indices == batches[0].indices);
  CHECK(batches[1].images[0] == Approx(4.0 / 255));
  CHECK(batches[1].images[3 * 17 + 1] == Approx(17.0 / 255));
  CHECK(batches[1].masks[5] == 1.0f);
  CHECK(batches[1].masks[6] == 0.0f);
}

TEST_CASE("The number of workers changes nothing", "[data]") {
  loader_options o = small();
  o.augment = augment_options{.rotation = 10.0};
  std::vector<copied> expected;
  for (const int workers : {1, 2, 5}) {
    for (const std::size_t cache : {std::size_t{0}, std::size_t{3000}, std::size_t{1} << 20}) {
      numbered_source numbers;
      o.workers = workers, o.prefetch = workers, o.cache_bytes = cache;
      loader l(numbers.source(14), o);
      const auto batches = take(l, 9);
      if (expected.empty()) expected = batches;
      CHECK(batches == expected);
    }
  }
}

TEST_CASE("Every epoch shows each picture once, in an order of its own", "[data]") {
  numbered_source numbers;
  loader l(numbers.source(23), small());
  std::vector<std::vector<int>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<int> order;
    for (const copied& b : take(l, l.batches_per_epoch())) {
      CHECK(b.epoch == epoch);
      order.insert(order.end(), b.indices.begin(), b.indices.end());
    }
    orders.push_back(order);
    std::sort(order.begin(), order.end());
    std::vector<int> all(23);
    std::iota(all.begin(), all.end(), 0);
    CHECK(order == all);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
}

TEST_CASE("Augmentation differs between epochs and seeds", "[data]") {
  const auto first = [](std::uint64_t seed, int epoch) {
    numbered_source numbers;
    loader_options o = small();
    o.shuffle = false, o.augment = augment_options{}, o.seed = seed, o.first_epoch = epoch;
    loader l(numbers.source(4), o);
    return take(l, 1).at(0).images;
  };
  CHECK(first(1, 0) == first(1, 0));
  CHECK(first(1, 0) != first(1, 1));
  CHECK(first(1, 0) != first(2, 0));
}

TEST_CASE("A loader that starts in the middle continues the sequence", "[data]") {
  loader_options o = small();
  o.augment = augment_options{};
  numbered_source a, b;
  loader whole(a.source(10), o);
  const auto expected = take(whole, 8);
  o.first_epoch = 1, o.first_batch = 2;
  loader resumed(b.source(10), o);
  CHECK(take(resumed, 3) == std::vector<copied>(expected.begin() + 5, expected.end()));
}

TEST_CASE("Incomplete batches can be dropped", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.drop_last = true;
  loader l(numbers.source(11), o);
  CHECK(l.batches_per_epoch() == 2);
  for (const copied& b : take(l, 5)) CHECK(b.indices.size() == 4);
  CHECK_THROWS_AS(loader(numbers.source(3), o), argument_error);
}

TEST_CASE("A loader that starts at an epoch's end starts the next epoch", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.first_epoch = 3, o.first_batch = 2;
  loader l(numbers.source(8), o);
  REQUIRE(l.batches_per_epoch() == 2);
  const batch& first = l.next();
  CHECK(first.epoch == 4);
  CHECK(first.number == 0);
}

TEST_CASE("Pictures within the budget are read once", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.workers = 3;
  o.cache_bytes = 5 * 8 * 12 * 4;
  {
    loader l(numbers.source(8), o);
    CHECK(l.cached_pictures() == 5);
    take(l, 8);  // four epochs
  }
  // 5 kept (two epochs' ends may overlap: at most a few are read twice), 3 read in each of up to 6 epochs
  // begun.
  CHECK(numbers.reads <= 5 + 3 * 6 + 3);
  numbered_source all;
  o.cache_bytes = 1 << 20, o.workers = 1;
  loader l(all.source(8), o);
  take(l, 12);
  CHECK(l.cached_pictures() == 8);
  CHECK(all.reads == 8);
}

TEST_CASE("A worker's exception reaches the consumer with the picture's name", "[data]") {
  for (const int workers : {1, 4}) {
    numbered_source numbers;
    numbers.bad = 6;
    loader_options o = small();
    o.shuffle = false, o.workers = workers;
    loader l(numbers.source(12), o);
    CHECK(take(l, 1)[0].indices.front() == 0);
    CHECK_THAT(message_of<file_error>([&] { l.next(); }), Contains("picture-6: it is broken"));
    CHECK_THAT(message_of<file_error>([&] { l.next(); }), Contains("picture-6"));
  }
}

TEST_CASE("A loader can be destroyed at any time", "[data]") {
  for (int taken = 0; taken < 6; ++taken)
    for (const int workers : {1, 3}) {
      numbered_source numbers;
      loader_options o = small();
      o.workers = workers;
      loader l(numbers.source(9), o);
      take(l, taken);
    }
  SUCCEED();
}

TEST_CASE("At most the stated number of batches is prepared ahead", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.prefetch = 2, o.workers = 2, o.cache_bytes = 0;
  loader l(numbers.source(100), o);
  l.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  CHECK(numbers.reads == 3 * 4);  // the one in use and two ahead
}

TEST_CASE("Files on disk feed a loader, and a broken one is named", "[data]") {
  temporary_folder folder;
  std::filesystem::create_directories(folder / "train");
  std::filesystem::create_directories(folder / "train_masks");
  for (int view = 1; view <= 4; ++view) {
    const std::string name = "car_0" + std::to_string(view);
    write_png(folder / ("train/" + name + ".png"), image(24, 16, 3, static_cast<std::uint8_t>(10 * view)));
    write_png(folder / ("train_masks/" + name + "_mask.png"), image(24, 16, 1, 255));
  }
  loader_options o = small();
  o.shuffle = false;
  {
    loader l(from_samples(find_carvana(folder.path()).samples), o);
    const auto b = take(l, 1).at(0);
    CHECK(b.images[3 * 8 * 12] == Approx(20.0 / 255));
    CHECK(*std::min_element(b.masks.begin(), b.masks.end()) == 1.0f);
  }
  write_file(folder / "train/car_03.png", {1, 2, 3});
  loader l(from_samples(find_carvana(folder.path()).samples), o);
  CHECK_THAT(message_of<file_error>([&] { l.next(); }), Contains("car_03.png: not an image"));
}

TEST_CASE("Bad loader options are refused", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.batch_size = 0;
  CHECK_THAT(message_of<argument_error>([&] { loader(numbers.source(4), o); }),
             Contains("batch_size: found 0"));
  o = small();
  o.prefetch = -2;
  CHECK_THAT(message_of<argument_error>([&] { loader(numbers.source(4), o); }),
             Contains("prefetch: found -2"));
  o = small();
  o.first_batch = 2;
  CHECK_THAT(message_of<argument_error>([&] { loader(numbers.source(4), o); }),
             Contains("first_batch: found 2"));
  CHECK_THROWS_AS(loader(numbers.source(0), small()), argument_error);
  o = small();
  o.augment = augment_options{.hue = 999};
  CHECK_THROWS_AS(loader(numbers.source(4), o), argument_error);
}
