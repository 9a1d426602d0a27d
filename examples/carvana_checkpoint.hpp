// SPDX-License-Identifier: MIT
// From a checkpoint file to a network that is ready to segment photographs, whichever it is.
#pragma once

#include <segnet/inference/segmenter.hpp>
#include <segnet/io/safetensors.hpp>
#include <segnet/network/checkpoint_header.hpp>
#include <segnet/network/network_base.hpp>

#include "device.hpp"

#include <filesystem>
#include <string>
#include <type_traits>

namespace carvana {

struct loaded_network {
  segnet::checkpoint_header header;
  segnet::segmenter segment;
  std::string description;  ///< "7-2-7-1, 128x128, 59,973,185 parameters, 4 threads"
};

/// The checkpoint's network on a backend; compiled from backends/load_network.cpp for each of them.
template <class Backend>
loaded_network load_network_on(const segnet::safetensors_file& file, const segnet::checkpoint_header& header,
                               segnet::network_options with, const device::options& where);

/// The checkpoint says which network it holds. Throws segnet::error.
inline loaded_network load_network(const std::filesystem::path& weights, const device::options& where) {
  const segnet::safetensors_file file(weights);
  const auto header = segnet::checkpoint_header::from(file);
  if (header.network != "carvana" || header.height != header.width)
    throw segnet::file_error(weights, "holds the network " + nlohmann::json(header.network).dump() + " for " +
                                          std::to_string(header.width) + "x" + std::to_string(header.height) +
                                          " pixels, expected \"carvana\" for a square");
  return device::with_backend(
      where, [&]<class Backend>(std::type_identity<Backend>, const segnet::network_options& with) {
        return load_network_on<Backend>(file, header, with, where);
      });
}

}  // namespace carvana
