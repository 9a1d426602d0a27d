// SPDX-License-Identifier: MIT
// Curves and pictures for TensorBoard: an event file is a list of records, each a protocol buffer `Event`
// (tensorflow/core/util/event.proto) between checksums (tensorflow/core/lib/io/record_writer.h).
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/io/crc32c.hpp>
#include <segnet/io/file.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <protozero/pbf_writer.hpp>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace segnet {

namespace detail {

/// A checksum of data that themselves hold checksums would be weak: TensorFlow rotates and shifts it.
constexpr std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

template <class T>
void append_little_endian(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>((value >> (8 * i)) & 0xffU);
}

/// Length, its checksum, the event, its checksum.
inline std::string tensorboard_record(std::string_view event) {
  std::string record;
  append_little_endian(record, static_cast<std::uint64_t>(event.size()));
  append_little_endian(record, masked_crc(record));
  record += event;
  append_little_endian(record, masked_crc(event));
  return record;
}

}  // namespace detail

/// Appends to a new event file in `folder`. A resumed run makes another file in the same folder; TensorBoard
/// joins them. Every call leaves whole records on the disk, so that a run can be watched. Throws file_error.
class event_writer {
 public:
  explicit event_writer(const std::filesystem::path& folder) {
    create_folder(folder);
    // TensorBoard reads files of one folder in the order of their names.
    const auto started = std::to_string(static_cast<std::int64_t>(now()));
    for (int attempt = 0; attempt < 1000 && file_ == nullptr; ++attempt) {
      path_ = folder / ("events.out.tfevents." + started + ".segnet." + std::to_string(1000 + attempt));
      errno = 0;
      file_.reset(std::fopen(path_.string().c_str(), "wbx"));  // "x": must not exist
      if (file_ == nullptr && errno != EEXIST) break;
    }
    if (file_ == nullptr) fail("could not be created");
    std::string event = head(0);
    protozero::pbf_writer(event).add_string(field_file_version, "brain.Event:2");
    append(event);
  }

  const std::filesystem::path& path() const { return path_; }

  /// One point of the curve `tag`, e.g. ("validation/dice", 0.98, epoch). Slashes group curves.
  void scalar(std::string_view tag, double value, std::int64_t step) {
    add(tag, step, [&](protozero::pbf_writer& entry) {
      entry.add_float(field_simple_value, static_cast<float>(value));
    });
  }

  /// A picture, given as the bytes of a PNG (or JPEG) file.
  void image(std::string_view tag, std::span<const std::byte> png, int width, int height, std::int64_t step) {
    add(tag, step, [&](protozero::pbf_writer& entry) {
      protozero::pbf_writer image(entry, field_image);
      image.add_int32(1, height);
      image.add_int32(2, width);
      image.add_int32(3, 3);  // colour space: RGB; the picture's own header decides
      image.add_bytes(4, reinterpret_cast<const char*>(png.data()), png.size());
    });
  }

 private:
  enum : protozero::pbf_tag_type {
    field_wall_time = 1,     // of Event
    field_step = 2,          //
    field_file_version = 3,  //
    field_summary = 5,       //
    field_value = 1,         // of Summary
    field_tag = 1,           // of Summary.Value
    field_simple_value = 2,  //
    field_image = 4          //
  };

  template <class Fill>
  void add(std::string_view tag, std::int64_t step, Fill fill) {
    std::string event = head(step);
    {
      protozero::pbf_writer writer(event), summary(writer, field_summary), entry(summary, field_value);
      entry.add_string(field_tag, tag.data(), tag.size());
      fill(entry);
    }  // the lengths of nested messages are written when their writers end
    append(event);
  }

  static double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }

  static std::string head(std::int64_t step) {
    std::string event;
    protozero::pbf_writer writer(event);
    writer.add_double(field_wall_time, now());
    writer.add_int64(field_step, step);
    return event;
  }

  void append(std::string_view event) {
    const std::string record = detail::tensorboard_record(event);
    errno = 0;
    if (std::fwrite(record.data(), 1, record.size(), file_.get()) != record.size() ||
        std::fflush(file_.get()) != 0)
      fail("could not be written");
  }

  [[noreturn]] void fail(const char* what) const {
    const int code = errno;
    throw file_error(path_, std::string(what) + ": " + std::generic_category().message(code));
  }

  struct close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, close> file_;
};

}  // namespace segnet
