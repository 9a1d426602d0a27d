// SPDX-License-Identifier: MIT
// Whole files in and out of memory, with errors that name them.
#pragma once

#include <segnet/core/error.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace segnet::detail {

/// The content of `file`, at least one byte and at most `limit`; throws file_error.
inline std::vector<std::uint8_t> read_bytes(const std::filesystem::path& file,
                                            std::uintmax_t limit = std::uintmax_t{1} << 30) {
  std::error_code problem;
  const auto status = std::filesystem::status(file, problem);
  if (!std::filesystem::exists(status)) throw file_error(file, "no such file");
  if (std::filesystem::is_directory(status)) throw file_error(file, "is a folder, expected a picture");
  const std::uintmax_t size = std::filesystem::file_size(file, problem);
  if (problem) throw file_error(file, "cannot be read: " + problem.message());
  if (size == 0) throw file_error(file, "is empty");
  if (size > limit) throw file_error(file, "is too large for a picture: " + std::to_string(size) + " bytes");

  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw file_error(file, std::string("cannot be opened: ") + std::strerror(errno));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (stream.gcount() != static_cast<std::streamsize>(bytes.size()))
    throw file_error(file, "could be read only in part");
  return bytes;
}

/// Writes `bytes` beside `file` and renames: readers see the old content or the new one, never half of it.
inline void replace_file(const std::filesystem::path& file, std::span<const std::uint8_t> bytes) {
  namespace fs = std::filesystem;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code problem;
  if (!fs::is_directory(folder, problem))
    throw file_error(file, "cannot be written: the folder '" + folder.string() + "' does not exist");
  // The counter keeps threads apart that write the same file.
  static std::atomic<unsigned> counter{0};
  fs::path temporary = file;
  temporary += ".tmp" + std::to_string(counter++);
  {
    std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
    if (!stream) throw file_error(file, std::string("cannot be written: ") + std::strerror(errno));
    stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    stream.close();
    if (!stream) {
      fs::remove(temporary, problem);
      throw file_error(file, "cannot be written: the disk refuses (is it full?)");
    }
  }
  fs::rename(temporary, file, problem);
  if (problem) {
    const std::string reason = problem.message();
    fs::remove(temporary, problem);
    throw file_error(file, "cannot be written: " + reason);
  }
}

}  // namespace segnet::detail
