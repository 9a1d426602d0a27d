// SPDX-License-Identifier: MIT
// segnet's side of compare.py: inferences or training steps of 7-2-7-1 in a process of its own. speed.py says
// what every candidate takes and prints.
#include <segnet/io/file.hpp>
#include <segnet/loss/bce_dice.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/network.hpp>
#include <segnet/optim/adam.hpp>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

using namespace segnet;

namespace {

struct options {
  std::string job;
  int size = 128, batch = 1, threads = 1, steps = 3;
  double seconds = 2;
  std::filesystem::path weights, images, masks, out, save;
};

/// `pictures` at least, of `values` floats each. Throws file_error.
std::vector<float> read_pictures(const std::filesystem::path& path, int pictures, std::size_t values) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw file_error(path, "cannot be opened");
  const std::size_t bytes = std::filesystem::file_size(path), each = values * sizeof(float);
  if (bytes % each != 0 || bytes / each < static_cast<std::size_t>(pictures))
    throw file_error(path, "holds " + std::to_string(bytes) + " bytes, expected " + std::to_string(pictures) +
                               " or more pictures of " + std::to_string(each));
  std::vector<float> all(bytes / sizeof(float));
  if (!file.read(reinterpret_cast<char*>(all.data()), static_cast<std::streamsize>(bytes)))
    throw file_error(path, "cannot be read");
  return all;
}

void print(const nlohmann::json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

/// Runs f for `seconds`, at least three times, and prints the times.
template <class F>
void measure(F f, double seconds) {
  using clock = std::chrono::steady_clock;
  std::vector<double> times;
  const std::clock_t used = std::clock();
  const auto start = clock::now();
  std::chrono::duration<double> total{};
  while (times.size() < 3 || total.count() < seconds) {
    const auto before = clock::now();
    f();
    const std::chrono::duration<double, std::milli> took = clock::now() - before;
    times.push_back(took.count());
    total = clock::now() - start;
  }
  const double processor = static_cast<double>(std::clock() - used) / CLOCKS_PER_SEC;
  print({{"version", SEGNET_VERSION}, {"times_ms", times}, {"cores", processor / total.count()}});
}

template <int Size>
void infer(const options& o) {
  using net_t = network<carvana_7_2_7_1<Size>>;
  net_t net({.batch = o.batch, .threads = o.threads, .training = false});
  const safetensors_file weights(o.weights);
  load_checkpoint(weights, net);
  const auto images = read_pictures(o.images, o.batch, net_t::input_shape.size());

  const auto run = [&] { return net.infer({images.data(), o.batch, net_t::input_shape}); };
  const auto probabilities = run();
  atomic_write(o.out, std::as_bytes(std::span(probabilities.data, probabilities.size())),
               durability::renamed);
  print({{"event", "mask"}});
  run();
  measure(run, o.seconds);
}

template <int Size>
void train(const options& o) {
  using net_t = network<carvana_7_2_7_1<Size>>;
  net_t net({.batch = o.batch, .threads = o.threads});
  if (o.weights.empty())
    net.initialise(1);
  else
    load_checkpoint(safetensors_file(o.weights), net);
  const auto images = read_pictures(o.images, o.batch, net_t::input_shape.size());
  const auto masks = read_pictures(o.masks, o.batch, net_t::output_shape.size());
  const std::size_t batches = masks.size() / net_t::output_shape.size() / static_cast<std::size_t>(o.batch);

  aligned_buffer<float> m(net.parameters().size()), v(net.parameters().size());
  adam_state<float> moments{m.span(), v.span(), 0};
  const auto step = [&] {
    const auto taken = static_cast<std::size_t>(moments.step);
    const std::size_t first = taken % batches * static_cast<std::size_t>(o.batch);
    // Checkpoints want running statistics that follow quickly: a mean over the last steps.
    const double momentum =
        o.save.empty() ? 1 : static_cast<double>(taken) / (static_cast<double>(taken) + 5);
    const auto logits = net.forward(
        {images.data() + first * net_t::input_shape.size(), o.batch, net_t::input_shape}, momentum);
    const auto gradient = net.output_gradient();
    const auto loss = bce_dice{}(net.backend(), {logits.data, logits.size()},
                                 std::span(masks).subspan(first * net_t::output_shape.size(), logits.size()),
                                 {}, {gradient.data, gradient.size()});
    net.backward();
    adam{}(net.backend(), 1e-3, net.parameters(), net.gradients(), moments);
    return loss.total;
  };
  std::vector<double> losses;
  for (int i = 0; i < o.steps; ++i) losses.push_back(step());
  print({{"event", "losses"}, {"losses", losses}});
  if (o.save.empty()) {
    measure(step, o.seconds);
  } else {
    checkpoint_header header;
    header.network = "carvana";
    header.variant = "7-2-7-1";
    header.filters = "8,24,64,128,256,512,768";
    header.height = header.width = Size;
    save_checkpoint(o.save, net, header.to_metadata());
  }
}

}  // namespace

int main(int argc, char** argv) try {
  options o;
  CLI::App app{"Measures inferences or training steps of 7-2-7-1; compare.py runs it."};
  app.add_option("--job", o.job)->required()->check(CLI::IsMember({"inference", "training"}));
  app.add_option("--size", o.size, "pixels")->check(CLI::IsMember({128, 256, 512, 1024}));
  app.add_option("--batch", o.batch)->check(CLI::PositiveNumber);
  app.add_option("--threads", o.threads)->check(CLI::PositiveNumber);
  app.add_option("--seconds", o.seconds, "how long to measure")->check(CLI::NonNegativeNumber);
  app.add_option("--weights", o.weights, "a checkpoint");
  app.add_option("--images", o.images, "floats [n][size][size][3]")->required();
  app.add_option("--masks", o.masks, "floats [n][size][size], for training");
  app.add_option("--out", o.out, "where inference writes the probabilities, floats [n][size][size]");
  app.add_option("--steps", o.steps, "training steps before the measurement, whose losses are printed")
      ->check(CLI::PositiveNumber);
  app.add_option("--save", o.save, "write a checkpoint after these steps and measure nothing");
  CLI11_PARSE(app, argc, argv);
  if (o.job == "inference") {
    switch (o.size) {
      case 128:
        infer<128>(o);
        break;
      case 256:
        infer<256>(o);
        break;
      case 512:
        infer<512>(o);
        break;
      default:
        infer<1024>(o);
    }
  } else if (o.size == 128) {
    train<128>(o);
  } else if (o.size == 256) {
    train<256>(o);
  } else {
    throw argument_error("training: found --size " + std::to_string(o.size) + ", expected 128 or 256");
  }
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "network_speed: %s\n", problem.what());
  return 1;
}
