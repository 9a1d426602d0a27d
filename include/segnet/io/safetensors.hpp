// SPDX-License-Identifier: MIT
// Named tensors in one file, in the safetensors format (https://huggingface.co/docs/safetensors): the
// header's length (8 bytes, little-endian), a JSON header, the tensors' bytes. Nothing in such a file can run
// code.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/io/dtype.hpp>
#include <segnet/io/file.hpp>
#include <segnet/io/mapped_file.hpp>
#include <segnet/io/safetensors_header.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace segnet {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

/// Writes tensors, whose names are unique, and a map of strings. Tensors of wider elements come first, so
/// that all are aligned, and among equals those that fill whole cache lines, so that large ones start on one;
/// otherwise in the order given. `path` is replaced at once or not at all. Throws
/// file_error; argument_error where a tensor's bytes do not fit its shape or its name is taken.
inline void write_safetensors(const std::filesystem::path& path, std::vector<stored_tensor> tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  std::ranges::stable_sort(tensors, std::greater{}, [](const stored_tensor& t) {
    return std::pair(size_of(t.type), t.bytes.size() % detail::data_alignment == 0);
  });
  const std::string header = detail::safetensors_header(tensors, metadata);
  const std::uint64_t length = header.size();
  atomic_write(path, [&](file_sink& file) {
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(header);
    for (const stored_tensor& tensor : tensors) file.write(tensor.bytes);
  });
}

/// An open file; copies share its bytes. Everything that the header says is checked when it is opened, so
/// that what follows cannot leave the file; throws file_error, which names the tensor, what was found and
/// what was expected.
class safetensors_file {
 public:
  explicit safetensors_file(const std::filesystem::path& path) : file_(path) {
    std::tie(tensors_, metadata_) = detail::parse_safetensors(path, file_.bytes());
  }

  const std::filesystem::path& path() const { return file_.path(); }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// All tensors in the order of their bytes; they live as long as this object.
  std::span<const stored_tensor> tensors() const { return tensors_; }

  /// Keeps the tensors' bytes where they are, also when this object is gone.
  std::shared_ptr<const void> owner() const { return file_.owner(); }

  /// The tensor of this name, or null.
  const stored_tensor* find(std::string_view name) const {
    const auto found = std::ranges::find(tensors_, name, &stored_tensor::name);
    return found != tensors_.end() ? &*found : nullptr;
  }
  const stored_tensor& at(std::string_view name) const {
    const stored_tensor* tensor = find(name);
    if (tensor == nullptr) fail(name, "is not in the file");
    return *tensor;
  }

  /// The elements in place, in row-major order; only of a tensor that is stored as exactly this type.
  std::span<const float> f32(std::string_view name) const { return view<float>(name, dtype::f32); }
  std::span<const std::int64_t> i64(std::string_view name) const {
    return view<std::int64_t>(name, dtype::i64);
  }
  std::span<const std::uint8_t> u8(std::string_view name) const {
    return view<std::uint8_t>(name, dtype::u8);
  }

  /// Copies a tensor of F32, F16, BF16 or F64 to `out`, which has as many elements; F64 is rounded.
  void read(std::string_view name, std::span<float> out) const {
    const stored_tensor& tensor = at(name);
    const std::byte* from = tensor.bytes.data();
    if (tensor.elements() != out.size())
      fail(name,
           "has " + std::to_string(tensor.elements()) + " elements, expected " + std::to_string(out.size()));
    switch (tensor.type) {
      case dtype::f32:
        return convert<float>(from, out, [](float x) { return x; });
      case dtype::f64:
        return convert<double>(from, out, [](double x) { return static_cast<float>(x); });
      case dtype::f16:
        return convert<std::uint16_t>(from, out, from_half);
      case dtype::bf16:
        return convert<std::uint16_t>(from, out, from_bfloat16);
      default:
        fail(name, "is of type " + std::string(name_of(tensor.type)) + ", expected F32, F16, BF16 or F64");
    }
  }

 private:
  /// Bytes of any alignment.
  template <class Stored, class Convert>
  static void convert(const std::byte* from, std::span<float> out, Convert to_float) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      Stored stored;
      std::memcpy(&stored, from + i * sizeof(Stored), sizeof(Stored));
      out[i] = to_float(stored);
    }
  }

  template <class T>
  std::span<const T> view(std::string_view name, dtype type) const {
    const stored_tensor& tensor = at(name);
    if (tensor.type != type)
      fail(name,
           "is of type " + std::string(name_of(tensor.type)) + ", expected " + std::string(name_of(type)));
    // The format allows any alignment; ours and Python's writer align.
    if (reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignof(T) != 0)
      fail(name, "is not aligned to its elements of " + std::to_string(sizeof(T)) + " bytes: read() it");
    return {reinterpret_cast<const T*>(tensor.bytes.data()), tensor.elements()};
  }

  [[noreturn]] void fail(std::string_view name, const std::string& problem) const {
    throw file_error(path(), "tensor " + detail::json_quoted(name) + " " + problem);
  }

  mapped_file file_;
  std::vector<stored_tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace segnet
