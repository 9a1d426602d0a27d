// SPDX-License-Identifier: MIT
// Shapes, parameters and refusals of every layer, while compiling.
#include <segnet/layers/graph_builder.hpp>

#include <array>
#include <catch2/catch.hpp>

using namespace segnet;

namespace {

template <class Layer, class... Shapes>
constexpr shape_result infer(const Layer& l, Shapes... inputs) {
  const std::array<shape, sizeof...(Shapes)> in{inputs...};
  return l.out_shape(in);
}
constexpr shape s{9, 8, 3};

// "same": the output has ceil(input / stride) pixels, the odd zero goes below and to the right.
static_assert(infer(conv2d{.channels = 5}, s).value == shape{9, 8, 5});
static_assert(infer(conv2d{.channels = 5, .kernel = 7}, s).value == shape{9, 8, 5});
static_assert(infer(conv2d{.channels = 5, .stride = 2}, s).value == shape{5, 4, 5});
static_assert(infer(conv2d{.channels = 5, .kernel = 1, .stride = 3}, s).value == shape{3, 3, 5});
static_assert(infer(conv2d{.channels = 5, .pad = padding::valid}, s).value == shape{7, 6, 5});
static_assert(infer(conv2d{.channels = 5, .pad = 1}, s).value == shape{9, 8, 5});
static_assert(infer(conv2d{.channels = 5, .pad = 100}, shape{500, 333, 3}).value == shape{698, 531, 5});
static_assert(infer(conv2d{.channels = 5, .kernel = 7, .stride = 2, .pad = 3}, s).value == shape{5, 4, 5});
static_assert(conv2d{.channels = 5, .pad = 100}.geometry(std::array{s}).pad_left == 100);
static_assert(infer(conv2d{.channels = 5, .kernel = 2, .stride = 2, .pad = padding::valid}, s).value ==
              shape{4, 4, 5});
static_assert(infer(conv2d{.channels = 5, .reads = {{1, 2, 1, 1}}}, shape{4, 6, 3}, shape{2, 3, 7}).value ==
              shape{4, 6, 5});
constexpr conv2d_geometry strided = conv2d{.channels = 5, .stride = 2}.geometry(std::array{s});
static_assert(strided.pad_top == 1 && strided.pad_left == 0 && strided.in_channels == 3);
static_assert(infer(max_pool{2}, shape{4, 6, 3}).value == shape{2, 3, 3});
static_assert(infer(max_pool{.ceil = true}, shape{45, 60, 3}).value == shape{23, 30, 3});
static_assert(infer(max_pool{.window = 3, .ceil = true}, shape{1, 4, 3}).value == shape{1, 2, 3});
static_assert(max_pool{.ceil = true}.saved(std::array{shape{45, 60, 3}}).bytes_per_image == 23 * 30 * 3);
static_assert(infer(max_unpool{}, shape{23, 30, 3}).value == shape{46, 60, 3});
static_assert(infer(max_unpool{.h = 45}, shape{23, 30, 3}).value == shape{45, 60, 3});
static_assert(infer(upsample{3}, shape{4, 6, 3}).value == shape{12, 18, 3});
static_assert(infer(concat{}, s, shape{9, 8, 4}, shape{9, 8, 1}).value == shape{9, 8, 8});
static_assert(infer(add{}, s, s).value == s && infer(relu{}, s).value == s && infer(sigmoid{}, s).value == s);
static_assert(infer(batch_norm{}, s).value == s);

// Transposed: the smallest output, or one that the convolution would make this input of.
static_assert(infer(transposed_conv2d{.channels = 5}, s).value == shape{18, 16, 5});
static_assert(infer(transposed_conv2d{.channels = 5, .kernel = 4, .pad = 1}, s).value == shape{18, 16, 5});
static_assert(infer(transposed_conv2d{.channels = 3, .kernel = 64, .stride = 32, .per_channel = true}, s)
                  .value == shape{320, 288, 3});
static_assert(infer(transposed_conv2d{.channels = 5, .kernel = 7, .stride = 1}, shape{1, 1, 8}).value ==
              shape{7, 7, 5});
static_assert(infer(transposed_conv2d{.channels = 5, .kernel = 3, .h = 20, .w = 17}, s).value ==
              shape{20, 17, 5});
static_assert(infer(crop{.h = 2, .w = 8, .top = 7}, s).value == shape{2, 8, 3});
static_assert(infer(upsample_bilinear{4}, s).value == shape{36, 32, 3});
static_assert(infer(local_response_norm{}, s).value == s);
static_assert(infer(softmax{}, s).value == s && infer(dropout{.rate = 0}, s).value == s);

// Refusals name what was found and what was expected.
static_assert(infer(conv2d{}, s).error == graph_error::channels_must_be_positive);
static_assert(infer(conv2d{.channels = 5, .kernel = 0}, s).error ==
              graph_error::kernel_and_stride_must_be_positive);
static_assert(infer(conv2d{.channels = 5, .stride = 0}, s).error ==
              graph_error::kernel_and_stride_must_be_positive);
static_assert(infer(max_pool{16}, shape{32, 16, 3}).value == shape{2, 1, 3});
static_assert(infer(max_pool{17}, shape{17, 17, 3}).error == graph_error::pooling_window_too_large);
static_assert(infer(concat{}, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(conv2d{.channels = 5, .kernel = max_kernel + 1}, s).error ==
              graph_error::kernel_too_large);
static_assert(infer(conv2d{.channels = 5, .kernel = 10, .pad = padding::valid}, s).error ==
              graph_error::kernel_larger_than_padded_input);
static_assert(infer(conv2d{.channels = 5, .kernel = 12, .pad = 1}, s).error ==
              graph_error::kernel_larger_than_padded_input);
static_assert(infer(conv2d{.channels = 5, .init = initializer::bilinear}, s).error ==
              graph_error::needs_as_many_channels_as_input);
static_assert(infer(transposed_conv2d{}, s).error == graph_error::channels_must_be_positive);
static_assert(infer(transposed_conv2d{.channels = 5, .stride = 0}, s).error ==
              graph_error::kernel_and_stride_must_be_positive);
static_assert(infer(transposed_conv2d{.channels = 3, .kernel = 33}, s).error ==
              graph_error::kernel_too_large);
static_assert(infer(transposed_conv2d{.channels = 3, .pad = -1}, s).error ==
              graph_error::padding_must_not_be_negative);
static_assert(infer(transposed_conv2d{.channels = 5, .per_channel = true}, s).error ==
              graph_error::needs_as_many_channels_as_input);
static_assert(infer(transposed_conv2d{.channels = 5, .init = initializer::bilinear}, s).error ==
              graph_error::needs_as_many_channels_as_input);
static_assert(infer(transposed_conv2d{.channels = 5, .pad = 9}, s).error ==
              graph_error::shape_must_be_positive);
static_assert(infer(transposed_conv2d{.channels = 5, .kernel = 3, .h = 21}, s).error ==
              graph_error::transposed_size_does_not_give_input);
static_assert(infer(transposed_conv2d{.channels = 5, .kernel = 3, .w = 16}, s).error ==
              graph_error::transposed_size_does_not_give_input);
static_assert(infer(transposed_conv2d{.channels = 5}, s, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(upsample_bilinear{0}, s).error == graph_error::shape_must_be_positive);
static_assert(infer(upsample_bilinear{}, s, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(local_response_norm{.size = 0}, s).error == graph_error::channels_must_be_positive);
static_assert(infer(local_response_norm{}, s, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(crop{}, s).error == graph_error::shape_must_be_positive);
static_assert(infer(crop{.h = 2, .w = 2, .left = 7}, s).error == graph_error::crop_must_lie_inside_input);
static_assert(infer(crop{.h = 2, .w = 2, .left = 7}, s).found == shape{2, 9, 3});
static_assert(infer(crop{.h = 2, .w = 2, .top = -1}, s).error == graph_error::crop_must_lie_inside_input);
static_assert(infer(conv2d{.channels = 5, .pad = -1}, s).error == graph_error::padding_must_not_be_negative);
static_assert(infer(conv2d{.channels = 5}, s, shape{9, 4, 3}).error ==
              graph_error::concat_needs_equal_height_and_width);
static_assert(infer(max_pool{2}, s).error == graph_error::pooling_needs_input_divisible_by_window);
static_assert(infer(max_pool{2}, s).found == s && infer(max_pool{2}, s).expected == shape{2, 2, 3});
static_assert(infer(max_pool{.window = 0, .ceil = true}, s).error ==
              graph_error::pooling_needs_input_divisible_by_window);
static_assert(infer(max_pool{.window = 17, .ceil = true}, s).error == graph_error::pooling_window_too_large);
static_assert(infer(dropout{.rate = 1}, s).error == graph_error::dropout_rate_must_be_at_least_0_and_below_1);
static_assert(infer(dropout{.rate = -0.5}, s).error ==
              graph_error::dropout_rate_must_be_at_least_0_and_below_1);
static_assert(infer(dropout{}, s, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(softmax{}, s, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(max_unpool{}, s, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(concat{}, s, shape{8, 8, 3}).found == shape{8, 8, 3});
static_assert(infer(concat{}, s, shape{8, 8, 3}).expected == s);
static_assert(infer(add{}, s, shape{9, 8, 4}).error == graph_error::add_needs_equal_shapes);
static_assert(infer(add{}, s).error == graph_error::wrong_number_of_inputs);
static_assert(infer(batch_norm{}, s, s).error == graph_error::wrong_number_of_inputs);

}  // namespace

TEST_CASE("layers say which parameters they own", "[layers]") {
  const std::array in{s};
  const parameter_specs conv = conv2d{.channels = 5, .kernel = 7}.parameters(in);
  REQUIRE(conv.size() == 2);
  CHECK(conv[0].name == "weight");
  CHECK(conv[0].size() == 5 * 7 * 7 * 3);
  CHECK(conv[0].init == initializer::glorot_uniform);
  CHECK(conv[1].size() == 5);
  CHECK(conv2d{.channels = 5, .bias = false}.parameters(in).size() == 1);
  const parameter_specs up = transposed_conv2d{.channels = 5, .kernel = 4}.parameters(in);
  REQUIRE(up.size() == 2);
  CHECK((up[0].dims[0] == 3 && up[0].dims[1] == 4 && up[0].dims[2] == 4 && up[0].dims[3] == 5));
  CHECK(up[1].size() == 5);
  const parameter_specs each =
      transposed_conv2d{.channels = 3, .kernel = 4, .bias = false, .per_channel = true, .learn = {.rate = 0}}
          .parameters(in);
  REQUIRE(each.size() == 1);
  CHECK((each[0].size() == 3 * 4 * 4 && each[0].rate == 0));
  const parameter_specs norm = batch_norm{}.parameters(in);
  REQUIRE(norm.size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(norm[i].trainable == (i < 2));
}
