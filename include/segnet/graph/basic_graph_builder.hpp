// SPDX-License-Identifier: MIT
// The one way to make a graph: call the builder with a layer and the values that it reads.
#pragma once

#include <segnet/graph/graph.hpp>

#include <concepts>
#include <initializer_list>
#include <string_view>

namespace segnet {

namespace detail {

template <class T, class... List>
constexpr int index_of() {
  int index = 0;
  const bool found = ((std::is_same_v<T, List> ? true : (++index, false)) || ...);
  return found ? index : -1;
}

}  // namespace detail

/// Builds a graph of `Layers`. Shapes are inferred as the layers are added; the first mistake is recorded
/// and everything after it ignored, so that one short message reaches the author.
template <layer... Layers>
class basic_graph_builder {
 public:
  using graph_type = graph<max_nodes, Layers...>;

  /// The network's input; must come first.
  constexpr value input(shape dims) {
    if (graph_.nodes.size() != 0)
      return fail({graph_error::input_must_come_first_and_only_once, dims}, graph_.nodes.size());
    if (dims.h <= 0 || dims.w <= 0 || dims.c <= 0)
      return fail({graph_error::shape_must_be_positive, dims}, 0);
    graph_node node;
    node.dims = dims;
    node.label = "input";
    graph_.nodes.push_back(node);
    return {0};
  }

  /// Adds a layer with a name of its own ("conv1"), which stands behind the open scopes' names. Names differ
  /// and have at most name::capacity characters with the scopes, because checkpoints know tensors by them.
  template <layer L, std::same_as<value>... Values>
  constexpr value operator()(std::string_view label, const L& new_layer, Values... inputs) {
    constexpr int kind = detail::index_of<L, Layers...>();
    static_assert(kind >= 0, "this layer type is not in the builder's list: write graph_builder<my_layer>");
    static_assert(sizeof...(Values) >= 1 && sizeof...(Values) <= max_inputs, "a layer reads 1 to 4 values");
    if constexpr (kind >= 0) return append<kind>(label, new_layer, {inputs...});
    refused_ = true;
    return {0};
  }

  /// Adds a layer named after its type and number.
  template <layer L, std::same_as<value>... Values>
  constexpr value operator()(const L& new_layer, Values... inputs) {
    return (*this)(std::string_view{}, new_layer, inputs...);
  }

  /// While the returned object lives, new names start with "label.": `auto level = g.scope("encoder", 3);`.
  class name_scope {
   public:
    constexpr name_scope(basic_graph_builder& builder, segnet::name outer)
        : builder_(builder), outer_(outer) {}
    name_scope(const name_scope&) = delete;
    constexpr ~name_scope() { builder_.scope_ = outer_; }

   private:
    basic_graph_builder& builder_;
    segnet::name outer_;
  };
  [[nodiscard]] constexpr name_scope scope(std::string_view label) {
    const segnet::name outer = scope_;
    scope_ = scope_ + label + ".";
    return {*this, outer};
  }
  [[nodiscard]] constexpr name_scope scope(std::string_view label, int index) {
    return scope((segnet::name(label) + "." + index).view());
  }

  /// Says which value is the network's result (not the input itself); must be called once, last.
  constexpr void output(value result) {
    if (!graph_.valid()) return;
    if (result.node < 0 || result.node >= graph_.nodes.size()) {
      fail({graph_error::value_does_not_belong_to_this_graph, {0, 0, 0}}, graph_.nodes.size());
      return;
    }
    if (result.node == 0 && !refused_) {
      fail({graph_error::output_must_not_be_the_input, {0, 0, 0}}, graph_.nodes.size());
      return;
    }
    graph_.output = result.node;
  }

  /// The shape of a value, for definitions that compute with it.
  constexpr shape dims(value v) const { return graph_.valid() ? graph_.nodes[v.node].dims : shape{}; }

