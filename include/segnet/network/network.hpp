// SPDX-License-Identifier: MIT
// network<Def>: parameters, plan and execution of the network that Def::build() defines.
#pragma once

#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/core/error.hpp>
#include <segnet/graph/passes.hpp>
#include <segnet/memory/machine_memory.hpp>
#include <segnet/memory/memory_plan.hpp>
#include <segnet/network/executor.hpp>
#include <segnet/network/folding.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace segnet {

struct network_options {
  int batch = 1;                     ///< largest number of images in one call
  int threads = 0;                   ///< 0: as many as the machine has
  std::size_t available_memory = 0;  ///< bytes; 0: what the machine says
  bool training = true;              ///< false: only the working memory of inference is allocated, no weights
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

/// Everything about a network that is known while compiling.
template <class Def, class Backend>
struct compiled {
  using scalar = typename Backend::scalar;

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

  static constexpr auto full_training_plan =
      make_schedule<Backend>(training, {.training = true, .scalar_bytes = sizeof(scalar)});
  static constexpr auto training_plan =
      full_training_plan
          .template fitted<full_training_plan.steps.size(), full_training_plan.buffers.size()>();
  static constexpr auto full_inference_plan =
      make_schedule<Backend>(inference, {.training = false, .scalar_bytes = sizeof(scalar)});
  static constexpr auto inference_plan =
      full_inference_plan
          .template fitted<full_inference_plan.steps.size(), full_inference_plan.buffers.size()>();

  static constexpr auto full_table = make_parameter_table(training);
  static constexpr auto table = full_table.template fitted<full_table.entries.size(), nodes>();

  static constexpr auto full_groups = make_parameter_groups(table);
  static constexpr auto groups = [] {
    fixed_vector<parameter_group, full_groups.size()> fitted;
    fitted.assign(full_groups);
    return fitted;
  }();

  static constexpr memory_plan memory{
      .parameters = table.trainable * sizeof(scalar),
      .statistics = table.statistics * sizeof(scalar),
      .folded = align_up(inference_plan.folded * sizeof(scalar)),
      .training_saved = align_up(training_plan.saved_elements * sizeof(scalar)),
      .training_shared = align_up(training_plan.scratch.shared * sizeof(scalar)),
      .training_per_image = training_plan.bytes_per_image,
      .training_per_thread = align_up(training_plan.scratch.per_thread * sizeof(scalar)),
      .inference_shared = align_up(inference_plan.scratch.shared * sizeof(scalar)),
      .inference_per_image = inference_plan.bytes_per_image,
      .inference_per_thread = align_up(inference_plan.scratch.per_thread * sizeof(scalar))};
};

}  // namespace detail

/// A network with its parameters, gradients and working memory, on a backend. All memory is allocated by the
/// constructor; no step allocates. A network made for inference has no weights of its own: it reads them
/// where load_checkpoint() or use_weights() found them. Not copyable; one thread calls at a time.
template <class Def, class Backend = cpu>
class network {
  using facts = detail::compiled<Def, Backend>;

 public:
  using definition = Def;
  using scalar = typename Backend::scalar;
  using images = tensor_view<const scalar>;

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

  /// Throws argument_error for a batch below 1, memory_error when the machine has too little memory.
  explicit network(network_options options = {}) : options_(checked(options)), backend_(options.threads) {
    require_memory();
    tensors_.resize(static_cast<std::size_t>(facts::table.entries.size()));
    const auto batch = static_cast<std::size_t>(options_.batch);
    const auto threads = static_cast<std::size_t>(backend_.threads());
    if (options_.training) {
      parameters_ = aligned_buffer<scalar>(facts::table.trainable);
      gradients_ = aligned_buffer<scalar>(facts::table.trainable);
      statistics_ = aligned_buffer<scalar>(facts::table.statistics);
      saved_ = aligned_buffer<scalar>(facts::training_plan.saved_elements);
      detail::locate<scalar>(facts::table, parameters_.data(), statistics_.data(), tensors_);
    }
    has_weights_ = options_.training || tensors_.empty();
    folded_ = aligned_buffer<scalar>(facts::inference_plan.folded);
    const bool training = options_.training;
    arena_ = aligned_buffer<std::byte>(batch * std::max(facts::inference_plan.bytes_per_image,
                                                        training ? facts::training_plan.bytes_per_image : 0));
    const workspace_size a = facts::inference_plan.scratch;
    const workspace_size b = training ? facts::training_plan.scratch : workspace_size{};
    // Rounded up to whole lines, so that no two threads share one.
    per_thread_ = align_up(std::max(a.per_thread, b.per_thread) * sizeof(scalar)) / sizeof(scalar);
    shared_scratch_ = aligned_buffer<scalar>(std::max(a.shared, b.shared));
    thread_scratch_ = aligned_buffer<scalar>(per_thread_ * threads);
  }

