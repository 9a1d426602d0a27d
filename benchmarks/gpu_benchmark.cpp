// SPDX-License-Identifier: MIT
// segnet's side of gpu/compare_gpu.py: training steps and inferences of 7-2-7-1 on a card, and what the card
// itself can do, in milliseconds by the card's own clock. gpu/speed_gpu.py says what it takes and prints.
#include "gpu/profiled.hpp"
#include "gpu/work.hpp"

#include <segnet/core/random.hpp>
#include <segnet/cuda.hpp>
#include <segnet/data/augment.hpp>
#include <segnet/io/file.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/device_network.hpp>
#include <segnet/train/device_step.hpp>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using namespace segnet_benchmark;
using nlohmann::json;

namespace {

#if defined(SEGNET_CUDA_SIMULATED)
constexpr std::array sizes{128};
constexpr int matrix_size = 8, matrix_channels = 64;
#else
constexpr std::array sizes{512, 1024};
constexpr int matrix_size = 64, matrix_channels = 4096;
#endif

struct options {
  std::string job, precision = "bf16";
  int size = sizes[0], batch = 0;
  double seconds = 1;
  bool quick = false, serve = false;
  std::filesystem::path weights, images, masks, out;
};

void print(const json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

/// `count` values of a file of floats, or random ones in [0, 1) where there is no file. Throws file_error.
std::vector<float> read_floats(const std::filesystem::path& path, std::size_t count) {
  std::vector<float> values(count);
  if (path.empty()) {
    random_stream stream{count};
    for (float& value : values) value = static_cast<float>(stream.uniform(0, 1));
    return values;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw file_error(path, "cannot be opened");
  if (!file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(float))))
    throw file_error(path, "holds fewer than " + std::to_string(count) + " floats");
  return values;
}

/// Milliseconds of each call of f(), which gives work to the stream and does not wait.
template <class F>
std::vector<double> times_of(const gpu::stream& stream, const options& o, double seconds, F f) {
  const std::size_t block = o.quick ? 2 : 10;
  const std::vector<gpu::event> events(block + 1);
  std::vector<double> times;
  const auto start = clock_type::now();
  do {
    events[0].record(stream);
    for (std::size_t i = 1; i <= block; ++i) {
      f();
      events[i].record(stream);
    }
    events[block].wait();
    for (std::size_t i = 1; i <= block; ++i)
      times.push_back(static_cast<double>(events[i].milliseconds_since(events[i - 1])));
  } while (seconds_since(start) < seconds);
  return times;
}

/// Milliseconds of each call of f() by the host's clock; f() returns when all is done.
template <class F>
std::vector<double> whole_times_of(const options& o, double seconds, F f) {
  std::vector<double> times;
  const auto start = clock_type::now();
  do {
    const auto before = clock_type::now();
    f();
    times.push_back(1000 * seconds_since(before));
  } while (seconds_since(start) < seconds || (!o.quick && times.size() < 10));
  return times;
}

std::size_t free_memory() { return cuda::available_memory(); }

json to_json(const network_work& work) {
  json each = json::array();
  for (const auto& c : work.convolutions) each.push_back({c.operations, c.bytes});
  return {{"convolutions", each}, {"optimizer_bytes", work.optimizer_bytes}};
}

/// Something that can be measured. Destroyed before the program ends, as all that holds memory of the card.
struct measurable {
  virtual ~measurable() = default;
  virtual json prepare() = 0;
  virtual json measure(double seconds) = 0;
  virtual json profile() { return json::object(); }
};

/// So many bytes of the card's are copied before profiled work starts: about 20 ms.
std::size_t ahead(const options& o) { return o.quick ? 0 : std::size_t{32} << 30; }

template <class Definition, class Backend>
class training final : public measurable {
  using network_type = network<Definition, profiled<Backend>>;
  using step_type = training_step<network_type, mask_task>;

 public:
  training(const options& o, const network_options& with) : o_(o), with_(with) {
    batch_.count = o.batch;
    const auto n = static_cast<std::size_t>(o.batch);
    batch_.images = read_floats(o.images, n * network_type::input_shape.size());
    batch_.masks = read_floats(o.masks, n * network_type::output_shape.size());
    raw_ = as_bytes(batch_);
  }

