// SPDX-License-Identifier: MIT
// Every kernel against the CPU's primitive in double precision, on operands that T can represent. Without a
// card the same kernels run on the simulated one.
#include "device_memory.hpp"
#include "skip.hpp"

#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/core/random_key.hpp>

#include "../backend/workspace.hpp"

#if defined(SEGNET_CUDA_SIMULATED)
#include <segnet/backend/cuda/kernels/pack.cuh>
#endif

#include <catch2/catch.hpp>

#include <array>
#include <cmath>
#include <limits>

using namespace segnet;
using namespace segnet::reference;
namespace k = segnet::gpu::kernels;

#define ALL_TYPES float, bfloat16, float16

namespace {

using reference_cpu = basic_cpu<double>;

/// Values per channel stay floats whatever T is.
constexpr double of_floats = 1e-5;
constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();

template <class T>
bool agrees(const card_array<T>& got, const std::vector<double>& expected, double tolerance = rounding<T>()) {
  const double d = difference(got.get(), expected);
  if (!(d <= tolerance)) UNSCOPED_INFO("difference " << d << ", allowed " << tolerance);
  return d <= tolerance;
}

template <class... N>
std::size_t elements(N... counts) {
  return (std::size_t{1} * ... * static_cast<std::size_t>(counts));
}
template <class T>
std::vector<double> some(std::size_t size, std::uint64_t key) {
  return operand<T>(size, key).host;
}

}  // namespace

TEMPLATE_TEST_CASE("cuda kernels: activations, sums and casts", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  for (const std::size_t size : {1u, 7u, 8u, 29u, 4096u, 40001u})
    for (const std::size_t offset : {0u, 1u})
      for (const bool accumulate : {false, true}) {
        INFO(size << " at " << offset << (accumulate ? ", accumulating" : ""));
        const operand<T> x(size, 1, offset), dy(size, 2, offset);
        std::vector<double> expected(size);
        {
          card_array<T> y(size, offset);
          k::relu_forward<T>(s.get(), size, x.card, y);
          cpu.relu_forward(size, x.host.data(), expected.data());
          CHECK(agrees(y, expected, 0));
          k::sigmoid_forward<T>(s.get(), size, x.card, y);
          cpu.sigmoid_forward(size, x.host.data(), expected.data());
          CHECK(agrees(y, expected));
          k::add<T>(s.get(), size, x.card, dy.card, y);
          cpu.add(size, x.host.data(), dy.host.data(), expected.data());
          CHECK(agrees(y, expected));
          k::fill<T>(s.get(), size, 1.5F, y);
          CHECK(agrees(y, std::vector<double>(size, 1.5), 0));
        }
        {  // in place
          operand<T> y(x.host, offset);
          k::relu_forward<T>(s.get(), size, y.card, y.card);
          cpu.relu_forward(size, x.host.data(), expected.data());
          CHECK(agrees(y.card, expected, 0));
        }
        {
          operand<T> dx(accumulate ? some<T>(size, 3) : dy.host, offset);
          expected = dx.host;
          k::relu_backward<T>(s.get(), size, x.card, accumulate ? dy.card : dx.card, dx.card, accumulate);
          cpu.relu_backward(size, x.host.data(), dy.host.data(), expected.data(), accumulate);
          CHECK(agrees(dx.card, expected));
        }
        {
          operand<T> dx(size, 3, offset);
          expected = dx.host;
          k::sigmoid_backward<T>(s.get(), size, x.card, dy.card, dx.card, accumulate);
          cpu.sigmoid_backward(size, x.host.data(), dy.host.data(), expected.data(), accumulate);
          CHECK(agrees(dx.card, expected));
        }
        {
          const operand<float> exact(size, 4, offset);
          card_array<T> narrow(size, offset);
          k::cast<T>(s.get(), size, exact.card, narrow);
          CHECK(agrees(narrow, operand<T>(exact.host).host, 0));
          card_array<float> wide(size, offset);
          k::cast_back<T>(s.get(), size, x.card, wide);
          CHECK(agrees(wide, x.host, 0));
          operand<float> gradient(size, 5, offset);
          expected = gradient.host;
          for (std::size_t i = 0; i < size; ++i) expected[i] = x.host[i] + (accumulate ? expected[i] : 0);
          k::accumulate_gradient<T>(s.get(), size, x.card, gradient.card, accumulate);
          CHECK(agrees(gradient.card, expected));
        }
      }
}

TEMPLATE_TEST_CASE("cuda kernels: a NaN stays one", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  const std::size_t size = 32;
  std::vector<T> values(size, static_cast<T>(-1.0F));
  values[5] = static_cast<T>(nan_value);
  const card_array<T> x(values);
  const card_array<float> ones(std::vector<float>(8, 1.0F)), zeros(std::vector<float>(8, 0.0F));
  card_array<T> y(size), pooled(8);
  const auto only_there = [&](std::size_t place, const card_array<T>& array) {
    const auto got = array.get();
    for (std::size_t i = 0; i < got.size(); ++i)
      if (std::isnan(static_cast<float>(got[i])) != (i == place)) return false;
    return true;
  };
  k::relu_forward<T>(s.get(), size, x, y);
  CHECK(only_there(5, y));
  k::sigmoid_forward<T>(s.get(), size, x, y);
  CHECK(only_there(5, y));
  k::batch_norm_inference<T>(s.get(), 4, 8, x, ones, zeros, zeros, ones, 1e-3F, activation::relu, y);
  CHECK(only_there(5, y));
  k::max_pool_forward<T>(s.get(), {.h = 2, .w = 2, .channels = 8, .out_h = 1, .out_w = 1}, 1, x, pooled,
                         nullptr);
  CHECK(only_there(5, pooled));
  y.set(values);
  k::scale_shift_act_pool<T>(s.get(), 1, 2, 2, 8, nullptr, ones, activation::relu, false, y, pooled);
  CHECK(only_there(5, y));
  CHECK(only_there(5, pooled));
}

