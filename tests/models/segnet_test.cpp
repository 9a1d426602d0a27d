// SPDX-License-Identifier: MIT
// SegNet and SegNet-Basic at full width: parameters summed by hand, and the shapes of the paper's CamVid
// images, 360 x 480.
#include <segnet/models/segnet.hpp>

#include "layer_table.hpp"
#include "prove_plans.hpp"

#include <catch2/catch.hpp>

using namespace segnet;
using namespace segnet::test;

namespace {

using full = network<segnet_vgg16<360, 480, 12>>;
constexpr std::size_t decoder =                                            //
    3 * (conv(3, 512, 512) + norm(512)) +                                  // 512, 512, 512
    2 * (conv(3, 512, 512) + norm(512)) + conv(3, 512, 256) + norm(256) +  // 512, 512, 256
    2 * (conv(3, 256, 256) + norm(256)) + conv(3, 256, 128) + norm(128) +  // 256, 256, 128
    conv(3, 128, 128) + norm(128) + conv(3, 128, 64) + norm(64) +          // 128, 64
    conv(3, 64, 64) + norm(64) + conv(3, 64, 12);                          // 64, classes
static_assert(full::trainable_count == vgg16_convolutions + vgg16_norms + decoder);
static_assert(full::trainable_count == 29'449'932);  // known as 29.5 M
static_assert(full::output_shape == shape{360, 480, 12});

using basic = network<segnet_basic<360, 480, 11>>;
static_assert(basic::trainable_count ==
              conv(7, 3, 64) + 7 * conv(7, 64, 64) + 8 * norm(64) + conv(1, 64, 11));
static_assert(basic::trainable_count == 1'416'587);

}  // namespace

TEST_CASE("SegNet: every layer has the paper's shape", "[models]") {
  CHECK(layer_table<segnet_vgg16<360, 480, 12>>() ==
        std::vector<table_row>{{"conv1_1", {360, 480, 64}},
                               {"conv1_2", {360, 480, 64}},
                               {"pool1", {180, 240, 64}},
                               {"conv2_1", {180, 240, 128}},
                               {"conv2_2", {180, 240, 128}},
                               {"pool2", {90, 120, 128}},
                               {"conv3_1", {90, 120, 256}},
                               {"conv3_2", {90, 120, 256}},
                               {"conv3_3", {90, 120, 256}},
                               {"pool3", {45, 60, 256}},
                               {"conv4_1", {45, 60, 512}},
                               {"conv4_2", {45, 60, 512}},
                               {"conv4_3", {45, 60, 512}},
                               {"pool4", {23, 30, 512}},
                               {"conv5_1", {23, 30, 512}},
                               {"conv5_2", {23, 30, 512}},
                               {"conv5_3", {23, 30, 512}},
                               {"pool5", {12, 15, 512}},
                               {"decoder.unpool5", {23, 30, 512}},
                               {"decoder.conv5_3", {23, 30, 512}},
                               {"decoder.conv5_2", {23, 30, 512}},
                               {"decoder.conv5_1", {23, 30, 512}},
                               {"decoder.unpool4", {45, 60, 512}},
                               {"decoder.conv4_3", {45, 60, 512}},
                               {"decoder.conv4_2", {45, 60, 512}},
                               {"decoder.conv4_1", {45, 60, 256}},
                               {"decoder.unpool3", {90, 120, 256}},
                               {"decoder.conv3_3", {90, 120, 256}},
                               {"decoder.conv3_2", {90, 120, 256}},
                               {"decoder.conv3_1", {90, 120, 128}},
                               {"decoder.unpool2", {180, 240, 128}},
                               {"decoder.conv2_2", {180, 240, 128}},
                               {"decoder.conv2_1", {180, 240, 64}},
                               {"decoder.unpool1", {360, 480, 64}},
                               {"decoder.conv1_2", {360, 480, 64}},
                               {"score", {360, 480, 12}}});
}

TEST_CASE("SegNet-Basic: every layer has the paper's shape", "[models]") {
  CHECK(layer_table<segnet_basic<360, 480, 11>>() ==
        std::vector<table_row>{{"norm", {360, 480, 3}},
                               {"conv1", {360, 480, 64}},
                               {"pool1", {180, 240, 64}},
                               {"conv2", {180, 240, 64}},
                               {"pool2", {90, 120, 64}},
                               {"conv3", {90, 120, 64}},
                               {"pool3", {45, 60, 64}},
                               {"conv4", {45, 60, 64}},
                               {"pool4", {23, 30, 64}},
                               {"decoder.4.unpool", {45, 60, 64}},
                               {"decoder.4.conv", {45, 60, 64}},
                               {"decoder.3.unpool", {90, 120, 64}},
                               {"decoder.3.conv", {90, 120, 64}},
                               {"decoder.2.unpool", {180, 240, 64}},
                               {"decoder.2.conv", {180, 240, 64}},
                               {"decoder.1.unpool", {360, 480, 64}},
                               {"decoder.1.conv", {360, 480, 64}},
                               {"score", {360, 480, 11}}});
}

TEST_CASE("SegNet: the plans lose nothing and waste little", "[models]") {
  prove_plans<segnet_vgg16<360, 480, 12>>(0.05);
  prove_plans<segnet_vgg16<97, 61, 3, 4>>(0.05);
  prove_plans<segnet_basic<360, 480, 11>>(0.05);
}
