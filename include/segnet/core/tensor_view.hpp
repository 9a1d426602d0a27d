// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/core/shape.hpp>

#include <cstddef>
#include <type_traits>

namespace segnet {

/// A batch of activations that somebody else owns: dense NHWC, `n` images of one shape.
template <class T>
struct tensor_view {
  T* data = nullptr;
  int n = 0;
  shape dims;

  constexpr std::size_t size() const { return static_cast<std::size_t>(n) * dims.size(); }
  /// Pixels of the whole batch: n * h * w.
  constexpr std::size_t rows() const { return static_cast<std::size_t>(n) * dims.pixels(); }
  constexpr T* begin() const { return data; }
  constexpr T* end() const { return data + size(); }
  /// The channels of one pixel.
  constexpr T* at(int image, int y, int x) const {
    return data + (((static_cast<std::ptrdiff_t>(image) * dims.h + y) * dims.w + x) * dims.c);
  }
  /// The images [first, first + count).
  constexpr tensor_view slice(int first, int count) const {
    return {data + static_cast<std::ptrdiff_t>(first) * static_cast<std::ptrdiff_t>(dims.size()), count,
            dims};
  }
  constexpr operator tensor_view<const T>() const requires(!std::is_const_v<T>) { return {data, n, dims}; }
};

}  // namespace segnet
