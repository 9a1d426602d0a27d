// SPDX-License-Identifier: MIT
// The part of cuDNN 9's graph API that the project calls: descriptors with checked attributes, and plans that
// interpret their graph of operations in single precision.
#include "cudnn.hpp"
#include "runtime.hpp"

#include <segnet/core/half.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace segnet::gpu::simulator {
namespace {

thread_local std::string last_message;

cudnnStatus_t failure(cudnnStatus_t status, const char* format, ...) __attribute__((format(printf, 2, 3)));
cudnnStatus_t failure(cudnnStatus_t status, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  last_message = text;
  return status;
}

std::size_t plans_made = 0, executed = 0;

// ---- Descriptors
// --------------------------------------------------------------------------------------------

struct content;
using content_pointer = std::shared_ptr<content>;

/// The values of an attribute: bytes, or other descriptors.
struct values {
  cudnnBackendAttributeType_t type{};
  std::int64_t count = 0;
  std::vector<std::byte> bytes;
  std::vector<content_pointer> others;
};

struct content {
  cudnnBackendDescriptorType_t type{};
  bool finalized = false;
  std::map<int, values> attributes;

  bool has(int name) const { return attributes.contains(name); }
  template <class T>
  T get(int name, T otherwise = {}) const {
    const auto found = attributes.find(name);
    if (found == attributes.end()) return otherwise;
    T result;
    std::memcpy(&result, found->second.bytes.data(), sizeof result);
    return result;
  }
  std::int64_t count(int name) const { return has(name) ? attributes.at(name).count : 0; }
  /// cuDNN takes numbers in both precisions.
  double number(int name, double otherwise) const {
    const auto found = attributes.find(name);
    if (found == attributes.end()) return otherwise;
    return found->second.type == CUDNN_TYPE_FLOAT ? static_cast<double>(get<float>(name)) : get<double>(name);
  }
  template <class T>
  std::vector<T> list(int name) const {
    const auto found = attributes.find(name);
    if (found == attributes.end()) return {};
    std::vector<T> result(static_cast<std::size_t>(found->second.count));
    if (!result.empty()) std::memcpy(result.data(), found->second.bytes.data(), result.size() * sizeof(T));
    return result;
  }
  const content* other(int name, std::size_t i = 0) const {
    const auto found = attributes.find(name);
    return found == attributes.end() || i >= found->second.others.size() ? nullptr
                                                                         : found->second.others[i].get();
  }
  content_pointer shared(int name, std::size_t i = 0) const {
    const auto found = attributes.find(name);
    return found == attributes.end() || i >= found->second.others.size() ? nullptr : found->second.others[i];
  }
};

/// What a cudnnBackendDescriptor_t points to. Its content is shared with those that refer to it, as cuDNN's
/// is.
struct handle {
  content_pointer held;
};

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return sizeof(void*);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
      return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    default:
      return 4;  // enumerations, float, int32
  }
}

/// What an attribute is.
struct rule {
  int name;
  cudnnBackendDescriptorType_t of;
  cudnnBackendAttributeType_t type;
  std::int64_t least, most;  ///< of elements
  bool required;
  int other = -1;  ///< the type of descriptor that it refers to, if one alone is right
};

constexpr auto tensor_type = CUDNN_BACKEND_TENSOR_DESCRIPTOR;
constexpr std::int64_t many = 1 << 20;

