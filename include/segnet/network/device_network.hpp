// SPDX-License-Identifier: MIT
// network<Def, Backend> for backends whose memory the program cannot read: those of cards.
#pragma once

#include <segnet/network/executor.hpp>
#include <segnet/network/network.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace segnet {

/// A backend on a card. Beside the primitives (docs/backends.md) it has, all in the order of one stream:
///
/// - `Backend(int card, bool tf32, bool deterministic)`: throws segnet::error where the card cannot be used
/// - `device_buffer<U>`, `host_buffer<U>`: owners of the card's memory, and of the host's for copies
/// - `upload(from, n, to)`, `download(from, n, to)`, `wait()`
/// - `convert(n, from, to)`: between float and scalar, on the card
/// - `available_memory()`: bytes
/// - `use_parameters(span)`, where the parameters lie of which it keeps scalars, and `convert_parameters()`
///   once they have changed
/// - `set_step(step_values)`: seed, momentum limit, ... of what runs next
/// - `plan(f)`: f() calls primitives, none of which is carried out; what they will need is made ready
/// - `record(f)`, `play(recording)`: f()'s calls as one thing that can be repeated, as long as `layout()`
/// stays
template <class Backend>
concept device_backend = requires {
  requires Backend::on_device;
};

/// Work that is given to a card again and again. The first time it runs as it is, since whatever a library or
/// a driver makes ready then may not be recorded; then it is recorded, and from there on repeated.
template <device_backend Backend>
class repeated_work {
 public:
  template <class F>
  void play(Backend& backend, F&& enqueue) {
    if (fresh_) {
      fresh_ = false;
      return enqueue();
    }
    if (recording_.empty()) recording_ = backend.record(enqueue);
    backend.play(recording_);
  }

 private:
  bool fresh_ = true;
  typename Backend::recording recording_;
};

/// The network on a card, with the interface of the processor's: images, outputs and their gradients are
/// floats of the host's, which forward(), backward() and infer() copy. Parameters, too, are seen through a
/// copy: values() and parameters() fetch it when the card's are newer, and parameters_changed() sends it
/// back. The members called device_... work on the card alone, without copies and without waiting.
///
/// All memory is allocated by the constructor, or by the first call with another number of images; the calls
/// of infer() with one number of images are recorded and repeated.
template <class Def, device_backend Backend>
class network<Def, Backend> : public network_base<Def, Backend> {
  using base = network_base<Def, Backend>;
  using base::options_, base::check, base::require_training;
  using typename base::facts;
  template <class U>
  using device_buffer = typename Backend::template device_buffer<U>;
  template <class U>
  using host_buffer = typename Backend::template host_buffer<U>;

 public:
  using base::input_shape, base::memory, base::output_shape;
  using typename base::images;
  using typename base::parameter_scalar;
  using typename base::scalar;

  /// Throws argument_error for a batch below 1, memory_error when the card has too little memory, and what
  /// the backend throws where there is no card.
  explicit network(network_options options = {})
      : base(options), backend_(options.device, options.tf32, options.deterministic) {
    require_memory();
    const auto batch = static_cast<std::size_t>(options_.batch);
    const bool training = options_.training;
    parameters_ = device_buffer<float>(facts::table.trainable);
    statistics_ = device_buffer<float>(facts::table.statistics);
    folded_ = device_buffer<float>(facts::inference_plan.folded);
    if (training) {
      gradients_ = device_buffer<float>(facts::table.trainable);
      saved_ = device_buffer<float>(facts::training_plan.saved_elements);
    }
    // Images wait in the arena, as floats, until they are converted.
    arena_ = device_buffer<std::byte>(
        batch * std::max({facts::inference_plan.bytes_per_image,
                          training ? facts::training_plan.bytes_per_image : 0, input_shape.size() * 4}));
    input_ = device_buffer<scalar>(batch * input_shape.size());
    host_input_ = host_buffer<float>(batch * input_shape.size());
    host_output_ = host_buffer<scalar>(batch * std::max(output_shape.size(), logits_shape.size()));
    output_ = aligned_buffer<float>(host_output_.size());
    tensors_.resize(static_cast<std::size_t>(facts::table.entries.size()));
    detail::locate<float>(facts::table, parameters_.data(), statistics_.data(), tensors_);
    has_weights_ = training || tensors_.empty();
    backend_.use_parameters(parameters_.span());
    if (training) prepare_training(options_.batch);
    plan_inference(options_.batch);
  }

