// SPDX-License-Identifier: MIT
// From the output of a network that tells classes apart to a class for each pixel.
#pragma once

#include <segnet/core/shape.hpp>
#include <segnet/core/tensor_view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace segnet {

/// A network that maps an RGB image to a value for each class and pixel: probabilities or logits. The output
/// may be smaller than the input; it then shows the input's centre.
template <class N>
concept class_network = N::input_shape.c == 3 && N::output_shape.c >= 2 && N::output_shape.c <= 255 &&
                        N::output_shape.h <= N::input_shape.h&& N::output_shape.w <= N::input_shape.w;

/// The class of the highest value (the first of equals) for each pixel; `to` has one place for each. On the
/// threads of a backend that has some.
template <class Backend>
void highest_classes([[maybe_unused]] Backend& backend,
                     tensor_view<const typename Backend::parameter_scalar> values,
                     std::span<std::uint8_t> to) {
  const auto classes = static_cast<std::size_t>(values.dims.c);
  const auto part = [=](std::size_t begin, std::size_t end, int) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto* const first = values.data + i * classes;
      to[i] = static_cast<std::uint8_t>(std::max_element(first, first + classes) - first);
    }
  };
  if constexpr (Backend::on_device)
    part(0, values.rows(), 0);
  else
    backend.parallel_for(values.rows(), 4096, part);
}

/// Of images of `size` (channels do not matter) with one value per pixel the centre of size `part`; where
/// half a pixel is over, one more is cut off below and on the right.
inline void copy_centre(std::span<const std::uint8_t> images, shape size, std::span<std::uint8_t> to,
                        shape part) {
  const auto top = static_cast<std::size_t>(size.h - part.h) / 2,
             left = static_cast<std::size_t>(size.w - part.w) / 2;
  const auto height = static_cast<std::size_t>(part.h), width = static_cast<std::size_t>(part.w);
  const auto stride = static_cast<std::size_t>(size.w);
  for (std::size_t row = 0; row * width < to.size(); ++row) {
    const std::size_t image = row / height, y = top + row % height;
    const auto from = images.begin() + static_cast<std::ptrdiff_t>(image * size.pixels() + y * stride + left);
    std::copy_n(from, width, to.begin() + static_cast<std::ptrdiff_t>(row * width));
  }
}

}  // namespace segnet
