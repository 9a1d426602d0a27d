// SPDX-License-Identifier: MIT
// From a graph to the fixed list of steps that a network executes: the forward pass, its differentiation,
// and where every value, gradient and workspace lies. Constexpr, so that a network<Def> holds only the
// result.
#pragma once

#include <segnet/graph/graph.hpp>
#include <segnet/memory/arena_plan.hpp>

#include <algorithm>
#include <type_traits>

namespace segnet {

/// Buffers are numbered; these two numbers are none of them.
inline constexpr short no_buffer = -1;
inline constexpr short external_buffer = -2;  ///< the caller's input images

/// One call of a layer. Buffers are indices into the schedule's list.
struct step {
  short node = -1;
  bool backward = false;
  bool recompute = false;  ///< among the backward steps: writes the node's output once more
  short inputs[max_inputs] = {no_buffer, no_buffer, no_buffer, no_buffer};
  short output = no_buffer;
  short pooled = no_buffer;  ///< a second output: the value of the node's `pooled`
  short output_gradient = no_buffer;
  short input_gradients[max_inputs] = {no_buffer, no_buffer, no_buffer, no_buffer};
  bool accumulate[max_inputs] = {};  ///< add to the input's gradient; its first writer assigns
  short saved = no_buffer;
  short source_saved = no_buffer;  ///< `saved` of the node's saved_source
  short workspace = no_buffer;
  int saved_elements = -1;  ///< offset of the layer's saved scalars in the block of all; -1: none
  int folded = -1;          ///< offset of the scale, and the shift behind it, of a batch-norm folded into it
  int statistics = -1;  ///< offset among the saved scalars of the output's mean, and the variance behind it
  bool statistics_given = false;  ///< the first saved scalars are there before the layer is called
  /// Offset among the saved scalars of a scale and a shift that are written instead of the output, and behind
  /// them of the two sums that the backward pass finds there.
  int coefficients = -1;
  short front = -1;  ///< the forward step that does so, and whose input this step reads in the output's place
  activation front_act = activation::none;
  bool centred = false;  ///< output_gradient sums to 0 in each channel
};

inline constexpr int max_steps = 3 * max_nodes;
inline constexpr int max_buffers = 5 * max_nodes;

template <int MaxSteps, int MaxBuffers>
struct basic_schedule {
  fixed_vector<step, MaxSteps> steps;  ///< forward steps, then backward steps with recomputations among them
  int forward_steps = 0;
  fixed_vector<planned_buffer, MaxBuffers> buffers;
  std::size_t bytes_per_image = 0;
  std::size_t saved_elements = 0;  ///< scalars kept from forward to backward, whatever the batch
  std::size_t folded = 0;          ///< scalars of all scales and shifts
  workspace_size scratch;          ///< the largest that any step asks for
  short output = no_buffer;
  short output_gradient = no_buffer;
  short input_gradient = no_buffer;  ///< only if asked for

  /// The same schedule without room for more, which is what a network keeps.
  template <int Steps, int Buffers>
  constexpr basic_schedule<Steps, Buffers> fitted() const {
    basic_schedule<Steps, Buffers> small;
    small.steps.assign(steps);
    small.buffers.assign(buffers);
    small.forward_steps = forward_steps;
    small.bytes_per_image = bytes_per_image;
    small.saved_elements = saved_elements;
    small.folded = folded;
    small.scratch = scratch;
    small.output = output;
    small.output_gradient = output_gradient;
    small.input_gradient = input_gradient;
    return small;
  }
};
using schedule = basic_schedule<max_steps, max_buffers>;

struct schedule_options {
  bool training = true;
  bool input_gradient = false;  ///< also differentiate with respect to the network's input
  std::size_t scalar_bytes = sizeof(float);
};

namespace detail {

/// The state of scheduling one graph; a class because the parts share many small tables.
template <class Backend, class Graph>
class scheduler {
 public:
  constexpr scheduler(const Graph& g, schedule_options options) : g_(g), options_(options) {
    for (short& buffer : gradient_buffer_) buffer = no_buffer;
    for (short& buffer : recomputed_buffer_) buffer = no_buffer;
  }

