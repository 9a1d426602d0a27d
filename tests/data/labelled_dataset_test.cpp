// SPDX-License-Identifier: MIT
#include <algorithm>
#include <catch2/catch.hpp>
#include <segnet/data/labelled_dataset.hpp>
#include <segnet/data/loader.hpp>
#include <segnet/data/street.hpp>
#include <set>

#include "../temporary_folder.hpp"

using namespace segnet;
using namespace segnet_test;
using Catch::Contains;

namespace {

void write_text(const std::filesystem::path& file, const std::string& text) {
  write_file(file, {text.begin(), text.end()});
}

/// A PNG of rows that are packed already: for depths and palettes that write_png() does not write.
void write_raw_png(const std::filesystem::path& file, int w, int h, int depth, int colour_type,
                   const std::vector<rgb_colour>& palette, const std::vector<std::uint8_t>& packed) {
  std::vector<std::uint8_t> png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const auto number = [&](std::size_t n) {
    for (int shift = 24; shift >= 0; shift -= 8) png.push_back(static_cast<std::uint8_t>(n >> shift));
  };
  const auto chunk = [&](const std::string& type, const std::vector<std::uint8_t>& data) {
    number(data.size());
    png.insert(png.end(), type.begin(), type.end());
    png.insert(png.end(), data.begin(), data.end());
    number(0);  // the checksum, which nobody looks at
  };
  const auto byte = [](int v) { return static_cast<std::uint8_t>(v); };
  chunk("IHDR", {0, 0, 0, byte(w), 0, 0, 0, byte(h), byte(depth), byte(colour_type), 0, 0, 0});
  std::vector<std::uint8_t> entries;
  for (const rgb_colour& c : palette) entries.insert(entries.end(), c.begin(), c.end());
  if (!palette.empty()) chunk("PLTE", entries), chunk("tRNS", {0, 255});
  std::vector<std::uint8_t> rows;
  const std::size_t row = packed.size() / static_cast<std::size_t>(h);
  for (std::size_t y = 0; y < static_cast<std::size_t>(h); ++y) {
    rows.push_back(0);  // unfiltered
    rows.insert(rows.end(), packed.begin() + static_cast<std::ptrdiff_t>(y * row),
                packed.begin() + static_cast<std::ptrdiff_t>((y + 1) * row));
  }
  int size = 0;
  std::uint8_t* zlib = detail::stb::stbi_zlib_compress(rows.data(), static_cast<int>(rows.size()), &size, 8);
  chunk("IDAT", {zlib, zlib + size});
  free(zlib);
  chunk("IEND", {});
  write_file(file, png);
}

constexpr char three_colours[] = "128 64 128\tRoad\n0 0 0 Void\r\n64 0 128 Car or van\n";

struct labels_folder {
  temporary_folder folder;
  std::filesystem::path file = folder / "a.png";
  label_classes coloured, named;
  labels_folder() {
    write_text(folder / "colours.txt", three_colours);
    write_text(folder / "names.txt", "Road\nVoid\nCar\n");
    coloured = read_label_classes(folder / "colours.txt");
    named = read_label_classes(folder / "names.txt");
  }
  std::vector<std::uint8_t> read(const label_classes& classes) const {
    return read_labels(file, classes).data;
  }
  std::string refused(const label_classes& classes) const {
    return message_of<file_error>([&] { read_labels(file, classes); });
  }
};

image rgb(const std::vector<rgb_colour>& colours) {
  image picture(static_cast<int>(colours.size()), 1, 3);
  for (std::size_t i = 0; i < colours.size(); ++i)
    std::copy(colours[i].begin(), colours[i].end(),
              picture.data.begin() + static_cast<std::ptrdiff_t>(3 * i));
  return picture;
}

image grey(const std::vector<std::uint8_t>& values) {
  image picture(static_cast<int>(values.size()), 1, 1);
  picture.data = values;
  return picture;
}

using bytes = std::vector<std::uint8_t>;

/// `names` as photographs of 4 x 3 pixels in `part`, their labels `suffix` in `annotations`.
void add_pictures(const temporary_folder& folder, const std::string& part, const std::string& annotations,
                  const std::vector<std::string>& names, const std::string& suffix = "") {
  std::filesystem::create_directories(folder / part);
  std::filesystem::create_directories(folder / annotations);
  for (const std::string& name : names) {
    write_png(folder / (part + "/" + name + ".png"), image(4, 3, 3, 50));
    write_png(folder / (annotations + "/" + name + suffix + ".png"), image(4, 3, 1, 1));
  }
}

std::vector<std::string> stems(const std::vector<labelled_file>& files) {
  std::vector<std::string> names;
  for (const labelled_file& f : files) names.push_back(f.image.stem().string());
  return names;
}

}  // namespace

