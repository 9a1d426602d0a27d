// SPDX-License-Identifier: MIT
#include <segnet/data/street.hpp>
#include <segnet/data/synthetic.hpp>
#include <segnet/layers/graph_builder.hpp>
#include <segnet/loss/class_weights.hpp>
#include <segnet/train/class_task.hpp>
#include <segnet/train/trainer.hpp>

#include "../temporary_folder.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

using namespace segnet;
using segnet_test::content;
using segnet_test::temporary_folder;
namespace fs = std::filesystem;

namespace {

/// Two scales of features; `Pad` false makes the output four pixels smaller.
template <int Classes, bool Pad = true>
struct small_net {
  static constexpr auto build() {
    graph_builder g;
    const auto conv = [&](value x, padding pad) {
      return g(relu{}, g(batch_norm{}, g(conv2d{.channels = 12, .pad = pad}, x)));
    };
    const value fine = conv(g.input({24, 32, 3}), padding::same);
    const value coarse = conv(g(max_pool{2}, fine), padding::same);
    value x = g(concat{}, fine, g(upsample{2}, coarse));
    if constexpr (!Pad) x = conv(conv(x, padding::valid), padding::valid);
    g.output(g(conv2d{.channels = Classes, .kernel = 1}, x));
    return g;
  }
};

constexpr loader_options load{
    .height = 24, .width = 32, .batch_size = 4, .labels = true, .drop_last = true, .seed = 2};

picture_source streets(int first, int count) { return street_source(1, first, count, 32, 24); }

struct setup {
  fs::path out, resume = {};
  any_optimizer optimizer = adam{};
  double rate = 1e-2;
  int epochs = 3, threads = 1, interrupt_at_step = -1;
  std::vector<double> weights = {};

  template <class Definition = small_net<11>>
  training_result run(std::vector<epoch_report<class_task>>* reports = nullptr) const {
    network<Definition> net({.batch = 4, .threads = threads});
    training_options how{
        .epochs = epochs, .optimizer = optimizer, .folder = out, .save_interval = 0, .progress = nullptr};
    how.schedule = {.kind = schedule_kind::poly, .peak = rate};
    trainer run(net, how, class_task{.weights = weights});
    if (resume.empty())
      net.initialise(5);
    else
      run.resume(safetensors_file(resume));
    loader_options augmented = load;
    augmented.augment = augment_options{};
    run.start(augmented);
    loader training(streets(0, 16), augmented);
    loader_options held_out = load;
    held_out.shuffle = false;
    loader validation(streets(16, 8), held_out);
    run.on_step = [&](const step_report& s) {
      if (s.step == interrupt_at_step) std::raise(SIGINT);
    };
    run.on_epoch = [&](const epoch_report<class_task>& e) {
      if (reports != nullptr) reports->push_back(e);
    };
    return run.run(training, validation);
  }
};

/// The accuracy of who always says the most frequent class.
double most_frequent(const confusion_matrix& counts) {
  std::uint64_t most = 0;
  for (int c = 0; c < counts.classes(); ++c) most = std::max(most, counts.labelled(c));
  return static_cast<double>(most) / static_cast<double>(counts.pixels());
}

}  // namespace

TEST_CASE("classes are learned, and the best epoch is that of the highest mean IoU", "[train]") {
  const temporary_folder folder;
  std::vector<epoch_report<class_task>> reports;
  const training_result result = setup{.out = folder.path(), .epochs = 8}.run(&reports);
  REQUIRE(reports.size() == 8);
  const auto& first = reports.front();
  const auto& last = reports.back();
  CHECK(last.loss < 0.7 * first.loss);
  CHECK(last.score > first.score);
  CHECK(last.validation.global_accuracy > 1.3 * most_frequent(last.validation.counts));
  const auto best =
      std::ranges::max_element(reports, {}, [](const auto& report) { return report.validation.mean_iou; });
  CHECK(result.best_epoch == best->epoch);
  CHECK(result.best_score == best->validation.mean_iou);
  CHECK(best->validation.mean_iou == best->validation.counts.mean_iou());
  CHECK(best->validation.counts.pixels() == 8 * 24 * 32);
  CHECK_THAT(class_task::in_words(last.validation), Catch::Contains("mean iou 0."));

  const safetensors_file file(folder / "best.safetensors");
  CHECK_THAT(file.metadata().at("metrics"), Catch::Contains("best_validation_mean_iou"));
}

