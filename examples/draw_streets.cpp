// SPDX-License-Identifier: MIT
// Draws generated street scenes: a sheet to look at, or a data set on disk.
#include <segnet/data/label_picture.hpp>
#include <segnet/data/street.hpp>
#include <segnet/version.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>

namespace fs = std::filesystem;
using namespace segnet;

namespace {

struct options {
  fs::path sheet, data;
  std::uint64_t seed = 1;
  int first = 0, count = 8, validation = 0, columns = 4, width = 240, height = 180;
};

void paste(image& sheet, const image& picture, int x, int y) {
  for (int row = 0; row < picture.height; ++row)
    std::copy_n(picture.at(0, row), 3 * picture.width, sheet.at(x, y + row));
}

/// Rows of photographs, each above its labels in CamVid's colours.
image draw_sheet(const options& o) {
  const picture_source streets = street_source(o.seed, o.first, o.count, o.width, o.height);
  const int rows = (o.count + o.columns - 1) / o.columns;
  image sheet(o.columns * o.width, 2 * rows * o.height, 3, 255);
  for (int i = 0; i < streets.size; ++i) {
    const labelled_photo street = streets.read(i);
    const int x = i % o.columns * o.width, y = i / o.columns * 2 * o.height;
    paste(sheet, street.photo, x, y);
    paste(sheet, label_picture(street.mask), x, y + o.height);
  }
  return sheet;
}

}  // namespace

int main(int argc, char** argv) try {
  options o;
  CLI::App app{"Draws generated street scenes with labels of CamVid's eleven classes."};
  app.footer(
      "A sheet shows each photograph above its labels. A data set has the layout of SegNet's tutorial: "
      "train, "
      "trainannot,\nval, valannot with class numbers, and classes.txt.\n\n"
      "Exit code: 0, 1 if anything failed, 2 for wrong options.\n\n"
      "Example: draw_streets --sheet streets.jpg --count 8");
  app.set_version_flag("--version", SEGNET_VERSION);
  app.add_option("--sheet", o.sheet, "a picture of the scenes (.jpg or .png)")->type_name("FILE");
  app.add_option("--data", o.data, "a folder for a data set")->type_name("FOLDER");
  app.add_option("--seed", o.seed, "other seeds give other streets")->capture_default_str();
  app.add_option("--first", o.first, "number of the sheet's first scene")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  app.add_option("--count", o.count, "how many scenes, or pictures to train with")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option("--validation", o.validation, "pictures of a data set to validate with, besides")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  app.add_option("--columns", o.columns, "of the sheet")->check(CLI::Range(1, 100))->capture_default_str();
  app.add_option("--width", o.width, "of a picture")->check(CLI::Range(16, 8192))->capture_default_str();
  app.add_option("--height", o.height, "of a picture")->check(CLI::Range(16, 8192))->capture_default_str();
  try {
    app.parse(argc, argv);
    if (o.sheet.empty() == o.data.empty()) throw CLI::RequiredError("either --sheet or --data");
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : 2;
  }
  if (!o.data.empty())
    write_street_dataset(o.data, o.seed, o.count, o.validation, o.width, o.height);
  else if (o.sheet.extension() == ".png")
    write_png(o.sheet, draw_sheet(o));
  else
    write_jpeg(o.sheet, draw_sheet(o), 80);
} catch (const std::exception& problem) {
  std::fprintf(stderr, "draw_streets: %s\n", problem.what());
  return 1;
}
