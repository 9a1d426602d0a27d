// SPDX-License-Identifier: MIT
// Cases of tests/reference/operators.json.
#pragma once

#include <segnet/core/shape.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace segnet::reference {

inline const nlohmann::json& cases(const char* op) {
  static const nlohmann::json all = [] {
    std::ifstream file(SEGNET_SOURCE_DIR "/tests/reference/operators.json");
    return nlohmann::json::parse(file);
  }();
  return all.at(op);
}

template <class T>
std::vector<T> get(const nlohmann::json& c, const char* key) {
  return c.at(key).get<std::vector<T>>();
}

/// The numbers have eight digits; those of single precision are its own. Measured: at most 4.0e-8 and 7.0e-7.
template <class T>
void check(const std::vector<T>& got, const nlohmann::json& c, const char* key) {
  const auto expected = c.at(key).get<std::vector<double>>();
  REQUIRE(got.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double d =
        std::abs(static_cast<double>(got[i]) - expected[i]) / std::max(1.0, std::abs(expected[i]));
    if (!(d <= worst)) worst = d;
  }
  CAPTURE(key, c.value("name", ""));
  CHECK(worst < (sizeof(T) == 8 ? 1e-7 : 5e-6));
}

inline shape dims(const nlohmann::json& c) {
  return {c.at("h").get<int>(), c.at("w").get<int>(), c.at("c").get<int>()};
}

}  // namespace segnet::reference
