// SPDX-License-Identifier: MIT
// Training on a card: as on the processor, again to the same bits, and from one to the other.
#include "../temporary_folder.hpp"
#include "skip.hpp"

#include <segnet/cuda.hpp>
#include <segnet/data/street.hpp>
#include <segnet/data/synthetic.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/models/unet.hpp>
#include <segnet/train/trainer.hpp>

#if defined(SEGNET_CUDA_SIMULATED)
#include "simulator/runtime.hpp"
#endif

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace fs = std::filesystem;
using namespace segnet;

namespace {

using definition = carvana_network<32, 32, 8, 8>;

/// One run over 32 generated pictures, 8 batches of 4 in an epoch; with `resume` it continues that file.
template <class Backend>
struct setup {
  fs::path out;
  int epochs = 2, accumulate = 1;
  fs::path resume = {};
  bool raw = true, boundary_weighted = false;
  any_optimizer optimizer = adam{};
  std::size_t* allocated_by_steps = nullptr;

  std::vector<double> run() const {
    network<definition, Backend> net({.batch = 4});
    trainer train(net,
                  {.epochs = epochs,
                   .accumulate = accumulate,
                   .schedule = {.kind = schedule_kind::constant, .peak = 2e-3},
                   .optimizer = optimizer,
                   .folder = out,
                   .save_interval = 0,
                   .progress = nullptr},
                  mask_task{.boundary_weighted = boundary_weighted});
    if (resume.empty())
      net.initialise(5);
    else
      train.resume(safetensors_file(resume));
    loader_options load{.height = 32,
                        .width = 32,
                        .batch_size = 4,
                        .drop_last = true,
                        .augment = augment_options{},
                        .seed = 2};
    load.raw = raw && Backend::on_device;
    train.start(load);
    loader training(synthetic_source(1, 0, 2, 48, 32), load);
    loader validation(synthetic_source(1, 2, 1, 48, 32),
                      {.height = 32, .width = 32, .batch_size = 4, .shuffle = false});
    std::vector<double> losses;
    train.on_step = [&](const step_report& s) {
      losses.push_back(s.loss);
#if defined(SEGNET_CUDA_SIMULATED)
      if (allocated_by_steps != nullptr && s.step == 3) *allocated_by_steps = gpu::simulator::allocations();
      if (allocated_by_steps != nullptr && s.step == 6)
        *allocated_by_steps = gpu::simulator::allocations() - *allocated_by_steps;
#endif
    };
    train.run(training, validation);
    return losses;
  }
};

/// The largest difference of two runs' losses.
double apart(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

std::vector<std::byte> bytes_of(const fs::path& file) {
  const safetensors_file f(file);
  std::vector<std::byte> all;
  for (const stored_tensor& t : f.tensors()) all.insert(all.end(), t.bytes.begin(), t.bytes.end());
  return all;
}

}  // namespace

TEST_CASE("a card's steps are the processor's") {
  SEGNET_SKIP_WITHOUT_CARD();
  const segnet_test::temporary_folder out;
  const auto expected = setup<cpu>{.out = out.path()}.run();
  REQUIRE(expected.size() == 16);
  CHECK(expected.back() < 0.9 * expected.front());

  SECTION("float, augmented on the card") {
    CHECK(apart(setup<cuda>{.out = out.path()}.run(), expected) < 0.02);
  }
  SECTION("float, augmented by the loader") {
    CHECK(apart(setup<cuda>{.out = out.path(), .raw = false}.run(), expected) < 0.02);
  }
  SECTION("bfloat16") { CHECK(apart(setup<cuda_bf16>{.out = out.path()}.run(), expected) < 0.1); }
  SECTION("float16") { CHECK(apart(setup<cuda_fp16>{.out = out.path()}.run(), expected) < 0.05); }
  SECTION("weighted near the outline, several batches a step, SGD") {
    const auto with = [&]<class Backend>(setup<Backend> s) {
      s.out = out.path();
      s.accumulate = 3;
      s.boundary_weighted = true;
      s.optimizer = sgd{.weight_decay = 1e-3};
      return s.run();
    };
    CHECK(apart(with(setup<cuda>{}), with(setup<cpu>{})) < 0.01);
  }
}

TEST_CASE("a run on a card continues as if it had never stopped, there or on another device") {
  SEGNET_SKIP_WITHOUT_CARD();
  const segnet_test::temporary_folder a, b, c;
  const auto straight = setup<cuda>{.out = a.path(), .epochs = 3}.run();
  setup<cuda>{.out = b.path(), .epochs = 2}.run();
  fs::copy(b.path() / "last.safetensors", c.path() / "start.safetensors");

  const auto rest = setup<cuda>{.out = b.path(), .epochs = 3, .resume = c.path() / "start.safetensors"}.run();
  REQUIRE(rest.size() == 8);
  CHECK(std::equal(rest.begin(), rest.end(), straight.end() - 8));
  CHECK(bytes_of(a.path() / "last.safetensors") == bytes_of(b.path() / "last.safetensors"));

  const std::vector<double> end(straight.end() - 8, straight.end());
  const auto on_cpu =
      setup<cpu>{.out = c.path(), .epochs = 3, .resume = c.path() / "start.safetensors"}.run();
  CHECK(apart(on_cpu, end) < 0.02);
  const auto in_half =
      setup<cuda_fp16>{.out = c.path(), .epochs = 3, .resume = c.path() / "start.safetensors"}.run();
  CHECK(apart(in_half, end) < 0.05);
}

TEST_CASE("training of classes on a card") {
  SEGNET_SKIP_WITHOUT_CARD();
  const segnet_test::temporary_folder out;
  const auto run = [&]<class Def, class Backend>(std::type_identity<Def>, std::type_identity<Backend>) {
    using net_t = network<Def, Backend>;
    net_t net({.batch = 2});
    net.initialise(3);
    trainer train(net,
                  {.epochs = 1,
                   .schedule = {.kind = schedule_kind::constant, .peak = 1e-3},
                   .seed = 4,
                   .folder = out.path(),
                   .progress = nullptr},
                  class_task{.weights = {1, 2, 1, 1, 1, 1, 1, 1, 1, 3, 1}});
    loader_options load{.height = net_t::input_shape.h,
                        .width = net_t::input_shape.w,
                        .batch_size = 2,
                        .labels = true,
                        .augment = augment_options{}};
    load.raw = Backend::on_device;
    loader training(street_source(1, 0, 8, 96, 64), load);
    load.augment.reset();
    load.raw = false;
    loader validation(street_source(1, 8, 2, 96, 64), load);
    std::vector<double> found;
    train.on_step = [&](const step_report& s) {
      found.push_back(s.loss);
      found.push_back(s.score);
    };
    train.run(training, validation);
    return found;
  };
  const auto compare = [&](auto def) {
    const auto expected = run(def, std::type_identity<cpu>{});
    CHECK(apart(run(def, std::type_identity<cuda>{}), expected) < 0.02);
  };
  SECTION("SegNet's shape") { compare(std::type_identity<unet_same<32, 32, 11, 4>>{}); }
  SECTION("an output smaller than the input") { compare(std::type_identity<unet<188, 188, 11, 2>>{}); }
}

TEST_CASE("pixels are counted on a card as on the processor") {
  SEGNET_SKIP_WITHOUT_CARD();
  const auto both = []<class Def, class Task>(std::type_identity<Def>, const Task& task,
                                              const picture_source& source, const auto& same) {
    using net_t = network<Def, cuda_bf16>;
    net_t net({.batch = 3});
    net.initialise(3);
    training_step<net_t, Task> step(net, adam{}, task);
    typename Task::template runner<net_t> host(task, net);
    const loader_options load{.height = net_t::input_shape.h,
                              .width = net_t::input_shape.w,
                              .batch_size = 3,
                              .labels = Task::labels,
                              .shuffle = false};
    loader_options as_bytes = load;
    as_bytes.raw = true;
    loader floats(source, load), bytes(source, as_bytes);
    REQUIRE(floats.batches_per_epoch() == 2);  // the second one smaller
    const auto count = [&](loader& l) {
      step.start_validation();
      for (int b = 0; b < 2; ++b) step.validate(l.next());
      return step.validation_scores();
    };
    const auto found = count(floats), raw = count(bytes);
    host.start_validation();
    for (int b = 0; b < 2; ++b) {
      const batch& images = floats.next();
      host.validate(images, net.infer({images.images.data(), images.count, net_t::input_shape}));
    }
    CHECK(same(found, host.validation_scores()));
    CHECK(same(raw, found));
  };
  picture_source five = synthetic_source(1, 0, 1, 48, 32);
  five.size = 5;
  both(std::type_identity<definition>{}, mask_task{}, five, [](const auto& a, const auto& b) {
    return a.dice == b.dice && a.iou == b.iou && a.images == b.images;
  });
  both(std::type_identity<unet<188, 188, 11, 2>>{}, class_task{}, street_source(1, 0, 5, 96, 64),
       [](const auto& a, const auto& b) { return a.counts == b.counts; });
}

TEST_CASE("a gradient that is not finite in float16 costs one step, not the run") {
  SEGNET_SKIP_WITHOUT_CARD();
  using net_t = network<definition, cuda_fp16>;
  net_t net({.batch = 1});
  net.initialise(1);
  training_step<net_t, mask_task> step(net, adam{}, mask_task{.loss = {.bce_weight = 1e3}});
  batch pictures;
  pictures.count = 1;
  pictures.images.assign(net_t::input_shape.size(), 0.5F);
  pictures.masks.assign(net_t::input_shape.pixels(), 1.0F);
  const std::vector<float> before(net.parameters().begin(), net.parameters().end());
  int steps = 0, lost = 0;
  for (; steps < 30; ++steps) {
    step.add(pictures, {});
    step.update(1e-3, steps);
    const step_outcome outcome = step.outcome();
    CHECK(std::isfinite(outcome.parts[0].loss));
    if (outcome.updated) break;
    ++lost;
    CHECK(std::ranges::equal(net.parameters(), before));
    pictures.number = steps + 1;
  }
  CHECK(lost > 0);
  CHECK(steps < 30);
  CHECK_FALSE(std::ranges::equal(net.parameters(), before));
}

TEST_CASE("gradients that no scale of the loss makes finite end a run in float16") {
  SEGNET_SKIP_WITHOUT_CARD();
  const segnet_test::temporary_folder out;
  network<definition, cuda_fp16> net({.batch = 4});
  net.initialise(5);
  trainer train(net, {.epochs = 9, .folder = out.path(), .progress = nullptr},
                mask_task{.loss = {.bce_weight = 1e30}});
  loader training(synthetic_source(1, 0, 1, 48, 32), {.height = 32, .width = 32, .batch_size = 4});
  loader validation(synthetic_source(1, 1, 1, 48, 32), {.height = 32, .width = 32, .batch_size = 4});
  CHECK_THROWS_WITH(train.run(training, validation), Catch::Matchers::Contains("the gradient is not finite"));
}

TEST_CASE("several batches a step of which the last is smaller, on a card") {
  SEGNET_SKIP_WITHOUT_CARD();
  const auto run = []<class Backend>(std::type_identity<Backend>) {
    const segnet_test::temporary_folder out;
    network<definition, Backend> net({.batch = 4});
    net.initialise(5);
    trainer train(net, {.epochs = 2,
                        .accumulate = 2,
                        .schedule = {.kind = schedule_kind::constant, .peak = 1e-2},
                        .optimizer = sgd{},
                        .folder = out.path(),
                        .progress = nullptr});
    picture_source six = synthetic_source(1, 0, 1, 48, 32);
    six.size = 6;
    loader training(six, {.height = 32, .width = 32, .batch_size = 4});
    loader validation(synthetic_source(1, 1, 1, 48, 32), {.height = 32, .width = 32, .batch_size = 4});
    train.run(training, validation);
    const auto found = net.parameters();
    return std::vector<double>(found.begin(), found.end());
  };
  CHECK(apart(run(std::type_identity<cuda>{}), run(std::type_identity<cpu>{})) < 1e-4);
}

TEST_CASE("a picture of the next epoch that cannot be read loses nothing of this one") {
  SEGNET_SKIP_WITHOUT_CARD();
  const segnet_test::temporary_folder out;
  network<definition, cuda> net({.batch = 4});
  net.initialise(5);
  trainer train(net, {.epochs = 3, .folder = out.path(), .save_interval = 0, .progress = nullptr});
  picture_source source = synthetic_source(1, 0, 1, 48, 32);
  std::atomic<int> left = 2 * source.size;
  source.read = [read = source.read, &left](int i) {
    if (left-- <= 0) throw error("picture " + std::to_string(i) + " is gone");
    return read(i);
  };
  {
    loader training(source, {.height = 32, .width = 32, .batch_size = 4, .cache_bytes = 0});
    loader validation(synthetic_source(1, 1, 1, 48, 32), {.height = 32, .width = 32, .batch_size = 4});
    CHECK_THROWS_WITH(train.run(training, validation), Catch::Matchers::Contains("is gone"));
  }
  CHECK(train.state().epoch == 2);
  CHECK(fs::exists(train.last_file()));
  // Another loader, perhaps where the first one was.
  loader_options load{.height = 32, .width = 32, .batch_size = 2};
  load.first_epoch = 2;
  loader training(synthetic_source(1, 2, 1, 48, 32), load);
  loader validation(synthetic_source(1, 1, 1, 48, 32), {.height = 32, .width = 32, .batch_size = 4});
  train.run(training, validation);
  CHECK(train.state().epoch == 3);
}

TEST_CASE("a loss that is not finite ends a run on a card with the processor's message") {
  SEGNET_SKIP_WITHOUT_CARD();
  const segnet_test::temporary_folder out;
  network<definition, cuda> net({.batch = 4});
  net.initialise(5);
  net.parameters()[0] = std::numeric_limits<float>::quiet_NaN();
  net.parameters_changed();
  trainer train(net, {.epochs = 1, .folder = out.path(), .progress = nullptr});
  loader training(synthetic_source(1, 0, 1, 48, 32), {.height = 32, .width = 32, .batch_size = 4});
  loader validation(synthetic_source(1, 1, 1, 48, 32), {.height = 32, .width = 32, .batch_size = 4});
  CHECK_THROWS_WITH(train.run(training, validation), Catch::Matchers::Contains("the loss is not finite"));
}

#if defined(SEGNET_CUDA_SIMULATED)
TEST_CASE("a trainer's steps allocate nothing on the card") {
  const segnet_test::temporary_folder out;
  std::size_t allocated = 0;
  setup<cuda_bf16>{.out = out.path(), .epochs = 1, .allocated_by_steps = &allocated}.run();
  CHECK(allocated == 0);
}
#endif
