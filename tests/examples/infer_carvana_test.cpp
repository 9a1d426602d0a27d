// SPDX-License-Identifier: MIT
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/mask.hpp>
#include <segnet/data/synthetic.hpp>
#include <segnet/metrics/confusion.hpp>

#include "../carvana_folder.hpp"
#include "checkpoint.hpp"
#include "program.hpp"

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <set>
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

constexpr const char* program = "infer_carvana";

image car(int width, int height) { return render_synthetic_car(1, 2, 3, width, height).photo; }

/// The paths of all files below a folder, relative to it.
std::set<std::string> files_below(const fs::path& folder) {
  std::set<std::string> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files.insert(entry.path().lexically_relative(folder).generic_string());
  return files;
}

struct fixture {
  fixture() { segnet_test::write_random_checkpoint(weights); }
  program_run infer(const fs::path& input, const fs::path& output,
                    const std::string& more = "--threads=1") const {
    return run_program(
        program,
        {"--weights", weights.string(), "--input", input.string(), "--output", output.string(), more},
        folder);
  }
  temporary_folder folder;
  fs::path weights = folder / "weights.safetensors";
};

}  // namespace

TEST_CASE("infer_carvana walks a folder, reports broken files and does the rest", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const fs::path in = f.folder / "in photos", out = in / "masks";  // the output lies within the input
  fs::create_directories(in / "deep" / "er");
  fs::create_directories(in / ".thumbnails");
  write_jpeg(in / "a.JPG", car(191, 127));
  write_png(in / "deep" / "b.png", car(64, 200));
  write_jpeg(in / "deep" / "er" / "c's.jpeg", car(16, 16));
  write_jpeg(in / ".hidden.jpg", car(16, 16));
  write_jpeg(in / ".thumbnails" / "d.jpg", car(16, 16));
  segnet_test::write_file(in / "deep" / "broken.jpg", {0xff, 0xd8, 0xff, 0, 1, 2});
  segnet_test::write_file(in / "notes.txt", {'x'});

  for (const bool again : {false, true}) {  // the second run meets the first one's masks
    const program_run run = f.infer(in, out);
    INFO(run.err << again);
    CHECK(run.exit_code == 1);
    CHECK_THAT(run.err, Catch::Contains("broken.jpg"));
    CHECK_THAT(run.out, Catch::Contains("lite, 128x128") && Catch::Contains("3 masks written") &&
                            Catch::Contains("1 of 4 photographs failed"));
    CHECK(files_below(out) == std::set<std::string>{"a_mask.png", "deep/b_mask.png", "deep/er/c's_mask.png"});
  }
  const image a = read_mask(out / "a_mask.png"), b = read_mask(out / "deep" / "b_mask.png");
  CHECK(a.width == 191);
  CHECK(a.height == 127);
  CHECK(b.width == 64);
  CHECK(b.height == 200);
  CHECK(std::set<int>(a.data.begin(), a.data.end()).size() == 2);

  fs::remove(in / "deep" / "broken.jpg");
  CHECK(f.infer(in, out).exit_code == 0);
}

TEST_CASE("infer_carvana takes photographs from within the output folder", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const fs::path out = f.folder / "out";
  fs::create_directories(out / "photos");
  write_jpeg(out / "photos" / "a.jpg", car(64, 48));
  const program_run run = f.infer(out / "photos", out);
  INFO(run.err);
  CHECK(run.exit_code == 0);
  CHECK(files_below(out) == std::set<std::string>{"a_mask.png", "photos/a.jpg"});
  fs::create_directories(out / "photos" / "photos");
  write_jpeg(out / "photos" / "photos" / "b.jpg", car(64, 48));
  CHECK_THAT(f.infer(out / "photos", out).err, Catch::Contains("b_mask.png: choose another output folder"));
}

TEST_CASE("infer_carvana writes the mask of one photograph, its overlay and its probability", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const fs::path photo = f.folder / "car.png";
  write_png(photo, car(191, 127));
  const auto run = [&](std::initializer_list<std::string> arguments) {
    return run_program(program, arguments, f.folder);
  };
  const std::string weights = f.weights.string(), in = photo.string();
  const fs::path out = f.folder / "new" / "mask.png";
  const program_run one =
      run({"--weights", weights, "--input", in, "--output", out.string(), "--overlay", "--probability"});
  INFO(one.err);
  REQUIRE(one.exit_code == 0);
  CHECK(files_below(f.folder / "new") ==
        std::set<std::string>{"mask.png", "mask_overlay.png", "mask_probability.png"});
  const image mask = read_mask(out), grey = read_image(f.folder / "new" / "mask_probability.png", 1);
  const image over = read_image(f.folder / "new" / "mask_overlay.png"), original = read_image(photo);
  REQUIRE(mask.size() == grey.size());
  REQUIRE(over.size() == original.size());
  for (std::size_t i = 0; i < mask.data.size(); ++i) {
    // Half is the grey level 127 or 128, whichever it was rounded to.
    if (mask.data[i] == 255)
      REQUIRE(grey.data[i] >= 127);
    else {
      REQUIRE(grey.data[i] <= 128);
      REQUIRE(over.data[3 * i] == original.data[3 * i]);
    }
  }

  // Into a folder that exists; other thresholds and the mirror image give other masks.
  fs::create_directories(f.folder / "folder");
  const auto into = [&](const std::string& option) {
    REQUIRE(run({"--weights", weights, "--input", in, "--output", (f.folder / "folder").string(), option})
                .exit_code == 0);
    return read_mask(f.folder / "folder" / "car_mask.png");
  };
  CHECK(into("--threads=1") == mask);
  CHECK(into("--threads=3") == mask);
  CHECK(into("--threshold=0.5") == mask);
  CHECK(into("--tta") != mask);
  CHECK(into("--threshold=0").data == std::vector<std::uint8_t>(mask.size(), 255));
  CHECK(into("--threshold=1").data == std::vector<std::uint8_t>(mask.size(), 0));

  // The checkpoint's threshold is the default.
  checkpoint_header header = segnet_test::lite_header();
  header.threshold = 1;
  segnet_test::write_random_checkpoint(f.weights, header);
  CHECK(into("--threads=1").data == std::vector<std::uint8_t>(mask.size(), 0));
}

