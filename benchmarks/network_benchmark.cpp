// SPDX-License-Identifier: MIT
// The whole 7-2-7-1 network: inference, a training step, and the time to the first mask. FLOPS and its share
// of the peak count the convolutions alone (network_convolutions.hpp); planned_bytes is the memory that the
// network knows while compiling, without the program's own.
#include "fma_peak.hpp"
#include "network_convolutions.hpp"

#include <segnet/loss/bce_dice.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/optim/adam.hpp>

#include <memory>

namespace {

using namespace segnet_benchmark;

template <int Size>
using net_t = network<carvana_7_2_7_1<Size>>;

/// Initial weights in a file, which the inference at every size loads.
const std::filesystem::path& checkpoint() {
  static const temporary_folder folder;
  static const std::filesystem::path file = [] {
    net_t<128> net;
    net.initialise(1);
    const std::filesystem::path path = folder.path() / "initial.safetensors";
    save_checkpoint(path, net, {});
    return path;
  }();
  return file;
}

template <int Size>
aligned_buffer<float> random_images(int batch) {
  return random_buffer(static_cast<std::size_t>(batch) * net_t<Size>::input_shape.size());
}

/// Counters that inference and training share.
template <int Size>
void count(benchmark::State& state, bool training, int batch, int threads) {
  count_operations(state, batch * convolution_operations<net_t<Size>>(training), threads);
  constexpr memory_plan memory = net_t<Size>::memory;
  state.counters["planned_bytes"] = static_cast<double>(training ? memory.training_bytes(batch, threads)
                                                                 : memory.inference_bytes(batch, threads));
  state.SetItemsProcessed(state.iterations() * batch);
}

template <int Size>
void inference(benchmark::State& state) try {
  const int threads = static_cast<int>(state.range(0));
  net_t<Size> net({.threads = threads, .training = false});
  load_checkpoint(safetensors_file(checkpoint()), net);
  const auto image = random_images<Size>(1);
  for (auto _ : state) benchmark::DoNotOptimize(net.infer({image.data(), 1, net.input_shape}).data);
  count<Size>(state, false, 1, threads);
} catch (const error& problem) {
  state.SkipWithError(problem.what());
}

/// Forward, loss, backward and optimiser.
template <int Size>
void training_step(benchmark::State& state, int batch) try {
  const int threads = static_cast<int>(state.range(0));
  net_t<Size> net({.batch = batch, .threads = threads});
  net.initialise(1);
  const auto images = random_images<Size>(batch);
  aligned_buffer<float> masks(static_cast<std::size_t>(batch) * net.output_shape.size());
  for (std::size_t i = 0; i < masks.size() / 3; ++i) masks.data()[i] = 1;
  aligned_buffer<float> m(net.parameters().size()), v(net.parameters().size());
  adam_state<float> moments{m.span(), v.span(), 0};
  for (auto _ : state) {
    const auto logits = net.forward({images.data(), batch, net.input_shape});
    const auto gradient = net.output_gradient();
    bce_dice{}(net.backend(), {logits.data, logits.size()}, masks.span(), {},
               {gradient.data, gradient.size()});
    net.backward();
    adam{}(net.backend(), 1e-3, net.parameters(), net.gradients(), moments);
    net.parameters_changed();
  }
  count<Size>(state, true, batch, threads);
} catch (const error& problem) {
  state.SkipWithError(problem.what());
}

/// From nothing but a checkpoint (in the page cache) to the first probabilities.
template <int Size>
void start_up(benchmark::State& state) try {
  const auto image = random_images<Size>(1);
  const std::filesystem::path& file = checkpoint();
  for (auto _ : state) {
    auto net = std::make_unique<net_t<Size>>(
        network_options{.threads = static_cast<int>(state.range(0)), .training = false});
    load_checkpoint(safetensors_file(file), *net);
    benchmark::DoNotOptimize(net->infer({image.data(), 1, net->input_shape}).data);
    state.PauseTiming();
    net.reset();
    state.ResumeTiming();
  }
} catch (const error& problem) {
  state.SkipWithError(problem.what());
}

template <class F>
void register_one(const std::string& name, F f) {
  benchmark::RegisterBenchmark(name.c_str(), f)->Apply(threads_1_and_all)->Unit(benchmark::kMillisecond);
}

template <int Size>
void register_training(int batch) {
  register_one("training_step/size:" + std::to_string(Size) + "/batch:" + std::to_string(batch),
               [batch](benchmark::State& state) { training_step<Size>(state, batch); });
}

}  // namespace

int main(int argc, char** argv) {
  register_one("inference/size:128", inference<128>);
  register_one("inference/size:256", inference<256>);
  register_one("inference/size:512", inference<512>);
  register_one("inference/size:1024", inference<1024>);
  register_training<128>(8);
  register_training<256>(1);
  register_training<256>(4);
  register_training<256>(8);
  register_one("start_up/size:256", start_up<256>);
  return run_beside_peak(argc, argv);
}
