// SPDX-License-Identifier: MIT
// DeconvNet at full width: parameters summed by hand, and the shapes of the paper's table.
#include <segnet/models/deconvnet.hpp>

#include "layer_table.hpp"
#include "prove_plans.hpp"

#include <catch2/catch.hpp>

using namespace segnet;
using namespace segnet::test;

namespace {

using full = network<deconvnet<21>>;
constexpr std::size_t decoder =
    49ULL * 4096 * 512 + 512 + norm(512) +                                 // from 1 pixel to 7
    3 * (conv(3, 512, 512) + norm(512)) +                                  // 512, 512, 512
    2 * (conv(3, 512, 512) + norm(512)) + conv(3, 512, 256) + norm(256) +  // 512, 512, 256
    2 * (conv(3, 256, 256) + norm(256)) + conv(3, 256, 128) + norm(128) +  // 256, 256, 128
    conv(3, 128, 128) + norm(128) + conv(3, 128, 64) + norm(64) +          // 128, 64
    2 * (conv(3, 64, 64) + norm(64));                                      // 64, 64
static_assert(full::trainable_count == vgg16_convolutions + vgg16_norms + conv(7, 512, 4096) + norm(4096) +
                                           conv(1, 4096, 4096) + norm(4096) + decoder + conv(1, 64, 21));
static_assert(full::trainable_count == 251'805'653);  // the paper: about 252 M
static_assert(full::output_shape == shape{224, 224, 21});

}  // namespace

TEST_CASE("DeconvNet: every layer has the paper's shape", "[models]") {
  CHECK(layer_table<deconvnet<21>>() == std::vector<table_row>{{"conv1_1", {224, 224, 64}},
                                                               {"conv1_2", {224, 224, 64}},
                                                               {"pool1", {112, 112, 64}},
                                                               {"conv2_1", {112, 112, 128}},
                                                               {"conv2_2", {112, 112, 128}},
                                                               {"pool2", {56, 56, 128}},
                                                               {"conv3_1", {56, 56, 256}},
                                                               {"conv3_2", {56, 56, 256}},
                                                               {"conv3_3", {56, 56, 256}},
                                                               {"pool3", {28, 28, 256}},
                                                               {"conv4_1", {28, 28, 512}},
                                                               {"conv4_2", {28, 28, 512}},
                                                               {"conv4_3", {28, 28, 512}},
                                                               {"pool4", {14, 14, 512}},
                                                               {"conv5_1", {14, 14, 512}},
                                                               {"conv5_2", {14, 14, 512}},
                                                               {"conv5_3", {14, 14, 512}},
                                                               {"pool5", {7, 7, 512}},
                                                               {"fc6", {1, 1, 4096}},
                                                               {"fc7", {1, 1, 4096}},
                                                               {"decoder.conv6", {7, 7, 512}},
                                                               {"decoder.unpool5", {14, 14, 512}},
                                                               {"decoder.conv5_1", {14, 14, 512}},
                                                               {"decoder.conv5_2", {14, 14, 512}},
                                                               {"decoder.conv5_3", {14, 14, 512}},
                                                               {"decoder.unpool4", {28, 28, 512}},
                                                               {"decoder.conv4_1", {28, 28, 512}},
                                                               {"decoder.conv4_2", {28, 28, 512}},
                                                               {"decoder.conv4_3", {28, 28, 256}},
                                                               {"decoder.unpool3", {56, 56, 256}},
                                                               {"decoder.conv3_1", {56, 56, 256}},
                                                               {"decoder.conv3_2", {56, 56, 256}},
                                                               {"decoder.conv3_3", {56, 56, 128}},
                                                               {"decoder.unpool2", {112, 112, 128}},
                                                               {"decoder.conv2_1", {112, 112, 128}},
                                                               {"decoder.conv2_2", {112, 112, 64}},
                                                               {"decoder.unpool1", {224, 224, 64}},
                                                               {"decoder.conv1_1", {224, 224, 64}},
                                                               {"decoder.conv1_2", {224, 224, 64}},
                                                               {"score", {224, 224, 21}}});
}

TEST_CASE("DeconvNet: the plans lose nothing and waste little", "[models]") {
  prove_plans<deconvnet<21>>(0.05);
  prove_plans<deconvnet<3, 4, 8, 96>>(0.05);
}
