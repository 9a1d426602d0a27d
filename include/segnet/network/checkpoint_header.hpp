// SPDX-License-Identifier: MIT
// What a checkpoint says besides its tensors: which network it holds, what was done to photographs before the
// network saw them, and on which of them it was not trained. Inference never needs to be told any of it.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/io/safetensors.hpp>

#include <array>
#include <charconv>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <system_error>

namespace segnet {

/// Strings that stand in the file's `__metadata__`.
using checkpoint_metadata = std::map<std::string, std::string>;

struct checkpoint_header {
  std::string network;        ///< "carvana"
  std::string variant;        ///< "7-2-7-1"
  std::string filters;        ///< "8,24,64,128,256,512,768"
  int height = 0, width = 0;  ///< of the network's input, pixels
  std::string colour_order = "RGB";
  std::string scale = "1/255";      ///< of 8-bit values
  std::string resize = "area";      ///< how photographs were shrunk
  double threshold = 0.5;           ///< probabilities above it are the object; [0, 1]
  double val_fraction = 0.2;        ///< of the cars that were held out, see split_by_car(); (0, 1)
  std::uint64_t split_seed = 1;     ///< chose them
  std::string validation_pictures;  ///< fingerprint() of those that were held out; empty: unknown
  std::string metrics = "{}";       ///< a JSON object of what validation found

  /// Numbers as text that from() reads back to the same bits.
  checkpoint_metadata to_metadata() const {
    return {{"format", "segnet"},
            {"format_version", "1"},
            {"segnet_version", SEGNET_VERSION},
            {"network", network},
            {"variant", variant},
            {"filters", filters},
            {"height", to_text(height)},
            {"width", to_text(width)},
            {"colour_order", colour_order},
            {"scale", scale},
            {"resize", resize},
            {"threshold", to_text(threshold)},
            {"val_fraction", to_text(val_fraction)},
            {"split_seed", to_text(split_seed)},
            {"validation_pictures", validation_pictures},
            {"metrics", metrics}};
  }

  /// Throws file_error for a file that segnet did not write, or whose preprocessing this version cannot
  /// repeat.
  static checkpoint_header from(const safetensors_file& file) {
    const reader in{file};
    in.expect("format", "segnet");
    in.expect("format_version", "1");
    checkpoint_header header;
    in.expect("colour_order", header.colour_order);
    in.expect("scale", header.scale);
    in.expect("resize", header.resize);
    header.network = in.get("network");
    header.variant = in.get("variant");
    header.filters = in.get("filters");
    header.height = in.number("height", 1, largest_side);
    header.width = in.number("width", 1, largest_side);
    header.threshold = in.number("threshold", 0.0, 1.0);
    header.val_fraction = in.number("val_fraction", 0.0, 1.0);
    header.split_seed = in.number("split_seed", std::uint64_t{0}, ~std::uint64_t{0});
    header.validation_pictures = in.get("validation_pictures");
    header.metrics = in.get("metrics");
    return header;
  }

 private:
  static constexpr int largest_side = 1 << 16;

  /// The shortest text that stands for this number alone, whatever the locale.
  template <class T>
  static std::string to_text(T value) {
    std::array<char, 64> text;
    return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
  }

  struct reader {
    const safetensors_file& file;

    const std::string& get(const char* key) const {
      const auto found = file.metadata().find(key);
      if (found == file.metadata().end())
        throw file_error(
            file.path(),
            std::string("is a safetensors file but no segnet checkpoint: its metadata lack \"") + key + "\"");
      return found->second;
    }
    void expect(const char* key, std::string_view expected) const {
      if (get(key) != expected) fail(key, "this version knows only \"" + std::string(expected) + "\"");
    }
    template <class T>
    T number(const char* key, T low, T high) const {
      const std::string& text = get(key);
      T value{};
      const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
      // Written so that a NaN fails too.
      if (problem != std::errc{} || end != text.data() + text.size() || !(value >= low && value <= high))
        fail(key, "expected a number from " + to_text(low) + " to " + to_text(high));
      return value;
    }
    [[noreturn]] void fail(const char* key, const std::string& expected) const {
      throw file_error(file.path(), std::string("metadata \"") + key + "\": found " +
                                        detail::json_quoted(get(key)) + ", " + expected);
    }
  };
};

}  // namespace segnet