TEMPLATE_TEST_CASE("cuda kernels: dropout draws the CPU's mask", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  const std::uint64_t seed = 0x123456789abcdefULL, layer = 17;
  const card_array<gpu::step_values> step(std::vector{gpu::step_values{.seed = seed,
                                                                       .momentum_limit = 1,
                                                                       .rate = 0,
                                                                       .corrected_rate = 0,
                                                                       .v_correction = 0,
                                                                       .gradient_scale = 1,
                                                                       .loss_scale = 1}});
  for (const std::size_t size : {1u, 2u, 15u, 16u, 5001u, 100000u})
    for (const std::size_t offset : {0u, 1u})
      for (const double rate : {0.0, 0.3, 0.5, 0.999})
        for (const bool accumulate : {false, true}) {
          INFO(size << " at " << offset << ", rate " << rate << (accumulate ? ", accumulating" : ""));
          const operand<T> x(size, 1, offset);
          operand<T> y(accumulate ? some<T>(size, 2) : x.host, offset);
          std::vector<double> expected = y.host;
          cpu.dropout(size, random_key{seed, layer}(), rate, x.host.data(), expected.data(), accumulate);
          k::dropout<T>(s.get(), size, step, layer, rate, accumulate ? x.card : y.card, y.card, accumulate);
          CHECK(agrees(y.card, expected));
        }
}

