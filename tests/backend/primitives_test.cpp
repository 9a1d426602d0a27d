// SPDX-License-Identifier: MIT
#include <segnet/backend/cpu/cpu.hpp>

#include "reference.hpp"
#include "workspace.hpp"

#include <catch2/catch.hpp>

#include <cmath>

using namespace segnet;
using namespace segnet::reference;

namespace {

struct normalised {
  std::vector<double> mean, variance, inv_std, xhat, y;
};

template <class T>
normalised normalise(std::size_t rows, std::size_t channels, const std::vector<T>& x,
                     const std::vector<T>& gamma, const std::vector<T>& beta, double epsilon, bool relu) {
  normalised r{
      std::vector<double>(channels), std::vector<double>(channels), std::vector<double>(channels), {}, {}};
  const auto n = static_cast<double>(rows);
  for (std::size_t i = 0; i < x.size(); ++i) r.mean[i % channels] += static_cast<double>(x[i]) / n;
  for (std::size_t i = 0; i < x.size(); ++i)
    r.variance[i % channels] += std::pow(static_cast<double>(x[i]) - r.mean[i % channels], 2) / n;
  for (std::size_t c = 0; c < channels; ++c) r.inv_std[c] = 1 / std::sqrt(r.variance[c] + epsilon);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % channels;
    r.xhat.push_back((static_cast<double>(x[i]) - r.mean[c]) * r.inv_std[c]);
    const double y = static_cast<double>(gamma[c]) * r.xhat[i] + static_cast<double>(beta[c]);
    r.y.push_back(relu ? std::max(0.0, y) : y);
  }
  return r;
}

