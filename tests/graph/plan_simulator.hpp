// SPDX-License-Identifier: MIT
// Plays a schedule step by step without computing anything: every cache line of the arena remembers who wrote
// it last, and every read must find what it expects. Which values a step reads is taken from the graph, not
// from the schedule.
#pragma once

#include <segnet/graph/schedule.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace segnet::test {

template <class Backend, class Graph, class Schedule>
class plan_simulator {
 public:
  plan_simulator(const Graph& g, const Schedule& plan, schedule_options options)
      : g_(g), plan_(plan), options_(options), lines_(plan.bytes_per_image / alignment, 0) {
    count_gradients();
  }

  /// The first thing that goes wrong; empty if nothing does.
  std::string run() {
    for (int i = 0; i < plan_.forward_steps && problem_.empty(); ++i) forward(plan_.steps[i]);
    const int out = g_.output;
    read(plan_.output, value_of(out), "the output");
    if (options_.training && has_gradient_[out]) {
      write(plan_.output_gradient, out, gradient_of(out, 1));
      written_[out] = 1;
      read(plan_.output, value_of(out), "the output beside its gradient");
      for (int i = plan_.forward_steps; i < plan_.steps.size() && problem_.empty(); ++i)
        backward(plan_.steps[i]);
      for (int id = 1; id < g_.nodes.size(); ++id)
        expect(backward_steps_[id] == (expected_[id] > 0 ? 1 : 0), "backward steps of", id);
      if (options_.input_gradient && expected_[0] > 0)
        read(plan_.input_gradient, gradient_of(0, expected_[0]), "the input's gradient at the end");
    } else {
      expect(plan_.steps.size() == plan_.forward_steps, "backward steps without training", 0);
    }
    return problem_;
  }

 private:
  // What a line can hold: a value, a gradient after its n-th writer, what a layer saved, or scratch.
  using token = std::int64_t;
  static token value_of(int node) { return 1'000'000 + node; }
  static token gradient_of(int node, int writers) { return 2'000'000 + 1000 * writers + node; }
  static token saved_of_node(int node) { return 3'000'000 + node; }
  static token scratch_of(int node) { return 4'000'000 + node; }

  struct region {
    std::size_t first = 0, end = 0;
    bool meets(const region& other) const { return first < other.end && other.first < end; }
  };
  region region_of(short buffer, std::size_t bytes) {
    const planned_buffer& b = plan_.buffers[buffer];
    if (bytes > b.bytes || b.offset + b.bytes > plan_.bytes_per_image)
      expect(false, "room in buffer", buffer);
    return {b.offset / alignment, (b.offset + align_up(bytes)) / alignment};
  }
  std::size_t value_bytes(int node) const { return g_.nodes[node].dims.size() * options_.scalar_bytes; }

  void expect(bool condition, const std::string& what, int node) {
    if (!condition && problem_.empty())
      problem_ = what + " " + std::to_string(node) + " (" + std::string(g_.nodes[node].label.view()) + ")";
  }
  void fill(region r, token t) { std::fill(lines_.begin() + long(r.first), lines_.begin() + long(r.end), t); }
  bool holds(region r, token t) const {
    return std::all_of(lines_.begin() + long(r.first), lines_.begin() + long(r.end),
                       [t](token x) { return x == t; });
  }
  void write(short buffer, int node, token t) {
    if (buffer < 0) return expect(false, "no buffer to write", node);
    fill(region_of(buffer, value_bytes(node)), t);
  }
  void read(short buffer, token t, const std::string& what) {
    const int node = static_cast<int>(t % 1000);
    if (buffer < 0) return expect(false, what + ": no buffer", node);
    expect(holds(region_of(buffer, value_bytes(node)), t), what + ": overwritten or never written", node);
  }
  void read_value(short buffer, int node, const std::string& what) {
    if (node == 0)
      expect(buffer == external_buffer, what + ": the images are the caller's", node);
    else
      read(buffer, value_of(node), what);
  }

  /// What another layer saved is there for the one that reads it.
  void read_source(const step& s) {
    const int source = g_.nodes[s.node].saved_source;
    if (source < 0) return expect(s.source_saved == no_buffer, "bytes that nobody reads", s.node);
    if (s.source_saved < 0) return expect(false, "no saved bytes to read", s.node);
    g_.visit(source, [&](const auto& l) {
      const std::size_t bytes = detail::saved_of(l, g_.inputs_of(source)).bytes_per_image;
      expect(holds(region_of(s.source_saved, bytes), saved_of_node(source)), "saved bytes lost of", source);
    });
  }
  bool saved_is_read(int id) const {
    return std::any_of(g_.nodes.begin(), g_.nodes.end(),
                       [id](const graph_node& node) { return !node.dead && node.saved_source == id; });
  }