TEMPLATE_TEST_CASE("cuda kernels: batch normalisation and sums", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  const float epsilon = 1e-3F;
  const double momentum = 0.9;
  // Periods of one pack and of many, rows wider than a block's threads, with and without whole packs.
  for (auto [rows, channels, offset] : std::vector<std::array<std::size_t, 3>>{{1, 4, 0},
                                                                               {4, 3, 0},
                                                                               {700, 1, 0},
                                                                               {40001, 8, 0},
                                                                               {3001, 3, 0},
                                                                               {333, 16, 1},
                                                                               {131, 24, 0},
                                                                               {64, 33, 0},
                                                                               {70, 600, 0},
                                                                               {33, 768, 0},
                                                                               {10, 301, 0},
                                                                               {7, 2056, 0},
                                                                               {5, 2060, 1}})
    for (const bool relu : {false, true})
      for (const bool accumulate : {false, true}) {
        INFO(rows << " x " << channels << " at " << offset << (relu ? " relu" : "")
                  << (accumulate ? " accumulating" : ""));
        const auto act = relu ? activation::relu : activation::none;
        const int width = static_cast<int>(channels);
        const std::size_t size = rows * channels;
        auto values = random_values<double>(size, 1);
        for (std::size_t i = 0; i < size; ++i)  // means far from zero
          values[i] = values[i] * static_cast<double>(1 + i % channels % 3) +
                      static_cast<double>(10 * (i % channels % 5));
        const operand<T> x(values, offset), dy(size, 4, offset);
        const operand<float> gamma(channels, 2), beta(channels, 3);
        workspace<double> memory(
            {.per_thread = 0, .shared = reference_cpu::batch_norm_backward_workspace(width).shared}, 1);

        {
          operand<float> sums(channels, 5);
          std::vector<double> expected = sums.host;
          card_scratch scratch(k::channel_sums_workspace(width));
          k::channel_sums<T>(s.get(), rows, width, x.card, sums.card, accumulate, scratch);
          cpu.channel_sums(rows, width, x.host.data(), expected.data(), accumulate, memory.get());
          CHECK(agrees(sums.card, expected, of_floats));
          CHECK(scratch.intact());
        }

        std::vector<double> mean(channels), inv_std(channels), y(size);
        cpu.batch_statistics(rows, width, x.host.data(), mean.data(), inv_std.data(), memory.get());
        card_array<float> mean_got(channels), inv_std_got(channels);
        card_scratch scratch(k::batch_statistics_workspace(width));
        k::batch_statistics<T>(s.get(), rows, width, x.card, mean_got, inv_std_got, scratch);
        CHECK(agrees(mean_got, mean, of_floats));
        CHECK(agrees(inv_std_got, inv_std, of_floats));
        CHECK(scratch.intact());

        // The sums of squares that a convolution's epilogue gives, in place.
        std::vector<double> sum(channels), squares(channels);
        for (std::size_t c = 0; c < channels; ++c) {
          sum[c] = mean[c] * static_cast<double>(rows);
          squares[c] = (inv_std[c] + mean[c] * mean[c]) * static_cast<double>(rows);
        }
        operand<float> from_sum(sum), from_squares(squares);
        k::finish_statistics(s.get(), width, rows, from_sum.card, from_squares.card, from_sum.card,
                             from_squares.card);
        CHECK(agrees(from_sum.card, mean, of_floats));
        if (rows > 1) CHECK(agrees(from_squares.card, inv_std, 1e-3));

        // The card's limit of the momentum is the smaller one.
        const double limit = accumulate ? 0.75 : 1;
        const card_array<gpu::step_values> step(
            std::vector{gpu::step_values{.seed = 0,
                                         .momentum_limit = static_cast<float>(limit),
                                         .rate = 0,
                                         .corrected_rate = 0,
                                         .v_correction = 0,
                                         .gradient_scale = 1,
                                         .loss_scale = 1}});
        operand<float> running_mean(channels, 6), running_var(channels, 7);
        std::vector<double> moved_mean = running_mean.host, moved_var = running_var.host;
        card_array<T> y_got(size, offset);
        const auto eps = static_cast<double>(epsilon);
        cpu.batch_norm_forward(rows, width, x.host.data(), gamma.host.data(), beta.host.data(), eps,
                               std::min(momentum, limit), moved_mean.data(), moved_var.data(), mean.data(),
                               inv_std.data(), act, y.data());
        k::batch_norm_forward<T>(s.get(), rows, width, x.card, gamma.card, beta.card, epsilon, momentum,
                                 limit < 1 ? step.data() : nullptr, running_mean.card, running_var.card,
                                 mean_got, inv_std_got, act, y_got);
        CHECK(agrees(inv_std_got, inv_std, of_floats));
        CHECK(agrees(running_mean.card, moved_mean, of_floats));
        CHECK(agrees(running_var.card, moved_var, of_floats));
        CHECK(agrees(y_got, y, 20 * rounding<float>() + rounding<T>()));

        card_array<T> again(size, offset);
        k::batch_norm_apply<T>(s.get(), rows, width, x.card, gamma.card, beta.card, mean_got, inv_std_got,
                               act, again);
        CHECK(difference(again.get(), doubles(y_got.get())) == 0);

        operand<T> dx(accumulate ? some<T>(size, 8) : dy.host, offset);  // in place when it may be
        operand<float> dgamma(channels, 9), dbeta(channels, 10);
        std::vector<double> dx_expected = dx.host, dgamma_expected = dgamma.host, dbeta_expected = dbeta.host;
        cpu.batch_norm_backward(rows, width, x.host.data(), dy.host.data(), gamma.host.data(),
                                beta.host.data(), mean.data(), inv_std.data(), act, dx_expected.data(),
                                accumulate, dgamma_expected.data(), dbeta_expected.data(), accumulate,
                                memory.get());
        card_scratch backward(k::batch_norm_backward_workspace(width));
        k::batch_norm_backward<T>(s.get(), rows, width, x.card, accumulate ? dy.card : dx.card, gamma.card,
                                  beta.card, mean_got, inv_std_got, act, dx.card, accumulate, dgamma.card,
                                  dbeta.card, accumulate, backward);
        CHECK(agrees(dgamma.card, dgamma_expected, 5 * of_floats));
        CHECK(agrees(dbeta.card, dbeta_expected, of_floats));
        CHECK(backward.intact());
        if (rows == 1 && !accumulate) {  // nothing is left of the gradient, but rounding
          for (T value : dx.card.get()) CHECK(std::abs(static_cast<float>(value)) < 1e-4F);
        } else {
          CHECK(agrees(dx.card, dx_expected, of_floats + rounding<T>()));
        }

        // The same with sums that a convolution, or a pass of its own, has taken before.
        std::vector<double> scale(channels), shift(channels);
        for (std::size_t c = 0; c < channels; ++c) {
          scale[c] = gamma.host[c] * inv_std[c];
          shift[c] = beta.host[c] - mean[c] * scale[c];
        }
        const operand<float> given_scale(scale), given_shift(shift);
        card_array<float> slope_sums(2 * channels);
        card_scratch summing(k::slope_sums_workspace(width));
        k::slope_sums<T>(s.get(), rows, width, x.card, dy.card, given_scale.card, given_shift.card, mean_got,
                         act, slope_sums, summing);
        CHECK(summing.intact());
        operand<T> dx_again(accumulate ? some<T>(size, 8) : dy.host, offset);
        operand<float> dgamma_again(channels, 9), dbeta_again(channels, 10);
        k::batch_norm_backward<T>(s.get(), rows, width, x.card, accumulate ? dy.card : dx_again.card,
                                  gamma.card, beta.card, mean_got, inv_std_got, act, dx_again.card,
                                  accumulate, dgamma_again.card, dbeta_again.card, accumulate, backward,
                                  slope_sums);
        CHECK(agrees(dgamma_again.card, dgamma_expected, 5 * of_floats));
        CHECK(agrees(dbeta_again.card, dbeta_expected, of_floats));
        if (rows > 1 || accumulate) CHECK(agrees(dx_again.card, dx_expected, of_floats + rounding<T>()));
        CHECK(backward.intact());

        std::vector<double> variance(channels);
        for (std::size_t c = 0; c < channels; ++c) variance[c] = 1 / (inv_std[c] * inv_std[c]) - eps;
        const operand<float> given_mean(mean), given_variance(variance);
        cpu.batch_norm_inference(rows, width, x.host.data(), gamma.host.data(), beta.host.data(),
                                 given_mean.host.data(), given_variance.host.data(), eps, act, y.data());
        k::batch_norm_inference<T>(s.get(), rows, width, x.card, gamma.card, beta.card, given_mean.card,
                                   given_variance.card, epsilon, act, again);
        if (rows > 1) CHECK(agrees(again, y, 20 * rounding<float>() + rounding<T>()));
      }
}

