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

/// The same of a layer without parameters that reads several values. Those come from one image, whose
/// channels 1x1 convolutions select.
template <class T, layer L>
void check_merge(const L& l, const json& c) {
  const shape size{c.at("h").get<int>(), c.at("w").get<int>(), 1};
  const int n = c.at("n").get<int>();
  const auto pixels = static_cast<std::size_t>(n) * size.pixels();
  const json& sources = c.at("sources");
  int channels = 0;
  for (const json& s : sources) channels += s.at("channels").get<int>();
  const auto all = static_cast<std::size_t>(channels);

  basic_graph_builder<L, conv2d> g;
  const value image = g.input({size.h, size.w, channels});
  std::vector<value> parts;
  for (const json& s : sources)
    parts.push_back(g(conv2d{.channels = s.at("channels").get<int>(), .kernel = 1, .bias = false}, image));
  REQUIRE((parts.size() == 2 || parts.size() == 3));
  g.output(parts.size() == 2 ? g("layer", l, parts[0], parts[1])
                             : g("layer", l, parts[0], parts[1], parts[2]));
  const auto graph = g.finish();
  REQUIRE(graph.valid());
  segnet::detail::checked_graph<basic_cpu<T>, std::remove_const_t<decltype(graph)>> run(graph, n);

  std::size_t first = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto width = sources[i].at("channels").get<std::size_t>();
    const auto x = get<T>(sources[i], "input");
    const parameter& p = run.table().entries[static_cast<int>(i)];
    std::fill_n(run.parameters.data() + p.offset, p.spec.size(), T{0});
    for (std::size_t k = 0; k < width; ++k) {
      run.parameters.data()[p.offset + k * all + first + k] = 1;
      for (std::size_t pixel = 0; pixel < pixels; ++pixel)
        run.input[pixel * all + first + k] = x[pixel * width + k];
    }
    first += width;
  }
  const auto y = run.forward();
  check(std::vector<T>(y.begin(), y.end()), c, "output");
  run.backward(get<double>(c, "output_gradient"), false);
  first = 0;
  for (const json& s : sources) {
    const auto width = s.at("channels").get<std::size_t>();
    std::vector<T> dx(pixels * width);
    for (std::size_t i = 0; i < dx.size(); ++i)
      dx[i] = run.input_gradient(i / width * all + first + i % width);
    check(dx, s, "input_gradient");
    first += width;
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

TEMPLATE_TEST_CASE("upsample_bilinear is PyTorch's", "[layers]", double, float) {
  for (const json& c : cases("upsample_bilinear"))
    check_layer<TestType>(upsample_bilinear{c.at("factor").get<int>()}, c);
}

TEMPLATE_TEST_CASE("local_response_norm is PyTorch's", "[layers]", double, float) {
  for (const json& c : cases("local_response_norm")) {
    const auto at = [&c](const char* key) { return c.at(key).get<double>(); };
    check_layer<TestType>(local_response_norm{c.at("size").get<int>(), at("alpha"), at("beta"), at("k")}, c);
  }
}

TEMPLATE_TEST_CASE("concat and add are PyTorch's", "[layers]", double, float) {
  for (const json& c : cases("concat")) check_merge<TestType>(concat{}, c);
  for (const json& c : cases("add")) check_merge<TestType>(add{}, c);
}

TEST_CASE("bilinear weights upsample by the stride", "[layers]") {
  // As upsample_bilinear does, away from the border: there pixels beyond the image are zero.
  const shape in{5, 6, 3};
  const auto run = [&](const auto& l) {
    basic_graph_builder<std::remove_cvref_t<decltype(l)>> g;
    g.output(g("layer", l, g.input(in)));
    const auto graph = g.finish();
    REQUIRE(graph.valid());
    segnet::detail::checked_graph<basic_cpu<double>, std::remove_const_t<decltype(graph)>> at(graph, 1);
    for (std::size_t i = 0; i < at.input.size(); ++i) at.input[i] = std::sin(static_cast<double>(i * i));
    for (const parameter& p : at.table().entries)
      segnet::detail::initialise<double>(p.spec, {at.parameters.data() + p.offset, p.spec.size()}, 1, 1);
    const auto y = at.forward();
    return std::vector<double>(y.begin(), y.end());
  };
  for (int factor : {2, 3, 4})
    for (bool per_channel : {false, true}) {
      CAPTURE(factor, per_channel);
      const auto expected = run(upsample_bilinear{factor});
      const auto got = run(transposed_conv2d{.channels = 3,
                                             .kernel = 2 * factor - factor % 2,
                                             .stride = factor,
                                             .pad = factor / 2,
                                             .per_channel = per_channel,
                                             .init = initializer::bilinear});
      REQUIRE(got.size() == expected.size());
      const auto row = static_cast<std::size_t>(in.w * factor * in.c),
                 edge = static_cast<std::size_t>(factor);
      for (std::size_t i = 0; i < got.size(); ++i) {
        const std::size_t y = i / row, x = i % row / 3;
        if (y >= edge && y < 4 * edge && x >= edge && x < 5 * edge) CHECK(got[i] == Approx(expected[i]));
      }
    }
}
