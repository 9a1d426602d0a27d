// SPDX-License-Identifier: MIT
#include "kernels.hpp"
#include "primitives.hpp"

using namespace segnet;
using namespace segnet::reference;

namespace {

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
  // Padded by more than the kernel.
  for (auto [h, w, in, out, kernel, stride, pad] :
       std::vector<std::array<int, 7>>{{6, 9, 3, 8, 3, 1, 20},
                                       {5, 7, 32, 24, 3, 1, 5},
                                       {5, 7, 4, 6, 3, 2, 8},
                                       {4, 5, 24, 3, 1, 1, 3},
                                       {3, 2, 9, 10, 7, 3, 11}}) {
    conv2d_geometry g = convolution(h, w, in, out, kernel, stride);
    g.pad_top = g.pad_left = pad;
    g.out_h = (h + 2 * pad - kernel) / stride + 1;
    g.out_w = (w + 2 * pad - kernel) / stride + 1;
    list.push_back({g, 2, {{in, 1}}});
  }
  return list;
}

}  // namespace

TEMPLATE_TEST_CASE("cpu: convolutions agree with naive loops", "[backend]", float, double) {
  for (const problem& p : problems()) check_primitives<TestType>(p);
}

TEMPLATE_TEST_CASE("cpu: convolutions give the same bits for any number of threads", "[backend]", float,
                   double) {
  for (const problem& p : problems()) {
    INFO(name(p));
    const convolution_run<TestType> one(p, 1, true, activation::relu, true);
    for (int threads : {2, 3}) {
      const convolution_run<TestType> more(p, threads, true, activation::relu, true);
      CHECK(more.out == one.out);
      CHECK(more.dx == one.dx);
      CHECK(more.dweight == one.dweight);
      CHECK(more.dbias == one.dbias);
    }
  }
}

TEST_CASE("cpu: a convolution's gradients agree with finite differences", "[backend]") {
  const problem p{convolution(5, 4, 7, 6, 3, 2), 2, {{7, 1}}};
  convolution_run<double> at(p, 1, true, activation::none, false);
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
