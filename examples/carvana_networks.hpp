// SPDX-License-Identifier: MIT
// From a network's name and size, known when a program runs, to its type, known when it is compiled. The
// CMake variables SEGNET_CARVANA_VARIANTS and SEGNET_CARVANA_SIZES say which are compiled in.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/checkpoint_header.hpp>

#include "listed.hpp"

#include <carvana_build.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace carvana {

/// The definition of the network called `carvana_build::variants[Variant]`.
template <std::size_t Variant, int Size>
constexpr auto definition() {
  constexpr std::string_view variant = carvana_build::variants[Variant];
  if constexpr (variant == "7-2-7-1")
    return std::type_identity<segnet::carvana_7_2_7_1<Size>>{};
  else if constexpr (variant == "6-2-6-1")
    return std::type_identity<segnet::carvana_6_2_6_1<Size>>{};
  else {
    static_assert(variant == "lite", "SEGNET_CARVANA_VARIANTS knows 7-2-7-1, 6-2-6-1 and lite");
    return std::type_identity<segnet::carvana_lite<Size>>{};
  }
}

[[noreturn]] inline void refuse(std::string_view variant, int size) {
  const auto as_is = [](std::string_view text) { return std::string(text); };
  const auto number = [](int value) { return std::to_string(value); };
  throw segnet::argument_error(
      "no network " + std::string(variant) + " for " + std::to_string(size) + "x" + std::to_string(size) +
      " pixels in this program: it was built with " + listed(carvana_build::variants, ", ", as_is) + " at " +
      listed(carvana_build::sizes, ", ", number) + ". Configure it with cmake -DSEGNET_CARVANA_SIZES=\"" +
      listed(carvana_build::sizes, ";", number) +
      ";SIZE\" or "
      "-DSEGNET_CARVANA_VARIANTS=\"7-2-7-1;6-2-6-1;lite\" (all that exist) and build again; "
      "sizes are divisible by 128");
}

/// Returns f(std::type_identity<Definition>{}) for the network of this name and size. Throws argument_error,
/// which lists what is compiled in.
template <std::size_t I = 0, class F>
auto with_network(std::string_view variant, int size, F&& f) {
  constexpr std::size_t sizes = carvana_build::sizes.size();
  constexpr std::size_t v = I / sizes, s = I % sizes;
  if (variant == carvana_build::variants[v] && size == carvana_build::sizes[s])
    return f(definition<v, carvana_build::sizes[s]>());
  if constexpr (I + 1 < sizes * carvana_build::variants.size())
    return with_network<I + 1>(variant, size, f);
  else
    refuse(variant, size);
}

/// "8,24,64", as checkpoints hold it.
template <class Definition>
std::string filters_of() {
  std::string text;
  for (int filters : Definition::filters) text += (text.empty() ? "" : ",") + std::to_string(filters);
  return text;
}

/// What a checkpoint of this network says of it.
template <class Definition>
segnet::checkpoint_header header_of(std::string_view variant, int size) {
  segnet::checkpoint_header header;
  header.network = "carvana";
  header.variant = variant;
  header.filters = filters_of<Definition>();
  header.height = header.width = size;
  return header;
}

}  // namespace carvana
