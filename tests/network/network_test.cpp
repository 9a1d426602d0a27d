// SPDX-License-Identifier: MIT
#include <segnet/loss/bce_dice.hpp>
#include <segnet/network/network.hpp>
#include <segnet/optim/adam.hpp>

#include "networks.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <type_traits>
#include <vector>

using namespace segnet;
using test::narrow;

namespace {

// Known while compiling.
using net_type = network<narrow>;
static_assert(net_type::input_shape == shape{16, 24, 3} && net_type::output_shape == shape{16, 24, 1});
static_assert(net_type::memory.training_bytes(8) < 4_MiB);
static_assert(net_type::memory.inference_per_image < net_type::memory.training_per_image);
static_assert(net_type::memory.parameters >= net_type::trainable_count * sizeof(float));
static_assert(network<narrow, basic_cpu<double>>::memory.parameters == 2 * net_type::memory.parameters);
static_assert(!std::is_copy_constructible_v<net_type>);

/// The definition's own graph, nothing fused or folded, run by the executor with running statistics.
template <class Network, class T = typename Network::scalar>
std::vector<T> evaluate_unfused(Network& net, const std::vector<T>& images, int batch) {
  using backend_type = std::remove_cvref_t<decltype(net.backend())>;
  const auto graph = std::make_unique<decltype(Network::definition::build().finish())>(
      Network::definition::build().finish());
  const auto plan = std::make_unique<schedule>(
      make_schedule<backend_type>(*graph, {.training = false, .scalar_bytes = sizeof(T)}));
  const auto table = std::make_unique<parameter_table>(make_parameter_table(*graph));
  aligned_buffer<std::byte> arena(plan->bytes_per_image * static_cast<std::size_t>(batch));
  aligned_buffer<T> shared(plan->scratch.shared + 1), threads((plan->scratch.per_thread + 64) * 8);
  std::vector<const T*> tensors(static_cast<std::size_t>(table->entries.size()));
  detail::locate<T>(*table, net.parameters().data(), net.statistics().data(), tensors);
  const detail::run_memory<T, T> memory{.arena = arena.data(),
                                        .input = images.data(),
                                        .tensors = tensors.data(),
                                        .scratch = {shared.data(), threads.data(), plan->scratch.per_thread}};
  const detail::executor run(net.backend(), *graph, *plan, *table, memory, batch);
  run.forward(false);
  const T* y = run.data(plan->output);
  return std::vector<T>(y, y + static_cast<std::size_t>(batch) * Network::output_shape.size());
}

}  // namespace

TEST_CASE("infer() computes what the definition says", "[network]") {
  net_type net({.batch = 3, .threads = 2});
  test::randomise(net, 5);
  const auto images = test::random_images<float>(3 * net.input_shape.size(), 1);
  const auto expected = evaluate_unfused(net, images, 3);
  const auto got = net.infer({images.data(), 3, net.input_shape});
  REQUIRE(got.size() == expected.size());
  CHECK(test::difference(got, expected) < 1e-5);
  // The output depends on the picture, the parameters and the statistics.
  CHECK(test::difference(expected, std::vector<float>(expected.size(), expected[0])) > 0.01);
}

TEST_CASE("infer() in double precision computes what the definition says", "[network]") {
  network<narrow, basic_cpu<double>> net({.batch = 2, .threads = 1});
  test::randomise(net, 6);
  const auto images = test::random_images<double>(2 * net.input_shape.size(), 1);
  const auto expected = evaluate_unfused(net, images, 2);
  CHECK(test::difference(net.infer({images.data(), 2, net.input_shape}), expected) < 1e-13);
}

