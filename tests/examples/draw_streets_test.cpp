// SPDX-License-Identifier: MIT
#include <catch2/catch.hpp>
#include <segnet/data/label_picture.hpp>
#include <segnet/data/street.hpp>

#include "program.hpp"

using namespace segnet;
using namespace segnet_test;

TEST_CASE("draw_streets draws a sheet or writes a data set", "[examples]") {
  if (!has_program("draw_streets")) return;
  const temporary_folder folder;
  const std::string sheet = (folder / "sheet.png").string(), set = (folder / "set").string();
  const auto run = [&](std::initializer_list<std::string> arguments) {
    return run_program("draw_streets", arguments, folder).exit_code;
  };
  const std::initializer_list<std::string> two = {"--sheet", sheet, "--count",  "2",  "--columns", "2",
                                                  "--width", "32",  "--height", "24", "--first",   "5"};
  REQUIRE(run(two) == 0);
  const image picture = read_image(sheet);
  REQUIRE(picture.width == 64);
  REQUIRE(picture.height == 48);
  const image labels = label_picture(render_street(1, 6, 32, 24).mask);
  CHECK(std::equal(labels.at(3, 20), labels.at(3, 20) + 3, picture.at(35, 44)));

  REQUIRE(run({"--data", set, "--count", "2", "--validation", "1", "--width", "32", "--height", "24"}) == 0);
  const image read = read_image(folder / "set/valannot/street00002.png", 1);
  const image drawn = render_street(1, 2, 32, 24).mask;
  REQUIRE(read.data.size() == drawn.data.size());
  int different = 0;  // the program is compiled with other flags: a rounding may decide otherwise
  for (std::size_t i = 0; i < drawn.data.size(); ++i) different += read.data[i] != drawn.data[i];
  CHECK(different < 8);
  CHECK(read_image(folder / "set/train/street00001.png").pixels() == 32 * 24);
  CHECK(text_of(folder / "set/classes.txt").starts_with("Sky\nBuilding\nPole\n"));

  CHECK(run({}) == 2);
  CHECK(run({"--sheet", (folder / "absent/sheet.png").string()}) == 1);
}
