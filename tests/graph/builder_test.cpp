// SPDX-License-Identifier: MIT
#include <segnet/layers/graph_builder.hpp>

#include <catch2/catch.hpp>
#include <string>
#include <type_traits>

using namespace segnet;

namespace {

constexpr auto two_levels() {
  graph_builder g;
  value x = g.input({12, 20, 3});
  value skip;
  {
    auto level = g.scope("encoder", 0);
    skip = g("conv", conv2d{.channels = 5}, x);
    x = g(max_pool{2}, skip);
    auto inner = g.scope("inner");
    x = g(conv2d{.channels = 7, .kernel = 1}, x);
  }
  x = g(upsample{2}, x);
  g.output(g("joined", concat{}, skip, x));
  return g.finish();
}

// Shapes are inferred while compiling.
constexpr auto built = two_levels();
static_assert(built.valid());
static_assert(built.nodes.size() == 6);
static_assert(built.input_shape() == shape{12, 20, 3});
static_assert(built.nodes[1].dims == shape{12, 20, 5});
static_assert(built.nodes[2].dims == shape{6, 10, 5});
static_assert(built.nodes[3].dims == shape{6, 10, 7});
static_assert(built.nodes[4].dims == shape{12, 20, 7});
static_assert(built.output_shape() == shape{12, 20, 12});
static_assert(built.inputs_of(5).list[0] == shape{12, 20, 5} &&
              built.inputs_of(5).list[1] == shape{12, 20, 7});
// Cutting off the spare room and the layer types that are not there changes nothing else.
constexpr auto kinds = built.kinds();
static_assert(kinds.size() == 4);  // conv2d, max_pool, upsample, concat
constexpr auto small = built.fitted<6, kinds[0], kinds[1], kinds[2], kinds[3]>();
static_assert(small.output_shape() == shape{12, 20, 12});
static_assert(std::is_same_v<decltype(small), const graph<6, conv2d, max_pool, upsample, concat>>);
static_assert(sizeof(small) * 20 < sizeof(built));
constexpr bool same_layers() {
  bool same = true;
  for (int i = 1; i < built.nodes.size(); ++i)
    small.visit(i, [&](const auto& l) {
      built.visit(i, [&](const auto& original) {
        same = same && std::is_same_v<decltype(l), decltype(original)>;
        if constexpr (requires { l.channels, original.channels; })
          same = same && l.channels == original.channels;
      });
    });
  return same;
}
static_assert(same_layers());

template <class Build>
graph_mistake mistake(Build build) {
  graph_builder g;
  build(g);
  return g.finish().mistake;
}

}  // namespace

TEST_CASE("names come from scopes, labels, or types and numbers", "[graph]") {
  CHECK(built.nodes[0].label.view() == "input");
  CHECK(built.nodes[1].label.view() == "encoder.0.conv");
  CHECK(built.nodes[2].label.view() == "encoder.0.max_pool_0");
  CHECK(built.nodes[3].label.view() == "encoder.0.inner.conv2d_1");
  CHECK(built.nodes[4].label.view() == "upsample_0");  // both scopes ended
  CHECK(built.nodes[5].label.view() == "joined");
}

TEST_CASE("names that checkpoints could not tell apart are refused", "[graph]") {
  using e = graph_error;
  const auto code = [](auto build) {
    const graph_mistake m = mistake([&](auto& g) {
      const value x = g.input({4, 4, 2});
      build(g, x);
      g.output(g("last", relu{}, x));
    });
    return std::pair(m.what, m.node);
  };
  CHECK(code([](auto& g, value x) { g("a", relu{}, x), g("b", relu{}, x), g("a", add{}, x, x); }) ==
        std::pair(e::layer_names_must_differ, 3));
  CHECK(code([](auto& g, value x) { g(relu{}, x), g("relu_0", relu{}, x); }) ==
        std::pair(e::layer_names_must_differ, 2));
  CHECK(code([](auto& g, value x) {
          g("s.a", relu{}, x);
          auto s = g.scope("s");
          g("a", relu{}, x);
        }) == std::pair(e::layer_names_must_differ, 2));
  CHECK(code([](auto& g, value x) {
          g("a", relu{}, x);
          auto s = g.scope("s");
          g("a", relu{}, x);
        }).first == e::none);
  const std::string longest(name::capacity, 'n');
  CHECK(code([&](auto& g, value x) { g(longest, relu{}, x); }).first == e::none);
  CHECK(code([&](auto& g, value x) { g(longest + "n", relu{}, x); }) == std::pair(e::layer_name_too_long, 1));
  CHECK(code([&](auto& g, value x) {
          auto s = g.scope(longest);
          g("n", relu{}, x);
        }) == std::pair(e::layer_name_too_long, 1));
}

TEST_CASE("a value's shape can be asked for", "[graph]") {
  graph_builder g;
  const value x = g(max_pool{4}, g.input({8, 16, 2}));
  CHECK(g.dims(x) == shape{2, 4, 2});
}

