// SPDX-License-Identifier: MIT
// Convolutions through cuDNN against loops in double precision.
#include "../temporary_folder.hpp"
#include "device_memory.hpp"
#include "skip.hpp"

#include <segnet/backend/cuda/convolution.hpp>
#include <segnet/backend/cuda/cudnn.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#if defined(SEGNET_CUDA_SIMULATED)
#include "simulator/cudnn.hpp"
#endif

using namespace segnet;
using namespace segnet::reference;
using gpu::convolution_pass;
using gpu::convolution_problem;

namespace {

constexpr conv2d_geometry convolution_with(int h, int w, int in, int out, int kernel, int stride, int pad_top,
                                           int pad_left, int out_h, int out_w) {
  return {.h = h,
          .w = w,
          .out_h = out_h,
          .out_w = out_w,
          .in_channels = in,
          .out_channels = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride = stride,
          .pad_top = pad_top,
          .pad_left = pad_left};
}

const std::vector<conv2d_geometry> geometries{
    convolution(9, 12, 8, 16, 3, 1),                     // the usual one
    convolution(8, 8, 16, 8, 1, 1),                      // a product of matrices
    convolution(7, 5, 8, 8, 5, 1),                       //
    convolution_with(8, 12, 8, 8, 2, 2, 0, 0, 4, 6),     // of which the transposed one doubles the size
    convolution_with(9, 8, 8, 8, 3, 2, 1, 0, 5, 4),      // "same": zeros below and to the right of them more
    convolution_with(10, 11, 8, 8, 3, 2, 0, 0, 4, 5),    // "valid": the last row is not read
    convolution_with(3, 4, 8, 8, 3, 1, 10, 10, 21, 22),  // zeros far around it, as FCN has
    convolution_with(40, 36, 8, 8, 32, 16, 8, 8, 2, 2),  // the largest kernel
    convolution_with(7, 7, 8, 16, 7, 1, 0, 0, 1, 1),     // fully connected
};

template <class T>
constexpr precision format_of = std::is_same_v<T, bfloat16>  ? precision::bf16
                                : std::is_same_v<T, float16> ? precision::fp16
                                                             : precision::fp32;

/// The operands of a problem on the card, with what they hold as doubles, and results computed by loops.
template <class T>
struct setup {
  convolution_problem problem;
  operand<T> x, w, y;  // what is written holds numbers, too, which must not matter unless they are added to
  operand<T> front;
  operand<float> scale, bias, input_scale, input_shift, centre;
  card_array<float> sum, squares, products, float_w;
  std::vector<double> float_w_before;

  explicit setup(const convolution_problem& p)
      : problem(p),
        x(size(p.batch, p.geometry.h, p.geometry.w, p.geometry.in_channels), 1),
        w(p.geometry.weights(), 2),
        y(size(p.batch, p.geometry.out_h, p.geometry.out_w, p.geometry.out_channels), 3),
        front(x.host.size(), 8),
        scale(written_channels(), 4),
        bias(written_channels(), 5),
        input_scale(static_cast<std::size_t>(p.geometry.in_channels), 6),
        input_shift(static_cast<std::size_t>(p.geometry.in_channels), 7),
        centre(static_cast<std::size_t>(p.geometry.in_channels), 9),
        sum(written_channels()),
        squares(sum.size()),
        products(sum.size()),
        float_w(rounded<float>(w.host)) {}

  static std::size_t size(int n, int h, int columns, int c) {
    return static_cast<std::size_t>(n) * static_cast<std::size_t>(h) * static_cast<std::size_t>(columns) *
           static_cast<std::size_t>(c);
  }
  std::size_t written_channels() const {
    return static_cast<std::size_t>(problem.pass == convolution_pass::backward_data
                                        ? problem.geometry.in_channels
                                        : problem.geometry.out_channels);
  }

  gpu::convolution_data data(bool float_gradient = false) {
    gpu::convolution_data d;
    d.x = x.card.data(), d.y = y.card.data();
    d.w = float_gradient ? static_cast<const void*>(float_w.data()) : w.card.data();
    d.scale = scale.card.data(), d.bias = bias.card.data();
    d.sum = sum.data(), d.squares = squares.data();
    d.input_scale = input_scale.card.data(), d.input_shift = input_shift.card.data();
    d.front = front.card.data(), d.centre = centre.card.data(), d.products = products.data();
    return d;
  }

