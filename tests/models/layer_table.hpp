// SPDX-License-Identifier: MIT
// The layers of a definition as a paper's table has them.
#pragma once

#include <segnet/network/network.hpp>

#include <memory>
#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

namespace segnet::test {

struct table_row {
  std::string layer;
  shape output;

  friend bool operator==(const table_row&, const table_row&) = default;
  friend std::ostream& operator<<(std::ostream& out, const table_row& row) {
    return out << row.layer << " " << row.output.h << "x" << row.output.w << "x" << row.output.c;
  }
};

/// The layers that tables list, in order: not batch-norm, ReLU, dropout and the final activation, which must
/// have the shape of what they read.
template <class Definition>
std::vector<table_row> layer_table() {
  const auto g = std::make_unique<decltype(Definition::build().finish())>(Definition::build().finish());
  std::vector<table_row> rows;
  if (!g->valid()) return rows;
  for (int id = 1; id < g->nodes.size(); ++id) {
    const graph_node& node = g->nodes[id];
    bool listed = true;
    g->visit(id, [&](const auto& l) {
      const std::string_view type = l.type_name;
      listed = type != "batch_norm" && type != "relu" && type != "dropout" && type != "softmax";
    });
    if (listed || node.dims != g->nodes[node.inputs[0]].dims)
      rows.push_back({std::string(node.label.view()), node.dims});
  }
  return rows;
}

/// Parameters of a convolution with a bias, written as a product as in the papers.
constexpr std::size_t conv(std::size_t kernel, std::size_t in, std::size_t out) {
  return kernel * kernel * in * out + out;
}
/// Scales and shifts of batch-norm.
constexpr std::size_t norm(std::size_t channels) { return 2 * channels; }

/// VGG16's convolutions; the weights of configuration D without its three fully connected layers.
inline constexpr std::size_t vgg16_convolutions =
    conv(3, 3, 64) + conv(3, 64, 64) +                           //
    conv(3, 64, 128) + conv(3, 128, 128) +                       //
    conv(3, 128, 256) + conv(3, 256, 256) + conv(3, 256, 256) +  //
    conv(3, 256, 512) + conv(3, 512, 512) + conv(3, 512, 512) +  //
    conv(3, 512, 512) + conv(3, 512, 512) + conv(3, 512, 512);
static_assert(vgg16_convolutions == 14'714'688);
inline constexpr std::size_t vgg16_norms = norm(64) * 2 + norm(128) * 2 + norm(256) * 3 + norm(512) * 6;

}  // namespace segnet::test