  constexpr schedule run() {
    number_steps();
    find_gradients();
    add_forward_steps();
    if (options_.training) add_backward_steps();
    plan_values();
    out_.bytes_per_image =
        plan_arena<max_buffers>({out_.buffers.begin(), static_cast<std::size_t>(out_.buffers.size())});
    return out_;
  }

 private:
  // Time runs over the forward steps 0 ... f-1, the loss at f, and the backward steps from f+1 on.
  constexpr void number_steps() {
    for (int id = 1; id < g_.nodes.size(); ++id) {
      if (g_.nodes[id].dead) continue;
      if (const int writer = g_.nodes[id].writer; writer >= 0) {
        forward_time_[id] = forward_time_[writer];
        continue;
      }
      forward_time_[id] = out_.forward_steps++;
      for (int input : g_.nodes[id].inputs) last_use_[input] = forward_time_[id];
      if (g_.nodes[id].saved_source >= 0) saved_use_[g_.nodes[id].saved_source] = forward_time_[id];
    }
    loss_time_ = out_.forward_steps;
    last_use_[g_.output] = loss_time_;
    int time = loss_time_ + 1;
    for (int id = g_.nodes.size() - 1; id > 0; --id)
      if (!g_.nodes[id].dead) backward_time_[id] = time++;
    end_time_ = time;
  }

  constexpr void find_gradients() {
    has_gradient_[0] = options_.input_gradient;
    for (int id = 1; id < g_.nodes.size(); ++id) {
      if (g_.nodes[id].dead) continue;
      for (int input : g_.nodes[id].inputs) ++readers_[input];
      g_.visit(id, [&](const auto& l) {
        if (centres_gradient<std::remove_cvref_t<decltype(l)>>) centred_[g_.nodes[id].inputs[0]] = true;
        for (const parameter_spec& spec : parameters_of(l, g_.inputs_of(id)))
          has_gradient_[id] |= spec.trainable;
        for (int input : g_.nodes[id].inputs) has_gradient_[id] |= has_gradient_[input];
        if (!options_.training || !has_gradient_[id]) return;
        // What backward() reads again lives until then.
        const backward_needs needs = needs_of(l);
        if (needs.inputs)
          for (int input : g_.nodes[id].inputs)
            if (!recomputed(input)) extend(input, backward_time_[id]);
        if (needs.output) extend(id, backward_time_[id]);
        saved_use_[id] = std::max(saved_use_[id], backward_time_[id]);
        if (const int source = g_.nodes[id].saved_source; source >= 0)
          saved_use_[source] = std::max(saved_use_[source], backward_time_[id]);
      });
    }
  }
  /// Whether a value that backward() reads is computed again instead of kept. Not where the first backward
  /// step wants it, and only from an input that is kept.
  constexpr bool recomputed(int id) const {
    if (!can_recompute(id)) return false;
    for (int input : g_.nodes[id].inputs)
      if (can_recompute(input)) return false;
    for (int input : g_.nodes[g_.output].inputs)
      if (input == id) return false;
    return id != g_.output;
  }
  constexpr bool can_recompute(int id) const {
    bool can = false;
    if (id > 0 && options_.training && has_gradient_[id])
      g_.visit(id, [&](const auto& l) { can = recomputes(l); });
    return can;
  }
  constexpr void extend(int node, int time) { last_use_[node] = std::max(last_use_[node], time); }

  constexpr short new_buffer(std::size_t bytes, int first, int last) {
    out_.buffers.push_back({bytes, first, last, 0});
    return static_cast<short>(out_.buffers.size() - 1);
  }
  constexpr std::size_t value_bytes(int node) const {
    return g_.nodes[node].dims.size() * options_.scalar_bytes;
  }

  /// Elements of any type, rounded up so that what follows starts on a cache line.
  static constexpr std::size_t whole_lines(std::size_t elements) {
    return align_up(elements * sizeof(float)) / sizeof(float);
  }

