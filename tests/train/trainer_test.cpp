// SPDX-License-Identifier: MIT
#include <segnet/data/synthetic.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/train/trainer.hpp>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace segnet;

namespace {

using net_t = network<carvana_network<32, 32, 8, 8>>;

/// The keys that layers got for their random numbers, in the order of the calls.
std::vector<std::uint64_t> random_keys;

struct key_recorder {
  static constexpr std::string_view type_name = "key_recorder";
  constexpr shape_result out_shape(std::span<const shape> in) const { return in[0]; }
  template <class Backend>
  void forward(const forward_context<Backend>& ctx) const {
    if (ctx.training) random_keys.push_back(ctx.random_key);
    std::copy_n(ctx.inputs[0].data, ctx.output.size(), ctx.output.data);
  }
  template <class Backend>
  void backward(const backward_context<Backend>& ctx) const {
    std::copy_n(ctx.output_gradient.data, ctx.output_gradient.size(), ctx.input_gradients[0].data);
  }
};

struct dropping {
  static constexpr auto build() {
    graph_builder<key_recorder> g;
    const value x = g(relu{}, g(conv2d{.channels = 8}, g.input({32, 32, 3})));
    g.output(g(sigmoid{}, g(conv2d{.channels = 1}, g(key_recorder{}, g(dropout{.rate = 0.3}, x)))));
    return g;
  }
};

struct folder {
  fs::path path;
  explicit folder(const std::string& label) : path(fs::temp_directory_path() / ("segnet_trainer_" + label)) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~folder() { fs::remove_all(path); }
};

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// One run over 32 generated pictures, 8 batches of 4 in an epoch; with `resume` it continues that file.
struct setup {
  fs::path out;
  int epochs = 3, threads = 1, accumulate = 1;
  fs::path resume = {};
  double rate = 1e-2;
  int patience = 0;
  double save_interval = 0;
  int interrupt_at_step = -1, interrupt_after_epoch = -1;
  bool interrupt_validation = false;
  bool boundary_weighted = false;
  schedule_kind schedule = schedule_kind::one_cycle;
  std::uint64_t seed = 0;

  template <class Network = net_t>
  training_result run(std::vector<epoch_report<>>* reports = nullptr, double scale_weights = 1) const {
    Network net({.batch = 4, .threads = threads});
    training_options how;
    how.epochs = epochs;
    how.accumulate = accumulate;
    how.schedule.kind = schedule;
    how.schedule.peak = rate;
    how.patience = patience;
    how.seed = seed;
    how.folder = out;
    how.save_interval = save_interval;
    how.progress = nullptr;
    trainer run(net, how, mask_task{.boundary_weighted = boundary_weighted});
    if (resume.empty())
      net.initialise(5);
    else
      run.resume(safetensors_file(resume));
    for (float& p : net.parameters()) p *= static_cast<float>(scale_weights);
    loader_options load{.height = 32,
                        .width = 32,
                        .batch_size = 4,
                        .drop_last = true,
                        .augment = augment_options{},
                        .seed = 2};
    run.start(load);
    loader training(synthetic_source(1, 0, 2, 48, 32), load);
    picture_source held_out = synthetic_source(1, 2, 1, 48, 32);
    if (interrupt_validation)
      // Two batches of four are prepared before training begins: the ninth picture is read in validation.
      held_out.read = [read = held_out.read, reads = std::make_shared<std::atomic<int>>(0)](int i) {
        if (++*reads == 9) std::raise(SIGINT);
        return read(i);
      };
    loader validation(std::move(held_out), {.height = 32,
                                            .width = 32,
                                            .batch_size = 4,
                                            .shuffle = false,
                                            .prefetch = interrupt_validation ? 1 : 3});
    run.on_step = [&](const step_report& s) {
      if (s.step == interrupt_at_step) std::raise(SIGINT);
    };
    run.on_epoch = [&](const epoch_report<>& e) {
      if (e.epoch == interrupt_after_epoch) std::raise(SIGTERM);
      if (reports != nullptr) reports->push_back(e);
    };
    return run.run(training, validation);
  }
};

}  // namespace

TEST_CASE("training lowers the loss and keeps the best and the last checkpoint", "[train]") {
  const folder f("plain");
  std::vector<epoch_report<>> reports;
  const training_result result = setup{.out = f.path, .epochs = 6}.run(&reports);
  REQUIRE(result.how == training_result::end::finished);
  REQUIRE(reports.size() == 6);
  CHECK(reports.back().loss < 0.8 * reports.front().loss);
  CHECK(result.best_score > 0.5);
  CHECK(result.best_score == reports[static_cast<std::size_t>(result.best_epoch - 1)].validation.dice);

  // The best checkpoint scores again what it scored: running statistics are in it.
  net_t net({.batch = 4, .threads = 1});
  load_checkpoint(safetensors_file(f.path / "best.safetensors"), net);
  CHECK(safetensors_file(f.path / "best.safetensors").find("training.adam.m") == nullptr);
  CHECK(safetensors_file(f.path / "last.safetensors").find("training.adam.m") != nullptr);
}

