// SPDX-License-Identifier: MIT
#include <segnet/data/label_picture.hpp>
#include <segnet/data/resize.hpp>
#include <segnet/data/street.hpp>
#include <segnet/data/synthetic.hpp>
#include <segnet/io/file.hpp>
#include <segnet/io/safetensors.hpp>

#include "program.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

using namespace segnet;
using segnet_test::content;
using segnet_test::folder_change;
using segnet_test::has_program;
using segnet_test::interrupt_program;
using segnet_test::program_run;
using segnet_test::run_program;
using segnet_test::temporary_folder;
using segnet_test::text_of;
using segnet_test::write_file;
namespace fs = std::filesystem;

namespace {

constexpr const char* program = "train_segmentation";

nlohmann::json result_in(const fs::path& folder) {
  return nlohmann::json::parse(text_of(folder / "result.json"));
}

/// CamVid's layout: 8 streets to train, 4 to validate.
fs::path streets_in(const temporary_folder& folder) {
  write_street_dataset(folder / "streets", 3, 8, 4, 96, 72);
  return folder / "streets";
}

}  // namespace

TEST_CASE("train_segmentation trains on CamVid's layout", "[examples]") {
  if (!has_program(program)) return;
  const temporary_folder folder;
  const fs::path data = streets_in(folder), out = folder / "run";
  const program_run run =
      run_program(program,
                  {"--data", data.string(), "--network", "segnet-basic", "--epochs", "2", "--batch", "4",
                   "--optimizer", "sgd", "--weights", "median", "--threads", "2", "--out", out.string()},
                  folder);
  INFO(run.err);
  REQUIRE(run.exit_code == 0);
  CHECK_THAT(run.out, Catch::Contains("8 pictures to train, 4 to validate") && Catch::Contains("memory") &&
                          Catch::Contains("128x128 -> 128x128 for 11 classes") &&
                          Catch::Contains("optimizer sgd, learning rate 0.05, momentum 0.9") &&
                          Catch::Contains("epoch 2/2") && Catch::Contains("boundary F1") &&
                          Catch::Contains("Bicyclist") && Catch::Contains("training step"));
  CHECK(fs::exists(out / "best.safetensors"));
  const image truth = read_image(data / "valannot/street00008.png", 1);
  const image seen = read_image(out / "unseen/unseen_0_truth.png", 3);
  CHECK(seen.data == label_picture(resize_nearest(truth, 128, 128)).data);
  const image photo = read_image(out / "unseen/unseen_3_photo.png", 3);
  CHECK(photo.data == resize(read_image(data / "val/street00011.png", 3), 128, 128).data);
  CHECK(fs::exists(out / "unseen/unseen_3_labels.png"));

  const nlohmann::json result = result_in(out);
  CHECK(result.at("network") == "segnet-basic");
  CHECK(result.at("classes") == 11);
  CHECK(result.at("iou").size() == 11);
  CHECK(result.at("epochs") == 2);
  CHECK(result.at("device") == "cpu");
  CHECK(result.at("precision") == "fp32");
  CHECK(result.at("step_milliseconds") > 0);
  CHECK(result.at("training_bytes") > 4 * result.at("parameters").get<int>());
  CHECK_FALSE(result.contains("dice"));
  for (const char* score : {"mean_iou", "global_accuracy", "mean_accuracy", "boundary_f1"})
    CHECK((result.at(score) > 0 && result.at(score) < 1));

  // The sky is common, bicyclists are rare.
  const safetensors_file last(out / "last.safetensors");
  const auto stored = nlohmann::json::parse(last.metadata().at("training_options"));
  REQUIRE(stored.at("class-weights").size() == 11);
  CHECK(stored.at("class-weights").at(0) < 1);
  CHECK(stored.at("class-weights").at(10) > 1);
  CHECK(nlohmann::json::parse(last.metadata().at("class_names")).at(10) == "Bicyclist");
}