  Backend& backend() { return backend_; }
  int batch() const { return options_.batch; }
  bool for_training() const { return options_.training; }

  /// Sets every parameter and running statistic to its initial value; the same seed, the same values. Like
  /// all that needs the parameters themselves, it throws argument_error in a network made for inference.
  void initialise(std::uint64_t seed) {
    require_training();
    for (const parameter& p : facts::table.entries)
      detail::initialise(p.spec, values(p), seed,
                         static_cast<std::uint64_t>(&p - facts::table.entries.begin()));
    parameters_changed();
  }

  /// The forward pass of training: batch statistics, values kept for backward(). Returns the output's
  /// logits where the network ends in a sigmoid or softmax, else its output; valid until the next call.
  /// Running statistics move with their layer's momentum, or with `momentum_limit` where that is smaller.
  /// Random numbers (dropout) depend on `seed` alone: give every call of a run another one.
  images forward(images batch, double momentum_limit = 1, std::uint64_t seed = 0) {
    check(batch, true);
    dirty_ = true;
    seed_ = seed;
    const auto blocks = run_memory(batch.data);
    const auto run = executor(facts::training, facts::training_plan, facts::table, blocks, batch.n);
    run.forward(true, momentum_limit);
    forward_images_ = batch;
    return {run.data(facts::training_plan.output), batch.n, facts::training.output_shape()};
  }

  /// Where the loss writes its gradient with respect to what forward() returned.
  tensor_view<scalar> output_gradient() {
    const auto blocks = run_memory(forward_images_.data);
    const auto run = executor(facts::training, facts::training_plan, facts::table, blocks, forward_images_.n);
    return {run.data(facts::training_plan.output_gradient), forward_images_.n,
            facts::training.output_shape()};
  }

  /// From output_gradient() to gradients(). With `accumulate` they are added to, else overwritten. The images
  /// given to forward() must still be there. Needs what forward() left, which this and infer() use up.
  void backward(bool accumulate = false) {
    if (forward_images_.n == 0)
      throw argument_error(
          "backward: found no values of a forward pass, expected a call of forward() just before");
    const auto blocks = run_memory(forward_images_.data);
    executor(facts::training, facts::training_plan, facts::table, blocks, forward_images_.n)
        .backward(accumulate);
    forward_images_ = {};
  }

  /// The forward pass of inference, with the running statistics; the convolutions' scales and shifts are
  /// computed from them first if they changed. Returns the network's output (probabilities), valid until the
  /// next call. Throws argument_error for a network made for inference whose weights were never loaded.
  images infer(images batch) {
    check(batch, false);
    forward_images_ = {};
    if (!has_weights_)
      throw argument_error("infer: no weights loaded, expected load_checkpoint() or use_weights() before");
    if (dirty_) fold();
    const auto blocks = run_memory(batch.data);
    const auto run = executor(facts::inference, facts::inference_plan, facts::table, blocks, batch.n);
    run.forward(false);
    return {run.data(facts::inference_plan.output), batch.n, output_shape};
  }

  /// The flat buffers, empty in a network made for inference. Who changes parameters or statistics, through
  /// them or where use_weights() found them, calls parameters_changed() before the next infer().
  std::span<scalar> parameters() { return parameters_.span(); }
  std::span<scalar> gradients() { return gradients_.span(); }
  std::span<scalar> statistics() { return statistics_.span(); }
  void parameters_changed() { dirty_ = true; }

  /// One tensor of the flat buffers; p is an entry of parameter_table().
  std::span<scalar> values(const parameter& p) {
    require_training();
    return (p.spec.trainable ? parameters_ : statistics_).span().subspan(p.offset, p.spec.size());
  }
  std::span<scalar> gradient(const parameter& p) {
    require_training();
    return gradients_.span().subspan(p.offset, p.spec.size());
  }

