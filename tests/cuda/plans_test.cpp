// SPDX-License-Identifier: MIT
// What the real cuDNN accepts, seen without a card: plans for an H100 that is only described. Every
// convolution of the networks must have one in every precision, and the fusions that the backend counts on
// must exist.
#include "../temporary_folder.hpp"

#include <segnet/backend/cuda/convolution.hpp>
#include <segnet/backend/cuda/device.hpp>
#include <segnet/graph/passes.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/models/deconvnet.hpp>
#include <segnet/models/fcn.hpp>
#include <segnet/models/segnet.hpp>
#include <segnet/models/unet.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#if __has_include(<dlfcn.h>)
#include <dlfcn.h>
#endif

using namespace segnet;
using gpu::convolution_pass;
using gpu::convolution_problem;

namespace {

constexpr std::string_view h100 =
    R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)"
    R"("multiProcessorCount":132,"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
    R"("maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
    R"("maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,)"
    R"("supportCoopLaunch":1,"totalGlobalMem":85028896768,"smClockRateKHz":1980000,"memClockRateKHz":2619000,)"
    R"("l2CacheSize":52428800,"cudaDeviceId":0,"deviceVer":900,"driverVer":13000,)"
    R"("deviceName":"NVIDIA H100 80GB HBM3"})";

constexpr std::array all_precisions{precision::fp32, precision::tf32, precision::bf16, precision::fp16};
constexpr std::array all_passes{convolution_pass::forward, convolution_pass::backward_data,
                                convolution_pass::backward_weights};

/// The geometries of a graph's convolutions, those of transposed ones too.
template <class Graph>
void collect(const Graph& g, std::vector<conv2d_geometry>& found) {
  for (int node = 1; node < g.nodes.size(); ++node)
    if (!g.nodes[node].dead)
      g.visit(node, [&](const auto& layer) {
        if constexpr (requires { layer.geometry(g.inputs_of(node)); }) {
          if constexpr (requires { layer.per_channel; }) {
            if (layer.per_channel) return;  // kernels of our own
          }
          found.push_back(layer.geometry(g.inputs_of(node)));
        }
      });
}
template <class Definition>
std::vector<conv2d_geometry> convolutions_of() {
  using graph = std::remove_cvref_t<decltype(Definition::build().finish())>;
  const auto built = std::make_unique<graph>(Definition::build().finish());
  std::vector<conv2d_geometry> found;
  collect(*std::make_unique<graph>(training_graph(*built)), found);
  collect(*std::make_unique<graph>(inference_graph(*built)), found);
  return found;
}

convolution_problem padded(convolution_pass pass, conv2d_geometry g, int batch, precision format) {
  g.in_channels = gpu::padded_channels(g.in_channels, format);
  g.out_channels = gpu::padded_channels(g.out_channels, format);
  return {.pass = pass, .geometry = g, .batch = batch, .format = format};
}

/// Makes the plans of all passes; gives how many there are, and the memory that the neediest wants.
template <class Definition>
std::pair<std::size_t, std::size_t> plan(const std::vector<int>& batches,
                                         const std::vector<precision>& formats) {
  gpu::convolutions plans{gpu::plan_target(h100)};
  for (const conv2d_geometry& g : convolutions_of<Definition>())
    for (const int batch : batches)
      for (const precision format : formats)
        for (const auto pass : all_passes) {
          const convolution_problem problem = padded(pass, g, batch, format);
          INFO(gpu::describe(problem));
          CHECK_NOTHROW(plans.get(problem));
        }
  return {plans.size(), plans.workspace_bytes()};
}

/// Whether this machine has what cuDNN needs to compile kernels for the card that is described: a driver, or
/// where there is none a stand-in for it. Drivers of other cards would refuse those kernels.
bool can_compile() {
  static const bool result = [] {
    const gpu::environment here = gpu::this_environment();
    if (here.driver != 0) return here.capability == 90;
#if defined(SEGNET_DRIVER_STAND_IN)
    return ::dlopen(SEGNET_DRIVER_STAND_IN, RTLD_NOW | RTLD_GLOBAL) != nullptr;
#else
    return false;
#endif
  }();
  return result;
}