TEST_CASE("an interrupted run resumes bit for bit, with other threads", "[train]") {
  const folder whole("whole"), parts("parts");
  setup straight{.out = whole.path};
  SECTION("plain") {}
  SECTION("accumulated") { straight.accumulate = 3; }
  SECTION("boundary weights and plateau") {
    straight.boundary_weighted = true;
    straight.schedule = schedule_kind::plateau;
  }
  REQUIRE(straight.run().how == training_result::end::finished);

  setup first = straight, rest = straight;
  first.out = rest.out = parts.path;
  rest.resume = parts.path / "last.safetensors";
  rest.threads = 2;
  // In the middle of an epoch, after its last step, in its validation, and after it.
  for (const char* where : {"middle", "last step", "validation", "end"}) {
    INFO(where);
    const std::string at = where;
    const int steps = 8 / straight.accumulate + (8 % straight.accumulate != 0);
    first.interrupt_at_step = at == "middle" ? 2 : at == "last step" ? steps : -1;
    first.interrupt_validation = at == "validation";
    first.interrupt_after_epoch = at == "end" ? 1 : -1;
    first.save_interval = at == "end" ? 1e9 : 0;  // then it is the interrupt that saves
    const training_result stopped = first.run();
    REQUIRE(stopped.how == training_result::end::interrupted);
    CHECK(stopped.epochs == (at == "end" ? 1 : 0));
    const training_state left = training_state::from(safetensors_file(parts.path / "last.safetensors"));
    CHECK(left.batch == (at == "middle" ? 2 * straight.accumulate : at == "end" ? 0 : 8));
    CHECK(left.steps == (at == "middle" ? 2 : steps));
    CHECK(bytes_of(parts.path / "last.safetensors") != bytes_of(whole.path / "last.safetensors"));
    REQUIRE(rest.run().how == training_result::end::finished);
    CHECK(bytes_of(parts.path / "last.safetensors") == bytes_of(whole.path / "last.safetensors"));
    CHECK(bytes_of(parts.path / "best.safetensors") == bytes_of(whole.path / "best.safetensors"));
  }
}

TEST_CASE("dropout differs between batches, and a resumed run goes on with the same", "[train]") {
  const folder whole("whole_dropout"), parts("parts_dropout");
  random_keys.clear();
  setup{.out = whole.path, .epochs = 2, .accumulate = 3}.run<network<dropping>>();
  const auto straight = random_keys;
  CHECK(straight.size() == 16);
  CHECK(std::set(straight.begin(), straight.end()).size() == 16);

  // Another seed, other numbers.
  const folder other("other_dropout");
  random_keys.clear();
  setup{.out = other.path, .epochs = 1, .accumulate = 3, .seed = 1}.run<network<dropping>>();
  REQUIRE(random_keys.size() == 8);
  for (const auto key : random_keys) CHECK(std::count(straight.begin(), straight.end(), key) == 0);

  random_keys.clear();
  setup first{.out = parts.path, .epochs = 2, .accumulate = 3, .interrupt_at_step = 4};
  REQUIRE(first.run<network<dropping>>().how == training_result::end::interrupted);
  setup rest{.out = parts.path, .epochs = 2, .threads = 2, .accumulate = 3};
  rest.resume = parts.path / "last.safetensors";
  rest.run<network<dropping>>();
  CHECK(random_keys == straight);
  CHECK(bytes_of(parts.path / "last.safetensors") == bytes_of(whole.path / "last.safetensors"));
}

TEST_CASE("an interrupt in the last epoch's validation loses nothing", "[train]") {
  const folder whole("whole_last"), parts("parts_last");
  setup{.out = whole.path, .epochs = 1}.run();
  setup first{.out = parts.path, .epochs = 1, .interrupt_validation = true};
  REQUIRE(first.run().how == training_result::end::interrupted);
  CHECK_FALSE(fs::exists(parts.path / "best.safetensors"));
  const safetensors_file last(parts.path / "last.safetensors");
  CHECK(last.metadata().count("metrics") == 0);  // nothing was measured yet
  std::vector<epoch_report<>> reports;
  REQUIRE(
      setup{.out = parts.path, .epochs = 1, .resume = parts.path / "last.safetensors"}.run(&reports).how ==
      training_result::end::finished);
  CHECK(reports.size() == 1);
  for (const char* name : {"best.safetensors", "last.safetensors"})
    CHECK(bytes_of(parts.path / name) == bytes_of(whole.path / name));
}

