// SPDX-License-Identifier: MIT
// From trained parameters to those of the inference graph.
#pragma once

#include <segnet/network/parameters.hpp>

#include <array>

namespace segnet::detail {

/// Computes the inference graph's tensors. `source(p)` gives the values of an entry of `table`.
/// A convolution followed by y = scale * x + shift has the weights scale[k] * w[k] and the bias
/// scale[k] * b[k] + shift[k].
template <class T, class InferenceGraph, class InferenceTable, class Graph, class Table, class Source>
void fold(const InferenceGraph& to, const InferenceTable& to_table, const Graph& from, const Table& table,
          Source&& source, T* parameters, T* statistics) {
  const auto tensors = [&](int node) {
    std::array<const T*, max_layer_parameters> list{};
    for (int e = table.first[node]; e < table.first[node + 1]; ++e)
      list[static_cast<std::size_t>(e - table.first[node])] = source(table.entries[e]);
    return list;
  };
  for (int id = 1; id < to.nodes.size(); ++id) {
    if (to.nodes[id].dead) continue;
    const auto values = tensors(id);
    const int folded = to.nodes[id].folded;
    for (int e = to_table.first[id]; e < to_table.first[id + 1]; ++e) {
      const parameter& p = to_table.entries[e];
      const auto size = p.spec.size();
      const T* original = values[static_cast<std::size_t>(p.index)];  // null: a bias that training has not
      T* out = (p.spec.trainable ? parameters : statistics) + p.offset;
      if (folded < 0) {
        std::copy_n(original, size, out);
        continue;
      }
      const auto norm = tensors(folded);
      const auto per_channel = size / static_cast<std::size_t>(p.spec.dims[0]);
      from.visit(folded, [&](const auto& l) {
        if constexpr (folds_into_producer<std::remove_cvref_t<decltype(l)>>)
          for (int k = 0; k < p.spec.dims[0]; ++k) {
            T scale, shift;
            l.folded(norm.data(), k, scale, shift);
            const auto first = static_cast<std::size_t>(k) * per_channel;
            if (p.spec.rank == 1)
              out[k] = (original != nullptr ? scale * original[k] : T(0)) + shift;
            else
              for (std::size_t i = first; i < first + per_channel; ++i) out[i] = scale * original[i];
          }
      });
    }
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
