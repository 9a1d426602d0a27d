// SPDX-License-Identifier: MIT
// What --device and --precision of the programs ask for: from words to a backend's type.
#pragma once

#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/core/error.hpp>
#include <segnet/network/network.hpp>
#if defined(SEGNET_HAS_CUDA)
#include <segnet/cuda.hpp>
#endif

#include <string>
#include <type_traits>

namespace device {

struct options {
  std::string device = "cpu", precision;
  int threads = 0;  ///< of the CPU
  bool deterministic = false;

  bool is_card() const { return device == "cuda"; }
  std::string chosen_precision() const {
    return !precision.empty() ? precision : is_card() ? "bf16" : "fp32";
  }
};

/// Returns f(std::type_identity<Backend>{}, options for its networks). Throws argument_error where this
/// program or machine cannot do what was asked for.
template <class F>
auto with_backend(const options& o, F&& f) {
  using namespace segnet;
  const std::string precision = o.chosen_precision();
  if (!o.is_card()) {
    if (precision != "fp32")
      throw argument_error("--precision " + precision + ": the CPU computes in fp32; expected --device cuda");
    return f(std::type_identity<cpu>{}, network_options{.threads = o.threads});
  }
#if defined(SEGNET_HAS_CUDA)
  if (const std::string problem = why_no_cuda(); !problem.empty())
    throw argument_error("--device cuda: " + problem);
  const network_options with{.tf32 = precision == "tf32", .deterministic = o.deterministic};
  if (precision == "bf16") return f(std::type_identity<cuda_bf16>{}, with);
  if (precision == "fp16") return f(std::type_identity<cuda_fp16>{}, with);
  return f(std::type_identity<cuda>{}, with);
#else
  throw argument_error(
      "--device cuda: this program was built without CUDA; build it with cmake -DSEGNET_CUDA=ON, which says "
      "what is missing");
#endif
}

/// "2 threads", or the card and what it computes in.
template <class Network>
std::string description(Network& net, const options& o) {
  if constexpr (Network::backend_type::on_device)
    return net.backend().card().name + ", " + o.chosen_precision();
  else
    return std::to_string(net.backend().threads()) + " threads";
}

}  // namespace device
