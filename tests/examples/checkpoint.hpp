// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/models/carvana.hpp>
#include <segnet/network/checkpoint.hpp>

#include <filesystem>
#include <span>
#include <utility>
#include <vector>

namespace segnet_test {

/// The header of a checkpoint of the network "lite" for 128x128 pixels.
inline segnet::checkpoint_header lite_header() {
  segnet::checkpoint_header header;
  header.network = "carvana";
  header.variant = "lite";
  header.filters = "8,8,16,32,64,128,192";
  header.height = header.width = 128;
  header.val_fraction = 0.5;
  header.split_seed = 3;
  return header;
}

/// A checkpoint of initial values, whose masks mean nothing but have both values. Made without an object of
/// the network, which would have all of the backend compiled into the tests.
inline void write_random_checkpoint(const std::filesystem::path& file,
                                    const segnet::checkpoint_header& header = lite_header()) {
  using network = segnet::network<segnet::carvana_lite<128>>;
  std::vector<std::vector<float>> values;
  std::vector<segnet::stored_tensor> tensors;
  for (const segnet::parameter& p : network::parameter_table().entries) {
    values.emplace_back(p.spec.size());
    segnet::detail::initialise(p.spec, std::span(values.back()), 1, values.size());
    tensors.push_back({segnet::parameter_name(network::training_graph(), p), segnet::dtype::f32,
                       segnet::detail::dims_of(p.spec), std::as_bytes(std::span(values.back()))});
  }
  segnet::write_safetensors(file, std::move(tensors), header.to_metadata());
}

}  // namespace segnet_test
