// SPDX-License-Identifier: MIT
// Graph-to-graph passes, all computed while compiling. A pass rewrites layers and inputs and marks nodes
// dead, but never renumbers them: node i of every graph made from a definition is the i-th layer that its
// author added, which is how parameters of one find those of the other.
#pragma once

#include <segnet/graph/graph.hpp>

#include <type_traits>

namespace segnet {

namespace detail {

/// How often each node's value is read; the network's output counts as one more reader.
struct use_counts {
  int of[max_nodes]{};
};

template <class Graph>
constexpr use_counts count_uses(const Graph& g) {
  use_counts uses;
  for (const graph_node& node : g.nodes)
    if (!node.dead)
      for (int input : node.inputs) ++uses.of[input];
  ++uses.of[g.output];
  return uses;
}

/// Makes every reader of `from` read `to`, and `from` dead.
template <class Graph>
constexpr void replace(Graph& g, int from, int to) {
  for (graph_node& node : g.nodes)
    for (int& input : node.inputs)
      if (input == from) input = to;
  if (g.output == from) g.output = to;
  g.nodes[from].dead = true;
}

/// The activation that a node is and that its producer could apply; none for another layer, and for -1.
template <class Graph>
constexpr activation activation_of(const Graph& g, int id) {
  activation act = activation::none;
  if (id > 0)
    g.visit(id, [&](const auto& l) {
      if constexpr (is_activation<std::remove_cvref_t<decltype(l)>>) act = l.fuses_as;
    });
  return act;
}

/// The first reader of a value beside a known one; -1 where only the network's output is left.
template <class Graph>
constexpr int reader_beside(const Graph& g, int value, int known) {
  for (int id = 1; id < g.nodes.size(); ++id)
    if (!g.nodes[id].dead && id != known)
      for (int input : g.nodes[id].inputs)
        if (input == value) return id;
  return -1;
}

/// Whether another layer reads what a node's layer saves.
template <class Graph>
constexpr bool saved_bytes_are_read(const Graph& g, int id) {
  for (const graph_node& node : g.nodes)
    if (!node.dead && node.saved_source == id) return true;
  return false;
}

}  // namespace detail

/// Marks everything dead that the output does not depend on.
template <class Graph>
constexpr void remove_unused(Graph& g) {
  bool used[max_nodes]{};
  used[g.output] = true;
  for (int id = g.nodes.size() - 1; id > 0; --id) {
    if (!used[id]) g.nodes[id].dead = true;
    if (!g.nodes[id].dead)
      for (int input : g.nodes[id].inputs) used[input] = true;
    if (!g.nodes[id].dead && g.nodes[id].saved_source >= 0) used[g.nodes[id].saved_source] = true;
  }
}

/// What inference does not do (dropout) goes. Not where it is all that stands between input and output: then
/// nothing would be left to run.
template <class Graph>
constexpr void remove_training_only(Graph& g) {
  for (int id = 1; id < g.nodes.size(); ++id) {
    if (g.nodes[id].dead || (g.output == id && g.nodes[id].inputs[0] == 0)) continue;
    g.visit(id, [&](const auto& l) {
      if constexpr (detail::is_training_only<std::remove_cvref_t<decltype(l)>>)
        detail::replace(g, id, g.nodes[id].inputs[0]);
    });
  }
}

/// Training computes the loss from logits: a sigmoid or softmax that only the output reads is left to the
/// loss. Not one of the network's input: then nothing would be left to run.
template <class Graph>
constexpr void leave_final_activation_to_loss(Graph& g) {
  const int last = g.output;
  g.visit(last, [&](const auto& l) {
    if constexpr (detail::is_final_activation<std::remove_cvref_t<decltype(l)>>)
      if (g.nodes[last].inputs[0] != 0 && detail::count_uses(g).of[last] == 1)
        detail::replace(g, last, g.nodes[last].inputs[0]);
  });
}

/// conv -> batch-norm becomes the convolution alone, its node remembering whose scale and shift it applies to
/// what it writes; the batch-norm must be the convolution's only reader. Neither layer's tensors change, so
/// that all graphs of a definition read the same ones.
template <class Graph>
constexpr void fold_batch_norm(Graph& g) {
  const detail::use_counts uses = detail::count_uses(g);
  for (int id = 1; id < g.nodes.size(); ++id) {
    if (g.nodes[id].dead) continue;
    const int producer = g.nodes[id].inputs[0];
    bool folds = false;
    activation act = activation::none;
    g.visit(id, [&](const auto& l) {
      folds = detail::folds_into_producer<std::remove_cvref_t<decltype(l)>>;
      if constexpr (detail::takes_activation<std::remove_cvref_t<decltype(l)>>) act = l.act;
    });
    // A second batch-norm behind the first stays: a node remembers one.
    if (!folds || uses.of[producer] != 1 || g.nodes[producer].folded >= 0) continue;
    g.visit(producer, [&](auto& l) {
      if constexpr (detail::takes_folding<std::remove_cvref_t<decltype(l)>>) {
        if (l.act != activation::none) return;
        l.act = act;
        g.nodes[producer].folded = id;
        detail::replace(g, id, producer);
      }
    });
  }
}

/// producer -> activation becomes the producer alone, where it can apply the activation to what it writes
/// and nobody else reads its value.
template <class Graph>
constexpr void fuse_activations(Graph& g) {
  const detail::use_counts uses = detail::count_uses(g);
  for (int id = 1; id < g.nodes.size(); ++id) {
    if (g.nodes[id].dead) continue;
    const activation act = detail::activation_of(g, id);
    const int producer = g.nodes[id].inputs[0];
    if (act == activation::none || uses.of[producer] != 1) continue;
    g.visit(producer, [&](auto& l) {
      if constexpr (detail::takes_activation<std::remove_cvref_t<decltype(l)>>) {
        if (l.act != activation::none) return;
        l.act = act;
        detail::replace(g, id, producer);
      }
    });
  }
}

/// Concatenations and nearest-neighbour upsamplings that one convolution reads are read in place by it and
/// never materialised.
template <class Graph>
constexpr void fuse_sources(Graph& g) {
  const detail::use_counts uses = detail::count_uses(g);
  for (int id = 1; id < g.nodes.size(); ++id) {
    graph_node& reader = g.nodes[id];
    if (reader.dead || reader.inputs.size() != 1) continue;
    g.visit(id, [&](auto& l) {
      if constexpr (detail::takes_sources<std::remove_cvref_t<decltype(l)>>) {
        const int joined = reader.inputs[0];
        bool concatenation = false;
        g.visit(joined, [&](const auto& from) {
          concatenation = detail::is_concatenation<std::remove_cvref_t<decltype(from)>>;
        });
        if (concatenation && uses.of[joined] == 1) {
          reader.inputs = g.nodes[joined].inputs;
          g.nodes[joined].dead = true;
          // A definition may ask for upsampling by itself; then every part is read so.
          for (int& factor : l.reads.upsample) factor = l.reads.upsample[0];
        }
        for (int i = 0; i < reader.inputs.size(); ++i) {
          const int source = reader.inputs[i];
          g.visit(source, [&](const auto& from) {
            if constexpr (detail::is_upsampling<std::remove_cvref_t<decltype(from)>>)
              if (uses.of[source] == 1 && from.source_upsample() > 1) {
                l.reads.upsample[i] *= from.source_upsample();
                reader.inputs[i] = g.nodes[source].inputs[0];
                g.nodes[source].dead = true;
              }
          });
        }
      }
    });
  }
}

/// A 2 x 2 max-pooling of what a convolution writes becomes a second output of the convolution, unless an
/// unpooling needs its indices. An activation that is the only other reader then moves into the convolution,
/// too, behind the pooling.
template <class Graph>
constexpr void fuse_pooling(Graph& g) {
  const detail::use_counts uses = detail::count_uses(g);
  for (int id = 1; id < g.nodes.size(); ++id) {
    if (g.nodes[id].dead || g.nodes[id].inputs.size() != 1) continue;
    const int producer = g.nodes[id].inputs[0];
    const shape read = g.nodes[producer].dims;
    int window = 0;
    g.visit(id, [&](const auto& l) {
      if constexpr (detail::is_pooling<std::remove_cvref_t<decltype(l)>>) window = l.pooling_window();
    });
    if (window != 2 || read.h % 2 != 0 || read.w % 2 != 0 || g.nodes[producer].pooled >= 0 ||
        g.nodes[id].dims != shape{read.h / 2, read.w / 2, read.c} || detail::saved_bytes_are_read(g, id))
      continue;
    g.visit(producer, [&](auto& l) {
      if constexpr (detail::takes_pooling<std::remove_cvref_t<decltype(l)>>) {
        g.nodes[producer].pooled = id;
        g.nodes[id].writer = producer;
        if (l.act != activation::none || uses.of[producer] != 2) return;
        const int other = detail::reader_beside(g, producer, id);
        l.act = detail::activation_of(g, other);
        if (l.act == activation::none) return;
        l.pools_first = true;
        detail::replace(g, other, producer);
      }
    });
  }
}

/// The graph that training runs: everything that reads in place, batch-norm with its ReLU, logits out.
template <class Graph>
constexpr Graph training_graph(Graph g) {
  remove_unused(g);
  leave_final_activation_to_loss(g);
  fuse_activations(g);
  fuse_sources(g);
  return g;
}

/// The graph that inference runs: besides, no dropout, and batch-norm and 2 x 2 max-pooling folded into the
/// convolutions.
template <class Graph>
constexpr Graph inference_graph(Graph g) {
  remove_unused(g);
  remove_training_only(g);
  fold_batch_norm(g);
  fuse_activations(g);
  fuse_pooling(g);
  fuse_sources(g);
  return g;
}

}  // namespace segnet