/// How many engines cuDNN recommends for exactly this problem that are accurate and deterministic.
std::size_t engines(const convolution_problem& problem, const gpu::plan_target& target) {
  std::size_t good = 0;
  try {
    const gpu::detail::convolution_graph graph(problem, target);
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (const auto& each : gpu::recommended_engines(graph.get(), mode, target, 32)) {
        const auto engine = gpu::describe_engine(each);
        if (gpu::detail::accurate(engine, problem.format) && gpu::detail::deterministic(engine)) ++good;
      }
      if (good > 0) break;
    }
  } catch (const cuda_error&) {
  }
  return good;
}

constexpr conv2d_geometry usual{
    .h = 128, .w = 128, .out_h = 128, .out_w = 128, .in_channels = 64, .out_channels = 64};
constexpr conv2d_geometry thin{
    .h = 512, .w = 512, .out_h = 512, .out_w = 512, .in_channels = 8, .out_channels = 8};

}  // namespace

TEST_CASE("plans: every convolution of the Carvana network at full width, in every precision") {
  using network = carvana_7_2_7_1<512>;
  for (const precision format : all_precisions) {
    const auto [count, workspace] = plan<network>({16, 1}, {format});
    std::printf("carvana_7_2_7_1<512>, %s: %zu plans, working memory up to %zu MiB\n", name_of(format).data(),
                count, workspace >> 20);
    CHECK(count > 120);
    // The engines of single precision turn NHWC into another layout and back.
    CHECK(workspace <=
          (std::size_t{format == precision::fp32 || format == precision::tf32 ? 320U : 64U} << 20));
  }
}

TEST_CASE("plans: every convolution of the other networks") {
  const std::vector<precision> formats{precision::fp32, precision::bf16, precision::fp16};
  plan<carvana_lite<1024>>({1}, formats);
  plan<unet_same<256, 256, 2>>({4}, formats);
  plan<unet<572, 572, 2, 16>>({1}, formats);
  plan<segnet_vgg16<360, 480, 11>>({4}, {precision::bf16});
  plan<segnet_basic<360, 480, 11>>({4}, formats);
  plan<fcn_32s<96, 128, 11, 8, 32>>({2}, formats);
  plan<fcn_8s<500, 500, 21>>({1}, {precision::tf32, precision::bf16});
  plan<deconvnet<21>>({4}, {precision::bf16});
  plan<deconvnet<21, 8, 64>>({4}, formats);
}

TEST_CASE("plans: what no fp32 engine may do is noted by cuDNN") {
  const gpu::plan_target target(h100);
  for (const auto pass : all_passes) {
    const gpu::detail::convolution_graph graph({.pass = pass, .geometry = usual, .batch = 16}, target);
    std::size_t exact = 0, rounded = 0;
    for (const auto& each : gpu::recommended_engines(graph.get(), CUDNN_HEUR_MODE_A, target, 32))
      ++(gpu::detail::accurate(gpu::describe_engine(each), precision::fp32) ? exact : rounded);
    CHECK(exact > 0);
    CHECK(rounded > 0);  // else the notes, or the default, would have changed
  }
}

TEST_CASE("plans: channels that are padded have more engines") {
  const gpu::plan_target target(h100);
  CHECK(gpu::padded_channels(3, precision::bf16) == 8);
  CHECK(gpu::padded_channels(8, precision::fp16) == 8);
  CHECK(gpu::padded_channels(3, precision::tf32) == 4);
  CHECK(gpu::padded_channels(3, precision::fp32) == 3);
  // Those that read 8 channels at a time, the only ones made for this card, come first.
  conv2d_geometry colours = thin;
  colours.in_channels = 3;
  for (const precision format : {precision::bf16, precision::fp16}) {
    CHECK(engines({.geometry = colours, .batch = 16, .format = format}, target) > 0);
    CHECK(engines({.geometry = thin, .batch = 16, .format = format}, target) > 0);
  }
  if (!can_compile()) return;
  convolution_problem problem{
      .geometry = colours, .batch = 16, .format = precision::bf16, .statistics = true};
  const std::size_t few = engines(problem, target);
  problem.geometry = thin;
  CHECK(engines(problem, target) > few);
  problem = {.geometry = colours, .batch = 16, .format = precision::bf16, .prologue = true};
  CHECK(engines(problem, target) == 0);
  problem.geometry = thin;
  CHECK(engines(problem, target) > 0);
}

