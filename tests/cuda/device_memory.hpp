// SPDX-License-Identifier: MIT
// Test data of which the card has a copy in T, and the host the same numbers in double precision.
#pragma once

#include "../backend/reference.hpp"

#include <segnet/backend/cuda/buffer.hpp>
#include <segnet/backend/cuda/stream.hpp>
#include <segnet/core/half.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace segnet::reference {

/// An array on the card. `offset` elements lie before it, so that it need not be aligned.
template <class T>
class card_array {
 public:
  explicit card_array(std::size_t size = 0, std::size_t offset = 0)
      : memory_(offset + size), size_(size), offset_(offset) {}
  explicit card_array(const std::vector<T>& values, std::size_t offset = 0)
      : card_array(values.size(), offset) {
    set(values);
  }

  T* data() { return memory_.data() + offset_; }
  const T* data() const { return memory_.data() + offset_; }
  std::size_t size() const { return size_; }
  operator T*() { return data(); }
  operator const T*() const { return data(); }

  void set(const std::vector<T>& values) { copy(data(), values.data(), cudaMemcpyHostToDevice); }
  /// Waits for everything that the card was given before.
  std::vector<T> get() const {
    gpu::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    std::vector<T> values(size_);
    copy(values.data(), data(), cudaMemcpyDeviceToHost);
    return values;
  }

 private:
  void copy(T* to, const T* from, cudaMemcpyKind kind) const {
    if (size_ > 0) gpu::check(cudaMemcpy(to, from, size_ * sizeof(T), kind), "cudaMemcpy");
  }

  gpu::device_buffer<T> memory_;
  std::size_t size_, offset_;
};

/// `bytes` of scratch memory on the card, filled with what no kernel may count on.
class card_scratch {
 public:
  explicit card_scratch(std::size_t bytes) : memory_(bytes + guard) {
    gpu::check(cudaMemset(memory_.data(), 0xff, bytes), "cudaMemset");
    gpu::check(cudaMemset(memory_.data() + bytes, mark, guard), "cudaMemset");
    gpu::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
  operator void*() { return memory_.data(); }
  /// Whether nothing was written behind the end.
  bool intact() const {
    gpu::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    std::vector<std::uint8_t> behind(guard);
    gpu::check(
        cudaMemcpy(behind.data(), memory_.data() + memory_.size() - guard, guard, cudaMemcpyDeviceToHost),
        "cudaMemcpy");
    for (std::uint8_t byte : behind)
      if (byte != mark) return false;
    return true;
  }

 private:
  static constexpr std::size_t guard = 256;
  static constexpr std::uint8_t mark = 0x5a;
  gpu::device_buffer<std::uint8_t> memory_;
};

template <class T>
std::vector<double> doubles(const std::vector<T>& values) {
  std::vector<double> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[i] = static_cast<double>(values[i]);
  return result;
}
template <class T>
std::vector<T> rounded(const std::vector<double>& values) {
  std::vector<T> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[i] = static_cast<T>(static_cast<float>(values[i]));
  return result;
}

/// Normally distributed numbers that T can represent.
template <class T>
struct operand {
  std::vector<double> host;
  card_array<T> card;

  operand(std::size_t size, std::uint64_t key, std::size_t offset = 0)
      : operand(random_values<double>(size, key), offset) {}
  explicit operand(const std::vector<double>& values, std::size_t offset = 0)
      : host(doubles(rounded<T>(values))), card(rounded<T>(values), offset) {}
};

/// What rounding to T costs, in parts of the largest value.
template <class T>
constexpr double rounding() {
  if (std::is_same_v<T, bfloat16>) return 1.0 / 256;
  if (std::is_same_v<T, float16>) return 1.0 / 2048;
  return 1e-6;
}

}  // namespace segnet::reference
