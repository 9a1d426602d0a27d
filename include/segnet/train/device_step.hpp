// SPDX-License-Identifier: MIT
// The training step on a card.
#pragma once

#include <segnet/network/device_network.hpp>
#include <segnet/train/device_loss.hpp>
#include <segnet/train/device_scores.hpp>
#include <segnet/train/training_step.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace segnet {

/// Forward pass, loss, backward pass and optimizer are recorded once, for each number of images, and repeated
/// as one thing. Pictures are copied to the card while the step before computes; those of a loader whose
/// pictures are raw are augmented there.
///
/// In float16 the loss is multiplied by a scale, so that no gradient is lost for being small: it is halved
/// where a gradient was not finite, and that step not done, and doubled after `scale_interval` good steps
/// (Micikevicius et al., "Mixed precision training", 2018).
template <class Network, class Task>
requires device_backend<typename Network::backend_type>
class training_step<Network, Task> {
  using backend = typename Network::backend_type;
  using scalar = typename Network::scalar;
  template <class U>
  using device_buffer = typename backend::template device_buffer<U>;

 public:
  static constexpr bool works_ahead = true;
  static constexpr int scale_interval = 2000;

  training_step(Network& net, const any_optimizer& optimizer, const Task& task)
      : net_(net), optimizer_(optimizer), runner_(task, net), loss_(task, net), scores_(task, net) {
    const std::size_t parameters = net.device_parameters().size();
    for (std::size_t i = 0; i < detail::optimizer_state_names(optimizer).size(); ++i)
      state_.push_back(device_buffer<float>(parameters));
    const auto pixels = static_cast<std::size_t>(net.batch()) * Network::input_shape.pixels();
    if constexpr (Task::labels)
      labels_ = device_buffer<std::uint8_t>(pixels);
    else
      masks_ = device_buffer<float>(pixels);
    const auto groups = Network::parameter_groups();
    if (!groups.empty()) {
      groups_ = device_buffer<parameter_group>(groups.size());
      net.backend().upload(groups.data(), groups.size(), groups_.data());
      net.backend().wait();
    }
    sum_ = device_buffer<double>(1);
    sum_workspace_ = device_buffer<std::byte>(backend::sum_workspace());
    if constexpr (backend::scales_loss) {
      skip_ = device_buffer<unsigned>(1);
      skipped_ = typename backend::template host_buffer<unsigned>(1);
    }
  }

  /// Starts to copy a batch, which add() will be given next.
  void prepare(const batch& images) {
    next_slot_ = 1 - next_slot_;
    send(images, slots_[next_slot_]);
    prepared_ = true;
  }

  /// What was prepared is not what will come.
  void forget_prepared() { prepared_ = false; }

  void add(const batch& images, const step_part& part) {
    const slot& from = slots_[next_slot_];
    if (!prepared_ || from.epoch != images.epoch || from.number != images.number) prepare(images);
    prepared_ = false;
    if (part.first)
      results_.clear();
    else
      collect();  // before its place is written to again
    net_.prepare_training(images.count);
    unpack(slots_[next_slot_]);
    part_ = part;
    count_ = images.count;
    if (!part.last) play(step());
  }

