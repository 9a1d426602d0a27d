// SPDX-License-Identifier: MIT
// --device and --precision, where they cannot be had.
#include "program.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

using segnet_test::has_program;
using segnet_test::program_run;
using segnet_test::run_program;
using segnet_test::temporary_folder;

TEST_CASE("a device or precision that cannot be had is one line and exit code 2, before anything is written",
          "[examples]") {
  const std::string program = GENERATE("train_carvana", "train_segmentation");
  if (!has_program(program)) return;
  const temporary_folder folder;
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);  // no card, even where there is one
  const auto refused = [&](std::vector<std::string> options) {
    for (const char* each : {"--epochs", "1", "--out"}) options.push_back(each);
    options.push_back((folder / "run").string());
    const program_run run = run_program(program, options, folder);
    CHECK(run.exit_code == 2);
    CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
    CHECK_FALSE(std::filesystem::exists(folder / "run"));
    return run.err;
  };
  // "no driver", "no card" or "built without CUDA", whichever it is here.
  CHECK_THAT(refused({"--device", "cuda"}), Catch::StartsWith(program + ": --device cuda: "));
  CHECK_THAT(refused({"--precision", "bf16"}), Catch::Contains("--precision bf16: the CPU computes in fp32"));
  ::unsetenv("CUDA_VISIBLE_DEVICES");

  const program_run wrong = run_program(program, {"--device", "tpu"}, folder);
  CHECK(wrong.exit_code == 2);
  CHECK_THAT(wrong.err, Catch::Contains("--device"));
}