TEMPLATE_TEST_CASE("cuda kernels: scale, shift, activation and pooling in place", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  for (const int channels : {1, 3, 8, 16, 24})
    for (const std::size_t offset : {0u, 1u})
      for (const bool relu : {false, true})
        for (const int given : {0, 1, 2, 3})
          for (const bool pools_first : {false, true}) {
            const int batch = 2, h = 6, w = 10;
            INFO(channels << " channels at " << offset << (relu ? " relu" : "") << ", given " << given
                          << (pools_first ? ", pools first" : ""));
            const auto act = relu ? activation::relu : activation::none;
            const auto row = static_cast<std::size_t>(channels);
            const std::size_t size = elements(batch, h, w, channels);
            const operand<float> scale(row, 1), bias(row, 2);
            operand<T> y(size, 3, offset), plain(size, 3, offset);
            card_array<T> pooled(size / 4, offset);
            std::vector<double> before = y.host, after;
            for (std::size_t i = 0; i < size; ++i) {
              if ((given & 1) != 0) before[i] *= scale.host[i % row];
              if ((given & 2) != 0) before[i] += bias.host[i % row];
              after.push_back(relu ? std::max(0.0, before[i]) : before[i]);
            }
            std::vector<double> most;
            reference_cpu cpu(1);
            most.resize(size / 4);
            cpu.max_pool_forward({.h = h, .w = w, .channels = channels, .out_h = h / 2, .out_w = w / 2},
                                 batch, pools_first ? before.data() : after.data(), most.data(), nullptr);
            const float* const scales = (given & 1) != 0 ? scale.card.data() : nullptr;
            const float* const biases = (given & 2) != 0 ? bias.card.data() : nullptr;
            k::scale_shift_act<T>(s.get(), size / row, channels, plain.card, scales, biases, act, plain.card);
            k::scale_shift_act_pool<T>(s.get(), batch, h, w, channels, scales, biases, act, pools_first,
                                       y.card, pooled);
            CHECK(agrees(plain.card, after));
            CHECK(agrees(y.card, after));
            CHECK(agrees(pooled, most));
          }
}

TEMPLATE_TEST_CASE("cuda kernels: softmax and argmax", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  for (const std::size_t channels : {1u, 2u, 11u, 32u, 33u, 100u, 256u})
    for (const std::size_t rows : {1u, 9u, 300u})
      for (const bool accumulate : {false, true}) {
        INFO(rows << " x " << channels << (accumulate ? ", accumulating" : ""));
        const std::size_t size = rows * channels;
        auto values = random_values<double>(size, 1);
        for (double& value : values) value = std::round(4 * value) * (accumulate ? 0.25 : 5);  // equals, too
        const operand<T> x(values), dy(size, 2);
        std::vector<double> y(size);
        cpu.softmax_forward(rows, channels, x.host.data(), y.data());
        operand<T> y_got(x.host);
        k::softmax_forward<T>(s.get(), rows, channels, y_got.card, y_got.card);
        CHECK(agrees(y_got.card, y));

        // Of moderate logits, as a saturated softmax leaves nothing of the gradient but rounding.
        const auto logits = some<T>(size, 4);
        cpu.softmax_forward(rows, channels, logits.data(), y.data());
        const operand<T> p(y);
        operand<T> dx(accumulate ? some<T>(size, 3) : dy.host);
        std::vector<double> expected = dx.host;
        cpu.softmax_backward(rows, channels, p.host.data(), dy.host.data(), expected.data(), accumulate);
        k::softmax_backward<T>(s.get(), rows, channels, p.card, accumulate ? dy.card : dx.card, dx.card,
                               accumulate);
        if (channels > 1) CHECK(agrees(dx.card, expected, 2 * rounding<T>()));

        std::vector<std::uint8_t> classes(rows);
        cpu.argmax(rows, channels, x.host.data(), classes.data());
        card_array<std::uint8_t> classes_got(rows);
        k::argmax<T>(s.get(), rows, channels, x.card, classes_got);
        CHECK(classes_got.get() == classes);
      }
}