TEST_CASE("loaders that do not fit the network or the run are refused", "[train]") {
  const folder f("loaders");
  net_t net({.batch = 4, .threads = 1});
  net.initialise(5);
  training_options how;
  how.epochs = 1;
  how.folder = f.path;
  how.progress = nullptr;
  trainer run(net, how);
  const loader_options fits{.height = 32, .width = 32, .batch_size = 4};
  const auto refused = [&](const loader_options& training, const loader_options& validation) {
    loader a(synthetic_source(1, 0, 1, 48, 32), training), b(synthetic_source(1, 1, 1, 48, 32), validation);
    try {
      run.run(a, b);
    } catch (const argument_error& problem) {
      return std::string(problem.what());
    }
    return std::string("nothing");
  };
  loader_options other = fits;
  other.height = 64;
  CHECK_THAT(refused(other, fits),
             Catch::Contains("training loader") && Catch::Contains("64x32") && Catch::Contains("32x32"));
  CHECK_THAT(refused(fits, loader_options{}),
             Catch::Contains("validation loader") && Catch::Contains("128x128"));
  other = fits;
  other.batch_size = 5;
  CHECK_THAT(refused(fits, other), Catch::Contains("batches of 5") && Catch::Contains("at most 4"));
  other = fits;
  other.first_batch = 1;
  CHECK_THAT(refused(other, fits), Catch::Contains("start()"));
  other = fits;
  other.raw = true;
  CHECK_THAT(refused(other, fits), Catch::Contains("training loader gives raw pictures"));
}

TEST_CASE("a run stops early", "[train]") {
  const folder f("early");
  // With a rate of almost zero validation cannot improve for long.
  const training_result result = setup{.out = f.path, .epochs = 50, .rate = 1e-12, .patience = 2}.run();
  CHECK(result.how == training_result::end::stopped_early);
  CHECK(result.epochs == result.best_epoch + 2);
}

TEST_CASE("a loss that is not finite stops the run and leaves the checkpoints", "[train]") {
  const folder f("nan");
  const setup good{.out = f.path, .epochs = 1};
  good.run();
  const std::string before = bytes_of(f.path / "last.safetensors");
  setup bad{.out = f.path, .epochs = 2, .resume = f.path / "last.safetensors"};
  CHECK_THROWS_WITH(bad.run(nullptr, std::numeric_limits<double>::infinity()),
                    Catch::Contains("not finite") && Catch::Contains("epoch 2, step 9") &&
                        Catch::Contains("last.safetensors"));
  CHECK(bytes_of(f.path / "last.safetensors") == before);
  CHECK_THAT(before, Catch::Contains("best_validation_dice"));
  fs::remove(f.path / "last.safetensors");
  bad.resume.clear();
  CHECK_THROWS_WITH(bad.run(nullptr, std::numeric_limits<double>::infinity()),
                    Catch::Contains("best.safetensors"));
}

TEST_CASE("what cannot be resumed is refused", "[train]") {
  const folder f("refused");
  setup{.out = f.path, .epochs = 1}.run();
  setup from_best{.out = f.path, .resume = f.path / "best.safetensors"};
  CHECK_THROWS_WITH(from_best.run(),
                    Catch::Contains("best.safetensors") && Catch::Contains("no state of training"));
  net_t net({.batch = 4, .threads = 1});
  CHECK_THROWS_WITH(trainer(net, {.epochs = 0}), Catch::Contains("epochs: found 0"));
}

TEST_CASE("checkpoints of earlier versions are resumed", "[train]") {
  const folder f("earlier");
  const std::string text = R"({"adam_steps":7,"batch":3,"best_dice":0.5,"best_epoch":1,"dice_sum":1.25,)"
                           R"("epoch":2,"loss_sum":0.75,"schedule":"inf 0 1"})";
  write_safetensors(f.path / "last.safetensors", {}, {{training_state::key, text}});
  const auto state = training_state::from(safetensors_file(f.path / "last.safetensors"));
  CHECK(state.steps == 7);
  CHECK(state.best_score == 0.5);
  CHECK(state.score_sum == 1.25);
  CHECK(state.epoch == 2);
}

TEST_CASE("a network asks for memory before it takes it", "[train]") {
  CHECK_THROWS_WITH(net_t({.batch = 4, .threads = 1, .available_memory = 1000}),
                    Catch::Contains("training needs") && Catch::Contains("available"));
  CHECK_NOTHROW(net_t({.batch = 4, .threads = 1, .available_memory = net_t::memory.training_bytes(4, 1)}));
}
