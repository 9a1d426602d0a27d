// SPDX-License-Identifier: MIT
// U-Net at full width: parameters summed by hand, and the shapes of the paper's figure 1.
#include <segnet/models/unet.hpp>

#include "layer_table.hpp"
#include "prove_plans.hpp"

#include <catch2/catch.hpp>

using namespace segnet;
using namespace segnet::test;

namespace {

using published = network<unet<572, 572, 2>>;
constexpr std::size_t contracting = conv(3, 3, 64) + conv(3, 64, 64) +       //
                                    conv(3, 64, 128) + conv(3, 128, 128) +   //
                                    conv(3, 128, 256) + conv(3, 256, 256) +  //
                                    conv(3, 256, 512) + conv(3, 512, 512) +  //
                                    conv(3, 512, 1024) + conv(3, 1024, 1024);
constexpr std::size_t expanding = conv(2, 1024, 512) + conv(3, 1024, 512) + conv(3, 512, 512) +  //
                                  conv(2, 512, 256) + conv(3, 512, 256) + conv(3, 256, 256) +    //
                                  conv(2, 256, 128) + conv(3, 256, 128) + conv(3, 128, 128) +    //
                                  conv(2, 128, 64) + conv(3, 128, 64) + conv(3, 64, 64);
static_assert(published::trainable_count == contracting + expanding + conv(1, 64, 2));
// The paper's own images have one channel: 1,152 weights less.
static_assert(published::trainable_count - 2 * 9 * 64 == 31'030'658);
static_assert(published::output_shape == shape{388, 388, 2});

using padded = network<unet_same<256, 384, 5>>;
static_assert(padded::trainable_count == contracting + expanding + conv(1, 64, 5) +
                                             4 * (norm(64) + norm(128) + norm(256) + norm(512)) +
                                             2 * norm(1024));
static_assert(padded::output_shape == shape{256, 384, 5});

}  // namespace

TEST_CASE("U-Net: every layer has the shape of the paper's figure", "[models]") {
  CHECK(layer_table<unet<572, 572, 2>>() ==
        std::vector<table_row>{{"down.0.conv1", {570, 570, 64}},  {"down.0.conv2", {568, 568, 64}},
                               {"down.0.pool", {284, 284, 64}},   {"down.1.conv1", {282, 282, 128}},
                               {"down.1.conv2", {280, 280, 128}}, {"down.1.pool", {140, 140, 128}},
                               {"down.2.conv1", {138, 138, 256}}, {"down.2.conv2", {136, 136, 256}},
                               {"down.2.pool", {68, 68, 256}},    {"down.3.conv1", {66, 66, 512}},
                               {"down.3.conv2", {64, 64, 512}},   {"down.3.pool", {32, 32, 512}},
                               {"bottom.conv1", {30, 30, 1024}},  {"bottom.conv2", {28, 28, 1024}},
                               {"up.3.conv", {56, 56, 512}},      {"up.3.crop", {56, 56, 512}},
                               {"up.3.concat", {56, 56, 1024}},   {"up.3.conv1", {54, 54, 512}},
                               {"up.3.conv2", {52, 52, 512}},     {"up.2.conv", {104, 104, 256}},
                               {"up.2.crop", {104, 104, 256}},    {"up.2.concat", {104, 104, 512}},
                               {"up.2.conv1", {102, 102, 256}},   {"up.2.conv2", {100, 100, 256}},
                               {"up.1.conv", {200, 200, 128}},    {"up.1.crop", {200, 200, 128}},
                               {"up.1.concat", {200, 200, 256}},  {"up.1.conv1", {198, 198, 128}},
                               {"up.1.conv2", {196, 196, 128}},   {"up.0.conv", {392, 392, 64}},
                               {"up.0.crop", {392, 392, 64}},     {"up.0.concat", {392, 392, 128}},
                               {"up.0.conv1", {390, 390, 64}},    {"up.0.conv2", {388, 388, 64}},
                               {"score", {388, 388, 2}}});
}

TEST_CASE("U-Net, padded: every level has the size of its image", "[models]") {
  CHECK(
      layer_table<unet_same<256, 384, 5, 8>>() ==
      std::vector<table_row>{
          {"down.0.conv1", {256, 384, 8}},  {"down.0.conv2", {256, 384, 8}},  {"down.0.pool", {128, 192, 8}},
          {"down.1.conv1", {128, 192, 16}}, {"down.1.conv2", {128, 192, 16}}, {"down.1.pool", {64, 96, 16}},
          {"down.2.conv1", {64, 96, 32}},   {"down.2.conv2", {64, 96, 32}},   {"down.2.pool", {32, 48, 32}},
          {"down.3.conv1", {32, 48, 64}},   {"down.3.conv2", {32, 48, 64}},   {"down.3.pool", {16, 24, 64}},
          {"bottom.conv1", {16, 24, 128}},  {"bottom.conv2", {16, 24, 128}},  {"up.3.conv", {32, 48, 64}},
          {"up.3.concat", {32, 48, 128}},   {"up.3.conv1", {32, 48, 64}},     {"up.3.conv2", {32, 48, 64}},
          {"up.2.conv", {64, 96, 32}},      {"up.2.concat", {64, 96, 64}},    {"up.2.conv1", {64, 96, 32}},
          {"up.2.conv2", {64, 96, 32}},     {"up.1.conv", {128, 192, 16}},    {"up.1.concat", {128, 192, 32}},
          {"up.1.conv1", {128, 192, 16}},   {"up.1.conv2", {128, 192, 16}},   {"up.0.conv", {256, 384, 8}},
          {"up.0.concat", {256, 384, 16}},  {"up.0.conv1", {256, 384, 8}},    {"up.0.conv2", {256, 384, 8}},
          {"score", {256, 384, 5}}});
}

TEST_CASE("U-Net: sizes that do not halve evenly are refused", "[models]") {
  CHECK(unet<570, 570, 2, 4>::build().finish().mistake.what ==
        graph_error::pooling_needs_input_divisible_by_window);
  CHECK(unet_same<120, 128, 2, 4>::build().finish().mistake.found == shape{15, 16, 32});
}

TEST_CASE("U-Net: the plans lose nothing and waste little", "[models]") {
  prove_plans<unet<572, 572, 2>>(0.05);
  prove_plans<unet_same<256, 384, 5>>(0.05);
}