TEST_CASE("a network for inference only computes the same bits", "[network]") {
  net_type net({.batch = 2, .threads = 1});
  test::randomise(net, 7);
  const auto images = test::random_images<float>(2 * net.input_shape.size(), 2);
  const auto output = net.infer({images.data(), 2, net.input_shape});
  const std::vector<float> expected(output.begin(), output.end());
  net_type small({.batch = 2, .threads = 2, .training = false});
  CHECK_FALSE(small.for_training());
  CHECK(small.parameters().empty());
  small.use_weights([&](const parameter& p) { return net.values(p).data(); });
  const auto inferred = [&] {
    const auto got = small.infer({images.data(), 2, net.input_shape});
    return std::vector<float>(got.begin(), got.end());
  };
  CHECK(inferred() == expected);
  // They are read where they are.
  for (float& x : net.parameters()) x *= 1.5f;
  small.parameters_changed();
  const std::vector<float> changed = inferred();
  CHECK(changed != expected);
  net.parameters_changed();
  const auto again = net.infer({images.data(), 2, net.input_shape});
  CHECK(changed == std::vector<float>(again.begin(), again.end()));
}

TEST_CASE("weights are kept alive by their owner, and those of before where new ones fail", "[network]") {
  net_type trained({.threads = 1});
  test::randomise(trained, 7);
  const auto images = test::random_images<float>(net_type::input_shape.size(), 2);
  const tensor_view<const float> batch{images.data(), 1, net_type::input_shape};
  const float expected = trained.infer(batch).data[5];

  auto copies = std::make_shared<std::vector<std::vector<float>>>();
  std::weak_ptr<const void> alive = copies;
  {
    net_type small({.threads = 1, .training = false});
    small.use_weights(
        [&](const parameter& p) {
          const auto values = trained.values(p);
          return copies->emplace_back(values.begin(), values.end()).data();
        },
        copies);
    copies.reset();
    CHECK_FALSE(alive.expired());
    CHECK(small.infer(batch).data[5] == expected);
    int left = 3;
    const auto failing = [&](const parameter&) -> const float* {
      if (left-- == 0) throw error("no more");
      return images.data();
    };
    CHECK_THROWS_WITH(small.use_weights(failing), "no more");
    CHECK(small.infer(batch).data[5] == expected);
  }
  CHECK(alive.expired());
}

TEST_CASE("infer() after a second initialise() uses the new weights", "[network]") {
  const auto images = test::random_images<float>(net_type::input_shape.size(), 2);
  const tensor_view<const float> batch{images.data(), 1, net_type::input_shape};
  const auto inferred = [&](net_type& net) {
    const auto output = net.infer(batch);
    return std::vector<float>(output.begin(), output.end());
  };
  net_type net({.threads = 1}), fresh({.threads = 1});
  net.initialise(1);
  const auto first = inferred(net);
  net.initialise(2);
  fresh.initialise(2);
  CHECK(inferred(net) == inferred(fresh));
  CHECK(inferred(net) != first);
}

TEST_CASE("each image of a batch is inferred by itself", "[network]") {
  net_type net({.batch = 3, .threads = 2});
  test::randomise(net, 8);
  const auto images = test::random_images<float>(3 * net.input_shape.size(), 3);
  const tensor_view<const float> batch{images.data(), 3, net.input_shape};
  const auto all = net.infer(batch);
  const std::vector<float> expected(all.begin(), all.end());
  for (int i = 0; i < 3; ++i) {
    const auto one = net.infer(batch.slice(i, 1));
    const auto first = expected.begin() + i * static_cast<std::ptrdiff_t>(one.size());
    CHECK(std::equal(one.begin(), one.end(), first));
  }
}

TEST_CASE("infer() notices what a training step changed", "[network]") {
  net_type net({.batch = 2, .threads = 1});
  net.initialise(1);
  const auto images = test::random_images<float>(2 * net.input_shape.size(), 4);
  const tensor_view<const float> batch{images.data(), 2, net.input_shape};
  const auto probability = [&] { return net.infer(batch).data[5]; };
  const float before = probability();
  CHECK(probability() == before);
  net.forward(batch);  // moves the running statistics
  const float after_forward = probability();
  CHECK(after_forward != before);
  // Weights are read where they are; the scales and shifts that are computed from the others, when told.
  for (const parameter& p : net.parameter_table().entries)
    if (p.spec.init == initializer::ones) std::ranges::fill(net.values(p), 3.0f);
  CHECK(probability() == after_forward);
  net.parameters_changed();
  CHECK(probability() != after_forward);
}