template <class T>
std::vector<double> doubles(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEMPLATE_TEST_CASE("cpu: batch normalisation agrees with naive loops", "[backend]", float, double) {
  using T = TestType;
  const T epsilon = static_cast<T>(1e-3), momentum = static_cast<T>(0.9);
  for (auto [rows, channels] : std::vector<std::array<std::size_t, 2>>{
           {4, 3}, {1, 4}, {700, 1}, {5000, 8}, {333, 16}, {131, 24}, {64, 33}, {70, 600}})
    for (bool relu : {false, true})
      for (bool accumulate : {false, true}) {
        INFO(rows << " x " << channels << (relu ? " relu" : "") << (accumulate ? " accumulating" : ""));
        const auto act = relu ? activation::relu : activation::none;
        const int width = static_cast<int>(channels);
        auto x = random_values<T>(rows * channels, 1);
        for (std::size_t i = 0; i < x.size(); ++i)  // means far from zero
          x[i] = x[i] * static_cast<T>(1 + i % channels % 3) + static_cast<T>(10 * (i % channels % 5));
        const auto gamma = random_values<T>(channels, 2), beta = random_values<T>(channels, 3),
                   dy = random_values<T>(x.size(), 4);
        const auto expected = normalise(rows, channels, x, gamma, beta, static_cast<double>(epsilon), relu);

        std::vector<std::vector<T>> first;
        for (int threads : {1, 2, 3}) {
          basic_cpu<T> backend(threads);
          std::vector<T> mean(channels), inv_std(channels), y(x.size());
          auto running_mean = random_values<T>(channels, 5), running_var = random_values<T>(channels, 6);
          const auto old_mean = running_mean, old_var = running_var;
          workspace<T> memory(basic_cpu<T>::batch_statistics_workspace(width), threads);
          backend.batch_statistics(rows, width, x.data(), mean.data(), inv_std.data(), memory.get());
          backend.batch_norm_forward(rows, width, x.data(), gamma.data(), beta.data(), epsilon, momentum,
                                     running_mean.data(), running_var.data(), mean.data(), inv_std.data(),
                                     act, y.data());
          CHECK(difference(y, expected.y) < 20 * tolerance<T>());
          CHECK(difference(mean, expected.mean) < tolerance<T>());
          CHECK(difference(inv_std, expected.inv_std) < tolerance<T>());
          const auto n = static_cast<double>(rows), keep = static_cast<double>(momentum);
          std::vector<double> new_mean(channels), new_var(channels);
          for (std::size_t c = 0; c < channels; ++c) {
            const double unbiased = rows > 1 ? expected.variance[c] * n / (n - 1) : expected.variance[c];
            new_mean[c] = keep * static_cast<double>(old_mean[c]) + (1 - keep) * expected.mean[c];
            new_var[c] = keep * static_cast<double>(old_var[c]) + (1 - keep) * unbiased;
          }
          CHECK(difference(running_mean, new_mean) < tolerance<T>());
          CHECK(difference(running_var, new_var) < tolerance<T>());

          std::vector<double> dgamma(channels), dbeta(channels), g(x.size()), dx(x.size());
          for (std::size_t i = 0; i < x.size(); ++i) {
            g[i] = !relu || y[i] > T{0} ? static_cast<double>(dy[i]) : 0;
            dbeta[i % channels] += g[i];
            dgamma[i % channels] += g[i] * expected.xhat[i];
          }
          auto dx_got = accumulate ? random_values<T>(x.size(), 7) : dy;  // in place when it may be
          for (std::size_t i = 0; i < x.size(); ++i) {
            const std::size_t c = i % channels;
            dx[i] = static_cast<double>(gamma[c]) * expected.inv_std[c] *
                        (g[i] - dbeta[c] / n - expected.xhat[i] * dgamma[c] / n) +
                    (accumulate ? static_cast<double>(dx_got[i]) : 0);
          }
          auto dgamma_got = random_values<T>(channels, 8), dbeta_got = random_values<T>(channels, 9);
          if (accumulate)
            for (std::size_t c = 0; c < channels; ++c) {
              dgamma[c] += static_cast<double>(dgamma_got[c]);
              dbeta[c] += static_cast<double>(dbeta_got[c]);
            }
          workspace<T> backward(basic_cpu<T>::batch_norm_backward_workspace(width), threads);
          backend.batch_norm_backward(rows, width, x.data(), accumulate ? dy.data() : dx_got.data(),
                                      gamma.data(), beta.data(), mean.data(), inv_std.data(), act,
                                      dx_got.data(), accumulate, dgamma_got.data(), dbeta_got.data(),
                                      accumulate, backward.get());
          if (rows == 1 && !accumulate) {  // nothing is left of the gradient, but rounding
            for (T value : dx_got) CHECK(std::abs(value) < static_cast<T>(1e-4));
          } else {
            CHECK(difference(dx_got, dx) < 30 * tolerance<T>());
          }
          CHECK(difference(dgamma_got, dgamma) < 30 * tolerance<T>());
          CHECK(difference(dbeta_got, dbeta) < 5 * tolerance<T>());
          if (!accumulate) {  // where the gradient of x is not wanted
            std::vector<T> weights(channels), shifts(channels);
            backend.batch_norm_backward(rows, width, x.data(), dy.data(), gamma.data(), beta.data(),
                                        mean.data(), inv_std.data(), act, nullptr, false, weights.data(),
                                        shifts.data(), false, backward.get());
            CHECK((weights == dgamma_got && shifts == dbeta_got));
          }
          CHECK((memory.intact() && backward.intact()));

          const std::vector<std::vector<T>> all{y, running_mean, running_var, dx_got, dgamma_got, dbeta_got};
          if (threads == 1) first = all;
          CHECK(all == first);
        }

        basic_cpu<T> backend(2);
        std::vector<T> y(x.size()), mean(expected.mean.begin(), expected.mean.end()),
            variance(expected.variance.begin(), expected.variance.end());
        backend.batch_norm_inference(rows, width, x.data(), gamma.data(), beta.data(), mean.data(),
                                     variance.data(), epsilon, act, y.data());
        CHECK(difference(y, expected.y) < 20 * tolerance<T>());
      }
}

TEST_CASE("cpu: batch normalisation's gradients agree with finite differences", "[backend]") {
  const std::size_t rows = 7, channels = 5;
  auto x = random_values<double>(rows * channels, 1), gamma = random_values<double>(channels, 2),
       beta = random_values<double>(channels, 3);
  const auto dy = random_values<double>(x.size(), 4);
  basic_cpu<double> backend(1);
  workspace<double> memory(basic_cpu<double>::batch_statistics_workspace(channels), 1);
  std::vector<double> mean(channels), inv_std(channels), unused(channels), y(x.size());
  const auto loss = [&] {
    backend.batch_statistics(rows, channels, x.data(), mean.data(), inv_std.data(), memory.get());
    backend.batch_norm_forward(rows, channels, x.data(), gamma.data(), beta.data(), 1e-3, 0.9, unused.data(),
                               unused.data(), mean.data(), inv_std.data(), activation::relu, y.data());
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  loss();
  std::vector<double> dx(x.size()), dgamma(channels), dbeta(channels);
  backend.batch_norm_backward(rows, channels, x.data(), dy.data(), gamma.data(), beta.data(), mean.data(),
                              inv_std.data(), activation::relu, dx.data(), false, dgamma.data(), dbeta.data(),
                              false, memory.get());
  const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double kept = values[i], step = 1e-6;
      values[i] = kept + step;
      const double above = loss();
      values[i] = kept - step;
      const double below = loss();
      values[i] = kept;
      CHECK(gradient[i] == Approx((above - below) / (2 * step)).epsilon(1e-5).margin(1e-7));
    }
  };
  check(x, dx);
  check(gamma, dgamma);
  check(beta, dbeta);
}