TEST_CASE("Lists of classes are read in three forms", "[data]") {
  temporary_folder folder;
  const auto read = [&](const std::string& text) {
    write_text(folder / "list", text);
    return read_label_classes(folder / "list");
  };
  const label_classes camvid_form = read(three_colours);
  CHECK(camvid_form.names == std::vector<std::string>{"Road", "Car or van"});
  CHECK(camvid_form.palette == std::vector<rgb_colour>{{128, 64, 128}, {64, 0, 128}});
  REQUIRE(camvid_form.lines.size() == 3);
  CHECK(camvid_form.lines[1].label == ignored_label);
  CHECK(camvid_form.lines[2].label == 1);

  const label_classes table = read("name,r,g,b\nRoad,128,64,128\nCar or van, 64, 0, 128\n");
  CHECK(table.names == camvid_form.names);
  CHECK(table.palette == camvid_form.palette);

  const label_classes names = read("# classes\n\nsky\n  lane marking \nunlabelled\nsky\n");
  CHECK(names.names == std::vector<std::string>{"sky", "lane marking"});
  CHECK_FALSE(names.has_colours());
  REQUIRE(names.lines.size() == 4);
  CHECK(names.lines[2].label == ignored_label);
  CHECK(names.lines[3].label == 0);  // a class of several lines
  CHECK(names.palette == distinct_palette(2));
  // As editors on Windows save it.
  CHECK(read("\xef\xbb\xbf"
             "128 64 128 Road\r\n64 0 128 Car\r\n")
            .names == std::vector<std::string>{"Road", "Car"});
}

TEST_CASE("CamVid's table groups its labels to the eleven classes", "[data]") {
  const label_classes classes = read_label_classes(SEGNET_SOURCE_DIR "/data/camvid_label_colors.txt");
  CHECK(std::equal(classes.names.begin(), classes.names.end(), camvid_names.begin(), camvid_names.end()));
  CHECK(std::equal(classes.palette.begin(), classes.palette.end(), camvid_palette.begin(),
                   camvid_palette.end()));
  CHECK(classes.lines.size() == 32);
}

TEST_CASE("Unusable lists of classes are refused with their line", "[data]") {
  temporary_folder folder;
  const auto refused = [&](const std::string& text) {
    write_text(folder / "list", text);
    return message_of<file_error>([&] { read_label_classes(folder / "list"); });
  };
  CHECK_THAT(refused("1 2 3 a\n\nb\n"), Contains("list: line 3: \"b\" has no colour"));
  CHECK_THAT(refused("a\n1 2 3 b\n"), Contains("line 2: \"b\" has a colour"));
  CHECK_THAT(refused("1 2 256 a\n"), Contains("line 1: a colour's value is 256; expected 0 to 255"));
  CHECK_THAT(refused("1 2 3 a\n1 2 3 b\n"), Contains("line 2: \"b\" has the colour of \"a\""));
  CHECK_THAT(refused("Road,128,64\n1 2 3 b\n"), Contains("line 2: \"b\" has a colour"));
  CHECK_THAT(refused("Road\nCa\x02r\n"), Contains("line 2: is not text"));
  CHECK_THAT(refused("void\n"), Contains("lists no classes; expected a class on each line"));
  std::string many;
  for (int i = 0; i < 256; ++i) many += "class" + std::to_string(i) + "\n";
  CHECK_THAT(refused(many), Contains("line 256: too many"));
  CHECK_THAT(message_of<file_error>([&] { read_label_classes(folder / "absent"); }),
             Contains("no such file"));
}

TEST_CASE("Colours become classes", "[data]") {
  const labels_folder f;
  write_png(f.file, rgb({{64, 0, 128}, {64, 0, 128}, {128, 64, 128}, {0, 0, 0}}));
  CHECK(f.read(f.coloured) == bytes{1, 1, 0, 255});
  write_raw_png(f.file, 4, 1, 8, 3, {{0, 0, 0}, {128, 64, 128}, {64, 0, 128}}, {2, 1, 0, 1});
  CHECK(f.read(f.coloured) == bytes{1, 0, 255, 0});
  image picture = rgb({{64, 0, 128}, {64, 0, 127}});
  picture.width = 1, picture.height = 2;
  write_png(f.file, picture);
  CHECK_THAT(f.refused(f.coloured),
             Contains("a.png: the pixel in column 0, row 1 has the colour 64 0 127; expected one of the 3") &&
                 Contains("colours.txt") && Contains("the nearest is 64 0 128 (Car or van)"));
}