  void update(double rate, std::int64_t steps) {
    typename backend::step_values values = step();
    const auto t = static_cast<double>(steps + 1);
    values.rate = static_cast<float>(rate);
    if (const adam* a = std::get_if<adam>(&optimizer_)) {
      values.corrected_rate = static_cast<float>(rate / (1 - std::pow(a->beta1, t)));
      values.v_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(a->beta2, t)));
    }
    play(values);
  }

  step_outcome outcome() {
    collect();
    step_outcome found{.parts = results_, .updated = true};
    if constexpr (backend::scales_loss) {
      found.updated = *skipped_.data() == 0;
      found.hopeless = !found.updated && scaling_.factor <= smallest_scale;
      scaling_.good_steps = found.updated ? scaling_.good_steps + 1 : 0;
      if (!found.updated) scaling_.factor /= 2;
      if (scaling_.good_steps == scale_interval)
        scaling_ = {.factor = std::min(2 * scaling_.factor, largest_scale), .good_steps = 0};
    }
    return found;
  }

  double parameter_sum() {
    const auto p = net_.device_parameters();
    double sum = 0;
    net_.backend().sum(p.size(), p.data(), sum_.data(), sum_workspace_.data());
    net_.backend().download(sum_.data(), 1, &sum);
    net_.backend().wait();
    return sum;
  }

  void start_validation() { runner_.start_validation(); }
  void validate(const batch& images) {
    net_.prepare_inference(images.count);
    send(images, validated_);
    unpack(validated_);
    forget_old_recordings();
    validations_[images.count].play(net_.backend(), [&] {
      net_.device_infer(images.count);
      scores_.enqueue(images.count, masks_.data(), labels_.data());
    });
    net_.backend().wait();
    scores_.give(images, runner_);
  }
  typename Task::scores validation_scores() const { return runner_.validation_scores(); }

  void append_to(std::vector<stored_tensor>& tensors) const {
    const auto names = detail::optimizer_state_names(optimizer_);
    fetched_.resize(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      std::vector<float>& values = fetched_[i];
      values.resize(state_[i].size());
      net_.backend().download(state_[i].data(), values.size(), values.data());
      net_.backend().wait();
      tensors.push_back({names[i], dtype::f32, {values.size()}, std::as_bytes(std::span(values))});
    }
    if constexpr (backend::scales_loss)
      tensors.push_back({scale_name, dtype::f32, {2}, std::as_bytes(std::span(&scaling_, 1))});
  }
  void read(const safetensors_file& file) {
    detail::check_optimizer_state(file, optimizer_);
    const auto names = detail::optimizer_state_names(optimizer_);
    std::vector<float> values;
    for (std::size_t i = 0; i < names.size(); ++i) {
      values.resize(state_[i].size());
      file.read(names[i], std::span(values));
      net_.backend().upload(values.data(), values.size(), state_[i].data());
      net_.backend().wait();
    }
    // A run that comes from another device has none.
    if (std::array<float, 2> scaling{}; backend::scales_loss && file.find(scale_name) != nullptr) {
      file.read(scale_name, std::span(scaling));
      scaling_ = {.factor = scaling[0], .good_steps = scaling[1]};
    }
  }

 private:
  static constexpr const char* scale_name = "training.loss_scale";
  static constexpr float smallest_scale = 1.0F / 65536, largest_scale = 16777216;

  /// Of the loss; floats, as they are stored in a checkpoint.
  struct loss_scaling {
    float factor, good_steps;
  };

  /// A batch on its way to the card.
  struct slot {
    typename backend::transfer bytes;
    int epoch = -1, number = -1, count = 0;
    bool raw = false;
  };

  /// The pictures lie behind them, on a boundary for vectors.
  static std::size_t changes_bytes(int count) {
    return align_up(static_cast<std::size_t>(count) * sizeof(augmentation));
  }

  /// Starts to copy a batch's bytes to the card.
  void send(const batch& images, slot& to) {
    to.raw = !images.pictures.empty();
    const auto pixels = Network::input_shape.pixels();
    const auto size = [&](int count) {
      const auto n = static_cast<std::size_t>(count);
      return to.raw ? changes_bytes(count) + n * pixels * 4
                    : n * pixels * (3 * sizeof(float) + (Task::labels ? 1 : sizeof(float)));
    };
    if (to.bytes.size() < size(net_.batch()))
      to.bytes = typename backend::transfer(net_.backend(), size(net_.batch()));
    std::byte* at = to.bytes.host();
    const auto put = [&at](const auto& values, std::size_t room) {
      std::memcpy(at, values.data(), values.size() * sizeof(values[0]));
      at += room;
    };
    const auto n = static_cast<std::size_t>(images.count);
    if (to.raw) {
      put(images.changes, changes_bytes(images.count));
      put(images.pictures, 0);
    } else {
      put(images.images, n * pixels * 3 * sizeof(float));
      if constexpr (Task::labels)
        put(images.labels, 0);
      else
        put(images.masks, 0);
    }
    to.bytes.start(size(images.count));
    to.epoch = images.epoch, to.number = images.number, to.count = images.count;
  }

  /// From a batch's bytes on the card to the network's input, and masks or labels.
  void unpack(slot& from) {
    backend& b = net_.backend();
    const auto input = net_.device_input(from.count);
    from.bytes.arrive();
    const std::byte* bytes = from.bytes.device();
    if (from.raw) {
      b.augment(from.count, input.dims.h, input.dims.w,
                reinterpret_cast<const std::uint8_t*>(bytes + changes_bytes(from.count)),
                reinterpret_cast<const augmentation*>(bytes), input.data, masks_.data(), labels_.data());
    } else {
      b.convert(input.size(), reinterpret_cast<const float*>(bytes), input.data);
      bytes += input.size() * sizeof(float);
      if constexpr (Task::labels)
        b.copy(bytes, input.rows(), labels_.data());
      else
        b.copy(bytes, input.rows() * sizeof(float), masks_.data());
    }
    from.bytes.release();
  }

  typename backend::step_values step() const {
    typename backend::step_values values{};
    values.seed = part_.seed;
    values.momentum_limit = static_cast<float>(part_.momentum_limit);
    values.loss_scale = scaling_.factor / static_cast<float>(part_.parts);
    values.gradient_scale = 1 / scaling_.factor;
    return values;
  }

  void forget_old_recordings() {
    if (recorded_layout_ == net_.backend().layout()) return;
    recordings_.clear();
    validations_.clear();
    recorded_layout_ = net_.backend().layout();
  }

  /// Starts the part of the step that add() was given last, with the optimizer's if it is the last.
  void play(const typename backend::step_values& values) {
    forget_old_recordings();
    net_.backend().set_step(values);
    recordings_[{count_, part_.first, part_.last}].play(net_.backend(), [this] { enqueue(); });
    net_.device_parameters_changed();
    waiting_ = true;
  }

  void enqueue() {
    backend& b = net_.backend();
    net_.device_forward(count_);
    loss_.enqueue(count_, masks_.data(), labels_.data());
    net_.device_backward(count_, !part_.first);
    if (!part_.last) return;
    const unsigned* skip = nullptr;
    if constexpr (backend::scales_loss) {
      const auto gradients = net_.device_gradients();
      b.find_not_finite(gradients.size(), gradients.data(), skip_.data(), sum_workspace_.data());
      b.download(skip_.data(), 1, skipped_.data());
      skip = skip_.data();
    }
    const float* const gradients = net_.device_gradients().data();
    const std::span<const parameter_group> groups = std::as_const(groups_).span();
    if (const adam* a = std::get_if<adam>(&optimizer_))
      b.adam(*a, gradients, state_[0].data(), state_[1].data(), groups, skip);
    else
      b.sgd(std::get<sgd>(optimizer_), gradients, state_[0].data(), groups, skip);
  }

  /// Waits for what was started and notes its result.
  void collect() {
    if (!waiting_) return;
    net_.backend().wait();
    results_.push_back(loss_.result());
    waiting_ = false;
  }

  Network& net_;
  any_optimizer optimizer_;
  typename Task::template runner<Network> runner_;
  detail::device_loss<Task, Network> loss_;
  detail::device_scores<Task, Network> scores_;
  std::vector<device_buffer<float>> state_;  ///< what the optimizer remembers
  device_buffer<float> masks_;
  device_buffer<std::uint8_t> labels_;
  device_buffer<parameter_group> groups_;
  device_buffer<double> sum_;
  device_buffer<std::byte> sum_workspace_;
  device_buffer<unsigned> skip_;
  typename backend::template host_buffer<unsigned> skipped_;
  std::array<slot, 2> slots_;
  slot validated_;
  std::size_t next_slot_ = 0;
  bool prepared_ = false;
  struct kind {
    int count;
    bool first, last;
    friend auto operator<=>(const kind&, const kind&) = default;
  };
  std::map<kind, repeated_work<backend>> recordings_;
  std::map<int, repeated_work<backend>> validations_;  ///< by the number of images
  int recorded_layout_ = 0;                            ///< of the backend, when they were recorded
  step_part part_;
  int count_ = 0;
  bool waiting_ = false;
  std::vector<batch_result> results_;
  loss_scaling scaling_{.factor = backend::scales_loss ? 65536 : 1, .good_steps = 0};
  mutable std::vector<std::vector<float>> fetched_;  ///< for a checkpoint
};

}  // namespace segnet
