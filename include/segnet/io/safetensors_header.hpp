// SPDX-License-Identifier: MIT
// The JSON header of a safetensors file: written, and read with every doubt that a foreign file deserves.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/io/dtype.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace segnet {

/// One tensor of a file: row-major, little-endian bytes that somebody else owns. An empty shape is a scalar.
struct stored_tensor {
  std::string name;
  dtype type = dtype::f32;
  std::vector<std::size_t> shape;
  std::span<const std::byte> bytes;

  std::size_t elements() const { return bytes.size() / size_of(type); }
};

namespace detail {

/// As JSON, so that no control character of a hostile file reaches a terminal.
inline std::string json_quoted(std::string_view text) {
  using json = nlohmann::json;
  return json(std::string(text)).dump(-1, ' ', true, json::error_handler_t::replace);
}

/// The bytes that a shape needs, or nothing where they overflow.
inline std::optional<std::size_t> bytes_of(dtype type, std::span<const std::size_t> shape) {
  std::size_t bytes = size_of(type);
  for (std::size_t extent : shape) {
    if (extent != 0 && bytes > std::numeric_limits<std::size_t>::max() / extent) return std::nullopt;
    bytes *= extent;
  }
  return bytes;
}

/// Where the first tensor of a file that we write starts: at a multiple of a cache line, since a mapped file
/// is computed with in place. The format asks for 8.
inline constexpr std::size_t data_alignment = 64;

/// The header of tensors that follow one another in this order, padded with spaces so that the first starts
/// at a multiple of data_alignment, the header's length standing before it.
inline std::string safetensors_header(std::span<const stored_tensor> tensors,
                                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string_view> names{"__metadata__"};
  std::size_t begin = 0;
  for (const stored_tensor& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      throw argument_error("safetensors: the name " + json_quoted(tensor.name) +
                           " is given twice or reserved");
    if (bytes_of(tensor.type, tensor.shape) != tensor.bytes.size())
      throw argument_error("safetensors: tensor " + json_quoted(tensor.name) + " has " +
                           std::to_string(tensor.bytes.size()) + " bytes, which do not fit its shape");
    const std::size_t end = begin + tensor.bytes.size();
    header[tensor.name] = {
        {"dtype", name_of(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  try {
    std::string text = header.dump();
    constexpr std::size_t before = sizeof(std::uint64_t);
    text.resize((before + text.size() + data_alignment - 1) / data_alignment * data_alignment - before, ' ');
    return text;
  } catch (const nlohmann::json::type_error&) {
    throw argument_error("safetensors: a name or an entry of the metadata is not UTF-8");
  }
}

/// A reader of one header; each step throws file_error.
class safetensors_parser {
 public:
  using json = nlohmann::json;
  using result = std::pair<std::vector<stored_tensor>, std::map<std::string, std::string>>;

  safetensors_parser(const std::filesystem::path& path, std::span<const std::byte> file) : path_(path) {
    std::uint64_t length = 0;
    if (file.size() < sizeof length)
      fail("not a safetensors file: " + std::to_string(file.size()) + " bytes, expected at least 8");
    std::memcpy(&length, file.data(), sizeof length);
    const std::size_t rest = file.size() - sizeof length;
    if (length > rest)
      fail("not a safetensors file, or cut short: the header should have " + std::to_string(length) +
           " bytes, " + std::to_string(rest) + " follow");
    if (length > longest_header)
      fail("the header has " + std::to_string(length) + " bytes, expected at most " +
           std::to_string(longest_header));
    header_ = {reinterpret_cast<const char*>(file.data()) + sizeof length, static_cast<std::size_t>(length)};
    data_ = file.subspan(sizeof length + header_.size());
  }

  result parse() const {
    result all;
    const json header = parse_json();
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__")
        all.second = metadata(entry);
      else
        all.first.push_back(tensor(name, entry));
    }
    check_layout(all.first);
    return all;
  }

 private:
  /// That of the format's reference implementation.
  static constexpr std::size_t longest_header = 100'000'000;

  json parse_json() const {
    if (!header_.starts_with('{')) fail("not a safetensors file: the header does not start with '{'");
    // JSON leaves open what a repeated key means, and readers differ: a file must not look harmless to one
    // and be read otherwise by another.
    std::vector<std::set<std::string>> seen;
    const auto unique_keys = [&](int, json::parse_event_t event, json& parsed) {
      if (event == json::parse_event_t::object_start) seen.emplace_back();
      if (event == json::parse_event_t::object_end) seen.pop_back();
      if (event == json::parse_event_t::key && !seen.back().insert(parsed.get<std::string>()).second)
        fail("the header's key " + json_quoted(parsed.get<std::string>()) + " stands twice");
      return true;
    };
    try {
      return json::parse(header_, unique_keys);
    } catch (const json::exception& problem) {
      fail(std::string("the header is not valid JSON: ") + problem.what());
    }
  }

  std::map<std::string, std::string> metadata(const json& entry) const {
    std::map<std::string, std::string> all;
    if (!entry.is_object()) fail("__metadata__ is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail("__metadata__: " + json_quoted(key) + " is not a string");
      all[key] = value.get<std::string>();
    }
    return all;
  }

  stored_tensor tensor(const std::string& name, const json& entry) const {
    const auto refuse = [&](const std::string& problem) {
      fail("tensor " + json_quoted(name) + " " + problem);
    };
    const auto numbers = [&](const char* key) {
      const json& list = entry[key];
      if (!list.is_array() || !std::ranges::all_of(list, &json::is_number_unsigned))
        refuse(std::string("has a ") + key + " that is not a list of whole numbers");
      return list.get<std::vector<std::size_t>>();
    };
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets"))
      refuse("is not described by dtype, shape and data_offsets");

    const json& type_name = entry["dtype"];
    const auto type = type_name.is_string() ? dtype_named(type_name.get<std::string>()) : std::nullopt;
    if (!type) refuse("has the unknown dtype " + type_name.dump(-1, ' ', true));
    stored_tensor found{.name = name, .type = *type, .shape = numbers("shape"), .bytes = {}};

    const auto offsets = numbers("data_offsets");
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_.size())
      refuse("has the data_offsets " + entry["data_offsets"].dump() + ", expected a range within [0, " +
             std::to_string(data_.size()) + "]: the file is cut short or damaged");
    found.bytes = data_.subspan(offsets[0], offsets[1] - offsets[0]);
    const auto expected = bytes_of(*type, found.shape);
    if (expected != found.bytes.size())
      refuse("has " + std::to_string(found.bytes.size()) + " bytes, but " + std::string(name_of(*type)) +
             " " + entry["shape"].dump() + " needs " +
             (expected ? std::to_string(*expected) : "more than fit in memory"));
    return found;
  }

  /// The tensors' bytes must follow one another and fill the file: no byte is shared, none hidden.
  void check_layout(std::vector<stored_tensor>& tensors) const {
    const auto begin = [&](const stored_tensor& t) {
      return static_cast<std::size_t>(t.bytes.data() - data_.data());
    };
    std::ranges::sort(tensors, {}, [&](const stored_tensor& t) {
      return std::tuple(begin(t), t.bytes.size(), std::string_view(t.name));
    });
    std::size_t end = 0;
    for (const stored_tensor& tensor : tensors) {
      if (begin(tensor) != end)
        fail("tensor " + json_quoted(tensor.name) + " starts at byte " + std::to_string(begin(tensor)) +
             ", expected " + std::to_string(end) +
             (begin(tensor) < end ? ": tensors overlap" : ": there is a hole"));
      end += tensor.bytes.size();
    }
    if (end != data_.size())
      fail("the tensors end at byte " + std::to_string(end) + ", the file at " +
           std::to_string(data_.size()));
  }

  [[noreturn]] void fail(const std::string& problem) const { throw file_error(path_, problem); }

  const std::filesystem::path& path_;
  std::string_view header_;
  std::span<const std::byte> data_;
};

inline safetensors_parser::result parse_safetensors(const std::filesystem::path& path,
                                                    std::span<const std::byte> file) {
  return safetensors_parser(path, file).parse();
}

}  // namespace detail
}  // namespace segnet
