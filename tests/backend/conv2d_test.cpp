// SPDX-License-Identifier: MIT
#include <segnet/backend/cpu/cpu.hpp>

#include "reference.hpp"
#include "workspace.hpp"

#include <catch2/catch.hpp>

#include <sstream>

using namespace segnet;
using namespace segnet::reference;

namespace {

struct problem {
  conv2d_geometry g;
  int batch;
  std::vector<std::array<int, 2>> sources;  // channels, upsample
};

std::string name(const problem& p) {
  std::ostringstream text;
  text << p.batch << " x " << p.g.h << "x" << p.g.w << ", " << p.g.in_channels << " -> " << p.g.out_channels
       << ", kernel " << p.g.kernel_h << "x" << p.g.kernel_w << ", stride " << p.g.stride << ", sources";
  for (auto [channels, upsample] : p.sources) text << " " << channels << "/" << upsample;
  return text.str();
}

std::vector<problem> problems() {
  std::vector<problem> list;
  const auto add = [&](int h, int w, int in, int out, int kernel, int stride, int batch) {
    list.push_back({convolution(h, w, in, out, kernel, stride), batch, {{in, 1}}});
  };
  for (int batch : {1, 3}) {
    add(1, 1, 33, 24, 3, 1, batch);
    add(2, 2, 24, 33, 3, 1, batch);
    add(5, 7, 3, 8, 3, 1, batch);
    add(16, 17, 8, 8, 3, 1, batch);
    add(9, 4, 8, 1, 1, 1, batch);
    add(8, 8, 24, 24, 3, 1, batch);
    add(7, 9, 33, 64, 3, 2, batch);
    add(11, 6, 5, 16, 7, 2, batch);
    add(6, 6, 32, 40, 1, 2, batch);
    add(4, 4, 70, 96, 3, 1, batch);
    for (int pixels = 13; pixels < 29; ++pixels) add(1, pixels, 4, 24, 1, 1, batch);  // all ends of tiles
  }
  for (int in : {3, 4, 8, 16, 40})  // pixel by pixel
    for (int out : {1, 4}) add(5, 13, in, out, 1, 1, 2);
  add(80, 70, 8, 1, 1, 1, 1);  // in several parts
  list.push_back({convolution(4, 6, 8 + 8, 2, 1, 1), 2, {{8, 1}, {8, 2}}});
  add(33, 5, 1, 3, 7, 1, 2);
  add(3, 3, 530, 32, 3, 1, 2);   // several blocks of channels
  add(2, 3, 1100, 9, 1, 1, 2);   // longer than the zeros that stand in for padding
  add(12, 12, 9, 17, 9, 1, 1);   // more taps than one block takes
  add(40, 40, 32, 32, 3, 1, 2);  // several blocks of pixels
  list.push_back({convolution(8, 6, 24 + 64, 24, 3, 1), 2, {{24, 1}, {64, 2}}});
  list.push_back({convolution(8, 8, 8 + 24, 8, 3, 1), 1, {{8, 1}, {24, 2}}});
  list.push_back({convolution(4, 8, 5 + 3 + 40, 33, 3, 1), 2, {{5, 4}, {3, 1}, {40, 2}}});
  list.push_back({convolution(2, 2, 600, 40, 3, 1), 3, {{200, 1}, {400, 2}}});
  // Wide and thin.
  add(5, 25, 3, 8, 3, 1, 2);
  add(4, 31, 8, 8, 3, 1, 1);
  add(6, 33, 8, 24, 3, 1, 1);
  add(3, 40, 24, 3, 3, 1, 2);
  add(7, 51, 5, 9, 3, 2, 2);
  add(9, 30, 3, 16, 7, 1, 1);
  add(34, 24, 7, 1, 3, 1, 2);
  list.push_back({convolution(4, 32, 8 + 24, 8, 3, 1), 2, {{8, 1}, {24, 2}}});
  list.push_back({convolution(6, 28, 24 + 9, 24, 3, 1), 1, {{24, 2}, {9, 1}}});
  list.push_back({{.h = 5,
                   .w = 30,
                   .out_h = 3,
                   .out_w = 27,
                   .in_channels = 6,
                   .out_channels = 8,
                   .kernel_h = 3,
                   .kernel_w = 4,
                   .stride = 1,
                   .pad_top = 0,
                   .pad_left = 0},
                  2,
                  {{6, 1}}});
  // Not square, padded on one side only.
  list.push_back({{.h = 6,
                   .w = 9,
                   .out_h = 3,
                   .out_w = 4,
                   .in_channels = 12,
                   .out_channels = 20,
                   .kernel_h = 2,
                   .kernel_w = 3,
                   .stride = 2,
                   .pad_top = 0,
                   .pad_left = 1},
                  2,
                  {{12, 1}}});
  return list;
}

/// One convolution with all its operands, and what the three primitives made of them.
template <class T>
struct run {
  std::vector<std::vector<T>> inputs;
  std::vector<conv2d_source<T>> sources;
  std::vector<T> weight, scale, bias, dy, out, dx, dweight, dbias;
  bool intact = true;