TEST_CASE("the first mistake is the one that is told", "[graph]") {
  const graph_mistake m = mistake([](auto& g) {
    value x = g.input({8, 8, 3});
    x = g(relu{}, x);
    x = g(max_pool{3}, x);             // call 2: the first mistake
    x = g(conv2d{.channels = -1}, x);  // ignored, as is what follows
    g.output(g(add{}, x, value{77}));
  });
  CHECK(m.what == graph_error::pooling_needs_input_divisible_by_window);
  CHECK(m.node == 2);
  CHECK(m.found == shape{8, 8, 3});
  CHECK(m.expected == shape{3, 3, 3});
}

TEST_CASE("an unpooling fits its pooling or is refused", "[graph]") {
  using e = graph_error;
  const auto refused = [](auto unpool) {
    return mistake([&](auto& g) {
      const value x = g("conv", conv2d{.channels = 4}, g.input({45, 60, 3}));
      const value pooled = g("pool", max_pool{.ceil = true}, x);
      g.output(unpool(g, x, pooled));
    });
  };
  CHECK(refused([](auto& g, value, value p) { return g(max_unpool{.h = 45}, p, p); }).what == e::none);

  graph_mistake m = refused([](auto& g, value x, value p) { return g(max_unpool{.h = 45}, p, x); });
  CHECK(m.what == e::unpooling_needs_the_value_of_its_pooling);
  CHECK(m.node == 3);
  CHECK(m.found == shape{45, 60, 4});
  CHECK(refused([](auto& g, value, value p) { return g(max_unpool{.h = 45}, p, value{0}); }).what ==
        e::unpooling_needs_the_value_of_its_pooling);
  CHECK(refused([](auto& g, value, value p) { return g(max_unpool{.h = 45}, p, g(relu{}, p)); }).what ==
        e::unpooling_needs_the_value_of_its_pooling);

  m = refused([](auto& g, value, value p) { return g(max_unpool{.window = 3, .h = 45, .w = 60}, p, p); });
  CHECK(m.what == e::unpooling_needs_the_window_of_its_pooling);
  CHECK(m.found == shape{3, 3, 4});
  CHECK(m.expected == shape{2, 2, 4});

  m = refused([](auto& g, value, value p) {
    return g(max_unpool{.h = 45}, g(conv2d{.channels = 5, .kernel = 1}, p), p);
  });
  CHECK(m.what == e::unpooling_needs_the_shape_of_the_pooled_value);
  CHECK(m.found == shape{23, 30, 5});
  CHECK(m.expected == shape{23, 30, 4});

  m = refused([](auto& g, value, value p) { return g(max_unpool{}, p, p); });  // 46 rows
  CHECK(m.what == e::unpooling_must_restore_the_size_before_pooling);
  CHECK(m.found == shape{46, 60, 4});
  CHECK(m.expected == shape{45, 60, 4});

  CHECK(refused([](auto& g, value, value p) { return g(max_unpool{.h = 45}, p); }).what ==
        e::wrong_number_of_inputs);
  CHECK(refused([](auto& g, value, value p) { return g(max_unpool{.h = 45}, p, p, p); }).what ==
        e::wrong_number_of_inputs);
}

TEST_CASE("every mistake has its code and the number of its call", "[graph]") {
  using e = graph_error;
  const auto code = [](auto build) {
    const graph_mistake m = mistake(build);
    return std::pair(m.what, m.node);
  };
  CHECK(code([](auto&) {}) == std::pair(e::network_has_no_output, 0));
  CHECK(code([](auto& g) { g(relu{}, g.input({2, 2, 1})); }) == std::pair(e::network_has_no_output, 2));
  CHECK(code([](auto& g) { g.input({2, 0, 1}); }) == std::pair(e::shape_must_be_positive, 0));
  CHECK(code([](auto& g) {
          g.input({2, 2, 1}), g.input({2, 2, 1});
        }) == std::pair(e::input_must_come_first_and_only_once, 1));
  CHECK(code([](auto& g) { g(relu{}, value{0}); }) == std::pair(e::value_does_not_belong_to_this_graph, 0));
  CHECK(code([](auto& g) {
          g(relu{}, g.input({2, 2, 1})), g(relu{}, value{2});
        }) == std::pair(e::value_does_not_belong_to_this_graph, 2));
  CHECK(code([](auto& g) {
          g.input({2, 2, 1}), g.output(value{});
        }) == std::pair(e::value_does_not_belong_to_this_graph, 1));
  CHECK(code([](auto& g) { g.output(g.input({2, 2, 1})); }) == std::pair(e::output_must_not_be_the_input, 1));
  CHECK(code([](auto& g) { g(upsample{0}, g.input({2, 2, 1})); }) == std::pair(e::shape_must_be_positive, 1));
  CHECK(code([](auto& g) {
          value x = g.input({2, 2, 1});
          for (int i = 0; i < max_nodes; ++i) x = g(relu{}, x);
        }) == std::pair(e::too_many_layers, max_nodes));
}
