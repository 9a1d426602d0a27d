// SPDX-License-Identifier: MIT
// Is this file a JPEG, PNG or GIF, and is all of it there? Walks the container only, decodes nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace segnet::detail {

using byte_span = std::span<const std::uint8_t>;

template <std::size_t N>
bool starts_with(byte_span bytes, const char (&magic)[N]) {
  return bytes.size() >= N - 1 && std::equal(magic, magic + N - 1, bytes.begin(), [](char a, std::uint8_t b) {
           return static_cast<std::uint8_t>(a) == b;
         });
}

/// The tables of a DHT segment (ITU-T T.81, B.2.4.2): 16 counts of codes, then that many values; at most 256
/// in all, which stb up to 2.27 takes on trust and writes beyond its array.
inline bool huffman_tables_are_sound(byte_span segment) {
  while (!segment.empty()) {
    if (segment.size() < 17) return false;
    std::size_t codes = 0;
    for (std::size_t i = 1; i < 17; ++i) codes += segment[i];
    if (codes > 256 || segment.size() < 17 + codes) return false;
    segment = segment.subspan(17 + codes);
  }
  return true;
}

enum class container_state { complete, truncated, damaged };

/// ITU-T T.81, annex B: segments with a length, scans of entropy-coded bytes, at last the end-of-image
/// marker.
inline container_state check_jpeg(byte_span bytes) {
  std::size_t at = 2;
  while (at + 1 < bytes.size()) {
    const std::uint8_t marker = bytes[at + 1];
    if (bytes[at] != 0xff || marker == 0xff) {  // padding, which some cameras write between segments
      ++at;
      continue;
    }
    if (marker == 0xd9) return container_state::complete;
    at += 2;
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8))
      continue;  // without a segment
    if (at + 1 >= bytes.size()) return container_state::truncated;
    const auto length = static_cast<std::size_t>(bytes[at] << 8 | bytes[at + 1]);
    if (length < 2) return container_state::damaged;
    if (length > bytes.size() - at) return container_state::truncated;
    if (marker == 0xc4 && !huffman_tables_are_sound(bytes.subspan(at + 2, length - 2)))
      return container_state::damaged;
    at += length;
    if (marker != 0xda) continue;
    // In entropy-coded data 0xff is followed by 0 or by a restart marker; anything else ends the scan.
    while (at + 1 < bytes.size() &&
           !(bytes[at] == 0xff && bytes[at + 1] != 0 && (bytes[at + 1] < 0xd0 || bytes[at + 1] > 0xd7)))
      ++at;
  }
  return container_state::truncated;
}

/// GIF89a specification: up to the end of the first frame's data.
inline bool gif_first_frame_is_complete(byte_span bytes) {
  const auto skip_sub_blocks = [&](std::size_t& at) {
    while (at < bytes.size()) {
      const std::size_t length = bytes[at];
      at += 1 + length;
      if (length == 0) return true;
    }
    return false;
  };
  const auto palette_bytes = [](std::uint8_t flags) {
    return flags & 0x80 ? std::size_t{3} << ((flags & 7) + 1) : std::size_t{0};
  };
  if (bytes.size() < 13) return false;
  std::size_t at = 13 + palette_bytes(bytes[10]);
  while (at < bytes.size()) {
    if (bytes[at] == 0x21) {  // an extension
      at += 2;
      if (!skip_sub_blocks(at)) return false;
    } else if (bytes[at] == 0x2c) {  // the first frame
      if (at + 10 >= bytes.size()) return false;
      at += 10 + palette_bytes(bytes[at + 9]) + 1;
      return skip_sub_blocks(at);
    } else {
      return false;
    }
  }
  return false;
}

/// The reason why `bytes` is no complete picture, or an empty string. (A cut-off PNG is refused by stb.)
inline std::string container_problem(byte_span bytes) {
  const char* truncated = "truncated: the end of the picture is missing";
  if (starts_with(bytes, "\xff\xd8\xff")) {
    const container_state state = check_jpeg(bytes);
    if (state == container_state::damaged) return "damaged picture: its JPEG tables contradict themselves";
    return state == container_state::complete ? "" : truncated;
  }
  if (starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a"))
    return gif_first_frame_is_complete(bytes) ? "" : truncated;
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) {
    static constexpr char end[] = "IEND";
    const byte_span tail = bytes.last(std::min<std::size_t>(bytes.size(), 4096));
    return std::search(tail.begin(), tail.end(), end, end + 4) != tail.end() ? "" : truncated;
  }
  return "not an image: expected JPEG, PNG or GIF";
}

}  // namespace segnet::detail
