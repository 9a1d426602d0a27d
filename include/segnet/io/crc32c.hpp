// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace segnet {

namespace detail {
/// What each byte adds: the Castagnoli polynomial, lowest bit first.
inline constexpr auto crc32c_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
    table[i] = crc;
  }
  return table;
}();
}  // namespace detail

/// CRC-32C, the checksum of iSCSI (RFC 3720).
constexpr std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (char byte : bytes)
    crc = (crc >> 8) ^ detail::crc32c_table[(crc ^ static_cast<unsigned char>(byte)) & 0xffU];
  return ~crc;
}

}  // namespace segnet
