// SPDX-License-Identifier: MIT
// The classes of a labelled data set, as the text file beside its pictures lists them.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/label.hpp>
#include <segnet/data/camvid.hpp>
#include <segnet/data/label_picture.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace segnet {

struct label_classes {
  /// A line of the file: what stands for which class.
  struct line {
    std::string name;
    std::optional<rgb_colour> colour;
    std::uint8_t label = ignored_label;
  };
  std::filesystem::path file;
  std::vector<std::string> names;   ///< of class 0, 1, ...
  std::vector<rgb_colour> palette;  ///< a colour for each class, for pictures of it
  /// Label images hold these colours, or the lines' numbers from 0.
  std::vector<line> lines;

  int count() const { return static_cast<int>(names.size()); }
  bool has_colours() const { return !lines.empty() && lines.front().colour.has_value(); }
};

namespace detail {

/// The parts of `text` between commas or, where it has none, between blanks.
inline std::vector<std::string> split_fields(std::string_view text) {
  const std::string_view blanks = " \t\r\n\f\v";
  const bool commas = text.find(',') != std::string_view::npos;
  std::vector<std::string> fields;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(commas ? "," : blanks), text.size());
    std::string_view field = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    field.remove_prefix(std::min(field.find_first_not_of(blanks), field.size()));
    field = field.substr(0, field.find_last_not_of(blanks) + 1);
    if (commas || !field.empty()) fields.emplace_back(field);
  }
  return fields;
}

/// A whole number, with no sign and nothing behind it.
inline std::optional<int> parse_number(std::string_view text) {
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

inline bool is_name_of_ignored(std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  static constexpr std::array<std::string_view, 6> ignored{"void",   "unlabelled", "unlabeled",
                                                           "ignore", "ignored",    "unknown"};
  return std::find(ignored.begin(), ignored.end(), name) != ignored.end();
}

/// `text` is a line of the file that is neither empty nor a comment. Throws error for a colour out of range.
inline label_classes::line parse_class_line(std::string_view text) {
  const std::vector<std::string> fields = split_fields(text);
  // "R G B name", the name of several words perhaps, or "name,R,G,B".
  for (const std::size_t first : {std::size_t{0}, std::size_t{1}}) {
    if (fields.size() < 4 || (first == 1 && fields.size() != 4)) continue;
    rgb_colour colour{};
    bool numbers = true;
    for (std::size_t c = 0; c < 3 && numbers; ++c) {
      const std::optional<int> value = parse_number(fields[first + c]);
      numbers = value.has_value();
      if (value > 255) throw error("a colour's value is " + std::to_string(*value) + "; expected 0 to 255");
      if (value) colour[c] = static_cast<std::uint8_t>(*value);
    }
    if (!numbers) continue;
    std::string name = fields[first == 1 ? 0 : 3];
    for (std::size_t i = 4; i < fields.size(); ++i) name += " " + fields[i];
    return {name, colour};
  }
  std::string name;
  for (const std::string& field : fields) name += (name.empty() ? "" : " ") + field;
  return {name, std::nullopt};
}

}  // namespace detail

/// Reads a list of classes: each line "R G B name" as in CamVid's label_colors.txt, or "name,R,G,B" as in
/// class_dict.csv (a heading is passed over), or only a name, whose label images hold numbers: the first
/// line's is 0. Lines of one name form one class, in the order of their first lines; those called void,
/// unlabelled, ignored or unknown are ignored_label. Empty lines and those that start with # count for
/// nothing. Throws file_error with the line for what it cannot use.
inline label_classes read_label_classes(const std::filesystem::path& file) {
  static constexpr char expected[] =
      "expected a class on each line: \"R G B name\", \"name,R,G,B\", or a name alone where label images "
      "hold "
      "class numbers";
  std::error_code problem;
  if (!std::filesystem::is_regular_file(file, problem))
    throw file_error(file, std::string("no such file; ") + expected);
  std::ifstream stream(file);
  if (!stream) throw file_error(file, "cannot be opened");
  label_classes found;
  found.file = file;
  std::string text;
  for (int number = 1; std::getline(stream, text); ++number) {
    if (number == 1 && text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // the mark of UTF-8
    const std::size_t start = text.find_first_not_of(" \t\r");
    if (start == std::string::npos || text[start] == '#') continue;
    const auto refuse = [&](const std::string& what) {
      throw file_error(file, "line " + std::to_string(number) + ": " + what);
    };
    if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < '\t' || c == 127; }))
      refuse(std::string("is not text; ") + expected);
    label_classes::line line;
    try {
      line = detail::parse_class_line(text);
    } catch (const error& what) {
      refuse(what.what());
    }
    const std::vector<std::string> fields = detail::split_fields(text);
    const bool heading = found.lines.empty() && fields.size() > 1 && text.find(',') != std::string::npos &&
                         std::none_of(fields.begin(), fields.end(), detail::parse_number);
    if (heading) continue;
    if (line.name.empty()) refuse(std::string("has no name; ") + expected);
    if (!found.lines.empty() && line.colour.has_value() != found.has_colours())
      refuse("\"" + line.name + "\" has " + (line.colour ? "a" : "no") +
             " colour, unlike the lines before; " + expected);
    for (const label_classes::line& other : found.lines)
      if (line.colour && other.colour == line.colour)
        refuse("\"" + line.name + "\" has the colour of \"" + other.name + "\"");
    if (found.lines.size() == 255) refuse("too many lines; at most 255 can be told apart");
    if (!detail::is_name_of_ignored(line.name)) {
      const auto place = std::find(found.names.begin(), found.names.end(), line.name);
      line.label = static_cast<std::uint8_t>(place - found.names.begin());
      if (place == found.names.end()) {
        found.names.push_back(line.name);
        found.palette.push_back(line.colour.value_or(rgb_colour{}));
      }
    }
    found.lines.push_back(line);
  }
  if (found.names.empty()) throw file_error(file, std::string("lists no classes; ") + expected);
  if (!found.has_colours()) {
    found.palette = distinct_palette(found.count());
    if (std::equal(found.names.begin(), found.names.end(), camvid_names.begin(), camvid_names.end()))
      found.palette.assign(camvid_palette.begin(), camvid_palette.end());
  }
  return found;
}

}  // namespace segnet
