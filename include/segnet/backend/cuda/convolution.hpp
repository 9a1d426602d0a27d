// SPDX-License-Identifier: MIT
// Convolutions through cuDNN: what is to be computed, the plan that computes it, and the owner of a network's
// plans.
#pragma once

#include <segnet/backend/cuda/cudnn_graph.hpp>
#include <segnet/backend/cuda/engine_cache.hpp>
#include <segnet/backend/cuda/precision.hpp>
#include <segnet/core/primitives.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace segnet::gpu {

/// The three products of a convolution of x with w to y: y from x and w; dx from dy and w; dw from x and dy.
enum class convolution_pass : unsigned char { forward, backward_data, backward_weights };

/// What can be asked for beside the product itself. The values are bits; cuDNN may have to leave some to
/// kernels that run before or behind it, see convolution_plan.
enum class fusion : unsigned char {
  epilogue = 1,         ///< scale, bias and activation of what is written
  statistics = 2,       ///< its sum and sum of squares
  prologue = 4,         ///< scale, shift and activation of what is read
  accumulate = 8,       ///< added to what is there, instead of written
  float_gradient = 16,  ///< of the weights, where activations have 16 bits
  slope_sums = 32       ///< the gradient goes through an activation, and a batch-norm's sums are taken of it
};
inline constexpr unsigned all_fusions = 63;

/// One convolution, with everything that decides how it is computed. Channels are those in memory: where they
/// are padded (see padded_channels), the padded ones.
struct convolution_problem {
  convolution_pass pass = convolution_pass::forward;
  conv2d_geometry geometry{};
  int batch = 1;
  precision format = precision::fp32;  ///< of all tensors but vectors per channel, which are float

  /// What is written is act(scale[k] * sum + bias[k]), k its channel; forward and backward_data only.
  bool scale = false, bias = false;
  activation act = activation::none;
  /// The sum, and the sum of squares, of each channel of y, as float, behind the epilogue; forward only.
  bool statistics = false;
  /// x is read as input_act(input_scale[c] * x + input_shift[c]), with the convolution's zeros around that;
  /// not backward_data.
  bool prologue = false;
  activation input_act = activation::none;
  /// backward_data: x stands for input_act(input_scale[c] * front + input_shift[c]). Written is g, the
  /// gradient where input_act let it through, else 0; and of each channel the sum of g, and of g * (front -
  /// centre[c]), as float. Without an epilogue, and not added to what is there.
  bool slope_sums = false;
  /// Adds to what the output holds; without an epilogue and statistics.
  bool accumulate = false;
  /// backward_weights: dw is float rather than of the format.
  bool float_gradient = false;

  /// The fusions asked for, as bits.
  constexpr unsigned fusions() const {
    const auto bit = [](bool asked, fusion which) { return asked ? static_cast<unsigned>(which) : 0U; };
    return bit(scale || bias || act != activation::none, fusion::epilogue) |
           bit(statistics, fusion::statistics) | bit(prologue, fusion::prologue) |
           bit(accumulate, fusion::accumulate) | bit(slope_sums, fusion::slope_sums) |
           bit(float_gradient && activation_bytes(format) == 2, fusion::float_gradient);
  }
  /// The problem without these fusions.
  constexpr convolution_problem without(unsigned fusions) const {
    convolution_problem left = *this;
    const auto drops = [fusions](fusion which) { return (fusions & static_cast<unsigned>(which)) != 0; };
    if (drops(fusion::epilogue)) left.scale = left.bias = false, left.act = activation::none;
    if (drops(fusion::statistics)) left.statistics = false;
    if (drops(fusion::prologue)) left.prologue = false, left.input_act = activation::none;
    if (drops(fusion::accumulate)) left.accumulate = false;
    if (drops(fusion::float_gradient)) left.float_gradient = false;
    if (drops(fusion::slope_sums)) left.slope_sums = false, left.input_act = activation::none;
    return left;
  }