#define SEGNET_RULE(owner, name, type, ...) \
  { CUDNN_ATTR_##name, CUDNN_BACKEND_##owner##_DESCRIPTOR, CUDNN_TYPE_##type, __VA_ARGS__ }
#define SEGNET_TENSOR(owner, name, required) \
  SEGNET_RULE(owner, name, BACKEND_DESCRIPTOR, 1, 1, required, tensor_type)
const rule rules[] = {
    SEGNET_RULE(TENSOR, TENSOR_BYTE_ALIGNMENT, INT64, 1, 1, true),
    SEGNET_RULE(TENSOR, TENSOR_DATA_TYPE, DATA_TYPE, 1, 1, true),
    SEGNET_RULE(TENSOR, TENSOR_DIMENSIONS, INT64, 1, CUDNN_DIM_MAX, true),
    SEGNET_RULE(TENSOR, TENSOR_STRIDES, INT64, 1, CUDNN_DIM_MAX, true),
    SEGNET_RULE(TENSOR, TENSOR_VECTOR_COUNT, INT64, 1, 1, false),
    SEGNET_RULE(TENSOR, TENSOR_VECTORIZED_DIMENSION, INT64, 1, 1, false),
    SEGNET_RULE(TENSOR, TENSOR_UNIQUE_ID, INT64, 1, 1, true),
    SEGNET_RULE(TENSOR, TENSOR_IS_VIRTUAL, BOOLEAN, 1, 1, false),
    SEGNET_RULE(TENSOR, TENSOR_IS_BY_VALUE, BOOLEAN, 1, 1, false),

    SEGNET_RULE(CONVOLUTION, CONVOLUTION_COMP_TYPE, DATA_TYPE, 1, 1, true),
    SEGNET_RULE(CONVOLUTION, CONVOLUTION_CONV_MODE, CONVOLUTION_MODE, 1, 1, true),
    SEGNET_RULE(CONVOLUTION, CONVOLUTION_DILATIONS, INT64, 1, 3, true),
    SEGNET_RULE(CONVOLUTION, CONVOLUTION_FILTER_STRIDES, INT64, 1, 3, true),
    SEGNET_RULE(CONVOLUTION, CONVOLUTION_POST_PADDINGS, INT64, 1, 3, true),
    SEGNET_RULE(CONVOLUTION, CONVOLUTION_PRE_PADDINGS, INT64, 1, 3, true),
    SEGNET_RULE(CONVOLUTION, CONVOLUTION_SPATIAL_DIMS, INT64, 1, 1, true),

    SEGNET_RULE(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_ALPHA, FLOAT, 1, 1, true),
    SEGNET_RULE(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_BETA, FLOAT, 1, 1, true),
    SEGNET_RULE(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_CONV_DESC, BACKEND_DESCRIPTOR, 1,
                1, true, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_W, true),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_X, true),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_FORWARD, OPERATION_CONVOLUTION_FORWARD_Y, true),
    SEGNET_RULE(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_ALPHA, FLOAT, 1, 1, true),
    SEGNET_RULE(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_BETA, FLOAT, 1, 1, true),
    SEGNET_RULE(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                BACKEND_DESCRIPTOR, 1, 1, true, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_W, true),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_DX, true),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_BACKWARD_DATA, OPERATION_CONVOLUTION_BWD_DATA_DY, true),
    SEGNET_RULE(OPERATION_CONVOLUTION_BACKWARD_FILTER, OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, FLOAT, 1, 1,
                true),
    SEGNET_RULE(OPERATION_CONVOLUTION_BACKWARD_FILTER, OPERATION_CONVOLUTION_BWD_FILTER_BETA, FLOAT, 1, 1,
                true),
    SEGNET_RULE(OPERATION_CONVOLUTION_BACKWARD_FILTER, OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                BACKEND_DESCRIPTOR, 1, 1, true, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_BACKWARD_FILTER, OPERATION_CONVOLUTION_BWD_FILTER_DW, true),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_BACKWARD_FILTER, OPERATION_CONVOLUTION_BWD_FILTER_X, true),
    SEGNET_TENSOR(OPERATION_CONVOLUTION_BACKWARD_FILTER, OPERATION_CONVOLUTION_BWD_FILTER_DY, true),

    SEGNET_RULE(POINTWISE, POINTWISE_MODE, POINTWISE_MODE, 1, 1, true),
    SEGNET_RULE(POINTWISE, POINTWISE_MATH_PREC, DATA_TYPE, 1, 1, true),
    SEGNET_RULE(POINTWISE, POINTWISE_RELU_LOWER_CLIP, DOUBLE, 1, 1, false),
    SEGNET_RULE(POINTWISE, POINTWISE_RELU_UPPER_CLIP, DOUBLE, 1, 1, false),
    SEGNET_RULE(POINTWISE, POINTWISE_RELU_LOWER_CLIP_SLOPE, DOUBLE, 1, 1, false),
    SEGNET_RULE(OPERATION_POINTWISE, OPERATION_POINTWISE_PW_DESCRIPTOR, BACKEND_DESCRIPTOR, 1, 1, true,
                CUDNN_BACKEND_POINTWISE_DESCRIPTOR),
    SEGNET_TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_XDESC, false),
    SEGNET_TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_BDESC, false),
    SEGNET_TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_YDESC, false),
    SEGNET_TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_TDESC, false),
    SEGNET_TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_DXDESC, false),
    SEGNET_TENSOR(OPERATION_POINTWISE, OPERATION_POINTWISE_DYDESC, false),
    SEGNET_RULE(OPERATION_POINTWISE, OPERATION_POINTWISE_ALPHA1, FLOAT, 1, 1, false),
    SEGNET_RULE(OPERATION_POINTWISE, OPERATION_POINTWISE_ALPHA2, FLOAT, 1, 1, false),

    SEGNET_RULE(OPERATION_GEN_STATS, OPERATION_GENSTATS_MODE, GENSTATS_MODE, 1, 1, true),
    SEGNET_RULE(OPERATION_GEN_STATS, OPERATION_GENSTATS_MATH_PREC, DATA_TYPE, 1, 1, true),
    SEGNET_TENSOR(OPERATION_GEN_STATS, OPERATION_GENSTATS_XDESC, true),
    SEGNET_TENSOR(OPERATION_GEN_STATS, OPERATION_GENSTATS_SUMDESC, true),
    SEGNET_TENSOR(OPERATION_GEN_STATS, OPERATION_GENSTATS_SQSUMDESC, true),

    SEGNET_RULE(REDUCTION, REDUCTION_OPERATOR, REDUCTION_OPERATOR_TYPE, 1, 1, true),
    SEGNET_RULE(REDUCTION, REDUCTION_COMP_TYPE, DATA_TYPE, 1, 1, true),
    SEGNET_RULE(REDUCTION, REDUCTION_IS_DETERMINISTIC, BOOLEAN, 1, 1, false),
    SEGNET_TENSOR(OPERATION_REDUCTION, OPERATION_REDUCTION_XDESC, true),
    SEGNET_TENSOR(OPERATION_REDUCTION, OPERATION_REDUCTION_YDESC, true),
    SEGNET_RULE(OPERATION_REDUCTION, OPERATION_REDUCTION_DESC, BACKEND_DESCRIPTOR, 1, 1, true,
                CUDNN_BACKEND_REDUCTION_DESCRIPTOR),

    SEGNET_RULE(OPERATIONGRAPH, OPERATIONGRAPH_HANDLE, HANDLE, 1, 1, false),
    SEGNET_RULE(OPERATIONGRAPH, OPERATIONGRAPH_OPS, BACKEND_DESCRIPTOR, 1, many, true),
    SEGNET_RULE(ENGINEHEUR, ENGINEHEUR_MODE, HEUR_MODE, 1, 1, true),
    SEGNET_RULE(ENGINEHEUR, ENGINEHEUR_OPERATION_GRAPH, BACKEND_DESCRIPTOR, 1, 1, true,
                CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
    SEGNET_RULE(ENGINEHEUR, ENGINEHEUR_DEVICEPROP, BACKEND_DESCRIPTOR, 1, 1, false,
                CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR),
    SEGNET_RULE(ENGINEHEUR, ENGINEHEUR_SM_COUNT_TARGET, INT32, 1, 1, false),
    SEGNET_RULE(ENGINE, ENGINE_OPERATION_GRAPH, BACKEND_DESCRIPTOR, 1, 1, true,
                CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
    SEGNET_RULE(ENGINE, ENGINE_GLOBAL_INDEX, INT64, 1, 1, true),
    SEGNET_RULE(ENGINE, ENGINE_DEVICEPROP, BACKEND_DESCRIPTOR, 1, 1, false,
                CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR),
    SEGNET_RULE(ENGINE, ENGINE_SM_COUNT_TARGET, INT32, 1, 1, false),
    SEGNET_RULE(ENGINECFG, ENGINECFG_ENGINE, BACKEND_DESCRIPTOR, 1, 1, true, CUDNN_BACKEND_ENGINE_DESCRIPTOR),
    SEGNET_RULE(ENGINECFG, ENGINECFG_KNOB_CHOICES, BACKEND_DESCRIPTOR, 0, many, false,
                CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR),
    SEGNET_RULE(KNOB_CHOICE, KNOB_CHOICE_KNOB_TYPE, KNOB_TYPE, 1, 1, true),
    SEGNET_RULE(KNOB_CHOICE, KNOB_CHOICE_KNOB_VALUE, INT64, 1, 1, true),
    SEGNET_RULE(EXECUTION_PLAN, EXECUTION_PLAN_HANDLE, HANDLE, 1, 1, false),
    SEGNET_RULE(EXECUTION_PLAN, EXECUTION_PLAN_ENGINE_CONFIG, BACKEND_DESCRIPTOR, 1, 1, true,
                CUDNN_BACKEND_ENGINECFG_DESCRIPTOR),
    SEGNET_RULE(EXECUTION_PLAN, EXECUTION_PLAN_DEVICEPROP, BACKEND_DESCRIPTOR, 1, 1, false,
                CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR),
    SEGNET_RULE(VARIANT_PACK, VARIANT_PACK_UNIQUE_IDS, INT64, 1, many, false),
    SEGNET_RULE(VARIANT_PACK, VARIANT_PACK_DATA_POINTERS, VOID_PTR, 1, many, false),
    SEGNET_RULE(VARIANT_PACK, VARIANT_PACK_WORKSPACE, VOID_PTR, 1, 1, false),
    SEGNET_RULE(DEVICEPROP, DEVICEPROP_DEVICE_ID, INT32, 1, 1, false),
    SEGNET_RULE(DEVICEPROP, DEVICEPROP_HANDLE, HANDLE, 1, 1, false),
    SEGNET_RULE(DEVICEPROP, DEVICEPROP_JSON_REPRESENTATION, CHAR, 1, many, false),
};
#undef SEGNET_TENSOR
#undef SEGNET_RULE

const rule* rule_for(cudnnBackendDescriptorType_t of, int name) {
  for (const rule& r : rules)
    if (r.of == of && r.name == name) return &r;
  return nullptr;
}

bool operation(cudnnBackendDescriptorType_t type) {
  return type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
         type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
         type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR ||
         type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR ||
         type == CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR ||
         type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR;
}

template <class T>
void put(content& c, int name, cudnnBackendAttributeType_t type, const std::vector<T>& list) {
  values v{type, static_cast<std::int64_t>(list.size()), {}, {}};
  v.bytes.resize(list.size() * sizeof(T));
  if (!list.empty()) std::memcpy(v.bytes.data(), list.data(), v.bytes.size());
  c.attributes[name] = std::move(v);
}
void put(content& c, int name, std::vector<content_pointer> others) {
  values v{CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(others.size()), {}, std::move(others)};
  c.attributes[name] = std::move(v);
}
content_pointer made(cudnnBackendDescriptorType_t type) {
  auto c = std::make_shared<content>();
  c->type = type;
  c->finalized = true;
  return c;
}

// ---- Tensors
// ------------------------------------------------------------------------------------------------

using sizes = std::array<std::int64_t, 4>;

/// What a tensor's descriptor says.
struct shape {
  std::int64_t id = 0;
  sizes dims{}, strides{};
  cudnnDataType_t type{};
  std::int64_t alignment = 1;
  bool is_virtual = false, by_value = false;

  friend bool operator==(const shape&, const shape&) = default;
  std::size_t element() const { return type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_INT32 ? 4 : 2; }
  /// From the first element's beginning to the last one's end.
  std::size_t bytes() const {
    std::int64_t last = 0;
    for (std::size_t i = 0; i < 4; ++i) last += (dims[i] - 1) * strides[i];
    return static_cast<std::size_t>(last + 1) * element();
  }
  std::size_t elements() const { return static_cast<std::size_t>(dims[0] * dims[1] * dims[2] * dims[3]); }
};

shape shape_of(const content& tensor) {
  shape s;
  s.id = tensor.get<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
  const auto dims = tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  s.dims.fill(1);
  s.strides.fill(1);
  std::copy(dims.begin(), dims.end(), s.dims.end() - static_cast<std::ptrdiff_t>(dims.size()));
  std::copy(strides.begin(), strides.end(), s.strides.end() - static_cast<std::ptrdiff_t>(strides.size()));
  s.type = tensor.get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
  s.alignment = tensor.get<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
  s.is_virtual = tensor.get<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL, false);
  s.by_value = tensor.get<bool>(CUDNN_ATTR_TENSOR_IS_BY_VALUE, false);
  return s;
}

