// SPDX-License-Identifier: MIT
// Each operator, forward and backward, against PyTorch's numbers: tests/reference/README.md.
#include <segnet/backend/cpu/cpu.hpp>

#include "../backend/workspace.hpp"
#include "reference_cases.hpp"

#include <string>
#include <vector>

using namespace segnet;
using namespace segnet::reference;
using nlohmann::json;

TEMPLATE_TEST_CASE("conv2d is PyTorch's", "[layers]", double, float) {
  using T = TestType;
  basic_cpu<T> backend(2);
  for (const json& c : cases("conv2d")) {
    CAPTURE(c.at("name").get<std::string>());
    const json& f = c.at("geometry");
    const auto at = [&f](const char* key) { return f.at(key).get<int>(); };
    const conv2d_geometry g{.h = at("h"),
                            .w = at("w"),
                            .out_h = at("out_h"),
                            .out_w = at("out_w"),
                            .in_channels = at("in_channels"),
                            .out_channels = at("out_channels"),
                            .kernel_h = at("kernel_h"),
                            .kernel_w = at("kernel_w"),
                            .stride = at("stride"),
                            .pad_top = at("pad_top"),
                            .pad_left = at("pad_left")};
    const int n = c.at("n").get<int>();
    std::vector<std::vector<T>> inputs;
    std::vector<conv2d_source<T>> sources;
    for (const json& s : c.at("sources")) inputs.push_back(get<T>(s, "input"));
    for (std::size_t i = 0; i < inputs.size(); ++i)
      sources.push_back({inputs[i].data(), c.at("sources")[i].at("channels").get<int>(),
                         c.at("sources")[i].at("upsample").get<int>()});
    const auto weights = get<T>(c, "weights"), bias = get<T>(c, "bias"), dy = get<T>(c, "output_gradient");

    std::vector<T> y(dy.size()), dw(weights.size()), db(bias.size());
    reference::workspace<T> forward(backend.conv2d_forward_workspace(g), backend.threads());
    backend.conv2d_forward(g, n, sources, weights.data(), {.bias = bias.data()}, y.data(), forward.get());
    check(y, c, "output");
    reference::workspace<T> of_weights(backend.conv2d_backward_weights_workspace(g), backend.threads());
    backend.conv2d_backward_weights(g, n, sources, dy.data(), dw.data(), db.data(), false, of_weights.get());
    check(dw, c, "weights_gradient");
    check(db, c, "bias_gradient");

    // The gradient at the resolution that the convolution sees, then handed out to the sources.
    const shape seen{g.h, g.w, g.in_channels};
    std::vector<T> dx(static_cast<std::size_t>(n) * seen.size());
    reference::workspace<T> of_data(backend.conv2d_backward_data_workspace(g), backend.threads());
    backend.conv2d_backward_data(g, n, dy.data(), weights.data(), dx.data(), false, of_data.get());
    for (std::size_t i = 0, offset = 0; i < inputs.size(); ++i) {
      const int up = sources[i].upsample, channels = sources[i].channels;
      std::vector<T> part(inputs[i].size());
      backend.upsample_nearest_backward(up, n, {g.h / up, g.w / up, channels}, dx.data(), part.data(), false,
                                        g.in_channels, static_cast<int>(offset));
      check(part, c.at("sources")[i], "input_gradient");
      offset += static_cast<std::size_t>(channels);
    }
  }
}

TEMPLATE_TEST_CASE("batch_norm is PyTorch's", "[layers]", double, float) {
  using T = TestType;
  basic_cpu<T> backend(2);
  for (const json& c : cases("batch_norm")) {
    const shape s = dims(c);
    const auto channels = static_cast<std::size_t>(s.c);
    const auto x = get<T>(c, "input"), gamma = get<T>(c, "gamma"), beta = get<T>(c, "beta"),
               dy = get<T>(c, "output_gradient");
    auto mean = get<T>(c, "running_mean"), variance = get<T>(c, "running_variance");
    const T epsilon = c.at("epsilon").get<T>(), momentum = c.at("momentum").get<T>();
    const std::size_t rows = x.size() / channels;
    std::vector<T> y(x.size()), dx(x.size()), dgamma(channels), dbeta(channels), saved_mean(channels),
        inv(channels);
    backend.batch_norm_inference(rows, s.c, x.data(), gamma.data(), beta.data(), mean.data(), variance.data(),
                                 epsilon, activation::none, y.data());
    check(y, c, "evaluation_output");
    reference::workspace<T> work(backend.batch_statistics_workspace(s.c), backend.threads());
    backend.batch_statistics(rows, s.c, x.data(), saved_mean.data(), inv.data(), work.get());
    backend.batch_norm_forward(rows, s.c, x.data(), gamma.data(), beta.data(), epsilon, momentum, mean.data(),
                               variance.data(), saved_mean.data(), inv.data(), activation::none, y.data());
    check(y, c, "output");
    check(saved_mean, c, "batch_mean");
    check(mean, c, "running_mean_after");
    check(variance, c, "running_variance_after");
    reference::workspace<T> back(backend.batch_norm_backward_workspace(s.c), backend.threads());
    backend.batch_norm_backward(rows, s.c, x.data(), dy.data(), gamma.data(), beta.data(), saved_mean.data(),
                                inv.data(), activation::none, dx.data(), false, dgamma.data(), dbeta.data(),
                                false, back.get());
    check(dx, c, "input_gradient");
    check(dgamma, c, "gamma_gradient");
    check(dbeta, c, "beta_gradient");
  }
}