  /// Everything as numbers: problems are equal where these are.
  constexpr std::array<int, 21> values() const {
    const conv2d_geometry& g = geometry;
    return {static_cast<int>(pass),
            static_cast<int>(format),
            batch,
            g.h,
            g.w,
            g.in_channels,
            g.out_h,
            g.out_w,
            g.out_channels,
            g.kernel_h,
            g.kernel_w,
            g.stride,
            g.pad_top,
            g.pad_left,
            static_cast<int>(fusions()),
            scale ? 1 : 0,
            bias ? 1 : 0,
            static_cast<int>(act),
            static_cast<int>(input_act),
            accumulate ? 1 : 0,
            statistics ? 1 : 0};
  }
  friend constexpr bool operator==(const convolution_problem& a, const convolution_problem& b) {
    return a.values() == b.values();
  }
};

/// The problem in one line, as errors and the engine cache name it. Different problems have different lines.
inline std::string describe(const convolution_problem& p) {
  const conv2d_geometry& g = p.geometry;
  constexpr std::array<std::string_view, 3> passes{"forward", "backward to the data",
                                                   "backward to the weights"};
  const auto text = [](int n) { return std::to_string(n); };
  std::string line = std::string(passes[static_cast<std::size_t>(p.pass)]) + ", " +
                     std::string(name_of(p.format)) + ", " + text(p.batch) + " x " + text(g.h) + "x" +
                     text(g.w) + "x" + text(g.in_channels) + " to " + text(g.out_h) + "x" + text(g.out_w) +
                     "x" + text(g.out_channels) + ", kernel " + text(g.kernel_h) + "x" + text(g.kernel_w) +
                     ", stride " + text(g.stride) + ", padding " + text(g.pad_top) + " and " +
                     text(g.pad_left);
  if (p.prologue)
    line += p.input_act == activation::relu ? ", reads scale shift relu" : ", reads scale shift";
  if (p.scale) line += ", scale";
  if (p.bias) line += ", bias";
  if (p.act == activation::relu) line += ", relu";
  if (p.statistics) line += ", statistics";
  if (p.slope_sums) line += p.input_act == activation::relu ? ", slope sums relu" : ", slope sums";
  if (p.accumulate) line += ", accumulate";
  if ((p.fusions() & static_cast<unsigned>(fusion::float_gradient)) != 0) line += ", float gradient";
  return line;
}

/// How many channels a tensor of `channels` should have in memory: multiples of 16 bytes, the rest zeros.
/// cuDNN's kernels for tensor cores read and write 16 bytes at a time. It accepts other numbers (3 colours, 1
/// class), but then knows fewer engines, and some fusions not at all: see tests/cuda/plans_test.cpp. In fp32
/// the cores are not used, and nothing is gained.
constexpr int padded_channels(int channels, precision p) {
  if (p == precision::fp32) return channels;
  const int unit = 16 / activation_bytes(p);
  return (channels + unit - 1) / unit * unit;
}

/// Where the operands of a problem lie, on the card and aligned to 16 bytes; those that it does not have may
/// be null. What the pass writes (y, x as dx, w as dw; the sums) must be the caller's to write; to the sums,
/// which are of each channel, it may add what it should write: they hold zeros before.
struct convolution_data {
  const void* x = nullptr;  ///< [batch][h][w][in_channels]
  const void* w = nullptr;  ///< [out_channels][kernel_h][kernel_w][in_channels]
  const void* y = nullptr;  ///< [batch][out_h][out_w][out_channels]
  const float* scale = nullptr;
  const float* bias = nullptr;
  float* sum = nullptr;
  float* squares = nullptr;
  const float* input_scale = nullptr;
  const float* input_shift = nullptr;
  const void* front = nullptr;  ///< as x
  const float* centre = nullptr;
  float* products = nullptr;
  friend bool operator==(const convolution_data&, const convolution_data&) = default;
};