  constexpr void add_forward_steps() {
    value_buffer_[0] = external_buffer;
    for (int id = 1; id < g_.nodes.size(); ++id) {
      const graph_node& node = g_.nodes[id];
      if (node.dead || node.writer >= 0) continue;
      const int time = forward_time_[id];
      step s;
      s.node = static_cast<short>(id);
      for (int i = 0; i < node.inputs.size(); ++i) s.inputs[i] = value_buffer_[node.inputs[i]];
      g_.visit(id, [&](const auto& l) {
        const auto in = g_.inputs_of(id);
        const int input = node.inputs[0];
        if (in_place(l) && node.inputs.size() == 1 && s.inputs[0] >= 0 && last_use_[input] == time &&
            g_.nodes[input].dims == node.dims)
          value_buffer_[id] = s.inputs[0];
        else if (is_applied_by_reader(id))
          value_buffer_[id] = no_buffer;
        else
          value_buffer_[id] = new_buffer(value_bytes(id), time, time);
        add_scratch(s, workspace_of<Backend>(l, in, false), time);
        const saved_size saved = saved_of(l, in);
        if (saved.bytes_per_image > 0 && saved_use_[id] > 0)
          s.saved = new_buffer(saved.bytes_per_image, time, saved_use_[id]);
        if (options_.training && has_gradient_[id]) {
          if (saved.elements > 0) s.saved_elements = static_cast<int>(out_.saved_elements);
          out_.saved_elements += whole_lines(saved.elements);
          if (takes_statistics<std::remove_cvref_t<decltype(l)>>) ask_for_statistics(s, input);
        }
        if (value_buffer_[id] == no_buffer) {
          s.coefficients = static_cast<int>(out_.saved_elements);
          out_.saved_elements += whole_lines(4 * static_cast<std::size_t>(node.dims.c));
        }
        if (input > 0 && g_.nodes[input].writer < 0 && s.inputs[0] == no_buffer) {
          s.front = static_cast<short>(forward_time_[input]);
          s.inputs[0] = out_.steps[s.front].inputs[0];
          g_.visit(input, [&](const auto& front) {
            if constexpr (gives_coefficients<std::remove_cvref_t<decltype(front)>>) s.front_act = front.act;
          });
        }
      });
      if (node.saved_source >= 0) s.source_saved = out_.steps[forward_time_[node.saved_source]].saved;
      if (node.folded >= 0) {
        s.folded = static_cast<int>(out_.folded);
        out_.folded += whole_lines(2 * static_cast<std::size_t>(node.dims.c));
      }
      s.output = value_buffer_[id];
      if (node.pooled >= 0)
        s.pooled = value_buffer_[node.pooled] = new_buffer(value_bytes(node.pooled), time, time);
      out_.steps.push_back(s);
    }
    out_.output = value_buffer_[g_.output];
  }

  /// Whether a layer's only reader does what it would do, so that its output need not be written. The
  /// backward pass computes that again.
  constexpr bool is_applied_by_reader(int id) const {
    if constexpr (takes_prologue<Backend>) {
      if (!options_.training || readers_[id] != 1 || !recomputed(id)) return false;
      bool gives = false, takes = false;
      g_.visit(id, [&](const auto& l) { gives = gives_coefficients<std::remove_cvref_t<decltype(l)>>; });
      if (!gives) return false;
      for (int reader = id + 1; reader < g_.nodes.size(); ++reader) {
        const graph_node& node = g_.nodes[reader];
        if (node.dead || node.inputs.size() != 1 || node.inputs[0] != id) continue;
        g_.visit(reader, [&](const auto& l) {
          if constexpr (requires { l.takes_prologue(1); }) takes = l.takes_prologue(1);
        });
      }
      return takes;
    }
    return false;
  }

  /// Where a step takes its input's statistics, the layer that writes this input gives them, if it can.
  constexpr void ask_for_statistics(step& s, int input) {
    if (input == 0 || g_.nodes[input].writer >= 0) return;
    step& producer = out_.steps[forward_time_[input]];
    g_.visit(input, [&](const auto& l) {
      if (gives_statistics<std::remove_cvref_t<decltype(l)>> && producer.statistics < 0) {
        producer.statistics = s.saved_elements;
        s.statistics_given = true;
      }
    });
  }

