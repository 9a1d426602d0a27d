// SPDX-License-Identifier: MIT
#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/core/random.hpp>
#include <segnet/loss/softmax_cross_entropy.hpp>

#include "../reference/cross_entropy_sgd.hpp"
#include "serial_backend.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <vector>

using namespace segnet;
namespace ref = cross_entropy_reference;

namespace {

const std::vector<std::uint8_t> reference_labels(std::begin(ref::labels), std::end(ref::labels));
constexpr shape reference_dims{3, 4, 5};

template <class T>
struct problem {
  shape dims;
  int images;
  std::vector<T> logits;
  std::vector<std::uint8_t> labels;
  std::vector<double> weights;

  problem(int n, shape s, std::uint64_t seed) : dims(s), images(n) {
    random_stream random{seed};
    for (std::size_t i = 0; i < view().rows(); ++i)
      labels.push_back(random.chance(0.2) ? 255 : static_cast<std::uint8_t>(random.below(s.c)));
    for (std::size_t i = 0; i < view().size(); ++i) logits.push_back(static_cast<T>(3 * random.normal()));
    for (int k = 0; k < s.c; ++k) weights.push_back(random.uniform(0.2, 3));
  }
  tensor_view<const T> view() const { return {logits.data(), images, dims}; }
};

template <class Backend>
void check_reference(double tolerance) {
  using T = typename Backend::scalar;
  Backend backend;
  const bool weighted = GENERATE(false, true);
  const std::vector<T> z(std::begin(ref::logits), std::end(ref::logits));
  const std::vector<double> w(std::begin(ref::weights), std::end(ref::weights));
  std::vector<T> gradient(z.size());
  const auto result =
      softmax_cross_entropy{}(backend, {z.data(), 2, reference_dims}, reference_labels,
                              weighted ? std::span<const double>(w) : std::span<const double>{}, gradient);
  CHECK(result.total == Approx(weighted ? ref::weighted_loss[0] : ref::plain_loss[0]).epsilon(tolerance));
  CHECK(result.labelled == 21);
  const auto& expected = weighted ? ref::weighted_gradient : ref::plain_gradient;
  for (std::size_t i = 0; i < z.size(); ++i)
    CHECK(gradient[i] == Approx(expected[i]).epsilon(20 * tolerance).margin(tolerance * 1e-2));
}

}  // namespace

TEST_CASE("softmax_cross_entropy agrees with PyTorch", "[loss]") {
  SECTION("any backend, double") { check_reference<serial_backend<double>>(1e-14); }
  SECTION("any backend, float") { check_reference<serial_backend<float>>(1e-6); }
  SECTION("cpu, double") { check_reference<basic_cpu<double>>(1e-14); }
  SECTION("cpu, float") { check_reference<basic_cpu<float>>(1e-6); }
}

TEST_CASE("softmax_cross_entropy's gradient is that of its value", "[loss]") {
  const bool weighted = GENERATE(false, true);
  basic_cpu<double> backend(1);
  problem<double> b(2, {3, 5, GENERATE(2, 7, 19)}, 5);
  if (!weighted) b.weights.clear();
  std::vector<double> gradient(b.logits.size());
  const softmax_cross_entropy loss;
  loss(backend, b.view(), b.labels, b.weights, gradient, 0.25);
  for (std::size_t i = 0; i < b.logits.size(); ++i) {
    const double h = 1e-5, z = b.logits[i];
    b.logits[i] = z + h;
    const double up = loss(backend, b.view(), b.labels, b.weights, {}).total;
    b.logits[i] = z - h;
    const double down = loss(backend, b.view(), b.labels, b.weights, {}).total;
    b.logits[i] = z;
    CHECK(gradient[i] == Approx(0.25 * (up - down) / (2 * h)).epsilon(1e-6).margin(1e-9));
  }
}

TEST_CASE("softmax_cross_entropy gives the same bits for any number of threads", "[loss]") {
  const problem<float> b(3, {61, 67, GENERATE(2, 12, 255)}, 9);
  std::vector<float> first(b.logits.size()), exact(b.logits.size());
  basic_cpu<float> one(1);
  const auto expected = softmax_cross_entropy{}(one, b.view(), b.labels, b.weights, first);
  serial_backend<float> plain;
  const auto near = softmax_cross_entropy{}(plain, b.view(), b.labels, b.weights, exact);
  CHECK(expected.total == Approx(near.total).epsilon(1e-6));
  CHECK(expected.correct == near.correct);
  float worst = 0;
  for (std::size_t i = 0; i < first.size(); ++i)
    worst = std::max(worst, std::abs(first[i] - exact[i]) / (std::abs(exact[i]) + 1e-8F));
  CHECK(worst < 1e-4F);
  for (int threads : {2, 3}) {
    basic_cpu<float> backend(threads);
    auto memory = b.logits;  // the gradient may overwrite the logits
    const auto found =
        softmax_cross_entropy{}(backend, {memory.data(), 3, b.dims}, b.labels, b.weights, memory);
    CHECK(found.total == expected.total);
    CHECK(memory == first);
  }
}

