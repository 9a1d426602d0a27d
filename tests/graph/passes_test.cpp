// SPDX-License-Identifier: MIT
// What each pass rewrites, and where it must not.
#include <segnet/graph/passes.hpp>
#include <segnet/models/carvana.hpp>

#include <catch2/catch.hpp>
#include <string_view>

using namespace segnet;

namespace {

template <class Graph>
constexpr int find(const Graph& g, std::string_view label) {
  for (int id = 0; id < g.nodes.size(); ++id)
    if (g.nodes[id].label.view() == label) return id;
  return -1;
}
template <class Graph>
constexpr bool dead(const Graph& g, std::string_view label) {
  return g.nodes[find(g, label)].dead;
}
/// The convolution or batch-norm of that name.
template <class Layer, class Graph>
constexpr Layer get(const Graph& g, std::string_view label) {
  Layer found{};
  g.visit(find(g, label), [&](const auto& l) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(l)>, Layer>) found = l;
  });
  return found;
}
template <class Graph>
constexpr int reads(const Graph& g, std::string_view label, int i) {
  return g.nodes[find(g, label)].inputs[i];
}

constexpr auto plain = carvana_network<16, 16, 4, 6>::build().finish();
constexpr auto trained = training_graph(plain);
constexpr auto inferred = inference_graph(plain);

}  // namespace

TEST_CASE("the training graph: what is fused and what is not", "[graph]") {
  // batch-norm takes its ReLU where it is the only reader, and the convolutions take nothing.
  CHECK(dead(trained, "encoder.0.relu1"));
  CHECK(get<batch_norm>(trained, "encoder.0.bn1").act == activation::relu);
  CHECK(get<conv2d>(trained, "encoder.0.conv1").act == activation::none);
  CHECK_FALSE(dead(trained, "encoder.0.bn1"));
  // Both the pool and the skip read the second batch-norm: it stays, and so does the ReLU.
  CHECK(get<batch_norm>(trained, "encoder.0.bn2").act == activation::none);
  CHECK_FALSE(dead(trained, "encoder.0.skip"));
  CHECK(reads(trained, "encoder.0.pool", 0) == find(trained, "encoder.0.bn2"));
  CHECK(reads(trained, "encoder.0.skip", 0) == find(trained, "encoder.0.bn2"));
  // Upsampling and concatenation are read in place.
  CHECK(dead(trained, "decoder.1.up"));
  CHECK(dead(trained, "decoder.1.concat"));
  CHECK(reads(trained, "decoder.1.conv1", 0) == find(trained, "encoder.1.skip"));
  CHECK(reads(trained, "decoder.1.conv1", 1) == find(trained, "center.bn2"));
  CHECK(get<conv2d>(trained, "decoder.1.conv1").reads.upsample[0] == 1);
  CHECK(get<conv2d>(trained, "decoder.1.conv1").reads.upsample[1] == 2);
  // The sigmoid is the loss's.
  CHECK(dead(trained, "probability"));
  CHECK(trained.output == find(trained, "classifier"));
}

TEST_CASE("the inference graph: batch-norm is gone", "[graph]") {
  for (int id = 1; id < inferred.nodes.size(); ++id)
    inferred.visit(id, [&](const auto& l) {
      if (std::is_same_v<std::remove_cvref_t<decltype(l)>, batch_norm>) CHECK(inferred.nodes[id].dead);
    });
  CHECK(inferred.nodes[find(inferred, "encoder.0.conv2")].folded == find(inferred, "encoder.0.bn2"));
  CHECK(get<conv2d>(inferred, "encoder.0.conv1").act == activation::relu);
  // The pool and the skip's ReLU read the same value: the convolution writes both.
  CHECK(get<conv2d>(inferred, "encoder.0.conv2").act == activation::relu);
  CHECK(get<conv2d>(inferred, "encoder.0.conv2").pools_first);
  CHECK(dead(inferred, "encoder.0.skip"));
  CHECK(inferred.nodes[find(inferred, "encoder.0.conv2")].pooled == find(inferred, "encoder.0.pool"));
  CHECK(inferred.nodes[find(inferred, "encoder.0.pool")].writer == find(inferred, "encoder.0.conv2"));
  CHECK(reads(inferred, "encoder.1.conv1", 0) == find(inferred, "encoder.0.pool"));
  CHECK(reads(inferred, "decoder.0.conv1", 0) == find(inferred, "encoder.0.conv2"));
  CHECK_FALSE(dead(inferred, "encoder.1.conv1"));
  CHECK_FALSE(dead(inferred, "probability"));
}