TEMPLATE_TEST_CASE("cuda kernels: pooling and unpooling", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  struct windows {
    int h, w, window, stride, out_h, out_w;
  };
  for (const windows p : {windows{8, 6, 2, 2, 4, 3}, windows{7, 5, 2, 2, 4, 3}, windows{7, 5, 2, 2, 3, 2},
                          windows{9, 8, 3, 2, 4, 4}, windows{5, 6, 2, 1, 4, 5}, windows{9, 7, 3, 3, 3, 3},
                          windows{7, 7, 1, 2, 4, 4}})
    for (const int channels : {1, 3, 8, 20, 32})
      for (const std::size_t offset : {0u, 1u})
        for (const bool accumulate : {false, true}) {
          INFO(p.h << "x" << p.w << ", window " << p.window << ", stride " << p.stride << ", to " << p.out_h
                   << "x" << p.out_w << ", " << channels << " channels at " << offset
                   << (accumulate ? ", accumulating" : ""));
          const pool2d_geometry g{.h = p.h,
                                  .w = p.w,
                                  .channels = channels,
                                  .out_h = p.out_h,
                                  .out_w = p.out_w,
                                  .window = p.window,
                                  .stride = p.stride};
          const int batch = 2;
          const std::size_t in = elements(batch, p.h, p.w, channels),
                            out = elements(batch, p.out_h, p.out_w, channels);
          auto values = random_values<double>(in, 1);
          for (double& value : values) value = std::round(2 * value);  // equals, too
          const operand<T> x(values, offset), small(out, 2, offset), large(in, 3, offset);

          std::vector<double> y(out);
          std::vector<std::uint8_t> index(out);
          cpu.max_pool_forward(g, batch, x.host.data(), y.data(), index.data());
          card_array<T> y_got(out, offset), without(out, offset);
          card_array<std::uint8_t> index_got(out, offset);
          k::max_pool_forward<T>(s.get(), g, batch, x.card, y_got, index_got);
          k::max_pool_forward<T>(s.get(), g, batch, x.card, without, nullptr);
          CHECK(agrees(y_got, y, 0));
          CHECK(agrees(without, y, 0));
          CHECK(index_got.get() == index);

          operand<T> dx(in, 4, offset);
          std::vector<double> expected = dx.host;
          cpu.max_pool_backward(g, batch, index.data(), small.host.data(), expected.data(), accumulate);
          k::max_pool_backward<T>(s.get(), g, batch, index_got, small.card, dx.card, accumulate);
          CHECK(agrees(dx.card, expected));

          cpu.max_unpool_forward(g, batch, index.data(), small.host.data(), expected.data());
          k::max_unpool_forward<T>(s.get(), g, batch, index_got, small.card, dx.card);
          CHECK(agrees(dx.card, expected));

          operand<T> back(out, 5, offset);
          expected = back.host;
          cpu.max_unpool_backward(g, batch, index.data(), large.host.data(), expected.data(), accumulate);
          k::max_unpool_backward<T>(s.get(), g, batch, index_got, large.card, back.card, accumulate);
          CHECK(agrees(back.card, expected));
        }
}

TEMPLATE_TEST_CASE("cuda kernels: upsampling and cropping", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  for (const auto [h, w, factor] :
       std::vector<std::array<int, 3>>{{1, 1, 2}, {3, 5, 2}, {4, 4, 3}, {2, 3, 8}, {5, 2, 1}})
    for (const int channels : {1, 3, 8, 16})
      for (const std::size_t offset : {0u, 1u})
        for (const bool accumulate : {false, true}) {
          INFO(h << "x" << w << "x" << channels << " times " << factor << " at " << offset
                 << (accumulate ? ", accumulating" : ""));
          const int batch = 2;
          const shape in{h, w, channels};
          const std::size_t small = elements(batch, in.size()), large = small * elements(factor, factor);
          const operand<T> x(small, 1, offset), dy(large, 2, offset);
          {
            card_array<T> y(large, offset);
            std::vector<double> expected(large);
            cpu.upsample_bilinear_forward(factor, batch, in, x.host.data(), expected.data());
            k::upsample_bilinear_forward<T>(s.get(), factor, batch, in, x.card, y);
            CHECK(agrees(y, expected));
            operand<T> dx(small, 3, offset);
            expected = dx.host;
            cpu.upsample_bilinear_backward(factor, batch, in, dy.host.data(), expected.data(), accumulate);
            k::upsample_bilinear_backward<T>(s.get(), factor, batch, in, dy.card, dx.card, accumulate);
            CHECK(agrees(dx.card, expected));
          }
          for (const auto [more, first] : std::vector<std::array<int, 2>>{{0, 0}, {8, 8}, {5, 3}}) {
            INFO("into channels from " << first << " on of " << more << " more");
            const int all = channels + more;
            const std::size_t wide = large / elements(channels) * elements(all);
            operand<T> y(wide, 4, offset);
            std::vector<double> expected = y.host;
            cpu.upsample_nearest_forward(factor, batch, in, x.host.data(), expected.data(), all, first);
            k::upsample_nearest_forward<T>(s.get(), factor, batch, in, x.card, y.card, all, first);
            CHECK(agrees(y.card, expected, 0));
            operand<T> dx(small, 3, offset);
            std::vector<double> slopes = dx.host;
            cpu.upsample_nearest_backward(factor, batch, in, expected.data(), slopes.data(), accumulate, all,
                                          first);
            k::upsample_nearest_backward<T>(s.get(), factor, batch, in, y.card, dx.card, accumulate, all,
                                            first);
            CHECK(agrees(dx.card, slopes));
          }
          for (const auto [top, left, high, wide] :
               std::vector<std::array<int, 4>>{{0, 0, h, w}, {h / 2, w / 2, h - h / 2, w - w / 2}}) {
            const shape window{high, wide, channels};
            const std::size_t part = elements(batch, window.size());
            card_array<T> y(part, offset);
            std::vector<double> expected(part);
            cpu.crop_forward(batch, in, window, top, left, x.host.data(), expected.data());
            k::crop_forward<T>(s.get(), batch, in, window, top, left, x.card, y);
            CHECK(agrees(y, expected, 0));
            const operand<T> slope(part, 5, offset);
            operand<T> dx(small, 6, offset);
            expected = dx.host;
            cpu.crop_backward(batch, in, window, top, left, slope.host.data(), expected.data(), accumulate);
            k::crop_backward<T>(s.get(), batch, in, window, top, left, slope.card, dx.card, accumulate);
            CHECK(agrees(dx.card, expected));
          }
        }
}

