// SPDX-License-Identifier: MIT
// From a checkpoint file to a network that is ready to segment photographs, whichever it is.
#pragma once

#include <segnet/inference/segmenter.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/summary.hpp>

#include "carvana_networks.hpp"
#include "device.hpp"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace carvana {

struct loaded_network {
  segnet::checkpoint_header header;
  segnet::segmenter segment;
  std::string description;  ///< "7-2-7-1, 128x128, 59,973,185 parameters, 4 threads"
};

/// The checkpoint says which network it holds. Throws segnet::error.
inline loaded_network load_network(const std::filesystem::path& weights, const device::options& where) {
  const segnet::safetensors_file file(weights);
  const auto header = segnet::checkpoint_header::from(file);
  if (header.network != "carvana" || header.height != header.width)
    throw segnet::file_error(weights, "holds the network " + nlohmann::json(header.network).dump() + " for " +
                                          std::to_string(header.width) + "x" + std::to_string(header.height) +
                                          " pixels, expected \"carvana\" for a square");
  return with_network(header.variant, header.height, [&]<class Definition>(std::type_identity<Definition>) {
    return device::with_backend(
        where, [&]<class Backend>(std::type_identity<Backend>, segnet::network_options with) {
          using network = segnet::network<Definition, Backend>;
          with.training = false;
          auto net = std::make_shared<network>(with);
          load_checkpoint(file, *net);
          std::string description = header.variant + ", " + std::to_string(header.width) + "x" +
                                    std::to_string(header.height) + ", " +
                                    segnet::with_thousands(network::parameter_count) + " parameters, " +
                                    device::description(*net, where);
          return loaded_network{header, segnet::segmenter(std::move(net)), std::move(description)};
        });
  });
}

}  // namespace carvana
