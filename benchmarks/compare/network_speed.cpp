// SPDX-License-Identifier: MIT
// One measurement in a process of its own, so that the peak memory is its own: a training step or an
// inference of 7-2-7-1 on random images. Prints a JSON line, as train_pytorch.py --time does; compare.py runs
// both in turn.
#include <segnet/loss/bce_dice.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/network.hpp>
#include <segnet/optim/adam.hpp>

#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

using namespace segnet;

namespace {

/// The median of `count` runs after three that do not count, in milliseconds.
template <class F>
double timed(F f, int count) {
  std::vector<double> times;
  for (int i = -3; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (i >= 0) times.push_back(took.count());
  }
  std::ranges::sort(times);
  return times[times.size() / 2];
}

std::vector<float> random_values(std::size_t size) {
  std::vector<float> values(size);
  random_stream random{1, size};
  for (float& v : values) v = static_cast<float>(random.uniform());
  return values;
}

void report(const char* what, int size, int batch, int threads, double ms) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "{\"measured\": \"%s\", \"mode\": \"segnet\", \"variant\": \"7-2-7-1\", \"size\": %d, \"batch\": %d, "
      "\"threads\": %d, \"median_ms\": %.3f, \"images_per_s\": %.3f, \"peak_mib\": %.1f}\n",
      what, size, batch, threads, ms, 1000.0 * batch / ms, static_cast<double>(usage.ru_maxrss) / 1024.0);
}

template <int Size>
void training(int batch, int threads, int count) {
  using net_t = network<carvana_7_2_7_1<Size>>;
  net_t net({.batch = batch, .threads = threads});
  net.initialise(1);
  const auto images = random_values(static_cast<std::size_t>(batch) * net_t::input_shape.size());
  auto masks = random_values(static_cast<std::size_t>(batch) * net_t::output_shape.size());
  for (float& m : masks) m = m < 0.3f ? 1.0f : 0.0f;
  aligned_buffer<float> m(net.parameters().size()), v(net.parameters().size());
  adam_state<float> moments{m.span(), v.span(), 0};
  report("training step", Size, batch, threads,
         timed(
             [&] {
               const auto logits = net.forward({images.data(), batch, net_t::input_shape});
               const auto gradient = net.output_gradient();
               bce_dice{}(net.backend(), {logits.data, logits.size()}, masks, {},
                          {gradient.data, gradient.size()});
               net.backward();
               adam{}(net.backend(), 1e-3, net.parameters(), net.gradients(), moments);
             },
             count));
}

template <int Size>
void inference(int threads, int count) {
  using net_t = network<carvana_7_2_7_1<Size>>;
  net_t net({.threads = threads, .training = false});
  const auto weights = random_values(net_t::trainable_count);
  net.fold([&](const parameter&) { return weights.data(); });
  const auto image = random_values(net_t::input_shape.size());
  report("inference", Size, 1, threads,
         timed(
             [&] {
               net.infer({image.data(), 1, net_t::input_shape});
             },
             count));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times a training step, or an inference, of 7-2-7-1."};
  int batch = 8, threads = 2, count = 20, size = 128;
  std::string only = "training";
  app.add_option("--only", only, "training (128x128) or inference (512x512, batch 1)")
      ->check(CLI::IsMember({"training", "inference"}));
  app.add_option("--size", size, "128 or 512")->check(CLI::IsMember({128, 512}));
  app.add_option("--batch", batch)->check(CLI::PositiveNumber);
  app.add_option("--threads", threads)->check(CLI::PositiveNumber);
  app.add_option("--time", count, "how many are timed")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (only == "training")
    size == 128 ? training<128>(batch, threads, count) : training<512>(batch, threads, count);
  else
    size == 128 ? inference<128>(threads, count) : inference<512>(threads, count);
}