TEMPLATE_TEST_CASE("cpu: activations", "[backend]", float, double) {
  using T = TestType;
  basic_cpu<T> backend(2);
  for (const std::size_t size : {1u, 15u, 33u, 40000u}) {
    const auto x = random_values<T>(size, 1), dy = random_values<T>(size, 2),
               before = random_values<T>(size, 3);
    std::vector<T> y(size);
    std::vector<double> relu(size), sigmoid(size), drelu(size), dsigmoid(size), sum(size);
    for (std::size_t i = 0; i < size; ++i) {
      const auto a = static_cast<double>(x[i]), d = static_cast<double>(dy[i]);
      relu[i] = std::max(a, 0.0);
      sigmoid[i] = 1 / (1 + std::exp(-a));
      drelu[i] = a > 0 ? d : 0;
      dsigmoid[i] = d * sigmoid[i] * (1 - sigmoid[i]) + static_cast<double>(before[i]);
      sum[i] = a + d;
    }
    backend.relu_forward(size, x.data(), y.data());
    CHECK(difference(y, relu) == 0);
    auto dx = dy;
    backend.relu_backward(size, y.data(), dx.data(), dx.data(), false);
    CHECK(difference(dx, drelu) == 0);
    backend.sigmoid_forward(size, x.data(), y.data());
    CHECK(difference(y, sigmoid) < tolerance<T>());
    dx = before;
    backend.sigmoid_backward(size, y.data(), dy.data(), dx.data(), true);
    CHECK(difference(dx, dsigmoid) < tolerance<T>());
    backend.add(size, x.data(), dy.data(), y.data());
    CHECK(difference(y, sum) < tolerance<T>());
    backend.fill(size, T{3}, y.data());
    CHECK(y == std::vector<T>(size, T{3}));
  }
  // Far out, and a NaN stays one, in packets and in the rest.
  std::vector<T> far(21, T{-1000}), y(21);
  far[1] = far[20] = std::numeric_limits<T>::quiet_NaN();
  far[2] = T{1000};
  far[3] = std::numeric_limits<T>::infinity();
  backend.sigmoid_forward(far.size(), far.data(), y.data());
  CHECK((y[0] >= T{0} && y[0] < static_cast<T>(1e-30)));
  CHECK((std::isnan(y[1]) && std::isnan(y[20])));
  CHECK((y[2] == T{1} && y[3] == T{1}));

  // Sigmoid and softplus of losses: near and far, in packets and in the rest.
  const std::vector<T> z{0,   1,    -1,    T(0.3),  -3, 9,  -9, 20, -20, 80,
                         -80, 1000, -1000, T(1e-6), 5,  -5, 2,  -2, 40};
  std::vector<T> p(z.size()), softplus(z.size());
  basic_cpu<T>::logistic_run(z.size(), z.data(), p.data(), softplus.data());
  for (std::size_t i = 0; i < z.size(); ++i) {
    INFO("logit " << z[i]);
    const auto logit = static_cast<double>(z[i]);
    const auto close = [](T got, double expected) {  // relative, down to the smallest normal numbers
      return Approx(expected).epsilon(20 * std::numeric_limits<T>::epsilon()).margin(1e-37) ==
             static_cast<double>(got);
    };
    CHECK(close(p[i], 1 / (1 + std::exp(-logit))));
    CHECK(close(softplus[i], std::log1p(std::exp(-std::abs(logit)))));
  }
  std::vector<T> unused(far.size());
  basic_cpu<T>::logistic_run(far.size(), far.data(), y.data(), unused.data());
  CHECK((std::isnan(y[1]) && std::isnan(y[20])));
}