TEST_CASE("forward() returns logits with the batch's statistics", "[network]") {
  net_type net({.batch = 2, .threads = 1});
  test::randomise(net, 9);
  const auto images = test::random_images<float>(2 * net.input_shape.size(), 5);
  const auto logits = net.forward({images.data(), 2, net.input_shape});
  const std::vector<float> first(logits.begin(), logits.end());
  for (float& x : net.statistics()) x = 3;  // of no influence
  const auto again = net.forward({images.data(), 2, net.input_shape});
  CHECK(std::vector<float>(again.begin(), again.end()) == first);
  CHECK(*std::min_element(first.begin(), first.end()) < 0);  // no probabilities
}

TEST_CASE("gradients of micro-batches add up", "[network]") {
  net_type net({.batch = 2, .threads = 2});
  test::randomise(net, 10);
  const auto images = test::random_images<float>(4 * net.input_shape.size(), 6);
  const tensor_view<const float> all{images.data(), 4, net.input_shape};
  const auto gradients = [&](int part, bool accumulate) {
    net.forward(all.slice(2 * part, 2));
    test::random_gradient(net, static_cast<std::uint64_t>(part));
    net.backward(accumulate);
    return std::vector<float>(net.gradients().begin(), net.gradients().end());
  };
  const auto second = gradients(1, false);
  const auto first = gradients(0, false);
  CHECK(test::difference(first, second) > 0.1);
  const auto both = gradients(1, true);
  std::vector<float> sum(first.size());
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = first[i] + second[i];
  CHECK(test::difference(both, sum) < 1e-6);
  // Without accumulation nothing of the past remains.
  CHECK(gradients(0, false) == first);
}

TEST_CASE("training gives the same bits for any number of threads", "[network]") {
  const auto train = [](int threads) {
    net_type net({.batch = 4, .threads = threads});
    net.initialise(11);
    const auto images = test::random_images<float>(4 * net.input_shape.size(), 7);
    std::vector<float> masks(4 * net.output_shape.size());
    for (std::size_t i = 0; i < masks.size(); ++i) masks[i] = images[3 * i] > 0.5f ? 1.0f : 0.0f;
    std::vector<float> m(net.parameters().size()), v(m.size());
    adam_state<float> state{m, v};
    double first = 0, last = 0;
    for (int step = 0; step < 3; ++step) {
      const auto logits = net.forward({images.data(), 4, net.input_shape});
      const auto gradient = net.output_gradient();
      last = bce_dice{}(net.backend(), {logits.begin(), logits.size()}, masks, {},
                        {gradient.begin(), gradient.size()})
                 .total;
      if (step == 0) first = last;
      net.backward();
      adam{}(net.backend(), 0.01, net.parameters(), net.gradients(), state);
    }
    CHECK(last < first);
    std::vector<float> bits(net.parameters().begin(), net.parameters().end());
    bits.insert(bits.end(), net.statistics().begin(), net.statistics().end());
    bits.push_back(static_cast<float>(last));
    return bits;
  };
  const auto one = train(1);
  CHECK(train(2) == one);
  CHECK(train(3) == one);
}

TEST_CASE("initial values depend on the seed and on the tensor alone", "[network]") {
  net_type a({.batch = 1, .threads = 1}), b({.batch = 1, .threads = 2});
  a.initialise(3);
  b.initialise(3);
  CHECK(test::difference(b.parameters(), a.parameters()) == 0);
  b.initialise(4);
  CHECK(test::difference(b.parameters(), a.parameters()) > 0.1);
  for (const parameter& p : a.parameter_table().entries) {
    const auto values = a.values(p);
    CAPTURE(parameter_name(a.training_graph(), p));
    if (p.spec.rank == 4) {
      const double fans = p.spec.dims[1] * p.spec.dims[2] * (p.spec.dims[0] + p.spec.dims[3]);
      const double limit = std::sqrt(6 / fans);
      const auto [low, high] = std::minmax_element(values.begin(), values.end());
      CHECK(static_cast<double>(*high) <= limit);
      CHECK(static_cast<double>(*low) >= -limit);
      CHECK(static_cast<double>(*high - *low) > 0.5 * limit);
    } else {
      const float expected = p.spec.name == "running_var" || p.spec.name == "weight" ? 1.0f : 0.0f;
      CHECK(std::all_of(values.begin(), values.end(), [&](float x) { return x == expected; }));
    }
  }
}

