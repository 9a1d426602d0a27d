// SPDX-License-Identifier: MIT
#include <segnet/data/synthetic.hpp>
#include <segnet/io/safetensors.hpp>

#include "program.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

using namespace segnet;
using segnet_test::folder_change;
using segnet_test::has_program;
using segnet_test::interrupt_program;
using segnet_test::program_run;
using segnet_test::run_program;
using segnet_test::temporary_folder;
using segnet_test::write_file;
namespace fs = std::filesystem;

namespace {

constexpr const char* program = "train_carvana";

/// Two generated cars on disk, 16 views each: one is trained on, one held out.
struct fixture {
  fixture() { write_synthetic_dataset(data, 1, 2, 96, 64); }
  program_run train(const std::string& epochs, const fs::path& out, const std::string& threads = "2") const {
    return run_program(program,
                       {"--data", data.string(), "--variant", "lite", "--epochs", epochs, "--val-fraction",
                        "0.5", "--patience", "9", "--threads", threads, "--out", out.string()},
                       folder);
  }
  temporary_folder folder;
  fs::path data = folder / "data";
};

}  // namespace

TEST_CASE("train_carvana trains, infer_carvana and evaluate_carvana take what it leaves", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const fs::path out = f.folder / "run";
  const program_run run = f.train("2", out);
  INFO(run.err);
  REQUIRE(run.exit_code == 0);
  CHECK_THAT(run.out, Catch::Contains("parameters") && Catch::Contains("memory") &&
                          Catch::Contains("epoch 2/2") && Catch::Contains("128x128") &&
                          Catch::Contains("96x64"));
  CHECK(fs::exists(out / "best.safetensors"));
  CHECK(fs::exists(out / "last.safetensors"));
  CHECK(fs::exists(out / "unseen" / "unseen_0_mask.png"));
  CHECK(fs::exists(out / "unseen" / "unseen_7_overlay.png"));
  if (!has_program("evaluate_carvana")) return;
  const program_run evaluation =
      run_program("evaluate_carvana",
                  {"--weights", (out / "best.safetensors").string(), "--data", f.data.string()}, f.folder);
  INFO(evaluation.err);
  REQUIRE(evaluation.exit_code == 0);
  // Both programs score the held-out car: the lines of their tables are the same.
  const auto line = [](const std::string& text) {
    const std::size_t at = text.find("\n96x64");
    return at == std::string::npos ? text : text.substr(at, text.find('\n', at + 1) - at);
  };
  CHECK(line(evaluation.out) == line(run.out));
}