TEST_CASE("a run over classes resumes bit for bit, with other threads and either optimizer", "[train]") {
  const temporary_folder whole, parts;
  setup straight{.out = whole.path()};
  SECTION("Adam") {}
  SECTION("SGD, class weights") {
    straight.optimizer = sgd{.momentum = 0.9, .weight_decay = 1e-3};
    straight.rate = 0.05;
    straight.weights.assign(11, 0.5);
    straight.weights[2] = 4;
  }
  REQUIRE(straight.run().how == training_result::end::finished);
  setup first = straight, rest = straight;
  first.out = rest.out = parts.path();
  first.interrupt_at_step = 6;
  rest.resume = parts / "last.safetensors";
  rest.threads = 2;
  REQUIRE(first.run().how == training_result::end::interrupted);
  const training_state left = training_state::from(safetensors_file(rest.resume));
  CHECK(left.steps == 6);
  CHECK(left.epoch == 1);
  CHECK(left.batch == 2);
  REQUIRE(rest.run().how == training_result::end::finished);
  for (const char* name : {"best.safetensors", "last.safetensors"})
    CHECK(content(parts / name) == content(whole / name));

  // What the other optimizer remembers is not there.
  rest.epochs = 5;
  rest.optimizer = std::holds_alternative<sgd>(straight.optimizer) ? any_optimizer(adam{}) : sgd{};
  CHECK_THROWS_WITH(rest.run(), Catch::Contains("last.safetensors") && Catch::Contains("another optimizer"));
}

TEST_CASE("class weights reach the loss", "[train]") {
  const temporary_folder folder;
  std::vector<epoch_report<class_task>> plain, weighted;
  setup one{.out = folder.path(), .epochs = 1};
  one.run(&plain);
  one.weights.assign(11, 0.0);
  one.weights[0] = 1;  // only the sky counts
  one.run(&weighted);
  const confusion_matrix& counts = weighted[0].validation.counts;
  CHECK(counts.predicted(0) > plain[0].validation.counts.predicted(0));
  one.weights.resize(10);
  CHECK_THROWS_WITH(one.run(), Catch::Contains("10 class weights") && Catch::Contains("11"));
}

TEST_CASE("an output smaller than the input is compared with the centre of the labels", "[train]") {
  // Labels that are 1 within two pixels of the picture's edge: the network sees only zeros.
  std::vector<std::uint8_t> labels(2 * 24 * 32, 1);
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t y = 2; y < 22; ++y)
      for (std::size_t x = 2; x < 30; ++x) labels[(n * 24 + y) * 32 + x] = 0;
  std::vector<std::uint8_t> seen(2 * 20 * 28, 9);
  copy_centre(labels, {24, 32, 3}, seen, {20, 28, 11});
  CHECK(std::accumulate(seen.begin(), seen.end(), 0) == 0);
  labels[24 * 32 + 2 * 32 + 2] = 7;
  labels[24 * 32 + 21 * 32 + 29] = 8;
  copy_centre(labels, {24, 32, 3}, seen, {20, 28, 11});
  CHECK(seen[20 * 28] == 7);
  CHECK(seen.back() == 8);

  using net_t = network<small_net<11, false>>;
  STATIC_REQUIRE(net_t::output_shape == shape{20, 28, 11});
  const temporary_folder folder;
  std::vector<epoch_report<class_task>> reports;
  setup{.out = folder.path(), .epochs = 6}.run<small_net<11, false>>(&reports);
  CHECK(reports.back().validation.counts.pixels() == 8 * 20 * 28);
  CHECK(reports.back().validation.global_accuracy > 1.3 * most_frequent(reports.back().validation.counts));
}

TEST_CASE("validation pictures without a label are refused", "[train]") {
  const temporary_folder folder;
  network<small_net<11>> net({.batch = 4, .threads = 1});
  net.initialise(1);
  picture_source unlabelled = streets(16, 4);
  unlabelled.read = [read = unlabelled.read](int i) {
    labelled_photo pair = read(i);
    std::ranges::fill(pair.mask.data, ignored_label);
    return pair;
  };
  loader training(streets(0, 4), load), validation(unlabelled, load);
  trainer run(net, {.epochs = 1, .folder = folder.path(), .progress = nullptr}, class_task{});
  CHECK_THROWS_WITH(run.run(training, validation),
                    Catch::Contains("validation pictures") && Catch::Contains("255"));
}

TEST_CASE("a loader of masks is refused where classes are learned, and the reverse", "[train]") {
  const temporary_folder folder;
  network<small_net<2>> net({.batch = 4, .threads = 1});
  net.initialise(1);
  const training_options how{.epochs = 1, .folder = folder.path(), .progress = nullptr};
  loader_options other = load;
  other.labels = false;
  const picture_source cars = synthetic_source(1, 0, 1, 48, 36);
  loader masks(cars, other), labels(masks_as_labels(cars), load);
  trainer run(net, how, class_task{});
  CHECK_THROWS_WITH(run.run(masks, labels), Catch::Contains("training loader gives masks") &&
                                                Catch::Contains("expects labels") &&
                                                Catch::Contains("loader_options::labels"));
  CHECK_THROWS_WITH(run.run(labels, masks), Catch::Contains("validation loader gives masks"));
  CHECK(run.run(labels, labels).epochs == 1);
}