  json prepare() override {
    const std::size_t before = free_memory();
    const auto start = clock_type::now();
    net_.emplace(with_);
    if (o_.weights.empty())
      net_->initialise(1);
    else
      load_checkpoint(safetensors_file(o_.weights), *net_);
    step_.emplace(*net_, adam{}, mask_task{});
    json losses = json::array();
    for (int i = 0; i < 3; ++i) losses.push_back(one_step());
    const double took = seconds_since(start);
    if (!o_.quick) times_of(net_->backend().stream(), o_, 0.3, [&] { repeat(); });
    return {{"losses", losses},
            {"prepare_seconds", took},
            {"device_bytes", before - free_memory()},
            {"planned_bytes", network_type::memory.training_bytes(o_.batch)},
            {"work", to_json(work_of<network_type>(o_.batch, true))}};
  }

  json measure(double seconds) override {
    json found{{"times_ms", times_of(net_->backend().stream(), o_, seconds, [&] { repeat(); })}};
    step_->outcome();
    // As a trainer does it: the next batch is on its way while this one is augmented and learned from.
    found["whole_ms"] = whole_times_of(o_, seconds / 2, [&] {
      step_->add(raw_, {});
      step_->update(rate, steps_++);
      ++raw_.number;
      step_->prepare(raw_);
      step_->outcome();
    });
    step_->add(batch_, {});  // for the next time
    step_->update(rate, steps_++);
    step_->outcome();
    return found;
  }

  json profile() override {
    // Another one, whose steps are not recorded yet.
    step_type step(*net_, adam{}, mask_task{});
    step.add(batch_, {});
    net_->backend().start_profile(ahead(o_));
    step.update(rate, steps_++);
    json found{{"profile_ms", net_->backend().stop_profile()}};
    step.outcome();
    return found;
  }

  /// The loss before it.
  double one_step(double momentum_limit = 1) {
    step_->add(batch_, {.momentum_limit = momentum_limit});
    step_->update(rate, steps_++);
    return step_->outcome().parts[0].loss;
  }
  network_type& net() { return *net_; }

 private:
  static constexpr double rate = 1e-3;

  /// The same pictures as a raw loader gives them.
  static batch as_bytes(const batch& of) {
    const shape dims = network_type::input_shape;
    batch raw;
    raw.epoch = 1;
    raw.count = of.count;
    const auto byte = [](float value) { return static_cast<std::uint8_t>(value * 255 + 0.5F); };
    for (std::size_t i = 0; i < of.masks.size(); ++i) {
      for (std::size_t c = 0; c < 3; ++c) raw.pictures.push_back(byte(of.images[3 * i + c]));
      raw.pictures.push_back(byte(of.masks[i]));
    }
    for (int i = 0; i < of.count; ++i)
      raw.changes.push_back(
          draw_augmentation({}, dims.w, dims.h, 1, random_stream{1, static_cast<std::uint64_t>(i)}));
    return raw;
  }

  /// The step on the same batch, which is on the card.
  void repeat() { step_->update(rate, steps_++); }

  options o_;
  network_options with_;
  batch batch_, raw_;
  std::optional<network_type> net_;
  std::optional<step_type> step_;
  std::int64_t steps_ = 0;
};

template <class Definition, class Backend>
class inference final : public measurable {
  using network_type = network<Definition, profiled<Backend>>;

 public:
  inference(const options& o, network_options with) : o_(o), with_(with) {
    with_.training = false;
    images_ = read_floats(o.images, static_cast<std::size_t>(o.batch) * network_type::input_shape.size());
  }

  json prepare() override {
    const std::size_t before = free_memory();
    const auto start = clock_type::now();
    net_.emplace(with_);
    if (o_.weights.empty()) {
      // Something that keeps numbers moderate; each parameter is as large as the largest at most.
      std::vector<float> some = read_floats({}, network_type::trainable_count);
      for (float& value : some) value = (value - 0.5F) * 0.05F;
      const std::vector<float> ones(some.size(), 1.0F);
      net_->use_weights([&](const parameter& p) { return p.spec.trainable ? some.data() : ones.data(); });
    } else {
      load_checkpoint(safetensors_file(o_.weights), *net_);
    }
    const auto found = infer();
    const double took = seconds_since(start);
    if (!o_.out.empty())
      atomic_write(o_.out, std::as_bytes(std::span(found.data, found.size())), durability::renamed);
    recorded_ = net_->backend().record([&] { net_->device_infer(o_.batch); });
    if (!o_.quick) measure_on_card(0.3);
    return {{"prepare_seconds", took},
            {"device_bytes", before - free_memory()},
            {"planned_bytes", network_type::memory.inference_bytes(o_.batch)},
            {"work", to_json(work_of<network_type>(o_.batch, false))}};
  }