TEMPLATE_TEST_CASE("cuda kernels: copies between channel counts", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  const std::size_t rows = 77;
  for (const auto [channels, from, from_first, to, to_first] : std::vector<std::array<int, 5>>{
           {1, 1, 0, 1, 0}, {3, 5, 1, 7, 4}, {8, 16, 8, 24, 16}, {16, 16, 0, 40, 8}, {8, 16, 4, 8, 0}})
    for (const std::size_t offset : {0u, 1u})
      for (const bool accumulate : {false, true}) {
        INFO(channels << " channels, from " << from_first << " of " << from << " to " << to_first << " of "
                      << to << " at " << offset << (accumulate ? ", accumulating" : ""));
        const operand<T> x(elements(rows, from), 1, offset);
        operand<T> y(elements(rows, to), 2, offset);
        std::vector<double> expected = y.host;
        cpu.copy_channels(rows, channels, x.host.data(), from, from_first, expected.data(), to, to_first,
                          accumulate);
        k::copy_channels<T>(s.get(), rows, channels, x.card, from, from_first, y.card, to, to_first,
                            accumulate);
        CHECK(agrees(y.card, expected));
      }

  for (const auto [few, many] : std::vector<std::array<int, 2>>{{3, 8}, {1, 8}, {8, 16}, {5, 7}, {6, 6}})
    for (const std::size_t offset : {0u, 1u})
      for (const bool accumulate : {false, true}) {
        INFO(few << " channels and " << many << " at " << offset);
        const operand<T> x(elements(rows, few), 1, offset);
        std::vector<double> expected(elements(rows, many));
        for (std::size_t row = 0; row < rows; ++row)
          for (int c = 0; c < few; ++c)
            expected[row * elements(many) + elements(c + 1) - 1] =
                x.host[row * elements(few) + elements(c + 1) - 1];
        card_array<T> padded(std::vector<T>(elements(rows, many), static_cast<T>(nan_value)), offset);
        k::pad_channels<T>(s.get(), rows, few, many, x.card, padded);
        CHECK(agrees(padded, expected, 0));
        operand<T> back(elements(rows, few), 2, offset);
        expected = back.host;
        for (std::size_t i = 0; i < expected.size(); ++i)
          expected[i] = x.host[i] + (accumulate ? expected[i] : 0);
        k::unpad_channels<T>(s.get(), rows, many, few, padded, back.card, accumulate);
        CHECK(agrees(back.card, expected));
      }

  for (const auto [outs, taps, ins, padded_outs, padded_ins] :
       std::vector<std::array<int, 5>>{{5, 9, 3, 8, 8}, {8, 1, 8, 8, 8}, {1, 9, 16, 8, 16}})
    for (const bool accumulate : {false, true}) {
      INFO(outs << " x " << taps << " x " << ins);
      const operand<float> weight(elements(outs, taps, ins), 1);
      card_array<T> padded(elements(padded_outs, taps, padded_ins));
      k::pad_weights<T>(s.get(), outs, taps, ins, padded_outs, padded_ins, weight.card, padded);
      const auto got = padded.get();
      std::vector<double> expected(got.size());
      for (int row = 0; row < outs * taps; ++row)
        for (int c = 0; c < ins; ++c)
          expected[static_cast<std::size_t>(row * padded_ins + c)] =
              weight.host[static_cast<std::size_t>(row * ins + c)];
      CHECK(agrees(padded, expected));
      operand<float> gradient(weight.host.size(), 2);
      std::vector<double> sum = gradient.host;
      for (int row = 0; row < outs * taps; ++row)
        for (int c = 0; c < ins; ++c) {
          double& to = sum[static_cast<std::size_t>(row * ins + c)];
          to = static_cast<double>(got[static_cast<std::size_t>(row * padded_ins + c)]) +
               (accumulate ? to : 0);
        }
      k::unpad_weights_gradient<T>(s.get(), outs, taps, ins, padded_ins, padded, gradient.card, accumulate);
      CHECK(agrees(gradient.card, sum, of_floats));
    }
}

TEMPLATE_TEST_CASE("cuda kernels: a convolution's sources side by side", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  const int batch = 2, h = 6, w = 12;
  for (const auto& sources : std::vector<std::vector<std::array<int, 2>>>{{{8, 1}},
                                                                          {{3, 1}},
                                                                          {{8, 2}, {16, 1}},
                                                                          {{5, 1}, {8, 2}},
                                                                          {{3, 3}, {1, 1}, {2, 2}, {7, 6}},
                                                                          {{16, 1}, {8, 2}, {8, 3}, {8, 1}},
                                                                          {{8, 1}, {3, 2}, {8, 1}}})
    for (const int padding : {0, 3, 8})
      for (const std::size_t offset : {0u, 1u}) {
        int channels = 0;
        std::vector<operand<T>> inputs;
        for (auto [count, upsample] : sources) {
          inputs.emplace_back(elements(batch, h / upsample, w / upsample, count), 1 + inputs.size(), offset);
          channels += count;
        }
        std::vector<conv2d_source<T>> from;
        std::vector<conv2d_source<double>> from_host;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          from.push_back({inputs[i].card.data(), sources[i][0], sources[i][1]});
          from_host.push_back({inputs[i].host.data(), sources[i][0], sources[i][1]});
        }
        // Padded to whole packs, or by so many.
        const int all = padding == 8 ? (channels + 7) / 8 * 8 : channels + padding;
        INFO(sources.size() << " sources, " << channels << " channels of " << all << " at " << offset);
        const auto concatenated =
            materialise<double>({.h = h, .w = w, .in_channels = channels}, batch, from_host);
        std::vector<double> expected(elements(batch, h, w, all));
        for (std::size_t i = 0; i < concatenated.size(); ++i)
          expected[i / elements(channels) * elements(all) + i % elements(channels)] = concatenated[i];
        card_array<T> out(std::vector<T>(expected.size(), static_cast<T>(nan_value)), offset);
        k::gather_sources<T>(s.get(), batch, h, w, from, all, out);
        CHECK(agrees(out, expected, 0));
      }
}

