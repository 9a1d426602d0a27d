// SPDX-License-Identifier: MIT
// Proofs on plans: see plan_simulator.hpp for what is checked at every step.
#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/graph/passes.hpp>
#include <segnet/graph/schedule.hpp>

#include "plan_simulator.hpp"
#include "random_graph.hpp"

#include <catch2/catch.hpp>
#include <memory>

using namespace segnet;

namespace {

template <class Graph>
void check_plan(const Graph& g, schedule_options options) {
  const auto plan = std::make_unique<schedule>(make_schedule<cpu>(g, options));
  CHECK(test::check_offsets(*plan) == "");
  CHECK(test::plan_simulator<cpu, Graph, schedule>(g, *plan, options).run() == "");
}

}  // namespace

TEST_CASE("plans of random graphs never lose or overwrite a value", "[graph]") {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    const auto g =
        std::make_unique<decltype(test::random_graph(0, 1))>(test::random_graph(seed, 12 + int(seed % 50)));
    REQUIRE(g->valid());
    check_plan(*g, {});
    check_plan(*g, {.training = true, .input_gradient = true, .scalar_bytes = 8});
    check_plan(*g, {.training = false});
    check_plan(training_graph(*g), {});
    check_plan(training_graph(*g), {.training = true, .input_gradient = true});
    check_plan(inference_graph(*g), {.training = false});
  }
}

TEST_CASE("a value with several readers gets one gradient, added up", "[graph]") {
  graph_builder g;
  const value x = g("x", conv2d{.channels = 2}, g.input({4, 4, 2}));
  const value twice = g("twice", add{}, x, x);
  g.output(g("sum", add{}, twice, x));
  const auto graph = g.finish();
  const schedule plan = make_schedule<cpu>(graph, {});
  REQUIRE(plan.forward_steps == 3);
  REQUIRE(plan.steps.size() == 6);
  const step& sum = plan.steps[3];
  const step& twice_back = plan.steps[4];
  CHECK_FALSE(sum.accumulate[0]);
  CHECK_FALSE(sum.accumulate[1]);
  CHECK(twice_back.accumulate[0]);
  CHECK(twice_back.accumulate[1]);
  CHECK(twice_back.input_gradients[0] == sum.input_gradients[1]);
  // The images need no gradient.
  CHECK(plan.steps[5].input_gradients[0] == no_buffer);
  CHECK(plan.steps[5].inputs[0] == external_buffer);
}

TEST_CASE("relu works in place where nobody reads its input again", "[graph]") {
  const auto buffers = [](auto reader_of_input) {
    graph_builder g;
    const value x = g(max_pool{2}, g.input({4, 4, 2}));
    const value y = g(relu{}, x);
    g.output(reader_of_input ? g(add{}, x, y) : g(upsample{2}, y));
    const schedule plan = make_schedule<cpu>(g.finish(), {.training = false});
    return plan.steps[1].inputs[0] == plan.steps[1].output;
  };
  CHECK(buffers(false));
  CHECK_FALSE(buffers(true));
}

TEST_CASE("inference frees what training keeps", "[graph]") {
  graph_builder g;
  value x = g.input({32, 32, 4});
  for (int i = 0; i < 6; ++i) x = g(relu{}, g(conv2d{.channels = 4}, x));
  g.output(x);
  const auto graph = inference_graph(g.finish());
  constexpr std::size_t one = 32 * 32 * 4 * sizeof(float);
  CHECK(make_schedule<cpu>(graph, {.training = false}).bytes_per_image == 2 * one);
  // Six values and, at any time, two gradients; the last value's own is needed for its ReLU.
  CHECK(make_schedule<cpu>(graph, {.training = true}).bytes_per_image >= 6 * one);
}

TEST_CASE("training recomputes what batch-norm writes instead of keeping it", "[graph]") {
  graph_builder g;
  value x = g.input({32, 32, 4});
  for (int i = 0; i < 4; ++i) x = g(relu{}, g(batch_norm{}, g(conv2d{.channels = 4}, x)));
  g.output(g(conv2d{.channels = 4}, x));
  const schedule plan = make_schedule<cpu>(training_graph(g.finish()), {});
  // All but the last, which the first backward step reads.
  CHECK(std::count_if(plan.steps.begin(), plan.steps.end(), [](const step& s) { return s.recompute; }) == 3);
  constexpr std::size_t one = 32 * 32 * 4 * sizeof(float);
  // The convolutions' outputs, the last batch-norm's, the logits, two gradients; a recomputed value later.
  CHECK(plan.bytes_per_image <= 8 * one);
}

TEST_CASE("in training a convolution gives the batch-norm behind it the statistics", "[graph]") {
  graph_builder g;
  const value x = g("conv", conv2d{.channels = 24}, g.input({4, 4, 2}));
  const value a = g("first", batch_norm{}, x), b = g("second", batch_norm{}, x);
  g.output(g("third", batch_norm{}, g("sum", add{}, a, b)));
  const auto graph = g.finish();
  const schedule plan = make_schedule<cpu>(graph, {});
  const step &conv = plan.steps[0], &first = plan.steps[1], &second = plan.steps[2], &third = plan.steps[4];
  REQUIRE(first.saved_elements >= 0);
  CHECK(conv.statistics == first.saved_elements);
  CHECK(first.statistics_given);
  // One of the readers only; and a sum gives none.
  CHECK_FALSE(second.statistics_given);
  CHECK_FALSE(third.statistics_given);
  for (const step& s : make_schedule<cpu>(graph, {.training = false}).steps) {
    CHECK(s.statistics == -1);
    CHECK_FALSE(s.statistics_given);
  }
}

namespace {
struct able : cpu {
  static constexpr bool takes_prologue = true;
};
}  // namespace