  /// What the problem asks for, without the fusions in `dropped`.
  std::vector<double> expected(unsigned dropped = 0) const {
    const convolution_problem p = problem.without(dropped);
    std::vector<double> read = x.host;
    if (p.prologue)
      for (std::size_t i = 0; i < read.size(); ++i) {
        const std::size_t c = i % input_scale.host.size();
        read[i] = read[i] * input_scale.host[c] + input_shift.host[c];
        if (p.input_act == activation::relu) read[i] = std::max(read[i], 0.0);
      }
    const std::vector<double>& before = p.pass == convolution_pass::forward         ? y.host
                                        : p.pass == convolution_pass::backward_data ? x.host
                                                                                    : w.host;
    std::vector<double> result = p.accumulate ? before : std::vector<double>(before.size());
    const auto channels = static_cast<std::size_t>(p.geometry.in_channels);
    for_each_tap(p.geometry, p.batch, [&](std::size_t i, std::size_t j, std::size_t k) {
      for (std::size_t c = 0; c < channels; ++c) switch (p.pass) {
          case convolution_pass::forward:
            result[k] += read[i + c] * w.host[j + c];
            break;
          case convolution_pass::backward_data:
            result[i + c] += y.host[k] * w.host[j + c];
            break;
          case convolution_pass::backward_weights:
            result[j + c] += read[i + c] * y.host[k];
            break;
        }
    });
    for (std::size_t i = 0; i < result.size(); ++i) {
      const std::size_t c = i % scale.host.size();
      if (p.scale) result[i] *= scale.host[c];
      if (p.bias) result[i] += bias.host[c];
      if (p.act == activation::relu) result[i] = std::max(result[i], 0.0);
      if (p.slope_sums && p.input_act == activation::relu &&
          front.host[i] * input_scale.host[c] + input_shift.host[c] <= 0)
        result[i] = 0;
    }
    return result;
  }
};

/// cuDNN on the card, with memory for any plan's work.
struct library {
  gpu::stream stream;
  gpu::cudnn cudnn{stream};
  gpu::plan_target target{cudnn.get()};

  template <class T>
  void run(setup<T>& s, const gpu::convolution_plan& plan) {
    card_scratch workspace(plan.workspace_bytes());
    const bool as_float = plan.fuses(gpu::fusion::float_gradient);
    plan.run(cudnn.get(), s.data(as_float), workspace);
    stream.wait();
    CHECK(workspace.intact());
  }
};

/// What rounding of T, and the sums in single precision, may make of results.
template <class T>
double allowed(const convolution_problem& p) {
  // The prologue's results are rounded before the product.
  return rounding<T>() * (p.prologue ? 3 : 1.5) + 2e-6;
}

/// Runs the problem and compares what it writes; the plan may drop fusions, but not all tests let it.
template <class T>
void compare(library& cudnn, convolution_problem problem) {
  problem.format = format_of<T>;
  INFO(gpu::describe(problem));
  setup<T> s(problem);
  const gpu::convolution_plan plan(problem, cudnn.target);
#if defined(SEGNET_CUDA_SIMULATED)
  CHECK(plan.dropped() == 0);
#endif
  cudnn.run(s, plan);
  const std::vector<double> expected = s.expected(plan.dropped());
  const auto close = [&](const auto& got, double tolerance) {
    CHECK(difference(doubles(got.get()), expected) < tolerance);
  };
  if (plan.fuses(gpu::fusion::float_gradient))
    close(s.float_w, 1e-5);
  else if (problem.pass == convolution_pass::forward)
    close(s.y.card, allowed<T>(problem));
  else if (problem.pass == convolution_pass::backward_data)
    close(s.x.card, allowed<T>(problem));
  else
    close(s.w.card, allowed<T>(problem));
  if (plan.fuses_statistics()) {
    const std::size_t channels = s.sum.size();
    std::vector<double> sums(channels), squares(channels);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      sums[i % channels] += expected[i];
      squares[i % channels] += expected[i] * expected[i];
    }
    // Sums may cancel, squares do not; either may be of the rounded values.
    const double count = static_cast<double>(expected.size() / channels);
    for (std::size_t c = 0; c < channels; ++c)
      CHECK(std::abs(static_cast<double>(s.sum.get()[c]) - sums[c]) <
            2 * allowed<T>(problem) * std::sqrt(count * squares[c]));
    CHECK(difference(doubles(s.squares.get()), squares) < 4 * allowed<T>(problem));
  }
  if (plan.fuses_slope_sums()) {
    const std::size_t channels = s.sum.size();
    std::vector<double> sums(channels), products(channels), sizes(channels), product_sizes(channels);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::size_t c = i % channels;
      const double product = expected[i] * (s.front.host[i] - s.centre.host[c]);
      sums[c] += expected[i], products[c] += product;
      sizes[c] += std::abs(expected[i]), product_sizes[c] += std::abs(product);
    }
    for (std::size_t c = 0; c < channels; ++c) {  // sums may cancel
      CHECK(std::abs(static_cast<double>(s.sum.get()[c]) - sums[c]) <= 2 * allowed<T>(problem) * sizes[c]);
      CHECK(std::abs(static_cast<double>(s.products.get()[c]) - products[c]) <=
            2 * allowed<T>(problem) * product_sizes[c]);
    }
  }
}

}  // namespace

