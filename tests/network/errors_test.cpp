// SPDX-License-Identifier: MIT
// Mistakes that only the running program can make, and what it is told.
#include <segnet/network/network.hpp>

#include "networks.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace segnet;

namespace {

/// Its centre is a single pixel.
struct deep {
  static constexpr auto build() {
    graph_builder g;
    value x = g("conv", conv2d{.channels = 2}, g.input({4, 4, 3}));
    x = g("shallow", batch_norm{}, x);
    x = g("centre", batch_norm{}, g(max_pool{4}, x));
    g.output(g(upsample{4}, x));
    return g;
  }
};

}  // namespace

TEST_CASE("wrong batches are refused", "[network]") {
  network<deep> net({.batch = 2, .threads = 1});
  std::vector<float> x(3 * 4 * 4 * 3);
  const auto images = [&](int n, shape s) { return tensor_view<const float>{x.data(), n, s}; };
  CHECK_THROWS_WITH(net.infer(images(1, {4, 3, 3})), "input images: found 4x3x3, expected 4x4x3");
  CHECK_THROWS_WITH(net.forward(images(1, {4, 4, 1})), "input images: found 4x4x1, expected 4x4x3");
  CHECK_THROWS_WITH(net.infer(images(3, {4, 4, 3})), "input images: found a batch of 3, expected 1 to 2");
  CHECK_THROWS_WITH(net.forward(images(0, {4, 4, 3})), "input images: found a batch of 0, expected 1 to 2");
  CHECK_THROWS_AS(net.infer(images(3, {4, 4, 3})), argument_error);
  CHECK_THROWS_WITH(network<deep>({.batch = 0}), "batch size: found 0, expected at least 1");
}

TEST_CASE("batch normalisation of a single value is refused", "[network]") {
  network<deep> net({.batch = 2, .threads = 1});
  net.initialise(1);
  const std::vector<float> x(2 * 4 * 4 * 3, 0.5f);
  CHECK_THROWS_WITH(
      net.forward({x.data(), 1, net.input_shape}),
      "layer centre: batch normalisation sees a single value per channel (1x1x2, batch 1): train with a "
      "batch of at least 2, or larger images");
  CHECK_NOTHROW(net.forward({x.data(), 2, net.input_shape}));
  CHECK_NOTHROW(net.infer({x.data(), 1, net.input_shape}));  // running statistics: no matter
}

TEST_CASE("a network for inference does not train", "[network]") {
  network<deep> net({.batch = 2, .threads = 1, .training = false});
  const std::vector<float> x(2 * 4 * 4 * 3);
  CHECK_THROWS_WITH(net.forward({x.data(), 2, net.input_shape}),
                    "this network was made for inference: network_options::training is false");
  CHECK_THROWS_AS(net.backward(), argument_error);
  const std::string message = "this network was made for inference: network_options::training is false";
  const parameter& p = net.parameter_table().entries[0];
  CHECK_THROWS_WITH(net.initialise(1), message);
  CHECK_THROWS_WITH(net.values(p), message);
  CHECK_THROWS_WITH(net.gradient(p), message);
}

TEST_CASE("a network for inference needs weights", "[network]") {
  network<deep> trained({.batch = 2, .threads = 1});
  trained.initialise(1);
  network<deep> net({.batch = 2, .threads = 1, .training = false});
  const std::vector<float> x(4 * 4 * 3, 0.5f);
  CHECK_THROWS_AS(net.infer({x.data(), 1, net.input_shape}), argument_error);
  CHECK_THROWS_WITH(net.infer({x.data(), 1, net.input_shape}),
                    Catch::Matchers::Contains("no weights loaded"));
  net.use_weights([&](const parameter& p) { return trained.values(p).data(); });
  CHECK_NOTHROW(net.infer({x.data(), 1, net.input_shape}));
  CHECK_THROWS_WITH(trained.use_weights([&](const parameter& p) { return trained.values(p).data(); }),
                    "use_weights: this network was made for training: write to its values() instead");
}

TEST_CASE("backward() needs the values of a forward pass", "[network]") {
  network<deep> net({.batch = 2, .threads = 1});
  net.initialise(1);
  const std::vector<float> x(2 * 4 * 4 * 3, 0.5f);
  const tensor_view<const float> batch{x.data(), 2, net.input_shape};
  const std::string message =
      "backward: found no values of a forward pass, expected a call of forward() just before";
  CHECK_THROWS_WITH(net.backward(), message);
  net.forward(batch);
  CHECK_NOTHROW(net.backward());
  CHECK_THROWS_WITH(net.backward(), message);  // gradients stand where the values stood
  net.forward(batch);
  net.infer(batch);
  CHECK_THROWS_WITH(net.backward(), message);
}