namespace detail {

inline cudnnDataType_t data_type(precision p) {
  switch (p) {
    case precision::bf16:
      return CUDNN_DATA_BFLOAT16;
    case precision::fp16:
      return CUDNN_DATA_HALF;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

/// The zeros behind the last pixel. As many as before the first where that makes no difference, since most
/// engines want so; fewer, or more, where it does.
constexpr std::int64_t padding_behind(int size, int out, int kernel, int stride, int before) {
  if ((size + 2 * before - kernel) / stride + 1 == out) return before;
  return std::max(0, (out - 1) * stride + kernel - size - before);
}

/// The operations of a problem, with the tensors that they connect.
class convolution_graph {
 public:
  /// Names of tensors' data, in the order of addresses_of().
  enum tensor_id : std::int64_t {
    x = 1,
    w,
    y,
    scale,
    bias,
    sum,
    squares,
    input_scale,
    input_shift,
    front,
    centre,
    products,
    virtuals
  };

  /// Throws cuda_error where cuDNN refuses the operations themselves.
  convolution_graph(const convolution_problem& p, const plan_target& target) : problem_(p) {
    const conv2d_geometry& g = p.geometry;
    const std::int64_t n = p.batch, c = g.in_channels, k = g.out_channels;
    const tensor_sizes x_sizes{n, c, g.h, g.w}, y_sizes{n, k, g.out_h, g.out_w},
        w_sizes{k, c, g.kernel_h, g.kernel_w};
    const cudnnDataType_t type = data_type(p.format);
    const descriptor& geometry =
        keep(convolution({g.pad_top, g.pad_left},
                         {padding_behind(g.h, g.out_h, g.kernel_h, g.stride, g.pad_top),
                          padding_behind(g.w, g.out_w, g.kernel_w, g.stride, g.pad_left)},
                         g.stride));
    switch (p.pass) {
      case convolution_pass::forward: {
        const descriptor& from = read_input(x_sizes, type);
        const descriptor& weights = named(w, w_sizes, type);
        write_output(y, y_sizes, type, [&](const descriptor& to) {
          return convolution_forward(geometry, from, weights, to, p.accumulate);
        });
        break;
      }
      case convolution_pass::backward_data: {
        const descriptor& from = named(y, y_sizes, type);
        const descriptor& weights = named(w, w_sizes, type);
        const auto product = [&](const descriptor& to) {
          return convolution_backward_data(geometry, from, weights, to, p.accumulate);
        };
        if (p.slope_sums)
          write_slopes(x_sizes, type, product);
        else
          write_output(x, x_sizes, type, product);
        break;
      }
      case convolution_pass::backward_weights: {
        const descriptor& from = read_input(x_sizes, type);
        const descriptor& gradient = named(y, y_sizes, type);
        // No engine writes another type than it reads by itself; those that fuse what follows do.
        const bool converts = p.float_gradient && type != CUDNN_DATA_FLOAT;
        const descriptor& to = converts ? between(w_sizes, CUDNN_DATA_FLOAT) : named(w, w_sizes, type);
        operations_.push_back(convolution_backward_weights(geometry, from, gradient, to, p.accumulate));
        if (converts)
          operations_.push_back(pointwise_operation(keep(pointwise(CUDNN_POINTWISE_IDENTITY)), to,
                                                    named(w, w_sizes, CUDNN_DATA_FLOAT)));
        break;
      }
    }
    graph_.emplace(operation_graph(operations_, target));
  }

  const descriptor& get() const { return *graph_; }
  std::span<const std::int64_t> ids() const { return ids_; }

 private:
  const descriptor& keep(descriptor made) { return parts_.emplace_back(std::move(made)); }
  const descriptor& named(tensor_id id, const tensor_sizes& sizes, cudnnDataType_t type) {
    ids_.push_back(id);
    return keep(tensor(id, sizes, type));
  }
  /// A value that stays within the kernel.
  const descriptor& between(const tensor_sizes& sizes, cudnnDataType_t type) {
    return keep(tensor(virtuals + next_virtual_++, sizes, type, true));
  }
  /// One of several behind each other: where the channels are not a multiple of four, at any float.
  const descriptor& vector(tensor_id id, std::int64_t channels) {
    ids_.push_back(id);
    return keep(tensor(id, {1, channels, 1, 1}, CUDNN_DATA_FLOAT, false, channels % 4 == 0 ? 16 : 4));
  }

  /// input_scale * from + input_shift.
  const descriptor& scale_and_shift(const descriptor& from, const tensor_sizes& sizes, cudnnDataType_t type) {
    const descriptor& scaled = between(sizes, CUDNN_DATA_FLOAT);
    operations_.push_back(pointwise_operation(keep(pointwise(CUDNN_POINTWISE_MUL)), from,
                                              vector(input_scale, sizes[1]), scaled));
    const descriptor& shifted = between(sizes, type);
    operations_.push_back(pointwise_operation(keep(pointwise(CUDNN_POINTWISE_ADD)), scaled,
                                              vector(input_shift, sizes[1]), shifted));
    return shifted;
  }
  /// x as the convolution reads it, behind the prologue.
  const descriptor& read_input(const tensor_sizes& sizes, cudnnDataType_t type) {
    const descriptor* last = &named(x, sizes, type);
    if (!problem_.prologue) return *last;
    const bool relu = problem_.input_act == activation::relu;
    // The factors of the product must have the format of the tensor cores.
    const descriptor& shifted = scale_and_shift(*last, sizes, relu ? CUDNN_DATA_FLOAT : type);
    if (!relu) return shifted;
    const descriptor& positive = between(sizes, type);
    operations_.push_back(pointwise_operation(keep(pointwise(CUDNN_POINTWISE_RELU_FWD)), shifted, positive));
    return positive;
  }

  /// `product(to)` is the convolution's operation; behind it the epilogue or the statistics.
  template <class Product>
  void write_output(tensor_id id, const tensor_sizes& sizes, cudnnDataType_t type, const Product& product) {
    const convolution_problem& p = problem_;
    const bool relu = p.act == activation::relu;
    int left = (p.scale ? 1 : 0) + (p.bias ? 1 : 0) + (relu ? 1 : 0);
    const auto next = [&]() -> const descriptor& {
      return left == 0 ? named(id, sizes, type) : between(sizes, CUDNN_DATA_FLOAT);
    };
    const descriptor* last = &next();
    operations_.push_back(product(*last));
    const auto apply = [&](cudnnPointwiseMode_t mode, const descriptor* values) {
      --left;
      const descriptor& function = keep(pointwise(mode));
      const descriptor& to = next();
      operations_.push_back(values != nullptr ? pointwise_operation(function, *last, *values, to)
                                              : pointwise_operation(function, *last, to));
      last = &to;
    };
    if (p.scale) apply(CUDNN_POINTWISE_MUL, &vector(scale, sizes[1]));
    if (p.bias) apply(CUDNN_POINTWISE_ADD, &vector(bias, sizes[1]));
    if (relu) apply(CUDNN_POINTWISE_RELU_FWD, nullptr);
    if (p.statistics) {
      const descriptor& sums = vector(sum, sizes[1]);
      operations_.push_back(channel_statistics(*last, sums, vector(squares, sizes[1])));
    }
  }

  /// The gradient of x as it goes on to a batch-norm, and the sums that this one needs of it.
  template <class Product>
  void write_slopes(const tensor_sizes& sizes, cudnnDataType_t type, const Product& product) {
    const bool relu = problem_.input_act == activation::relu;
    const descriptor &from = named(front, sizes, type), &slope = named(x, sizes, type);
    if (relu) {
      const descriptor& all = between(sizes, CUDNN_DATA_FLOAT);
      operations_.push_back(product(all));
      operations_.push_back(pointwise_gradient(keep(pointwise(CUDNN_POINTWISE_RELU_BWD)), all,
                                               scale_and_shift(from, sizes, CUDNN_DATA_FLOAT), slope));
    } else {
      operations_.push_back(product(slope));
    }
    const descriptor &centred = between(sizes, CUDNN_DATA_FLOAT), &both = between(sizes, CUDNN_DATA_FLOAT);
    operations_.push_back(
        pointwise_operation(keep(pointwise(CUDNN_POINTWISE_SUB)), from, vector(centre, sizes[1]), centred));
    operations_.push_back(pointwise_operation(keep(pointwise(CUDNN_POINTWISE_MUL)), slope, centred, both));
    operations_.push_back(channel_sums(slope, vector(sum, sizes[1])));
    operations_.push_back(channel_sums(both, vector(products, sizes[1])));
  }

  convolution_problem problem_;
  std::deque<descriptor> parts_;  // whose elements stay where they are
  std::vector<descriptor> operations_;
  std::optional<descriptor> graph_;
  std::vector<std::int64_t> ids_;
  std::int64_t next_virtual_ = 0;
};

/// Where the tensors `ids` of a convolution_graph lie.
inline std::vector<void*> addresses_of(const convolution_data& d, std::span<const std::int64_t> ids) {
  const std::array<const void*, 12> all{d.x,           d.w,     d.y,       d.scale,
                                        d.bias,        d.sum,   d.squares, d.input_scale,
                                        d.input_shift, d.front, d.centre,  d.products};
  std::vector<void*> result;
  for (const std::int64_t id : ids)
    result.push_back(const_cast<void*>(all[static_cast<std::size_t>(id - 1)]));
  return result;
}

/// Whether results have the accuracy that the format promises: without TF32 or half-precision factors for
/// fp32, and with single-precision sums. cuDNN marks engines that use tensor cores, which for float means
/// TF32.
inline bool accurate(const engine_description& engine, precision format) {
  if (format == precision::fp32 && engine.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) return false;
  if (activation_bytes(format) == 4 && engine.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return false;
  return !engine.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
}
/// Whether the same operands give the same bits each time.
inline bool deterministic(const engine_description& engine) {
  return !engine.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
}

}  // namespace detail

/// How one problem is computed: a graph of cuDNN's operations with an engine to run it. Where no engine does
/// all that the problem asks for, some fusions are dropped, as few as possible: dropped() and the functions
/// below it say which, and the caller does their part before or behind run(). All engines give the same bits
/// each time, but for the statistics.
class convolution_plan {
 public:
  /// Engines that need more working memory than this are only taken where cuDNN recommends no other.
  static constexpr std::size_t usual_workspace = std::size_t{256} << 20;

  /// `known`, from an earlier run, is tried first; `stored` is what serialised() gave for it, or empty.
  /// `target` must live as long. Throws cuda_error where cuDNN has no engine for the convolution alone,
  /// argument_error where the problem makes no sense.
  convolution_plan(const convolution_problem& problem, const plan_target& target,
                   const engine_note* known = nullptr, std::size_t workspace_limit = usual_workspace,
                   const std::string& stored = {})
      : problem_(problem), target_(&target) {
    check_problem();
    if (known != nullptr && take_known(*known, stored)) return;
    // All sets of fusions, the smallest first: what is dropped costs a pass over memory each.
    std::vector<unsigned> sets;
    for (unsigned set = 0; set <= all_fusions; ++set)
      if ((set & ~problem.fusions()) == 0 && set == complete(set)) sets.push_back(set);
    std::ranges::stable_sort(sets, {}, [](unsigned set) { return std::popcount(set); });
    for (const unsigned set : sets)
      if (take_recommended(set, workspace_limit)) return;
    throw cuda_error("cuDNN " + cudnn_version_text(cudnnGetVersion()) + " has no engine for a convolution (" +
                     describe(problem) + ")");
  }
  convolution_plan(const convolution_problem&, plan_target&&, const engine_note* = nullptr,
                   std::size_t = usual_workspace,
                   const std::string& = {}) = delete;  // which would not live as long
  convolution_plan(const convolution_plan&) = delete;
  convolution_plan& operator=(const convolution_plan&) = delete;

  const convolution_problem& problem() const { return problem_; }
  unsigned dropped() const { return candidates_[selected_].from->dropped; }
  bool fuses(fusion which) const {
    return (problem_.fusions() & ~dropped() & static_cast<unsigned>(which)) != 0;
  }
  bool fuses_epilogue() const { return fuses(fusion::epilogue); }
  bool fuses_statistics() const { return fuses(fusion::statistics); }
  bool fuses_prologue() const { return fuses(fusion::prologue); }
  bool accumulates() const { return fuses(fusion::accumulate); }
  bool fuses_slope_sums() const { return fuses(fusion::slope_sums); }
  /// Whether dw is written as float.
  bool gradient_is_float() const {
    return activation_bytes(problem_.format) == 4 || fuses(fusion::float_gradient);
  }

  std::size_t workspace_bytes() const { return candidates_[selected_].workspace; }
  const engine_choice& choice() const { return candidates_[selected_].choice; }
  /// Whether the engine was `known`, or is settled, that is need not be timed.
  bool is_known() const { return known_; }
  void settle() { known_ = true; }
  /// The plan as text, if it is worth keeping: where cuDNN had to compile a kernel for it. Else empty.
  std::string serialised() const {
    const candidate& chosen = candidates_[selected_];
    return chosen.seconds > 0.02 ? chosen.plan->text(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION) : "";
  }

  /// Engines that can be tried, in the order in which cuDNN recommends them.
  std::size_t candidates() const { return candidates_.size(); }
  std::size_t selected() const { return selected_; }
  /// Takes another engine; false, and nothing changes, where it turns out not to fit or to need more working
  /// memory. May compile a kernel. dropped() may change.
  bool select(std::size_t place, std::size_t workspace_limit) {
    if (!prepare(candidates_[place]) || candidates_[place].workspace > workspace_limit) return false;
    selected_ = place;
    packs_.clear();
    return true;
  }
  /// Appends to the candidates those that do the product alone, and returns their number: engines that fuse
  /// are generated, and may lose more against the best of those that are not than another pass over memory
  /// takes.
  std::size_t add_unfused_candidates() {
    const unsigned all = complete(problem_.fusions() & ~static_cast<unsigned>(fusion::accumulate));
    if (dropped() == all || known_) return 0;
    const std::size_t before = candidates_.size();
    try {
      append_candidates(options_.emplace_back(problem_, all, *target_), CUDNN_HEUR_MODE_A);
    } catch (const cuda_error&) {
    }
    return candidates_.size() - before;
  }

  /// Gives the work to the handle's stream; may be recorded in a graph. `workspace` has workspace_bytes().
  /// One caller at a time. Throws cuda_error.
  void run(cudnnHandle_t handle, const convolution_data& data, void* workspace) const {
    const candidate& chosen = candidates_[selected_];
    const cudnnStatus_t status = cudnnBackendExecute(handle, chosen.plan->get(), pack(data, workspace).get());
    if (status == CUDNN_STATUS_SUCCESS) return;
    const bool noted = chosen.parts.has_value();
    check(status, ("a convolution (" + describe(problem_) + ")" +
                   (noted ? ", whose engine an earlier run has noted in the folder of SEGNET_CACHE_DIR" : ""))
                      .c_str());
  }

 private:
  /// The problem without some of its fusions.
  struct option {
    unsigned dropped;
    detail::convolution_graph graph;

    option(const convolution_problem& problem, unsigned drops, const plan_target& target)
        : dropped(drops), graph(problem.without(drops), target) {}
  };
  struct candidate {
    const option* from;
    engine_choice choice;
    descriptor configuration;
    std::optional<engine_configuration> parts;  ///< what a known one was made of
    std::optional<descriptor> plan;             ///< once it is made
    std::size_t workspace = 0;
    double seconds = 0;  ///< that it took to make the plan
    bool fails = false;

    candidate(const option& of, engine_choice made, descriptor settings)
        : from(&of), choice(std::move(made)), configuration(std::move(settings)) {}
    const descriptor& settings() const { return parts ? parts->get() : configuration; }
  };
  struct ready_pack {
    convolution_data data;
    void* workspace;
    descriptor pack;

    ready_pack(const convolution_data& d, void* memory, descriptor made)
        : data(d), workspace(memory), pack(std::move(made)) {}
  };

  /// These, and those that go with them: what is not written as float cannot be added to floats, and the sums
  /// are those of what an epilogue has made.
  unsigned complete(unsigned drops) const {
    if ((drops & static_cast<unsigned>(fusion::float_gradient)) != 0)
      drops |= problem_.fusions() & static_cast<unsigned>(fusion::accumulate);
    if ((drops & static_cast<unsigned>(fusion::epilogue)) != 0)
      drops |= problem_.fusions() & static_cast<unsigned>(fusion::statistics);
    return drops;
  }

  void check_problem() const {
    const convolution_problem& p = problem_;
    const bool writes_data = p.pass != convolution_pass::backward_weights;
    const bool epilogue = p.scale || p.bias || p.act != activation::none;
    if ((epilogue && (!writes_data || p.accumulate)) ||
        (p.statistics && (p.pass != convolution_pass::forward || p.accumulate)) ||
        (p.prologue && p.pass == convolution_pass::backward_data) || (p.float_gradient && writes_data) ||
        (p.slope_sums && (p.pass != convolution_pass::backward_data || epilogue || p.accumulate)) ||
        (!p.prologue && !p.slope_sums && p.input_act != activation::none))
      throw argument_error("not a convolution that can be asked for: " + describe(p));
  }

  bool take_known(const engine_note& known, const std::string& stored) {
    if ((known.dropped & ~problem_.fusions()) != 0 || known.dropped != complete(known.dropped)) return false;
    try {
      const option& from = options_.emplace_back(problem_, known.dropped, *target_);
      candidate& only =
          candidates_.emplace_back(from, known.choice, descriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
      only.parts.emplace(from.graph.get(), known.choice, *target_);
      if (*only.parts && allowed(describe_engine(only.settings())) &&
          (restore(only, stored) || prepare(only)))
        return known_ = true;
    } catch (const cuda_error&) {  // noted by a cuDNN that could do more
    }
    candidates_.clear();
    options_.clear();
    return false;
  }

  bool take_recommended(unsigned drops, std::size_t workspace_limit) {
    try {
      options_.emplace_back(problem_, drops, *target_);
    } catch (const cuda_error&) {
      return false;
    }
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK}) {
      candidates_.clear();
      append_candidates(options_.back(), mode);
      // The first that works; failing that, the first that works with more memory.
      for (const std::size_t limit : {workspace_limit, std::numeric_limits<std::size_t>::max()})
        for (std::size_t i = 0; i < candidates_.size(); ++i)
          if (select(i, limit)) return true;
    }
    candidates_.clear();
    options_.pop_back();
    return false;
  }

  void append_candidates(const option& from, cudnnBackendHeurMode_t mode) {
    const auto first = static_cast<std::ptrdiff_t>(candidates_.size());
    for (descriptor& each : recommended_engines(from.graph.get(), mode, *target_, most_candidates)) {
      engine_description engine = describe_engine(each);
      const auto same = [&](const candidate& other) { return other.choice == engine.choice; };
      if (allowed(engine) && std::none_of(candidates_.begin() + first, candidates_.end(), same))
        candidates_.emplace_back(from, std::move(engine.choice), std::move(each));
    }
  }

  bool allowed(const engine_description& engine) const {
    return detail::accurate(engine, problem_.format) && detail::deterministic(engine);
  }

  /// Makes the plan of a candidate, for which cuDNN may compile a kernel.
  bool prepare(candidate& each) const {
    if (each.plan || each.fails) return !each.fails;
    descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    target_->apply_to_plan(plan);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, each.settings());
    const auto begin = std::chrono::steady_clock::now();
    each.fails = plan.try_finalize() != CUDNN_STATUS_SUCCESS;
    if (each.fails) return false;
    each.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    take(each, std::move(plan));
    return true;
  }
  /// The same from what an earlier run has written down, kernel included; false where it cannot be used.
  bool restore(candidate& each, const std::string& stored) const {
    if (stored.empty()) return false;
    try {
      descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      target_->apply_to_plan(plan);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, std::span<const char>(stored));
      plan.finalize("a stored plan");
      take(each, std::move(plan));
      return true;
    } catch (const cuda_error&) {
      return false;
    }
  }
  static void take(candidate& each, descriptor plan) {
    each.workspace =
        static_cast<std::size_t>(plan.value<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
    each.plan.emplace(std::move(plan));
  }

  /// The addresses in cuDNN's form, made once for each set of them.
  const descriptor& pack(const convolution_data& data, void* workspace) const {
    for (const ready_pack& each : packs_)
      if (each.data == data && each.workspace == workspace) return each.pack;
    if (packs_.size() >= most_packs) packs_.clear();
    const std::span<const std::int64_t> ids = candidates_[selected_].from->graph.ids();
    const std::vector<void*> addresses = detail::addresses_of(data, ids);
    descriptor made(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    made.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, std::span<void* const>(addresses))
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
    made.finalize("a convolution's addresses");
    return packs_.emplace_back(data, workspace, std::move(made)).pack;
  }

  static constexpr std::size_t most_candidates = 32, most_packs = 16;

  convolution_problem problem_;
  const plan_target* target_;
  std::list<option> options_;
  std::vector<candidate> candidates_;
  std::size_t selected_ = 0;
  bool known_ = false;
  mutable std::vector<ready_pack> packs_;
};

/// The plans of one backend, made when they are first asked for. Asking launches nothing, so that a network
/// can ask for all of its convolutions once, learn how much working memory the largest needs, and only then
/// run.
///
///     for (const auto& problem : network) plans.get(problem);
///     workspace.resize(plans.workspace_bytes());
///     for (const auto& problem : network) plans.choose(problem, launch, workspace.size(), measure);  //
///     optional plans.save(); plans.get(problem).run(handle, operands, workspace);
class convolutions {
 public:
  /// `known` is what earlier runs found. `workspace_limit`: see convolution_plan.
  explicit convolutions(plan_target target, engine_cache known = {},
                        std::size_t workspace_limit = convolution_plan::usual_workspace)
      : target_(std::move(target)), known_(std::move(known)), workspace_limit_(workspace_limit) {}
  convolutions(const convolutions&) = delete;
  convolutions& operator=(const convolutions&) = delete;

