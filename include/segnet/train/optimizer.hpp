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

namespace detail {

/// What an optimizer remembers, under the names that checkpoints have for it: two buffers of Adam's, one of
/// SGD's, each as large as the parameters.
inline std::vector<const char*> optimizer_state_names(const any_optimizer& how) {
  if (std::holds_alternative<adam>(how)) return {"training.adam.m", "training.adam.v"};
  return {"training.sgd.velocity"};
}

/// Throws file_error where the file's run had another optimizer.
inline void check_optimizer_state(const safetensors_file& file, const any_optimizer& how) {
  for (const char* name : optimizer_state_names(how))
    if (file.find(name) == nullptr)
      throw file_error(file.path(),
                       "holds no " + std::string(name) + ": the run was started with another optimizer");
}

}  // namespace detail

/// An optimizer with its buffers.
template <class T>
class optimizer_run {
 public:
  optimizer_run(const any_optimizer& how, std::size_t parameters) : how_(how) {
    for (const char* name : detail::optimizer_state_names(how))
      buffers_.push_back({name, aligned_buffer<T>(parameters)});
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
    detail::check_optimizer_state(file, how_);
    for (buffer& b : buffers_) file.read(b.name, b.values.span());
  }

 private:
  struct buffer {
    const char* name;
    aligned_buffer<T> values;
  };

  any_optimizer how_;
  std::vector<buffer> buffers_;
};

}  // namespace segnet