  /// Gives a network made for inference its weights: `source(p)` says where the values of an entry of
  /// parameter_table() lie, in the order of its dimensions, of any alignment of whole scalars. They are not
  /// copied but read there by every infer(), until other weights are given or the network is gone; `owner` is
  /// kept for as long. Where `source` throws, the network keeps the weights that it had. A null pointer
  /// throws argument_error. Throws argument_error in a network for training, which has weights of its own.
  template <class Source>
  void use_weights(Source&& source, std::shared_ptr<const void> owner = {}) {
    if (options_.training)
      throw argument_error("use_weights: this network was made for training: write to its values() instead");
    auto tensors = tensors_;
    for (std::size_t e = 0; e < tensors.size(); ++e) {
      const parameter& p = facts::table.entries[static_cast<int>(e)];
      tensors[e] = source(p);
      if (tensors[e] == nullptr)
        throw argument_error("use_weights: found no values of " + parameter_name(facts::training, p));
    }
    tensors_ = std::move(tensors);
    weights_owner_ = std::move(owner);
    has_weights_ = true;
    fold();
  }

 private:
  static network_options checked(network_options options) {
    if (options.batch < 1)
      throw argument_error("batch size: found " + std::to_string(options.batch) + ", expected at least 1");
    return options;
  }

  void require_memory() const {
    const std::size_t needed = options_.training ? memory.training_bytes(options_.batch, backend_.threads())
                                                 : memory.inference_bytes(options_.batch, backend_.threads());
    const std::size_t available =
        options_.available_memory > 0 ? options_.available_memory : available_memory();
    if (needed > available)
      throw memory_error(
          std::string(options_.training ? "training" : "inference") + " needs " + in_mebibytes(needed) +
          " (" + in_mebibytes(options_.training ? memory.training_per_image : memory.inference_per_image) +
          " for each of " + std::to_string(options_.batch) + " images), but the machine has " +
          in_mebibytes(available) + " available: take a smaller batch, size or network");
  }
  void require_training() const {
    if (!options_.training)
      throw argument_error("this network was made for inference: network_options::training is false");
  }

  void check(const images& batch, bool training) const {
    if (batch.dims != input_shape)
      throw argument_error("input images: found " + describe(batch.dims) + ", expected " +
                           describe(input_shape));
    if (batch.n < 1 || batch.n > options_.batch)
      throw argument_error("input images: found a batch of " + std::to_string(batch.n) + ", expected 1 to " +
                           std::to_string(options_.batch));
    if (!training) return;
    require_training();
    if constexpr (constexpr int layer = detail::thinnest_normalisation(facts::training); layer >= 0)
      if (facts::training.nodes[layer].dims.pixels() * static_cast<std::size_t>(batch.n) < 2)
        throw argument_error("layer " + std::string(facts::training.nodes[layer].label.view()) +
                             ": batch normalisation sees a single value per channel (" +
                             describe(facts::training.nodes[layer].dims) +
                             ", batch 1): train with a batch of at least 2, or larger images");
  }

  static std::string describe(const shape& s) {
    return std::to_string(s.h) + "x" + std::to_string(s.w) + "x" + std::to_string(s.c);
  }

  void fold() {
    detail::fold<scalar>(facts::inference, facts::inference_plan, facts::table, tensors_.data(),
                         folded_.data());
    dirty_ = false;
  }

  detail::run_memory<scalar> run_memory(const scalar* input) {
    return {.arena = arena_.data(),
            .input = input,
            .tensors = tensors_.data(),
            .gradients = gradients_.data(),
            .statistics = statistics_.data(),
            .saved = saved_.data(),
            .folded = folded_.data(),
            .scratch = {shared_scratch_.data(), thread_scratch_.data(), per_thread_},
            .seed = seed_};
  }

  template <class Graph, class Plan, class Table>
  auto executor(const Graph& g, const Plan& plan, const Table& table,
                const detail::run_memory<scalar>& blocks, int batch) {
    return detail::executor<Backend, Graph, Plan, Table>(backend_, g, plan, table, blocks, batch);
  }

  network_options options_;
  Backend backend_;
  aligned_buffer<scalar> parameters_, gradients_, statistics_, saved_, folded_;
  aligned_buffer<std::byte> arena_;
  aligned_buffer<scalar> shared_scratch_, thread_scratch_;
  std::size_t per_thread_ = 0;
  /// Where each entry of the table lies: in the flat buffers, or wherever use_weights() was told.
  /// (A vector, since an array's size would need the whole plan where a mistake in the definition is
  /// reported.)
  std::vector<const scalar*> tensors_;
  std::shared_ptr<const void> weights_owner_;
  bool has_weights_ = false;
  images forward_images_;
  std::uint64_t seed_ = 0;  ///< of the last forward(), for backward()
  bool dirty_ = true;       ///< folded_ is older than the tensors
};

}  // namespace segnet
