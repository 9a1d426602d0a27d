// SPDX-License-Identifier: MIT
// The eleven classes that segmentation papers use of CamVid (Brostow, Fauqueur, Cipolla, "Semantic object
// classes in video", 2009), in SegNet's order, and CamVid's colours for them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace segnet {

/// Red, green, blue.
using rgb_colour = std::array<std::uint8_t, 3>;

enum class camvid : std::uint8_t {
  sky,
  building,
  pole,
  road,
  pavement,
  tree,  ///< all vegetation, lawns included
  sign,
  fence,
  car,
  pedestrian,
  bicyclist
};

inline constexpr int camvid_classes = 11;

inline constexpr std::array<std::string_view, camvid_classes> camvid_names{
    "Sky",        "Building", "Pole", "Road",       "Pavement", "Tree",
    "SignSymbol", "Fence",    "Car",  "Pedestrian", "Bicyclist"};

inline constexpr std::array<rgb_colour, camvid_classes> camvid_palette{{{128, 128, 128},
                                                                        {128, 0, 0},
                                                                        {192, 192, 128},
                                                                        {128, 64, 128},
                                                                        {0, 0, 192},
                                                                        {128, 128, 0},
                                                                        {192, 128, 128},
                                                                        {64, 64, 128},
                                                                        {64, 0, 128},
                                                                        {64, 64, 0},
                                                                        {0, 128, 192}}};

}  // namespace segnet
