// SPDX-License-Identifier: MIT
// A whole 7-2-7-1 network, narrow, against PyTorch: loss, logits, every gradient, running statistics,
// evaluation and four steps of Adam. tests/reference/README.md describes the numbers.
#include <segnet/loss/bce_dice.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/network.hpp>
#include <segnet/optim/adam.hpp>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace segnet;
using nlohmann::json;

namespace {

using definition = carvana_network<128, 128, 8, 8, 8, 8, 16, 16, 16>;

const json& reference() {
  static const json numbers = [] {
    std::ifstream file(SEGNET_SOURCE_DIR "/tests/reference/network.json");
    return json::parse(file);
  }();
  return numbers;
}

/// Sampled elements and the norm, relative to the size of the samples: as the reference's own
/// float_deviation.
template <class Values>
double deviation(const Values& values, const json& expected, auto transform) {
  const auto& samples = expected["value"];
  const std::size_t n = values.size(), count = samples.size();
  double worst = 0, squares = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double want = transform(samples[i].template get<double>());
    const double d =
        std::abs(static_cast<double>(*(values.begin() + static_cast<std::ptrdiff_t>(i * n / count))) - want);
    if (!(d <= worst)) worst = d;
    squares += want * want;
  }
  return worst / std::max(std::sqrt(squares / static_cast<double>(count)), 1e-30);
}
template <class Values>
double deviation(const Values& values, const json& expected) {
  double norm = 0;
  for (auto x : values) norm += static_cast<double>(x) * static_cast<double>(x);
  const double want = expected["norm"].get<double>();
  return std::max(deviation(values, expected, [](double x) { return x; }),
                  std::abs(std::sqrt(norm) - want) / std::max(want, 1e-30));
}

/// Single precision may be as far off as some multiple of what PyTorch's is; double precision as the
/// reference's nine digits.
template <class T>
double tolerance(const json& expected) {
  return sizeof(T) == 8 ? 2e-8 : 1e-5 + 8 * expected["float_deviation"].get<double>();
}

template <class T>
void compare_with_reference() {
  const json& r = reference();
  REQUIRE(r["filters"].get<std::vector<int>>() ==
          std::vector<int>(definition::filters.begin(), definition::filters.end()));
  REQUIRE(r["size"] == 128);
  const int batch = r["batch"].get<int>();
  const auto seed = r["seed"].get<std::uint64_t>();
  network<definition, basic_cpu<T>> net({.batch = batch, .threads = 2});
  net.initialise(1);

  const auto fill = [seed](auto values, const json& entry, const char* key) {
    random_stream random{seed, entry[key].get<std::uint64_t>()};
    const double low = entry.value("low", 0.0), high = entry.value("high", 1.0);
    for (auto& x : values) x = static_cast<T>(static_cast<float>(random.uniform(low, high)));
  };
  const auto& table = net.parameter_table();
  REQUIRE(r["tensors"].size() == static_cast<std::size_t>(table.entries.size()));
  for (int i = 0; i < table.entries.size(); ++i) {
    const json& entry = r["tensors"][static_cast<std::size_t>(i)];
    const parameter& p = table.entries[i];
    REQUIRE(entry["name"] == parameter_name(net.training_graph(), p));
    REQUIRE(entry["shape"].get<std::vector<int>>() ==
            std::vector<int>(p.spec.dims, p.spec.dims + p.spec.rank));
    if (entry.contains("low")) fill(net.values(p), entry, "key");
  }
  std::vector<T> images(static_cast<std::size_t>(batch) * net.input_shape.size()),
      masks(static_cast<std::size_t>(batch) * net.output_shape.size());
  fill(std::span<T>(images), r, "input_key");
  std::size_t at = 0;
  for (int n = 0; n < batch; ++n)
    for (int y = 0; y < 128; ++y)
      for (int x = 0; x < 128; ++x) {
        const int dy = y - 60 - 2 * n, dx = x - 64 + 3 * n;
        masks[at++] = 4 * dy * dy + dx * dx < 2500 ? T(1) : T(0);
      }

  const auto step = [&] {
    const auto logits = net.forward({images.data(), batch, net.input_shape});
    const auto gradient = net.output_gradient();
    const loss_result loss = bce_dice{}(net.backend(), {logits.begin(), logits.size()}, masks, {},
                                        {gradient.begin(), gradient.size()});
    return std::pair(loss, std::vector<T>(logits.begin(), logits.end()));
  };

  const auto [loss, logits] = step();
  const json& training = r["training"];
  const double loss_tolerance = sizeof(T) == 8 ? 1e-8 : 2e-6;
  CHECK(std::abs(loss.total - training["loss"].get<double>()) < loss_tolerance);
  CHECK(std::abs(loss.dice - training["dice"].get<double>()) < loss_tolerance);
  CHECK(deviation(logits, training["logits"]) < tolerance<T>(training["logits"]));

  net.backward();
  for (int i = 0; i < table.entries.size(); ++i) {
    const json& entry = r["tensors"][static_cast<std::size_t>(i)];
    const parameter& p = table.entries[i];
    CAPTURE(entry["name"].get<std::string>());
    if (entry.contains("gradient")) {
      CHECK(deviation(net.gradient(p), entry["gradient"]) < tolerance<T>(entry["gradient"]));
    } else if (entry.contains("after_step")) {
      CHECK(deviation(net.values(p), entry["after_step"]) < tolerance<T>(entry["after_step"]));
    } else {
      REQUIRE(entry["zero_gradient"] == true);
      for (T g : net.gradient(p)) CHECK(std::abs(static_cast<double>(g)) < (sizeof(T) == 8 ? 1e-12 : 1e-3));
    }
  }

  const json& evaluation = r["evaluation"]["logits"];
  const auto probabilities = net.infer({images.data(), batch, net.input_shape});
  CHECK(deviation(probabilities, evaluation, [](double z) { return 1 / (1 + std::exp(-z)); }) <
        tolerance<T>(evaluation));

  const json& optimizer = r["adam"];
  const adam rule{.beta1 = optimizer["beta1"], .beta2 = optimizer["beta2"], .epsilon = optimizer["epsilon"]};
  std::vector<T> m(net.parameters().size()), v(m.size());
  adam_state<T> state{m, v};
  for (const json& expected : optimizer["losses"]) {
    const double found = step().first.total;
    CHECK(std::abs(found - expected.get<double>()) <
          (sizeof(T) == 8 ? 2e-8 : 1e-5 + 8 * optimizer["float_deviation"].get<double>()));
    net.backward();
    rule(net.backend(), optimizer["rate"], net.parameters(), net.gradients(), state);
  }
}

}  // namespace

TEST_CASE("7-2-7-1 in double precision is PyTorch's", "[network][reference]") {
  compare_with_reference<double>();
}
TEST_CASE("7-2-7-1 in single precision is PyTorch's", "[network][reference]") {
  compare_with_reference<float>();
}
