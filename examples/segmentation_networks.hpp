// SPDX-License-Identifier: MIT
// From a network's name, size and number of classes, known when a program runs, to its type, known when it is
// compiled. The CMake variables SEGNET_SEGMENTATION_NETWORKS, _SIZES, _CLASSES and _WIDTH say which are
// compiled in.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/models/deconvnet.hpp>
#include <segnet/models/fcn.hpp>
#include <segnet/models/segnet.hpp>
#include <segnet/models/unet.hpp>

#include "listed.hpp"

#include <algorithm>
#include <cstddef>
#include <segmentation_build.hpp>
#include <string>
#include <string_view>
#include <type_traits>

namespace segmentation {

using segmentation_build::size;

inline std::string to_text(size s) { return std::to_string(s.h) + "x" + std::to_string(s.w); }

/// The least height or width whose output, in a U-Net without padding, has at least `wanted` pixels: at the
/// bottom 16 input pixels are one, of which four convolutions above and four below take 60 + 124 from what
/// is left.
constexpr int unpadded_input(int wanted) { return (wanted + 124 + 15) / 16 * 16 + 60; }

/// The definition of the network called `segmentation_build::networks[Network]` for pictures of H x W pixels,
/// of which it classifies each; void where there is none for that size.
template <std::size_t Network, int H, int W, int Classes>
constexpr auto definition() {
  constexpr std::string_view name = segmentation_build::networks[Network];
  constexpr int width = segmentation_build::width;
  constexpr int fc = 4096 * width / 64;
  using namespace segnet;
  using std::type_identity;
  if constexpr (name == "segnet")
    return type_identity<segnet_vgg16<H, W, Classes, width>>{};
  else if constexpr (name == "segnet-basic")
    return type_identity<segnet_basic<H, W, Classes, width>>{};
  else if constexpr (name == "fcn-32s")
    return type_identity<fcn_32s<H, W, Classes, width, fc>>{};
  else if constexpr (name == "fcn-16s")
    return type_identity<fcn_16s<H, W, Classes, width, fc>>{};
  else if constexpr (name == "fcn-8s")
    return type_identity<fcn_8s<H, W, Classes, width, fc>>{};
  else if constexpr (name == "deconvnet")
    return type_identity<std::conditional_t<H == W, deconvnet<Classes, width, fc, H>, void>>{};
  else if constexpr (name == "unet")
    return type_identity<
        std::conditional_t<H % 16 == 0 && W % 16 == 0, unet_same<H, W, Classes, width>, void>>{};
  else if constexpr (name == "unet-valid")
    return type_identity<unet<unpadded_input(H), unpadded_input(W), Classes, width>>{};
  else {
    static_assert(name == "7-2-7-1", "SEGNET_SEGMENTATION_NETWORKS holds a name that does not exist");
    return type_identity<std::conditional_t<
        H % 128 == 0 && W % 128 == 0, carvana_classes<H, W, Classes, 8, 24, 64, 128, 256, 512, 768>, void>>{};
  }
}

/// `source` says where the number of classes is from.
[[noreturn]] inline void refuse(std::string_view network, std::string_view size, int classes,
                                std::string_view source) {
  namespace built = segmentation_build;
  const auto number = [](int value) { return std::to_string(value); };
  const auto verbatim = [](std::string_view name) { return std::string(name); };
  const auto configure = [](std::string_view variable, const std::string& values) {
    return ": configure it with cmake -DSEGNET_SEGMENTATION_" + std::string(variable) + "=\"" + values +
           "\" and build again";
  };
  using segnet::argument_error;
  if (std::ranges::find(built::networks, network) == built::networks.end())
    throw argument_error("--network: found " + std::string(network) + ", but this program was built with " +
                         listed(built::networks, ", ", verbatim));
  if (std::ranges::find(built::sizes, size, to_text) == built::sizes.end())
    throw argument_error("--size: found " + std::string(size) + ", but this program was built for " +
                         listed(built::sizes, ", ", to_text) + " (height x width)" +
                         configure("SIZES", listed(built::sizes, ";", to_text) + ";HEIGHTxWIDTH"));
  if (std::ranges::find(built::classes, classes) == built::classes.end())
    throw argument_error(std::string(source) + ": found " + number(classes) +
                         (classes == 1 ? " class" : " classes") + ", but this program was built for " +
                         listed(built::classes, " or ", number) + " classes" +
                         configure("CLASSES", listed(built::classes, ";", number) + ";" + number(classes)));
  throw argument_error("--network: " + std::string(network) + " does not take " + std::string(size) +
                       " pixels: deconvnet wants squares, unet sides divisible by 16, 7-2-7-1 by 128");
}

/// Returns f(std::type_identity<Definition>{}, size) for the network of this name, size ("128x128", height
/// first) and number of classes, which `source` lists. Throws argument_error, which says what is compiled in.
template <std::size_t I = 0, class F>
int with_network(std::string_view network, std::string_view size, int classes, std::string_view source,
                 F&& f) {
  namespace built = segmentation_build;
  constexpr std::size_t per_network = built::sizes.size() * built::classes.size();
  if constexpr (I < built::networks.size() * per_network) {
    constexpr std::size_t n = I / per_network, c = I % built::classes.size();
    constexpr auto pixels = built::sizes[I / built::classes.size() % built::sizes.size()];
    using found = decltype(definition<n, pixels.h, pixels.w, built::classes[c]>());
    if constexpr (!std::is_void_v<typename found::type>)
      if (network == built::networks[n] && size == to_text(pixels) && classes == built::classes[c])
        return f(found{}, pixels);
    return with_network<I + 1>(network, size, classes, source, f);
  } else {
    refuse(network, size, classes, source);
  }
}

}  // namespace segmentation
