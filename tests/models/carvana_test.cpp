// SPDX-License-Identifier: MIT
// The Carvana networks at full width: counts and memory while compiling, and proofs on their plans. Nothing
// is run at this size here.
#include <segnet/models/carvana.hpp>
#include <segnet/network/network.hpp>

#include "prove_plans.hpp"

#include <catch2/catch.hpp>
#include <memory>

using namespace segnet;

namespace {

using full = network<carvana_7_2_7_1<512>>;
static_assert(full::parameter_count == 59'973'185);
static_assert(full::output_shape == shape{512, 512, 1});
// 229 MiB of weights; with gradients and Adam's moments four times that.
static_assert(full::memory.parameters > 228_MiB && full::memory.parameters < 229_MiB);
static_assert(full::memory.training_bytes(4) < 3_GiB);
static_assert(full::memory.inference_per_image == 24_MiB);
static_assert(full::memory.training_per_image <= 173_MiB);  // batch-norm's outputs are recomputed

constexpr auto small = carvana_lite<128>::build().finish();
static_assert(make_parameter_table(small).count > 3'500'000 && make_parameter_table(small).count < 4'100'000);

}  // namespace

TEST_CASE("7-2-7-1: the plan loses nothing and wastes nothing", "[models]") {
  test::prove_plans<carvana_7_2_7_1<128>>();
  test::prove_plans<carvana_7_2_7_1<256>>();
  test::prove_plans<carvana_7_2_7_1<256, 384>>();
  test::prove_plans<carvana_7_2_7_1<512>>();
}

TEST_CASE("lite and 6-2-6-1: the plans lose nothing and waste nothing", "[models]") {
  test::prove_plans<carvana_lite<128>>();
  test::prove_plans<carvana_lite<256>>();
  test::prove_plans<carvana_6_2_6_1<64>>();
  test::prove_plans<carvana_6_2_6_1<512>>();
}

TEST_CASE("the architecture is the original's", "[models]") {
  const auto g = std::make_unique<decltype(carvana_7_2_7_1<512>::build().finish())>(
      carvana_7_2_7_1<512>::build().finish());
  const auto node = [&](std::string_view label) -> const graph_node& {
    for (const graph_node& n : g->nodes)
      if (n.label.view() == label) return n;
    throw error("no layer " + std::string(label));
  };
  const auto reads = [&](std::string_view label, int i) {
    return g->nodes[node(label).inputs[i]].label.view();
  };
  // The pool takes the second batch-norm before its ReLU; the skip is the ReLU of it.
  CHECK(reads("encoder.3.pool", 0) == "encoder.3.bn2");
  CHECK(reads("encoder.3.skip", 0) == "encoder.3.bn2");
  CHECK(reads("decoder.3.concat", 0) == "encoder.3.skip");
  CHECK(reads("decoder.3.concat", 1) == "decoder.3.up");
  CHECK(node("center.conv2").dims == shape{4, 4, 768});
  CHECK(node("decoder.6.concat").dims == shape{8, 8, 768 + 768});
  CHECK(node("decoder.5.concat").dims == shape{16, 16, 512 + 768});
  CHECK(node("decoder.0.conv3").dims == shape{512, 512, 8});
  CHECK(node("classifier").dims == shape{512, 512, 1});
}

TEST_CASE("an image whose size halves to an odd number is refused", "[models]") {
  const auto g = carvana_7_2_7_1<192>::build().finish();  // 192 = 3 * 64: the seventh pool finds 3x3
  CHECK(g.mistake.what == graph_error::pooling_needs_input_divisible_by_window);
  CHECK(g.mistake.found == shape{3, 3, 768});
}
