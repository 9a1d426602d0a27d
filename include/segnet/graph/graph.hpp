// SPDX-License-Identifier: MIT
// A network as data: nodes in the order in which they were built, each the output of one layer.
#pragma once

#include <segnet/core/name.hpp>
#include <segnet/graph/layer.hpp>

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <tuple>
#include <utility>

namespace segnet {

inline constexpr int max_nodes = 512;

/// A handle to what a layer computes; a skip connection is just a variable of this type.
struct value {
  int node = -1;
};

struct graph_node {
  int kind = -1;   ///< index into the graph's layer types; -1 is the network's input
  int layer = -1;  ///< index into the layers of that type
  fixed_vector<int, max_inputs> inputs;
  shape dims;
  segnet::name label;
  int folded = -1;        ///< a batch-norm node that became a scale and a shift of what this one writes
  int pooled = -1;        ///< a pooling node whose value this one's layer writes beside its own
  int writer = -1;        ///< of such a pooling node: the node that writes its value
  int saved_source = -1;  ///< the node whose saved bytes this one's layer reads; none of the inputs
  bool dead = false;      ///< replaced by a pass
};

/// The first mistake of a definition, see graph/diagnostics.hpp.
struct graph_mistake {
  graph_error what = graph_error::none;
  int node = 0;
  shape found{0, 0, 0};
  shape expected{0, 0, 0};
};

/// `Capacity` nodes at most: while it is built and rewritten max_nodes, afterwards as many as there are (see
/// fitted()), since this is what the program keeps as a constant.
template <int Capacity, layer... Layers>
struct graph {
  fixed_vector<graph_node, Capacity> nodes;
  /// One list for each layer type rather than a list of variants: changing a variant's alternative is no
  /// constant expression with clang 14 and libstdc++ 12.
  std::tuple<fixed_vector<Layers, Capacity>...> layers;
  int output = -1;
  graph_mistake mistake;

  constexpr bool valid() const { return mistake.what == graph_error::none; }
  constexpr const shape& input_shape() const { return nodes[0].dims; }
  constexpr const shape& output_shape() const { return nodes[output].dims; }

  /// A graph whose output is its input.
  static constexpr graph without_layers() {
    graph empty;
    empty.nodes.push_back({});
    empty.output = 0;
    return empty;
  }

  /// The shapes of a node's inputs, as the layers' functions take them.
  struct input_shapes {
    shape list[max_inputs]{};
    int count = 0;
    constexpr operator std::span<const shape>() const { return {list, static_cast<std::size_t>(count)}; }
  };
  constexpr input_shapes inputs_of(int node) const {
    input_shapes in;
    in.count = nodes[node].inputs.size();
    for (int i = 0; i < in.count; ++i) in.list[i] = nodes[nodes[node].inputs[i]].dims;
    return in;
  }

  /// The layer types that the graph has, as ascending indices into Layers.
  constexpr fixed_vector<int, static_cast<int>(sizeof...(Layers))> kinds() const {
    fixed_vector<int, static_cast<int>(sizeof...(Layers))> found;
    int kind = 0;
    const auto add = [&](const auto& list) {
      if (list.size() > 0) found.push_back(kind);
      ++kind;
    };
    std::apply([&](const auto&... lists) { (add(lists), ...); }, layers);
    return found;
  }

  /// The same graph with room for no more than `N` nodes and with the layer types `Kinds`, which kinds()
  /// lists: what the other types need is then never compiled.
  template <int N, int... Kinds>
  constexpr auto fitted() const {
    graph<N, std::tuple_element_t<static_cast<std::size_t>(Kinds), std::tuple<Layers...>>...> small;
    small.nodes.assign(nodes);
    for (graph_node& n : small.nodes)
      if (n.kind >= 0) n.kind = place_of(n.kind, {Kinds...});
    fit_layers(small.layers, std::index_sequence<static_cast<std::size_t>(Kinds)...>{},
               std::make_index_sequence<sizeof...(Kinds)>{});
    small.output = output;
    small.mistake = mistake;
    return small;
  }

  /// Calls f(layer) with the layer of a node, in its own type. The network's input has none.
  template <class F>
  constexpr void visit(int node, F&& f) const {
    visit_kinds(nodes[node], f, std::index_sequence_for<Layers...>{});
  }
  template <class F>
  constexpr void visit(int node, F&& f) {
    visit_kinds(*this, nodes[node], f, std::index_sequence_for<Layers...>{});
  }

 private:
  static constexpr int place_of(int kind, std::initializer_list<int> kinds) {
    return static_cast<int>(std::find(kinds.begin(), kinds.end(), kind) - kinds.begin());
  }
  template <class Small, std::size_t... From, std::size_t... To>
  constexpr void fit_layers(Small& small, std::index_sequence<From...>, std::index_sequence<To...>) const {
    (std::get<To>(small).assign(std::get<From>(layers)), ...);
  }
  template <class F, std::size_t... I>
  constexpr void visit_kinds(const graph_node& n, F& f, std::index_sequence<I...>) const {
    ((n.kind == static_cast<int>(I) ? f(std::get<I>(layers)[n.layer]) : void()), ...);
  }
  template <class F, std::size_t... I>
  static constexpr void visit_kinds(graph& g, const graph_node& n, F& f, std::index_sequence<I...>) {
    ((n.kind == static_cast<int>(I) ? f(std::get<I>(g.layers)[n.layer]) : void()), ...);
  }
};

}  // namespace segnet
