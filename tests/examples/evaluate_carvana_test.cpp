// SPDX-License-Identifier: MIT
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/mask.hpp>
#include <segnet/data/synthetic.hpp>
#include <segnet/metrics/report.hpp>

#include "checkpoint.hpp"
#include "program.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

using namespace segnet;
using segnet_test::has_program;
using segnet_test::program_run;
using segnet_test::run_program;
using segnet_test::temporary_folder;
namespace fs = std::filesystem;

namespace {

constexpr const char* program = "evaluate_carvana";

/// Two generated cars on disk, 16 views each; a seed of 3 holds out one of them.
struct fixture {
  fixture() {
    segnet_test::write_random_checkpoint(weights);
    write_synthetic_dataset(data, 1, 2, 96, 64);
  }
  program_run evaluate(const std::string& split, const fs::path& csv) const {
    return run_program(program,
                       {"--weights", weights.string(), "--data", data.string(), "--split", split, "--csv",
                        csv.string(), "--threads=2"},
                       folder);
  }
  temporary_folder folder;
  fs::path weights = folder / "weights.safetensors", data = folder / "data";
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace

TEST_CASE("evaluate_carvana scores the masks that infer_carvana writes", "[examples]") {
  if (!has_program(program) || !has_program("infer_carvana")) return;
  const fixture f;
  const program_run run = f.evaluate("all", f.folder / "scores.csv");
  INFO(run.err);
  REQUIRE(run.exit_code == 0);
  CHECK_THAT(run.out, Catch::Contains("96x64") && Catch::Contains("128x128") &&
                          Catch::Contains("32 photographs (all)") &&
                          Catch::Contains("Lowest Dice at 96x64:\nimage") && Catch::Contains("5 %"));

  REQUIRE(run_program("infer_carvana",
                      {"--weights", f.weights.string(), "--input", (f.data / "train").string(), "--output",
                       (f.folder / "masks").string()},
                      f.folder)
              .exit_code == 0);
  std::vector<image_score> scores;
  for (const sample& s : find_carvana(f.data).samples) {
    const image mask = read_mask(f.folder / "masks" / (s.image.stem().string() + "_mask.png"));
    const image truth = read_mask(s.mask);
    scores.push_back({s.image.filename().string(), compare(std::span(mask.data), std::span(truth.data))});
  }
  CHECK(segnet_test::text_of(f.folder / "scores.csv") == scores_csv(scores));
  CHECK_THAT(run.out, Catch::Contains(detail::fixed(summarise(scores).dice, 4)) &&
                          Catch::Contains(worst_images(scores, 1)[0].name));
}

TEST_CASE("evaluate_carvana takes the cars that training held out", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const program_run run = f.evaluate("val", f.folder / "scores.csv");
  REQUIRE(run.exit_code == 0);
  std::vector<std::string> expected;
  for (const sample& s : split_by_car(find_carvana(f.data).samples, 0.5, 3).validation)
    expected.push_back(s.image.filename().string());
  REQUIRE(expected.size() == 16);
  const auto lines = lines_of(segnet_test::text_of(f.folder / "scores.csv"));
  REQUIRE(lines.size() == 17);
  for (std::size_t i = 0; i < 16; ++i) CHECK_THAT(lines[i + 1], Catch::StartsWith(expected[i] + ","));
}

TEST_CASE("evaluate_carvana stops at what it cannot read, and writes no half results", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const program_run folder = f.evaluate("all", f.folder / "missing" / "scores.csv");
  CHECK(folder.exit_code == 1);
  CHECK_THAT(folder.err, Catch::Contains("scores.csv: could not be created"));
  CHECK(f.evaluate("some", f.folder / "scores.csv").exit_code == 2);

  segnet_test::write_file(f.data / "train" / "synthetic0001_07.jpg", {0xff, 0xd8, 0xff});
  const program_run broken = f.evaluate("all", f.folder / "scores.csv");
  CHECK(broken.exit_code == 1);
  CHECK_THAT(broken.err, Catch::Contains("synthetic0001_07.jpg"));

  fs::remove_all(f.data / "train_masks");
  const program_run layout = f.evaluate("all", f.folder / "scores.csv");
  CHECK(layout.exit_code == 1);
  CHECK_THAT(layout.err, Catch::Contains("has no folder 'train_masks'"));
  for (const auto& entry : fs::directory_iterator(f.folder.path()))
    CHECK_THAT(entry.path().filename().string(), !Catch::Contains("scores.csv"));
}