TEST_CASE("plans: fusions that there are for compute capability 9.0") {
  if (!can_compile()) {
    WARN("skipped: without a driver, or a stand-in for it, cuDNN cannot compile the kernels of fusions");
    return;
  }
  const gpu::plan_target target(h100);
  struct form {
    const char* name;
    convolution_problem problem;
    bool in_16_bits;  ///< what the backend counts on
  };
  const auto relu = activation::relu;
  const auto weights = convolution_pass::backward_weights, data = convolution_pass::backward_data;
  const std::vector<form> forms{
      {"forward", {}, true},
      {"forward +=", {.accumulate = true}, true},
      {"forward, bias", {.bias = true}, true},
      {"forward, bias, relu", {.bias = true, .act = relu}, true},
      {"forward, scale, bias, relu", {.scale = true, .bias = true, .act = relu}, true},
      {"forward, statistics", {.statistics = true}, true},
      {"forward, bias, statistics", {.bias = true, .statistics = true}, true},
      {"forward, read scaled and relu", {.prologue = true, .input_act = relu}, true},
      {"the same, statistics", {.statistics = true, .prologue = true, .input_act = relu}, true},
      {"the same, bias, statistics",
       {.bias = true, .statistics = true, .prologue = true, .input_act = relu},
       true},
      {"data", {.pass = data}, true},
      {"data +=", {.pass = data, .accumulate = true}, true},
      {"data, scale, bias, relu", {.pass = data, .scale = true, .bias = true, .act = relu}, true},
      {"data, slope sums", {.pass = data, .slope_sums = true}, true},
      {"data, slope sums behind relu", {.pass = data, .input_act = relu, .slope_sums = true}, true},
      {"weights", {.pass = weights}, true},
      {"weights +=", {.pass = weights, .accumulate = true}, true},
      {"weights, float", {.pass = weights, .float_gradient = true}, true},
      {"weights, float +=", {.pass = weights, .accumulate = true, .float_gradient = true}, false},
      {"weights, read scaled and relu", {.pass = weights, .prologue = true, .input_act = relu}, false},
  };
  for (const conv2d_geometry& g : {usual, thin}) {
    std::printf("engines, %dx%d pixels, %d channels          fp32 tf32 bf16 fp16\n", g.h, g.w, g.in_channels);
    for (form each : forms) {
      std::printf("  %-36s", each.name);
      for (const precision format : all_precisions) {
        each.problem.geometry = g;
        each.problem.batch = 16;
        each.problem.format = format;
        INFO(gpu::describe(each.problem));
        const std::size_t found = engines(each.problem, target);
        std::printf("%5zu", found);
        if (activation_bytes(format) == 2) CHECK((found > 0) == each.in_16_bits);
        if (each.problem.fusions() == 0) CHECK(found > 0);
      }
      std::printf("\n");
    }
  }
}

TEST_CASE("plans: kernels of fusions compile") {
  if (!can_compile()) {
    WARN("skipped: without a driver, or a stand-in for it, cuDNN cannot compile the kernels of fusions");
    return;
  }
  const gpu::plan_target target(h100);
  const auto made = [&](convolution_problem problem) {
    problem.geometry = usual;
    problem.batch = 16;
    problem.format = precision::bf16;
    INFO(gpu::describe(problem));
    return gpu::convolution_plan(problem, target).dropped();
  };
  CHECK(made({.scale = true, .bias = true, .act = activation::relu}) == 0);
  CHECK(made({.statistics = true}) == 0);
  CHECK(made({.bias = true, .statistics = true}) == 0);
  CHECK(made({.statistics = true, .prologue = true, .input_act = activation::relu}) == 0);
  CHECK(made({.pass = convolution_pass::backward_data, .bias = true}) == 0);
  CHECK(made({.pass = convolution_pass::backward_data, .input_act = activation::relu, .slope_sums = true}) ==
        0);
  CHECK(made({.pass = convolution_pass::backward_weights, .float_gradient = true}) == 0);
}