/// A tensor's values as NHWC.
struct field {
  sizes dims{};
  std::vector<float> v;

  float* at(std::int64_t n, std::int64_t h, std::int64_t w) {
    return v.data() + ((n * dims[2] + h) * dims[3] + w) * dims[1];
  }
  const float* at(std::int64_t n, std::int64_t h, std::int64_t w) const {
    return v.data() + ((n * dims[2] + h) * dims[3] + w) * dims[1];
  }
};

template <class F>
void each_element(const shape& s, F f) {
  std::size_t i = 0;
  for (std::int64_t n = 0; n < s.dims[0]; ++n)
    for (std::int64_t h = 0; h < s.dims[2]; ++h)
      for (std::int64_t w = 0; w < s.dims[3]; ++w) {
        const std::int64_t row = n * s.strides[0] + h * s.strides[2] + w * s.strides[3];
        for (std::int64_t c = 0; c < s.dims[1]; ++c) f(i++, row + c * s.strides[1]);
      }
}

field load(const shape& s, const void* from) {
  field result{s.dims, std::vector<float>(s.elements())};
  const auto take = [&]<class T>(const T* data) {
    each_element(s, [&](std::size_t i, std::int64_t at) { result.v[i] = static_cast<float>(data[at]); });
  };
  if (s.type == CUDNN_DATA_FLOAT)
    take(static_cast<const float*>(from));
  else if (s.type == CUDNN_DATA_BFLOAT16)
    take(static_cast<const bfloat16*>(from));
  else
    take(static_cast<const float16*>(from));
  return result;
}

void store(const shape& s, field& values, void* to) {
  const auto give = [&]<class T>(T* data) {
    each_element(s, [&](std::size_t i, std::int64_t at) {
      data[at] = static_cast<T>(values.v[i]);
      values.v[i] = static_cast<float>(data[at]);
    });
  };
  if (s.type == CUDNN_DATA_FLOAT)
    give(static_cast<float*>(to));
  else if (s.type == CUDNN_DATA_BFLOAT16)
    give(static_cast<bfloat16*>(to));
  else
    give(static_cast<float16*>(to));
}

// ---- Operations
// ---------------------------------------------------------------------------------------------

/// What a convolution's descriptors say.
struct convolution {
  std::array<std::int64_t, 2> before{}, after{}, stride{}, dilation{};
  bool flipped = false;
  sizes x{}, w{}, y{};
  std::int64_t groups() const { return x[1] / w[1]; }
  std::int64_t expected(std::size_t i) const {
    return (x[2 + i] + before[i] + after[i] - dilation[i] * (w[2 + i] - 1) - 1) / stride[i] + 1;
  }
};

std::array<std::int64_t, 2> pair_of(const content& c, int name) {
  const auto list = c.list<std::int64_t>(name);
  return {list[0], list[1]};
}

