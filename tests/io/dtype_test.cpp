// SPDX-License-Identifier: MIT
#include <segnet/io/dtype.hpp>

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace segnet;

TEST_CASE("dtypes have the names and sizes of the safetensors format", "[io]") {
  CHECK(name_of(dtype::boolean) == "BOOL");
  CHECK(name_of(dtype::bf16) == "BF16");
  CHECK(name_of(dtype::f64) == "F64");
  CHECK(size_of(dtype::u8) == 1);
  CHECK(size_of(dtype::f16) == 2);
  CHECK(size_of(dtype::f32) == 4);
  CHECK(size_of(dtype::i64) == 8);
  CHECK(dtype_named("F32") == dtype::f32);
  CHECK_FALSE(dtype_named("F8_E4M3"));
  CHECK_FALSE(dtype_named("f32"));
}

TEST_CASE("every half converts to its value", "[io]") {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31), fraction = static_cast<int>(bits & 0x3ff);
    double value = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) value = fraction == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
    if ((bits & 0x8000) != 0) value = -value;
    const float found = from_half(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      REQUIRE(std::isnan(found));
    } else {
      REQUIRE(static_cast<double>(found) == value);
      REQUIRE(std::signbit(found) == std::signbit(value));
    }
  }
}

TEST_CASE("bfloat16 is the upper half of a float", "[io]") {
  CHECK(from_bfloat16(0x3f80) == 1.0F);
  CHECK(from_bfloat16(0xc049) == -3.140625F);
  CHECK(from_bfloat16(0x0001) == std::bit_cast<float>(0x00010000U));
  CHECK(std::isinf(from_bfloat16(0x7f80)));
}
