// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/network/network.hpp>

#include "../graph/plan_simulator.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <type_traits>

namespace segnet::test {

/// Proves both plans of a definition, and that they are no larger than what lives at their fullest step, but
/// for a share of `waste`.
template <class Definition>
void prove_plans(double waste = 0) {
  const auto built = std::make_unique<decltype(Definition::build().finish())>(Definition::build().finish());
  REQUIRE(built->valid());
  for (bool training : {false, true}) {
    CAPTURE(training);
    const auto g = std::make_unique<std::remove_cvref_t<decltype(*built)>>(
        training ? training_graph(*built) : inference_graph(*built));
    const schedule_options options{.training = training};
    const auto plan = std::make_unique<schedule>(make_schedule<cpu>(*g, options));
    CHECK(check_offsets(*plan) == "");
    CHECK(plan_simulator<cpu, std::remove_cvref_t<decltype(*g)>, schedule>(*g, *plan, options).run() == "");
    CHECK(static_cast<double>(plan->bytes_per_image) <=
          static_cast<double>(lower_bound(*plan)) * (1 + waste));
  }
}

}  // namespace segnet::test