  Backend& backend() { return backend_; }

  void initialise(std::uint64_t seed) {
    require_training();
    for (const parameter& p : facts::table.entries)
      detail::initialise(p.spec, values(p), seed,
                         static_cast<std::uint64_t>(&p - facts::table.entries.begin()));
    parameters_changed();
  }

  images forward(images batch, double momentum_limit = 1, std::uint64_t seed = 0) {
    check(batch.n, batch.dims, true);
    prepare_training(batch.n);
    upload_images(batch);
    typename Backend::step_values step{};
    step.seed = seed;
    step.momentum_limit = static_cast<float>(momentum_limit);
    backend_.set_step(step);
    device_forward(batch.n);
    forward_images_ = batch.n;
    const auto logits = device_logits(batch.n);
    return {fetch(logits.data, logits.size()), batch.n, logits.dims};
  }

  tensor_view<parameter_scalar> output_gradient() {
    output_gradient_.resize(static_cast<std::size_t>(options_.batch) * logits_shape.size());
    return {output_gradient_.data(), forward_images_, logits_shape};
  }

  void backward(bool accumulate = false) {
    if (forward_images_ == 0)
      throw argument_error(
          "backward: found no values of a forward pass, expected a call of forward() just before");
    const auto gradient = device_output_gradient(forward_images_);
    std::transform(output_gradient_.begin(),
                   output_gradient_.begin() + static_cast<std::ptrdiff_t>(gradient.size()),
                   host_output_.data(), [](float x) { return scalar(x); });
    backend_.upload(host_output_.data(), gradient.size(), gradient.data);
    device_backward(forward_images_, accumulate);
    backend_.wait();
    forward_images_ = 0;
  }

  images infer(images batch) {
    check(batch.n, batch.dims, false);
    forward_images_ = 0;
    if (!has_weights_)
      throw argument_error("infer: no weights loaded, expected load_checkpoint() or use_weights() before");
    prepare_inference(batch.n);
    std::copy_n(batch.data, batch.size(), host_input_.data());
    const std::size_t size = static_cast<std::size_t>(batch.n) * output_shape.size();
    if (recorded_layout_ != backend_.layout()) inferences_.clear();
    recorded_layout_ = backend_.layout();
    inferences_[batch.n].play(backend_, [&] {
      upload_input(batch.n);
      device_infer(batch.n);
      backend_.download(device_output(batch.n).data, size, host_output_.data());
    });
    backend_.wait();
    return {to_floats(size), batch.n, output_shape};
  }

  /// The flat buffers as the host's copies.
  std::span<float> parameters() { return mirror().first(facts::table.trainable); }
  std::span<float> statistics() { return mirror().subspan(facts::table.trainable); }
  std::span<float> gradients() {
    require_training();
    mirrored_gradients_.resize(gradients_.size());
    backend_.download(gradients_.data(), gradients_.size(), mirrored_gradients_.data());
    backend_.wait();
    return mirrored_gradients_;
  }
  void parameters_changed() {
    if (!mirror_.empty()) {
      backend_.upload(mirror_.data(), parameters_.size(), parameters_.data());
      backend_.upload(mirror_.data() + parameters_.size(), statistics_.size(), statistics_.data());
    }
    backend_.convert_parameters();
    backend_.wait();
    dirty_ = true;
  }

