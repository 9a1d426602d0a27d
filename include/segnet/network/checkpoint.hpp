// SPDX-License-Identifier: MIT
// A network's parameters in a safetensors file, under the names that its definition gave them.
#pragma once

#include <segnet/core/half.hpp>
#include <segnet/io/safetensors.hpp>
#include <segnet/memory/aligned_buffer.hpp>
#include <segnet/network/checkpoint_header.hpp>
#include <segnet/network/network.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
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

/// A tensor as a network wants it.
struct expected_tensor {
  std::string name;
  std::vector<std::size_t> shape;
};

template <class Graph, class Table>
std::vector<expected_tensor> expected_tensors(const Graph& g, const Table& table) {
  std::vector<expected_tensor> all;
  for (const parameter& p : table.entries) all.push_back({parameter_name(g, p), dims_of(p.spec)});
  return all;
}

/// True for a tensor that can be read where it lies in the file.
inline bool holds_floats(const stored_tensor& tensor) {
  return tensor.type == dtype::f32 &&
         reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(float) == 0;
}

/// The values of a floating-point tensor, in the file's pages where they are floats already, else in `copy`.
inline std::span<const float> float_values(const safetensors_file& file, const stored_tensor& tensor,
                                           std::vector<float>& copy) {
  if (holds_floats(tensor)) return file.f32(tensor.name);
  copy.resize(tensor.elements());
  file.read(tensor.name, copy);
  return copy;
}

/// Infinities and NaN alone have all bits of the exponent set. Whole numbers, because compilers use SIMD for
/// their maximum.
inline bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t exponent = 0x7f80'0000;
  std::uint32_t largest = 0;
  for (float x : values) largest = std::max(largest, std::bit_cast<std::uint32_t>(x) & exponent);
  return largest < exponent;
}

/// The same on all threads of a backend that has some: this is the first touch of a mapped file's pages.
template <class Backend>
bool all_finite([[maybe_unused]] Backend& backend, std::span<const float> values) {
  if constexpr (Backend::on_device) {
    return all_finite(values);
  } else {
    constexpr std::size_t grain = std::size_t{1} << 17;
    const auto count = [values](std::size_t begin, std::size_t end) {
      return std::array<double, 1>{all_finite(values.subspan(begin, end - begin)) ? 0.0 : 1.0};
    };
    return backend.template parallel_sum<1>(values.size(), grain, count)[0] == 0.0;
  }
}

/// What is wrong with a tensor that a network wants of a file: missing, of another shape or type, or not
/// finite. Empty if nothing is.
inline std::string tensor_problem(const safetensors_file& file, const expected_tensor& wanted,
                                  const std::function<bool(std::span<const float>)>& finite) {
  const stored_tensor* found = file.find(wanted.name);
  if (found == nullptr) return wanted.name + ": missing";
  if (found->shape != wanted.shape)
    return wanted.name + ": found " + describe(found->shape) + ", expected " + describe(wanted.shape);
  if (found->type != dtype::f32 && found->type != dtype::f16 && found->type != dtype::bf16 &&
      found->type != dtype::f64)
    return wanted.name + ": found " + std::string(name_of(found->type)) + ", expected F32, F16, BF16 or F64";
  // One such weight would turn every mask empty without a word.
  std::vector<float> copy;
  if (!finite(float_values(file, *found, copy))) return wanted.name + ": holds values that are not finite";
  return {};
}

/// Throws file_error with a few of the problems, if there are any.
inline void throw_problems(const safetensors_file& file, const std::vector<std::string>& problems,
                           std::size_t tensors) {
  if (problems.empty()) return;
  std::string message = "does not fit the network of " + std::to_string(tensors) + " tensors, " +
                        std::to_string(problems.size()) + " differ:";
  constexpr std::size_t shown = 6;
  for (std::size_t i = 0; i < std::min(shown, problems.size()); ++i) message += "\n  " + problems[i];
  if (problems.size() > shown) message += "\n  ... and " + std::to_string(problems.size() - shown) + " more";
  throw file_error(file.path(), message);
}

/// Throws file_error that names the tensors with a problem, and those that are unknown; at most a few of
/// them.
inline void check_tensors(const safetensors_file& file, const std::vector<expected_tensor>& expected,
                          const std::function<bool(std::span<const float>)>& finite) {
  std::vector<std::string> problems;
  std::set<std::string_view> names;
  for (const expected_tensor& wanted : expected) {
    names.insert(wanted.name);
    if (std::string problem = tensor_problem(file, wanted, finite); !problem.empty())
      problems.push_back(std::move(problem));
  }
  for (const stored_tensor& t : file.tensors())
    if (!t.name.starts_with(training_prefix) && !names.contains(t.name))
      problems.push_back(json_quoted(t.name) + ": unknown to this network");
  throw_problems(file, problems, expected.size());
}