TEMPLATE_TEST_CASE("cuda kernels: local response normalisation", "[cuda]", ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  for (const int channels : {1, 3, 8, 96, 700})
    for (const int window : {5, 4, 1})
      for (const std::size_t rows : {1u, 60u})
        for (const bool accumulate : {false, true}) {
          INFO(rows << " x " << channels << ", window " << window << (accumulate ? ", accumulating" : ""));
          const response_norm norm{.size = window, .alpha = 0.4, .beta = 0.75, .k = 1.5};
          const std::size_t size = rows * elements(channels);
          const operand<T> x(size, 1), dy(size, 2);
          workspace<double> memory(reference_cpu::local_response_norm_workspace(channels), 1);
          std::vector<double> y(size);
          cpu.local_response_norm_forward(norm, rows, channels, x.host.data(), y.data(), memory.get());
          card_array<T> y_got(size);
          k::local_response_norm_forward<T>(s.get(), norm, rows, channels, x.card, y_got);
          CHECK(agrees(y_got, y));
          operand<T> dx(accumulate ? some<T>(size, 3) : dy.host);
          std::vector<double> expected = dx.host;
          cpu.local_response_norm_backward(norm, rows, channels, x.host.data(), dy.host.data(),
                                           expected.data(), accumulate, memory.get());
          k::local_response_norm_backward<T>(s.get(), norm, rows, channels, x.card,
                                             accumulate ? dy.card : dx.card, dx.card, accumulate);
          CHECK(agrees(dx.card, expected));
        }
  CHECK_THROWS_AS(k::local_response_norm_backward<T>(s.get(), {}, 1, 2049, nullptr, nullptr, nullptr, false),
                  error);
}

TEMPLATE_TEST_CASE("cuda kernels: transposed convolution with a kernel for each channel", "[cuda]",
                   ALL_TYPES) {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = TestType;
  const gpu::stream s;
  reference_cpu cpu(1);
  struct spread {
    int h, w, kernel, stride, pad;  // of the input
  };
  for (const spread p : {spread{3, 4, 4, 2, 1}, spread{2, 3, 16, 8, 4}, spread{5, 5, 3, 1, 1},
                         spread{4, 3, 2, 3, 0}, spread{20, 30, 4, 2, 1}})
    for (const int channels : {1, 5, 8, 40})
      for (const std::size_t offset : {0u, 1u})
        for (const bool accumulate : {false, true}) {
          const conv2d_geometry g{.h = (p.h - 1) * p.stride + p.kernel - 2 * p.pad,
                                  .w = (p.w - 1) * p.stride + p.kernel - 2 * p.pad,
                                  .out_h = p.h,
                                  .out_w = p.w,
                                  .in_channels = channels,
                                  .out_channels = channels,
                                  .kernel_h = p.kernel,
                                  .kernel_w = p.kernel,
                                  .stride = p.stride,
                                  .pad_top = p.pad,
                                  .pad_left = p.pad};
          INFO(p.h << "x" << p.w << "x" << channels << " at " << offset << " to " << g.h << "x" << g.w
                   << ", kernel " << p.kernel << (accumulate ? ", accumulating" : ""));
          const int batch = 2;
          const std::size_t small = elements(batch, p.h, p.w, channels),
                            large = elements(batch, g.h, g.w, channels),
                            weights = elements(channels, p.kernel, p.kernel);
          const operand<T> x(small, 1, offset), dy(large, 2, offset);
          const operand<float> weight(weights, 3), scale(elements(channels), 4), bias(elements(channels), 5);
          workspace<double> memory(reference_cpu::depthwise_transposed_workspace(g), 1);
          {
            conv2d_epilogue<double> finish;
            if (accumulate)
              finish = {.scale = scale.host.data(), .bias = bias.host.data(), .act = activation::relu};
            std::vector<double> expected(large);
            card_array<T> y(large, offset);
            cpu.depthwise_transposed_forward(g, batch, x.host.data(), weight.host.data(), finish,
                                             expected.data(), memory.get());
            k::depthwise_transposed_forward<T>(s.get(), g, batch, x.card, weight.card,
                                               accumulate ? scale.card.data() : nullptr,
                                               accumulate ? bias.card.data() : nullptr, finish.act, y);
            CHECK(agrees(y, expected));
          }
          {
            operand<T> dx(small, 6, offset);
            std::vector<double> expected = dx.host;
            cpu.depthwise_transposed_backward_data(g, batch, dy.host.data(), weight.host.data(),
                                                   expected.data(), accumulate, memory.get());
            k::depthwise_transposed_backward_data<T>(s.get(), g, batch, dy.card, weight.card, dx.card,
                                                     accumulate);
            CHECK(agrees(dx.card, expected));
          }
          {
            operand<float> dweight(weights, 7);
            std::vector<double> expected = dweight.host;
            cpu.depthwise_transposed_backward_weights(g, batch, x.host.data(), dy.host.data(),
                                                      expected.data(), accumulate);
            card_scratch scratch(k::depthwise_transposed_backward_weights_workspace(g));
            k::depthwise_transposed_backward_weights<T>(s.get(), g, batch, x.card, dy.card, dweight.card,
                                                        accumulate, scratch);
            CHECK(agrees(dweight.card, expected, of_floats));
            CHECK(scratch.intact());
          }
        }
}

