// SPDX-License-Identifier: MIT
// Levels wide enough for every form of the convolutions: tiles, groups and panels of a batch must not mix its
// images.
#include "networks.hpp"

#include <catch2/catch.hpp>

using namespace segnet;

TEST_CASE("an image's mask does not depend on the batch around it, with wide levels too", "[network]") {
  network<carvana_network<24, 40, 8, 24, 64>> net({.batch = 3, .threads = 2});
  test::randomise(net, 11);
  const auto images = test::random_images<float>(3 * net.input_shape.size(), 4);
  const tensor_view<const float> batch{images.data(), 3, net.input_shape};
  const auto all = net.infer(batch);
  const std::vector<float> masks(all.begin(), all.end());
  const std::size_t size = net.output_shape.size();
  for (int i = 0; i < 3; ++i) {
    const auto one = net.infer(batch.slice(i, 1));
    const std::span expected(masks.data() + static_cast<std::size_t>(i) * size, size);
    CHECK(test::difference(one, expected) < 1e-5);
    // There is something to mix up: the images' masks differ.
    const std::span other(masks.data() + static_cast<std::size_t>((i + 1) % 3) * size, size);
    CHECK(test::difference(one, other) > 1e-2);
  }
}