/// Tensors for inference, and what keeps them alive.
struct checkpoint_weights {
  std::shared_ptr<const void> mapped;
  std::vector<aligned_buffer<float>> converted;

  /// Where the tensor's values lie from now on.
  const float* tensor(const safetensors_file& file, const std::string& name) {
    const stored_tensor& stored = file.at(name);
    if (holds_floats(stored)) {
      mapped = file.owner();
      return file.f32(name).data();
    }
    file.read(name, converted.emplace_back(stored.elements()).span());
    return converted.back().data();
  }
};

}  // namespace detail

/// Writes all parameters and running statistics of a network made for training as F32, then `more` tensors
/// (their names start with "training."), to `path`, which is replaced at once or not at all. Throws
/// file_error.
template <class Network>
void save_checkpoint(const std::filesystem::path& path, Network& net, const checkpoint_metadata& metadata,
                     std::vector<stored_tensor> more = {}) {
  static_assert(std::is_same_v<typename Network::parameter_scalar, float>,
                "checkpoints hold single precision");
  if (!net.for_training())
    throw argument_error("save_checkpoint: a network made for inference has no weights of its own");
  std::vector<stored_tensor> tensors;
  for (const parameter& p : Network::parameter_table().entries)
    tensors.push_back({parameter_name(Network::training_graph(), p), dtype::f32, detail::dims_of(p.spec),
                       std::as_bytes(net.values(p))});
  for (stored_tensor& t : more) tensors.push_back(std::move(t));
  write_safetensors(path, std::move(tensors), metadata);
}

/// Writes an open checkpoint's weights without what a run needs to go on, in half the space: as F16, or as
/// BF16 or F32, but for vectors (biases, scales, statistics), which are few and stay F32. `path` is replaced
/// at once or not at all. Throws file_error, also for a weight that is too large for the type.
inline void export_weights(const safetensors_file& file, const std::filesystem::path& path,
                           dtype type = dtype::f16) {
  if (type != dtype::f16 && type != dtype::bf16 && type != dtype::f32)
    throw argument_error("export_weights: found " + std::string(name_of(type)) +
                         ", expected F16, BF16 or F32");
  std::vector<std::vector<std::byte>> kept;
  std::vector<stored_tensor> tensors;
  for (const stored_tensor& t : file.tensors()) {
    if (t.name.starts_with(detail::training_prefix)) continue;
    std::vector<float> copy;
    const std::span<const float> values = detail::float_values(file, t, copy);
    std::vector<std::byte>& bytes = kept.emplace_back();
    const auto store = [&]<class T>(std::type_identity<T>) {
      bytes.resize(values.size() * sizeof(T));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const T value(values[i]);
        if (std::isfinite(values[i]) && !std::isfinite(static_cast<float>(value)))
          throw file_error(file.path(), t.name + ": " + std::to_string(values[i]) + " is too large for " +
                                            std::string(name_of(type)));
        std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
      }
    };
    const dtype stored = t.shape.size() > 1 ? type : dtype::f32;
    if (stored == dtype::f16)
      store(std::type_identity<float16>{});
    else if (stored == dtype::bf16)
      store(std::type_identity<bfloat16>{});
    else
      store(std::type_identity<float>{});
    tensors.push_back({t.name, stored, t.shape, bytes});
  }
  checkpoint_metadata metadata(file.metadata().begin(), file.metadata().end());
  std::erase_if(metadata, [](const auto& entry) { return entry.first.starts_with("training_"); });
  write_safetensors(path, std::move(tensors), metadata);
}

/// Gives a network the weights of an open checkpoint. One made for training copies them. One made for
/// inference reads them where they lie in the file from then on, and keeps the file's pages for as long,
/// whether `file` still lives or not; F16, BF16 and F64 tensors, and such as are not aligned to floats, are
/// converted to memory that the network keeps. Meanwhile the file may be replaced or deleted but not written
/// over, see mapped_file. The size of the images is no part of the tensors: weights trained at one size load
/// into the network for another. Throws file_error, the network being as before, where names, shapes or types
/// differ or a value is not finite.
template <class Network>
void load_checkpoint(const safetensors_file& file, Network& net) {
  static_assert(std::is_same_v<typename Network::parameter_scalar, float>,
                "checkpoints hold single precision");
  const auto& g = Network::training_graph();
  const auto& table = Network::parameter_table();
  detail::check_tensors(file, detail::expected_tensors(g, table), [&](std::span<const float> values) {
    return detail::all_finite(net.backend(), values);
  });
  if (net.for_training()) {
    for (const parameter& p : table.entries) file.read(parameter_name(g, p), net.values(p));
    net.parameters_changed();
    return;
  }
  const auto kept = std::make_shared<detail::checkpoint_weights>();
  net.use_weights([&](const parameter& p) { return kept->tensor(file, parameter_name(g, p)); }, kept);
}

}  // namespace segnet
