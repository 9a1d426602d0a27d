// SPDX-License-Identifier: MIT
#include <segnet/core/random.hpp>
#include <segnet/core/tensor_view.hpp>
#include <segnet/inference/segmenter.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/network.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

using namespace segnet;

namespace {

/// Stands in for a network: the probability of a pixel is a mean of its colours, so that results can be told
/// beforehand.
struct colour_network {
  static constexpr shape input_shape{8, 12, 3}, output_shape{8, 12, 1};
  struct result {
    const float* data;
  };
  result infer(tensor_view<const float> x) {
    ++calls;
    for (std::size_t i = 0; i < output.size(); ++i)
      output[i] = (4 * x.data[3 * i] + 2 * x.data[3 * i + 1] + x.data[3 * i + 2]) / 7 *
                  (i % 12 == 0 ? left_edge : 1.0f);
    return {output.data()};
  }
  std::vector<float> output = std::vector<float>(output_shape.size());
  float left_edge = 1.0f;  ///< makes it see a picture and its mirror image differently
  int calls = 0;
};

image gradient(int width, int height) {
  image photo(width, height, 3);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      std::fill_n(photo.at(x, y), 3, static_cast<std::uint8_t>(255 * x / std::max(1, width - 1)));
  return photo;
}

image random_picture(int width, int height) {
  image photo(width, height, 3);
  random_stream random{11};
  for (std::uint8_t& value : photo.data) value = static_cast<std::uint8_t>(random.below(256));
  return photo;
}

}  // namespace

TEST_CASE("probabilities come at the photograph's size, whatever it is", "[inference]") {
  colour_network net;
  segmenter segment(net);
  CHECK(segment.width() == 12);
  CHECK(segment.height() == 8);
  for (const auto& [width, height] : {std::pair{12, 8}, {191, 127}, {37, 1}, {1, 37}, {5, 3}, {4, 200}}) {
    INFO(width << "x" << height);
    const auto p = segment.probability(image(width, height, 3, 51));
    REQUIRE(p.size() == static_cast<std::size_t>(width * height));
    for (float value : p) REQUIRE(value == Approx(0.2f));
  }
  // Of the network's size, a picture goes through unchanged.
  const image photo = random_picture(12, 8);
  const auto p = segment.probability(photo);
  for (std::size_t i = 0; i < p.size(); ++i) {
    const std::uint8_t* rgb = photo.data.data() + 3 * i;
    CHECK(p[i] == Approx((4 * rgb[0] + 2 * rgb[1] + rgb[2]) / 7.0 / 255.0));
  }
}

TEST_CASE("probabilities are enlarged before the threshold", "[inference]") {
  colour_network net;
  segmenter segment(net);
  const auto p = segment.probability(gradient(1200, 800));
  // A slope is nearly restored; thresholds of the network's pixels would give 12 steps.
  const image mask = to_mask(p, 1200, 800, 0.43);
  for (int y = 0; y < 800; y += 99) {
    int first = 0;
    while (first < 1200 && *mask.at(first, y) == 0) ++first;
    CHECK(std::abs(first - 516) <= 4);
    CHECK(std::all_of(mask.at(first, y), mask.at(0, y) + 1200, [](std::uint8_t v) { return v == 255; }));
  }
}

TEST_CASE("test-time augmentation is the mean with the mirror image", "[inference]") {
  colour_network net;
  net.left_edge = 0.5f;
  segmenter segment(net);
  const image photo(12, 8, 3, 255);
  const auto plain = segment.probability_at_network_size(photo);
  const auto mean = segment.probability_at_network_size(photo, true);
  CHECK(net.calls == 3);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CHECK(plain[i] == Approx(i % 12 == 0 ? 0.5 : 1.0));
    CHECK(mean[i] == Approx(i % 12 == 0 || i % 12 == 11 ? 0.75 : 1.0));
  }
  // What each pixel shows stays in its place.
  net.left_edge = 1.0f;
  const image uneven = random_picture(12, 8);
  CHECK(segment.probability(uneven, true) == segment.probability(uneven));
}

TEST_CASE("a symmetric picture has a symmetric mean on a real network", "[inference]") {
  using net_t = network<carvana_network<16, 16, 8, 16>>;
  const auto net = std::make_shared<net_t>(network_options{.threads = 1});
  net->initialise(4);
  segmenter segment(net);
  image photo = random_picture(40, 30);
  for (int y = 0; y < photo.height; ++y)
    for (int x = 0; x < photo.width / 2; ++x)
      std::copy_n(photo.at(x, y), 3, photo.at(photo.width - 1 - x, y));
  const auto p = segment.probability_at_network_size(photo, true);
  const auto plain = segment.probability_at_network_size(photo);
  double asymmetry = 0;
  for (std::size_t y = 0; y < 16; ++y)
    for (std::size_t x = 0; x < 16; ++x) {
      CHECK(p[16 * y + x] == Approx(p[16 * y + 15 - x]).margin(1e-6));
      asymmetry =
          std::max(asymmetry, std::abs(static_cast<double>(plain[16 * y + x] - plain[16 * y + 15 - x])));
    }
  CHECK(asymmetry > 1e-3);  // or the test would see nothing
}

TEST_CASE("only RGB pictures are segmented", "[inference]") {
  colour_network net;
  segmenter segment(net);
  CHECK_THROWS_WITH(segment.probability(image(10, 10, 1)),
                    Catch::Contains("10x10 pixels with 1 channels, expected an RGB photograph"));
  CHECK_THROWS_AS(segment.probability(image(10, 10, 4)), argument_error);
  CHECK_THROWS_AS(segment.probability(image()), argument_error);
}

TEST_CASE("masks and grey levels of probabilities", "[inference]") {
  const std::vector<float> p{0.0f, 0.5f, 0.501f, 1.0f};
  CHECK(to_mask(p, 2, 2, 0.5).data == std::vector<std::uint8_t>{0, 0, 255, 255});
  CHECK(to_mask(p, 4, 1, 0.0).data == std::vector<std::uint8_t>{0, 255, 255, 255});
  CHECK(to_grey(p, 2, 2).data == std::vector<std::uint8_t>{0, 128, 128, 255});
  CHECK_THROWS_AS(to_mask(p, 3, 2, 0.5), argument_error);
  CHECK_THROWS_AS(to_grey(p, 3, 2), argument_error);
}
