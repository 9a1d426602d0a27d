// SPDX-License-Identifier: MIT
// The element types that stored tensors have, under the names of the safetensors format.
#pragma once

#include <segnet/config.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace segnet {

enum class dtype : unsigned char { boolean, u8, i8, u16, i16, f16, bf16, u32, i32, f32, u64, i64, f64 };

namespace detail {
struct dtype_facts {
  std::string_view name;
  std::size_t bytes;
};
// In the order of the enumeration.
inline constexpr dtype_facts dtypes[] = {{"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"U16", 2}, {"I16", 2},
                                         {"F16", 2},  {"BF16", 2}, {"U32", 4}, {"I32", 4}, {"F32", 4},
                                         {"U64", 8},  {"I64", 8},  {"F64", 8}};
}  // namespace detail

constexpr std::string_view name_of(dtype type) { return detail::dtypes[static_cast<std::size_t>(type)].name; }
/// Bytes of one element.
constexpr std::size_t size_of(dtype type) { return detail::dtypes[static_cast<std::size_t>(type)].bytes; }

constexpr std::optional<dtype> dtype_named(std::string_view name) {
  for (std::size_t i = 0; i < std::size(detail::dtypes); ++i)
    if (detail::dtypes[i].name == name) return static_cast<dtype>(i);
  return std::nullopt;
}

/// The value of an IEEE 754 binary16, given as its bits; exact, NaNs keep their payload.
constexpr float from_half(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16, exponent = (bits >> 10) & 31U, fraction = bits & 0x3ffU;
  if (exponent == 0) return (sign != 0 ? -0x1p-24F : 0x1p-24F) * static_cast<float>(fraction);
  // The exponent's bias grows from 15 to 127; that of infinities and NaNs is all ones in both.
  const std::uint32_t biased = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (biased << 23) | (fraction << 13));
}

/// The value of a bfloat16: the upper half of a float.
constexpr float from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace segnet
