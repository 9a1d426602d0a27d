// SPDX-License-Identifier: MIT
// cuDNN's graph API, owned: descriptors of tensors, operations, graphs of them, engines that can run a graph,
// and plans that run it. Only what convolutions need.
//
// A descriptor is filled with set(), then finalized; from then on it is constant. Those that it refers to
// must live as long as it does.
#pragma once

#include <segnet/backend/cuda/stream.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace segnet::gpu {

namespace detail {

/// How cuDNN calls the type of an attribute's value.
template <class T>
constexpr cudnnBackendAttributeType_t attribute_type() {
  if constexpr (std::is_same_v<T, std::int64_t>)
    return CUDNN_TYPE_INT64;
  else if constexpr (std::is_same_v<T, float>)
    return CUDNN_TYPE_FLOAT;
  else if constexpr (std::is_same_v<T, bool>)
    return CUDNN_TYPE_BOOLEAN;
  else if constexpr (std::is_same_v<T, char>)
    return CUDNN_TYPE_CHAR;
  else if constexpr (std::is_same_v<T, void*>)
    return CUDNN_TYPE_VOID_PTR;
  else if constexpr (std::is_same_v<T, cudnnHandle_t>)
    return CUDNN_TYPE_HANDLE;
  else if constexpr (std::is_same_v<T, cudnnDataType_t>)
    return CUDNN_TYPE_DATA_TYPE;
  else if constexpr (std::is_same_v<T, cudnnConvolutionMode_t>)
    return CUDNN_TYPE_CONVOLUTION_MODE;
  else if constexpr (std::is_same_v<T, cudnnPointwiseMode_t>)
    return CUDNN_TYPE_POINTWISE_MODE;
  else if constexpr (std::is_same_v<T, cudnnGenStatsMode_t>)
    return CUDNN_TYPE_GENSTATS_MODE;
  else if constexpr (std::is_same_v<T, cudnnReduceTensorOp_t>)
    return CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
  else if constexpr (std::is_same_v<T, cudnnBackendHeurMode_t>)
    return CUDNN_TYPE_HEUR_MODE;
  else if constexpr (std::is_same_v<T, cudnnBackendKnobType_t>)
    return CUDNN_TYPE_KNOB_TYPE;
  else if constexpr (std::is_same_v<T, cudnnBackendNumericalNote_t>)
    return CUDNN_TYPE_NUMERICAL_NOTE;
  else {
    static_assert(std::is_same_v<T, cudnnBackendBehaviorNote_t>);
    return CUDNN_TYPE_BEHAVIOR_NOTE;
  }
}

}  // namespace detail

/// Owns one descriptor of cuDNN's.
class descriptor {
 public:
  explicit descriptor(cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t created = nullptr;
    check(cudnnBackendCreateDescriptor(type, &created), "cudnnBackendCreateDescriptor");
    handle_.reset(created);
  }
  cudnnBackendDescriptor_t get() const { return handle_.get(); }

  template <class T>
  descriptor& set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    return set(name, detail::attribute_type<T>(), static_cast<std::int64_t>(values.size()), values.data());
  }
  template <class T>
  descriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, std::span<const T>(&value, 1));
  }
  descriptor& set(cudnnBackendAttributeName_t name, const descriptor& other) {
    const cudnnBackendDescriptor_t value = other.get();
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
  }
  descriptor& set(cudnnBackendAttributeName_t name, std::span<const descriptor> others) {
    std::vector<cudnnBackendDescriptor_t> values;
    for (const descriptor& other : others) values.push_back(other.get());
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(values.size()), values.data());
  }

  /// Throws cuda_error where the attributes do not go together or cuDNN cannot do what they say.
  void finalize(const char* what) { check(try_finalize(), what); }
  cudnnStatus_t try_finalize() { return cudnnBackendFinalize(get()); }

  template <class T>
  T value(cudnnBackendAttributeName_t name) const {
    T result{};
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(get(), name, detail::attribute_type<T>(), 1, &count, &result),
          "cudnnBackendGetAttribute");
    return result;
  }
  /// At most `limit` of them.
  template <class T>
  std::vector<T> values(cudnnBackendAttributeName_t name, std::size_t limit) const {
    std::vector<T> result(limit);
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(get(), name, detail::attribute_type<T>(), static_cast<std::int64_t>(limit),
                                   &count, result.data()),
          "cudnnBackendGetAttribute");
    result.resize(std::min(limit, static_cast<std::size_t>(std::max<std::int64_t>(count, 0))));
    return result;
  }
  /// Of any length.
  std::string text(cudnnBackendAttributeName_t name) const {
    std::int64_t size = 0;
    check(cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_CHAR, 0, &size, nullptr),
          "cudnnBackendGetAttribute");
    std::string result(static_cast<std::size_t>(std::max<std::int64_t>(size, 0)), '\0');
    check(cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_CHAR, size, &size, result.data()),
          "cudnnBackendGetAttribute");
    return result;
  }
  /// Those that this one refers to, at most `limit` of them.
  std::vector<descriptor> descriptors(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                      std::size_t limit) const {
    // Asked for their number first, cuDNN 9.19 says that a configuration has no knobs.
    std::vector<descriptor> result;
    std::vector<cudnnBackendDescriptor_t> filled;
    for (std::size_t i = 0; i < limit; ++i) filled.push_back(result.emplace_back(type).get());
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(get(), name, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                   static_cast<std::int64_t>(limit), &count, filled.data()),
          "cudnnBackendGetAttribute");
    if (count < static_cast<std::int64_t>(limit))
      result.erase(result.begin() + static_cast<std::ptrdiff_t>(std::max<std::int64_t>(count, 0)),
                   result.end());
    return result;
  }

 private:
  descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                  const void* values) {
    check(cudnnBackendSetAttribute(get(), name, type, count, values), "cudnnBackendSetAttribute");
    return *this;
  }

  struct destroy {
    void operator()(void* handle) const { cudnnBackendDestroyDescriptor(handle); }
  };
  std::unique_ptr<void, destroy> handle_;
};