struct conv_names {
  int desc, x, w, y, alpha, beta, result;
};
std::optional<conv_names> names_of(cudnnBackendDescriptorType_t type) {
  if (type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
    return conv_names{
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
  if (type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
    return conv_names{
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX};
  if (type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR)
    return conv_names{CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW};
  return std::nullopt;
}

convolution convolution_of(const content& op, const conv_names& n) {
  const content& d = *op.other(n.desc);
  convolution c;
  c.before = pair_of(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  c.after = pair_of(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  c.stride = pair_of(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  c.dilation = pair_of(d, CUDNN_ATTR_CONVOLUTION_DILATIONS);
  c.flipped = d.get<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) == CUDNN_CONVOLUTION;
  c.x = shape_of(*op.other(n.x)).dims;
  c.w = shape_of(*op.other(n.w)).dims;
  c.y = shape_of(*op.other(n.y)).dims;
  return c;
}

/// to[j] += sum over i of a[i] * b[i][j].
void add_products(float* __restrict__ to, const float* a, const float* b, std::int64_t count,
                  std::int64_t width) {
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const float a0 = a[i], a1 = a[i + 1], a2 = a[i + 2], a3 = a[i + 3];
    const float *b0 = b + i * width, *b1 = b0 + width, *b2 = b1 + width, *b3 = b2 + width;
    for (std::int64_t j = 0; j < width; ++j) to[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j];
  }
  for (; i < count; ++i)
    for (std::int64_t j = 0; j < width; ++j) to[j] += a[i] * b[i * width + j];
}

/// Calls f(pixel of x, pixel of y, r, s) for all pairs of pixels that a filter's place (r, s) connects, in
/// images [first, end).
template <class F>
void each_place(const convolution& c, std::int64_t first, std::int64_t end, F f) {
  for (std::int64_t n = first; n < end; ++n)
    for (std::int64_t oh = 0; oh < c.y[2]; ++oh)
      for (std::int64_t r = 0; r < c.w[2]; ++r) {
        const std::int64_t h = oh * c.stride[0] - c.before[0] + r * c.dilation[0];
        if (h < 0 || h >= c.x[2]) continue;
        for (std::int64_t ow = 0; ow < c.y[3]; ++ow)
          for (std::int64_t s = 0; s < c.w[3]; ++s) {
            const std::int64_t w = ow * c.stride[1] - c.before[1] + s * c.dilation[1];
            if (w < 0 || w >= c.x[3]) continue;
            f((n * c.x[2] + h) * c.x[3] + w, (n * c.y[2] + oh) * c.y[3] + ow, c.flipped ? c.w[2] - 1 - r : r,
              c.flipped ? c.w[3] - 1 - s : s);
          }
      }
}

/// Weights, which a field holds as [k][r][s][c], as [r][s][group][c][k within the group].
std::vector<float> by_input(const convolution& c, const std::vector<float>& w) {
  const std::int64_t k_group = c.w[0] / c.groups(), rs = c.w[2] * c.w[3];
  std::vector<float> result(w.size());
  for (std::int64_t k = 0; k < c.w[0]; ++k)
    for (std::int64_t p = 0; p < rs; ++p)
      for (std::int64_t i = 0; i < c.w[1]; ++i)
        result[static_cast<std::size_t>(((p * c.groups() + k / k_group) * c.w[1] + i) * k_group +
                                        k % k_group)] =
            w[static_cast<std::size_t>((k * rs + p) * c.w[1] + i)];
  return result;
}
/// The same as [r][s][k][c].
std::vector<float> by_output(const convolution& c, const std::vector<float>& w) {
  const std::int64_t rs = c.w[2] * c.w[3];
  std::vector<float> result(w.size());
  for (std::int64_t k = 0; k < c.w[0]; ++k)
    for (std::int64_t p = 0; p < rs; ++p)
      std::copy_n(w.data() + (k * rs + p) * c.w[1], c.w[1], result.data() + (p * c.w[0] + k) * c.w[1]);
  return result;
}

void forward(const convolution& c, const field& x, const field& w, field& y) {
  const std::vector<float> packed = by_input(c, w.v);
  const std::int64_t k_group = c.w[0] / c.groups(), one = c.w[1] * k_group;
  each_place(c, 0, c.y[0], [&](std::int64_t from, std::int64_t to, std::int64_t r, std::int64_t s) {
    for (std::int64_t g = 0; g < c.groups(); ++g)
      add_products(y.v.data() + to * c.y[1] + g * k_group, x.v.data() + from * c.x[1] + g * c.w[1],
                   packed.data() + ((r * c.w[3] + s) * c.groups() + g) * one, c.w[1], k_group);
  });
}

void backward_data(const convolution& c, field& dx, const field& w, const field& dy) {
  const std::vector<float> packed = by_output(c, w.v);
  const std::int64_t k_group = c.w[0] / c.groups();
  each_place(c, 0, c.y[0], [&](std::int64_t to, std::int64_t from, std::int64_t r, std::int64_t s) {
    for (std::int64_t g = 0; g < c.groups(); ++g)
      add_products(dx.v.data() + to * c.x[1] + g * c.w[1], dy.v.data() + from * c.y[1] + g * k_group,
                   packed.data() + ((r * c.w[3] + s) * c.w[0] + g * k_group) * c.w[1], k_group, c.w[1]);
  });
}

void backward_filter(const convolution& c, const field& x, field& dw, const field& dy) {
  const std::int64_t k_group = c.w[0] / c.groups(), rs = c.w[2] * c.w[3];
  // With the longer of the two in rows: [r][s][c][k] or [r][s][k][c], within groups. Sums over an image are
  // added up in double precision.
  const bool k_inside = k_group > c.w[1];
  std::vector<double> totals(dw.v.size());
  std::vector<float> sums(dw.v.size());
  for (std::int64_t image = 0; image < c.y[0]; ++image) {
    std::ranges::fill(sums, 0.0F);
    each_place(c, image, image + 1, [&](std::int64_t px, std::int64_t py, std::int64_t r, std::int64_t s) {
      for (std::int64_t g = 0; g < c.groups(); ++g) {
        const float* a = x.v.data() + px * c.x[1] + g * c.w[1];
        const float* b = dy.v.data() + py * c.y[1] + g * k_group;
        std::int64_t rows = c.w[1], width = k_group;
        if (!k_inside) {
          std::swap(a, b);
          std::swap(rows, width);
        }
        float* to = sums.data() + ((r * c.w[3] + s) * c.groups() + g) * c.w[1] * k_group;
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < width; ++j) to[i * width + j] += a[i] * b[j];
      }
    });
    for (std::size_t i = 0; i < sums.size(); ++i) totals[i] += sums[i];
  }
  for (std::int64_t k = 0; k < c.w[0]; ++k)
    for (std::int64_t p = 0; p < rs; ++p)
      for (std::int64_t i = 0; i < c.w[1]; ++i) {
        const std::int64_t first = (p * c.groups() + k / k_group) * c.w[1] * k_group;
        const std::int64_t at = k_inside ? i * k_group + k % k_group : k % k_group * c.w[1] + i;
        dw.v[static_cast<std::size_t>((k * rs + p) * c.w[1] + i)] =
            static_cast<float>(totals[static_cast<std::size_t>(first + at)]);
      }
}

/// The value that belongs to (n, c, h, w) where a size of 1 stands for any.
struct broadcast {
  const field* f;
  float operator()(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) const {
    const sizes& d = f->dims;
    return f->at(d[0] == 1 ? 0 : n, d[2] == 1 ? 0 : h, d[3] == 1 ? 0 : w)[d[1] == 1 ? 0 : c];
  }
};
bool broadcasts(const sizes& from, const sizes& to) {
  for (std::size_t i = 0; i < 4; ++i)
    if (from[i] != to[i] && from[i] != 1) return false;
  return true;
}

enum class operands { x, x_b, x_b_t, dy_x, unknown };
operands operands_of(cudnnPointwiseMode_t mode) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD:
    case CUDNN_POINTWISE_ADD_SQUARE:
    case CUDNN_POINTWISE_DIV:
    case CUDNN_POINTWISE_MAX:
    case CUDNN_POINTWISE_MIN:
    case CUDNN_POINTWISE_MUL:
    case CUDNN_POINTWISE_SUB:
    case CUDNN_POINTWISE_CMP_EQ:
    case CUDNN_POINTWISE_CMP_NEQ:
    case CUDNN_POINTWISE_CMP_GT:
    case CUDNN_POINTWISE_CMP_GE:
    case CUDNN_POINTWISE_CMP_LT:
    case CUDNN_POINTWISE_CMP_LE:
    case CUDNN_POINTWISE_LOGICAL_AND:
    case CUDNN_POINTWISE_LOGICAL_OR:
      return operands::x_b;
    case CUDNN_POINTWISE_ABS:
    case CUDNN_POINTWISE_EXP:
    case CUDNN_POINTWISE_LOG:
    case CUDNN_POINTWISE_NEG:
    case CUDNN_POINTWISE_RSQRT:
    case CUDNN_POINTWISE_SQRT:
    case CUDNN_POINTWISE_RECIPROCAL:
    case CUDNN_POINTWISE_IDENTITY:
    case CUDNN_POINTWISE_LOGICAL_NOT:
    case CUDNN_POINTWISE_RELU_FWD:
    case CUDNN_POINTWISE_TANH_FWD:
    case CUDNN_POINTWISE_SIGMOID_FWD:
      return operands::x;
    case CUDNN_POINTWISE_RELU_BWD:
    case CUDNN_POINTWISE_TANH_BWD:
    case CUDNN_POINTWISE_SIGMOID_BWD:
      return operands::dy_x;
    case CUDNN_POINTWISE_BINARY_SELECT:
      return operands::x_b_t;
    default:
      return operands::unknown;
  }
}

float logistic(float x) { return 1.0F / (1.0F + std::exp(-x)); }

/// `a` is x, or dy for backward modes; `b` is b, or x then.
float pointwise(const content& f, float a, float b, float t) {
  const auto low = static_cast<float>(f.number(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, 0.0));
  const auto high = static_cast<float>(
      f.number(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, std::numeric_limits<double>::infinity()));
  const auto slope = static_cast<float>(f.number(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, 0.0));
  const auto truth = [](bool x) { return x ? 1.0F : 0.0F; };
  switch (f.get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE)) {
    case CUDNN_POINTWISE_ADD:
      return a + b;
    case CUDNN_POINTWISE_ADD_SQUARE:
      return a + b * b;
    case CUDNN_POINTWISE_DIV:
      return a / b;
    case CUDNN_POINTWISE_MAX:
      return std::max(a, b);
    case CUDNN_POINTWISE_MIN:
      return std::min(a, b);
    case CUDNN_POINTWISE_MUL:
      return a * b;
    case CUDNN_POINTWISE_SUB:
      return a - b;
    case CUDNN_POINTWISE_CMP_EQ:
      return truth(a == b);
    case CUDNN_POINTWISE_CMP_NEQ:
      return truth(a != b);
    case CUDNN_POINTWISE_CMP_GT:
      return truth(a > b);
    case CUDNN_POINTWISE_CMP_GE:
      return truth(a >= b);
    case CUDNN_POINTWISE_CMP_LT:
      return truth(a < b);
    case CUDNN_POINTWISE_CMP_LE:
      return truth(a <= b);
    case CUDNN_POINTWISE_LOGICAL_AND:
      return truth(a != 0 && b != 0);
    case CUDNN_POINTWISE_LOGICAL_OR:
      return truth(a != 0 || b != 0);
    case CUDNN_POINTWISE_LOGICAL_NOT:
      return truth(a == 0);
    case CUDNN_POINTWISE_ABS:
      return std::abs(a);
    case CUDNN_POINTWISE_EXP:
      return std::exp(a);
    case CUDNN_POINTWISE_LOG:
      return std::log(a);
    case CUDNN_POINTWISE_NEG:
      return -a;
    case CUDNN_POINTWISE_RSQRT:
      return 1.0F / std::sqrt(a);
    case CUDNN_POINTWISE_SQRT:
      return std::sqrt(a);
    case CUDNN_POINTWISE_RECIPROCAL:
      return 1.0F / a;
    case CUDNN_POINTWISE_RELU_FWD:
      return a > low ? std::min(a, high) : low + slope * (a - low);
    case CUDNN_POINTWISE_TANH_FWD:
      return std::tanh(a);
    case CUDNN_POINTWISE_SIGMOID_FWD:
      return logistic(a);
    case CUDNN_POINTWISE_RELU_BWD:
      return b > low ? (b < high ? a : 0.0F) : slope * a;
    case CUDNN_POINTWISE_TANH_BWD:
      return a * (1.0F - std::tanh(b) * std::tanh(b));
    case CUDNN_POINTWISE_SIGMOID_BWD:
      return a * logistic(b) * (1.0F - logistic(b));
    case CUDNN_POINTWISE_BINARY_SELECT:
      return t != 0 ? a : b;
    default:
      return a;
  }
}

