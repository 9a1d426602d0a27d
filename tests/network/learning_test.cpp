// SPDX-License-Identifier: MIT
// From a layer's `learn` to what an optimizer does to the flat buffers.
#include <segnet/optim/adam.hpp>
#include <segnet/optim/sgd.hpp>

#include "networks.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

using namespace segnet;

namespace {

/// Multipliers of four kinds: all one, biases twice as fast and without decay, a frozen layer, a frozen
/// scale.
struct mixed {
  static constexpr auto build() {
    graph_builder g;
    value x = g("first", conv2d{.channels = 4}, g.input({6, 6, 3}));
    x = g("caffe", conv2d{.channels = 5, .learn = {.bias_rate = 2, .bias_decay = 0}}, x);
    x = g("frozen", conv2d{.channels = 3, .bias = false, .learn = {.rate = 0, .bias_rate = 0}}, x);
    x = g("norm", batch_norm{.learn = {.rate = 0, .bias_rate = 3}}, x);
    g.output(g("last", conv2d{.channels = 2, .kernel = 1, .learn = {.rate = 10}}, x));
    return g;
  }
};

/// The same without multipliers.
struct plain {
  static constexpr auto build() {
    graph_builder g;
    const value x = g("first", conv2d{.channels = 4}, g.input({6, 6, 3}));
    g.output(g("norm", batch_norm{}, x));
    return g;
  }
};

using net_type = network<mixed>;
static_assert(network<plain>::parameter_groups().empty());
static_assert(net_type::parameter_groups().size() == 6);
static_assert(net_type::parameter_groups()[1].rate == 2 && net_type::parameter_groups()[1].decay == 0);

/// A step with a gradient everywhere; how far each tensor moved.
template <class Step>
std::vector<double> moved(Step step) {
  net_type net({.batch = 2, .threads = 1});
  net.initialise(3);
  std::vector<std::vector<float>> before;
  for (const parameter& p : net.parameter_table().entries) {
    const auto values = net.values(p);
    before.emplace_back(values.begin(), values.end());
    if (p.spec.trainable) std::ranges::fill(net.gradient(p), 1.0F);
  }
  step(net);
  std::vector<double> distance;
  auto old = before.begin();
  for (const parameter& p : net.parameter_table().entries) {
    const auto values = net.values(p);
    distance.push_back(static_cast<double>((*old)[0] - values[0]));
    for (std::size_t i = 0; i < values.size(); ++i)
      if (distance.back() == 0) CHECK(values[i] == (*old)[i]);
    ++old;
  }
  return distance;
}

}  // namespace

TEST_CASE("groups follow the tensors' places", "[network]") {
  const auto& entries = net_type::parameter_table().entries;
  for (const parameter& p : entries) {
    if (!p.spec.trainable) continue;
    std::size_t begin = 0;
    for (const parameter_group& group : net_type::parameter_groups()) {
      INFO(p.spec.name << " of node " << p.node);
      if (p.offset >= begin && p.offset < group.end) {
        CHECK(p.offset + p.spec.size() <= group.end);
        CHECK(group.rate == p.spec.rate);
        CHECK(group.decay == p.spec.decay);
      }
      begin = group.end;
    }
    CHECK(begin == net_type::memory.parameters / sizeof(float));
  }
}

TEST_CASE("layers learn at the rates that they ask for", "[network]") {
  // first.weight, first.bias, caffe.weight, caffe.bias, frozen.weight, the norm's four, last.weight,
  // last.bias
  const std::vector<double> rates{1, 1, 1, 2, 0, 0, 3, 0, 0, 10, 1};
  const auto slow = moved([](net_type& net) {
    std::vector<float> v(net.parameters().size());
    sgd_state<float> state{v};
    sgd{}(net.backend(), 1e-3, net.parameters(), net.gradients(), state, 1, net.parameter_groups());
  });
  const auto fast = moved([](net_type& net) {
    std::vector<float> m(net.parameters().size()), v(m.size());
    adam_state<float> state{m, v};
    adam{}(net.backend(), 1e-3, net.parameters(), net.gradients(), state, 1, net.parameter_groups());
  });
  REQUIRE(slow.size() == rates.size());
  for (std::size_t i = 0; i < rates.size(); ++i) {
    INFO("tensor " << i);
    CHECK(slow[i] == Approx(1e-3 * rates[i]).epsilon(1e-3).margin(0));
    CHECK(fast[i] == Approx(1e-3 * rates[i]).epsilon(1e-3).margin(0));
  }
}