  void forward(const step& s) {
    const int id = s.node;
    const graph_node& node = g_.nodes[id];
    const auto shapes = g_.inputs_of(id);
    region work{};
    g_.visit(id, [&](const auto& l) {
      const auto need = detail::workspace_of<Backend>(l, shapes, false).per_image * options_.scalar_bytes;
      if (need > 0) fill(work = region_of(s.workspace, need), scratch_of(id));
    });
    for (int i = 0; i < node.inputs.size(); ++i) read_value(s.inputs[i], node.inputs[i], "forward reads");
    read_source(s);
    if (s.output < 0) return expect(false, "no output", id);
    const region out = region_of(s.output, value_bytes(id));
    bool may_alias = false;
    g_.visit(id, [&](const auto& l) { may_alias = detail::in_place(l) && node.inputs.size() == 1; });
    for (int i = 0; i < node.inputs.size(); ++i)
      if (s.inputs[i] >= 0 && !(may_alias && s.inputs[i] == s.output))
        expect(!out.meets(region_of(s.inputs[i], value_bytes(node.inputs[i]))),
               "writes over what it reads:", id);
    expect(!out.meets(work), "output in its own workspace", id);
    region pooled{};
    if (node.pooled >= 0) {
      if (s.pooled < 0) return expect(false, "no second output", id);
      pooled = region_of(s.pooled, value_bytes(node.pooled));
      expect(!pooled.meets(out) && !pooled.meets(work), "second output in the way of", id);
      for (int i = 0; i < node.inputs.size(); ++i)
        if (s.inputs[i] >= 0)
          expect(!pooled.meets(region_of(s.inputs[i], value_bytes(node.inputs[i]))),
                 "second output over what it reads:", id);
    } else {
      expect(s.pooled < 0, "a second output that nobody asked for", id);
    }
    g_.visit(id, [&](const auto& l) {
      const saved_size saved = detail::saved_of(l, shapes);
      const bool kept = options_.training && has_gradient_[id];
      if ((kept || saved_is_read(id)) && saved.bytes_per_image > 0) {
        const region r = region_of(s.saved, saved.bytes_per_image);
        expect(!r.meets(out) && !r.meets(work), "saved values overwritten by the same step", id);
        fill(r, saved_of_node(id));
      }
      if (kept && saved.elements > 0) {
        const auto first = static_cast<std::size_t>(s.saved_elements);
        const region mine{first, first + saved.elements};
        expect(s.saved_elements >= 0 && mine.end <= plan_.saved_elements, "room for the saved scalars of",
               id);
        for (const region& other : saved_scalars_) expect(!mine.meets(other), "shared saved scalars", id);
        saved_scalars_.push_back(mine);
      } else {
        expect(s.saved_elements < 0, "saved scalars that nobody asked for", id);
      }
    });
    fill(out, value_of(id));
    if (node.pooled >= 0) fill(pooled, value_of(node.pooled));
  }