TEMPLATE_TEST_CASE("convolution: the three passes", "", float, bfloat16, float16) {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const conv2d_geometry& g : geometries)
    for (const auto pass :
         {convolution_pass::forward, convolution_pass::backward_data, convolution_pass::backward_weights})
      for (const int batch : {1, 3}) compare<TestType>(cudnn, {.pass = pass, .geometry = g, .batch = batch});
}

TEMPLATE_TEST_CASE("convolution: scale, bias and ReLU of what is written", "", float, bfloat16, float16) {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const conv2d_geometry& g : geometries)
    for (const auto pass : {convolution_pass::forward, convolution_pass::backward_data})
      for (unsigned parts = 1; parts < 8; ++parts)
        compare<TestType>(cudnn, {.pass = pass,
                                  .geometry = g,
                                  .batch = 2,
                                  .scale = (parts & 1) != 0,
                                  .bias = (parts & 2) != 0,
                                  .act = (parts & 4) != 0 ? activation::relu : activation::none});
}

TEMPLATE_TEST_CASE("convolution: statistics of what is written", "", float, bfloat16, float16) {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const conv2d_geometry& g : geometries)
    for (const bool bias : {false, true})
      compare<TestType>(cudnn, {.geometry = g, .batch = 3, .bias = bias, .statistics = true});
}

TEMPLATE_TEST_CASE("convolution: scale, shift and ReLU of what is read", "", float, bfloat16, float16) {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const conv2d_geometry& g : {geometries[0], geometries[4], geometries[6]})
    for (const auto act : {activation::none, activation::relu}) {
      compare<TestType>(cudnn, {.geometry = g, .batch = 2, .prologue = true, .input_act = act});
      compare<TestType>(cudnn,
                        {.geometry = g, .batch = 2, .statistics = true, .prologue = true, .input_act = act});
      compare<TestType>(cudnn, {.pass = convolution_pass::backward_weights,
                                .geometry = g,
                                .batch = 2,
                                .prologue = true,
                                .input_act = act});
    }
}

TEMPLATE_TEST_CASE("convolution: the gradient behind a ReLU, with the sums for a batch-norm", "", float,
                   bfloat16, float16) {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const conv2d_geometry& g : geometries)
    for (const auto act : {activation::none, activation::relu})
      compare<TestType>(cudnn, {.pass = convolution_pass::backward_data,
                                .geometry = g,
                                .batch = 2,
                                .input_act = act,
                                .slope_sums = true});
}

TEMPLATE_TEST_CASE("convolution: added to what is there", "", float, bfloat16, float16) {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const conv2d_geometry& g : {geometries[0], geometries[3], geometries[5]})
    for (const auto pass :
         {convolution_pass::forward, convolution_pass::backward_data, convolution_pass::backward_weights})
      compare<TestType>(cudnn, {.pass = pass, .geometry = g, .batch = 2, .accumulate = true});
}

