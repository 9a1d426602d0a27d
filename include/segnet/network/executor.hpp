// SPDX-License-Identifier: MIT
// Runs a schedule: for each step, the layer's function over views into the arena. Nothing here allocates.
#pragma once

#include <segnet/graph/schedule.hpp>
#include <segnet/layers/context.hpp>
#include <segnet/network/parameters.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace segnet::detail {

/// What a run needs besides the schedule.
template <class T, class P>
struct run_memory {
  std::byte* arena = nullptr;
  const T* input = nullptr;           ///< the caller's images
  const P* const* tensors = nullptr;  ///< where each entry of the parameter table lies
  P* gradients = nullptr;             ///< flat; training only, as what follows
  P* statistics = nullptr;            ///< flat, the running statistics among `tensors`
  P* saved = nullptr;
  const P* folded = nullptr;  ///< the schedule's scales and shifts; inference only
  segnet::scratch<T> scratch;
  std::uint64_t seed = 0;  ///< of the layers' random numbers
};

/// Binds graph, schedule and memory for one run over `batch` images.
template <class Backend, class Graph, class Schedule, class Table>
class executor {
 public:
  using scalar = typename Backend::scalar;
  using memory = run_memory<scalar, typename Backend::parameter_scalar>;

  executor(Backend& backend, const Graph& g, const Schedule& plan, const Table& table, const memory& blocks,
           int batch)
      : backend_(backend), g_(g), plan_(plan), table_(table), memory_(blocks), batch_(batch) {}

  void forward(bool training, double momentum_limit = 1) const {
    for (int i = 0; i < plan_.forward_steps; ++i) {
      const step& s = plan_.steps[i];
      forward_context<Backend> ctx;
      const auto shapes = g_.inputs_of(s.node);
      ctx.input_shapes = shapes;
      fill(ctx, s);
      ctx.training = training;
      ctx.momentum_limit = momentum_limit;
      ctx.output = {data(s.output), batch_, g_.nodes[s.node].dims};
      ctx.pooled = data(s.pooled);
      if (training) {
        if (s.statistics >= 0) {
          ctx.mean = memory_.saved + s.statistics;
          ctx.variance = ctx.mean + g_.nodes[s.node].dims.c;
        }
        ctx.statistics_given = s.statistics_given;
        if (s.coefficients >= 0) ctx.coefficients = memory_.saved + s.coefficients;
        if (s.front >= 0) ctx.prologue = prologue_of(s);
        for (int e = table_.first[s.node]; e < table_.first[s.node + 1]; ++e)
          if (!table_.entries[e].spec.trainable)
            ctx.statistics[static_cast<std::size_t>(e - table_.first[s.node])] =
                memory_.statistics + table_.entries[e].offset;
      } else if (s.folded >= 0) {
        ctx.scale = memory_.folded + s.folded;
        ctx.shift = ctx.scale + g_.nodes[s.node].dims.c;
      }
      g_.visit(s.node, [&](const auto& l) { l.forward(ctx); });
    }
  }

  void backward(bool accumulate) const {
    for (int i = plan_.forward_steps; i < plan_.steps.size(); ++i) {
      const step& s = plan_.steps[i];
      if (s.recompute) {
        recompute(s);
        continue;
      }
      const graph_node& node = g_.nodes[s.node];
      backward_context<Backend> ctx;
      const auto shapes = g_.inputs_of(s.node);
      ctx.input_shapes = shapes;
      fill(ctx, s);
      ctx.training = true;
      ctx.output = {data(s.output), batch_, node.dims};
      ctx.output_gradient = {data(s.output_gradient), batch_, node.dims};
      for (int k = 0; k < node.inputs.size(); ++k) {
        const auto at = static_cast<std::size_t>(k);
        ctx.input_gradients[at] = {data(s.input_gradients[k]), batch_, g_.nodes[node.inputs[k]].dims};
        ctx.accumulate[at] = s.accumulate[k];
      }
      for (int e = table_.first[s.node]; e < table_.first[s.node + 1]; ++e)
        if (table_.entries[e].spec.trainable)
          ctx.parameter_gradients[static_cast<std::size_t>(e - table_.first[s.node])] =
              memory_.gradients + table_.entries[e].offset;
      ctx.accumulate_parameters = accumulate;
      ctx.centred = s.centred;
      if (s.coefficients >= 0) ctx.slope_sums = slope_sums_of(s);
      if (s.front >= 0) {
        const step& front = plan_.steps[s.front];
        ctx.slopes = {source(front.inputs[0]), prologue_of(s), memory_.saved + front.saved_elements,
                      slope_sums_of(front)};
      }
      g_.visit(s.node, [&](const auto& l) { l.backward(ctx); });
    }
  }

