// SPDX-License-Identifier: MIT
// A convolution to test with, and what naive loops make of it.
#pragma once

#include "reference.hpp"

#include <array>
#include <sstream>

namespace segnet::reference {

struct problem {
  conv2d_geometry g;
  int batch = 1;
  std::vector<std::array<int, 2>> sources;  // channels, upsample
};

inline std::string name(const problem& p) {
  std::ostringstream text;
  text << p.batch << " x " << p.g.h << "x" << p.g.w << ", " << p.g.in_channels << " -> " << p.g.out_channels
       << ", kernel " << p.g.kernel_h << "x" << p.g.kernel_w << ", stride " << p.g.stride << ", padding "
       << p.g.pad_top << "/" << p.g.pad_left << ", sources";
  for (auto [channels, upsample] : p.sources) text << " " << channels << "/" << upsample;
  return text.str();
}

/// Random operands of a convolution, and the places of its results filled with what they may be added to.
template <class T>
struct operands {
  std::vector<std::vector<T>> inputs;
  std::vector<conv2d_source<T>> sources;
  std::vector<T> weight, scale, bias, dy, dx, dweight, dbias;

  operands(const operands&) = delete;  // the sources point to the inputs
  explicit operands(const problem& p) {
    const auto& g = p.g;
    for (std::size_t i = 0; i < p.sources.size(); ++i) {
      const auto [channels, upsample] = p.sources[i];
      inputs.push_back(random_values<T>(
          static_cast<std::size_t>(p.batch * (g.h / upsample) * (g.w / upsample) * channels), 10 + i));
      sources.push_back({inputs.back().data(), channels, upsample});
    }
    const auto outs = static_cast<std::size_t>(g.out_channels);
    weight = random_values<T>(g.weights(), 1);
    scale = random_values<T>(outs, 7);
    bias = random_values<T>(outs, 2);
    dy = random_values<T>(static_cast<std::size_t>(p.batch * g.out_h * g.out_w) * outs, 3);
    dx = random_values<T>(static_cast<std::size_t>(p.batch * g.h * g.w * g.in_channels), 4);
    dweight = random_values<T>(g.weights(), 5);
    dbias = random_values<T>(outs, 6);
  }
};

/// The results of the three products, in double precision.
struct naive_results {
  std::vector<double> out, dx, dweight;

  template <class T>
  naive_results(const problem& p, const operands<T>& o)
      : out(o.dy.size()), dx(o.dx.size()), dweight(o.weight.size()) {
    const auto x = materialise<T>(p.g, p.batch, o.sources);
    for_each_tap(p.g, p.batch, [&](std::size_t in, std::size_t w, std::size_t to) {
      const auto channels = static_cast<std::size_t>(p.g.in_channels);
      const auto dy = static_cast<double>(o.dy[to]);
      double sum = 0;
      for (std::size_t c = 0; c < channels; ++c) {
        const auto weight = static_cast<double>(o.weight[w + c]);
        sum += x[in + c] * weight;
        dx[in + c] += dy * weight;
        dweight[w + c] += dy * x[in + c];
      }
      out[to] += sum;
    });
  }

  /// With the epilogue max(0, scale * out + bias), and the gradients added to what was there.
  template <class T>
  naive_results finished(const operands<T>& o) const {
    naive_results r = *this;
    for (std::size_t i = 0; i < out.size(); ++i)
      r.out[i] = std::max(0.0, out[i] * static_cast<double>(o.scale[i % o.scale.size()]) +
                                   static_cast<double>(o.bias[i % o.bias.size()]));
    for (std::size_t i = 0; i < dx.size(); ++i) r.dx[i] += static_cast<double>(o.dx[i]);
    for (std::size_t i = 0; i < dweight.size(); ++i) r.dweight[i] += static_cast<double>(o.dweight[i]);
    return r;
  }
};

}  // namespace segnet::reference