  std::span<float> values(const parameter& p) {
    require_training();
    return (p.spec.trainable ? parameters() : statistics()).subspan(p.offset, p.spec.size());
  }
  std::span<float> gradient(const parameter& p) { return gradients().subspan(p.offset, p.spec.size()); }

  /// Copies the weights that `source(p)` points to, unlike the processor's network, which reads them there;
  /// otherwise as there.
  template <class Source>
  void use_weights(Source&& source, std::shared_ptr<const void> = {}) {
    if (options_.training)
      throw argument_error("use_weights: this network was made for training: write to its values() instead");
    std::vector<float> values(facts::table.trainable + facts::table.statistics);
    for (const parameter& p : facts::table.entries) {
      const float* from = source(p);
      if (from == nullptr)
        throw argument_error("use_weights: found no values of " + parameter_name(facts::training, p));
      std::copy_n(from, p.spec.size(),
                  values.data() + (p.spec.trainable ? p.offset : facts::table.trainable + p.offset));
    }
    mirror_ = std::move(values);
    has_weights_ = true;
    parameters_changed();
    fold();
    mirror_ = {};  // nothing else needs it
  }

  // --- On the card: work for its stream, in order, without waiting for it ------------------------------

  /// What forward() returns of one image.
  static constexpr shape logits_shape = facts::training.output_shape();

  /// Make everything ready for `count` images; to be called before the functions below are recorded. What
  /// forward() left for backward() is lost, gradients are not.
  void prepare_training(int count) {
    if (trains_with_.contains(count)) return;
    // Engines are timed on the real operands; gradients may be wanted: smaller batches come last in a step.
    std::vector<float> kept(trains_with_.empty() ? 0 : gradients_.size());
    backend_.download(gradients_.data(), kept.size(), kept.data());
    backend_.plan([&] {
      training_run(count).forward(true);
      training_run(count).backward(false);
      training_run(count).backward(true);
    });
    backend_.upload(kept.data(), kept.size(), gradients_.data());
    backend_.wait();
    trains_with_.insert(count);
  }
  /// With the parameters as they are now.
  void prepare_inference(int count) {
    plan_inference(count);
    if (dirty_) fold();
  }

  tensor_view<scalar> device_input(int count) { return {input_.data(), count, input_shape}; }
  tensor_view<const scalar> device_logits(int count) {
    return {training_run(count).data(facts::training_plan.output), count, logits_shape};
  }
  tensor_view<scalar> device_output_gradient(int count) {
    return {training_run(count).data(facts::training_plan.output_gradient), count, logits_shape};
  }
  tensor_view<const scalar> device_output(int count) {
    return {inference_run(count).data(facts::inference_plan.output), count, output_shape};
  }
  std::span<float> device_parameters() { return parameters_.span(); }
  std::span<float> device_gradients() { return gradients_.span(); }

  void device_forward(int count) {
    training_run(count).forward(true);
    device_parameters_changed();  // the running statistics
  }
  void device_backward(int count, bool accumulate) { training_run(count).backward(accumulate); }
  void device_infer(int count) { inference_run(count).forward(false); }
  /// After a change on the card (to be called also when a recording of it is played): the host's copies are
  /// older.
  void device_parameters_changed() {
    mirror_ = {};
    dirty_ = true;
  }

 private:
  void require_memory() const {
    base::require_memory(
        options_.training ? memory.training_bytes(options_.batch) : memory.inference_bytes(options_.batch),
        backend_.available_memory(), "the card");
  }

  /// Parameters, then statistics, as on the card.
  std::span<float> mirror() {
    if (mirror_.empty()) {
      mirror_.resize(parameters_.size() + statistics_.size());
      backend_.download(parameters_.data(), parameters_.size(), mirror_.data());
      backend_.download(statistics_.data(), statistics_.size(), mirror_.data() + parameters_.size());
      backend_.wait();
    }
    return mirror_;
  }