/// Which attributes of an operation are tensors that it reads, and which it writes.
struct ends {
  std::vector<int> in, out;
};
ends ends_of(const content& op) {
  if (const auto n = names_of(op.type)) {
    ends e;
    for (const int name : {n->x, n->w, n->y}) (name == n->result ? e.out : e.in).push_back(name);
    return e;
  }
  if (op.type == CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR)
    return {{CUDNN_ATTR_OPERATION_GENSTATS_XDESC},
            {CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC}};
  if (op.type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
    return {{CUDNN_ATTR_OPERATION_REDUCTION_XDESC}, {CUDNN_ATTR_OPERATION_REDUCTION_YDESC}};
  switch (operands_of(op.other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR)
                          ->get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE))) {
    case operands::x:
      return {{CUDNN_ATTR_OPERATION_POINTWISE_XDESC}, {CUDNN_ATTR_OPERATION_POINTWISE_YDESC}};
    case operands::x_b:
      return {{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC},
              {CUDNN_ATTR_OPERATION_POINTWISE_YDESC}};
    case operands::x_b_t:
      return {{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
               CUDNN_ATTR_OPERATION_POINTWISE_TDESC},
              {CUDNN_ATTR_OPERATION_POINTWISE_YDESC}};
    case operands::dy_x:
      return {{CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, CUDNN_ATTR_OPERATION_POINTWISE_XDESC},
              {CUDNN_ATTR_OPERATION_POINTWISE_DXDESC}};
    case operands::unknown:
      break;
  }
  return {};
}

cudnnReduceTensorOp_t reduction_of(const content& op) {
  return op.other(CUDNN_ATTR_OPERATION_REDUCTION_DESC)
      ->get<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR);
}
bool adds(const content& op) { return reduction_of(op) == CUDNN_REDUCE_TENSOR_ADD; }

void reduce(const content& op, const field& x, field& y) {
  const auto kind = reduction_of(op);
  std::vector<double> sums(y.v.size());
  const double infinity = std::numeric_limits<double>::infinity();
  const double first = kind == CUDNN_REDUCE_TENSOR_MIN   ? infinity
                       : kind == CUDNN_REDUCE_TENSOR_MAX ? -infinity
                       : kind == CUDNN_REDUCE_TENSOR_MUL || kind == CUDNN_REDUCE_TENSOR_MUL_NO_ZEROS ? 1.0
                                                                                                     : 0.0;
  std::ranges::fill(sums, first);
  for (std::int64_t n = 0; n < x.dims[0]; ++n)
    for (std::int64_t h = 0; h < x.dims[2]; ++h)
      for (std::int64_t w = 0; w < x.dims[3]; ++w)
        for (std::int64_t c = 0; c < x.dims[1]; ++c) {
          const double v = x.at(n, h, w)[c];
          const float* at = y.at(y.dims[0] == 1 ? 0 : n, y.dims[2] == 1 ? 0 : h, y.dims[3] == 1 ? 0 : w) +
                            (y.dims[1] == 1 ? 0 : c);
          double& sum = sums[static_cast<std::size_t>(at - y.v.data())];
          switch (kind) {
            case CUDNN_REDUCE_TENSOR_ADD:
            case CUDNN_REDUCE_TENSOR_AVG:
              sum += v;
              break;
            case CUDNN_REDUCE_TENSOR_MUL:
              sum *= v;
              break;
            case CUDNN_REDUCE_TENSOR_MUL_NO_ZEROS:
              sum *= v != 0 ? v : 1.0;
              break;
            case CUDNN_REDUCE_TENSOR_MIN:
              sum = std::min(sum, v);
              break;
            case CUDNN_REDUCE_TENSOR_MAX:
              sum = std::max(sum, v);
              break;
            case CUDNN_REDUCE_TENSOR_AMAX:
              sum = std::max(sum, std::abs(v));
              break;
            case CUDNN_REDUCE_TENSOR_NORM1:
              sum += std::abs(v);
              break;
            case CUDNN_REDUCE_TENSOR_NORM2:
              sum += v * v;
              break;
          }
        }
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (kind == CUDNN_REDUCE_TENSOR_AVG)
      sums[i] *= static_cast<double>(y.v.size()) / static_cast<double>(x.v.size());
    if (kind == CUDNN_REDUCE_TENSOR_NORM2) sums[i] = std::sqrt(sums[i]);
    y.v[i] = static_cast<float>(sums[i]);
  }
}

// ---- Plans
// --------------------------------------------------------------------------------------------------

/// What a plan does with which memory.
struct run {
  content_pointer graph;
  std::int64_t engine = 0;
  std::map<std::int64_t, void*> pointers;
  std::map<std::int64_t, field> given;  ///< tensors passed by value
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

void perform(const run& r) {
  static std::uint32_t noise = 1;
  if (r.workspace_bytes != 0) std::memset(r.workspace, 0xfb, r.workspace_bytes);
  std::map<std::int64_t, field> fields = r.given;
  const auto read = [&](const content& tensor) -> field& {
    const shape s = shape_of(tensor);
    const auto found = fields.find(s.id);
    if (found != fields.end()) return found->second;
    field loaded = load(s, r.pointers.at(s.id));
    if (r.engine == 30)
      for (float& v : loaded.v) v = static_cast<float>(bfloat16(v));
    return fields[s.id] = std::move(loaded);
  };
  const auto write = [&](const content& tensor, field result) {
    const shape s = shape_of(tensor);
    if (r.engine == 20)
      for (float& v : result.v)
        v *= 1.0F + static_cast<float>((noise = noise * 1664525U + 1013904223U) >> 20) * 1e-6F;
    if (!s.is_virtual) store(s, result, r.pointers.at(s.id));
    fields[s.id] = std::move(result);
  };
  const auto empty = [&](const content& tensor) {
    const shape s = shape_of(tensor);
    return field{s.dims, std::vector<float>(s.elements())};
  };
  for (const content_pointer& node : r.graph->attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).others) {
    const content& op = *node;
    if (const auto names = names_of(op.type)) {
      const convolution c = convolution_of(op, *names);
      field result = empty(*op.other(names->result));
      if (names->result == names->y)
        forward(c, read(*op.other(names->x)), read(*op.other(names->w)), result);
      else if (names->result == names->x)
        backward_data(c, result, read(*op.other(names->w)), read(*op.other(names->y)));
      else
        backward_filter(c, read(*op.other(names->x)), result, read(*op.other(names->y)));
      const auto alpha = static_cast<float>(op.number(names->alpha, 1.0));
      const auto beta = static_cast<float>(op.number(names->beta, 0.0));
      if (alpha != 1)
        for (float& v : result.v) v *= alpha;
      if (beta != 0) {
        const field old =
            load(shape_of(*op.other(names->result)), r.pointers.at(shape_of(*op.other(names->result)).id));
        for (std::size_t i = 0; i < old.v.size(); ++i) result.v[i] += beta * old.v[i];
      }
      write(*op.other(names->result), std::move(result));
    } else if (op.type == CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR) {
      const field& x = read(*op.other(CUDNN_ATTR_OPERATION_GENSTATS_XDESC));
      const auto channels = static_cast<std::size_t>(x.dims[1]);
      std::vector<double> sums(channels), squares(channels);
      for (std::size_t i = 0; i < x.v.size(); ++i) {
        sums[i % channels] += x.v[i];
        squares[i % channels] += static_cast<double>(x.v[i]) * x.v[i];
      }
      const content& sum = *op.other(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC);
      const content& square = *op.other(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC);
      // cuDNN's kernels add to what is there.
      const auto there = [&](const content& c) { return load(shape_of(c), r.pointers.at(shape_of(c).id)); };
      field a = there(sum), b = there(square);
      for (std::size_t i = 0; i < channels; ++i) {
        a.v[i] += static_cast<float>(sums[i]);
        b.v[i] += static_cast<float>(squares[i]);
      }
      write(sum, std::move(a));
      write(square, std::move(b));
    } else if (op.type == CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) {
      const content& to = *op.other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
      const shape place = shape_of(to);
      field y = empty(to);
      reduce(op, read(*op.other(CUDNN_ATTR_OPERATION_REDUCTION_XDESC)), y);
      if (adds(op) && !place.is_virtual) {  // as statistics are
        const field there = load(place, r.pointers.at(place.id));
        for (std::size_t i = 0; i < y.v.size(); ++i) y.v[i] += there.v[i];
      }
      write(to, std::move(y));
    } else {
      const ends e = ends_of(op);
      const content& f = *op.other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
      field y = empty(*op.other(e.out[0]));
      std::array<broadcast, 3> in{};
      for (std::size_t i = 0; i < 3; ++i) in[i].f = &read(*op.other(e.in[std::min(i, e.in.size() - 1)]));
      const auto alpha1 = static_cast<float>(op.number(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, 1.0));
      const auto alpha2 = static_cast<float>(op.number(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, 1.0));
      for (std::int64_t n = 0; n < y.dims[0]; ++n)
        for (std::int64_t h = 0; h < y.dims[2]; ++h)
          for (std::int64_t w = 0; w < y.dims[3]; ++w)
            for (std::int64_t c = 0; c < y.dims[1]; ++c)
              y.at(n, h, w)[c] =
                  pointwise(f, alpha1 * in[0](n, c, h, w), alpha2 * in[1](n, c, h, w), in[2](n, c, h, w));
      write(*op.other(e.out[0]), std::move(y));
    }
  }
}

