// SPDX-License-Identifier: MIT
#include <segnet/network/summary.hpp>

#include "networks.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace segnet;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("summary() is a table of the definition's own layers", "[network]") {
  const std::string text = summary<network<test::narrow>>();
  CHECK_THAT(text, StartsWith("Layer             Type        Output (h, w, c)  Parameters  Reads\n"
                              "-----------------------------------------------------------------\n"
                              "input             input       16, 24, 3                  0\n"
                              "encoder.0.conv1   conv2d      16, 24, 4                112  input\n"
                              "encoder.0.bn1     batch_norm  16, 24, 4                 16  encoder.0.conv1\n"
                              "encoder.0.relu1   relu        16, 24, 4                  0  encoder.0.bn1\n"));
  CHECK_THAT(text, Contains("encoder.0.pool    max_pool    8, 12, 4                   0  encoder.0.bn2\n"));
  CHECK_THAT(
      text,
      Contains("decoder.1.concat  concat      8, 12, 12                  0  encoder.1.skip, decoder.1.up\n"));
  CHECK_THAT(text, Contains("probability       sigmoid     16, 24, 1                  0  classifier\n"));
  CHECK_THAT(text, Contains("\nparameters 3,699, of which trainable 3,575\n"));
  CHECK_THAT(text, Contains("memory: weights 0.0 MiB, training 0."));
}

TEST_CASE("summary() names the pooling that an unpooling reads", "[network]") {
  struct definition {
    static constexpr auto build() {
      graph_builder g;
      const value pooled = g("pool", max_pool{.ceil = true}, g.input({5, 4, 1}));
      const value x = g("conv", conv2d{.channels = 1}, pooled);
      g.output(g("up", max_unpool{.h = 5, .w = 4}, x, pooled));
      return g;
    }
  };
  CHECK_THAT(summary<network<definition>>(),
             Contains("up     max_unpool  5, 4, 1                    0  conv, pool\n"));
}

TEST_CASE("numbers are easy to read", "[network]") {
  CHECK(with_thousands(0) == "0");
  CHECK(with_thousands(999) == "999");
  CHECK(with_thousands(1000) == "1,000");
  CHECK(with_thousands(59973185) == "59,973,185");
  CHECK(in_mebibytes(1536 * 1024) == "1.5 MiB");
}
