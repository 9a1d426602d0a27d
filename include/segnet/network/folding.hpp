// SPDX-License-Identifier: MIT
// What inference computes from the parameters before it runs.
#pragma once

#include <segnet/graph/schedule.hpp>
#include <segnet/network/parameters.hpp>

#include <type_traits>

namespace segnet::detail {

/// Computes the scales and shifts of an inference graph's folded batch-norms, to the places that its schedule
/// gives them. `tensors` has a pointer for each entry of `table`. A convolution followed by
/// y = scale * x + shift is scale[k] * sum + (scale[k] * b[k] + shift[k]), b being its bias: its weights stay
/// as they are.
template <class T, class Graph, class Schedule, class Table>
void fold(const Graph& g, const Schedule& plan, const Table& table, const T* const* tensors, T* folded) {
  for (const step& s : plan.steps) {
    if (s.folded < 0) continue;
    const int norm = g.nodes[s.node].folded, channels = g.nodes[s.node].dims.c;
    const int bias = table.first[s.node] + 1;
    const T* b = bias < table.first[s.node + 1] ? tensors[bias] : nullptr;
    T* scale = folded + s.folded;
    T* shift = scale + channels;
    g.visit(norm, [&](const auto& l) {
      if constexpr (folds_into_producer<std::remove_cvref_t<decltype(l)>>)
        for (int k = 0; k < channels; ++k) {
          l.folded(tensors + table.first[norm], k, scale[k], shift[k]);
          if (b != nullptr) shift[k] += scale[k] * b[k];
        }
    });
  }
}

/// The live batch-norm with the fewest pixels, whose statistics fail first on small batches; -1 if none.
template <class Graph>
constexpr int thinnest_normalisation(const Graph& g) {
  int thinnest = -1;
  for (int id = 1; id < g.nodes.size(); ++id) {
    if (g.nodes[id].dead) continue;
    g.visit(id, [&](const auto& l) {
      if constexpr (requires { l.normalises_over_batch; })
        if (thinnest < 0 || g.nodes[id].dims.pixels() < g.nodes[thinnest].dims.pixels()) thinnest = id;
    });
  }
  return thinnest;
}

}  // namespace segnet::detail
