// SPDX-License-Identifier: MIT
// network<Def>: parameters, plan and execution of the network that Def::build() defines.
#pragma once

#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/memory/aligned_buffer.hpp>
#include <segnet/memory/machine_memory.hpp>
#include <segnet/network/executor.hpp>
#include <segnet/network/folding.hpp>
#include <segnet/network/network_base.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace segnet {

/// A network with its parameters, gradients and working memory, on a backend. All memory is allocated by the
/// constructor; no step allocates. A network made for inference has no weights of its own: it reads them
/// where load_checkpoint() or use_weights() found them. Not copyable; one thread calls at a time.
template <class Def, class Backend = cpu>
class network : public network_base<Def, Backend> {
  using base = network_base<Def, Backend>;
  using base::options_, base::check, base::require_training;
  using typename base::facts;

 public:
  using base::input_shape, base::memory, base::output_shape;
  using typename base::images;
  using typename base::parameter_scalar;
  using typename base::scalar;

  /// Throws argument_error for a batch below 1, memory_error when the machine has too little memory.
  explicit network(network_options options = {}) : base(options), backend_(options.threads) {
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
    check(batch.n, batch.dims, true);
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
    check(batch.n, batch.dims, false);
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
  void require_memory() const {
    const int threads = backend_.threads();
    base::require_memory(options_.training ? memory.training_bytes(options_.batch, threads)
                                           : memory.inference_bytes(options_.batch, threads),
                         available_memory(), "the machine");
  }

  void fold() {
    detail::fold<scalar>(facts::inference, facts::inference_plan, facts::table, tensors_.data(),
                         folded_.data());
    dirty_ = false;
  }

  detail::run_memory<scalar, parameter_scalar> run_memory(const scalar* input) {
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
                const detail::run_memory<scalar, parameter_scalar>& blocks, int batch) {
    return detail::executor<Backend, Graph, Plan, Table>(backend_, g, plan, table, blocks, batch);
  }

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
