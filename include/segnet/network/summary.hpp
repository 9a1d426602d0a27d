// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/network/network.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace segnet {

/// "1,234,567".
inline std::string with_thousands(std::size_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

/// A table of the network's layers: name, type, output shape, parameters, inputs; then the totals and the
/// memory that training and inference take.
template <class Network>
std::string summary() {
  const auto& table = Network::parameter_table();
  // The definition's own graph, before any fusion, is what its author recognises.
  const auto built = Network::definition::build().finish();

  std::vector<std::vector<std::string>> rows{{"Layer", "Type", "Output (h, w, c)", "Parameters", "Reads"}};
  for (int id = 0; id < built.nodes.size(); ++id) {
    const graph_node& node = built.nodes[id];
    std::string type = "input", reads;
    built.visit(id, [&](const auto& l) { type = std::string(l.type_name); });
    for (int input : node.inputs)
      reads += (reads.empty() ? "" : ", ") + std::string(built.nodes[input].label.view());
    if (node.saved_source >= 0) reads += ", " + std::string(built.nodes[node.saved_source].label.view());
    std::size_t parameters = 0;
    for (int e = table.first[id]; e < table.first[id + 1]; ++e) parameters += table.entries[e].spec.size();
    rows.push_back({std::string(node.label.view()), type,
                    std::to_string(node.dims.h) + ", " + std::to_string(node.dims.w) + ", " +
                        std::to_string(node.dims.c),
                    with_thousands(parameters), reads});
  }

  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      const std::string pad(widths[i] - rows[r][i].size(), ' ');
      line += (i == 3 ? pad + rows[r][i] : rows[r][i] + pad) + "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (r == 0) text += std::string(line.size(), '-') + "\n";
  }
  const memory_plan& m = Network::memory;
  text += "\nparameters " + with_thousands(Network::parameter_count) + ", of which trainable " +
          with_thousands(Network::trainable_count) + "\n";
  text += "memory: weights " + in_mebibytes(m.weights()) + ", training " +
          in_mebibytes(m.training_per_image) + " an image, inference " + in_mebibytes(m.inference_per_image) +
          " an image\n";
  return text;
}

}  // namespace segnet