TEST_CASE("Numbers become classes, whatever the PNG's depth", "[data]") {
  const labels_folder f;
  write_png(f.file, grey({0, 1, 2, 255}));
  CHECK(f.read(f.named) == bytes{0, 255, 1, 255});
  CHECK(f.read(f.coloured) == bytes{0, 255, 1, 255});  // the numbers of the table's lines
  write_png(f.file, rgb({{2, 2, 2}, {0, 0, 0}}));
  CHECK(f.read(f.named) == bytes{1, 0});
  const std::vector<rgb_colour> palette{{9, 9, 9}, {200, 0, 0}, {0, 200, 0}};
  write_raw_png(f.file, 4, 1, 8, 3, palette, {0, 1, 2, 0});
  CHECK(f.read(f.named) == bytes{0, 255, 1, 0});
  write_raw_png(f.file, 4, 1, 4, 3, palette, {0x01, 0x20});
  CHECK(f.read(f.named) == bytes{0, 255, 1, 0});
  write_raw_png(f.file, 4, 1, 2, 0, {}, {0x18});
  CHECK(f.read(f.named) == bytes{0, 255, 1, 0});
  write_raw_png(f.file, 4, 1, 1, 3, palette, {0x50});
  CHECK(f.read(f.named) == bytes{0, 255, 0, 255});
}

TEST_CASE("What is no label image is refused", "[data]") {
  const labels_folder f;
  write_png(f.file, grey({0, 1, 3}));
  CHECK_THAT(f.refused(f.named), Contains("the pixel in column 2, row 0 has the number 3; expected 0 to 2") &&
                                     Contains("names.txt"));
  write_png(f.file, rgb({{0, 0, 0}, {5, 0, 0}}));
  CHECK_THAT(f.refused(f.named),
             Contains("column 1, row 0 has the colour 5 0 0") && Contains("names.txt lists no colours"));
  write_jpeg(f.file, image(8, 8, 3, 1));
  CHECK_THAT(f.refused(f.coloured), Contains("not a label image: expected a PNG"));
  write_raw_png(f.file, 2, 1, 16, 0, {}, {0, 1, 0, 2});
  CHECK_THAT(f.refused(f.named), Contains("16 bits per channel"));
  write_png(f.file, grey({0, 1, 2, 0, 1, 2}));
  bytes cut = content(f.file);
  cut.resize(40);
  write_file(f.file, cut);
  CHECK_THAT(f.refused(f.named), Contains("truncated"));
  write_raw_png(f.file, 2, 1, 8, 3, {{1, 1, 1}}, {0, 0});
  cut = content(f.file);
  cut.resize(45);
  write_file(f.file, cut);
  CHECK_THAT(f.refused(f.named), Contains("a.png: "));
}

TEST_CASE("The tutorial's layout is found, each photograph with its labels", "[data]") {
  temporary_folder folder;
  write_text(folder / "classes.txt", "Sky\nRoad\n");
  add_pictures(folder, "train", "trainannot", {"b", "a"});
  add_pictures(folder, "val", "valannot", {"0001TP_006690"}, "_L");
  write_file(folder / "train/.DS_Store", {1});
  write_png(folder / "trainannot/stray.png", image(4, 3, 1));
  labelled_dataset found = find_labelled(folder.path());
  CHECK(stems(found.train) == std::vector<std::string>{"a", "b"});
  REQUIRE(found.validation.size() == 1);
  CHECK(found.validation[0].labels.filename() == "0001TP_006690_L.png");
  CHECK(found.test.empty());
  CHECK(found.classes.names == std::vector<std::string>{"Sky", "Road"});
  REQUIRE(found.notes.size() == 1);
  CHECK_THAT(found.notes[0], Contains("stray.png: ignored"));
  const labelled_photo pair = read_labelled(found.train[0], found.classes);
  CHECK(pair.photo == image(4, 3, 3, 50));
  CHECK(pair.mask == image(4, 3, 1, 1));

  add_pictures(folder, "test", "test_labels", {"c"});
  found = find_labelled(folder.path());
  CHECK(stems(found.test) == std::vector<std::string>{"c"});
  const picture_source source = from_labelled(found.train, found.classes);
  CHECK(source.size == 2);
  CHECK(source.read(1).mask == image(4, 3, 1, 1));
  CHECK_THAT(source.name(1), Contains("b.png"));
}

