// SPDX-License-Identifier: MIT
// What train_carvana is asked for, and the run itself.
#pragma once

#include <segnet/network/network_base.hpp>

#include "training_run.hpp"

#include <string>

namespace train_carvana {

struct options : training_run::options {
  std::string variant = "7-2-7-1", boundary_weight = "off";
  int size = 128;

  options() { rate = 5e-3; }

  template <class Self, class F>
  static void each(Self& o, F&& f) {
    training_run::options::each(o, f);
    f("variant", o.variant);
    f("size", o.size);
    f("boundary-weight", o.boundary_weight);
  }
};

inline constexpr training_run::program self{"train_carvana", "carvana"};

/// Trains the network that the options name, on a backend, and returns the program's exit code; compiled from
/// backends/train_carvana.cpp for each of them.
template <class Backend>
int train_on(const options& o, const segnet::network_options& with);

}  // namespace train_carvana