TEMPLATE_TEST_CASE("pooling, activations and upsampling are PyTorch's", "[layers]", double, float) {
  using T = TestType;
  basic_cpu<T> backend(2);
  for (const json& c : cases("max_pool")) {
    const json& f = c.at("geometry");
    const auto at = [&f](const char* key) { return f.at(key).get<int>(); };
    const pool2d_geometry g{at("h"),     at("w"),      at("channels"), at("out_h"),
                            at("out_w"), at("window"), at("stride")};
    const int n = c.at("n").get<int>();
    const auto x = get<T>(c, "input"), dy = get<T>(c, "output_gradient");
    std::vector<T> y(dy.size()), dx(x.size());
    std::vector<std::uint8_t> index(y.size());
    backend.max_pool_forward(g, n, x.data(), y.data(), index.data());
    check(y, c, "output");
    backend.max_pool_backward(g, n, index.data(), dy.data(), dx.data(), false);
    check(dx, c, "input_gradient");
  }
  for (const json& c : cases("max_unpool")) {
    const json& f = c.at("geometry");
    const auto at = [&f](const char* key) { return f.at(key).get<int>(); };
    const pool2d_geometry g{at("h"),     at("w"),      at("channels"), at("out_h"),
                            at("out_w"), at("window"), at("stride")};
    const int n = c.at("n").get<int>();
    const auto before = get<T>(c, "pooling_input"), x = get<T>(c, "input"), dy = get<T>(c, "output_gradient");
    std::vector<T> maxima(x.size()), y(before.size()), dx(x.size());
    std::vector<std::uint8_t> index(x.size());
    backend.max_pool_forward(g, n, before.data(), maxima.data(), index.data());
    backend.max_unpool_forward(g, n, index.data(), x.data(), y.data());
    check(y, c, "output");
    backend.max_unpool_backward(g, n, index.data(), dy.data(), dx.data(), false);
    check(dx, c, "input_gradient");
  }
  const auto run = [](const char* op, auto forward, auto backward) {
    for (const json& c : cases(op)) {
      const auto x = get<T>(c, "input"), dy = get<T>(c, "output_gradient");
      std::vector<T> y(dy.size()), dx(x.size());
      forward(c, x, y);
      check(y, c, "output");
      backward(c, y, dy, dx);
      check(dx, c, "input_gradient");
    }
  };
  run(
      "relu", [&](auto&, auto& x, auto& y) { backend.relu_forward(x.size(), x.data(), y.data()); },
      [&](auto&, auto& y, auto& dy, auto& dx) {
        backend.relu_backward(y.size(), y.data(), dy.data(), dx.data(), false);
      });
  run(
      "sigmoid", [&](auto&, auto& x, auto& y) { backend.sigmoid_forward(x.size(), x.data(), y.data()); },
      [&](auto&, auto& y, auto& dy, auto& dx) {
        backend.sigmoid_backward(y.size(), y.data(), dy.data(), dx.data(), false);
      });
  run(
      "softmax",
      [&](auto& c, auto& x, auto& y) {
        const auto channels = static_cast<std::size_t>(dims(c).c);
        backend.softmax_forward(x.size() / channels, channels, x.data(), y.data());
      },
      [&](auto& c, auto& y, auto& dy, auto& dx) {
        const auto channels = static_cast<std::size_t>(dims(c).c);
        backend.softmax_backward(y.size() / channels, channels, y.data(), dy.data(), dx.data(), false);
      });
  run(
      "upsample",
      [&](auto& c, auto& x, auto& y) {
        backend.upsample_nearest_forward(2, c.at("n").template get<int>(), dims(c), x.data(), y.data());
      },
      [&](auto& c, auto&, auto& dy, auto& dx) {
        backend.upsample_nearest_backward(2, c.at("n").template get<int>(), dims(c), dy.data(), dx.data(),
                                          false);
      });
}
