// SPDX-License-Identifier: MIT
// FCN at full width: parameters summed by hand, and the shapes that the published nets have for PASCAL VOC's
// images of 500 pixels.
#include <segnet/models/fcn.hpp>

#include "layer_table.hpp"
#include "prove_plans.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <string_view>

using namespace segnet;
using namespace segnet::test;

namespace {

template <int Stride>
using voc = network<fcn<500, 500, 21, Stride>>;

constexpr std::size_t fully_connected = conv(7, 512, 4096) + conv(1, 4096, 4096);
constexpr std::size_t common = vgg16_convolutions + fully_connected + conv(1, 4096, 21);
constexpr std::size_t x2 = 4 * 4 * 21 * 21;
static_assert(voc<32>::parameter_count == common + 64 * 64 * 21);
static_assert(voc<16>::parameter_count == common + x2 + conv(1, 512, 21) + 32 * 32 * 21);
static_assert(voc<8>::parameter_count ==
              common + x2 + conv(1, 512, 21) + x2 + conv(1, 256, 21) + 16 * 16 * 21);
// The published net's 134.5 M count kernels from each class to each in the last upsampling, which are 0 for
// good between different ones.
static_assert(voc<8>::parameter_count + 16 * 16 * 21 * 20 == 134'489'759);
static_assert(voc<8>::output_shape == shape{500, 500, 21});

const std::vector<table_row> encoder{
    {"conv1_1", {698, 698, 64}},  {"conv1_2", {698, 698, 64}},  {"pool1", {349, 349, 64}},
    {"conv2_1", {349, 349, 128}}, {"conv2_2", {349, 349, 128}}, {"pool2", {175, 175, 128}},
    {"conv3_1", {175, 175, 256}}, {"conv3_2", {175, 175, 256}}, {"conv3_3", {175, 175, 256}},
    {"pool3", {88, 88, 256}},     {"conv4_1", {88, 88, 512}},   {"conv4_2", {88, 88, 512}},
    {"conv4_3", {88, 88, 512}},   {"pool4", {44, 44, 512}},     {"conv5_1", {44, 44, 512}},
    {"conv5_2", {44, 44, 512}},   {"conv5_3", {44, 44, 512}},   {"pool5", {22, 22, 512}},
    {"fc6", {16, 16, 4096}},      {"fc7", {16, 16, 4096}},      {"score_fr", {16, 16, 21}}};

std::vector<table_row> with(std::vector<table_row> rows, const std::vector<table_row>& more) {
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

/// Where a crop starts.
template <class Definition>
int offset(std::string_view label) {
  const auto g = std::make_unique<decltype(Definition::build().finish())>(Definition::build().finish());
  int top = -1;
  for (int id = 1; id < g->nodes.size(); ++id)
    if (g->nodes[id].label.view() == label)
      g->visit(id, [&](const auto& l) {
        if constexpr (requires { l.top; }) top = l.top == l.left ? l.top : -1;
      });
  return top;
}

}  // namespace

TEST_CASE("FCN: every layer has the published net's shape", "[models]") {
  CHECK(layer_table<fcn_32s<500, 500, 21>>() ==
        with(encoder, {{"upscore32", {544, 544, 21}}, {"score", {500, 500, 21}}}));
  CHECK(layer_table<fcn_16s<500, 500, 21>>() == with(encoder, {{"upscore2", {34, 34, 21}},
                                                               {"score_pool4", {44, 44, 21}},
                                                               {"crop_pool4", {34, 34, 21}},
                                                               {"fuse_pool4", {34, 34, 21}},
                                                               {"upscore16", {560, 560, 21}},
                                                               {"score", {500, 500, 21}}}));
  CHECK(layer_table<fcn_8s<500, 500, 21>>() == with(encoder, {{"upscore2", {34, 34, 21}},
                                                              {"score_pool4", {44, 44, 21}},
                                                              {"crop_pool4", {34, 34, 21}},
                                                              {"fuse_pool4", {34, 34, 21}},
                                                              {"upscore_pool4", {70, 70, 21}},
                                                              {"score_pool3", {88, 88, 21}},
                                                              {"crop_pool3", {70, 70, 21}},
                                                              {"fuse_pool3", {70, 70, 21}},
                                                              {"upscore8", {568, 568, 21}},
                                                              {"score", {500, 500, 21}}}));
}

TEST_CASE("FCN: the crops have the published offsets", "[models]") {
  CHECK(offset<fcn_32s<64, 64, 2, 4, 4>>("score") == 19);
  CHECK(offset<fcn_16s<64, 64, 2, 4, 4>>("crop_pool4") == 5);
  CHECK(offset<fcn_16s<64, 64, 2, 4, 4>>("score") == 27);
  CHECK(offset<fcn_8s<64, 64, 2, 4, 4>>("crop_pool4") == 5);
  CHECK(offset<fcn_8s<64, 64, 2, 4, 4>>("crop_pool3") == 9);
  CHECK(offset<fcn_8s<64, 64, 2, 4, 4>>("score") == 31);
}

TEST_CASE("FCN: images of any size are classified pixel by pixel", "[models]") {
  STATIC_REQUIRE(network<fcn_8s<1, 1, 2, 4, 4>>::output_shape == shape{1, 1, 2});
  STATIC_REQUIRE(network<fcn_16s<33, 250, 2, 4, 4>>::output_shape == shape{33, 250, 2});
  STATIC_REQUIRE(network<fcn_32s<129, 127, 2, 4, 4>>::output_shape == shape{129, 127, 2});
}

TEST_CASE("FCN: the last upsampling is frozen, the others learn", "[models]") {
  int frozen = 0;
  for (const parameter& p : voc<8>::parameter_table().entries)
    if (p.spec.rate == 0) {
      ++frozen;
      CHECK(parameter_name(voc<8>::training_graph(), p) == "upscore8.weight");
    }
  CHECK(frozen == 1);
}

TEST_CASE("FCN: the plans lose nothing and waste little", "[models]") {
  prove_plans<fcn_32s<500, 500, 21>>(0.05);
  prove_plans<fcn_16s<500, 500, 21>>(0.05);
  prove_plans<fcn_8s<500, 500, 21>>(0.05);
}