TEST_CASE("a convolution normalises what it reads where the backend can", "[graph]") {
  graph_builder g;
  const value a = g("a", batch_norm{}, g("conv_a", conv2d{.channels = 4}, g.input({8, 8, 2})));
  const value b = g("b", batch_norm{}, g("conv_b", conv2d{.channels = 4}, a));
  const value c = g("c", batch_norm{}, g("conv_c", conv2d{.channels = 4}, g("pool", max_pool{}, b)));
  g.output(g("logits", conv2d{.channels = 1}, g("join", concat{}, g("up", upsample{}, c), b)));
  const auto graph = training_graph(g.finish());
  const schedule usual = make_schedule<cpu>(graph, {}), plan = make_schedule<able>(graph, {});
  const auto called = [&](const step& s) { return graph.nodes[s.node].label.view(); };
  for (const step& s : usual.steps) CHECK((s.coefficients == -1 && s.front == -1));
  REQUIRE(plan.steps.size() == usual.steps.size());
  int gives = -1;
  for (int i = 0; i < plan.forward_steps; ++i) {
    const step& s = plan.steps[i];
    CHECK((s.coefficients >= 0) == (called(s) == "a"));
    CHECK((s.output == no_buffer) == (called(s) == "a"));
    if (called(s) == "a") gives = i;
    CHECK((s.front >= 0) == (called(s) == "conv_b"));
    if (called(s) != "conv_b") continue;
    CHECK(s.front == gives);
    CHECK(s.front_act == activation::none);
    CHECK(s.inputs[0] == plan.steps[0].output);
  }
  // The backward pass reads the value itself, and from the same place what it was made of.
  for (int i = plan.forward_steps; i < plan.steps.size(); ++i)
    if (const step& s = plan.steps[i]; called(s) == "conv_b") {
      CHECK(s.inputs[0] != plan.steps[0].output);
      CHECK(s.front == gives);
    }
  CHECK(plan.bytes_per_image <= usual.bytes_per_image);
  for (const step& s : make_schedule<able>(graph, {.training = false}).steps) CHECK(s.front == -1);
}

TEST_CASE("the gradient that only a batch-norm gives sums to zero", "[graph]") {
  graph_builder g;
  const value a = g("a", conv2d{.channels = 4}, g.input({4, 4, 2}));
  const value b = g("b", conv2d{.channels = 4}, g("norm", batch_norm{}, a));
  const value both = g("sum", add{}, g("again", batch_norm{}, b), b);
  g.output(g("c", conv2d{.channels = 1}, both));
  const auto graph = g.finish();
  for (const step& s : make_schedule<cpu>(graph, {}).steps)
    CHECK(s.centred == (s.backward && !s.recompute && graph.nodes[s.node].label.view() == "a"));
}

TEST_CASE("a pooling keeps its indices as long as somebody reads them, and not its value", "[graph]") {
  graph_builder g;
  const value x = g("x", conv2d{.channels = 2}, g.input({4, 4, 2}));
  const value pooled = g("pool", max_pool{2}, x);
  const value small = g("small", conv2d{.channels = 2}, pooled);
  const value up = g("unpool", max_unpool{}, g("smaller", conv2d{.channels = 2}, small), pooled);
  g.output(g("last", conv2d{.channels = 1}, up));
  const auto graph = g.finish();
  REQUIRE(graph.valid());

  const schedule inference = make_schedule<cpu>(graph, {.training = false});
  const step &pool = inference.steps[1], &unpool = inference.steps[4];
  REQUIRE(pool.saved >= 0);
  CHECK(unpool.source_saved == pool.saved);
  CHECK(inference.buffers[pool.saved].first == 1);
  CHECK(inference.buffers[pool.saved].last == 4);
  CHECK(inference.buffers[pool.output].last == 2);  // "small" is the last to read the value
  CHECK(unpool.inputs[0] == inference.steps[3].output);
  CHECK(unpool.inputs[1] == no_buffer);

  // In training the last reader is the pooling's own backward step: 6 forward steps, the loss, 4 before it.
  const schedule training = make_schedule<cpu>(graph, {});
  REQUIRE(training.steps.size() == 12);
  const step &unpool_back = training.steps[7], &pool_back = training.steps[10];
  CHECK(unpool_back.source_saved == training.steps[1].saved);
  CHECK(unpool_back.input_gradients[1] == no_buffer);
  CHECK(pool_back.saved == training.steps[1].saved);
  CHECK(training.buffers[training.steps[1].saved].last == 11);
}

TEST_CASE("training keeps indices also where no gradient reaches the pooling", "[graph]") {
  graph_builder g;
  const value x = g.input({4, 4, 2});
  const value pooled = g("pool", max_pool{2}, x);  // of the images, which need no gradient
  const value up = g("unpool", max_unpool{}, g("small", conv2d{.channels = 2}, pooled), pooled);
  g.output(g("last", conv2d{.channels = 1}, up));
  const schedule plan = make_schedule<cpu>(g.finish(), {});
  REQUIRE(plan.steps[0].saved >= 0);
  REQUIRE(plan.steps.size() == 7);  // no backward step of the pooling
  CHECK(plan.steps[5].source_saved == plan.steps[0].saved);
  CHECK(plan.buffers[plan.steps[0].saved].last == 6);  // 4 forward steps, the loss, "last", "unpool"
}

TEST_CASE("a network without parameters has nothing to go back through", "[graph]") {
  graph_builder g;
  g.output(g(max_pool{2}, g.input({4, 4, 2})));
  const schedule plan = make_schedule<cpu>(g.finish(), {});
  CHECK(plan.steps.size() == 1);
  CHECK(plan.output_gradient == no_buffer);
  CHECK(plan.steps[0].saved == no_buffer);
}
