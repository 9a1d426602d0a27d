// SPDX-License-Identifier: MIT
// Where every parameter of a graph lies in the flat buffers, its name and its initial values.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/graph/graph.hpp>
#include <segnet/memory/aligned_buffer.hpp>
#include <segnet/optim/parameter_groups.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <type_traits>

namespace segnet {

inline constexpr int max_parameters = 2 * max_nodes;

/// One tensor in the flat buffer of trainable parameters, or in that of running statistics.
struct parameter {
  short node = -1;
  short index = 0;         ///< position in the layer's parameter_specs
  std::size_t offset = 0;  ///< in elements
  parameter_spec spec;
};

/// All of a graph's tensors, in node order. Each starts on a cache line; the elements between are zero.
template <int MaxEntries, int MaxNodes>
struct basic_parameter_table {
  fixed_vector<parameter, MaxEntries> entries;
  short first[MaxNodes + 1]{};  ///< entries [first[node], first[node + 1]) belong to a node
  std::size_t trainable = 0;    ///< elements of the flat buffers, with the gaps
  std::size_t statistics = 0;
  std::size_t count = 0;  ///< values without the gaps, running statistics included
  std::size_t trainable_count = 0;

  template <int Entries, int Nodes>
  constexpr basic_parameter_table<Entries, Nodes> fitted() const {
    basic_parameter_table<Entries, Nodes> small;
    small.entries.assign(entries);
    for (int id = 0; id <= Nodes; ++id) small.first[id] = first[id];
    small.trainable = trainable;
    small.statistics = statistics;
    small.count = count;
    small.trainable_count = trainable_count;
    return small;
  }
};
using parameter_table = basic_parameter_table<max_parameters, max_nodes>;

template <class Graph>
constexpr parameter_table make_parameter_table(const Graph& g) {
  constexpr std::size_t line = alignment / sizeof(float);
  parameter_table table;
  for (int id = 0; id < g.nodes.size(); ++id) {
    table.first[id] = static_cast<short>(table.entries.size());
    if (g.nodes[id].dead) continue;
    g.visit(id, [&](const auto& l) {
      short index = 0;
      for (const parameter_spec& spec : detail::parameters_of(l, g.inputs_of(id))) {
        std::size_t& end = spec.trainable ? table.trainable : table.statistics;
        table.entries.push_back({static_cast<short>(id), index++, end, spec});
        end += (spec.size() + line - 1) / line * line;
        table.count += spec.size();
        if (spec.trainable) table.trainable_count += spec.size();
      }
    });
  }
  table.first[g.nodes.size()] = static_cast<short>(table.entries.size());
  return table;
}

/// The trainable tensors by their multipliers, neighbours of equal ones as one group; none where all are 1.
template <int MaxEntries, int MaxNodes>
constexpr fixed_vector<parameter_group, MaxEntries> make_parameter_groups(
    const basic_parameter_table<MaxEntries, MaxNodes>& table) {
  fixed_vector<parameter_group, MaxEntries> groups;
  for (const parameter& p : table.entries) {
    if (!p.spec.trainable) continue;
    const parameter_group next{table.trainable, p.spec.rate, p.spec.decay};
    if (!groups.empty()) {
      parameter_group& last = groups[groups.size() - 1];
      if (last == next) continue;
      last.end = p.offset;
    }
    groups.push_back(next);
  }
  if (groups.size() == 1 && groups[0] == parameter_group{table.trainable}) groups.clear();
  return groups;
}

namespace detail {

/// Writes where each entry of a table lies, in flat buffers of the trainable tensors and the others, to
/// `pointers`.
template <class T, class Table>
void locate(const Table& table, const T* parameters, const T* statistics, std::span<const T*> pointers) {
  for (std::size_t e = 0; e < pointers.size(); ++e) {
    const parameter& p = table.entries[static_cast<int>(e)];
    pointers[e] = (p.spec.trainable ? parameters : statistics) + p.offset;
  }
}

/// The weights that upsample by s, for kernels of 2 s - s % 2 pixels: a tent over the kernel, for each
/// channel to itself; zero between different channels. Kernels of one channel each have dims[3] = 1.
template <class T>
void fill_bilinear(const parameter_spec& spec, std::span<T> values) {
  const auto tent = [](int at, int size) {
    const int factor = (size + 1) / 2;
    const double centre = size % 2 != 0 ? factor - 1.0 : factor - 0.5;
    return 1.0 - std::abs(at - centre) / factor;
  };
  std::size_t i = 0;
  for (int k = 0; k < spec.dims[0]; ++k)
    for (int r = 0; r < spec.dims[1]; ++r)
      for (int s = 0; s < spec.dims[2]; ++s)
        for (int c = 0; c < spec.dims[3]; ++c)
          values[i++] = c == k || spec.dims[3] == 1
                            ? static_cast<T>(tent(r, spec.dims[1]) * tent(s, spec.dims[2]))
                            : T(0);
}

/// Fills one tensor with its initial values; `key` makes tensors differ.
template <class T>
void initialise(const parameter_spec& spec, std::span<T> values, std::uint64_t seed, std::uint64_t key) {
  switch (spec.init) {
    case initializer::zeros:
      std::fill(values.begin(), values.end(), T(0));
      break;
    case initializer::ones:
      std::fill(values.begin(), values.end(), T(1));
      break;
    case initializer::glorot_uniform: {
      const double window = spec.dims[1] * spec.dims[2];
      const double limit = std::sqrt(6.0 / (window * (spec.dims[0] + spec.dims[3])));
      random_stream random{seed, 0x696e6974, key};
      for (T& x : values) x = static_cast<T>(random.uniform(-limit, limit));
      break;
    }
    case initializer::he_normal: {
      const int fan_in = spec.fan_in > 0 ? spec.fan_in : spec.dims[1] * spec.dims[2] * spec.dims[3];
      const double deviation = std::sqrt(2.0 / fan_in);
      random_stream random{seed, 0x696e6974, key};
      for (T& x : values) x = static_cast<T>(deviation * random.normal());
      break;
    }
    case initializer::bilinear:
      fill_bilinear(spec, values);
      break;
  }
}

}  // namespace detail

/// "encoder.0.conv1.weight": the name of a tensor in checkpoints and messages.
template <class Graph>
std::string parameter_name(const Graph& g, const parameter& p) {
  return std::string(g.nodes[p.node].label.view()) + "." + std::string(p.spec.name);
}

}  // namespace segnet
