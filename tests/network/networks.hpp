// SPDX-License-Identifier: MIT
// Small definitions and random contents that the tests of this folder share.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/network.hpp>

#include <cmath>
#include <vector>

namespace segnet::test {

/// Two levels, not square.
using narrow = carvana_network<16, 24, 4, 6>;

template <class T>
std::vector<T> random_images(std::size_t size, std::uint64_t key) {
  random_stream random{0x696d67, key};
  std::vector<T> images(size);
  for (T& x : images) x = static_cast<T>(random.uniform());
  return images;
}

/// Every tensor, running statistics too, gets values that matter.
template <class Network>
void randomise(Network& net, std::uint64_t seed) {
  for (const parameter& p : net.parameter_table().entries) {
    random_stream random{seed, p.offset, p.spec.trainable};
    const bool around_one = p.spec.init == initializer::ones;
    const double size =
        p.spec.rank == 4 ? std::sqrt(6.0 / (p.spec.dims[1] * p.spec.dims[2] * p.spec.dims[3])) : 0.5;
    for (auto& x : net.values(p))
      x = static_cast<typename Network::parameter_scalar>((around_one ? 1.0 : 0.0) +
                                                          random.uniform(-size, size));
  }
  net.parameters_changed();
}

/// An upstream gradient without any pattern.
template <class Network>
void random_gradient(Network& net, std::uint64_t key) {
  random_stream random{0x67726164, key};
  for (auto& x : net.output_gradient())
    x = static_cast<typename Network::parameter_scalar>(random.uniform(-1, 1));
}

/// The largest difference, relative to the largest expected value; infinite where one is not finite.
template <class A, class B>
double difference(const A& got, const B& expected) {
  double worst = 0, scale = 1e-30;
  auto e = expected.begin();
  for (auto g = got.begin(); g != got.end(); ++g, ++e) {
    const double d = std::abs(static_cast<double>(*g) - static_cast<double>(*e));
    if (!(d <= worst)) worst = std::isfinite(d) ? d : HUGE_VAL;
    scale = std::max(scale, std::abs(static_cast<double>(*e)));
  }
  return worst / scale;
}

}  // namespace segnet::test
