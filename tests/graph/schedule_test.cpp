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

TEST_CASE("a network without parameters has nothing to go back through", "[graph]") {
  graph_builder g;
  g.output(g(max_pool{2}, g.input({4, 4, 2})));
  const schedule plan = make_schedule<cpu>(g.finish(), {});
  CHECK(plan.steps.size() == 1);
  CHECK(plan.output_gradient == no_buffer);
  CHECK(plan.steps[0].saved == no_buffer);
}