TEMPLATE_TEST_CASE("convolution: gradients of weights as float", "", float, bfloat16, float16) {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const conv2d_geometry& g : {geometries[0], geometries[5]})
    compare<TestType>(
        cudnn,
        {.pass = convolution_pass::backward_weights, .geometry = g, .batch = 2, .float_gradient = true});
}

TEST_CASE("convolution: in fp32 nothing is rounded to fewer bits, and tf32 allows it") {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  // Factors of 24 bits whose products TF32 would lose.
  convolution_problem problem{.geometry = convolution(16, 16, 32, 32, 3, 1), .batch = 2};
  setup<float> s(problem);
  const gpu::convolution_plan exact(problem, cudnn.target);
  cudnn.run(s, exact);
  CHECK(difference(s.y.card.get(), s.expected()) < 2e-6);
  problem.format = precision::tf32;
  const gpu::convolution_plan fast(problem, cudnn.target);
  cudnn.run(s, fast);
  CHECK(difference(s.y.card.get(), s.expected()) < 2e-3);
}

TEST_CASE("convolution: recorded in a graph it is computed afresh each time") {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  const convolution_problem problem{.geometry = geometries[0], .batch = 2, .bias = true};
  setup<float> s(problem);
  const gpu::convolution_plan plan(problem, cudnn.target);
  card_scratch workspace(plan.workspace_bytes());
  plan.run(cudnn.cudnn.get(), s.data(), workspace);  // loads the kernels, which a recording must not
  const gpu::graph recorded =
      gpu::graph::capture(cudnn.stream, [&] { plan.run(cudnn.cudnn.get(), s.data(), workspace); });
  for (const std::uint64_t key : {8U, 9U}) {
    s.x.host = doubles(random_values<float>(s.x.host.size(), key));
    s.x.card.set(rounded<float>(s.x.host));
    recorded.launch(cudnn.stream);
    cudnn.stream.wait();
    CHECK(difference(s.y.card.get(), s.expected(plan.dropped())) < 2e-6);
  }
}

TEST_CASE("convolution: the same operands give the same bits") {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  for (const auto pass :
       {convolution_pass::forward, convolution_pass::backward_data, convolution_pass::backward_weights})
    for (const precision format : {precision::fp32, precision::tf32}) {
      const convolution_problem problem{
          .pass = pass, .geometry = geometries[0], .batch = 8, .format = format};
      const gpu::convolution_plan plan(problem, cudnn.target);
      setup<float> s(problem), t(problem);
      cudnn.run(s, plan);
      cudnn.run(t, plan);
      CHECK(s.x.card.get() == t.x.card.get());
      CHECK(s.w.card.get() == t.w.card.get());
      CHECK(s.y.card.get() == t.y.card.get());
    }
}

TEST_CASE("convolution: the fastest engine is kept, and known in the next run") {
  SEGNET_SKIP_WITHOUT_CARD();
  const segnet_test::temporary_folder folder;
  const gpu::engine_cache_scope scope{"card", 90, cudnnGetVersion()};
  library cudnn;
  const convolution_problem problem{
      .geometry = geometries[0], .batch = 2, .format = precision::bf16, .scale = true, .bias = true};
  setup<bfloat16> s(problem);
  const std::size_t bytes = std::size_t{64} << 20;
  card_scratch workspace(bytes);
  const auto launch = [&](const gpu::convolution_plan& plan) {
    plan.run(cudnn.cudnn.get(), s.data(), workspace);
  };
  std::vector<gpu::engine_choice> tried;
  gpu::engine_choice wanted;
  unsigned dropped = 0;
  {
    gpu::convolutions plans(gpu::plan_target(cudnn.cudnn.get()),
                            gpu::engine_cache(folder / "engines.json", scope));
    const gpu::convolution_plan& plan = plans.get(problem);
    CHECK(plans.workspace_bytes() == plan.workspace_bytes());
    // The last one is said to be fastest.
    const auto time = [&](const std::function<void()>& run) {
      run();
      tried.push_back(plan.choice());
      return 1.0 / static_cast<double>(tried.size());
    };
    plans.choose(problem, launch, bytes, time);
    wanted = plan.choice();
    dropped = plan.dropped();
    REQUIRE(!tried.empty());
    CHECK(tried.size() <= 8);
    CHECK(wanted == tried.back());
    const std::size_t before = tried.size();
    plans.choose(problem, launch, bytes, time);
    CHECK(tried.size() == before);
    CHECK(&plans.get(problem) == &plan);
    CHECK(plans.size() == 1);
    plans.save();
  }
  gpu::convolutions plans(gpu::plan_target(cudnn.cudnn.get()),
                          gpu::engine_cache(folder / "engines.json", scope));
  const gpu::convolution_plan& plan = plans.get(problem);
  CHECK(plan.is_known());
  CHECK(plan.choice() == wanted);
  CHECK(plan.dropped() == dropped);
  cudnn.run(s, plan);
  CHECK(difference(doubles(s.y.card.get()), s.expected(plan.dropped())) < allowed<bfloat16>(problem));
  tried.clear();
  plans.choose(problem, launch, bytes, [&](const std::function<void()>&) {
    tried.push_back(plan.choice());
    return 1.0;
  });
  CHECK(tried.empty());
}