TEST_CASE("passes keep the numbers, names and shapes of nodes", "[graph]") {
  REQUIRE(trained.nodes.size() == plain.nodes.size());
  REQUIRE(inferred.nodes.size() == plain.nodes.size());
  for (int id = 0; id < plain.nodes.size(); ++id)
    for (const auto* g : {&trained, &inferred}) {
      CHECK(g->nodes[id].label.view() == plain.nodes[id].label.view());
      CHECK(g->nodes[id].dims == plain.nodes[id].dims);
      CHECK(g->nodes[id].kind == plain.nodes[id].kind);
      if (!g->nodes[id].dead)
        for (int input : g->nodes[id].inputs) CHECK_FALSE(g->nodes[input].dead);
    }
}

TEST_CASE("what the output does not depend on is removed", "[graph]") {
  graph_builder g;
  const value x = g.input({4, 4, 2});
  const value a = g("a", conv2d{.channels = 3}, x);
  const value unused = g("unused", conv2d{.channels = 9}, a);
  g("unused too", relu{}, unused);
  g.output(g("b", relu{}, a));
  auto graph = g.finish();
  const auto training = training_graph(graph);
  CHECK(dead(training, "unused"));
  CHECK(dead(training, "unused too"));
  // The unused branch no longer counts as a reader: the ReLU is fused.
  CHECK(dead(training, "b"));
  CHECK(get<conv2d>(training, "a").act == activation::relu);
  CHECK(training.output == find(training, "a"));
}

TEST_CASE("batch-norm is folded only into a convolution that it alone reads", "[graph]") {
  graph_builder g;
  const value x = g.input({4, 4, 2});
  const value shared = g("shared", conv2d{.channels = 2, .bias = false}, x);
  const value n1 = g("n1", batch_norm{}, shared);
  const value own = g("own", conv2d{.channels = 2, .bias = false}, n1);
  const value n2 = g("n2", batch_norm{}, own);
  const value n3 = g("n3", batch_norm{}, n2);                          // a second one behind the first
  const value n4 = g("n4", batch_norm{}, g("pool", max_pool{1}, n3));  // behind something else
  const value activated = g("activated", conv2d{.channels = 2}, n4);
  const value n5 = g("n5", batch_norm{}, g("relu", relu{}, activated));  // the ReLU stands between
  g.output(g("sum", add{}, shared, n5));
  const auto inference = inference_graph(g.finish());
  CHECK_FALSE(dead(inference, "n1"));
  CHECK(inference.nodes[find(inference, "shared")].folded == -1);
  CHECK(dead(inference, "n2"));
  CHECK(inference.nodes[find(inference, "own")].folded == find(inference, "n2"));
  CHECK_FALSE(get<conv2d>(inference, "own").bias);  // its tensors stay those of the definition
  CHECK_FALSE(dead(inference, "n3"));
  CHECK(reads(inference, "n3", 0) == find(inference, "own"));
  CHECK_FALSE(dead(inference, "n4"));
  CHECK_FALSE(dead(inference, "n5"));
  CHECK(inference.nodes[find(inference, "activated")].folded == -1);
}

