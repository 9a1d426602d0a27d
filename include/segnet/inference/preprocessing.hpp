// SPDX-License-Identifier: MIT
// What was done to photographs before the network saw them. It stands in every checkpoint, so that inference
// never needs to be told how training was done.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/io/safetensors.hpp>

#include <charconv>
#include <filesystem>
#include <map>
#include <string>

namespace segnet {

/// Which network a checkpoint holds and how its input was made.
struct checkpoint_header {
  std::string network;         ///< "carvana"
  std::string variant;         ///< "7-2-7-1"
  std::string filters;         ///< "8,24,64,128,256,512,768"
  int height = 0, width = 0;   ///< of the network's input, pixels
  std::string colour_order = "RGB";
  std::string scale = "1/255";  ///< of 8-bit values
  std::string resize = "area";  ///< how photographs were shrunk
  double threshold = 0.5;       ///< probabilities above it are the object
  std::string metrics = "{}";   ///< a JSON object of what validation found

  std::map<std::string, std::string> to_metadata() const {
    return {{"format", "segnet"},
            {"format_version", "1"},
            {"segnet_version", SEGNET_VERSION},
            {"network", network},
            {"variant", variant},
            {"filters", filters},
            {"height", std::to_string(height)},
            {"width", std::to_string(width)},
            {"colour_order", colour_order},
            {"scale", scale},
            {"resize", resize},
            {"threshold", nlohmann::json(threshold).dump()},
            {"metrics", metrics}};
  }

  /// Throws file_error for a file that segnet did not write, or whose preprocessing this version cannot repeat.
  static checkpoint_header from(const safetensors_file& file) {
    const auto get = [&](const char* key) {
      const auto found = file.metadata().find(key);
      if (found == file.metadata().end())
        throw file_error(file.path(), std::string("is a safetensors file but no segnet checkpoint: its metadata lack \"") +
                                          key + "\"");
      return found->second;
    };
    const auto number = [&](const char* key, auto value) {
      const std::string text = get(key);
      const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (problem != std::errc{} || end != text.data() + text.size())
        throw file_error(file.path(), std::string("metadata \"") + key + "\": found " + detail::json_quoted(text) +
                                          ", expected a number");
      return value;
    };
    const auto expect = [&](const char* key, const std::string& expected) {
      if (get(key) != expected)
        throw file_error(file.path(), std::string("metadata \"") + key + "\": found " + detail::json_quoted(get(key)) +
                                          ", this version knows only \"" + expected + "\"");
    };
    expect("format", "segnet");
    expect("format_version", "1");
    checkpoint_header header;
    expect("colour_order", header.colour_order);
    expect("scale", header.scale);
    expect("resize", header.resize);
    header.network = get("network");
    header.variant = get("variant");
    header.filters = get("filters");
    header.height = number("height", 0);
    header.width = number("width", 0);
    header.threshold = number("threshold", 0.0);
    header.metrics = get("metrics");
    return header;
  }
};

}  // namespace segnet