  constexpr void add_backward_steps() {
    if (!has_gradient_[g_.output]) return;
    gradient_buffer_[g_.output] = new_buffer(value_bytes(g_.output), loss_time_, loss_time_);
    out_.output_gradient = gradient_buffer_[g_.output];
    for (int id = g_.nodes.size() - 1; id > 0; --id) {
      const graph_node& node = g_.nodes[id];
      // No gradient reaches a value that the output does not depend on.
      if (node.dead || !has_gradient_[id] || gradient_buffer_[id] == no_buffer) continue;
      const int time = backward_time_[id];
      step s = out_.steps[forward_time_[id]];
      s.backward = true;
      s.workspace = no_buffer;
      s.output_gradient = gradient_buffer_[id];
      s.centred = centred_[id] && readers_[id] == 1 && id != g_.output;
      out_.buffers[s.output_gradient].last = time;
      g_.visit(id, [&](const auto& l) {
        const backward_needs needs = needs_of(l);
        if (!needs.output) s.output = no_buffer;
        add_scratch(s, workspace_of<Backend>(l, g_.inputs_of(id), true), time);
        for (int i = 0; i < node.inputs.size(); ++i) {
          const int input = node.inputs[i];
          if (!needs.inputs)
            s.inputs[i] = no_buffer;
          else if (recomputed(input))
            s.inputs[i] = recompute(input, time);
          if (!has_gradient_[input]) continue;
          short& gradient = gradient_buffer_[input];
          s.accumulate[i] = gradient != no_buffer;
          if (gradient == no_buffer)
            gradient = gradient_in_place(l) && node.inputs.size() == 1 && g_.nodes[input].dims == node.dims
                           ? s.output_gradient
                           : new_buffer(value_bytes(input), time, time);
          out_.buffers[gradient].last = std::max(out_.buffers[gradient].last, time);
          s.input_gradients[i] = gradient;
        }
      });
      out_.steps.push_back(s);
    }
    out_.input_gradient = gradient_buffer_[0];
    if (out_.input_gradient >= 0) out_.buffers[out_.input_gradient].last = end_time_;
  }

  /// The buffer that holds a recomputed value at a time; the first to ask adds the step that fills it.
  constexpr short recompute(int id, int time) {
    short& buffer = recomputed_buffer_[id];
    if (buffer == no_buffer) {
      buffer = new_buffer(value_bytes(id), time, time);
      step s = out_.steps[forward_time_[id]];
      s.backward = s.recompute = true;
      s.workspace = no_buffer;
      s.output = buffer;
      out_.steps.push_back(s);
    }
    out_.buffers[buffer].last = time;
    return buffer;
  }

  constexpr void add_scratch(step& s, const layer_workspace& need, int time) {
    if (need.per_image > 0) s.workspace = new_buffer(need.per_image * options_.scalar_bytes, time, time);
    out_.scratch.per_thread = std::max(out_.scratch.per_thread, need.scratch.per_thread);
    out_.scratch.shared = std::max(out_.scratch.shared, need.scratch.shared);
  }

  constexpr void plan_values() {
    for (int id = 1; id < g_.nodes.size(); ++id)
      if (!g_.nodes[id].dead && value_buffer_[id] != no_buffer) {
        planned_buffer& buffer = out_.buffers[value_buffer_[id]];
        buffer.last = std::max({buffer.last, forward_time_[id], last_use_[id]});
      }
  }

  const Graph& g_;
  schedule_options options_;
  schedule out_;
  int loss_time_ = 0;
  int end_time_ = 0;  ///< after the last backward step
  int forward_time_[max_nodes]{};
  int backward_time_[max_nodes]{};
  int last_use_[max_nodes]{};
  int saved_use_[max_nodes]{};  ///< of the bytes that a node's layer saves; 0: nobody reads them
  bool has_gradient_[max_nodes]{};
  int readers_[max_nodes]{};
  bool centred_[max_nodes]{};  ///< by one of its readers
  short value_buffer_[max_nodes]{};
  short gradient_buffer_[max_nodes]{};
  short recomputed_buffer_[max_nodes]{};
};

}  // namespace detail

/// Schedules a (rewritten) graph for a backend.
template <class Backend, class Graph>
constexpr schedule make_schedule(const Graph& g, schedule_options options) {
  return detail::scheduler<Backend, Graph>(g, options).run();
}

}  // namespace segnet