TEST_CASE("pooling is fused into the convolution that it reads", "[graph]") {
  graph_builder g;
  const value x = g.input({12, 12, 2});
  const value after = g("after", conv2d{.channels = 2}, x);  // as in U-Net: the pool reads behind the ReLU
  const value activated = g("activated", relu{}, after);
  const value p1 = g("p1", max_pool{2}, activated);
  const value shared = g("shared", conv2d{.channels = 2}, p1);  // three readers: the ReLU stays
  const value p2 = g("p2", upsample{2}, g("p2.pool", max_pool{2}, shared));
  const value r2 = g("r2", relu{}, shared);
  const value sum = g("sum", add{}, g("sum.left", add{}, shared, p2), r2);
  const value large = g("large", conv2d{.channels = 2}, sum);
  const value p3 = g("p3", max_pool{3}, large);                     // not 2 x 2
  const value p4 = g("p4", max_pool{2}, g("up", upsample{2}, p3));  // not behind a convolution
  g.output(g("joined", concat{}, p4, g("down", max_pool{6}, activated)));
  const auto inference = inference_graph(g.finish());
  const auto writer = [&](std::string_view pool) { return inference.nodes[find(inference, pool)].writer; };
  CHECK(writer("p1") == find(inference, "after"));
  CHECK(dead(inference, "activated"));
  CHECK_FALSE(get<conv2d>(inference, "after").pools_first);
  CHECK(writer("p2.pool") == find(inference, "shared"));
  CHECK(get<conv2d>(inference, "shared").act == activation::none);
  CHECK_FALSE(dead(inference, "r2"));
  CHECK(writer("p3") == -1);
  CHECK(writer("p4") == -1);
  CHECK(writer("down") == -1);
  // Training keeps every pooling as a layer of its own.
  const auto training = training_graph(g.finish());
  CHECK(training.nodes[find(training, "p1")].writer == -1);
}

TEST_CASE("a ReLU beside a fused pooling takes none of its readers with it", "[graph]") {
  graph_builder g;
  const value x = g("conv", conv2d{.channels = 4}, g.input({8, 8, 2}));
  const value pooled = g("pool", max_pool{2}, x);
  const value activated = g("relu", relu{}, x);
  const value after = g("after", conv2d{.channels = 4, .kernel = 1}, activated);
  const value small = g("small", max_pool{2}, activated);
  g.output(g("joined", concat{}, g("up", upsample{2}, g("both", add{}, pooled, small)), after));
  const auto inference = inference_graph(g.finish());
  CHECK(dead(inference, "relu"));
  CHECK(reads(inference, "after", 0) == find(inference, "conv"));
  CHECK(reads(inference, "small", 0) == find(inference, "conv"));
  CHECK_FALSE(dead(inference, "after"));
  CHECK_FALSE(dead(inference, "small"));
  CHECK(inference.nodes[find(inference, "small")].writer == -1);
}

TEST_CASE("a pooling whose indices an unpooling reads stays a layer", "[graph]") {
  graph_builder g;
  const value x = g("conv", conv2d{.channels = 4}, g.input({8, 8, 2}));
  const value pooled = g("pool", max_pool{2}, x);
  const value other = g("other", conv2d{.channels = 4, .stride = 2}, x);
  g("unused", max_unpool{}, other, g("pool.unused", max_pool{2}, x));
  g.output(g("unpool", max_unpool{}, other, pooled));
  for (const auto& graph : {training_graph(g.finish()), inference_graph(g.finish())}) {
    // Nobody reads the pooled value, and yet its layer must run.
    CHECK_FALSE(dead(graph, "pool"));
    CHECK(graph.nodes[find(graph, "pool")].writer == -1);
    CHECK(graph.nodes[find(graph, "unpool")].saved_source == find(graph, "pool"));
    CHECK(graph.nodes[find(graph, "unpool")].inputs.size() == 1);
    CHECK(dead(graph, "pool.unused"));
  }
}

TEST_CASE("a batch-norm's own activation survives folding", "[graph]") {
  graph_builder g;
  const value x = g("conv", conv2d{.channels = 2}, g.input({4, 4, 2}));
  g.output(g("norm", batch_norm{.act = activation::relu}, x));
  const auto inference = inference_graph(g.finish());
  CHECK(dead(inference, "norm"));
  CHECK(get<conv2d>(inference, "conv").act == activation::relu);
}

