// SPDX-License-Identifier: MIT
#include <segnet/train/schedule.hpp>

#include "../reference/loss_adam.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

using namespace segnet;

TEST_CASE("schedules are known by name", "[train]") {
  CHECK(parse_schedule("constant") == schedule_kind::constant);
  CHECK(parse_schedule("cosine") == schedule_kind::cosine);
  CHECK(parse_schedule("plateau") == schedule_kind::plateau);
  CHECK(parse_schedule("one-cycle") == schedule_kind::one_cycle);
  CHECK(parse_schedule("poly") == schedule_kind::poly);
  CHECK(parse_schedule("step") == schedule_kind::step);
  CHECK_THROWS_WITH(parse_schedule("linear"),
                    "unknown learning-rate schedule \"linear\", expected one of constant, cosine, plateau, "
                    "one-cycle, poly, "
                    "step");
  CHECK_THROWS_AS(parse_schedule(""), argument_error);
}

TEST_CASE("constant is constant", "[train]") {
  learning_rate_schedule schedule{.peak = 0.25};
  for (int epoch = 0; epoch < 20; ++epoch) schedule.on_epoch_end(1);
  CHECK(schedule.rate(0, 10) == 0.25);
  CHECK(schedule.rate(9, 10) == 0.25);
}

TEST_CASE("cosine warms up linearly, then falls to the floor", "[train]") {
  const learning_rate_schedule schedule{
      .kind = schedule_kind::cosine, .peak = 2, .floor = 0.5, .warm_up = 0.2};
  CHECK(schedule.rate(0, 100) == Approx(0.1));
  CHECK(schedule.rate(9, 100) == Approx(1));
  CHECK(schedule.rate(19, 100) == Approx(2));
  CHECK(schedule.rate(20, 100) == Approx(2));
  CHECK(schedule.rate(40, 100) == Approx(0.5 + 1.5 * (0.5 + std::sqrt(0.125))));
  CHECK(schedule.rate(60, 100) == Approx(1.25));
  CHECK(schedule.rate(99, 100) == Approx(0.5).margin(1e-3));
  CHECK(schedule.rate(99, 100) > 0.5);
  CHECK(schedule.rate(1000, 100) == schedule.rate(99, 100));
  CHECK(schedule.rate(0, 1) == 2);  // too short to warm up
}

TEST_CASE("one-cycle agrees with PyTorch", "[train]") {
  const learning_rate_schedule schedule{.kind = schedule_kind::one_cycle, .peak = 0.02};
  for (int step = 0; step < 10; ++step)
    CHECK(schedule.rate(step, 10) == Approx(one_cycle_reference::steps_10[step]).epsilon(1e-10));
  for (int step = 0; step < 37; ++step)
    CHECK(schedule.rate(step, 37) == Approx(one_cycle_reference::steps_37[step]).epsilon(1e-10));
  for (int total = 1; total < 5; ++total)
    for (int step = 0; step < total; ++step) {
      CHECK(schedule.rate(step, total) > 0);
      CHECK(schedule.rate(step, total) <= 0.02);
    }
}

TEST_CASE("poly falls as a power of what is left", "[train]") {
  const learning_rate_schedule schedule{.kind = schedule_kind::poly, .peak = 2, .power = 2};
  CHECK(schedule.rate(0, 10) == 2);
  CHECK(schedule.rate(5, 10) == Approx(0.5));
  CHECK(schedule.rate(9, 10) == Approx(0.02));
  CHECK(schedule.rate(99, 10) == schedule.rate(9, 10));
  CHECK(schedule.rate(0, 1) == 2);
  const learning_rate_schedule floored{.kind = schedule_kind::poly, .peak = 2, .floor = 1};
  CHECK(floored.rate(30, 40) == Approx(1 + std::pow(0.25, 0.9)));
}

TEST_CASE("step drops the rate at parts of the run", "[train]") {
  learning_rate_schedule schedule{.kind = schedule_kind::step, .peak = 1, .reduction = 0.5};
  const auto rates = [&] {
    std::string text;
    for (int step = 0; step < 10; ++step) text += std::to_string(schedule.rate(step, 10)).substr(0, 5) + " ";
    return text;
  };
  // After half of the steps, and after 7.5 of 10, rounded.
  CHECK(rates() == "1.000 1.000 1.000 1.000 1.000 0.500 0.500 0.500 0.250 0.250 ");
  schedule.drops = {0.1, 0.3, 0.7};
  CHECK(rates() == "1.000 0.500 0.500 0.250 0.250 0.250 0.250 0.125 0.125 0.125 ");
  schedule.drops = {};
  CHECK(schedule.rate(9, 10) == 1);
}

TEST_CASE("step drops the rate after every so many epochs, resumed or not", "[train]") {
  learning_rate_schedule schedule{.kind = schedule_kind::step, .peak = 1, .reduction = 0.5, .every = 3};
  std::vector<double> rates;
  for (int epoch = 0; epoch < 8; ++epoch) {
    rates.push_back(schedule.rate(epoch, 8));
    learning_rate_schedule resumed{.kind = schedule_kind::step, .peak = 1, .reduction = 0.5, .every = 3};
    resumed.state = schedule_state_from_text(to_text(schedule.state));
    schedule = resumed;
    schedule.on_epoch_end(1.0 / epoch);
  }
  CHECK(rates == std::vector<double>{1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25});
}

TEST_CASE("plateau reduces the rate once the metric stops falling", "[train]") {
  learning_rate_schedule schedule{.kind = schedule_kind::plateau,
                                  .peak = 1,
                                  .floor = 0.03,
                                  .reduction = 0.1,
                                  .threshold = 0.01,
                                  .patience = 2};
  const auto after = [&](double metric) {
    schedule.on_epoch_end(metric);
    return schedule.rate(0, 1);
  };
  CHECK(after(0.5) == 1);
  CHECK(after(0.495) == 1);  // within the threshold: no improvement
  CHECK(after(0.4) == 1);    // starts the count again
  CHECK(after(0.4) == 1);
  CHECK(after(std::numeric_limits<double>::quiet_NaN()) == Approx(0.1));
  CHECK(after(0.4) == Approx(0.1));
  CHECK(after(0.2) == Approx(0.1));
  CHECK(after(0.3) == Approx(0.1));
  CHECK(after(0.3) == Approx(0.03));  // 0.01 lies below the floor
  CHECK(schedule.state.best == 0.2);
}

TEST_CASE("a schedule's state survives as text, bit for bit", "[train]") {
  for (const schedule_state state :
       {schedule_state{}, schedule_state{0.1 + 0.2, 3, 1e-3 / 7}, schedule_state{-5e-324, -1, 1e308}})
    CHECK(schedule_state_from_text(to_text(state)) == state);
  for (const char* text : {"", "1", "1 2", "1 2 3 ", "1 2 x", " 1 2 3", "1  2 3", "1 2.5 3", "1 2 3 4"})
    CHECK_THROWS_AS(schedule_state_from_text(text), argument_error);
}
