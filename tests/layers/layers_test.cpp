// SPDX-License-Identifier: MIT
// Whole layers, forward and backward, against PyTorch's numbers: tests/reference/README.md.
#include <segnet/network/gradient_check.hpp>

#include "reference_cases.hpp"

using namespace segnet;
using namespace segnet::reference;
using nlohmann::json;

namespace {

/// Runs a layer on a case's input, weights and bias, as far as it has them, and compares all results.
template <class T, layer L>
void check_layer(const L& l, const json& c) {
  CAPTURE(c.at("name").get<std::string>());
  basic_graph_builder<L> g;
  g.output(g("layer", l, g.input(dims(c))));
  const auto graph = g.finish();
  REQUIRE(graph.valid());
  segnet::detail::checked_graph<basic_cpu<T>, std::remove_const_t<decltype(graph)>> run(graph,
                                                                                        c.at("n").get<int>());
  run.input = get<T>(c, "input");
  const auto key_of = [](const parameter& p) { return p.spec.name == "weight" ? "weights" : "bias"; };
  for (const parameter& p : run.table().entries) {
    const auto values = get<T>(c, key_of(p));
    REQUIRE(values.size() == p.spec.size());
    std::copy(values.begin(), values.end(), run.parameters.data() + p.offset);
  }
  const auto y = run.forward();
  check(std::vector<T>(y.begin(), y.end()), c, "output");

  run.backward(get<double>(c, "output_gradient"), false);
  std::vector<T> dx(run.input.size());
  for (std::size_t i = 0; i < dx.size(); ++i) dx[i] = run.input_gradient(i);
  check(dx, c, "input_gradient");
  for (const parameter& p : run.table().entries) {
    const T* const gradient = run.gradients.data() + p.offset;
    check(std::vector<T>(gradient, gradient + p.spec.size()), c,
          (std::string(key_of(p)) + "_gradient").c_str());
  }
}

}  // namespace

TEMPLATE_TEST_CASE("transposed_conv2d is PyTorch's", "[layers]", double, float) {
  for (const json& c : cases("transposed_conv2d")) {
    const auto at = [&c](const char* key) { return c.at(key).get<int>(); };
    check_layer<TestType>(transposed_conv2d{.channels = at("channels"),
                                            .kernel = at("kernel"),
                                            .stride = at("stride"),
                                            .pad = at("pad"),
                                            .h = at("out_h"),
                                            .w = at("out_w"),
                                            .per_channel = c.at("per_channel").get<bool>()},
                          c);
  }
}

TEMPLATE_TEST_CASE("crop is PyTorch's", "[layers]", double, float) {
  for (const json& c : cases("crop")) {
    const auto at = [&c](const char* key) { return c.at(key).get<int>(); };
    check_layer<TestType>(crop{at("out_h"), at("out_w"), at("top"), at("left")}, c);
  }
}