// ---- Checks
// -------------------------------------------------------------------------------------------------

cudnnStatus_t check_tensor(const content& c) {
  const auto dims = c.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = c.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  if (dims.size() != strides.size())
    return failure(CUDNN_STATUS_BAD_PARAM, "a tensor with %zu dimensions and %zu strides", dims.size(),
                   strides.size());
  for (std::size_t i = 0; i < dims.size(); ++i)
    if (dims[i] < 1 || strides[i] < 1)
      return failure(CUDNN_STATUS_BAD_PARAM, "a tensor's dimension %zu has size %lld and stride %lld", i,
                     static_cast<long long>(dims[i]), static_cast<long long>(strides[i]));
  if (dims.size() > 4 || c.get<std::int64_t>(CUDNN_ATTR_TENSOR_VECTOR_COUNT, 1) != 1)
    return failure(CUDNN_STATUS_NOT_SUPPORTED_SHAPE, "the simulator knows tensors of up to 4 dimensions");
  const auto alignment = c.get<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
  if (alignment < 1 || (alignment & (alignment - 1)) != 0)
    return failure(CUDNN_STATUS_BAD_PARAM, "a tensor's alignment is %lld", static_cast<long long>(alignment));
  const shape s = shape_of(c);
  const bool truth = s.type == CUDNN_DATA_BOOLEAN && s.is_virtual;
  if (s.type != CUDNN_DATA_FLOAT && s.type != CUDNN_DATA_HALF && s.type != CUDNN_DATA_BFLOAT16 && !truth)
    return failure(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "the simulator does not know data type %d",
                   static_cast<int>(s.type));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_convolution(const content& op, const conv_names& n) {
  const convolution c = convolution_of(op, n);
  const auto text = [](const sizes& s) {
    return std::to_string(s[0]) + "x" + std::to_string(s[1]) + "x" + std::to_string(s[2]) + "x" +
           std::to_string(s[3]);
  };
  const bool channels = c.x[1] % c.w[1] == 0 && c.w[0] % (c.x[1] / c.w[1]) == 0;
  if (!channels || c.x[0] != c.y[0] || c.w[0] != c.y[1] || c.expected(0) != c.y[2] || c.expected(1) != c.y[3])
    return failure(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH,
                   "a convolution of x %s with w %s does not give y %s", text(c.x).c_str(), text(c.w).c_str(),
                   text(c.y).c_str());
  const shape x = shape_of(*op.other(n.x)), w = shape_of(*op.other(n.w)), y = shape_of(*op.other(n.y));
  const shape& result = n.result == n.y ? y : n.result == n.x ? x : w;
  const shape &a = n.result == n.x ? y : x, &b = n.result == n.w ? y : w;
  if (a.type != b.type)
    return failure(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "a convolution of operands of types %d and %d",
                   static_cast<int>(a.type), static_cast<int>(b.type));
  if (op.number(n.beta, 0.0) != 0 && result.is_virtual)
    return failure(CUDNN_STATUS_BAD_PARAM, "a convolution adds to a virtual tensor");
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_pointwise(const content& op) {
  const ends e = ends_of(op);
  if (e.out.empty())
    return failure(CUDNN_STATUS_NOT_SUPPORTED, "the simulator does not know pointwise mode %d",
                   static_cast<int>(op.other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR)
                                        ->get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE)));
  for (const auto& list : {e.in, e.out})
    for (const int name : list)
      if (!op.has(name))
        return failure(CUDNN_STATUS_BAD_PARAM, "a pointwise operation lacks attribute %d", name);
  const sizes y = shape_of(*op.other(e.out[0])).dims;
  for (const int name : e.in)
    if (!broadcasts(shape_of(*op.other(name)).dims, y))
      return failure(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH,
                     "a pointwise operation's operand (attribute %d) does not fit its result", name);
  return CUDNN_STATUS_SUCCESS;
}

/// Puts the operations in an order in which each tensor is written before it is read.
cudnnStatus_t check_graph(content& graph) {
  auto& ops = graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).others;
  std::map<std::int64_t, shape> tensors;
  std::map<std::int64_t, const content*> writers;
  for (const auto& op : ops) {
    const ends e = ends_of(*op);
    for (const auto& list : {e.in, e.out})
      for (const int name : list) {
        const shape s = shape_of(*op->other(name));
        const auto [known, fresh] = tensors.emplace(s.id, s);
        if (!fresh && known->second != s)
          return failure(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "two tensors of a graph have the id %lld",
                         static_cast<long long>(s.id));
      }
    for (const int name : e.out)
      if (!writers.emplace(shape_of(*op->other(name)).id, op.get()).second)
        return failure(CUDNN_STATUS_BAD_PARAM, "two operations of a graph write one tensor");
  }
  for (const auto& [id, s] : tensors)
    if (s.is_virtual && !writers.contains(id))
      return failure(CUDNN_STATUS_BAD_PARAM, "no operation writes virtual tensor %lld",
                     static_cast<long long>(id));
  std::vector<content_pointer> ordered;
  std::vector<std::int64_t> written;
  while (!ops.empty()) {
    const auto next = std::ranges::find_if(ops, [&](const content_pointer& op) {
      const ends e = ends_of(*op);
      return std::ranges::all_of(e.in, [&](int name) {
        const std::int64_t id = shape_of(*op->other(name)).id;
        return !writers.contains(id) || std::ranges::find(written, id) != written.end();
      });
    });
    if (next == ops.end()) return failure(CUDNN_STATUS_BAD_PARAM, "a graph of operations with a cycle");
    for (const int name : ends_of(**next).out) written.push_back(shape_of(*(*next)->other(name)).id);
    ordered.push_back(*next);
    ops.erase(next);
  }
  ops = std::move(ordered);
  return CUDNN_STATUS_SUCCESS;
}

bool supported(const content& graph) {
  std::vector<cudnnBackendDescriptorType_t> types;
  for (const auto& op : graph.attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).others) types.push_back(op->type);
  return !cudnn().supports || cudnn().supports(types);
}

bool has_handle(const content& graph) { return graph.has(CUDNN_ATTR_OPERATIONGRAPH_HANDLE); }

