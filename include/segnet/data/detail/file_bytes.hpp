// SPDX-License-Identifier: MIT
// Whole files into memory, with errors that name them.
#pragma once

#include <segnet/core/error.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
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

}  // namespace segnet::detail
