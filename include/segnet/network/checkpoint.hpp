// SPDX-License-Identifier: MIT
// A network's parameters in a safetensors file, under the names that its definition gave them.
#pragma once

#include <segnet/io/safetensors.hpp>
#include <segnet/network/checkpoint_header.hpp>
#include <segnet/network/network.hpp>

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace segnet {

namespace detail {

/// Tensors of this prefix belong to training, not to the network.
inline constexpr std::string_view training_prefix = "training.";

inline std::string describe(std::span<const std::size_t> dims) {
  std::string text = "[";
  for (std::size_t d : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
  return text + "]";
}

inline std::vector<std::size_t> dims_of(const parameter_spec& spec) {
  return {spec.dims, spec.dims + spec.rank};
}

/// Throws file_error that says which tensors are missing, of another shape or unknown; at most a few of each.
template <class Graph, class Table>
void check_tensors(const safetensors_file& file, const Graph& g, const Table& table) {
  std::vector<std::string> problems;
  std::size_t known = 0;
  for (const parameter& p : table.entries) {
    const std::string label = parameter_name(g, p);
    const stored_tensor* found = file.find(label);
    if (found == nullptr)
      problems.push_back(label + ": missing");
    else if (found->shape != dims_of(p.spec))
      problems.push_back(label + ": found " + describe(found->shape) + ", expected " + describe(dims_of(p.spec)));
    known += found != nullptr;
  }
  const auto extra = [&](const stored_tensor& t) {
    if (t.name.starts_with(training_prefix)) return false;
    for (const parameter& p : table.entries)
      if (parameter_name(g, p) == t.name) return false;
    return true;
  };
  std::size_t of_network = 0;
  for (const stored_tensor& t : file.tensors()) of_network += !t.name.starts_with(training_prefix);
  if (of_network > known)
    for (const stored_tensor& t : file.tensors())
      if (extra(t)) problems.push_back(json_quoted(t.name) + ": unknown to this network");
  if (problems.empty()) return;
  std::string message = "does not fit the network: " + std::to_string(problems.size()) + " of " +
                        std::to_string(table.entries.size()) + " tensors differ";
  constexpr std::size_t shown = 6;
  for (std::size_t i = 0; i < std::min(shown, problems.size()); ++i) message += "\n  " + problems[i];
  if (problems.size() > shown) message += "\n  ... and " + std::to_string(problems.size() - shown) + " more";
  throw file_error(file.path(), message);
}

}  // namespace detail

/// Writes all parameters and running statistics as F32, then `more` tensors (their names start with
/// "training."), to `path`, which is replaced at once or not at all. Throws file_error.
template <class Network>
void save_checkpoint(const std::filesystem::path& path, Network& net, const checkpoint_metadata& metadata,
                     std::vector<stored_tensor> more = {}) {
  static_assert(std::is_same_v<typename Network::scalar, float>, "checkpoints hold single precision");
  std::vector<stored_tensor> tensors;
  for (const parameter& p : Network::parameter_table().entries)
    tensors.push_back({parameter_name(Network::training_graph(), p), dtype::f32, detail::dims_of(p.spec),
                       std::as_bytes(net.values(p))});
  for (stored_tensor& t : more) tensors.push_back(std::move(t));
  write_safetensors(path, std::move(tensors), metadata);
}

/// Fills a network, made for training or for inference, from an open checkpoint. F16, BF16 and F64 tensors
/// are converted. Throws file_error where names or shapes differ; the network is unchanged then.
template <class Network>
void load_checkpoint(const safetensors_file& file, Network& net) {
  static_assert(std::is_same_v<typename Network::scalar, float>, "checkpoints hold single precision");
  const auto& g = Network::training_graph();
  const auto& table = Network::parameter_table();
  detail::check_tensors(file, g, table);
  if (net.for_training()) {
    for (const parameter& p : table.entries) file.read(parameter_name(g, p), net.values(p));
    net.parameters_changed();
    return;
  }
  // Single precision is folded straight from the file's pages; other types are converted first.
  std::vector<std::vector<float>> converted;
  net.fold([&](const parameter& p) -> const float* {
    const std::string label = parameter_name(g, p);
    const stored_tensor& tensor = file.at(label);
    const bool aligned = reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(float) == 0;
    if (tensor.type == dtype::f32 && aligned) return file.f32(label).data();
    file.read(label, converted.emplace_back(p.spec.size()));
    return converted.back().data();
  });
}

}  // namespace segnet