TEMPLATE_TEST_CASE("cpu: softmax and argmax", "[backend]", float, double) {
  using T = TestType;
  for (const std::size_t width : {1u, 2u, 3u, 12u, 16u, 33u, 256u})
    for (const std::size_t rows : {1u, 7u, 3000u}) {
      INFO(rows << " x " << width);
      auto x = random_values<T>(rows * width, 1);
      for (T& value : x) value = std::round(value * 16) / 4;  // ties, and values far apart
      x[0] = T{200};
      x[x.size() - 1] = T{-200};
      const auto dy = random_values<T>(x.size(), 2), before = random_values<T>(x.size(), 3);
      std::vector<double> p(x.size()), dx(x.size()), sum(x.size());
      std::vector<std::uint8_t> best(rows);
      for (std::size_t row = 0; row < rows; ++row) {
        double most = -HUGE_VAL, total = 0, product = 0;
        for (std::size_t c = 0; c < width; ++c)
          if (const auto value = static_cast<double>(x[row * width + c]); value > most)
            most = value, best[row] = static_cast<std::uint8_t>(c);
        for (std::size_t c = 0; c < width; ++c)
          total += p[row * width + c] = std::exp(static_cast<double>(x[row * width + c]) - most);
        for (std::size_t c = 0; c < width; ++c)
          product += (p[row * width + c] /= total) * static_cast<double>(dy[row * width + c]);
        for (std::size_t i = row * width; i < (row + 1) * width; ++i) {
          dx[i] = p[i] * (static_cast<double>(dy[i]) - product);
          sum[i] = dx[i] + static_cast<double>(before[i]);
        }
      }
      std::vector<T> first;
      for (const int threads : {1, 2, 3}) {
        basic_cpu<T> backend(threads);
        auto y = x;  // in place
        backend.softmax_forward(rows, width, y.data(), y.data());
        CHECK(difference(y, p) < tolerance<T>());
        if (threads == 1) first = y;
        CHECK(y == first);
        auto got = dy, added = before;
        backend.softmax_backward(rows, width, y.data(), got.data(), got.data(), false);
        if (width > 1) CHECK(difference(got, dx) < 5 * tolerance<T>());
        backend.softmax_backward(rows, width, y.data(), dy.data(), added.data(), true);
        CHECK(difference(added, sum) < tolerance<T>());
        std::vector<std::uint8_t> classes(rows, 255);
        backend.argmax(rows, width, x.data(), classes.data());
        CHECK(classes == best);
      }
    }
  // A NaN makes its own pixel NaN, and no other.
  basic_cpu<T> backend(1);
  std::vector<T> x(90, T{1});
  x[31] = std::numeric_limits<T>::quiet_NaN();
  backend.softmax_forward(30, 3, x.data(), x.data());
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::isnan(x[i]) == (i / 3 == 10));
}

TEMPLATE_TEST_CASE("cpu: dropout", "[backend]", float, double) {
  using T = TestType;
  const std::size_t size = 100'003;
  const auto x = random_values<T>(size, 1), before = random_values<T>(size, 2);
  for (const double rate : {0.0, 0.1, 0.5, 0.9, 0.999999}) {
    INFO("rate " << rate);
    const T scale = static_cast<T>(1 / (1 - rate));
    std::vector<T> first;
    for (const int threads : {1, 2, 3}) {
      basic_cpu<T> backend(threads);
      std::vector<T> y(size, T{9}), added = before, inside = x;
      backend.dropout(size, 7, rate, x.data(), y.data(), false);
      backend.dropout(size, 7, rate, x.data(), added.data(), true);
      backend.dropout(size, 7, rate, inside.data(), inside.data(), false);
      if (threads == 1) first = y;
      CHECK(y == first);
      CHECK(inside == y);
      double kept = 0;
      bool exact = true;
      for (std::size_t i = 0; i < size; ++i) {
        kept += y[i] != T{0};
        exact = exact && (y[i] == T{0} || y[i] == x[i] * scale);
        exact = exact && static_cast<double>(added[i]) ==
                             Approx(static_cast<double>(before[i] + y[i])).epsilon(1e-6).margin(1e-6);
      }
      CHECK(exact);
      // Within five standard deviations.
      CHECK(std::abs(kept - (1 - rate) * size) <= 5 * std::sqrt(rate * (1 - rate) * size));
    }
  }
  // Neighbours, and equal places under other keys, agree as often as independent ones do: in half of the
  // cases.
  basic_cpu<T> backend(1);
  const std::vector<T> ones(size, T{1});
  std::vector<T> a(size), b(size);
  backend.dropout(size, 0, 0.5, ones.data(), a.data(), false);
  const auto agree = [](const std::vector<T>& u, const std::vector<T>& v, std::size_t shift) {
    double equal = 0;
    for (std::size_t i = shift; i < size; ++i) equal += u[i] == v[i - shift];
    return equal / static_cast<double>(size - shift);
  };
  for (const std::size_t shift : {1u, 2u, 3u, 32u, 64u, 16384u})
    CHECK(agree(a, a, shift) == Approx(0.5).margin(0.01));
  for (const std::uint64_t key : {1u, 2u, 64u}) {
    backend.dropout(size, key, 0.5, ones.data(), b.data(), false);
    CHECK(agree(a, b, 0) == Approx(0.5).margin(0.01));
  }
}