TEST_CASE("convolution: an engine that is noted but does not exist is passed over") {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  const convolution_problem problem{.geometry = geometries[0], .batch = 2, .bias = true};
  const gpu::convolution_plan usual(problem, cudnn.target);
  gpu::engine_note note{usual.choice(), usual.dropped(), 1};
  CHECK(gpu::convolution_plan(problem, cudnn.target, &note).is_known());
  const auto passed_over = [&](const gpu::engine_note& wrong) {
    const gpu::convolution_plan plan(problem, cudnn.target, &wrong);
    return !plan.is_known() && plan.choice() == usual.choice();
  };
  note.choice.engine = 123456;
  CHECK(passed_over(note));
  note = {usual.choice(), usual.dropped() | 4U, 1};  // a fusion that was not asked for
  CHECK(passed_over(note));
  note = {usual.choice(), usual.dropped(), 1};
  note.choice.knobs.assign(1, {2, 1 << 30});
  CHECK(passed_over(note));
}

TEST_CASE("convolution: problems that make no sense are refused") {
  SEGNET_SKIP_WITHOUT_CARD();
  library cudnn;
  const auto refused = [&](const convolution_problem& p) {
    CHECK_THROWS_AS(gpu::convolution_plan(p, cudnn.target), argument_error);
  };
  const conv2d_geometry g = geometries[0];
  refused({.geometry = g, .bias = true, .accumulate = true});
  refused({.geometry = g, .statistics = true, .accumulate = true});
  refused({.geometry = g, .float_gradient = true});
  refused({.geometry = g, .input_act = activation::relu});
  refused({.pass = convolution_pass::backward_data, .geometry = g, .statistics = true});
  refused({.pass = convolution_pass::backward_data, .geometry = g, .prologue = true});
  refused({.pass = convolution_pass::backward_weights, .geometry = g, .bias = true});
  refused({.geometry = g, .slope_sums = true});
  refused({.pass = convolution_pass::backward_data, .geometry = g, .slope_sums = true, .accumulate = true});
}

#if defined(SEGNET_CUDA_SIMULATED)

namespace {

/// Limits of the simulated cuDNN for as long as this lives.
struct limited {
  gpu::simulator::cudnn_limits before = gpu::simulator::cudnn();
  limited() = default;
  limited(const limited&) = delete;
  ~limited() { gpu::simulator::cudnn() = before; }
};

}  // namespace