  /// The reference stays valid, but choose() may change the plan. Throws as convolution_plan's constructor.
  const convolution_plan& get(const convolution_problem& problem) { return plan_of(problem); }

  /// What the plan in use that needs most, needs.
  std::size_t workspace_bytes() const {
    std::size_t most = 0;
    for (const auto& [problem, plan] : plans_) most = std::max(most, plan.workspace_bytes());
    return most;
  }
  std::size_t size() const { return plans_.size(); }

  /// Does all that the problem asks for: runs the plan, and before or behind it what that has dropped.
  using launch_plan = std::function<void(const convolution_plan&)>;
  /// Milliseconds that `launch` takes on the card; it may be called several times.
  using measure = std::function<double(const std::function<void()>& launch)>;

  /// Times at most `most` engines for a problem, half of them without fusions where there are such, and keeps
  /// the fastest, unless that is known from an earlier run or call. `launch` overwrites the operands, and has
  /// a workspace of `bytes`, no fewer than workspace_bytes(). An engine that fails when it runs is left out.
  void choose(const convolution_problem& problem, const launch_plan& launch, std::size_t bytes,
              const measure& time, std::size_t most = 8) {
    choose_among(problem, true, launch, bytes, time, most);
  }
  /// The same for the plan alone: engines that drop more than it does are only tried where that costs next to
  /// nothing, which is the conversion of a gradient of weights.
  void choose(const convolution_problem& problem, const convolution_data& data, void* workspace,
              std::size_t bytes, const measure& time, std::size_t most = 8) {
    const bool weights = problem.pass == convolution_pass::backward_weights && !problem.prologue;
    choose_among(
        problem, weights, [&](const convolution_plan& plan) { plan.run(target_.handle(), data, workspace); },
        bytes, time, most);
  }
  /// Writes down what choose() found. Never throws.
  void save() { known_.save(); }

