// SPDX-License-Identifier: MIT
// What the compiler knows of a network, and what the networks of all backends have in common.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/tensor_view.hpp>
#include <segnet/graph/passes.hpp>
#include <segnet/graph/schedule.hpp>
#include <segnet/memory/memory_plan.hpp>
#include <segnet/network/folding.hpp>
#include <segnet/network/parameters.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace segnet {

struct network_options {
  int batch = 1;                     ///< largest number of images in one call
  int threads = 0;                   ///< of the CPU's backend; 0: as many as the machine has
  std::size_t available_memory = 0;  ///< bytes; 0: what the machine, or the card, says
  bool training = true;              ///< false: only the working memory of inference is allocated, no weights
  int device = 0;                    ///< which card, for a backend on cards; see basic_cuda::make_current()
  bool tf32 = false;  ///< such a backend may round the factors of float products to 11 significant bits
  /// Such a backend gives the same bits in every run, as the CPU's always does; else it may add up batch
  /// statistics in any order, which is faster.
  bool deterministic = false;
};

namespace detail {

/// Names the undefined network_error<...>, which is the message, unless the definition is valid.
template <class Def, graph_error What, int Layer, shape Found, shape Expected>
struct definition_check {
  network_error<Def, What, Layer, Found, Expected> mistake;
};
template <class Def, int Layer, shape Found, shape Expected>
struct definition_check<Def, graph_error::none, Layer, Found, Expected> {};

/// The graph of a definition. After a mistake the rest of the program is compiled with a graph without
/// layers, so that the one message stays the only one.
template <class Def>
constexpr auto checked_definition() {
  constexpr auto built = Def::build().finish();
  constexpr graph_mistake m = built.mistake;
  static_assert(sizeof(definition_check<Def, m.what, m.node, m.found, m.expected>) > 0);
  if constexpr (m.what != graph_error::none)
    return std::remove_const_t<decltype(built)>::without_layers();
  else
    return built;
}

/// What is known of a network while compiling, whatever it runs on.
template <class Def>
struct compiled_graphs {
  static constexpr auto built = checked_definition<Def>();
  static constexpr int nodes = built.nodes.size();

  static constexpr auto kinds = built.kinds();

  /// As the program keeps it: a network without transposed convolutions does not compile theirs.
  template <class Graph>
  static constexpr auto fitted(const Graph& g) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return g.template fitted<nodes, kinds[static_cast<int>(I)]...>();
    }
    (std::make_index_sequence<static_cast<std::size_t>(kinds.size())>{});
  }
  static constexpr auto training = fitted(training_graph(built));
  static constexpr auto inference = fitted(inference_graph(built));

  static constexpr auto full_table = make_parameter_table(training);
  static constexpr auto table = full_table.template fitted<full_table.entries.size(), nodes>();

  static constexpr auto full_groups = make_parameter_groups(table);
  static constexpr auto groups = [] {
    fixed_vector<parameter_group, full_groups.size()> fitted;
    fitted.assign(full_groups);
    return fitted;
  }();
};

/// The schedules of a definition. They depend on what a backend needs beside the tensors and on the size of a
/// scalar, but not on what a scalar is: see scheduled_as.
template <class Def, class Backend>
struct compiled_schedules {
  using graphs = compiled_graphs<Def>;
  static constexpr std::size_t scalar_bytes = sizeof(typename Backend::scalar);

  static constexpr auto full_training_plan =
      make_schedule<Backend>(graphs::training, {.training = true, .scalar_bytes = scalar_bytes});
  static constexpr auto training_plan =
      full_training_plan
          .template fitted<full_training_plan.steps.size(), full_training_plan.buffers.size()>();
  static constexpr auto full_inference_plan =
      make_schedule<Backend>(graphs::inference, {.training = false, .scalar_bytes = scalar_bytes});
  static constexpr auto inference_plan =
      full_inference_plan
          .template fitted<full_inference_plan.steps.size(), full_inference_plan.buffers.size()>();
};

/// The backend whose schedules a backend takes: its own, unless it names another.
template <class Backend>
struct scheduled_as {
  using type = Backend;
};
template <class Backend>
requires requires { typename Backend::scheduled_as; }
struct scheduled_as<Backend> {
  using type = typename Backend::scheduled_as;
};

/// Everything about a network that is known while compiling. Programs that hold a network for several
/// backends keep, and compile, one copy of what these have in common.
template <class Def, class Backend>
struct compiled {
  using scalar = typename Backend::scalar;
  using parameter_scalar = typename Backend::parameter_scalar;
  using graphs = compiled_graphs<Def>;
  using schedules = compiled_schedules<Def, typename scheduled_as<Backend>::type>;