TEST_CASE("convolution: what no engine fuses is dropped, and as little as possible") {
  library cudnn;
  const limited restore;
  using kinds = std::span<const cudnnBackendDescriptorType_t>;
  const auto has = [](kinds operations, cudnnBackendDescriptorType_t kind) {
    return std::ranges::find(operations, kind) != operations.end();
  };
  convolution_problem problem{.geometry = geometries[0],
                              .batch = 2,
                              .format = precision::bf16,
                              .statistics = true,
                              .prologue = true,
                              .input_act = activation::relu};
  const auto dropped = [&] {
    setup<bfloat16> s(problem);
    const gpu::convolution_plan plan(problem, cudnn.target);
    cudnn.run(s, plan);
    CHECK(difference(doubles(s.y.card.get()), s.expected(plan.dropped())) < allowed<bfloat16>(problem));
    return plan.dropped();
  };
  CHECK(dropped() == 0);
  gpu::simulator::cudnn().supports = [&](kinds operations) {
    return !has(operations, CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
  };
  CHECK(dropped() == static_cast<unsigned>(gpu::fusion::statistics));
  gpu::simulator::cudnn().supports = [&](kinds operations) {
    return !has(operations, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  };
  CHECK(dropped() == static_cast<unsigned>(gpu::fusion::prologue));
  gpu::simulator::cudnn().supports = [](kinds operations) { return operations.size() == 1; };
  CHECK(dropped() == problem.fusions());
  CHECK(problem.fusions() == 6);

  // Where gradients stay in 16 bits, nothing can be added to floats.
  problem = {.pass = convolution_pass::backward_weights,
             .geometry = geometries[0],
             .format = precision::bf16,
             .accumulate = true,
             .float_gradient = true};
  const gpu::convolution_plan plan(problem, cudnn.target);
  CHECK_FALSE(plan.gradient_is_float());
  CHECK_FALSE(plan.accumulates());

  gpu::simulator::cudnn().supports = [](kinds) { return false; };
  try {
    const gpu::convolution_plan none(problem, cudnn.target);
    FAIL("there is no engine");
  } catch (const cuda_error& e) {
    CHECK(
        std::string(e.what()) ==
        "cuDNN " + gpu::cudnn_version_text(cudnnGetVersion()) +
            " has no engine for a convolution (backward to the weights, bf16, 1 x 9x12x8 to 9x12x16, kernel "
            "3x3, stride 1, padding 1 and 1, accumulate, float gradient)");
  }
}

TEST_CASE("convolution: engines are filtered by what cuDNN notes about them") {
  library cudnn;
  const limited restore;
  const auto engine = [&](precision format) {
    return gpu::convolution_plan({.geometry = geometries[0], .format = format}, cudnn.target).choice().engine;
  };
  CHECK(engine(precision::fp32) == 40);  // without tensor cores
  CHECK(engine(precision::tf32) == 10);
  CHECK(engine(precision::bf16) == 10);
  gpu::simulator::cudnn().engines = {20, 30, 10, 40};
  CHECK(engine(precision::tf32) == 10);  // 20's results vary, 30 rounds its operands
  gpu::simulator::cudnn().broken = {10};
  CHECK(engine(precision::tf32) == 40);
  gpu::simulator::cudnn().engines = {20, 30};
  gpu::simulator::cudnn().broken = {};
  CHECK_THROWS_AS(engine(precision::fp32), cuda_error);
}

TEST_CASE("convolution: the working memory is limited where there is a choice") {
  library cudnn;
  const limited restore;
  gpu::simulator::cudnn().workspace = 1 << 20;
  const convolution_problem problem{.geometry = geometries[0], .format = precision::bf16};
  CHECK(gpu::convolution_plan(problem, cudnn.target, nullptr, 1 << 20).choice().engine == 10);
  CHECK(gpu::convolution_plan(problem, cudnn.target, nullptr, 1 << 19).choice().engine == 40);
  gpu::simulator::cudnn().engines = {10};
  CHECK(gpu::convolution_plan(problem, cudnn.target, nullptr, 1 << 19).workspace_bytes() == 1 << 20);
}

TEST_CASE("convolution: engines without fusions are timed, too") {
  library cudnn;
  const convolution_problem problem{
      .geometry = geometries[0], .batch = 2, .format = precision::bf16, .scale = true};
  gpu::convolutions plans(gpu::plan_target(cudnn.cudnn.get()));
  const gpu::convolution_plan& plan = plans.get(problem);
  CHECK(plan.fuses_epilogue());
  plans.choose(
      problem, [](const gpu::convolution_plan&) {}, 1 << 20,
      [&](const std::function<void()>& run) {
        run();
        return plan.fuses_epilogue() ? 2.0 : 1.0;
      });
  CHECK_FALSE(plan.fuses_epilogue());
  setup<bfloat16> s(problem);
  cudnn.run(s, plan);
  CHECK(difference(doubles(s.y.card.get()), s.expected(plan.dropped())) < allowed<bfloat16>(problem));
}

#endif
