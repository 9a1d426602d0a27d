// SPDX-License-Identifier: MIT
// The check itself: layers with one mistake each must not pass.
#include <segnet/network/gradient_check.hpp>

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace segnet;

namespace {

enum class mistake {
  none,
  sign,
  missing_term,
  zero,
  not_a_number,
  ignores_accumulate,
  parameter,
  single_precision
};

/// y = scale[c] * x^2 + x, right or wrong.
template <mistake Mistake>
struct square {
  static constexpr std::string_view type_name = "square";
  static constexpr backward_needs needs{.inputs = true};

  constexpr shape_result out_shape(std::span<const shape> in) const { return in[0]; }
  constexpr parameter_specs parameters(std::span<const shape> in) const {
    parameter_specs specs;
    specs.push_back({"scale", {in[0].c}, 1, initializer::ones});
    return specs;
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto* x = ctx.inputs[0].data;
    const auto channels = static_cast<std::size_t>(ctx.output.dims.c);
    for (std::size_t i = 0; i < ctx.output.size(); ++i)
      ctx.output.data[i] = ctx.parameters[0][i % channels] * x[i] * x[i] + x[i];
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    using T = typename Backend::scalar;
    const auto x = ctx.inputs[0];
    const auto channels = static_cast<std::size_t>(x.dims.c);
    const T* dy = ctx.output_gradient.data;
    T* dscale = ctx.parameter_gradients[0];
    if (!ctx.accumulate_parameters || Mistake == mistake::ignores_accumulate)
      for (std::size_t c = 0; c < channels; ++c) dscale[c] = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      dscale[i % channels] +=
          dy[i] * x.data[i] * x.data[i] * (Mistake == mistake::parameter ? T(1.01) : T(1));
    for (std::size_t i = 0; i < x.size(); ++i) {
      T slope = 2 * ctx.parameters[0][i % channels] * x.data[i] + 1;
      if (Mistake == mistake::sign) slope = -slope;
      if (Mistake == mistake::missing_term) slope -= 1;
      if (Mistake == mistake::zero) slope = 0;
      if (Mistake == mistake::not_a_number && i == 0) slope = std::numeric_limits<T>::quiet_NaN();
      if (Mistake == mistake::single_precision && sizeof(T) == 4) slope *= T(1.01);
      T& dx = ctx.input_gradients[0].data[i];
      dx = slope * dy[i] + (ctx.accumulate[0] ? dx : T(0));
    }
  }
};

template <mistake Mistake>
bool passes(gradient_check_options options = {}) {
  return gradient_check(square<Mistake>{}, {{3, 4, 5}}, options).passed();
}

/// A constant: its gradients are zero, and so would be those of any wrong backward().
struct constant {
  static constexpr std::string_view type_name = "constant";
  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in[0].c != 2) return {graph_error::custom_layer_refuses_shape, in[0], {in[0].h, in[0].w, 2}};
    return in[0];
  }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    ctx.backend->fill(ctx.output.size(), 1, ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    ctx.backend->fill(ctx.output.size(), 0, ctx.input_gradients[0].data);
  }
};

}  // namespace

TEST_CASE("a right layer passes the gradient check and wrong ones do not", "[gradients]") {
  CHECK(passes<mistake::none>());
  CHECK(passes<mistake::none>({.accumulate = true}));
  CHECK_FALSE(passes<mistake::sign>());
  CHECK_FALSE(passes<mistake::missing_term>());
  CHECK_FALSE(passes<mistake::zero>());
  CHECK_FALSE(passes<mistake::not_a_number>());
  CHECK_FALSE(passes<mistake::parameter>());
  CHECK_FALSE(passes<mistake::single_precision>());
  CHECK(passes<mistake::ignores_accumulate>());  // only seen where it is looked for
  CHECK_FALSE(passes<mistake::ignores_accumulate>({.accumulate = true}));
}

TEST_CASE("the report names the worst entry", "[gradients]") {
  const gradient_report r = gradient_check(square<mistake::parameter>{}, {{3, 4, 5}});
  CHECK(r.worst.find("layer.scale[") == 0);
  CHECK(r.double_error == Approx(0.01).epsilon(0.3));
}

TEST_CASE("a check without any gradient proves nothing and fails", "[gradients]") {
  const gradient_report r = gradient_check(constant{}, {{2, 2, 2}});
  CHECK(r.checked > 0);
  CHECK(r.double_error == 0);
  CHECK_FALSE(r.passed());
}

TEST_CASE("gradient_check refuses what it cannot check", "[gradients]") {
  CHECK_THROWS_WITH(gradient_check(constant{}, {}), "gradient_check: found 0 inputs, expected 1 to 4");
  CHECK_THROWS_WITH(gradient_check(constant{}, {{2, 2, 3}}),
                    "gradient_check: constant refuses the input shapes");
  CHECK_THROWS_AS(gradient_check(max_pool{2}, {{3, 2, 1}}), argument_error);
}