TEST_CASE("train_segmentation tells cars from the background", "[examples]") {
  if (!has_program(program)) return;
  const temporary_folder folder;
  const fs::path data = folder / "cars", out = folder / "run";
  write_synthetic_dataset(data, 1, 2, 96, 64);
  const program_run run = run_program(program,
                                      {"--data", data.string(), "--network", "segnet-basic", "--epochs", "2",
                                       "--val-fraction", "0.5", "--out", out.string()},
                                      folder);
  INFO(run.err);
  REQUIRE(run.exit_code == 0);
  CHECK_THAT(run.out, Catch::Contains("16 pictures to train, 16 to validate") &&
                          Catch::Contains("for 2 classes") && Catch::Contains("mean Dice of car"));
  const nlohmann::json result = result_in(out);
  CHECK(result.at("iou").contains("car"));
  CHECK((result.at("dice") > 0 && result.at("dice") < 1));
}

TEST_CASE("train_segmentation shows an unpadded network the whole picture", "[examples]") {
  if (!has_program(program)) return;
  const temporary_folder folder;
  const fs::path out = folder / "run";
  const program_run run =
      run_program(program,
                  {"--network", "unet-valid", "--scenes", "4", "--val-fraction", "0.5", "--epochs", "1",
                   "--batch", "2", "--augment", "off", "--out", out.string()},
                  folder);
  INFO(run.err);
  REQUIRE(run.exit_code == 0);
  CHECK_THAT(run.out, Catch::Contains("316x316 -> 132x132"));
  // Two pixels on each side show no class.
  const image seen = read_image(out / "unseen/unseen_0_truth.png", 3);
  const image street = label_picture(resize_nearest(render_street(1, 2, 320, 240).mask, 128, 128));
  REQUIRE(seen.width == 132);
  int different = 0;  // the program is compiled with other flags: a rounding may decide otherwise
  for (int y = 0; y < 128; ++y)
    for (int x = 0; x < 128; ++x)
      different += !std::equal(street.at(x, y), street.at(x, y) + 3, seen.at(x + 2, y + 2));
  CHECK(different < 16);
  CHECK(*seen.at(1, 1) == 0);
}

TEST_CASE("train_segmentation resumes as if it had never stopped", "[examples]") {
  if (!has_program(program)) return;
  const temporary_folder folder;
  const fs::path data = streets_in(folder), whole = folder / "whole", part = folder / "part";
  const auto arguments = [&](const fs::path& out) {
    return std::vector<std::string>{"--data", data.string(), "--network", "segnet-basic", "--epochs",
                                    "6",      "--batch",     "4",         "--weights",    "median",
                                    "--seed", "7",           "--out",     out.string()};
  };
  REQUIRE(run_program(program, arguments(whole), folder).exit_code == 0);
  REQUIRE(interrupt_program(program, arguments(part), part / "best.safetensors") == 130);
  const std::string last = (part / "last.safetensors").string();
  if (has_program("train_carvana")) {
    const program_run foreign = run_program("train_carvana", {"--resume", last}, folder);
    CHECK(foreign.exit_code == 1);
    CHECK_THAT(foreign.err,
               Catch::Contains("was written by train_segmentation, expected a run of train_carvana"));
  }
  const program_run other = run_program(program, {"--resume", last, "--optimizer", "sgd"}, folder);
  CHECK(other.exit_code == 2);
  CHECK_THAT(other.err, Catch::Contains("--optimizer: found \"sgd\"") && Catch::Contains("\"adam\""));
  const folder_change inside(part);
  const program_run rest = run_program(program, {"--resume", "last.safetensors", "--threads", "1"}, folder);
  INFO(rest.err);
  REQUIRE(rest.exit_code == 0);
  for (const char* name : {"best.safetensors", "last.safetensors"})
    CHECK(content(whole / name) == content(part / name));
  CHECK(result_in(whole).at("mean_iou") == result_in(part).at("mean_iou"));
}

