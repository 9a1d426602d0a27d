// SPDX-License-Identifier: MIT
// The two 16-bit floating-point formats as types that store: arithmetic is done in float.
#pragma once

#include <segnet/config.hpp>

#include <bit>
#include <cstdint>

#if defined(__CUDA_ARCH__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace segnet {

/// IEEE 754 binary16: 11 significant bits, 6e-8 to 65504.
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  /// To the nearest, ties to even; what is too large becomes an infinity.
  SEGNET_HD explicit float16(float value);
  SEGNET_HD operator float() const;
};

/// bfloat16: the upper half of a float, 8 significant bits.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  /// To the nearest, ties to even.
  SEGNET_HD explicit bfloat16(float value);
  SEGNET_HD operator float() const;
};

SEGNET_HD inline float16::operator float() const {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(bits));
#else
  const std::uint32_t sign = (bits & 0x8000U) << 16, exponent = (bits >> 10) & 31U, fraction = bits & 0x3ffU;
  if (exponent == 0) return (sign != 0 ? -0x1p-24F : 0x1p-24F) * static_cast<float>(fraction);
  // The exponent's bias grows from 15 to 127; that of infinities and NaNs is all ones in both.
  const std::uint32_t biased = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (biased << 23) | (fraction << 13));
#endif
}

SEGNET_HD inline bfloat16::operator float() const {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
#else
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
#endif
}

SEGNET_HD inline float16::float16(float value) {
#if defined(__CUDA_ARCH__)
  bits = __half_as_ushort(__float2half_rn(value));
#else
  const auto all = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((all >> 16) & 0x8000U);
  const std::uint32_t magnitude = all & 0x7fffffffU;
  if (magnitude > 0x7f800000U) {
    bits = static_cast<std::uint16_t>(sign | 0x7fffU);
  } else if (magnitude >= 0x47800000U) {  // 65536 and more
    bits = static_cast<std::uint16_t>(sign | 0x7c00U);
  } else if (magnitude < 0x38800000U) {
    // Below 2^-14 there are multiples of 2^-24 only: adding 0.5, whose last bit is worth that, rounds so.
    const float sum = std::bit_cast<float>(magnitude) + 0.5F;
    bits = static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(sum) - 0x3f000000U));
  } else {
    // Rounding may carry into the exponent, up to infinity.
    const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
    bits = static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
  }
#endif
}

SEGNET_HD inline bfloat16::bfloat16(float value) {
#if defined(__CUDA_ARCH__)
  bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
  const auto all = std::bit_cast<std::uint32_t>(value);
  if ((all & 0x7fffffffU) > 0x7f800000U)
    bits = static_cast<std::uint16_t>((all >> 16) | 0x40U);  // a NaN stays one
  else
    bits = static_cast<std::uint16_t>((all + 0x7fffU + ((all >> 16) & 1U)) >> 16);
#endif
}

}  // namespace segnet