  json measure(double seconds) override {
    return {{"times_ms", measure_on_card(seconds)},
            {"whole_ms", whole_times_of(o_, seconds / 2, [&] { infer(); })}};
  }

  json profile() override {
    net_->backend().start_profile(ahead(o_));
    net_->device_infer(o_.batch);
    return {{"profile_ms", net_->backend().stop_profile()}};
  }

 private:
  auto infer() { return net_->infer({images_.data(), o_.batch, network_type::input_shape}); }

  /// The images are on the card already, and the probabilities stay there.
  std::vector<double> measure_on_card(double seconds) {
    return times_of(net_->backend().stream(), o_, seconds, [&] { net_->backend().play(recorded_); });
  }

  options o_;
  network_options with_;
  std::vector<float> images_;
  std::optional<network_type> net_;
  typename Backend::recording recorded_;
};

/// What the card can do: products of matrices, and copies within its memory.
template <class Backend>
class peak final : public measurable {
  using network_type = network<matrix_product<matrix_size, matrix_channels>, profiled<Backend>>;
  static constexpr int count = 2;

 public:
  peak(const options& o, network_options with) : o_(o), with_(with) {
    with_.training = false;
    with_.batch = count;
  }

  json prepare() override {
    net_.emplace(with_);
    // Around zero: numbers of one sign cost less power, and less time.
    std::vector<float> weights = read_floats({}, network_type::parameter_count);
    std::vector<float> images = read_floats({}, count * network_type::input_shape.size());
    for (auto* values : {&weights, &images})
      for (float& value : *values) value -= 0.5F;
    net_->use_weights([&](const parameter&) { return weights.data(); });
    net_->infer({images.data(), count, network_type::input_shape});
    recorded_ = net_->backend().record([&] { net_->device_infer(count); });
    const std::size_t bytes = o_.quick ? std::size_t{1} << 20 : std::size_t{1} << 30;
    from_ = gpu::device_buffer<std::byte>(bytes);
    to_ = gpu::device_buffer<std::byte>(bytes);
    int driver = 0;
    gpu::check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    const gpu::device& card = net_->backend().card();
    return {{"card",
             {{"name", card.name},
              {"capability", card.capability},
              {"memory_bytes", card.memory},
              {"multiprocessors", card.multiprocessors},
              {"driver", gpu::cuda_version_text(driver)},
              {"cuda", gpu::cuda_version_text(CUDART_VERSION)},
              {"cudnn", gpu::cudnn_version_text(cudnnGetVersion())}}}};
  }

  json measure(double seconds) override {
    auto& backend = net_->backend();
    const double operations =
        2.0 * count * static_cast<double>(network_type::input_shape.size()) * matrix_channels;
    return {{"operations", operations},
            {"matrix_ms", times_of(backend.stream(), o_, seconds, [&] { backend.play(recorded_); })},
            {"bytes", 2.0 * static_cast<double>(from_.size())},
            {"copy_ms", times_of(backend.stream(), o_, seconds,
                                 [&] { backend.copy(from_.data(), from_.size(), to_.data()); })}};
  }

 private:
  options o_;
  network_options with_;
  std::optional<network_type> net_;
  typename Backend::recording recorded_;
  gpu::device_buffer<std::byte> from_, to_;
};

/// Some steps from random weights, so that running statistics fit them, and a checkpoint.
template <class Definition>
void write_weights(const options& o, const network_options& with) {
  training<Definition, cuda_bf16> run(o, with);
  run.prepare();
  for (int i = 0; i < (o.quick ? 2 : 40); ++i) run.one_step(i / (i + 5.0));
  checkpoint_header header;
  header.network = "carvana";
  header.variant = "7-2-7-1";
  header.filters = "8,24,64,128,256,512,768";
  header.height = header.width = o.size;
  save_checkpoint(o.out, run.net(), header.to_metadata());
}

/// f(std::type_identity<Definition>{}) for the network of this size.
template <class F>
auto with_size(int size, F f) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    std::unique_ptr<measurable> made;
    const bool known =
        ((size == sizes[I] && (made = f(std::type_identity<carvana_7_2_7_1<sizes[I]>>{}), true)) || ...);
    if (!known) throw argument_error("--size " + std::to_string(size) + " was not compiled in");
    return made;
  }
  (std::make_index_sequence<sizes.size()>{});
}

template <class F>
auto with_precision(precision p, F f) {
  switch (p) {
    case precision::bf16:
      return f(std::type_identity<cuda_bf16>{});
    case precision::fp16:
      return f(std::type_identity<cuda_fp16>{});
    default:
      return f(std::type_identity<cuda>{});
  }
}