  // Members rather than bases: a mistake in the definition would leave a class without them, and the one
  // message with many behind it.
  static constexpr const auto& built = graphs::built;
  static constexpr const auto& training = graphs::training;
  static constexpr const auto& inference = graphs::inference;
  static constexpr const auto& table = graphs::table;
  static constexpr const auto& groups = graphs::groups;
  static constexpr const auto& training_plan = schedules::training_plan;
  static constexpr const auto& inference_plan = schedules::inference_plan;

  static constexpr memory_plan memory{
      .parameters = table.trainable * sizeof(parameter_scalar),
      .statistics = table.statistics * sizeof(parameter_scalar),
      .folded = align_up(inference_plan.folded * sizeof(parameter_scalar)),
      .training_saved = align_up(training_plan.saved_elements * sizeof(parameter_scalar)),
      .training_shared = align_up(training_plan.scratch.shared * sizeof(scalar)),
      .training_per_image = training_plan.bytes_per_image,
      .training_per_thread = align_up(training_plan.scratch.per_thread * sizeof(scalar)),
      .inference_shared = align_up(inference_plan.scratch.shared * sizeof(scalar)),
      .inference_per_image = inference_plan.bytes_per_image,
      .inference_per_thread = align_up(inference_plan.scratch.per_thread * sizeof(scalar))};
};

}  // namespace detail

/// The part of a network that its memory does not matter to.
template <class Def, class Backend>
class network_base {
 protected:
  using facts = detail::compiled<Def, Backend>;

 public:
  using definition = Def;
  using backend_type = Backend;
  using scalar = typename Backend::scalar;  ///< of activations
  using parameter_scalar = typename Backend::parameter_scalar;
  using images = tensor_view<const parameter_scalar>;

  /// Bytes of everything, for static_assert and for asking before starting; see memory_plan.
  static constexpr memory_plan memory = facts::memory;
  static constexpr shape input_shape = facts::built.input_shape();
  static constexpr shape output_shape = facts::built.output_shape();
  /// All values: trainable ones and running statistics.
  static constexpr std::size_t parameter_count = facts::table.count;
  static constexpr std::size_t trainable_count = facts::table.trainable_count;

  static constexpr const auto& training_graph() { return facts::training; }
  static constexpr const auto& inference_graph() { return facts::inference; }
  static constexpr const auto& training_schedule() { return facts::training_plan; }
  static constexpr const auto& inference_schedule() { return facts::inference_plan; }
  static constexpr const auto& parameter_table() { return facts::table; }
  /// The flat buffers by the multipliers that the layers ask for, as optimizers take them.
  static constexpr std::span<const parameter_group> parameter_groups() {
    return {facts::groups.begin(), facts::groups.end()};
  }

  int batch() const { return options_.batch; }
  bool for_training() const { return options_.training; }

 protected:
  /// Throws argument_error for a batch below 1.
  explicit network_base(const network_options& options) : options_(options) {
    if (options.batch < 1)
      throw argument_error("batch size: found " + std::to_string(options.batch) + ", expected at least 1");
  }

  /// Throws memory_error where `available` bytes of `owner` ("the machine") are too few for `needed`.
  void require_memory(std::size_t needed, std::size_t available, const std::string& owner) const {
    if (options_.available_memory > 0) available = options_.available_memory;
    if (needed <= available) return;
    throw memory_error(
        std::string(options_.training ? "training" : "inference") + " needs " + in_mebibytes(needed) + " (" +
        in_mebibytes(options_.training ? memory.training_per_image : memory.inference_per_image) +
        " for each of " + std::to_string(options_.batch) + " images), but " + owner + " has " +
        in_mebibytes(available) + " available: take a smaller batch, size or network");
  }
  void require_training() const {
    if (!options_.training)
      throw argument_error("this network was made for inference: network_options::training is false");
  }

  /// Throws argument_error for images that the network cannot take.
  void check(int count, const shape& dims, bool training) const {
    if (dims != input_shape)
      throw argument_error("input images: found " + describe(dims) + ", expected " + describe(input_shape));
    if (count < 1 || count > options_.batch)
      throw argument_error("input images: found a batch of " + std::to_string(count) + ", expected 1 to " +
                           std::to_string(options_.batch));
    if (!training) return;
    require_training();
    if constexpr (constexpr int layer = detail::thinnest_normalisation(facts::training); layer >= 0)
      if (facts::training.nodes[layer].dims.pixels() * static_cast<std::size_t>(count) < 2)
        throw argument_error("layer " + std::string(facts::training.nodes[layer].label.view()) +
                             ": batch normalisation sees a single value per channel (" +
                             describe(facts::training.nodes[layer].dims) +
                             ", batch 1): train with a batch of at least 2, or larger images");
  }

  static std::string describe(const shape& s) {
    return std::to_string(s.h) + "x" + std::to_string(s.w) + "x" + std::to_string(s.c);
  }

  network_options options_;
};

}  // namespace segnet