  void backward(const step& s) {
    const int id = s.node;
    const graph_node& node = g_.nodes[id];
    const auto shapes = g_.inputs_of(id);
    if (s.recompute) {
      for (int i = 0; i < node.inputs.size(); ++i)
        read_value(s.inputs[i], node.inputs[i], "recomputation reads");
      if (s.output < 0) return expect(false, "no output to recompute", id);
      return fill(region_of(s.output, value_bytes(id)), value_of(id));
    }
    ++backward_steps_[id];
    expect(s.backward, "a forward step among the backward ones", id);
    const auto check_reads = [&](bool after) {
      g_.visit(id, [&](const auto& l) {
        const backward_needs needs = detail::needs_of(l);
        if (needs.inputs)
          for (int i = 0; i < node.inputs.size(); ++i)
            read_value(s.inputs[i], node.inputs[i], "backward reads");
        if (needs.output) read(s.output, value_of(id), "backward reads the output of");
        read_source(s);
        if (const std::size_t saved = detail::saved_of(l, shapes).bytes_per_image; saved > 0)
          expect(holds(region_of(s.saved, saved), saved_of_node(id)), "saved values lost", id);
        bool replaced = false;
        for (int i = 0; i < node.inputs.size(); ++i) replaced |= s.input_gradients[i] == s.output_gradient;
        if (replaced)
          expect(detail::gradient_in_place(l) && node.inputs.size() == 1, "gradient in place", id);
        if (!(after && replaced))
          read(s.output_gradient, gradient_of(id, expected_[id]), "backward reads the whole gradient of");
      });
    };
    region work{};
    g_.visit(id, [&](const auto& l) {
      const auto need = detail::workspace_of<Backend>(l, shapes, true).per_image * options_.scalar_bytes;
      if (need > 0) fill(work = region_of(s.workspace, need), scratch_of(id));
    });
    check_reads(false);
    for (int i = 0; i < node.inputs.size() && problem_.empty(); ++i) {
      const int input = node.inputs[i];
      if (!has_gradient_[input]) {
        expect(s.input_gradients[i] == no_buffer, "a gradient that nobody needs", input);
        continue;
      }
      expect(s.accumulate[i] == (written_[input] > 0), "first writer assigns, later ones add:", input);
      if (written_[input] > 0) read(s.input_gradients[i], gradient_of(input, written_[input]), "adds to");
      write(s.input_gradients[i], input, gradient_of(input, ++written_[input]));
    }
    for (int i = 0; i < node.inputs.size() && problem_.empty(); ++i)
      if (const int input = node.inputs[i]; has_gradient_[input])
        read(s.input_gradients[i], gradient_of(input, written_[input]), "two gradients of one step overlap:");
    check_reads(true);
    if (work.end > work.first)
      expect(holds(work, scratch_of(id)), "workspace overwritten by the step's own results", id);
  }

  /// How many writers each value's gradient has: its readers through which the loss is reached, and the loss.
  void count_gradients() {
    has_gradient_.assign(std::size_t(g_.nodes.size()), false);
    expected_.assign(std::size_t(g_.nodes.size()), 0);
    written_ = backward_steps_ = expected_;
    has_gradient_[0] = options_.input_gradient;
    for (int id = 1; id < g_.nodes.size(); ++id) {
      if (g_.nodes[id].dead) continue;
      const auto shapes = g_.inputs_of(id);
      g_.visit(id, [&](const auto& l) {
        for (const parameter_spec& p : detail::parameters_of(l, shapes))
          if (p.trainable) has_gradient_[id] = true;
      });
      for (int input : g_.nodes[id].inputs)
        if (has_gradient_[input]) has_gradient_[id] = true;
    }
    expected_[g_.output] = has_gradient_[g_.output] ? 1 : 0;
    for (int id = g_.nodes.size() - 1; id > 0; --id)
      if (!g_.nodes[id].dead && expected_[id] > 0)
        for (int input : g_.nodes[id].inputs) expected_[input] += has_gradient_[input] ? 1 : 0;
  }

  struct vector_of_int : std::vector<int> {
    using std::vector<int>::vector;
    int& operator[](int i) { return std::vector<int>::operator[](static_cast<std::size_t>(i)); }
    int operator[](int i) const { return std::vector<int>::operator[](static_cast<std::size_t>(i)); }
  };

  const Graph& g_;
  const Schedule& plan_;
  schedule_options options_;
  std::vector<token> lines_;
  vector_of_int has_gradient_, expected_, written_, backward_steps_;
  std::vector<region> saved_scalars_;
  std::string problem_;
};

/// Buffers alive at the same time share no byte, everything is aligned, and the block is as large as needed.
template <class Schedule>
std::string check_offsets(const Schedule& plan) {
  std::size_t end = 0;
  for (const planned_buffer& a : plan.buffers) {
    if (a.offset % alignment != 0 || a.bytes % alignment != 0) return "an unaligned buffer";
    if (a.first > a.last) return "a buffer that dies before it lives";
    end = std::max(end, a.offset + a.bytes);
    for (const planned_buffer& b : plan.buffers)
      if (&a != &b && a.overlaps_in_time(b) && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes)
        return "two buffers share memory";
  }
  return end == plan.bytes_per_image ? "" : "the block's size is not the last buffer's end";
}

/// No plan can be smaller than what lives at one step.
template <class Schedule>
std::size_t lower_bound(const Schedule& plan) {
  std::size_t most = 0;
  for (const planned_buffer& at : plan.buffers) {  // the most lives when some buffer has just begun to
    std::size_t live = 0;
    for (const planned_buffer& b : plan.buffers)
      live += b.first <= at.first && at.first <= b.last ? b.bytes : 0;
    most = std::max(most, live);
  }
  return most;
}

}  // namespace segnet::test
