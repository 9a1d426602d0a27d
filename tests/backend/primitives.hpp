// SPDX-License-Identifier: MIT
// Convolutions as the layers ask for them: through the backend's primitives.
#pragma once

#include <segnet/backend/cpu/cpu.hpp>

#include "problem.hpp"
#include "workspace.hpp"

#include <catch2/catch.hpp>

namespace segnet::reference {

/// What the three primitives make of a problem.
template <class T>
struct convolution_run : operands<T> {
  std::vector<T> out;
  bool intact = true;

  convolution_run(const problem& p, int threads, bool with_epilogue, activation act, bool accumulate)
      : operands<T>(p), out(this->dy.size(), T{77}) {
    const auto& g = p.g;
    operands<T>& o = *this;
    basic_cpu<T> backend(threads);
    using cpu_type = basic_cpu<T>;
    workspace<T> forward(cpu_type::conv2d_forward_workspace(g), threads);
    const conv2d_epilogue<T> finish{.scale = with_epilogue ? o.scale.data() : nullptr,
                                    .bias = with_epilogue ? o.bias.data() : nullptr,
                                    .act = act};
    backend.conv2d_forward(g, p.batch, o.sources, o.weight.data(), finish, out.data(), forward.get());
    workspace<T> data(cpu_type::conv2d_backward_data_workspace(g), threads);
    backend.conv2d_backward_data(g, p.batch, o.dy.data(), o.weight.data(), o.dx.data(), accumulate,
                                 data.get());
    workspace<T> weights(cpu_type::conv2d_backward_weights_workspace(g), threads);
    backend.conv2d_backward_weights(g, p.batch, o.sources, o.dy.data(), o.dweight.data(),
                                    with_epilogue ? o.dbias.data() : nullptr, accumulate, weights.get());
    intact = forward.intact() && data.intact() && weights.intact();
  }
};

/// The three primitives against naive loops, with and without epilogue and accumulation.
template <class T>
void check_primitives(const problem& p) {
  for (const bool variant : {false, true}) {
    INFO(name(p) << (variant ? ", scale, bias, relu, accumulating" : ""));
    const convolution_run<T> result(p, 2, variant, variant ? activation::relu : activation::none, variant);
    REQUIRE(result.intact);
    const operands<T> before(p);
    const naive_results plain(p, before), expected = variant ? plain.finished(before) : plain;
    CHECK(difference(result.out, expected.out) < tolerance<T>());
    CHECK(difference(result.dx, expected.dx) < tolerance<T>());
    CHECK(difference(result.dweight, expected.dweight) < tolerance<T>());
    if (!variant) continue;
    std::vector<double> dbias(before.dbias.begin(), before.dbias.end());
    const std::size_t outs = dbias.size();
    for (std::size_t i = 0; i < result.dy.size(); ++i) dbias[i % outs] += static_cast<double>(result.dy[i]);
    CHECK(difference(result.dbias, dbias) < tolerance<T>());
  }
}

}  // namespace segnet::reference