  void plan_inference(int count) {
    if (infers_with_.contains(count)) return;
    backend_.plan([&] { inference_run(count).forward(false); });
    infers_with_.insert(count);
  }

  void upload_images(images batch) {
    std::copy_n(batch.data, batch.size(), host_input_.data());
    upload_input(batch.n);
  }
  void upload_input(int count) {
    const std::size_t size = static_cast<std::size_t>(count) * input_shape.size();
    if constexpr (std::is_same_v<scalar, float>) {
      backend_.upload(host_input_.data(), size, input_.data());
    } else {
      auto* const floats = reinterpret_cast<float*>(arena_.data());
      backend_.upload(host_input_.data(), size, floats);
      backend_.convert(size, floats, input_.data());
    }
  }
  const float* fetch(const scalar* from, std::size_t size) {
    backend_.download(from, size, host_output_.data());
    backend_.wait();
    return to_floats(size);
  }
  const float* to_floats(std::size_t size) {
    std::transform(host_output_.data(), host_output_.data() + size, output_.data(),
                   [](scalar x) { return static_cast<float>(x); });
    return output_.data();
  }

  void fold() {
    std::vector<const float*> tensors(tensors_.size());
    detail::locate<float>(facts::table, mirror().data(), mirror().data() + parameters_.size(), tensors);
    std::vector<float> folded(folded_.size());
    detail::fold<float>(facts::inference, facts::inference_plan, facts::table, tensors.data(), folded.data());
    backend_.upload(folded.data(), folded.size(), folded_.data());
    backend_.wait();
    dirty_ = false;
  }

  /// A run is made of pointers alone, and of memory that is this network's.
  template <class Graph, class Plan>
  class run {
   public:
    run(network& net, const Graph& g, const Plan& plan, int count)
        : memory_{.arena = net.arena_.data(),
                  .input = net.input_.data(),
                  .tensors = net.tensors_.data(),
                  .gradients = net.gradients_.data(),
                  .statistics = net.statistics_.data(),
                  .saved = net.saved_.data(),
                  .folded = net.folded_.data(),
                  .scratch = {},
                  .seed = 0},
          executor_(net.backend_, g, plan, facts::table, memory_, count) {}
    run(const run&) = delete;

    void forward(bool training) const { executor_.forward(training); }
    void backward(bool accumulate) const { executor_.backward(accumulate); }
    scalar* data(short buffer) const { return executor_.data(buffer); }

   private:
    detail::run_memory<scalar, float> memory_;
    detail::executor<Backend, Graph, Plan, std::remove_cvref_t<decltype(facts::table)>> executor_;
  };
  auto training_run(int count) {
    return run<std::remove_cvref_t<decltype(facts::training)>,
               std::remove_cvref_t<decltype(facts::training_plan)>>(*this, facts::training,
                                                                    facts::training_plan, count);
  }
  auto inference_run(int count) {
    return run<std::remove_cvref_t<decltype(facts::inference)>,
               std::remove_cvref_t<decltype(facts::inference_plan)>>(*this, facts::inference,
                                                                     facts::inference_plan, count);
  }

  Backend backend_;
  device_buffer<float> parameters_, gradients_, statistics_, saved_, folded_;
  device_buffer<std::byte> arena_;
  device_buffer<scalar> input_;
  std::vector<const float*> tensors_;  ///< where each entry of the table lies on the card
  host_buffer<float> host_input_;
  host_buffer<scalar> host_output_;
  aligned_buffer<float> output_;
  std::vector<float> output_gradient_, mirrored_gradients_;
  std::vector<float> mirror_;                ///< empty: the card's are newer
  std::set<int> trains_with_, infers_with_;  ///< numbers of images that all is ready for
  std::map<int, repeated_work<Backend>> inferences_;
  int recorded_layout_ = 0;  ///< of the backend, when they were recorded
  bool has_weights_ = false;
  int forward_images_ = 0;
  bool dirty_ = true;  ///< folded_ is older than the tensors
};

}  // namespace segnet
