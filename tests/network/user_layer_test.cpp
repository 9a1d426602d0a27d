// SPDX-License-Identifier: MIT
// A layer from outside the library takes part in everything: plan, training, folding, inference.
#include <segnet/network/gradient_check.hpp>
#include <segnet/network/network.hpp>

#include "networks.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace segnet;

namespace {

/// y = gain[c] * (x - mean of the image's channel): parameters, saved scalars of each kind, and scratch.
struct centred {
  static constexpr std::string_view type_name = "centred";
  static constexpr backward_needs needs{.inputs = true};

  constexpr shape_result out_shape(std::span<const shape> in) const { return in[0]; }
  constexpr parameter_specs parameters(std::span<const shape> in) const {
    parameter_specs specs;
    specs.push_back({"gain", {in[0].c}, 1, initializer::ones});
    return specs;
  }
  constexpr saved_size saved(std::span<const shape> in) const {
    return {.bytes_per_image = in[0].size(), .elements = 1};
  }
  template <class Backend>
  constexpr layer_workspace workspace(std::span<const shape> in, bool) const {
    return {.per_image = static_cast<std::size_t>(in[0].c), .scratch = {}};
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    using T = typename Backend::scalar;
    const auto x = ctx.inputs[0];
    means(x, ctx.workspace);
    for (std::size_t i = 0; i < x.size(); ++i)
      ctx.output.data[i] = ctx.parameters[0][channel(x, i)] * (x.data[i] - ctx.workspace[slot(x, i)]);
    if (ctx.saved != nullptr) ctx.saved[0] = T(42);
    if (ctx.saved_bytes != nullptr) std::fill_n(ctx.saved_bytes, x.size(), std::uint8_t{7});
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    using T = typename Backend::scalar;
    const auto x = ctx.inputs[0];
    const auto c = static_cast<std::size_t>(x.dims.c);
    const bool intact =
        ctx.saved[0] == T(42) && ctx.saved_bytes[0] == 7 && ctx.saved_bytes[x.size() - 1] == 7;
    T* dgain = ctx.parameter_gradients[0];
    if (!ctx.accumulate_parameters) std::fill_n(dgain, c, T(0));
    means(x, ctx.workspace);
    for (std::size_t i = 0; i < x.size(); ++i)
      dgain[channel(x, i)] += ctx.output_gradient.data[i] * (x.data[i] - ctx.workspace[slot(x, i)]);
    if (ctx.input_gradients[0].data == nullptr) return;
    means(ctx.output_gradient, ctx.workspace);
    for (std::size_t i = 0; i < x.size(); ++i) {
      T& dx = ctx.input_gradients[0].data[i];
      const T g =
          ctx.parameters[0][channel(x, i)] * (ctx.output_gradient.data[i] - ctx.workspace[slot(x, i)]);
      dx = (intact ? g : T(0)) + (ctx.accumulate[0] ? dx : T(0));
    }
  }

 private:
  template <class T>
  static std::size_t channel(const tensor_view<T>& x, std::size_t i) {
    return i % static_cast<std::size_t>(x.dims.c);
  }
  template <class T>
  static std::size_t slot(const tensor_view<T>& x, std::size_t i) {
    return i / x.dims.size() * static_cast<std::size_t>(x.dims.c) + channel(x, i);
  }
  template <class T>
  static void means(const tensor_view<const T>& x, T* to) {
    std::fill_n(to, static_cast<std::size_t>(x.n * x.dims.c), T(0));
    for (std::size_t i = 0; i < x.size(); ++i) to[slot(x, i)] += x.data[i] / static_cast<T>(x.dims.pixels());
  }
};

struct net_of_users {
  static constexpr auto build() {
    graph_builder<centred> g;
    value x = g("first", centred{}, g.input({6, 8, 2}));  // straight behind the images
    x = g("conv", conv2d{.channels = 4}, x);
    x = g("second", centred{}, x);
    x = g("bn", batch_norm{}, g("conv2", conv2d{.channels = 3}, x));
    g.output(g("third", centred{}, x));
    return g;
  }
};

/// Keeps scalars of its own, has no parameters and reads the images: no gradient flows through it.
struct brightness {
  static constexpr std::string_view type_name = "brightness";
  constexpr shape_result out_shape(std::span<const shape> in) const { return in[0]; }
  constexpr saved_size saved(std::span<const shape>) const { return {.elements = 8}; }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    std::copy_n(ctx.inputs[0].data, ctx.output.size(), ctx.output.data);
    if (ctx.saved != nullptr) std::fill_n(ctx.saved, 8, typename Backend::scalar(1e6));
  }
  template <class Backend>
  void backward(const backward_context<Backend>&) const {}
};

struct late_reader {
  static constexpr auto build() {
    graph_builder<brightness> g;
    const value images = g.input({4, 4, 2});
    const value x = g("bn", batch_norm{}, g("conv", conv2d{.channels = 2}, images));
    g.output(
        g("sum", add{}, x, g("images", brightness{}, images)));  // runs after the batch-norm saved its own
    return g;
  }
};

}  // namespace

TEST_CASE("a user's layer passes the gradient check, alone and in a graph", "[network]") {
  CHECK(gradient_check(centred{}, {{4, 3, 5}}, {.accumulate = true}).passed(1e-8));
  CHECK(gradient_check_graph(training_graph(net_of_users::build().finish()), {.accumulate = true}).passed());
}

TEST_CASE("a user's layer takes part in network<>", "[network]") {
  network<net_of_users> net({.batch = 2, .threads = 2});
  static_assert(network<net_of_users>::parameter_count == 2 + 76 + 4 + 111 + 12 + 3);
  test::randomise(net, 3);
  CHECK(parameter_name(net.training_graph(), net.parameter_table().entries[0]) == "first.gain");
  const auto images = test::random_images<float>(2 * net.input_shape.size(), 1);
  const tensor_view<const float> batch{images.data(), 2, net.input_shape};
  const auto y = net.infer(batch);
  double sum = 0;  // centred: the mean over each image's pixels is zero
  for (std::size_t i = 0; i < y.dims.size(); i += 3) sum += static_cast<double>(y.data[i]);
  CHECK(std::abs(sum) < 1e-4);
  net.forward(batch);
  test::random_gradient(net, 1);
  net.backward();
  for (const parameter& p : net.parameter_table().entries)
    if (p.spec.name == "gain")
      for (float g : net.gradient(p)) CHECK(g != 0.0f);
}

TEST_CASE("a layer without a gradient does not write into another's saved values", "[network]") {
  CHECK(gradient_check_graph(training_graph(late_reader::build().finish())).passed());
  network<late_reader> net({.batch = 2, .threads = 1});
  net.initialise(1);
  const auto images = test::random_images<float>(2 * net.input_shape.size(), 1);
  net.forward({images.data(), 2, net.input_shape});
  test::random_gradient(net, 1);
  net.backward();
  for (const parameter& p : net.parameter_table().entries)
    if (p.spec.trainable)
      for (float g : net.gradient(p)) CHECK(std::abs(g) < 100.0f);
}
