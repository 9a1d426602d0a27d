// SPDX-License-Identifier: MIT
// train_segmentation on a card: the program is built for it, small, where the card is simulated.
#include "../examples/program.hpp"
#include "../environment_variable.hpp"
#include "skip.hpp"

#include <catch2/catch.hpp>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#if !defined(SEGNET_TRAIN_SEGMENTATION)
#define SEGNET_TRAIN_SEGMENTATION "train_segmentation"
#endif

namespace fs = std::filesystem;
using segnet_test::content;
using segnet_test::has_program;
using segnet_test::interrupt_program;
using segnet_test::program_run;
using segnet_test::run_program;
using segnet_test::temporary_folder;
using segnet_test::text_of;

namespace {

constexpr const char* program = SEGNET_TRAIN_SEGMENTATION;

std::vector<std::string> arguments(const fs::path& out, std::vector<std::string> more, int epochs = 2) {
  const std::vector<std::string> common{"--network",      "unet", "--scenes",  "8",      "--batch",   "2",
                                        "--val-fraction", "0.25", "--weights", "median", "--threads", "1",
                                        "--epochs"};
  more.insert(more.begin(), common.begin(), common.end());
  more.insert(more.begin() + static_cast<std::ptrdiff_t>(common.size()), std::to_string(epochs));
  more.push_back("--out");
  more.push_back(out.string());
  return more;
}

nlohmann::json result_in(const fs::path& folder) {
  return nlohmann::json::parse(text_of(folder / "result.json"));
}

/// Without Catch's listing of what differs, byte for byte.
bool same(const fs::path& a, const fs::path& b) { return content(a) == content(b); }

/// Of the second epoch, as the program prints it.
double loss_in(const std::string& printed) {
  static constexpr char before[] = "epoch 2/2  loss ";
  const std::size_t at = printed.find(before);
  REQUIRE(at != std::string::npos);
  return std::stod(printed.substr(at + sizeof before - 1));
}

}  // namespace

TEST_CASE("train_segmentation trains on a card as on the processor") {
  SEGNET_SKIP_WITHOUT_CARD();
  if (!has_program(program)) return;
  const temporary_folder folder;
  const program_run expected = run_program(program, arguments(folder / "cpu", {}), folder);
  REQUIRE(expected.exit_code == 0);
  for (const std::string precision : {"fp32", "tf32", "bf16", "fp16"}) {
    const fs::path out = folder / precision;
    const program_run run =
        run_program(program, arguments(out, {"--device", "cuda", "--precision", precision}), folder);
    INFO(precision << "\n" << run.out << run.err);
    REQUIRE(run.exit_code == 0);
    CHECK_THAT(run.out, Catch::Contains("on the card") && Catch::Contains("epoch 2/2"));
    const nlohmann::json found = result_in(out);
    CHECK(found.at("device") == "cuda");
    CHECK(found.at("precision") == precision);
    CHECK(loss_in(run.out) ==
          Approx(loss_in(expected.out)).margin(precision == "fp32" || precision == "tf32" ? 0.02 : 0.1));
    // What is shown of the pictures to validate with is what the processor shows.
    for (const char* name : {"unseen_1_photo.png", "unseen_1_truth.png"})
      CHECK(same(out / "unseen" / name, folder / "cpu" / "unseen" / name));
  }
}

TEST_CASE("a run of train_segmentation on a card resumes bit for bit, and goes on on the processor") {
  SEGNET_SKIP_WITHOUT_CARD();
  if (!has_program(program)) return;
  const temporary_folder folder;
  // The engines that the first run finds are those of all.
  const segnet_test::environment_variable notes("SEGNET_CACHE_DIR", (folder / "notes").c_str());
  const std::vector<std::string> on_card{"--device", "cuda", "--precision", "fp32", "--deterministic"};
  const fs::path whole = folder / "whole", part = folder / "part", elsewhere = folder / "elsewhere";
  REQUIRE(run_program(program, arguments(whole, on_card, 6), folder).exit_code == 0);
  REQUIRE(interrupt_program(program, arguments(part, on_card, 6), part / "best.safetensors") == 130);
  fs::copy(part, elsewhere);
  std::vector<std::string> resume = on_card;
  resume.push_back("--resume");
  resume.push_back((part / "last.safetensors").string());
  REQUIRE(run_program(program, resume, folder).exit_code == 0);
  for (const char* name : {"best.safetensors", "last.safetensors"}) CHECK(same(whole / name, part / name));

  const program_run rest =
      run_program(program, {"--resume", (elsewhere / "last.safetensors").string()}, folder);
  INFO(rest.err);
  REQUIRE(rest.exit_code == 0);
  CHECK(result_in(elsewhere).at("device") == "cpu");
  CHECK(result_in(elsewhere).at("global_accuracy").get<double>() ==
        Approx(result_in(whole).at("global_accuracy").get<double>()).margin(0.02));
}
