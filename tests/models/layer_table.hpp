// SPDX-License-Identifier: MIT
// The layers of a network as summary() prints them, for comparison with a paper's table.
#pragma once

#include <segnet/network/summary.hpp>

#include <map>
#include <ostream>
#include <sstream>
#include <string>
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

/// The lines of summary() that papers' tables list, in order: not batch-norm, ReLU, dropout and the final
/// activation, which must have the shape of what they read.
template <class Definition>
std::vector<table_row> layer_table() {
  std::istringstream text(summary<network<Definition>>());
  std::vector<table_row> rows;
  std::map<std::string, shape> shapes;
  for (std::string line; std::getline(text, line) && !line.empty();) {
    std::istringstream words(line);
    std::string label, type, parameters, reads;
    shape output;
    char comma;
    words >> label >> type >> output.h >> comma >> output.w >> comma >> output.c >> parameters >> reads;
    if (parameters.empty()) continue;  // the head of the table
    shapes[label] = output;
    if (type == "input") continue;
    const bool listed = type != "batch_norm" && type != "relu" && type != "dropout" && type != "softmax";
    if (listed || output != shapes[reads]) rows.push_back({label, output});
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
