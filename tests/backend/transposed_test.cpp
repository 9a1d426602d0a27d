// SPDX-License-Identifier: MIT
// What transposed convolutions ask for beyond convolutions: an epilogue behind the product that is a
// convolution's backward pass, a forward product that is added to, and a kernel for each channel.
#include "forms.hpp"
#include "kernels.hpp"
#include "primitives.hpp"

using namespace segnet;
using namespace segnet::reference;

namespace {

/// One of each form, and strides.
std::vector<problem> transposed_problems() {
  auto list = small_form_problems();
  std::erase_if(list, [](const problem& p) { return p.sources.size() > 1 || p.sources[0][1] > 1; });
  for (auto [h, w, in, out, kernel, stride] : std::vector<std::array<int, 6>>{{8, 10, 5, 7, 2, 2},
                                                                              {9, 61, 33, 24, 4, 2},
                                                                              {13, 11, 3, 3, 7, 3},
                                                                              {2, 3, 8, 2, 1, 4},
                                                                              {40, 33, 4, 4, 16, 8},
                                                                              {5, 7, 6, 4, 1, 1}})
    list.push_back({convolution(h, w, in, out, kernel, stride), 2, {{in, 1}}});
  return list;
}

/// y[k] of a kernel for each channel, in double precision, and its gradients. The geometry is that of the
/// convolution whose backward pass it is.
struct depthwise_results {
  std::vector<double> y, dx, dweight;

  depthwise_results(const conv2d_geometry& g, int batch, const std::vector<double>& x,
                    const std::vector<double>& weight, const std::vector<double>& dy)
      : y(dy.size()), dx(x.size()), dweight(weight.size()) {
    const int c = g.in_channels;
    for (int n = 0; n < batch; ++n)
      for (int i = 0; i < g.out_h; ++i)
        for (int j = 0; j < g.out_w; ++j)
          for (int r = 0; r < g.kernel_h; ++r)
            for (int s = 0; s < g.kernel_w; ++s) {
              const int row = i * g.stride + r - g.pad_top, column = j * g.stride + s - g.pad_left;
              if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
              for (int k = 0; k < c; ++k) {
                const auto from = static_cast<std::size_t>(((n * g.out_h + i) * g.out_w + j) * c + k);
                const auto to = static_cast<std::size_t>(((n * g.h + row) * g.w + column) * c + k);
                const auto w = static_cast<std::size_t>((k * g.kernel_h + r) * g.kernel_w + s);
                y[to] += x[from] * weight[w];
                dx[from] += dy[to] * weight[w];
                dweight[w] += dy[to] * x[from];
              }
            }
  }
};

std::vector<double> in_double(const auto& values) { return {values.begin(), values.end()}; }

}  // namespace

TEMPLATE_TEST_CASE("cpu: backward to the data with an epilogue, forward added to", "[backend]", float,
                   double) {
  using T = TestType;
  for (const problem& p : transposed_problems()) {
    INFO(name(p));
    const auto& g = p.g;
    const operands<T> o(p);
    const naive_results plain(p, o);
    const auto columns = static_cast<std::size_t>(g.in_channels);
    const auto scale = random_values<T>(columns, 21), bias = random_values<T>(columns, 22);
    auto expected = plain.dx;
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] = std::max(0.0, expected[i] * static_cast<double>(scale[i % columns]) +
                                      static_cast<double>(bias[i % columns]));
    auto sum = plain.out;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(o.dy[i]);
    std::vector<T> first_dx, first_out;
    for (int threads : {1, 3}) {
      basic_cpu<T> backend(threads);
      workspace<T> data(basic_cpu<T>::conv2d_backward_data_workspace(g), threads);
      std::vector<T> dx(o.dx.size(), T{77});
      backend.conv2d_backward_data(g, p.batch, o.dy.data(), o.weight.data(), dx.data(), false, data.get(),
                                   {.scale = scale.data(), .bias = bias.data(), .act = activation::relu});
      CHECK(difference(dx, expected) < tolerance<T>(product_form::winograd_4));
      workspace<T> forward(basic_cpu<T>::conv2d_forward_workspace(g), threads);
      auto out = o.dy;
      backend.conv2d_forward(g, p.batch, o.sources, o.weight.data(), {}, out.data(), forward.get(), true);
      CHECK(difference(out, sum) < tolerance<T>(product_form::winograd_4));
      CHECK((data.intact() && forward.intact()));
      if (threads == 1) first_dx = dx, first_out = out;
      CHECK((dx == first_dx && out == first_out));
    }
  }
}

