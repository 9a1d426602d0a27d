// SPDX-License-Identifier: MIT
// The optimizer as a choice of the running program, with what it remembers between steps.
#pragma once

#include <segnet/io/safetensors.hpp>
#include <segnet/memory/aligned_buffer.hpp>
#include <segnet/optim/adam.hpp>
#include <segnet/optim/sgd.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace segnet {

using any_optimizer = std::variant<adam, sgd>;

/// An optimizer with its buffers, of which a checkpoint holds "training.NAME". Adam has two, SGD one.
template <class T>
class optimizer_run {
 public:
  optimizer_run(const any_optimizer& how, std::size_t parameters) : how_(how) {
    for (const char* name : names()) buffers_.push_back({name, aligned_buffer<T>(parameters)});
  }

  /// One step of the network's parameters from its gradients, with the multipliers that its layers ask for;
  /// `steps` counts those of the run.
  template <class Network>
  void step(Network& net, double rate, std::int64_t& steps) {
    const auto with = [&](const auto& optimizer, auto state) {
      optimizer(net.backend(), rate, net.parameters(), net.gradients(), state, 1, net.parameter_groups());
      steps = state.step;
    };
    if (const adam* a = std::get_if<adam>(&how_))
      with(*a, adam_state<T>{buffers_[0].values.span(), buffers_[1].values.span(), steps});
    else
      with(std::get<sgd>(how_), sgd_state<T>{buffers_[0].values.span(), steps});
    net.parameters_changed();
  }

  /// For a checkpoint; the buffers must stay until it is written.
  void append_to(std::vector<stored_tensor>& tensors) const {
    for (const buffer& b : buffers_)
      tensors.push_back({b.name, dtype::f32, {b.values.size()}, std::as_bytes(b.values.span())});
  }

  /// Throws file_error where the file's run had another optimizer.
  void read(const safetensors_file& file) {
    for (const buffer& b : buffers_)
      if (file.find(b.name) == nullptr)
        throw file_error(file.path(),
                         "holds no " + std::string(b.name) + ": the run was started with another optimizer");
    for (buffer& b : buffers_) file.read(b.name, b.values.span());
  }

 private:
  struct buffer {
    const char* name;
    aligned_buffer<T> values;
  };

  std::vector<const char*> names() const {
    if (std::holds_alternative<adam>(how_)) return {"training.adam.m", "training.adam.v"};
    return {"training.sgd.velocity"};
  }

  any_optimizer how_;
  std::vector<buffer> buffers_;
};

}  // namespace segnet