  /// The finished graph; a graph without an output is a mistake.
  constexpr graph_type finish() const {
    graph_type done = graph_;
    if (done.valid() && done.output < 0)
      done.mistake = {graph_error::network_has_no_output, done.nodes.size(), {0, 0, 0}, {0, 0, 0}};
    return done;
  }

 private:
  /// `Kind` is the place of L in Layers.
  template <int Kind, class L>
  constexpr value append(std::string_view label, const L& new_layer, std::initializer_list<value> inputs) {
    if (!graph_.valid()) return {0};
    const int id = graph_.nodes.size();
    if (graph_.nodes.full()) return fail({graph_error::too_many_layers, {0, 0, 0}}, id);
    graph_node node;
    node.kind = Kind;
    for (value input : inputs) {
      if (input.node < 0 || input.node >= id)
        return fail({graph_error::value_does_not_belong_to_this_graph, {0, 0, 0}}, id);
      node.inputs.push_back(input.node);
    }
    if constexpr (detail::reads_saved_bytes<L>) {
      // At least one value is left to read.
      if (node.inputs.size() < 2)
        return fail({graph_error::wrong_number_of_inputs, graph_.nodes[node.inputs[0]].dims}, id);
      node.saved_source = node.inputs[node.inputs.size() - 1];
      node.inputs.pop_back();
    }
    auto& pool = std::get<static_cast<std::size_t>(Kind)>(graph_.layers);
    node.layer = pool.size();
    node.label = label.empty() ? scope_ + L::type_name + "_" + pool.size() : scope_ + label;
    if (!node.label.fits()) return fail({graph_error::layer_name_too_long, {0, 0, 0}}, id);
    if (!enter_name(node.label, id)) return fail({graph_error::layer_names_must_differ, {0, 0, 0}}, id);
    pool.push_back(new_layer);
    graph_.nodes.push_back(node);
    const shape_result result = new_layer.out_shape(graph_.inputs_of(id));
    if (result.error != graph_error::none) return fail(result, id);
    graph_.nodes[id].dims = result.value;
    if constexpr (detail::reads_saved_bytes<L>)
      if (const shape_result fit = fit_source(new_layer, id); fit.error != graph_error::none)
        return fail(fit, id);
    return {id};
  }

  /// Whether a layer can read what its saved_source saved.
  template <class L>
  constexpr shape_result fit_source(const L& reader, int id) const {
    constexpr int kind = detail::index_of<typename L::saved_source, Layers...>();
    const int source = graph_.nodes[id].saved_source;
    if constexpr (kind >= 0)
      if (graph_.nodes[source].kind == kind)
        return reader.fits(
            std::get<static_cast<std::size_t>(kind)>(graph_.layers)[graph_.nodes[source].layer],
            graph_.nodes[graph_.nodes[source].inputs[0]].dims, graph_.inputs_of(id));
    return {graph_error::unpooling_needs_the_value_of_its_pooling, graph_.nodes[source].dims};
  }

  /// False if another layer has this name. A hash table, because comparing each pair of some hundred names
  /// would take a large part of the steps that compilers allow.
  constexpr bool enter_name(const segnet::name& label, int id) {
    unsigned hash = 0;
    for (char letter : label.view()) hash = hash * 31 + static_cast<unsigned char>(letter);
    for (unsigned at = hash % name_slots; true; at = (at + 1) % name_slots) {
      if (named_[at] == 0) {
        named_[at] = static_cast<short>(id);
        return true;
      }
      if (graph_.nodes[named_[at]].label.view() == label.view()) return false;
    }
  }

  /// `call` is the number of the builder's call that fails, the input being 0.
  constexpr value fail(const shape_result& result, int call) {
    if (graph_.valid()) graph_.mistake = {result.error, call, result.found, result.expected};
    return {0};
  }

  static constexpr unsigned name_slots = 2 * max_nodes;

  graph_type graph_;
  segnet::name scope_;
  bool refused_ = false;       // a static_assert has said why: no second message
  short named_[name_slots]{};  ///< nodes by the hash of their names; 0 for none, since the input has no layer
};

}  // namespace segnet