/// For which card plans are made: the one of a handle, or one that is described and need not be there.
class plan_target {
 public:
  explicit plan_target(cudnnHandle_t handle) : handle_(handle) {}
  /// `properties` as cuDNN writes them, a JSON object; throws cuda_error where it cannot read them. Such
  /// plans can be made without a card.
  explicit plan_target(std::string_view properties) {
    descriptor made(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    const std::string text(properties);  // cuDNN reads up to the zero
    made.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(text.c_str(), text.size() + 1));
    made.finalize("a card's properties");
    described_.push_back(std::move(made));
  }
  /// Null for a card that is only described.
  cudnnHandle_t handle() const { return handle_; }

  // What a descriptor must be told of the card. A handle is known to the graph, and through it to what is
  // made of the graph, except to plans.
  void apply_to_graph(descriptor& graph) const {
    if (handle_ != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle_);
  }
  void apply_to_heuristics(descriptor& heuristics) const {
    if (handle_ == nullptr) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, described_[0]);
  }
  void apply_to_engine(descriptor& engine) const {
    if (handle_ == nullptr) engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, described_[0]);
  }
  void apply_to_plan(descriptor& plan) const {
    if (handle_ != nullptr)
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle_);
    else
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, described_[0]);
  }

 private:
  cudnnHandle_t handle_ = nullptr;
  std::vector<descriptor> described_;  ///< one, or none
};

/// Sizes of a tensor in cuDNN's order: images, channels, rows, columns. All of ours lie in memory as NHWC
/// (for weights KRSC).
using tensor_sizes = std::array<std::int64_t, 4>;

/// `id` names the tensor's data among those of a graph. A virtual one only connects operations.
inline descriptor tensor(std::int64_t id, const tensor_sizes& sizes, cudnnDataType_t type,
                         bool is_virtual = false, std::int64_t alignment = 16) {
  const auto [n, c, h, w] = sizes;
  const tensor_sizes strides{c * h * w, 1, c * w, c};
  descriptor made(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(sizes))
      .set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(strides))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual);
  made.finalize("a tensor");
  return made;
}

/// Zeros before and after the rows and the columns, and the stride; multiplied and summed up in `compute`.
inline descriptor convolution(std::array<std::int64_t, 2> before, std::array<std::int64_t, 2> after,
                              std::int64_t stride, cudnnDataType_t compute = CUDNN_DATA_FLOAT) {
  const std::array<std::int64_t, 2> strides{stride, stride}, dilations{1, 1};
  descriptor made(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  made.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, compute)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::span<const std::int64_t>(before))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::span<const std::int64_t>(after))
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::span<const std::int64_t>(dilations))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::span<const std::int64_t>(strides));
  made.finalize("a convolution");
  return made;
}

/// y = x * w, or y += x * w.
inline descriptor convolution_forward(const descriptor& convolution, const descriptor& x, const descriptor& w,
                                      const descriptor& y, bool accumulate = false) {
  descriptor made(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, accumulate ? 1.0F : 0.0F);
  made.finalize("a convolution's forward operation");
  return made;
}

inline descriptor convolution_backward_data(const descriptor& convolution, const descriptor& dy,
                                            const descriptor& w, const descriptor& dx,
                                            bool accumulate = false) {
  descriptor made(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, convolution)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, dy)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, dx)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, accumulate ? 1.0F : 0.0F);
  made.finalize("a convolution's backward operation");
  return made;
}

inline descriptor convolution_backward_weights(const descriptor& convolution, const descriptor& x,
                                               const descriptor& dy, const descriptor& dw,
                                               bool accumulate = false) {
  descriptor made(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, convolution)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, dy)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, dw)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, accumulate ? 1.0F : 0.0F);
  made.finalize("a convolution's operation for the weights");
  return made;
}