TEST_CASE("plans: an engine's choice is made again from its notes") {
  const gpu::plan_target target(h100);
  for (const auto pass : all_passes) {
    const convolution_problem problem{
        .pass = pass, .geometry = usual, .batch = 16, .format = precision::bf16};
    gpu::convolution_plan plan(problem, target);
    REQUIRE(plan.candidates() > 2);
    for (std::size_t i = 0; i < plan.candidates(); i += 3) {
      if (!plan.select(i, gpu::convolution_plan::usual_workspace)) continue;
      const gpu::engine_note note{plan.choice(), plan.dropped(), 1};
      const gpu::convolution_plan again(problem, target, &note);
      CHECK(again.is_known());
      CHECK(again.choice() == plan.choice());
      CHECK(again.workspace_bytes() == plan.workspace_bytes());
    }
    CHECK(!plan.choice().knobs.empty());
  }
}

TEST_CASE("plans: a kernel is compiled once, for all programs") {
  if (!can_compile()) {
    WARN("skipped: without a driver, or a stand-in for it, cuDNN cannot compile the kernels of fusions");
    return;
  }
  const segnet_test::temporary_folder folder;
  const gpu::plan_target target(h100);
  const convolution_problem problem{.geometry = usual,
                                    .batch = 16,
                                    .format = precision::bf16,
                                    .scale = true,
                                    .bias = true,
                                    .act = activation::relu};
  const gpu::convolution_plan compiled(problem, target);
  const std::string text = compiled.serialised();
  REQUIRE(!text.empty());
  CHECK(gpu::convolution_plan({.geometry = usual, .batch = 16, .format = precision::bf16}, target)
            .serialised()
            .empty());

  gpu::engine_cache cache(folder / "engines.json", {});
  const gpu::engine_note note{compiled.choice(), compiled.dropped(), 1};
  const std::string name = gpu::describe(problem);
  cache.remember(name, note);
  REQUIRE(cache.save());
  CHECK(cache.stored(name, note).empty());
  // The first to make it writes it down, the next reads it: there is nothing more to write.
  for (const bool written : {false, true}) {
    gpu::convolutions plans(gpu::plan_target(h100), gpu::engine_cache(folder / "engines.json", {}));
    const gpu::convolution_plan& plan = plans.get(problem);
    CHECK(plan.is_known());
    CHECK(plan.choice() == compiled.choice());
    CHECK(plan.dropped() == 0);
    CHECK(plan.workspace_bytes() == compiled.workspace_bytes());
    CHECK(plan.serialised().empty() == written);
    CHECK(cache.stored(name, note).size() == text.size());
  }
  // Of another engine, or of no sense: as if it were not there.
  CHECK(cache.stored(name, {{note.choice.engine + 1, note.choice.knobs}, 0, 1}).empty());
  cache.store(name, note, "{}");
  gpu::convolutions plans(gpu::plan_target(h100), gpu::engine_cache(folder / "engines.json", {}));
  CHECK(plans.get(problem).is_known());
  CHECK(cache.stored(name, note).size() == text.size());
}

TEST_CASE("plans: a card's properties that cuDNN cannot read are an error of ours") {
  CHECK_THROWS_AS(gpu::plan_target(std::string_view("{}")), cuda_error);
}

TEST_CASE("plans: what cuDNN refuses is one error with the geometry, the type and cuDNN's version") {
  const gpu::plan_target target(h100);
  try {
    const gpu::convolution_plan plan({.geometry = usual, .batch = 0, .format = precision::bf16}, target);
    FAIL("there is an engine");
  } catch (const cuda_error& e) {
    CHECK(std::string(e.what()) ==
          "cuDNN " + gpu::cudnn_version_text(cudnnGetVersion()) +
              " has no engine for a convolution (forward, bf16, 0 x 128x128x64 to 128x128x64, kernel 3x3, "
              "stride 1, padding 1 and 1)");
  }
}
