// SPDX-License-Identifier: MIT
// A layer of one's own, in four steps: write it, check its gradients, put it into a network, train that.
#include <segnet/core/random.hpp>
#include <segnet/layers/graph_builder.hpp>
#include <segnet/loss/bce_dice.hpp>
#include <segnet/network/gradient_check.hpp>
#include <segnet/network/summary.hpp>
#include <segnet/optim/adam.hpp>

#include <cstdio>
#include <vector>
using namespace segnet;

/// y = x for x > 0, else slope[c] * x, with a slope per channel that is learned (He et al. 2015, "Delving
/// Deep into Rectifiers"). A layer holds hyper-parameters only; its tensors are the network's.
struct prelu {
  static constexpr std::string_view type_name = "prelu";
  static constexpr backward_needs needs{.inputs = true};  // backward() reads x again, so the plan keeps it

  constexpr shape_result out_shape(std::span<const shape> in) const {
    return in.size() == 1 ? shape_result(in[0]) : shape_result(graph_error::wrong_number_of_inputs, in[0]);
  }
  constexpr parameter_specs parameters(std::span<const shape> in) const {
    parameter_specs specs;
    specs.push_back({"slope", {in[0].c}, 1, initializer::zeros});  // zero: it starts as a ReLU
    return specs;
  }

  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto* x = ctx.inputs[0].data;
    const auto* slope = ctx.parameters[0];
    auto* y = ctx.output.data;
    const auto channels = static_cast<std::size_t>(ctx.output.dims.c);
    ctx.backend->parallel_for(ctx.output.size(), 4096, [=](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i) y[i] = x[i] > 0 ? x[i] : slope[i % channels] * x[i];
    });
  }

  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    using scalar = typename Backend::scalar;
    const auto x = ctx.inputs[0];
    const auto channels = static_cast<std::size_t>(x.dims.c);
    const scalar *dy = ctx.output_gradient.data, *slope = ctx.parameters[0];

    // A parameter's gradient: assigned, or added to from the second micro-batch on. One thread adds up a
    // channel, so that the order of addition, and with it the result, is the same for any number of threads.
    scalar* dslope = ctx.parameter_gradients[0];
    ctx.backend->parallel_for(channels, 1, [=](std::size_t c, std::size_t, int) {
      scalar sum = 0;
      for (std::size_t i = c; i < x.size(); i += channels)
        if (!(x.data[i] > 0)) sum += dy[i] * x.data[i];
      dslope[c] = sum + (ctx.accumulate_parameters ? dslope[c] : scalar(0));
    });

    // The gradient of an input that wants one: assigned by its first writer, added to by the others.
    scalar* dx = ctx.input_gradients[0].data;
    if (dx == nullptr) return;
    const bool add = ctx.accumulate[0];
    ctx.backend->parallel_for(x.size(), 4096, [=](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i)
        dx[i] = (x.data[i] > 0 ? dy[i] : slope[i % channels] * dy[i]) + (add ? dx[i] : scalar(0));
    });
  }
};

struct toy_net {
  static constexpr auto build() {
    graph_builder<prelu> g;  // the library's layers, and this one
    value x = g.input({32, 32, 1});
    x = g("act1", prelu{}, g("conv1", conv2d{.channels = 8}, x));
    x = g("act2", prelu{}, g("conv2", conv2d{.channels = 8}, x));
    g.output(g(sigmoid{}, g("classifier", conv2d{.channels = 1, .kernel = 1}, x)));
    return g;
  }
};

int main() {
  const gradient_report report = gradient_check(prelu{}, {{5, 4, 3}}, {.accumulate = true});
  std::printf("gradient check: %d entries, largest error %.1e in double, %.1e in float: %s\n", report.checked,
              report.double_error, report.float_error, report.passed() ? "passed" : "FAILED");
  if (!report.passed()) return 1;

  network<toy_net> net({.batch = 8});
  net.initialise(1);
  std::printf("\n%s\n", summary<network<toy_net>>().c_str());

  // The task: find the bright disc in a noisy picture.
  const std::size_t pixels = 8 * net.input_shape.pixels();
  std::vector<float> images(pixels), masks(pixels), m(net.parameters().size()), v(m.size());
  adam_state<float> state{m, v};
  double dice = 0;
  for (std::uint64_t step = 0; step < 150; ++step) {
    random_stream random{7, step};
    for (std::size_t image = 0; image < 8; ++image) {
      const int cx = 8 + random.below(16), cy = 8 + random.below(16), r = 4 + random.below(5);
      for (int i = 0; i < 1024; ++i) {
        const int dx = i % 32 - cx, dy = i / 32 - cy;
        const std::size_t at = image * 1024 + static_cast<std::size_t>(i);
        masks[at] = dx * dx + dy * dy < r * r ? 1.0F : 0.0F;
        images[at] = 0.6F * masks[at] + static_cast<float>(0.4 * random.uniform());
      }
    }
    const auto logits = net.forward({images.data(), 8, net.input_shape});
    const auto gradient = net.output_gradient();
    const loss_result loss = bce_dice{}(net.backend(), {logits.begin(), logits.size()}, masks, {},
                                        {gradient.begin(), gradient.size()});
    net.backward();
    adam{}(net.backend(), 0.01, net.parameters(), net.gradients(), state);
    dice = loss.dice;
    if (step % 30 == 29)
      std::printf("step %3d  loss %.4f  dice %.4f\n", static_cast<int>(step + 1), loss.total, dice);
  }
  std::printf("slopes learned:");
  for (const parameter& p : net.parameter_table().entries)
    if (p.spec.name == "slope")
      for (float slope : net.values(p)) std::printf(" %.2f", static_cast<double>(slope));
  std::printf("\n");
  return dice > 0.9 ? 0 : 1;
}