TEST_CASE("train_carvana resumes with the options that it was started with", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const fs::path whole = f.folder / "whole", part = f.folder / "part";
  REQUIRE(f.train("6", whole).exit_code == 0);
  // Interrupted once the first epoch has left its checkpoint, in one of the other five.
  REQUIRE(
      interrupt_program(program,
                        {"--data", f.data.string(), "--variant", "lite", "--epochs", "6", "--val-fraction",
                         "0.5", "--patience", "9", "--threads", "2", "--out", part.string()},
                        part / "best.safetensors") == 130);
  const std::string last = (part / "last.safetensors").string();
  const program_run other = run_program(program, {"--resume", last, "--batch", "4"}, f.folder);
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Catch::Contains("--batch") && Catch::Contains("8"));
  const program_run elsewhere =
      run_program(program, {"--resume", last, "--out", (f.folder / "elsewhere").string()}, f.folder);
  CHECK(elsewhere.exit_code == 2);
  CHECK_THAT(elsewhere.err, Catch::Contains("its own folder") && Catch::Contains(part.string()));
  fs::rename(f.data / "train" / "synthetic0000_01.jpg", f.data / "train" / "synthetic0002_01.jpg");
  fs::rename(f.data / "train_masks" / "synthetic0000_01_mask.png",
             f.data / "train_masks" / "synthetic0002_01_mask.png");
  const program_run changed = run_program(program, {"--resume", last}, f.folder);
  CHECK(changed.exit_code == 1);
  CHECK_THAT(changed.err, Catch::Contains("the pictures are not those that the run was started with"));
  if (has_program("evaluate_carvana")) {
    const program_run foreign = run_program(
        "evaluate_carvana", {"--weights", (whole / "best.safetensors").string(), "--data", f.data.string()},
        f.folder);
    CHECK(foreign.exit_code == 1);
    CHECK_THAT(foreign.err, Catch::Contains("not the set") && Catch::Contains("--split all"));
  }
  fs::rename(f.data / "train" / "synthetic0002_01.jpg", f.data / "train" / "synthetic0000_01.jpg");
  fs::rename(f.data / "train_masks" / "synthetic0002_01_mask.png",
             f.data / "train_masks" / "synthetic0000_01_mask.png");
  // From within its folder, too, a run finds its folder and its data.
  const folder_change inside(part);
  const program_run rest = run_program(program, {"--resume", "last.safetensors", "--threads", "1"}, f.folder);
  INFO(rest.err);
  REQUIRE(rest.exit_code == 0);
  const auto bytes = [](const fs::path& file) { return segnet_test::content(file); };
  const safetensors_file a(whole / "best.safetensors"), b(part / "best.safetensors");
  CHECK(a.f32("classifier.weight")[0] == b.f32("classifier.weight")[0]);
  CHECK(bytes(whole / "best.safetensors") == bytes(part / "best.safetensors"));
}

TEST_CASE("train_carvana's messages", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const auto refused = [&](std::initializer_list<std::string> arguments, const std::string& message,
                           int code = 1) {
    const program_run run = run_program(program, arguments, f.folder);
    INFO(run.err);
    CHECK(run.exit_code == code);
    CHECK_THAT(run.err + run.out, Catch::Contains(message));
  };
  refused({"--size", "100"}, "100x100", 2);
  refused({"--variant", "9-9"}, "9-9", 2);
  refused({"--schedule", "magic"}, "constant, cosine, plateau, one-cycle", 2);
  refused({"--variant", "lite", "--data", (f.folder / "nowhere").string()}, "nowhere: no such folder");
  write_file(f.folder / "cars.zip", {1});
  refused({"--data", (f.folder / "cars.zip").string()}, "cars.zip: is a file, but a folder is needed");
  write_synthetic_dataset(f.folder / "car", 1, 1, 48, 32);
  refused({"--data", (f.folder / "car").string()},
          "train_carvana: " + (f.folder / "car" / "train").string() + ": found photographs of 1 car");
  refused({"--resume", (f.folder / "nothing.safetensors").string()}, "nothing.safetensors");
  refused({"--batch", "0"}, "--batch: found 0, expected a number above 0", 2);
  refused({"--val-fraction", "0"}, "--val-fraction: found 0, expected a number between 0 and 1", 2);
  refused({"--threads", "-1"}, "--threads", 2);
  refused({"--variant", "lite", "--batch", "1", "--out", (f.folder / "one").string()},
          "single value per channel", 2);
  fs::create_directories(f.folder / "used");
  write_safetensors(f.folder / "used" / "last.safetensors", {});
  refused({"--out", (f.folder / "used").string()}, "earlier run", 2);
  fs::rename(f.folder / "used" / "last.safetensors", f.folder / "used" / "best.safetensors");
  refused({"--out", (f.folder / "used").string()}, "best.safetensors of an earlier run", 2);
  const program_run help = run_program(program, {"--help"}, f.folder);
  CHECK(help.exit_code == 0);
  for (const char* option : {"--data",     "--size",     "--batch",   "--accumulate",      "--epochs",
                             "--lr",       "--schedule", "--augment", "--boundary-weight", "--val-fraction",
                             "--patience", "--threads",  "--device",  "--precision",       "--deterministic",
                             "--seed",     "--variant",  "--out",     "--resume",          "Exit code",
                             "130"})
    CHECK_THAT(help.out, Catch::Contains(option));
}