  scalar* data(short buffer) const { return reinterpret_cast<scalar*>(bytes(buffer)); }

 private:
  using parameter_scalar = typename Backend::parameter_scalar;

  const scalar* source(short buffer) const {
    return buffer == external_buffer ? memory_.input : data(buffer);
  }
  /// What a step does to what it reads, and where the sums of a step with coefficients lie.
  conv2d_prologue<parameter_scalar> prologue_of(const step& s) const {
    const step& front = plan_.steps[s.front];
    const parameter_scalar* const scale = memory_.saved + front.coefficients;
    return {scale, scale + g_.nodes[front.node].dims.c, s.front_act};
  }
  parameter_scalar* slope_sums_of(const step& s) const {
    return memory_.saved + s.coefficients + 2 * g_.nodes[s.node].dims.c;
  }

  void recompute(const step& s) const {
    forward_context<Backend> ctx;
    const auto shapes = g_.inputs_of(s.node);
    ctx.input_shapes = shapes;
    fill(ctx, s);
    ctx.training = true;
    ctx.output = {data(s.output), batch_, g_.nodes[s.node].dims};
    g_.visit(s.node, [&](const auto& l) {
      if constexpr (can_recompute<std::remove_cvref_t<decltype(l)>>) {
        static_assert(
            requires { l.recompute(std::as_const(ctx)); },
            "a layer that recomputes has: template <class Backend> void "
            "recompute(const forward_context<Backend>&) const");
        l.recompute(std::as_const(ctx));
      }
    });
  }

  std::byte* bytes(short buffer) const {
    if (buffer < 0) return nullptr;
    return memory_.arena + plan_.buffers[buffer].offset * static_cast<std::size_t>(batch_);
  }

  void fill(layer_context<Backend>& ctx, const step& s) const {
    const graph_node& node = g_.nodes[s.node];
    ctx.backend = &backend_;
    ctx.batch = batch_;
    ctx.input_count = node.inputs.size();
    for (int k = 0; k < node.inputs.size(); ++k)
      ctx.inputs[static_cast<std::size_t>(k)] = {source(s.inputs[k]), batch_, g_.nodes[node.inputs[k]].dims};
    for (int e = table_.first[s.node]; e < table_.first[s.node + 1]; ++e)
      ctx.parameters[static_cast<std::size_t>(e - table_.first[s.node])] = memory_.tensors[e];
    ctx.saved_bytes = reinterpret_cast<std::uint8_t*>(bytes(s.saved));
    ctx.source_saved_bytes = reinterpret_cast<const std::uint8_t*>(bytes(s.source_saved));
    ctx.saved = s.saved_elements < 0 ? nullptr : memory_.saved + s.saved_elements;
    ctx.workspace = data(s.workspace);
    ctx.scratch = memory_.scratch;
    ctx.random_key = {memory_.seed, static_cast<std::uint64_t>(s.node)};
  }

  Backend& backend_;
  const Graph& g_;
  const Schedule& plan_;
  const Table& table_;
  const memory& memory_;
  int batch_;
};

}  // namespace segnet::detail