TEMPLATE_TEST_CASE("cpu: transposed convolutions with a kernel for each channel", "[backend]", float,
                   double) {
  using T = TestType;
  for (auto [in_h, in_w, channels, kernel, stride, pad, more] :
       std::vector<std::array<int, 7>>{{3, 4, 5, 4, 2, 1, 0},
                                       {5, 3, 21, 8, 4, 0, 3},
                                       {2, 3, 16, 64, 32, 16, 0},
                                       {4, 4, 33, 3, 1, 4, 0},  // only the middle is left
                                       {3, 5, 8, 2, 3, 0, 2},   // gaps
                                       {70, 40, 3, 4, 2, 1, 1}}) {
    conv2d_geometry g{.h = (in_h - 1) * stride + kernel - 2 * pad + more,
                      .w = (in_w - 1) * stride + kernel - 2 * pad,
                      .out_h = in_h,
                      .out_w = in_w,
                      .in_channels = channels,
                      .out_channels = channels,
                      .kernel_h = kernel,
                      .kernel_w = kernel,
                      .stride = stride,
                      .pad_top = pad,
                      .pad_left = pad};
    if (pad == 4) g.h = g.w = 1, g.pad_top = 2;
    INFO(name({g, 2, {}}));
    const auto size = [c = channels](int h, int w) { return static_cast<std::size_t>(2 * h * w * c); };
    const auto width = static_cast<std::size_t>(channels);
    const auto x = random_values<T>(size(in_h, in_w), 1), dy = random_values<T>(size(g.h, g.w), 2),
               weight = random_values<T>(static_cast<std::size_t>(channels * kernel * kernel), 3),
               scale = random_values<T>(width, 4), bias = random_values<T>(width, 5);
    const depthwise_results plain(g, 2, in_double(x), in_double(weight), in_double(dy));
    for (const bool variant : {false, true}) {
      auto expected = plain;
      const auto before_dx = random_values<T>(x.size(), 6), before_dw = random_values<T>(weight.size(), 7);
      if (variant) {
        for (std::size_t i = 0; i < expected.y.size(); ++i)
          expected.y[i] = std::max(0.0, expected.y[i] * static_cast<double>(scale[i % width]) +
                                            static_cast<double>(bias[i % width]));
        for (std::size_t i = 0; i < x.size(); ++i) expected.dx[i] += static_cast<double>(before_dx[i]);
        for (std::size_t i = 0; i < weight.size(); ++i)
          expected.dweight[i] += static_cast<double>(before_dw[i]);
      }
      std::vector<std::vector<T>> first;
      for (int threads : {1, 2, 3}) {
        basic_cpu<T> backend(threads);
        workspace<T> memory(basic_cpu<T>::depthwise_transposed_workspace(g), threads);
        std::vector<T> y(dy.size(), T{77});
        auto dx = before_dx, dweight = before_dw;
        const conv2d_epilogue<T> finish{.scale = variant ? scale.data() : nullptr,
                                        .bias = variant ? bias.data() : nullptr,
                                        .act = variant ? activation::relu : activation::none};
        backend.depthwise_transposed_forward(g, 2, x.data(), weight.data(), finish, y.data(), memory.get());
        backend.depthwise_transposed_backward_data(g, 2, dy.data(), weight.data(), dx.data(), variant,
                                                   memory.get());
        backend.depthwise_transposed_backward_weights(g, 2, x.data(), dy.data(), dweight.data(), variant);
        CHECK(difference(y, expected.y) < tolerance<T>());
        CHECK(difference(dx, expected.dx) < 3 * tolerance<T>());
        CHECK(difference(dweight, expected.dweight) < tolerance<T>());
        CHECK(memory.intact());
        const std::vector<std::vector<T>> all{y, dx, dweight};
        if (threads == 1) first = all;
        CHECK(all == first);
      }
    }
  }
}
