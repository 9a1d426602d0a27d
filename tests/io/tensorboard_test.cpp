// SPDX-License-Identifier: MIT
#include <segnet/io/tensorboard.hpp>

#include "../temporary_folder.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <optional>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <vector>

using namespace segnet;
using segnet_test::temporary_folder;

namespace {

struct event {
  double wall_time = 0;
  std::int64_t step = -1;
  std::string version, tag, image;
  std::optional<float> value;
  int width = 0, height = 0;
};

template <class T>
T little_endian(const std::string& bytes, std::size_t at) {
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;)
    value = static_cast<T>((value << 8) | static_cast<unsigned char>(bytes.at(at + i)));
  return value;
}

/// The checksum without its mask, to be compared with crc32c: the inverse, written apart.
std::uint32_t unmask(std::uint32_t masked) {
  const std::uint32_t rotated = masked - 0xa282ead8U;
  return (rotated << 15) | (rotated >> 17);
}

event decode(const std::string& bytes) {
  event result;
  protozero::pbf_reader reader(bytes);
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        result.wall_time = reader.get_double();
        break;
      case 2:
        result.step = reader.get_int64();
        break;
      case 3:
        result.version = reader.get_string();
        break;
      case 5: {
        auto summary = reader.get_message();
        while (summary.next(1)) {
          auto entry = summary.get_message();
          while (entry.next()) {
            if (entry.tag() == 1)
              result.tag = entry.get_string();
            else if (entry.tag() == 2)
              result.value = entry.get_float();
            else if (entry.tag() == 4) {
              auto image = entry.get_message();
              while (image.next()) {
                if (image.tag() == 1)
                  result.height = image.get_int32();
                else if (image.tag() == 2)
                  result.width = image.get_int32();
                else if (image.tag() == 4)
                  result.image = image.get_string();
                else
                  image.skip();
              }
            } else
              entry.skip();
          }
        }
        break;
      }
      default:
        reader.skip();
    }
  }
  return result;
}

std::vector<event> read_events(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<event> events;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = little_endian<std::uint64_t>(bytes, at);
    REQUIRE(unmask(little_endian<std::uint32_t>(bytes, at + 8)) == crc32c(bytes.substr(at, 8)));
    const std::string data = bytes.substr(at + 12, length);
    REQUIRE(unmask(little_endian<std::uint32_t>(bytes, at + 12 + length)) == crc32c(data));
    events.push_back(decode(data));
    at += 16 + length;
  }
  return events;
}

}  // namespace

TEST_CASE("crc32c has the values of RFC 3720", "[io]") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283U);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aaU);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43U);
}

TEST_CASE("event files read back with good checksums", "[io]") {
  const temporary_folder folder;
  const std::string png("\x89PNG\0\1", 6);
  event_writer writer(folder / "logs" / "run");
  writer.scalar("train/loss", 0.25, 0);
  writer.scalar("train/loss", -1e-3, std::int64_t{1} << 40);
  writer.image("worst", std::as_bytes(std::span(png)), 6, 4, 7);

  const auto events = read_events(writer.path());  // while it is open: records are whole at any time
  REQUIRE(events.size() == 4);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[0].wall_time > 1.7e9);
  CHECK(events[1].tag == "train/loss");
  CHECK(events[1].step == 0);
  CHECK(events[1].value == 0.25F);
  CHECK(events[2].step == std::int64_t{1} << 40);
  CHECK(events[2].value == -1e-3F);
  CHECK(events[3].tag == "worst");
  CHECK(events[3].step == 7);
  CHECK(events[3].image == png);
  CHECK(events[3].width == 6);
  CHECK(events[3].height == 4);
}

TEST_CASE("two event writers of one folder write two files", "[io]") {
  const temporary_folder folder;
  event_writer first(folder.path()), second(folder.path());
  CHECK(first.path() != second.path());
  CHECK(first.path().filename().string().starts_with("events.out.tfevents."));
}

TEST_CASE("an event writer names the folder that it cannot use", "[io]") {
  const temporary_folder folder;
  std::ofstream(folder / "file") << "not a folder";
  CHECK_THROWS_WITH(event_writer(folder / "file"), Catch::StartsWith((folder / "file").string()));
}