  run(const problem& p, int threads, bool with_epilogue, activation act, bool accumulate) {
    const auto& g = p.g;
    for (std::size_t i = 0; i < p.sources.size(); ++i) {
      const auto [channels, upsample] = p.sources[i];
      inputs.push_back(random_values<T>(
          static_cast<std::size_t>(p.batch * (g.h / upsample) * (g.w / upsample) * channels), 10 + i));
    }
    for (std::size_t i = 0; i < p.sources.size(); ++i)
      sources.push_back({inputs[i].data(), p.sources[i][0], p.sources[i][1]});
    const auto pixels = static_cast<std::size_t>(p.batch * g.out_h * g.out_w);
    const auto outs = static_cast<std::size_t>(g.out_channels);
    weight = random_values<T>(g.weights(), 1);
    scale = random_values<T>(outs, 7);
    bias = random_values<T>(outs, 2);
    dy = random_values<T>(pixels * outs, 3);
    out.assign(pixels * outs, T{77});
    dx = random_values<T>(static_cast<std::size_t>(p.batch * g.h * g.w * g.in_channels), 4);
    dweight = random_values<T>(g.weights(), 5);
    dbias = random_values<T>(outs, 6);

    basic_cpu<T> backend(threads);
    using cpu_type = basic_cpu<T>;
    workspace<T> forward(cpu_type::conv2d_forward_workspace(g), threads);
    const conv2d_epilogue<T> finish{with_epilogue ? scale.data() : nullptr,
                                    with_epilogue ? bias.data() : nullptr, act};
    backend.conv2d_forward(g, p.batch, sources, weight.data(), finish, out.data(), forward.get());
    workspace<T> data(cpu_type::conv2d_backward_data_workspace(g), threads);
    backend.conv2d_backward_data(g, p.batch, dy.data(), weight.data(), dx.data(), accumulate, data.get());
    workspace<T> weights(cpu_type::conv2d_backward_weights_workspace(g), threads);
    backend.conv2d_backward_weights(g, p.batch, sources, dy.data(), dweight.data(),
                                    with_epilogue ? dbias.data() : nullptr, accumulate, weights.get());
    intact = forward.intact() && data.intact() && weights.intact();
  }
};

}  // namespace

TEMPLATE_TEST_CASE("cpu: convolutions agree with naive loops", "[backend]", float, double) {
  using T = TestType;
  for (const problem& p : problems())
    for (const bool variant : {false, true}) {
      INFO(name(p) << (variant ? ", scale, bias, relu, accumulating" : ""));
      const auto& g = p.g;
      const run<T> result(p, 2, variant, variant ? activation::relu : activation::none, variant);
      REQUIRE(result.intact);
      const auto x = materialise<T>(g, p.batch, result.sources);
      std::vector<double> out(result.out.size()), dx(x.size()), dweight(g.weights());
      std::vector<double> dbias(result.bias.size());
      const auto outs = result.bias.size();
      if (variant) {
        const auto before = random_values<T>(dx.size(), 4),
                   before_weights = random_values<T>(dweight.size(), 5),
                   before_bias = random_values<T>(outs, 6);
        dx.assign(before.begin(), before.end());
        dweight.assign(before_weights.begin(), before_weights.end());
        dbias.assign(before_bias.begin(), before_bias.end());
      }
      for_each_product(g, p.batch, [&](std::size_t in, std::size_t w, std::size_t o) {
        const auto weight = static_cast<double>(result.weight[w]), dy = static_cast<double>(result.dy[o]);
        out[o] += x[in] * weight;
        dx[in] += dy * weight;
        dweight[w] += dy * x[in];
      });
      for (std::size_t i = 0; variant && i < out.size(); ++i)
        out[i] = std::max(0.0, out[i] * static_cast<double>(result.scale[i % outs]) +
                                   static_cast<double>(result.bias[i % outs]));
      CHECK(difference(result.out, out) < tolerance<T>());
      CHECK(difference(result.dx, dx) < tolerance<T>());
      CHECK(difference(result.dweight, dweight) < tolerance<T>());
      if (!variant) continue;
      for (std::size_t i = 0; i < result.dy.size(); ++i) dbias[i % outs] += static_cast<double>(result.dy[i]);
      CHECK(difference(result.dbias, dbias) < tolerance<T>());
    }
}

TEMPLATE_TEST_CASE("cpu: convolutions give the same bits for any number of threads", "[backend]", float,
                   double) {
  for (const problem& p : problems()) {
    INFO(name(p));
    const run<TestType> one(p, 1, true, activation::relu, true);
    for (int threads : {2, 3}) {
      const run<TestType> more(p, threads, true, activation::relu, true);
      CHECK(more.out == one.out);
      CHECK(more.dx == one.dx);
      CHECK(more.dweight == one.dweight);
      CHECK(more.dbias == one.dbias);
    }
  }
}

TEST_CASE("cpu: a convolution's gradients agree with finite differences", "[backend]") {
  const problem p{convolution(5, 4, 7, 6, 3, 2), 2, {{7, 1}}};
  run<double> at(p, 1, true, activation::none, false);
  basic_cpu<double> backend(1);
  workspace<double> memory(basic_cpu<double>::conv2d_forward_workspace(p.g), 1);
  const auto loss = [&] {
    std::vector<double> out(at.out.size());
    backend.conv2d_forward(p.g, p.batch, at.sources, at.weight.data(), {.bias = at.bias.data()}, out.data(),
                           memory.get());
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * at.dy[i];
    return sum;
  };
  const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
    REQUIRE(values.size() == gradient.size());
    for (std::size_t i = 0; i < values.size(); i += 3) {
      const double kept = values[i], step = 1e-4;
      values[i] = kept + step;
      const double above = loss();
      values[i] = kept - step;
      const double below = loss();
      values[i] = kept;
      CHECK(gradient[i] == Approx((above - below) / (2 * step)).epsilon(1e-7).margin(1e-7));
    }
  };
  check(at.inputs[0], at.dx);
  check(at.weight, at.dweight);
  check(at.bias, at.dbias);
}