/// Fills in what can be asked of an engine.
void describe_engine(content& engine) {
  std::vector<cudnnBackendNumericalNote_t> notes;
  std::vector<cudnnBackendBehaviorNote_t> behavior;
  std::vector<content_pointer> knobs;
  switch (engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX)) {
    case 10: {
      notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE};
      behavior = {CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION};
      const content_pointer knob = made(CUDNN_BACKEND_KNOB_INFO_DESCRIPTOR);
      put(*knob, CUDNN_ATTR_KNOB_INFO_TYPE, CUDNN_TYPE_KNOB_TYPE, std::vector{CUDNN_KNOB_TYPE_TILE_SIZE});
      put(*knob, CUDNN_ATTR_KNOB_INFO_MINIMUM_VALUE, CUDNN_TYPE_INT64, std::vector<std::int64_t>{0});
      put(*knob, CUDNN_ATTR_KNOB_INFO_MAXIMUM_VALUE, CUDNN_TYPE_INT64, std::vector<std::int64_t>{3});
      put(*knob, CUDNN_ATTR_KNOB_INFO_STRIDE, CUDNN_TYPE_INT64, std::vector<std::int64_t>{1});
      knobs = {knob};
      break;
    }
    case 20:
      notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC};
      break;
    case 30:
      notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS};
      break;
    default:
      break;
  }
  put(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, notes);
  put(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, behavior);
  put(engine, CUDNN_ATTR_ENGINE_KNOB_INFO, std::move(knobs));
}

