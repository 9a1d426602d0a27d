// SPDX-License-Identifier: MIT
// Every published network, narrow and on small images, against a PyTorch rebuild: logits, every gradient,
// running statistics, and inference. tests/reference/README.md describes the numbers.
#include <segnet/models/deconvnet.hpp>
#include <segnet/models/fcn.hpp>
#include <segnet/models/segnet.hpp>
#include <segnet/models/unet.hpp>
#include <segnet/network/network.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <vector>

using namespace segnet;
using nlohmann::json;

namespace {

const json& reference(const char* model) {
  static const json numbers = [] {
    std::ifstream file(SEGNET_SOURCE_DIR "/tests/reference/models.json");
    return json::parse(file);
  }();
  return numbers.at(model);
}

/// A definition whose dropouts let everything pass.
template <class Definition>
struct without_dropout {
  struct built {
    static constexpr auto finish() {
      auto g = Definition::build().finish();
      for (int id = 1; id < g.nodes.size(); ++id)
        g.visit(id, [](auto& l) {
          if constexpr (requires { l.rate; }) l.rate = 0;
        });
      return g;
    }
  };
  static constexpr built build() { return {}; }
};

/// The largest error of a sampled element, or of the root mean square, relative to the latter.
template <class Values>
double deviation(const Values& values, const json& expected) {
  const auto& samples = expected["value"];
  const std::size_t n = values.size(), count = samples.size();
  double squares = 0, worst = 0;
  for (auto x : values) squares += static_cast<double>(x) * static_cast<double>(x);
  const double rms = expected["rms"].get<double>();
  worst = std::abs(std::sqrt(squares / static_cast<double>(n)) - rms);
  for (std::size_t i = 0; i < count; ++i) {
    const auto found = static_cast<double>(*(values.begin() + static_cast<std::ptrdiff_t>(i * n / count)));
    const double d = std::abs(found - samples[i].template get<double>());
    if (!(d <= worst)) worst = d;  // also NaN
  }
  return worst / rms;
}

template <class Definition, class T>
void compare(const char* model) {
  const json& r = reference(model);
  // The file has nine digits.
  const double tolerance = sizeof(T) == 8 ? 2e-8 : 1e-4;
  const int batch = r["batch"].get<int>();
  network<without_dropout<Definition>, basic_cpu<T>> net({.batch = batch, .threads = 2});
  REQUIRE(net.input_shape == shape{r["height"].get<int>(), r["width"].get<int>(), 3});
  net.initialise(1);

  const auto fill = [&r](auto values, std::uint64_t key, double low, double high) {
    random_stream random{r["seed"].get<std::uint64_t>(), key};
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
    fill(net.values(p), static_cast<std::uint64_t>(i), entry["low"], entry["high"]);
  }
  net.parameters_changed();
  std::vector<T> images(static_cast<std::size_t>(batch) * net.input_shape.size());
  fill(std::span<T>(images), r["input_key"], 0, 1);

  const auto logits = net.forward({images.data(), batch, net.input_shape});
  CHECK(deviation(std::span(logits.begin(), logits.size()), r["logits"]) < tolerance);
  const auto upstream = net.output_gradient();
  fill(std::span(upstream.begin(), upstream.size()), r["gradient_key"], -1, 1);
  net.backward();
  double largest = 0;
  for (T g : net.gradients()) largest = std::max(largest, std::abs(static_cast<double>(g)));
  for (int i = 0; i < table.entries.size(); ++i) {
    const json& entry = r["tensors"][static_cast<std::size_t>(i)];
    const parameter& p = table.entries[i];
    CAPTURE(entry["name"].get<std::string>());
    if (entry.contains("gradient")) {
      CHECK(deviation(net.gradient(p), entry["gradient"]) < tolerance);
    } else if (entry.contains("after_step")) {
      CHECK(deviation(net.values(p), entry["after_step"]) < tolerance);
    } else {
      REQUIRE(entry["zero_gradient"] == true);
      for (T g : net.gradient(p)) CHECK(std::abs(static_cast<double>(g)) < tolerance * largest);
    }
  }
  const auto probabilities = net.infer({images.data(), batch, net.input_shape});
  CHECK(deviation(std::span(probabilities.begin(), probabilities.size()), r["probabilities"]) < tolerance);
}

}  // namespace

TEMPLATE_TEST_CASE("SegNet is PyTorch's", "[models][reference]", double, float) {
  compare<segnet_vgg16<36, 45, 5, 4>, TestType>("segnet_vgg16");
  compare<segnet_basic<36, 45, 5, 8>, TestType>("segnet_basic");
}
TEMPLATE_TEST_CASE("FCN is PyTorch's", "[models][reference]", double, float) {
  compare<fcn_32s<40, 33, 3, 4, 16>, TestType>("fcn_32s");
  compare<fcn_16s<40, 33, 3, 4, 16>, TestType>("fcn_16s");
  compare<fcn_8s<40, 33, 3, 4, 16>, TestType>("fcn_8s");
}
TEMPLATE_TEST_CASE("DeconvNet is PyTorch's", "[models][reference]", double, float) {
  compare<deconvnet<3, 4, 16, 64>, TestType>("deconvnet");
}
TEMPLATE_TEST_CASE("U-Net is PyTorch's", "[models][reference]", double, float) {
  compare<unet<188, 204, 2, 4>, TestType>("unet");
  compare<unet_same<32, 48, 3, 4>, TestType>("unet_same");
}