TEST_CASE("running statistics move by Keras' momentum and take the unbiased variance", "[network]") {
  struct norm {
    static constexpr auto build() {
      graph_builder g;
      g.output(g("bn", batch_norm{.momentum = 0.75}, g.input({1, 2, 1})));
      return g;
    }
  };
  network<norm, basic_cpu<double>> net({.batch = 2, .threads = 1});
  net.initialise(1);
  const std::vector<double> x{1, 2, 3, 6};  // mean 3, biased variance 3.5, unbiased 14 / 3
  net.forward({x.data(), 2, net.input_shape});
  CHECK(net.values(net.parameter_table().entries[2])[0] == Approx(0.25 * 3));
  CHECK(net.values(net.parameter_table().entries[3])[0] == Approx(0.75 + 0.25 * 14 / 3));
}

TEST_CASE("a network without parameters runs", "[network]") {
  struct pool {
    static constexpr auto build() {
      graph_builder g;
      g.output(g(sigmoid{}, g(max_pool{2}, g.input({2, 2, 1}))));
      return g;
    }
  };
  network<pool> net({.batch = 1, .threads = 1});
  const float x[] = {-1, 0, 0, -2};
  CHECK(net.infer({x, 1, net.input_shape}).data[0] == 0.5f);
  CHECK(net.forward({x, 1, net.input_shape}).data[0] == 0);
  CHECK(net.output_gradient().data == nullptr);
  CHECK_NOTHROW(net.backward());
  static_assert(network<pool>::parameter_count == 0);
}

TEST_CASE("dropout follows the seed of the call, and is gone in inference", "[network]") {
  struct definition {
    static constexpr auto build() {
      graph_builder g;
      const value x = g("conv", conv2d{.channels = 8, .kernel = 1, .bias = false}, g.input({12, 10, 1}));
      g.output(g("second", dropout{}, g("first", dropout{.rate = 0.25}, x)));
      return g;
    }
  };
  using dropping = network<definition>;
  const std::vector<float> images(3 * dropping::input_shape.size(), 1.0f);
  const tensor_view<const float> batch{images.data(), 3, dropping::input_shape};
  const auto run = [&](int threads, std::uint64_t seed) {
    dropping net({.batch = 3, .threads = threads});
    std::ranges::fill(net.parameters(), 1.0f);
    const auto y = net.forward(batch, 1, seed);
    std::vector<float> result(y.begin(), y.end());
    // Pictures and weights are 1: a filter's gradient is the sum of what it wrote, if the mask is the same.
    double sum = 0, gradient = 0;
    for (float value : result) sum += static_cast<double>(value);
    std::ranges::fill(net.output_gradient(), 1.0f);
    net.backward();
    for (float value : net.gradients()) gradient += static_cast<double>(value);
    CHECK(gradient == Approx(sum));
    // Images do not share a mask.
    CHECK_FALSE(std::equal(y.at(0, 0, 0), y.at(1, 0, 0), y.at(1, 0, 0)));
    const auto inferred = net.infer(batch);
    CHECK(std::ranges::all_of(inferred, [](float value) { return value == 1; }));
    return result;
  };
  const auto seven = run(1, 7);
  CHECK(run(2, 7) == seven);
  CHECK(run(1, 8) != seven);
  const auto kept = std::ranges::count_if(seven, [](float value) { return value != 0; });
  // 0.75 * 0.5 of 2880, within five standard deviations: the layers' masks are independent.
  CHECK(std::abs(static_cast<double>(kept) - 1080) < 130);
  CHECK(network<definition>::inference_schedule().steps.size() == 1);
}
