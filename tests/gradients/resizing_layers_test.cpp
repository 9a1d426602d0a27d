// SPDX-License-Identifier: MIT
// The layers that change an image's size, as layers_test.cpp checks the others. Measured: at most 4.1e-9 and
// 1.6e-6.
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

TEST_CASE("transposed_conv2d: kernels, strides, padding, bias", "[gradients]") {
  for (const bool per_channel : {false, true})
    for (int kernel : {1, 2, 3, 4, 7})
      for (int stride : {1, 2, 3})
        for (int pad : {0, 1, 3}) {
          if (3 * stride + kernel <= 2 * pad) continue;  // nothing would be left
          CAPTURE(per_channel, kernel, stride, pad);
          check(transposed_conv2d{.channels = 5,
                                  .kernel = kernel,
                                  .stride = stride,
                                  .pad = pad,
                                  .bias = pad != 1,
                                  .per_channel = per_channel},
                {{4, 5, 5}}, {.samples = 40});
        }
}

TEST_CASE("transposed_conv2d: channels, output sizes, a ReLU", "[gradients]") {
  for (int channels : {1, 3, 8, 17, 33}) {
    CAPTURE(channels);
    check(transposed_conv2d{.channels = channels}, {{3, 4, 4}}, {.samples = 40});
    check(transposed_conv2d{.channels = 3, .kernel = 3}, {{4, 3, channels}}, {.samples = 40});
    check(transposed_conv2d{.channels = channels, .kernel = 4, .per_channel = true}, {{4, 3, channels}},
          {.samples = 40});
  }
  check(transposed_conv2d{.channels = 4, .kernel = 3, .pad = 1, .h = 8, .w = 5}, {{4, 3, 3}});
  check(
      transposed_conv2d{
          .channels = 3, .kernel = 8, .stride = 4, .pad = 2, .h = 19, .w = 18, .per_channel = true},
      {{4, 4, 3}});
  check(transposed_conv2d{.channels = 24, .kernel = 3, .stride = 1, .pad = 1}, {{6, 6, 32}}, {.samples = 40});
  check(transposed_conv2d{.channels = 5, .act = activation::relu}, {{3, 4, 3}});
  check(
      transposed_conv2d{
          .channels = 3, .kernel = 4, .bias = false, .per_channel = true, .act = activation::relu},
      {{3, 4, 3}});
  check(transposed_conv2d{.channels = 2, .kernel = 64, .stride = 32, .pad = 16, .per_channel = true},
        {{3, 2, 2}}, {.samples = 60});
}

TEST_CASE("crop", "[gradients]") {
  check(crop{.h = 3, .w = 4}, {{5, 6, 3}});
  check(crop{.h = 2, .w = 3, .top = 3, .left = 1}, {{5, 6, 9}});
  check(crop{.h = 5, .w = 6}, {{5, 6, 2}});
}

TEST_CASE("upsample_bilinear", "[gradients]") {
  check(upsample_bilinear{}, {{3, 4, 5}});
  check(upsample_bilinear{3}, {{2, 5, 9}});
  check(upsample_bilinear{8}, {{1, 2, 16}}, {.samples = 60});
}