TEST_CASE("infer_carvana refuses paths that would lose something", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const fs::path in = f.folder / "in", out = f.folder / "out";
  fs::create_directories(in);
  const auto refused = [&](const fs::path& input, const fs::path& output, const std::string& why) {
    const program_run run = f.infer(input, output);
    INFO(run.out << run.err);
    CHECK(run.exit_code == 1);
    CHECK_THAT(run.err, Catch::Contains(why));
  };
  refused(in, out, "no pictures");
  refused(f.folder / "missing.jpg", out, "missing.jpg: no such file or folder");
  write_jpeg(in / "a.jpg", car(32, 32));
  refused(in / "a.jpg", f.folder / "mask.jpg", "expected a name that ends in .png");
  refused(in, in, "is the folder of the photographs");
  refused(in, in / "a.jpg", "is a file");
  write_png(in / "a.png", car(32, 32));
  refused(in / "a.png", in / "a.png", "is the photograph itself");
  refused(in, out, "would overwrite");
  CHECK_FALSE(fs::exists(out));
  CHECK(files_below(in) == std::set<std::string>{"a.jpg", "a.png"});
}

TEST_CASE("infer_carvana refuses weights that it cannot use", "[examples]") {
  if (!has_program(program)) return;
  const fixture f;
  const fs::path photo = f.folder / "car.png";
  write_png(photo, car(32, 32));
  const auto refused = [&](const std::string& why) {
    const program_run run = f.infer(photo, f.folder / "mask.png");
    CHECK(run.exit_code == 1);
    CHECK_THAT(run.err, Catch::Contains(why));
    CHECK_FALSE(fs::exists(f.folder / "mask.png"));
  };
  checkpoint_header header = segnet_test::lite_header();
  header.height = header.width = 384;
  segnet_test::write_random_checkpoint(f.weights, header);
  refused("no network lite for 384x384 pixels in this program");
  header = segnet_test::lite_header();
  header.variant = "huge";
  segnet_test::write_random_checkpoint(f.weights, header);
  refused("no network huge");
  header = segnet_test::lite_header();
  header.network = "roads";
  segnet_test::write_random_checkpoint(f.weights, header);
  refused("holds the network \"roads\"");

  auto bytes = segnet_test::content(f.weights);
  bytes.resize(bytes.size() / 2);
  segnet_test::write_file(f.weights, bytes);
  refused("weights.safetensors: ");
  write_safetensors(f.weights, {}, {{"format", "pt"}});
  refused("metadata \"format\": found \"pt\"");
  fs::remove(f.weights);
  refused("weights.safetensors: no such file");
}

TEST_CASE("infer_carvana cuts out cars with the weights that it comes with", "[examples]") {
  if (!has_program(program)) return;
  const auto data = segnet_test::carvana_folder();
  if (!data) return;
  const temporary_folder folder;
  // Cars that those weights' training held out.
  const auto split = split_by_car(find_carvana(*data).samples, 0.2, 1);
  for (const std::size_t i : {std::size_t{0}, split.validation.size() - 1}) {
    const sample& car = split.validation[i];
    const fs::path mask = folder / "mask.png";
    const auto run = run_program(program, {"--input", car.image.string(), "--output", mask.string()}, folder);
    if (run.err.find("no network lite for 512x512") != std::string::npos) {
      WARN("skipped: " << run.err);  // SEGNET_CARVANA_SIZES
      return;
    }
    INFO(run.err);
    REQUIRE(run.exit_code == 0);
    CHECK_THAT(run.out, Catch::Contains("lite, 512x512"));
    const image found = read_image(mask, 1), expected = read_sample(car).mask;
    CHECK(compare(std::span<const std::uint8_t>(found.data), std::span<const std::uint8_t>(expected.data))
              .dice() > 0.975);
  }
}

TEST_CASE("the programs explain themselves", "[examples]") {
  const temporary_folder folder;
  for (const std::string name : {"infer_carvana", "evaluate_carvana"}) {
    if (!has_program(name)) continue;
    const program_run help = run_program(name, {"--help"}, folder);
    CHECK(help.exit_code == 0);
    CHECK_THAT(help.out, Catch::Contains("--weights") && Catch::Contains("Example: " + name));
    const program_run nothing = run_program(name, {}, folder);
    CHECK(nothing.exit_code == 2);
    // infer_carvana has weights of its own.
    CHECK_THAT(nothing.err,
               Catch::Contains(name == "infer_carvana" ? "--input is required" : "--weights is required"));
    const program_run unknown = run_program(name, {"--treshold=1"}, folder);
    CHECK(unknown.exit_code == 2);
    CHECK(run_program(name, {"--version"}, folder).out == SEGNET_VERSION "\n");
  }
}
