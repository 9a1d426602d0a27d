// SPDX-License-Identifier: MIT
// Mistakes around a layer of the user's own.
#include <segnet/layers/graph_builder.hpp>
#include <segnet/network/network.hpp>

using namespace segnet;

struct halve {
  static constexpr std::string_view type_name = "halve";
#if !defined(WITHOUT_OUT_SHAPE) || defined(SEGNET_CORRECTED)
  constexpr shape_result out_shape(std::span<const shape> in) const {
    if (in[0].c > 4) return {graph_error::custom_layer_refuses_shape, in[0], {in[0].h, in[0].w, 4}};
    return in[0];
  }
#endif
#ifndef SEGNET_CORRECTED
#if defined(WRONG_PARAMETERS)
  constexpr parameter_specs parameters(shape) const { return {}; }
#elif defined(WRONG_SAVED)
  constexpr saved_size saved(std::span<const shape>) { return {}; }  // not const
#elif defined(WRONG_NEEDS)
  constexpr backward_needs needs(std::span<const shape>) const { return {}; }
#elif defined(WRONG_WORKSPACE)
  template <class Backend>
  constexpr layer_workspace workspace(std::span<const shape>) const {
    return {};
  }
#elif defined(PLAIN_WORKSPACE)
  constexpr layer_workspace workspace(std::span<const shape>, bool) const { return {}; }
#endif
#endif
  template <class Backend>
  void forward(const forward_context<Backend>&) const {}
  template <class Backend>
  void backward(const backward_context<Backend>&) const {}
};

#if defined(NOT_LISTED) && !defined(SEGNET_CORRECTED)
using builder = graph_builder<>;
#else
using builder = graph_builder<halve>;
#endif

struct my_net {
  static constexpr auto build() {
    builder g;
    const value x = g.input({8, 8, 3});
#if defined(REFUSED) && !defined(SEGNET_CORRECTED)
    g.output(g(halve{}, g(conv2d{.channels = 16}, x)));
#else
    g.output(g(halve{}, x));
#endif
    return g;
  }
};

int main() { return static_cast<int>(network<my_net>::memory.parameters); }
