// SPDX-License-Identifier: MIT
// Compares a layer's gradients with differences of its own forward pass: for users' layers as for ours.
#pragma once

#include <segnet/backend/cpu/cpu.hpp>
#include <segnet/graph/passes.hpp>
#include <segnet/layers/graph_builder.hpp>
#include <segnet/network/executor.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace segnet {

struct gradient_check_options {
  int batch = 2;
  std::uint64_t seed = 1;
  int samples = 200;        ///< entries of the inputs and of each parameter that are checked
  double step = 1e-5;       ///< of the central differences, in double precision
  double scale = 1.0;       ///< inputs are drawn from U(-scale, scale)
  bool accumulate = false;  ///< also check that a second backward() adds to the parameters' gradients
};

/// Errors are |analytic - reference| / max(1, |reference|).
struct gradient_report {
  double double_error = 0;      ///< backward() in double precision against central differences
  double float_error = 0;       ///< backward() in single precision against that in double precision
  double largest_gradient = 0;  ///< of all references: zero would make the check meaningless
  std::string worst;            ///< the entry with the largest double_error
  int checked = 0;

  bool passed(double double_tolerance = 1e-6, double float_tolerance = 1e-3) const {
    return checked > 0 && largest_gradient > 0 && double_error <= double_tolerance &&
           float_error <= float_tolerance;
  }
};

namespace detail {

/// NaN compares false with everything and must not pass a check.
inline double finite(double error) {
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

/// Gives a layer with several inputs its i-th: a range of the network's only input.
struct input_part {
  int offset = 0;
  shape dims;

  static constexpr std::string_view type_name = "input_part";
  constexpr shape_result out_shape(std::span<const shape>) const { return dims; }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    const auto size = static_cast<int>(dims.size());
    ctx.backend->copy_channels(static_cast<std::size_t>(ctx.batch), size, ctx.inputs[0].data,
                               ctx.inputs[0].dims.c, offset, ctx.output.data, size, 0, false);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    const auto& dx = ctx.input_gradients[0];
    if (!ctx.accumulate[0]) ctx.backend->fill(dx.size(), typename Backend::scalar(0), dx.data);
    const auto size = static_cast<int>(dims.size());
    ctx.backend->copy_channels(static_cast<std::size_t>(ctx.batch), size, ctx.output_gradient.data, size, 0,
                               dx.data, dx.dims.c, offset, true);
  }
};

/// A graph made at run time, with memory of its own, differentiated with respect to its input too.
template <class Backend, class Graph>
class checked_graph {
 public:
  using T = typename Backend::scalar;

  checked_graph(const Graph& g, int batch)
      : g_(std::make_unique<Graph>(g)),
        plan_(std::make_unique<schedule>(make_schedule<Backend>(
            *g_, {.training = true, .input_gradient = true, .scalar_bytes = sizeof(T)}))),
        table_(std::make_unique<parameter_table>(make_parameter_table(*g_))),
        batch_(batch),
        input(static_cast<std::size_t>(batch) * g.input_shape().size()),
        parameters(table_->trainable),
        gradients(table_->trainable),
        statistics_(table_->statistics),
        saved_(plan_->saved_elements),
        arena_(plan_->bytes_per_image * static_cast<std::size_t>(batch)),
        shared_(plan_->scratch.shared),
        threads_(plan_->scratch.per_thread + alignment),
        tensors_(static_cast<std::size_t>(table_->entries.size())) {
    for (const parameter& p : table_->entries)
      if (!p.spec.trainable) initialise(p.spec, statistics_.span().subspan(p.offset, p.spec.size()), 1, 1);
    locate<T>(*table_, parameters.data(), statistics_.data(), tensors_);
  }

  /// The forward pass; its output is good until the next call.
  std::span<const T> forward() {
    run().forward(true);
    return {run().data(plan_->output), output_size()};
  }
  /// The forward pass; returns sum(upstream * output).
  double loss(const std::vector<double>& upstream) {
    const std::span<const T> y = forward();
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += upstream[i] * static_cast<double>(y[i]);
    return sum;
  }
  void backward(const std::vector<double>& upstream, bool accumulate) {
    loss(upstream);
    T* dy = run().data(plan_->output_gradient);
    for (std::size_t i = 0; i < output_size(); ++i) dy[i] = static_cast<T>(upstream[i]);
    run().backward(accumulate);
  }
  T input_gradient(std::size_t i) { return run().data(plan_->input_gradient)[i]; }
  std::size_t output_size() const { return static_cast<std::size_t>(batch_) * g_->output_shape().size(); }
  const Graph& graph() const { return *g_; }
  const parameter_table& table() const { return *table_; }

 private:
  auto run() {
    memory_ = {.arena = arena_.data(),
               .input = input.data(),
               .tensors = tensors_.data(),
               .gradients = gradients.data(),
               .statistics = statistics_.data(),
               .saved = saved_.data(),
               .scratch = {shared_.data(), threads_.data(), plan_->scratch.per_thread}};
    return executor<Backend, Graph, schedule, parameter_table>(backend_, *g_, *plan_, *table_, memory_,
                                                               batch_);
  }

  std::unique_ptr<Graph> g_;
  std::unique_ptr<schedule> plan_;
  std::unique_ptr<parameter_table> table_;
  int batch_;
  Backend backend_{1};
  run_memory<T, T> memory_;

