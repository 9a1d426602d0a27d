// SPDX-License-Identifier: MIT
// Whole networks on a card beside the same ones on the processor.
#include "../network/networks.hpp"
#include "skip.hpp"

#include <segnet/cuda.hpp>
#include <segnet/models/deconvnet.hpp>
#include <segnet/models/fcn.hpp>
#include <segnet/models/segnet.hpp>
#include <segnet/models/unet.hpp>
#include <segnet/network/checkpoint.hpp>

#if defined(SEGNET_CUDA_SIMULATED)
#include "simulator/runtime.hpp"
#endif

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

using namespace segnet;
using namespace segnet::test;

namespace {

using car = carvana_network<32, 32, 8, 16>;
/// Channel counts that no tensor core takes as they are.
using odd_car = carvana_network<16, 24, 3, 5, 6>;

/// Batch-norms that only a convolution reads: on the images, and behind another one, with and without a ReLU.
struct normalised {
  static constexpr auto build() {
    graph_builder g;
    value x = g(relu{}, g("images", batch_norm{}, g.input({9, 8, 8})));
    x = g("inner", batch_norm{}, g("first", conv2d{.channels = 16}, x));
    x = g("odd", batch_norm{}, g("second", conv2d{.channels = 5, .stride = 2}, x));
    g.output(g("last", conv2d{.channels = 2, .kernel = 1}, g(relu{}, x)));
    return g;
  }
};

/// How far results may be apart, relative to the largest: a few roundings of T in each of some ten layers.
template <class Backend>
constexpr double tolerance() {
  if (std::is_same_v<Backend, cuda>) return 2e-4;
  return std::is_same_v<Backend, cuda_fp16> ? 0.05 : 0.2;
}

/// The norm of the difference, relative to that of what is expected.
template <class A, class B>
double distance(const A& got, const B& expected) {
  double apart = 0, size = 1e-30;
  auto e = expected.begin();
  for (auto g = got.begin(); g != got.end(); ++g, ++e) {
    const double x = static_cast<double>(*g), y = static_cast<double>(*e);
    apart += (x - y) * (x - y);
    size += y * y;
  }
  return std::sqrt(apart / size);
}

template <class Network>
const parameter& weights_of_last_layer() {
  const auto& entries = Network::parameter_table().entries;
  int last = entries.size() - 1;
  while (entries[last].spec.rank != 4) --last;
  return entries[last];
}

/// Runs both networks forward, backward and in inference, and compares everything that comes out.
template <class Def, class Backend>
void compare_with_cpu(int batch = 2, std::uint64_t seed = 3) {
  using cpu_net = network<Def>;
  using card_net = network<Def, Backend>;
  constexpr double limit = tolerance<Backend>();
  cpu_net expected({.batch = batch, .threads = 2});
  card_net found({.batch = batch});
  randomise(expected, seed);
  randomise(found, seed);

  const auto values =
      random_images<float>(static_cast<std::size_t>(batch) * Def::build().finish().input_shape().size(), 4);
  const typename cpu_net::images images{values.data(), batch, cpu_net::input_shape};
  for (const bool accumulate : {false, true}) {
    const auto a = expected.forward(images, 0.5, 9);
    const auto b = found.forward(images, 0.5, 9);
    REQUIRE(b.dims == a.dims);
    CHECK(distance(b, a) < limit);
    random_gradient(expected, 7);
    random_gradient(found, 7);
    expected.backward(accumulate);
    found.backward(accumulate);
    // A rounding that takes a value across zero opens or shuts a ReLU, and one that exchanges two values of a
    // pooling's window sends a gradient elsewhere: with a random upstream gradient that is much more, layer
    // by layer, than the rounding itself. The last layer shows the rounding alone.
    CHECK(distance(found.gradients(), expected.gradients()) < (limit > 1e-3 ? 0.7 : 5e-3));
    const parameter& last = weights_of_last_layer<cpu_net>();
    CHECK(distance(found.gradient(last), expected.gradient(last)) < limit);
  }
  for (const parameter& p : cpu_net::parameter_table().entries) {
    INFO(parameter_name(cpu_net::training_graph(), p));
    if (!p.spec.trainable) CHECK(distance(found.values(p), expected.values(p)) < limit);
  }
  for (const int count : {batch, 1, batch}) {
    const auto a = expected.infer({values.data(), count, cpu_net::input_shape});
    const auto b = found.infer({values.data(), count, cpu_net::input_shape});
    CHECK(distance(b, a) < limit);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("networks give on a card what they give on the processor", "", cuda, cuda_bf16,
                   cuda_fp16) {
  SEGNET_SKIP_WITHOUT_CARD();
  SECTION("7-2-7-1, narrow") { compare_with_cpu<car, TestType>(); }
  SECTION("odd numbers of channels") { compare_with_cpu<odd_car, TestType>(3); }
}

TEST_CASE("all network types run on a card") {
  SEGNET_SKIP_WITHOUT_CARD();
  SECTION("SegNet") { compare_with_cpu<segnet_vgg16<32, 48, 4, 4>, cuda>(); }
  SECTION("SegNet-Basic") { compare_with_cpu<segnet_basic<32, 32, 3, 4>, cuda>(); }
  SECTION("FCN-8s") { compare_with_cpu<fcn_8s<32, 32, 3, 2, 8>, cuda>(1); }
  SECTION("DeconvNet") { compare_with_cpu<deconvnet<3, 2, 8>, cuda>(2, 4); }
  SECTION("U-Net") { compare_with_cpu<unet_same<32, 32, 3, 4>, cuda>(); }
}

TEMPLATE_TEST_CASE("convolutions do what batch-norms in front of them would, forward and backward", "", cuda,
                   cuda_bf16, cuda_fp16) {
  SEGNET_SKIP_WITHOUT_CARD();
  compare_with_cpu<normalised, TestType>(3);
}

TEST_CASE("TF32 is a choice of the running program") {
  SEGNET_SKIP_WITHOUT_CARD();
  network<car, cuda> exact({.batch = 1}), rounded({.batch = 1, .tf32 = true});
  randomise(exact, 1);
  randomise(rounded, 1);
  const auto values = random_images<float>(car::build().finish().input_shape().size(), 4);
  const auto a = exact.infer({values.data(), 1, network<car>::input_shape});
  const auto b = rounded.infer({values.data(), 1, network<car>::input_shape});
  CHECK(distance(b, a) < 0.02);
}

TEST_CASE("weights and checkpoints travel between devices") {
  SEGNET_SKIP_WITHOUT_CARD();
  network<car> on_cpu({.batch = 1});
  network<car, cuda> on_card({.batch = 1});
  on_cpu.initialise(5);
  on_card.initialise(5);
  CHECK(std::ranges::equal(on_cpu.parameters(), on_card.parameters()));

  const auto values = random_images<float>(network<car>::input_shape.size(), 4);
  on_card.forward({values.data(), 1, network<car>::input_shape});
  const auto file = std::filesystem::temp_directory_path() / "segnet_cuda_network.safetensors";
  save_checkpoint(file, on_card, {});
  load_checkpoint(safetensors_file(file), on_cpu);
  CHECK(std::ranges::equal(on_cpu.parameters(), on_card.parameters()));
  CHECK(std::ranges::equal(on_cpu.statistics(), on_card.statistics()));

  network<car, cuda> inference({.batch = 1, .training = false});
  CHECK_THROWS_AS(inference.infer({values.data(), 1, network<car>::input_shape}), argument_error);
  load_checkpoint(safetensors_file(file), inference);
  const auto a = on_cpu.infer({values.data(), 1, network<car>::input_shape});
  const auto b = inference.infer({values.data(), 1, network<car>::input_shape});
  CHECK(distance(b, a) < tolerance<cuda>());
  std::filesystem::remove(file);
}

TEST_CASE("what a network on a card refuses, it refuses with the processor's words") {
  SEGNET_SKIP_WITHOUT_CARD();
  using net_t = network<car, cuda>;
  CHECK_THROWS_WITH(net_t({.batch = 0}), "batch size: found 0, expected at least 1");
  CHECK_THROWS_WITH(net_t({.batch = 4, .available_memory = 1000}),
                    Catch::Matchers::Contains("but the card has 0.0 MiB available"));
  CHECK_THROWS_AS(net_t({.device = 1000}), cuda_error);
  net_t net({.batch = 2});
  const std::vector<float> values(3 * net_t::input_shape.size());
  CHECK_THROWS_WITH(net.infer({values.data(), 3, net_t::input_shape}),
                    "input images: found a batch of 3, expected 1 to 2");
  CHECK_THROWS_AS(net.backward(), argument_error);
}

TEST_CASE("gradients outlive the timing of engines for another number of images") {
  SEGNET_SKIP_WITHOUT_CARD();
  network<car, cuda> net({.batch = 2}), expected({.batch = 2});
  expected.prepare_training(1);
  const auto values = random_images<float>(2 * network<car>::input_shape.size(), 4);
  const auto gradients_of = [&](network<car, cuda>& n) {
    n.initialise(1);
    n.forward({values.data(), 2, network<car>::input_shape});
    random_gradient(n, 7);
    n.backward();
    n.forward({values.data(), 1, network<car>::input_shape});
    random_gradient(n, 8);
    n.backward(true);
    const auto found = n.gradients();
    return std::vector<float>(found.begin(), found.end());
  };
  CHECK((gradients_of(net) == gradients_of(expected)));
}

#if defined(SEGNET_CUDA_SIMULATED)
TEST_CASE("a card that fills up between two calls loses nothing") {
  network<car, cuda_bf16> net({.batch = 4, .training = false});
  {
    network<car> source({.batch = 1});
    source.initialise(1);
    net.use_weights([&](const parameter& p) { return source.values(p).data(); });
  }
  const auto values = random_images<float>(4 * network<car>::input_shape.size(), 4);
  const auto infer = [&](int count) {
    const auto found = net.infer({values.data(), count, network<car>::input_shape});
    return std::vector<float>(found.data, found.data + found.size());
  };
  // Which engines there is room for decides about the last bit of a 16-bit number.
  const auto agrees = [&](int count, const std::vector<float>& expected) {
    const auto found = infer(count);
    return std::ranges::equal(found, std::span(expected).first(found.size()),
                              [](float x, float y) { return std::abs(x - y) < tolerance<cuda_bf16>(); });
  };
  const auto four = infer(4);
  for (int i = 0; i < 3; ++i) CHECK(agrees(4, four));
  // Room for the plain engines of another number of images, but not for trying others.
  const std::size_t used = gpu::simulator::allocated_bytes();
  setenv("SEGNET_SIMULATED_MEMORY", std::to_string(used + (8 << 20)).c_str(), 1);
  CHECK(agrees(1, four));
  // No room at all: what was there goes on.
  setenv("SEGNET_SIMULATED_MEMORY", "1", 1);
  CHECK_THROWS_AS(infer(3), memory_error);
  unsetenv("SEGNET_SIMULATED_MEMORY");
  for (int i = 0; i < 3; ++i) CHECK(agrees(4, four));
  for (const int count : {1, 3, 2, 4}) CHECK(agrees(count, four));
}

TEST_CASE("steps and inference allocate nothing on the card") {
  network<car, cuda_bf16> net({.batch = 2});
  net.initialise(1);
  const auto values = random_images<float>(2 * network<car>::input_shape.size(), 4);
  const auto once = [&] {
    net.forward({values.data(), 2, network<car>::input_shape});
    random_gradient(net, 7);
    net.backward();
    net.infer({values.data(), 2, network<car>::input_shape});
  };
  once();
  const auto before = gpu::simulator::allocations();
  once();
  CHECK(gpu::simulator::allocations() == before);
}
#endif
