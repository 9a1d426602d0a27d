// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <numeric>
#include <segnet/data/loader.hpp>
#include <segnet/data/mirrored_border.hpp>
#include <thread>

#include "../temporary_folder.hpp"

using namespace segnet;
using namespace segnet_test;
using Catch::Contains;

namespace {

/// `count` small pictures, each with its number as its red value; counts how often they are read.
struct numbered_source {
  std::atomic<int> reads{0};
  int bad = -1;

  /// Class numbers 0 to 9 in place of the masks.
  picture_source labels(int count) {
    picture_source labelled = source(count);
    labelled.read = [read = labelled.read](int i) {
      labelled_photo pair = read(i);
      for (std::size_t p = 0; p < pair.mask.data.size(); ++p)
        pair.mask.data[p] = static_cast<std::uint8_t>((p + static_cast<std::size_t>(i)) % 10);
      return pair;
    };
    return labelled;
  }

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
  std::vector<std::uint8_t> labels;
  bool operator==(const copied&) const = default;
};

std::vector<copied> take(loader& l, int batches) {
  std::vector<copied> all;
  for (int i = 0; i < batches; ++i) {
    const batch& b = l.next();
    all.push_back({b.epoch, b.number, b.indices, b.images, b.masks, b.labels});
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

TEST_CASE("A loader of labels delivers class numbers", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.shuffle = false, o.labels = true;
  loader l(numbers.labels(6), o);
  CHECK(l.labels());
  const auto batches = take(l, 2);
  CHECK(batches[0].masks.empty());
  REQUIRE(batches[0].labels.size() == 4u * 8 * 12);
  REQUIRE(batches[1].labels.size() == 2u * 8 * 12);
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t p = 0; p < 96; ++p) REQUIRE(batches[0].labels[96 * i + p] == (p + i) % 10);
  CHECK(batches[0].images[3 * 17 + 1] == Approx(17.0 / 255));

  o.labels = false;
  loader masks(numbers.source(6), o);
  CHECK(take(masks, 1)[0].labels.empty());
}

TEST_CASE("A raw batch becomes the ordinary one by what it says", "[data]") {
  for (const bool labels : {false, true})
    for (const bool augmented : {false, true}) {
      INFO((labels ? "labels" : "masks") << (augmented ? ", augmented" : ""));
      loader_options o = small();
      o.labels = labels;
      if (augmented) o.augment = augment_options{.shift = 0.3, .rotation = 20.0};
      numbered_source a, b;
      loader ordinary(labels ? a.labels(10) : a.source(10), o);
      CHECK_FALSE(ordinary.raw());
      o.raw = true, o.workers = 3;
      loader raw(labels ? b.labels(10) : b.source(10), o);
      CHECK(raw.raw());
      int changed = 0;
      for (int n = 0; n < 8; ++n) {
        const batch& expected = ordinary.next();
        const batch& found = raw.next();
        CHECK(found.epoch == expected.epoch);
        CHECK(found.number == expected.number);
        CHECK(found.indices == expected.indices);
        CHECK(expected.pictures.empty());
        CHECK(expected.changes.empty());
        CHECK((found.images.empty() && found.masks.empty() && found.labels.empty()));
        const auto count = static_cast<std::size_t>(found.count);
        REQUIRE(found.pictures.size() == count * 4 * 96);
        REQUIRE(found.changes.size() == count);
        std::vector<float> images(expected.images.size()), masks(count * 96);
        std::vector<std::uint8_t> classes(expected.labels.size());
        for (std::size_t i = 0; i < count; ++i) {
          const std::uint8_t* const picture = found.pictures.data() + 4 * 96 * i;
          std::vector<float> source(picture, picture + 4 * 96);
          for (float& value : source) value *= 1.0f / 255.0f;
          const augmentation& change = found.changes[i];
          if (!change.warp.is_identity() || !change.colour.is_identity()) ++changed;
          apply_augmentation(source.data(), 8, 12, change, images.data() + 3 * 96 * i, masks.data() + 96 * i);
          if (labels) warp_labels(picture + 3, 4, 8, 12, change.warp, classes.data() + 96 * i);
        }
        CHECK(images == expected.images);
        CHECK(classes == expected.labels);
        if (!labels) CHECK(masks == expected.masks);
      }
      CHECK((changed > 0) == augmented);
    }
}

TEST_CASE("Labels at another size are class numbers of the source, never between two", "[data]") {
  picture_source two{1,
                     [](int) {
                       labelled_photo pair{image(40, 30, 3), image(40, 30, 1, 3)};
                       for (int y = 0; y < 30; ++y)
                         for (int x = 17; x < 40; ++x) *pair.mask.at(x, y) = 9;
                       return pair;
                     },
                     [](int) { return std::string("two"); }};
  loader_options o = small();
  o.labels = true, o.batch_size = 1;
  loader l(two, o);
  const auto labels = take(l, 1)[0].labels;
  CHECK(std::count(labels.begin(), labels.end(), std::uint8_t{3}) == 8 * 5);
  CHECK(std::count(labels.begin(), labels.end(), std::uint8_t{9}) == 8 * 7);
}

TEST_CASE("Labels depend on neither workers nor cache, and a resumed loader continues them", "[data]") {
  loader_options o = small();
  o.labels = true, o.augment = augment_options{.shift = 0.3, .rotation = 20.0};
  std::vector<copied> expected;
  for (const int workers : {1, 3})
    for (const std::size_t cache : {std::size_t{0}, std::size_t{1} << 20}) {
      numbered_source numbers;
      o.workers = workers, o.cache_bytes = cache;
      loader l(numbers.labels(10), o);
      const auto batches = take(l, 8);
      if (expected.empty()) expected = batches;
      CHECK(batches == expected);
    }
  std::size_t unknown = 0, known = 0;
  for (const copied& b : expected)
    for (const std::uint8_t label : b.labels) {
      REQUIRE((label < 10 || label == ignored_label));
      ++(label == ignored_label ? unknown : known);
    }
  CHECK(unknown > 0);
  CHECK(known > 2 * unknown);

  // The pictures are those of a loader of masks: labels change no other draw.
  numbered_source a, b;
  o.labels = false;
  loader masks(a.source(10), o);
  CHECK(take(masks, 1)[0].images == expected[0].images);
  o.labels = true, o.first_epoch = 1, o.first_batch = 2;
  loader resumed(b.labels(10), o);
  CHECK(take(resumed, 3) == std::vector<copied>(expected.begin() + 5, expected.end()));
}

TEST_CASE("Masks serve as labels of two classes", "[data]") {
  numbered_source numbers;
  loader_options o = small();
  o.labels = true, o.shuffle = false;
  loader l(masks_as_labels(numbers.source(4)), o);
  const auto labels = take(l, 1)[0].labels;
  for (std::size_t p = 0; p < labels.size(); ++p) REQUIRE(labels[p] == (p % 12 < 6 ? 1 : 0));
}

TEST_CASE("A mirrored border goes on beyond the edges, without labels", "[data]") {
  picture_source one{1,
                     [](int) {
                       labelled_photo pair{image(3, 2, 3), image(3, 2, 1)};
                       for (std::size_t i = 0; i < 18; ++i) pair.photo.data[i] = static_cast<std::uint8_t>(i);
                       for (std::size_t i = 0; i < 6; ++i) pair.mask.data[i] = static_cast<std::uint8_t>(i);
                       return pair;
                     },
                     [](int) { return "one"; }};
  const labelled_photo seen = with_mirrored_border(one, 2, 3, 5, 7).read(0);
  REQUIRE(seen.photo.width == 7);
  REQUIRE(seen.photo.height == 5);
  // Rows 0 to 4 are those of y = -1 to 3, columns 0 to 6 those of x = -2 to 4.
  const int rows[] = {1, 0, 1, 0, 1}, columns[] = {2, 1, 0, 1, 2, 1, 0};
  for (int y = 0; y < 5; ++y)
    for (int x = 0; x < 7; ++x) {
      CHECK(*seen.photo.at(x, y) == 3 * (3 * rows[y] + columns[x]));
      const bool inside = y >= 1 && y < 3 && x >= 2 && x < 5;
      CHECK(*seen.mask.at(x, y) == (inside ? 3 * (y - 1) + x - 2 : 255));
    }
  CHECK_THROWS_WITH(with_mirrored_border(one, 2, 3, 5, 2), Catch::Contains("2x3") && Catch::Contains("5x2"));
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
