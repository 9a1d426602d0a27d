// SPDX-License-Identifier: MIT
// --device and --precision on the command line. Not in device.hpp, which is compiled for each backend: CLI11
// takes seconds.
#pragma once

#include "device.hpp"

#include <CLI/CLI.hpp>

namespace device {

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

}  // namespace device
