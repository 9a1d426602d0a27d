// SPDX-License-Identifier: MIT
// Every layer's backward() against central differences of its forward() in double precision, and its single
// precision against its double. Measured: at most 4.1e-9 and 1.6e-6; a tolerance this tight lets no zero
// gradient, missing term or wrong sign pass.
#include <segnet/network/gradient_check.hpp>

#include <catch2/catch.hpp>
#include <vector>

using namespace segnet;

namespace {

template <layer L>
void check(const L& l, const std::vector<shape>& inputs, gradient_check_options options = {}) {
  options.accumulate = true;
  const gradient_report r = gradient_check(l, inputs, options);
  CAPTURE(r.worst, r.double_error, r.float_error, r.largest_gradient, r.checked);
  CHECK(r.checked > 20);
  CHECK(r.largest_gradient > 0.1);
  CHECK(r.passed(2e-8, 1e-5));
}

}  // namespace

TEST_CASE("conv2d: kernels, strides, padding, bias", "[gradients]") {
  for (int kernel : {1, 2, 3, 7})
    for (int stride : {1, 2})
      for (padding pad : {padding::same, padding::valid, padding(1), padding(9)})
        for (bool bias : {true, false}) {
          CAPTURE(kernel, stride, pad.keeps_size, pad.zeros, bias);
          check(conv2d{.channels = 5, .kernel = kernel, .stride = stride, .pad = pad, .bias = bias},
                {{9, 8, 3}}, {.samples = 40});
        }
}

TEST_CASE("conv2d: with a ReLU", "[gradients]") {
  check(conv2d{.channels = 5, .act = activation::relu}, {{5, 4, 3}});
  check(conv2d{.channels = 5, .bias = false, .act = activation::relu, .reads = {{1, 2, 1, 1}}},
        {{4, 6, 3}, {2, 3, 5}});
}

TEST_CASE("conv2d: channel counts around the vector widths", "[gradients]") {
  for (int channels : {1, 7, 8, 9, 16, 17, 33}) {
    CAPTURE(channels);
    check(conv2d{.channels = channels}, {{5, 7, channels == 1 ? 18 : 4}}, {.samples = 40});
    check(conv2d{.channels = 3}, {{4, 5, channels}}, {.samples = 40});
  }
}

TEST_CASE("conv2d: several sources, upsampled", "[gradients]") {
  check(conv2d{.channels = 4, .reads = {{1, 2, 1, 1}}}, {{4, 6, 3}, {2, 3, 5}}, {.samples = 60});
  check(conv2d{.channels = 4, .reads = {{2, 1, 4, 1}}}, {{2, 4, 2}, {4, 8, 3}, {1, 2, 1}}, {.samples = 60});
  check(conv2d{.channels = 4, .kernel = 1, .reads = {{3, 1, 1, 1}}}, {{2, 2, 3}}, {.samples = 60});
  check(conv2d{.channels = 3, .stride = 2, .reads = {{1, 1, 1, 1}}},
        {{5, 4, 1}, {5, 4, 2}, {5, 4, 3}, {5, 4, 8}}, {.samples = 60});
}

TEST_CASE("batch_norm", "[gradients]") {
  for (int channels : {1, 3, 8, 17}) {
    check(batch_norm{}, {{4, 5, channels}});
    check(batch_norm{.epsilon = 0.5, .momentum = 0.5}, {{3, 3, channels}}, {.batch = 3});
    check(batch_norm{.act = activation::relu}, {{4, 5, channels}});
  }
}

TEST_CASE("local_response_norm", "[gradients]") {
  for (int channels : {1, 3, 8, 37}) {
    CAPTURE(channels);
    check(local_response_norm{.alpha = 0.8, .k = 0.9}, {{4, 5, channels}}, {.scale = 2});
    check(local_response_norm{.size = 2, .alpha = 1, .beta = 1.5, .k = 2}, {{4, 5, channels}}, {.scale = 2});
    check(local_response_norm{.size = 11, .alpha = 2, .beta = 0.5}, {{4, 5, channels}}, {.scale = 2});
  }
}

TEST_CASE("activations, pooling, upsampling", "[gradients]") {
  check(relu{}, {{5, 4, 3}});
  check(sigmoid{}, {{5, 4, 3}}, {.scale = 4});
  check(max_pool{2}, {{6, 4, 3}});
  check(max_pool{3}, {{6, 9, 2}});
  check(max_pool{.window = 2, .ceil = true}, {{5, 3, 3}});
  check(max_pool{.window = 3, .ceil = true}, {{4, 5, 17}});
  check(upsample{2}, {{3, 4, 5}});
  check(upsample{3}, {{2, 1, 9}});
}

TEST_CASE("softmax and dropout", "[gradients]") {
  check(softmax{}, {{5, 4, 3}}, {.scale = 4});
  check(softmax{}, {{2, 3, 17}});
  check(dropout{}, {{5, 4, 3}});
  check(dropout{.rate = 0.2}, {{9, 4, 16}});
}

TEST_CASE("concat and add", "[gradients]") {
  check(concat{}, {{3, 4, 2}, {3, 4, 5}});
  check(concat{}, {{3, 4, 2}, {3, 4, 1}, {3, 4, 8}});
  check(concat{}, {{3, 4, 2}, {3, 4, 1}, {3, 4, 3}, {3, 4, 16}});
  check(add{}, {{3, 4, 5}, {3, 4, 5}});
}