TEST_CASE("cuda kernels: a recorded step reads its values afresh, and gives the same bits every time",
          "[cuda]") {
  SEGNET_SKIP_WITHOUT_CARD();
  using T = bfloat16;
  const gpu::stream s;
  reference_cpu cpu(1);
  const std::size_t rows = 3000;
  const int channels = 16;
  const std::size_t size = rows * elements(channels);
  gpu::step_values values{.seed = 1,
                          .momentum_limit = 0.25F,
                          .rate = 0,
                          .corrected_rate = 0,
                          .v_correction = 0,
                          .gradient_scale = 1,
                          .loss_scale = 1};
  card_array<gpu::step_values> step(std::vector{values});
  const operand<T> x(size, 1);
  const operand<float> gamma(elements(channels), 2), beta(elements(channels), 3);
  operand<float> running_mean(elements(channels), 4), running_var(elements(channels), 5);
  card_array<float> mean(elements(channels)), spread(elements(channels)), dgamma(elements(channels)),
      dbeta(elements(channels));
  card_array<T> y(size), dropped(size), dx(size);
  card_scratch scratch(k::batch_norm_backward_workspace(channels));
  const gpu::graph recorded = gpu::graph::capture(s, [&] {
    k::batch_statistics<T>(s.get(), rows, channels, x.card, mean, spread, scratch);
    k::batch_norm_forward<T>(s.get(), rows, channels, x.card, gamma.card, beta.card, 1e-3F, 0.9, step,
                             running_mean.card, running_var.card, mean, spread, activation::relu, y);
    k::dropout<T>(s.get(), size, step, 3, 0.5, y, dropped, false);
    k::batch_norm_backward<T>(s.get(), rows, channels, x.card, dropped, gamma.card, beta.card, mean, spread,
                              activation::relu, dx, false, dgamma, dbeta, false, scratch);
  });
  recorded.launch(s);
  const auto first_mean = running_mean.card.get();
  const auto first_dropped = doubles(dropped.get()), first_dx = doubles(dx.get());
  const auto first_dgamma = dgamma.get(), batch_mean = mean.get();
  for (std::size_t c = 0; c < first_mean.size(); ++c)
    CHECK(static_cast<double>(first_mean[c]) ==
          Approx(0.25 * running_mean.host[c] + 0.75 * static_cast<double>(batch_mean[c])).margin(1e-6));

  recorded.launch(s);
  CHECK(difference(dropped.get(), first_dropped) == 0);
  CHECK(difference(dx.get(), first_dx) == 0);
  CHECK(dgamma.get() == first_dgamma);

  values.seed = 2;
  values.momentum_limit = 0.5F;
  step.set({values});
  const auto second_mean = running_mean.card.get();
  recorded.launch(s);
  const auto third_mean = running_mean.card.get();
  for (std::size_t c = 0; c < first_mean.size(); ++c)
    CHECK(static_cast<double>(third_mean[c]) ==
          Approx(0.5 * static_cast<double>(second_mean[c]) + 0.5 * static_cast<double>(batch_mean[c]))
              .margin(1e-6));
  std::vector<double> expected(size);
  const auto y_values = doubles(y.get());
  cpu.dropout(size, random_key{2, 3}(), 0.5, y_values.data(), expected.data(), false);
  CHECK(agrees(dropped, expected));
  CHECK(difference(dropped.get(), first_dropped) > 0.1);
}

#if defined(SEGNET_CUDA_SIMULATED)
TEST_CASE("cuda kernels: division by numbers that the host knows", "[cuda]") {
  using k::detail::divisor;
  random_stream random{1};
  for (const unsigned d : {1U, 2U, 3U, 5U, 7U, 8U, 24U, 31U, 32U, 33U, 255U, 257U, 641U, 1918U, 65535U,
                           65537U, 0x40000000U, 0x40000001U, 0x7fffffffU}) {
    const divisor by(static_cast<int>(d));
    std::vector<unsigned> numbers{0, 1, d - 1, d, divisor::largest - 1, divisor::largest};
    for (int i = 0; i < 200; ++i) {
      const auto n = static_cast<unsigned>(random.uniform() * divisor::largest);
      numbers.push_back(n);
      numbers.push_back(n / d * d);  // where a quotient begins
      if (n >= d) numbers.push_back(n / d * d - 1);
    }
    for (const unsigned n : numbers) CHECK(by.whole(n) == n / d);
  }
  // Packs whose number needs more than 31 bits, too.
  const k::detail::pack_grid<8> grid(5, 7, 24);
  CHECK(grid.size(2) == 5 * 7 * 3 * 2);
  for (const std::size_t image :
       {std::size_t{0}, std::size_t{1}, std::size_t{1} << 25, std::size_t{1} << 40}) {
    const auto at = grid[((image * 5 + 3) * 7 + 6) * 3 + 1];
    CHECK((at.image == image && at.line == image * 5 + 3));
    CHECK((at.y == 3 && at.x == 6 && at.channel == 8));
  }
}
#endif