TEST_CASE("softmax_cross_entropy counts labelled and correct pixels", "[loss]") {
  basic_cpu<float> backend(1);
  const std::vector<float> z{3, 1, 2, 0, 5, 4, 1, 2, 9, 7, 8, 0};
  const std::vector<std::uint8_t> labels{0, 2, 2, 0};
  const auto all = softmax_cross_entropy{}(backend, {z.data(), 1, {2, 2, 3}}, labels, {}, {});
  CHECK((all.labelled == 4 && all.correct == 2));
  // The label to ignore may be a class.
  const auto some = softmax_cross_entropy{.ignore = 2}(backend, {z.data(), 1, {2, 2, 3}}, labels, {}, {});
  CHECK((some.labelled == 2 && some.correct == 1));
  CHECK(some.total == Approx((std::log(1 + std::exp(-2.0) + std::exp(-1.0)) +
                              std::log(std::exp(-1.0) + 1 + std::exp(-8.0)) + 1) /
                             2));
}

TEST_CASE("softmax_cross_entropy of a batch without labels is 0, whatever the logits", "[loss]") {
  basic_cpu<float> backend(1);
  const std::vector<float> z(12, std::numeric_limits<float>::quiet_NaN());
  std::vector<float> gradient(12, 1);
  std::vector<std::uint8_t> labels(4, 255);
  const auto result = softmax_cross_entropy{}(backend, {z.data(), 1, {2, 2, 3}}, labels, {}, gradient);
  CHECK((result.total == 0 && result.labelled == 0 && result.correct == 0));
  CHECK(gradient == std::vector<float>(12, 0));
  labels[1] = 1;
  const std::vector<double> weights{1, 0, 1};
  CHECK(softmax_cross_entropy{}(backend, {z.data(), 1, {2, 2, 3}}, labels, weights, {}).total == 0);
}

TEST_CASE("softmax_cross_entropy reports a NaN instead of hiding it", "[loss]") {
  const std::size_t at = GENERATE(0U, 1U, 20U, 50U);
  std::vector<float> z(51, 1), gradient(51);
  z[at] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::uint8_t> labels(17, 1);
  const tensor_view<const float> view{z.data(), 1, {1, 17, 3}};
  basic_cpu<float> backend(1);
  CHECK(std::isnan(softmax_cross_entropy{}(backend, view, labels, {}, gradient).total));
  CHECK(std::isnan(gradient[at]));
  serial_backend<float> plain;
  CHECK(std::isnan(softmax_cross_entropy{}(plain, view, labels, {}, gradient).total));
}

TEST_CASE("softmax_cross_entropy refuses what does not fit", "[loss]") {
  basic_cpu<float> backend(1);
  std::vector<float> z(12), gradient(11);
  std::vector<std::uint8_t> labels{0, 1, 2, 255};
  const auto call = [&](shape dims, std::span<const std::uint8_t> l, std::span<const double> w,
                        std::span<float> g) {
    softmax_cross_entropy{}(backend, {z.data(), 1, dims}, l, w, g);
  };
  const std::vector<double> two(2);
  const std::span all(labels);
  const std::string name = "softmax_cross_entropy: ";
  CHECK_NOTHROW(call({2, 2, 3}, all, {}, {}));
  CHECK_THROWS_WITH(call({2, 2, 3}, all.first(3), {}, {}), name + "3 labels, expected one for each pixel, 4");
  CHECK_THROWS_WITH(call({2, 2, 3}, all, two, {}), name + "2 class weights, expected one for each class, 3");
  CHECK_THROWS_WITH(call({2, 2, 3}, all, {}, gradient),
                    name + "11 numbers for the gradient, expected as many as logits, 12");
  CHECK_THROWS_WITH(call({2, 2, 1}, all, {}, {}), name + "1 classes, expected 2 to 255");
  CHECK_THROWS_WITH(call({2, 2, 256}, all, {}, {}), name + "256 classes, expected 2 to 255");
  CHECK_THROWS_WITH(call({0, 2, 3}, {}, {}, {}), name + "the batch is empty");
  labels[2] = 11;
  CHECK_THROWS_WITH(call({2, 2, 3}, all, {}, {}),
                    name + "found the label 11, expected 0 to 2, or 255 for pixels to ignore");
}