TEMPLATE_TEST_CASE("cpu: max pooling", "[backend]", float, double) {
  using T = TestType;
  for (auto [h, w, c, window, stride] : std::vector<std::array<int, 5>>{{4, 6, 8, 2, 2},
                                                                        {5, 7, 3, 2, 2},
                                                                        {9, 12, 8, 2, 2},
                                                                        {7, 3, 20, 2, 2},
                                                                        {6, 7, 16, 3, 3},
                                                                        {1, 1, 24, 2, 2},
                                                                        {6, 6, 33, 3, 2},
                                                                        {7, 5, 4, 3, 1},
                                                                        {5, 5, 2, 2, 3}}) {
    INFO(h << "x" << w << "x" << c << ", window " << window << ", stride " << stride);
    const pool2d_geometry g{h, w, c, (h + stride - 1) / stride, (w + stride - 1) / stride, window, stride};
    const int batch = 2;
    const auto ins = static_cast<std::size_t>(batch * h * w * c),
               outs = static_cast<std::size_t>(batch * g.out_h * g.out_w * c);
    auto x = random_values<T>(ins, 1);
    for (T& value : x) value = std::round(value);  // ties
    const auto dy = random_values<T>(outs, 2);
    std::vector<double> y, dx(ins);
    for (int n = 0, o = 0; n < batch; ++n)
      for (int oy = 0; oy < g.out_h; ++oy)
        for (int ox = 0; ox < g.out_w; ++ox)
          for (int k = 0; k < c; ++k, ++o) {
            std::size_t best = 0;
            double most = -HUGE_VAL;
            for (int iy = oy * stride; iy < std::min(h, oy * stride + window); ++iy)
              for (int ix = ox * stride; ix < std::min(w, ox * stride + window); ++ix) {
                const auto i = static_cast<std::size_t>(((n * h + iy) * w + ix) * c + k);
                if (static_cast<double>(x[i]) > most) most = static_cast<double>(x[i]), best = i;
              }
            y.push_back(most);
            dx[best] += static_cast<double>(dy[static_cast<std::size_t>(o)]);
          }
    basic_cpu<T> backend(2);
    std::vector<T> got(outs), got_dx(ins, T{9});
    std::vector<std::uint8_t> index(outs);
    backend.max_pool_forward(g, batch, x.data(), got.data(), index.data());
    CHECK(difference(got, y) == 0);
    backend.max_pool_backward(g, batch, index.data(), dy.data(), got_dx.data(), false);
    CHECK(difference(got_dx, dx) < tolerance<T>());
    backend.max_pool_backward(g, batch, index.data(), dy.data(), got_dx.data(), true);
    for (double& d : dx) d *= 2;
    CHECK(difference(got_dx, dx) < tolerance<T>());
    std::vector<T> without_index(outs);
    backend.max_pool_forward(g, batch, x.data(), without_index.data(), nullptr);
    CHECK(without_index == got);
  }
}