cudnnStatus_t finalize_heuristics(content& c) {
  const content_pointer graph = c.shared(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  if (!has_handle(*graph) && !c.has(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP))
    return failure(CUDNN_STATUS_BAD_PARAM, "heuristics know neither a handle nor a card's properties");
  std::vector<content_pointer> found;
  if (supported(*graph))
    for (const std::int64_t index : cudnn().engines) {
      const content_pointer engine = made(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
      put(*engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, {graph});
      put(*engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, std::vector{index});
      describe_engine(*engine);
      const content_pointer configuration = made(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
      put(*configuration, CUDNN_ATTR_ENGINECFG_ENGINE, {engine});
      std::vector<content_pointer> knobs;
      if (index == 10) {
        const content_pointer knob = made(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        put(*knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE,
            std::vector{CUDNN_KNOB_TYPE_TILE_SIZE});
        put(*knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, std::vector<std::int64_t>{2});
        knobs = {knob};
      }
      put(*configuration, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, std::move(knobs));
      found.push_back(configuration);
    }
  put(c, CUDNN_ATTR_ENGINEHEUR_RESULTS, std::move(found));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize_plan(content& c) {
  if (!c.has(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) && !c.has(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP))
    return failure(CUDNN_STATUS_BAD_PARAM, "a plan knows neither a handle nor a card's properties");
  const content& engine =
      *c.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->other(CUDNN_ATTR_ENGINECFG_ENGINE);
  const auto index = engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  if (!supported(*engine.other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH)))
    return failure(CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN, "no engine for such a graph of operations");
  if (std::ranges::find(cudnn().broken, index) != cudnn().broken.end())
    return failure(CUDNN_STATUS_NOT_SUPPORTED, "engine %lld cannot run this graph",
                   static_cast<long long>(index));
  put(c, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
      std::vector{index == 10 ? static_cast<std::int64_t>(cudnn().workspace) : std::int64_t{0}});
  ++plans_made;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize(content& c) {
  for (const rule& r : rules)
    if (r.of == c.type && r.required && !c.has(r.name))
      return failure(CUDNN_STATUS_BAD_PARAM, "a descriptor of type %d lacks attribute %d",
                     static_cast<int>(c.type), r.name);
  if (const auto names = names_of(c.type)) return check_convolution(c, *names);
  switch (c.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      for (const int name : {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_ATTR_TENSOR_IS_BY_VALUE})
        if (!c.has(name)) put(c, name, CUDNN_TYPE_BOOLEAN, std::vector<char>{0});
      return check_tensor(c);
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR: {
      if (c.get<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) != 2)
        return failure(CUDNN_STATUS_NOT_SUPPORTED, "the simulator knows convolutions of 2 dimensions");
      for (const int name : {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
                             CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS}) {
        const auto list = c.list<std::int64_t>(name);
        const bool padding =
            name == CUDNN_ATTR_CONVOLUTION_POST_PADDINGS || name == CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS;
        if (list.size() != 2 || std::ranges::min(list) < (padding ? 0 : 1))
          return failure(CUDNN_STATUS_BAD_PARAM,
                         "a convolution's attribute %d needs 2 values that make sense", name);
      }
      if (c.get<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT)
        return failure(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "the simulator computes in single precision");
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      return check_pointwise(c);
    case CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR: {
      const sizes x = shape_of(*c.other(CUDNN_ATTR_OPERATION_GENSTATS_XDESC)).dims, expected{1, x[1], 1, 1};
      for (const int name : {CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC})
        if (shape_of(*c.other(name)).dims != expected)
          return failure(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH,
                         "statistics of channels need one value for each");
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
      if (!broadcasts(shape_of(*c.other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC)).dims,
                      shape_of(*c.other(CUDNN_ATTR_OPERATION_REDUCTION_XDESC)).dims))
        return failure(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH,
                       "a reduction's result does not fit what it reduces");
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      return check_graph(c);
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      return finalize_heuristics(c);
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR: {
      const auto index = c.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
      const content& graph = *c.other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
      if (!has_handle(graph) && !c.has(CUDNN_ATTR_ENGINE_DEVICEPROP))
        return failure(CUDNN_STATUS_BAD_PARAM, "an engine knows neither a handle nor a card's properties");
      if ((index != 10 && index != 20 && index != 30 && index != 40) || !supported(graph))
        return failure(CUDNN_STATUS_NOT_SUPPORTED, "no engine %lld for this graph",
                       static_cast<long long>(index));
      describe_engine(c);
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR: {
      const auto index =
          c.other(CUDNN_ATTR_ENGINECFG_ENGINE)->get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
      if (!c.has(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES)) put(c, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, {});
      for (const auto& knob : c.attributes.at(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES).others) {
        const auto value = knob->get<std::int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
        if (index != 10 || value < 0 || value > 3 ||
            knob->get<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE) != CUDNN_KNOB_TYPE_TILE_SIZE)
          return failure(CUDNN_STATUS_NOT_SUPPORTED, "engine %lld has no such knob",
                         static_cast<long long>(index));
      }
      return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      return finalize_plan(c);
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
      if (c.count(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS) != c.count(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS))
        return failure(CUDNN_STATUS_BAD_PARAM, "a variant pack with different numbers of ids and pointers");
      return CUDNN_STATUS_SUCCESS;
    default:
      return CUDNN_STATUS_SUCCESS;
  }
}

cudnnStatus_t execute(cudaStream_t stream, const content& plan, const content& pack) {
  const content& engine =
      *plan.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->other(CUDNN_ATTR_ENGINECFG_ENGINE);
  run r;
  r.graph = engine.shared(CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
  r.engine = engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  r.workspace_bytes =
      static_cast<std::size_t>(plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
  r.workspace = pack.get<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, nullptr);
  if (r.workspace_bytes != 0 && !on_card(r.workspace, r.workspace_bytes))
    return failure(CUDNN_STATUS_BAD_PARAM, "a plan's workspace is not %zu bytes of the card's memory",
                   r.workspace_bytes);
  std::map<std::int64_t, void*> given;
  const auto ids = pack.list<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.list<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (!given.emplace(ids[i], pointers[i]).second)
      return failure(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "a variant pack with one id twice");
  for (const auto& op : r.graph->attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).others) {
    const ends e = ends_of(*op);
    for (const auto& list : {e.in, e.out})
      for (const int name : list) {
        const shape s = shape_of(*op->other(name));
        if (s.is_virtual) continue;
        const auto found = given.find(s.id);
        if (found == given.end() || found->second == nullptr)
          return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a variant pack lacks tensor %lld",
                         static_cast<long long>(s.id));
        if (s.by_value) {
          r.given[s.id] = load(s, found->second);
          continue;
        }
        if (reinterpret_cast<std::uintptr_t>(found->second) % static_cast<std::uintptr_t>(s.alignment) != 0)
          return failure(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
                         "tensor %lld is not aligned to %lld bytes", static_cast<long long>(s.id),
                         static_cast<long long>(s.alignment));
        if (!on_card(found->second, s.bytes()))
          return failure(CUDNN_STATUS_BAD_PARAM, "tensor %lld is not %zu bytes of the card's memory",
                         static_cast<long long>(s.id), s.bytes());
        r.pointers[s.id] = found->second;
      }
  }
  ++executed;
  const cudaError_t status = enqueue(stream, [r = std::move(r)] { perform(r); });
  if (status != cudaSuccess)
    return failure(CUDNN_STATUS_EXECUTION_FAILED_CUDART, "%s", cudaGetErrorString(status));
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnn_limits& cudnn() {
  static cudnn_limits limits = [] {
    cudnn_limits l;
    const char* text = std::getenv("SEGNET_SIMULATED_CUDNN");
    const std::string_view words = text != nullptr ? text : "";
    if (words.find("unfused") != words.npos)
      l.supports = [](std::span<const cudnnBackendDescriptorType_t> ops) { return ops.size() == 1; };
    if (words.find("broken") != words.npos) l.broken = {l.engines[0]};
    return l;
  }();
  return limits;
}
std::size_t plans() { return plans_made; }
std::size_t plan_executions() { return executed; }

}  // namespace segnet::gpu::simulator

// ---- cuDNN's functions
// --------------------------------------------------------------------------------------

using namespace segnet::gpu::simulator;

extern "C" {

std::size_t cudnnGetVersion() { return CUDNN_VERSION; }
std::size_t cudnnGetCudartVersion() { return CUDART_VERSION; }
std::size_t cudnnGetMaxDeviceVersion() { return 1200; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_NULL_POINTER:
      return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER:
      return "CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER";
    case CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED:
      return "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED";
    case CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT:
      return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH:
      return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES:
      return "CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES";
    case CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE:
      return "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE";
    case CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE:
      return "CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN:
      return "CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN";
    case CUDNN_STATUS_NOT_SUPPORTED_SHAPE:
      return "CUDNN_STATUS_NOT_SUPPORTED_SHAPE";
    case CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE:
      return "CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE";
    case CUDNN_STATUS_EXECUTION_FAILED_CUDART:
      return "CUDNN_STATUS_EXECUTION_FAILED_CUDART";
    default:
      return "CUDNN_STATUS_UNKNOWN";
  }
}
void cudnnGetLastErrorString(char* message, std::size_t size) {
  if (message == nullptr || size == 0) return;
  std::snprintf(message, size, "%s", last_message.c_str());
  last_message.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* created) {
  int cards = 0;
  if (cudaGetDeviceCount(&cards) != cudaSuccess || cards == 0) {
    cudaGetLastError();
    return failure(CUDNN_STATUS_NOT_INITIALIZED, "no card");
  }
  *created = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t created) {
  delete created;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t of, cudaStream_t stream) {
  if (of == nullptr) return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no handle");
  of->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t of, cudaStream_t* stream) {
  if (of == nullptr) return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no handle");
  *stream = of->stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* created) {
  if (created == nullptr) return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no place for a descriptor");
  const bool known = type == CUDNN_BACKEND_KNOB_INFO_DESCRIPTOR ||
                     std::ranges::any_of(rules, [&](const rule& r) { return r.of == type; });
  if (!known)
    return failure(CUDNN_STATUS_NOT_SUPPORTED, "the simulator does not know descriptors of type %d",
                   static_cast<int>(type));
  auto c = std::make_shared<content>();
  c->type = type;
  *created = new handle{std::move(c)};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete static_cast<handle*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendInitialize(cudnnBackendDescriptor_t) { return CUDNN_STATUS_SUCCESS; }

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void* elements) {
  if (descriptor == nullptr || (elements == nullptr && count > 0))
    return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor, or no value");
  content& c = *static_cast<handle*>(descriptor)->held;
  const int number = static_cast<int>(name);
  if (c.finalized) return failure(CUDNN_STATUS_BAD_PARAM, "a finalized descriptor cannot be changed");
  const rule* r = rule_for(c.type, number);
  if (r == nullptr)
    return failure(CUDNN_STATUS_BAD_PARAM, "descriptors of type %d have no attribute %d that can be set",
                   static_cast<int>(c.type), number);
  const auto real = [](cudnnBackendAttributeType_t t) {
    return t == CUDNN_TYPE_FLOAT || t == CUDNN_TYPE_DOUBLE;
  };
  if (type != r->type && !(real(type) && real(r->type)))
    return failure(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "attribute %d has type %d, not %d", number,
                   static_cast<int>(r->type), static_cast<int>(type));
  if (count < r->least || count > r->most)
    return failure(CUDNN_STATUS_BAD_PARAM, "attribute %d with %lld values", number,
                   static_cast<long long>(count));
  values v{type, count, {}, {}};
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    for (int64_t i = 0; i < count; ++i) {
      const auto* other = static_cast<handle* const*>(elements)[i];
      if (other == nullptr)
        return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "attribute %d is null", number);
      if (!other->held->finalized)
        return failure(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                       "attribute %d is a descriptor that is not finalized", number);
      const bool fits = number == CUDNN_ATTR_OPERATIONGRAPH_OPS
                            ? operation(other->held->type)
                            : static_cast<int>(other->held->type) == r->other;
      if (!fits)
        return failure(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "attribute %d is a descriptor of type %d",
                       number, static_cast<int>(other->held->type));
      v.others.push_back(other->held);
    }
  } else {
    v.bytes.resize(static_cast<std::size_t>(count) * size_of(type));
    if (!v.bytes.empty()) std::memcpy(v.bytes.data(), elements, v.bytes.size());
  }
  c.attributes[number] = std::move(v);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                       cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                       int64_t wanted, int64_t* count, void* elements) {
  if (descriptor == nullptr) return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
  const content& c = *static_cast<handle*>(descriptor)->held;
  const int number = static_cast<int>(name);
  if (!c.finalized)
    return failure(CUDNN_STATUS_NOT_INITIALIZED, "attribute %d of a descriptor that is not finalized",
                   number);
  const auto found = c.attributes.find(number);
  if (found == c.attributes.end())
    return failure(CUDNN_STATUS_BAD_PARAM, "a descriptor of type %d has no attribute %d",
                   static_cast<int>(c.type), number);
  const values& v = found->second;
  if (v.type != type)
    return failure(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "attribute %d has type %d, not %d", number,
                   static_cast<int>(v.type), static_cast<int>(type));
  // All of them when none are asked for.
  const int64_t given = elements == nullptr ? v.count : std::min(wanted, v.count);
  if (count != nullptr) *count = given;
  if (elements == nullptr) return CUDNN_STATUS_SUCCESS;
  if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    if (given > 0) std::memcpy(elements, v.bytes.data(), static_cast<std::size_t>(given) * size_of(type));
    return CUDNN_STATUS_SUCCESS;
  }
  for (int64_t i = 0; i < given; ++i) {
    auto* to = static_cast<handle* const*>(elements)[i];
    const content_pointer& from = v.others[static_cast<std::size_t>(i)];
    if (to == nullptr) return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor to fill");
    if (to->held->type != from->type)
      return failure(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE,
                     "a descriptor of type %d to fill, where %d is held", static_cast<int>(to->held->type),
                     static_cast<int>(from->type));
    to->held = from;
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  if (descriptor == nullptr) return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no descriptor");
  content& c = *static_cast<handle*>(descriptor)->held;
  if (c.finalized) return failure(CUDNN_STATUS_BAD_PARAM, "a descriptor is finalized a second time");
  const cudnnStatus_t status = finalize(c);
  c.finalized = status == CUDNN_STATUS_SUCCESS;
  return status;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t on, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  if (on == nullptr || plan == nullptr || pack == nullptr)
    return failure(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "a handle, plan or variant pack is null");
  const content &p = *static_cast<handle*>(plan)->held, &v = *static_cast<handle*>(pack)->held;
  if (p.type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR || v.type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
    return failure(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "execution needs a plan and a variant pack");
  if (!p.finalized || !v.finalized)
    return failure(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a plan or variant pack that is not finalized");
  return execute(on->stream, p, v);
}

}  // extern "C"