/// What an element-wise operation does, in single precision.
inline descriptor pointwise(cudnnPointwiseMode_t mode) {
  descriptor made(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  made.set(CUDNN_ATTR_POINTWISE_MODE, mode).set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  made.finalize("an element-wise function");
  return made;
}

/// y = f(x).
inline descriptor pointwise_operation(const descriptor& function, const descriptor& x, const descriptor& y) {
  descriptor made(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  made.finalize("an element-wise operation");
  return made;
}

/// dx = dy * f'(x), where the function is f's gradient.
inline descriptor pointwise_gradient(const descriptor& function, const descriptor& dy, const descriptor& x,
                                     const descriptor& dx) {
  descriptor made(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, dy)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, dx);
  made.finalize("an element-wise gradient");
  return made;
}

/// y = f(x, b), b one value per channel, or one per element.
inline descriptor pointwise_operation(const descriptor& function, const descriptor& x, const descriptor& b,
                                      const descriptor& y) {
  descriptor made(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  made.finalize("an element-wise operation");
  return made;
}

/// The sum, and the sum of squares, of each channel of x over images and pixels.
inline descriptor channel_statistics(const descriptor& x, const descriptor& sum, const descriptor& squares) {
  descriptor made(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_GENSTATS_SUM_SQSUM)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, sum)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, squares);
  made.finalize("statistics of channels");
  return made;
}

/// The sum of each channel of x over images and pixels.
inline descriptor channel_sums(const descriptor& x, const descriptor& sum) {
  descriptor adds(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  adds.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_REDUCE_TENSOR_ADD)
      .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  adds.finalize("a sum");
  descriptor made(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  made.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, adds)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, sum);
  made.finalize("sums of channels");
  return made;
}

inline descriptor operation_graph(std::span<const descriptor> operations, const plan_target& target) {
  descriptor made(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  target.apply_to_graph(made);
  made.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
  made.finalize("a graph of operations");
  return made;
}

/// The settings of an engine that can be noted down and read again: its number and its knobs.
struct engine_choice {
  std::int64_t engine = -1;
  std::vector<std::pair<std::int64_t, std::int64_t>> knobs;  ///< kind and value
  friend bool operator==(const engine_choice&, const engine_choice&) = default;
};

/// What a configuration was made of, and what its engine's makers note about it.
struct engine_description {
  engine_choice choice;
  std::vector<cudnnBackendNumericalNote_t> numerics;
  std::vector<cudnnBackendBehaviorNote_t> behavior;

  bool has(cudnnBackendNumericalNote_t note) const {
    return std::ranges::find(numerics, note) != numerics.end();
  }
  bool has(cudnnBackendBehaviorNote_t note) const {
    return std::ranges::find(behavior, note) != behavior.end();
  }
};

inline engine_description describe_engine(const descriptor& configuration) {
  engine_description result;
  const auto engines =
      configuration.descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
  if (engines.empty()) return result;
  const descriptor& engine = engines[0];
  result.choice.engine = engine.value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  result.numerics = engine.values<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                               CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  result.behavior = engine.values<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                              CUDNN_BEHAVIOR_NOTE_TYPE_COUNT);
  for (const descriptor& knob : configuration.descriptors(
           CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS))
    result.choice.knobs.emplace_back(knob.value<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE),
                                     knob.value<std::int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
  return result;
}

/// Engines for a graph as cuDNN orders them, the one that it expects to be fastest first. None where it knows
/// none.
inline std::vector<descriptor> recommended_engines(const descriptor& graph, cudnnBackendHeurMode_t mode,
                                                   const plan_target& target, std::size_t limit) {
  descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  target.apply_to_heuristics(heuristics);
  if (heuristics.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
  return heuristics.descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, limit);
}

/// A configuration made again from notes. Empty where this version of cuDNN has no such engine, or not with
/// such knobs, for this graph.
class engine_configuration {
 public:
  engine_configuration(const descriptor& graph, const engine_choice& choice, const plan_target& target)
      : engine_(CUDNN_BACKEND_ENGINE_DESCRIPTOR), configuration_(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
    try {
      engine_.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph)
          .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine);
      target.apply_to_engine(engine_);
      engine_.finalize("an engine");
      for (const auto& [kind, value] : choice.knobs) {
        descriptor& knob = knobs_.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, static_cast<cudnnBackendKnobType_t>(kind))
            .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
        knob.finalize("an engine's knob");
      }
      configuration_.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine_);
      if (!knobs_.empty())
        configuration_.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, std::span<const descriptor>(knobs_));
      configuration_.finalize("an engine's configuration");
      valid_ = true;
    } catch (const cuda_error&) {
    }
  }
  explicit operator bool() const { return valid_; }
  const descriptor& get() const { return configuration_; }

 private:
  descriptor engine_;
  std::vector<descriptor> knobs_;
  descriptor configuration_;
  bool valid_ = false;
};

}  // namespace segnet::gpu
