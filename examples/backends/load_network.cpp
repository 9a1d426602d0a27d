// SPDX-License-Identifier: MIT
// Every network of the Carvana programs for inference, on the backend SEGNET_BACKEND.
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/summary.hpp>

#include "../carvana_checkpoint.hpp"
#include "../carvana_networks.hpp"

#include <memory>
#include <utility>

namespace carvana {

template <class Backend>
loaded_network load_network_on(const segnet::safetensors_file& file, const segnet::checkpoint_header& header,
                               segnet::network_options with, const device::options& where) {
  with.training = false;
  return with_network(header.variant, header.height, [&]<class Definition>(std::type_identity<Definition>) {
    using network = segnet::network<Definition, Backend>;
    auto net = std::make_shared<network>(with);
    load_checkpoint(file, *net);
    std::string description =
        header.variant + ", " + std::to_string(header.width) + "x" + std::to_string(header.height) + ", " +
        segnet::with_thousands(network::parameter_count) + " parameters, " + device::description(*net, where);
    return loaded_network{header, segnet::segmenter(std::move(net)), std::move(description)};
  });
}

template loaded_network load_network_on<segnet::SEGNET_BACKEND>(const segnet::safetensors_file&,
                                                                const segnet::checkpoint_header&,
                                                                segnet::network_options,
                                                                const device::options&);

}  // namespace carvana