std::unique_ptr<measurable> make(const options& o) {
  const precision p = parse_precision(o.precision);
  const network_options with{.batch = o.batch, .tf32 = p == precision::tf32};
  return with_precision(p, [&]<class Backend>(std::type_identity<Backend>) -> std::unique_ptr<measurable> {
    if (o.job == "peak") return std::make_unique<peak<Backend>>(o, with);
    return with_size(o.size,
                     [&]<class Definition>(std::type_identity<Definition>) -> std::unique_ptr<measurable> {
                       if (o.job == "training")
                         return std::make_unique<training<Definition, Backend>>(o, with);
                       return std::make_unique<inference<Definition, Backend>>(o, with);
                     });
  });
}

json event(const char* name, json found) {
  found["event"] = name;
  return found;
}

/// Commands from the standard input, each answered by one line.
void serve(const options& o) {
  const auto job = make(o);
  print(event("started", {{"version", SEGNET_VERSION}}));
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    double seconds = o.seconds;
    words >> command >> seconds;
    if (command == "prepare")
      print(event("prepared", job->prepare()));
    else if (command == "measure")
      print(event("measured", job->measure(seconds)));
    else if (command == "profile")
      print(event("profiled", job->profile()));
    else
      throw argument_error("found the command \"" + line +
                           "\", expected prepare, measure SECONDS or profile");
  }
}

void run_once(const options& o) {
  const auto job = make(o);
  json line{{"job", o.job}, {"precision", o.precision}};
  if (o.job != "peak") line["size"] = o.size, line["batch"] = o.batch;
  line.update(job->prepare());
  line.update(job->measure(o.seconds));
  line.update(job->profile());
  line.erase("work");
  print(line);
}

/// Everything, one after the other.
void run_all(options o) {
  for (const std::string_view p : precision_names) {
    if (o.quick && p != "bf16") continue;
    o.precision = p;
    o.job = "peak";
    run_once(o);
    for (const int size : sizes) {
      o.size = size;
      for (const auto& [job, batch] : {std::pair("training", size <= 512 ? 16 : 8), std::pair("inference", 1),
                                       std::pair("inference", 8)}) {
        o.job = job, o.batch = o.quick ? 2 : batch;
        run_once(o);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  options o;
  CLI::App app{
      "Measures training steps and inferences of 7-2-7-1 on a card. Without --job: all of them, a line of "
      "JSON each."};
  app.option_defaults()->always_capture_default();
  app.add_option("--job", o.job, "peak: what the card can do; weights: writes a checkpoint to --out")
      ->check(CLI::IsMember({"training", "inference", "peak", "weights"}));
  app.add_option("--precision", o.precision)->check(CLI::IsMember({"fp32", "tf32", "bf16", "fp16"}));
  app.add_option("--size", o.size, "pixels")->check(CLI::PositiveNumber);
  app.add_option("--batch", o.batch, "0: 16 or 8 for training, 1 for inference")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seconds", o.seconds, "how long to measure")->check(CLI::NonNegativeNumber);
  app.add_option("--weights", o.weights, "a checkpoint; else random ones");
  app.add_option("--images", o.images, "floats [batch][size][size][3]; else random ones");
  app.add_option("--masks", o.masks, "floats [batch][size][size]; else random ones");
  app.add_option("--out", o.out, "where inference writes the probabilities, floats [batch][size][size]");
  app.add_flag("--serve", o.serve, "take commands from the standard input: see gpu/speed_gpu.py");
  app.add_flag("--quick", o.quick, "no warming up and few repetitions: a sign of life");
  CLI11_PARSE(app, argc, argv);
  if (const std::string problem = why_no_cuda(); !problem.empty()) throw cuda_error(problem);
  gpu::check(cudaFree(nullptr), "cudaFree");  // CUDA's own memory is not counted
  if (o.batch == 0) o.batch = o.quick ? 2 : o.job == "inference" ? 1 : o.size <= 512 ? 16 : 8;
  if (o.job.empty()) {
    run_all(o);
  } else if (o.job == "weights") {
    with_size(o.size, [&]<class Definition>(std::type_identity<Definition>) {
      write_weights<Definition>(o, {.batch = o.batch});
      return std::unique_ptr<measurable>();
    });
  } else if (o.serve) {
    serve(o);
  } else {
    run_once(o);
  }
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "gpu_benchmark: %s\n", problem.what());
  return 1;
}