 private:
  struct hash {
    std::size_t operator()(const convolution_problem& p) const {
      std::size_t sum = 0;
      for (const int value : p.values())
        sum = (sum ^ static_cast<std::size_t>(static_cast<unsigned>(value))) * std::size_t{0x100000001b3};
      return sum;
    }
  };

  void choose_among(const convolution_problem& problem, bool tries_unfused, const launch_plan& launch,
                    std::size_t bytes, const measure& time, std::size_t most) {
    convolution_plan& plan = plan_of(problem);
    assert(plan.workspace_bytes() <= bytes);
    if (plan.is_known()) return;
    const std::size_t usual = plan.selected(), fused = plan.candidates();
    const std::size_t unfused = tries_unfused ? plan.add_unfused_candidates() : 0;
    std::optional<std::size_t> best;
    double least = 0;
    const auto try_some = [&](std::size_t begin, std::size_t end, std::size_t limit) {
      for (std::size_t i = begin; i < end && limit > 0; ++i) {
        if (!plan.select(i, bytes)) continue;
        --limit;
        try {
          const double spent = time([&] { launch(plan); });
          if (!best || spent < least) best = i, least = spent;
        } catch (const cuda_error&) {
        }
      }
    };
    try_some(0, fused, unfused > 0 ? (most + 1) / 2 : most);
    try_some(fused, fused + unfused, most / 2);
    plan.select(best.value_or(usual), bytes);
    plan.settle();
    if (!best) return;
    const engine_note note{plan.choice(), plan.dropped(), least};
    known_.remember(describe(problem), note);
    known_.store(describe(problem), note, plan.serialised());
  }

  convolution_plan& plan_of(const convolution_problem& problem) {
    if (const auto found = plans_.find(problem); found != plans_.end()) return found->second;
    const std::string name = describe(problem);
    const engine_note* const note = known_.find(name);
    const std::string stored = note != nullptr ? known_.stored(name, *note) : "";
    convolution_plan& made =
        plans_.try_emplace(problem, problem, target_, note, workspace_limit_, stored).first->second;
    if (made.is_known())
      known_.store(name, *note, made.serialised());  // which is empty where it was restored
    return made;
  }

  plan_target target_;
  engine_cache known_;
  std::size_t workspace_limit_;
  std::unordered_map<convolution_problem, convolution_plan, hash> plans_;
};

}  // namespace segnet::gpu