TEST_CASE("A folder of images and labels is split by its seed", "[data]") {
  temporary_folder folder;
  write_text(folder / "classes.txt", "Sky\nRoad\n");
  std::vector<std::string> names;
  for (int i = 10; i < 30; ++i) names.push_back("p" + std::to_string(i));
  add_pictures(folder, "images", "labels", names);
  const auto held = [&](std::uint64_t seed, double fraction = 0.2) {
    const labelled_dataset found = find_labelled(folder.path(), {fraction, seed});
    const auto train = stems(found.train), validation = stems(found.validation);
    CHECK(std::is_sorted(train.begin(), train.end()));
    CHECK(std::is_sorted(validation.begin(), validation.end()));
    std::set<std::string> all(train.begin(), train.end());
    all.insert(validation.begin(), validation.end());
    CHECK(all.size() == 20);
    CHECK(train.size() + validation.size() == 20);
    return validation;
  };
  CHECK(held(1).size() == 4);
  CHECK(held(1) == held(1));
  CHECK(held(1) != held(2));
  CHECK(held(1, 0.001).size() == 1);
  CHECK(held(1, 0.999).size() == 19);
  CHECK_THROWS_AS(held(1, 1.0), argument_error);
}

TEST_CASE("What a labelled folder lacks is named", "[data]") {
  temporary_folder folder;
  const auto refused = [&] { return message_of<file_error>([&] { find_labelled(folder.path()); }); };
  CHECK_THAT(message_of<file_error>([&] { find_labelled(folder / "absent"); }),
             Contains("absent: no such folder; expected train/ and trainannot/"));
  write_text(folder / "camvid.zip", "PK");
  CHECK_THAT(message_of<file_error>([&] { find_labelled(folder / "camvid.zip"); }),
             Contains("camvid.zip: is a file, but a folder is needed; expected train/ and trainannot/"));
  CHECK_THAT(refused(), Contains("holds no labelled data set") && Contains("images/ and labels/"));
  std::filesystem::create_directories(folder / "train");
  CHECK_THAT(refused(), Contains("has train/, but no folder trainannot/"));
  std::filesystem::create_directories(folder / "trainannot");
  CHECK_THAT(refused(), Contains("no photographs found"));
  add_pictures(folder, "train", "trainannot", {"a"});
  CHECK_THAT(refused(), Contains("has no list of classes; expected label_colors.txt"));
  write_text(folder / "classes.txt", "Sky\nRoad\n");
  CHECK_THAT(refused(), Contains("one for validation"));
  write_png(folder / "train/b.png", image(4, 3, 3));
  write_jpeg(folder / "train/c.jpg", image(4, 3, 3));
  CHECK_THAT(refused(), Contains("2 of 3 photographs have no label image") && Contains("b.png, c.jpg"));
  write_png(folder / "trainannot/b_L.png", image(5, 3, 1));
  write_png(folder / "trainannot/c.png", image(4, 3, 1));
  const labelled_dataset found = find_labelled(folder.path());
  CHECK_THAT(message_of<file_error>([&] {
               read_labelled({folder / "train/b.png", folder / "trainannot/b_L.png"}, found.classes);
             }),
             Contains("b_L.png: the labels are 5x3") && Contains("b.png is 4x3"));
  write_png(folder / "trainannot/b.png", image(4, 3, 1));
  CHECK_THAT(refused(), Contains("b.png: and b_L.png are both the labels of b.png"));
  std::filesystem::remove(folder / "trainannot/b_L.png");
  write_png(folder / "train/c.png", image(4, 3, 3));
  CHECK_THAT(refused(), Contains("c.png: has the name of c.jpg"));
  std::filesystem::remove(folder / "train/c.png");
  write_text(folder / "label_colors.txt", three_colours);
  CHECK_THAT(refused(), Contains("holds label_colors.txt and classes.txt"));
}

TEST_CASE("A written street data set reads as it was drawn, and feeds a loader", "[data]") {
  temporary_folder folder;
  write_street_dataset(folder / "streets", 2, 3, 2, 48, 36);
  const labelled_dataset found = find_labelled(folder / "streets");
  CHECK(found.notes.empty());
  CHECK(found.classes.count() == camvid_classes);
  CHECK(std::equal(found.classes.palette.begin(), found.classes.palette.end(), camvid_palette.begin(),
                   camvid_palette.end()));
  REQUIRE(found.train.size() == 3);
  REQUIRE(found.validation.size() == 2);
  const labelled_photo drawn = render_street(2, 4, 48, 36);
  const labelled_photo read = read_labelled(found.validation[1], found.classes);
  CHECK(read.photo == drawn.photo);
  CHECK(read.mask == drawn.mask);
  loader l(from_labelled(found.validation, found.classes),
           {.height = 36, .width = 48, .batch_size = 2, .labels = true, .shuffle = false});
  const batch& b = l.next();
  CHECK(std::equal(drawn.mask.data.begin(), drawn.mask.data.end(), b.labels.begin() + 36 * 48));
}
