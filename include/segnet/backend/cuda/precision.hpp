// SPDX-License-Identifier: MIT
// In which formats the card stores activations and multiplies.
#pragma once

#include <segnet/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace segnet {

/// - fp32: stored and multiplied in single precision;
/// - tf32: stored in single precision, products of factors that are rounded to 11 significant bits (TF32), by
///   the tensor cores;
/// - bf16, fp16: activations and their gradients stored in 16 bits (core/half.hpp), and multiplied as they
/// are.
///
/// Sums, parameters, statistics and losses are single precision in all of them.
enum class precision : unsigned char { fp32, tf32, bf16, fp16 };

inline constexpr std::array<std::string_view, 4> precision_names{"fp32", "tf32", "bf16", "fp16"};

constexpr std::string_view name_of(precision p) { return precision_names[static_cast<std::size_t>(p)]; }

/// Bytes of one stored activation.
constexpr int activation_bytes(precision p) { return p == precision::fp32 || p == precision::tf32 ? 4 : 2; }

/// The precision of this name; throws argument_error, which lists the known ones.
inline precision parse_precision(std::string_view name) {
  const auto found = std::ranges::find(precision_names, name);
  if (found != precision_names.end()) return static_cast<precision>(found - precision_names.begin());
  std::string known;
  for (std::string_view each : precision_names) known += (known.empty() ? "" : ", ") + std::string(each);
  throw argument_error("unknown precision \"" + std::string(name) + "\", expected one of " + known);
}

}  // namespace segnet