TEMPLATE_TEST_CASE("cpu: max unpooling", "[backend]", float, double) {
  using T = TestType;
  for (auto [h, w, c, window] : std::vector<std::array<int, 4>>{
           {4, 6, 8, 2}, {5, 7, 3, 2}, {9, 12, 17, 2}, {1, 1, 4, 2}, {7, 3, 16, 3}, {20, 33, 2, 16}}) {
    INFO(h << "x" << w << "x" << c << ", window " << window);
    const pool2d_geometry g{h, w, c, (h + window - 1) / window, (w + window - 1) / window, window, window};
    const int batch = 2;
    const auto large = static_cast<std::size_t>(batch * h * w * c),
               small = static_cast<std::size_t>(batch * g.out_h * g.out_w * c);
    const auto pooled = random_values<T>(large, 1), x = random_values<T>(small, 2),
               dy = random_values<T>(large, 3), before = random_values<T>(small, 4);
    for (int threads : {1, 2, 3}) {
      basic_cpu<T> backend(threads);
      std::vector<T> maxima(small), y(large, T{9}), dx(small, T{9}), added = before;
      std::vector<std::uint8_t> index(small);
      backend.max_pool_forward(g, batch, pooled.data(), maxima.data(), index.data());
      backend.max_unpool_forward(g, batch, index.data(), x.data(), y.data());
      backend.max_unpool_backward(g, batch, index.data(), dy.data(), dx.data(), false);
      backend.max_unpool_backward(g, batch, index.data(), dy.data(), added.data(), true);
      std::vector<double> expected(large), gradient(small), sum(small);
      for (std::size_t i = 0; i < large; ++i) {
        const auto at = static_cast<int>(i), k = at % c, column = at / c % w, row = at / c / w % h,
                   n = at / c / w / h;
        const auto o =
            static_cast<std::size_t>(((n * g.out_h + row / window) * g.out_w + column / window) * c + k);
        if (pooled[i] != maxima[o]) continue;  // random values: the maximum is one pixel
        expected[i] = static_cast<double>(x[o]);
        gradient[o] = static_cast<double>(dy[i]);
        sum[o] = static_cast<double>(before[o] + dy[i]);
      }
      CHECK(difference(y, expected) == 0);
      CHECK(difference(dx, gradient) == 0);
      CHECK(difference(added, sum) == 0);
    }
  }
}

TEMPLATE_TEST_CASE("cpu: upsampling and channel ranges", "[backend]", float, double) {
  using T = TestType;
  basic_cpu<T> backend(2);
  for (int factor : {1, 2, 3})
    for (int channels : {1, 4, 8, 16, 33}) {
      const shape in{3, 5, channels};
      const int batch = 2, wide = channels + 7, offset = 4;
      const auto x = random_values<T>(2 * in.size(), 1);
      const auto big = static_cast<std::size_t>(batch * in.h * in.w * factor * factor);
      std::vector<T> y(big * static_cast<std::size_t>(wide), T{5}), dx(x.size(), T{1});
      const auto dy = random_values<T>(y.size(), 2);
      backend.upsample_nearest_forward(factor, batch, in, x.data(), y.data(), wide, offset);
      backend.upsample_nearest_backward(factor, batch, in, dy.data(), dx.data(), true, wide, offset);
      std::vector<double> expected(y.size(), 5), gradient(x.size(), 1);
      for (int n = 0; n < batch; ++n)
        for (int i = 0; i < in.h * factor; ++i)
          for (int j = 0; j < in.w * factor; ++j)
            for (int c = 0; c < channels; ++c) {
              const auto to =
                  static_cast<std::size_t>(((n * in.h * factor + i) * in.w * factor + j) * wide + offset + c);
              const auto from =
                  static_cast<std::size_t>(((n * in.h + i / factor) * in.w + j / factor) * channels + c);
              expected[to] = static_cast<double>(x[from]);
              gradient[from] += static_cast<double>(dy[to]);
            }
      CHECK(difference(y, expected) == 0);
      CHECK(difference(dx, gradient) < tolerance<T>());

      // The range back out again, and added once more.
      std::vector<T> back(big * static_cast<std::size_t>(channels)), plain(back.size());
      backend.upsample_nearest_forward(factor, batch, in, x.data(), plain.data());
      backend.copy_channels(big, channels, y.data(), wide, offset, back.data(), channels, 0, false);
      CHECK(back == plain);
      backend.copy_channels(big, channels, y.data(), wide, offset, back.data(), channels, 0, true);
      auto twice = doubles(plain);
      for (double& value : twice) value *= 2;
      CHECK(difference(back, twice) == 0);
    }
}