 public:
  std::vector<T> input;
  aligned_buffer<T> parameters, gradients;

 private:
  aligned_buffer<T> statistics_, saved_;
  aligned_buffer<std::byte> arena_;
  aligned_buffer<T> shared_, threads_;
  std::vector<const T*> tensors_;
};

}  // namespace detail

/// Checks a whole graph, as graph_builder::finish() returns it (fused or not), with random inputs, parameters
/// and a random, non-uniform upstream gradient.
template <class Graph>
gradient_report gradient_check_graph(const Graph& g, gradient_check_options options = {}) {
  detail::checked_graph<basic_cpu<double>, Graph> exact(g, options.batch);
  detail::checked_graph<basic_cpu<float>, Graph> single(g, options.batch);
  random_stream random{options.seed};

  for (std::size_t i = 0; i < exact.input.size(); ++i)
    exact.input[i] = single.input[i] = static_cast<float>(random.uniform(-options.scale, options.scale));
  for (const parameter& p : exact.table().entries) {
    if (!p.spec.trainable) continue;
    const double centre = p.spec.init == initializer::ones ? 1.0 : 0.0;
    for (std::size_t i = p.offset; i < p.offset + p.spec.size(); ++i)
      exact.parameters.data()[i] = single.parameters.data()[i] =
          static_cast<float>(centre + random.uniform(-0.5, 0.5));
  }
  std::vector<double> upstream(exact.output_size());
  for (double& r : upstream) r = static_cast<float>(random.uniform(-1.0, 1.0));

  exact.backward(upstream, false);
  single.backward(upstream, false);
  if (options.accumulate) {
    exact.backward(upstream, true);
    single.backward(upstream, true);
  }

  gradient_report report;
  const auto compare = [&](double& entry, double analytic, double analytic_single, double factor,
                           const std::string& where) {
    const double kept = entry;
    entry = kept + options.step;
    const double above = exact.loss(upstream);
    entry = kept - options.step;
    const double below = exact.loss(upstream);
    entry = kept;
    const double reference = factor * (above - below) / (2 * options.step);
    const double size = std::max(1.0, std::abs(reference));
    const double error = detail::finite(std::abs(analytic - reference) / size);
    if (error > report.double_error) {
      report.double_error = error;
      report.worst =
          where + ": backward " + std::to_string(analytic) + ", difference " + std::to_string(reference);
    }
    report.float_error =
        std::max(report.float_error, detail::finite(std::abs(analytic_single - analytic) / size));
    report.largest_gradient = std::max(report.largest_gradient, std::abs(reference));
    ++report.checked;
  };
  // loss() overwrites the arena, so the analytic gradients are read first.
  std::vector<double> dx(exact.input.size()), dx_single(exact.input.size());
  for (std::size_t i = 0; i < dx.size(); ++i) {
    dx[i] = exact.input_gradient(i);
    dx_single[i] = static_cast<double>(single.input_gradient(i));
  }
  const auto samples = static_cast<std::size_t>(options.samples);
  for (std::size_t i = 0; i < dx.size(); i += std::max<std::size_t>(1, dx.size() / samples))
    compare(exact.input[i], dx[i], dx_single[i], 1.0, "input[" + std::to_string(i) + "]");
  for (const parameter& p : exact.table().entries) {
    if (!p.spec.trainable) continue;
    for (std::size_t i = 0; i < p.spec.size(); i += std::max<std::size_t>(1, p.spec.size() / samples))
      compare(exact.parameters.data()[p.offset + i], exact.gradients.data()[p.offset + i],
              static_cast<double>(single.gradients.data()[p.offset + i]), options.accumulate ? 2.0 : 1.0,
              parameter_name(exact.graph(), p) + "[" + std::to_string(i) + "]");
  }
  return report;
}

/// Checks one layer on inputs of the given shapes:
///   CHECK(gradient_check(my_layer{.slope = 0.2f}, {{5, 4, 3}}).passed());
template <layer L>
gradient_report gradient_check(const L& l, std::vector<shape> inputs, gradient_check_options options = {}) {
  if (inputs.empty() || static_cast<int>(inputs.size()) > max_inputs)
    throw argument_error("gradient_check: found " + std::to_string(inputs.size()) +
                         " inputs, expected 1 to " + std::to_string(max_inputs));
  basic_graph_builder<L, detail::input_part> g;
  int size = 0;
  for (const shape& s : inputs) size += static_cast<int>(s.size());
  const value all = g.input({1, 1, size});
  std::array<value, max_inputs> parts{};
  for (std::size_t i = 0, offset = 0; i < inputs.size(); ++i) {
    parts[i] = g(detail::input_part{static_cast<int>(offset), inputs[i]}, all);
    offset += inputs[i].size();
  }
  value y;
  switch (inputs.size()) {
    case 1:
      y = g("layer", l, parts[0]);
      break;
    case 2:
      y = g("layer", l, parts[0], parts[1]);
      break;
    case 3:
      y = g("layer", l, parts[0], parts[1], parts[2]);
      break;
    default:
      y = g("layer", l, parts[0], parts[1], parts[2], parts[3]);
  }
  g.output(y);
  const auto graph = g.finish();
  if (!graph.valid())
    throw argument_error("gradient_check: " + std::string(L::type_name) + " refuses the input shapes");
  return gradient_check_graph(graph, options);
}

}  // namespace segnet