TEST_CASE("sources with another reader are materialised", "[graph]") {
  graph_builder g;
  const value x = g.input({4, 4, 2});
  const value small = g("small", max_pool{2}, x);
  const value up = g("up", upsample{2}, small);
  const value joined = g("joined", concat{}, x, up);
  const value a = g("a", conv2d{.channels = 6}, joined);
  g.output(g("sum", concat{}, a, joined));
  const auto training = training_graph(g.finish());
  CHECK_FALSE(dead(training, "joined"));
  CHECK_FALSE(dead(training, "up"));  // its reader is no convolution
  CHECK_FALSE(dead(training, "sum"));
}

TEST_CASE("upsampling that a definition asks of a convolution is kept", "[graph]") {
  graph_builder g;
  const value x = g.input({4, 4, 2});
  const value small = g("small", max_pool{2}, x);
  const value up = g("up", upsample{2}, small);
  const value joined = g("joined", concat{}, x, up);
  g.output(g("conv", conv2d{.channels = 3, .reads = {{2, 1, 1, 1}}}, joined));
  const auto training = training_graph(g.finish());
  CHECK(dead(training, "joined"));
  CHECK(dead(training, "up"));
  const conv2d conv = get<conv2d>(training, "conv");
  CHECK(conv.reads.upsample[0] == 2);
  CHECK(conv.reads.upsample[1] == 4);
  const auto in = training.inputs_of(find(training, "conv"));
  CHECK(conv.out_shape(in).value == shape{8, 8, 3});
}

TEST_CASE("a sigmoid that something else reads stays in training", "[graph]") {
  graph_builder g;
  const value x = g("conv", conv2d{.channels = 2}, g.input({4, 4, 2}));
  const value p = g("p", sigmoid{}, x);
  g.output(g("product", add{}, p, x));
  CHECK_FALSE(dead(training_graph(g.finish()), "p"));
}

TEST_CASE("inference has no dropout, and fuses across it", "[graph]") {
  graph_builder g;
  const value x = g("conv", conv2d{.channels = 2}, g.input({4, 4, 2}));
  const value y = g("relu", relu{}, g("between", dropout{}, g("norm", batch_norm{}, x)));
  g.output(g("last", dropout{.rate = 0.1}, g("classes", softmax{}, y)));
  const auto inference = inference_graph(g.finish());
  CHECK(dead(inference, "between"));
  CHECK(dead(inference, "last"));
  CHECK(inference.output == find(inference, "classes"));
  CHECK(dead(inference, "relu"));
  CHECK(inference.nodes[find(inference, "conv")].folded == find(inference, "norm"));
  const auto training = training_graph(g.finish());
  CHECK_FALSE(dead(training, "between"));
  CHECK_FALSE(dead(training, "last"));
  CHECK_FALSE(dead(training, "classes"));  // not the last layer
}

TEST_CASE("a network of nothing but dropout keeps it", "[graph]") {
  graph_builder g;
  const value x = g("first", dropout{}, g.input({4, 4, 1}));
  g.output(g("second", dropout{}, x));
  const auto inference = inference_graph(g.finish());
  CHECK(inference.output > 0);
  CHECK_FALSE(inference.nodes[inference.output].dead);
}

TEST_CASE("a final softmax is the loss's", "[graph]") {
  graph_builder g;
  g.output(g("classes", softmax{}, g("scores", conv2d{.channels = 3}, g.input({4, 4, 2}))));
  CHECK(training_graph(g.finish()).output == find(g.finish(), "scores"));
  CHECK_FALSE(dead(inference_graph(g.finish()), "classes"));
}

TEST_CASE("a sigmoid of the network's input stays in training", "[graph]") {
  graph_builder g;
  g.output(g(sigmoid{}, g.input({4, 4, 1})));
  CHECK(training_graph(g.finish()).output == 1);
}
