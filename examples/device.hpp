// SPDX-License-Identifier: MIT
// --device and --precision of the programs: from words on the command line to a backend's type.
#pragma once

#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/core/error.hpp>
#include <segnet/network/network.hpp>
#if defined(SEGNET_HAS_CUDA)
#include <segnet/cuda.hpp>
#endif

#include <CLI/CLI.hpp>
#include <string>
#include <type_traits>

namespace device {

struct options {
  std::string device = "cpu", precision;
  int threads = 0;  ///< of the CPU
  bool deterministic = false;

  bool is_card() const { return device == "cuda"; }
};

inline void add_options(CLI::App& app, options& o) {
  app.add_option("--device", o.device, "where the network runs: cpu, or cuda (an NVIDIA card)")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--precision", o.precision,
                 "of activations and products: fp32, tf32, bf16 or fp16; parameters and sums are fp32")
      ->check(CLI::IsMember({"fp32", "tf32", "bf16", "fp16"}))
      ->default_str("fp32 on the CPU, which has no other; bf16 on a card");
  app.add_flag("--deterministic", o.deterministic,
               "the same bits in every run also on a card, where sums may otherwise be added in any order");
}

/// Returns f(std::type_identity<Backend>{}, options for its networks). Throws argument_error where this
/// program or machine cannot do what was asked for.
template <class F>
auto with_backend(const options& o, F&& f) {
  using namespace segnet;
  const std::string precision = !o.precision.empty() ? o.precision : o.is_card() ? "bf16" : "fp32";
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
      "--device cuda: this program was built without CUDA; train_carvana, infer_carvana and evaluate_carvana "
      "have it where cmake -DSEGNET_CUDA=ON finds the toolkit and cuDNN");
#endif
}

/// "2 threads", or the card and what it computes in.
template <class Network>
std::string description(Network& net, const options& o) {
  if constexpr (Network::backend_type::on_device)
    return net.backend().card().name + ", " + (o.precision.empty() ? "bf16" : o.precision);
  else
    return std::to_string(net.backend().threads()) + " threads";
}

}  // namespace device
