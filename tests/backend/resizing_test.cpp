// SPDX-License-Identifier: MIT
// Cropping, bilinear upsampling and local response normalisation, of images that several tasks share.
#include <segnet/backend/cpu/cpu.hpp>

#include "reference.hpp"
#include "workspace.hpp"

#include <catch2/catch.hpp>

using namespace segnet;
using namespace segnet::reference;

namespace {

template <class T>
double product(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// A linear map and its transpose: <A x, d> = <x, At d>, the same bits from any number of threads, and what
/// is accumulated is added. Returns A x.
template <class T, class Forward, class Backward>
std::vector<T> check_transpose(std::size_t in, std::size_t out, Forward forward, Backward backward) {
  const auto x = random_values<T>(in, 1), dy = random_values<T>(out, 2);
  std::vector<T> first_y, first_dx;
  for (int threads : {1, 2, 3}) {
    basic_cpu<T> backend(threads);
    std::vector<T> y(out, T{77}), dx(in, T{77});
    forward(backend, x.data(), y.data());
    backward(backend, dy.data(), dx.data(), false);
    if (threads == 1) first_y = y, first_dx = dx;
    CHECK(y == first_y);
    CHECK(dx == first_dx);
    auto sum = random_values<T>(in, 3);
    std::vector<double> expected(in);
    for (std::size_t i = 0; i < in; ++i)
      expected[i] = static_cast<double>(sum[i]) + static_cast<double>(dx[i]);
    backward(backend, dy.data(), sum.data(), true);
    CHECK(difference(sum, expected) < tolerance<T>());
  }
  const double size = std::sqrt(product(first_y, first_y) * product(dy, dy));
  CHECK(size > 1);
  CHECK(std::abs(product(first_y, dy) - product(x, first_dx)) < tolerance<T>() * size);
  return first_y;
}

}  // namespace

TEMPLATE_TEST_CASE("cpu: cropping", "[backend]", float, double) {
  using T = TestType;
  for (const int c : {1, 4, 21}) {
    const shape in{23, 17, c}, window{15, 9, c};
    const int batch = 2, top = 5, left = 8;
    const auto y = check_transpose<T>(
        batch * in.size(), batch * window.size(),
        [&](auto& cpu, const T* x, T* to) { cpu.crop_forward(batch, in, window, top, left, x, to); },
        [&](auto& cpu, const T* dy, T* dx, bool accumulate) {
          cpu.crop_backward(batch, in, window, top, left, dy, dx, accumulate);
        });
    const auto x = random_values<T>(batch * in.size(), 1);
    const auto last =
        static_cast<std::size_t>((((in.h + top + window.h - 1) * in.w) + left + window.w) * c - 1);
    CHECK(y.back() == x[last]);
    CHECK(y.front() == x[static_cast<std::size_t>((top * in.w + left) * c)]);
  }
}

TEMPLATE_TEST_CASE("cpu: bilinear upsampling", "[backend]", float, double) {
  using T = TestType;
  for (const auto& [factor, c] : std::vector<std::array<int, 2>>{{2, 3}, {2, 16}, {3, 8}, {5, 21}, {32, 2}}) {
    const shape in{13, 11, c};
    const int batch = 2, f = factor;
    check_transpose<T>(
        batch * in.size(), batch * in.size() * static_cast<std::size_t>(f * f),
        [&](auto& cpu, const T* x, T* to) { cpu.upsample_bilinear_forward(f, batch, in, x, to); },
        [&](auto& cpu, const T* dy, T* dx, bool accumulate) {
          cpu.upsample_bilinear_backward(f, batch, in, dy, dx, accumulate);
        });
    // A plane stays one, up to the border, beyond which it is level.
    std::vector<T> x(in.size()), y(in.size() * static_cast<std::size_t>(f * f));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto pixel = static_cast<int>(i) / c;
      x[i] = static_cast<T>(2 * (pixel / in.w) - pixel % in.w);
    }
    basic_cpu<T>(1).upsample_bilinear_forward(f, 1, in, x.data(), y.data());
    double worst = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const auto place = [&](int at, int size) { return std::clamp((at + 0.5) / f - 0.5, 0.0, size - 1.0); };
      const auto pixel = static_cast<int>(i) / c;
      const double expected = 2 * place(pixel / (in.w * f), in.h) - place(pixel % (in.w * f), in.w);
      worst = std::max(worst, std::abs(static_cast<double>(y[i]) - expected));
    }
    CHECK(worst < 20 * tolerance<T>());
  }
}

TEMPLATE_TEST_CASE("cpu: local response normalisation", "[backend]", float, double) {
  using T = TestType;
  for (const int channels : {1, 3, 16, 45, 1500})
    for (const int size : {1, 4, 5}) {
      INFO(channels << " channels, " << size << " together");
      const response_norm norm{size, 0.6, 0.75, 1.5};
      const auto width = static_cast<std::size_t>(channels);
      const std::size_t rows = 20000 / width + 3;
      const auto x = random_values<T>(rows * width, 1), dy = random_values<T>(rows * width, 2),
                 before = random_values<T>(rows * width, 3);
      std::vector<double> d(x.size()), y(x.size()), dx(before.begin(), before.end());
      const int below = size / 2, above = size - 1 - below;
      const auto for_window = [&](std::size_t i, auto f) {
        const int c = static_cast<int>(i % width);
        for (int j = std::max(0, c - below); j <= std::min(channels - 1, c + above); ++j)
          f(i - i % width + static_cast<std::size_t>(j));
      };
      for (std::size_t i = 0; i < x.size(); ++i) {
        d[i] = norm.k;
        for_window(
            i, [&](std::size_t j) { d[i] += norm.alpha / size * std::pow(static_cast<double>(x[j]), 2); });
        y[i] = static_cast<double>(x[i]) * std::pow(d[i], -norm.beta);
        dx[i] += static_cast<double>(dy[i]) * std::pow(d[i], -norm.beta);
      }
      for (std::size_t i = 0; i < x.size(); ++i)
        for_window(i, [&](std::size_t j) {
          dx[j] -= 2 * norm.beta * norm.alpha / size * static_cast<double>(x[j]) *
                   static_cast<double>(dy[i]) * y[i] / d[i];
        });
      std::vector<T> first_y, first_dx;
      for (int threads : {1, 3}) {
        basic_cpu<T> backend(threads);
        workspace<T> memory(basic_cpu<T>::local_response_norm_workspace(channels), threads);
        std::vector<T> got(x.size()), got_dx = before, in_place = dy;
        backend.local_response_norm_forward(norm, rows, channels, x.data(), got.data(), memory.get());
        backend.local_response_norm_backward(norm, rows, channels, x.data(), dy.data(), got_dx.data(), true,
                                             memory.get());
        CHECK(difference(got, y) < tolerance<T>());
        CHECK(difference(got_dx, dx) < tolerance<T>());
        backend.local_response_norm_backward(norm, rows, channels, x.data(), in_place.data(), in_place.data(),
                                             false, memory.get());
        for (std::size_t i = 0; i < x.size(); ++i) in_place[i] += before[i];
        CHECK(difference(in_place, dx) < tolerance<T>());
        CHECK(memory.intact());
        if (threads == 1) first_y = got, first_dx = got_dx;
        CHECK((got == first_y && got_dx == first_dx));
      }
    }
}