TEST_CASE("train_segmentation's messages", "[examples]") {
  if (!has_program(program)) return;
  const temporary_folder folder;
  const auto refused = [&](std::initializer_list<std::string> arguments, const std::string& message,
                           int code = 2) {
    const program_run run = run_program(program, arguments, folder);
    INFO(run.err);
    CHECK(run.exit_code == code);
    CHECK_THAT(run.err + run.out, Catch::Contains(message));
  };
  refused({"--network", "resnet"}, "--network: found resnet, but this program was built with segnet");
  refused({"--size", "100x128"},
          "--size: found 100x128, but this program was built for 128x128 (height x width): configure it with "
          "cmake -DSEGNET_SEGMENTATION_SIZES=\"128x128;HEIGHTxWIDTH\"");
  refused({"--size", "big"}, "SEGNET_SEGMENTATION_SIZES");
  refused({"--epochs", "0"}, "--epochs: found 0, expected a number above 0");
  refused({"--epochs", "x"}, "--epochs: found x, expected a number above 0");
  refused({"--lr", "nan"}, "--lr: found nan, expected a number above 0");
  refused({"--patience", "-1"}, "--patience: found -1, expected 0 or a number above it");
  refused({"--val-fraction", "1"}, "--val-fraction: found 1, expected a number between 0 and 1");
  refused({"--optimizer", "lion"}, "--optimizer");
  refused({"--schedule", "magic"}, "constant, cosine, plateau, one-cycle");
  refused({"--scenes", "1"}, "--scenes");
  refused({"--weights", "some"}, "--weights");
  refused({"--data", (folder / "nowhere").string()}, "no such folder", 1);
  write_file(folder / "camvid.zip", {1});
  refused({"--data", (folder / "camvid.zip").string()}, "camvid.zip: is a file, but a folder is needed", 1);
  write_synthetic_dataset(folder / "car", 1, 1, 48, 32);
  refused({"--data", (folder / "car").string()},
          "train_segmentation: " + (folder / "car" / "train").string() + ": found photographs of 1 car", 1);
  refused({"--resume", (folder / "nothing.safetensors").string()}, "nothing.safetensors", 1);
  write_street_dataset(folder / "three", 3, 2, 1, 32, 24);
  fs::remove(folder / "three" / "classes.txt");
  refused({"--data", (folder / "three").string()}, "classes.txt", 1);
  const std::string classes = "Sky\nRoad\nCar\n";
  atomic_write(folder / "three" / "classes.txt", std::as_bytes(std::span(classes)), durability::renamed);
  refused(
      {"--data", (folder / "three").string()},
      "classes.txt: found 3 classes, but this program was built for 2 or 11 classes: configure it with cmake "
      "-DSEGNET_SEGMENTATION_CLASSES=\"2;11;3\"");
  refused({"--scenes", "4", "--out", (folder / "few").string()},
          "--batch: found 8, but there are only 3 pictures to train with");
  refused(
      {"--scenes", "10", "--batch", "2", "--out", (folder / "three" / "train" / "street00000.png").string()},
      "street00000.png: could not be created", 1);
  write_street_dataset(folder / "unknown", 3, 2, 1, 32, 24);
  for (const char* name : {"street00000.png", "street00001.png"})
    write_png(folder / "unknown" / "trainannot" / name, image(32, 24, 1, ignored_label));
  refused({"--data", (folder / "unknown").string(), "--weights", "median", "--batch", "2"},
          "unknown: --weights median: all pixels", 1);
  fs::create_directories(folder / "used");
  write_safetensors(folder / "used" / "best.safetensors", {});
  refused({"--out", (folder / "used").string()}, "best.safetensors of an earlier run");
  const program_run help = run_program(program, {"--help"}, folder);
  CHECK(help.exit_code == 0);
  for (const char* option : {"--data",       "--scenes",   "--network",   "--size",      "--batch",
                             "--accumulate", "--epochs",   "--optimizer", "--momentum",  "--weight-decay",
                             "--lr",         "--schedule", "--augment",   "--weights",   "--val-fraction",
                             "--patience",   "--threads",  "--device",    "--precision", "--deterministic",
                             "--seed",       "--out",      "--resume",    "result.json", "130"})
    CHECK_THAT(help.out, Catch::Contains(option));
}
