// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/config.hpp>

#include <string_view>

namespace segnet {

/// A short name that can be composed at compile time: `name{} + "encoder." + 3 + ".conv1"`. What does not
/// fit into `capacity` characters is cut off, see fits().
class name {
 public:
  static constexpr int capacity = 39;

  constexpr name() = default;
  constexpr name(std::string_view text) { *this += text; }
  constexpr name(const char* text) : name(std::string_view(text)) {}

  constexpr name& operator+=(std::string_view text) {
    for (char letter : text) {
      if (size_ < capacity) text_[size_] = letter;
      ++size_;
    }
    return *this;
  }
  constexpr name& operator+=(int number) {
    if (number >= 10) *this += number / 10;
    const char digit = static_cast<char>('0' + number % 10);
    return *this += std::string_view(&digit, 1);
  }
  friend constexpr name operator+(name left, std::string_view right) { return left += right; }
  friend constexpr name operator+(name left, int right) { return left += right; }

  constexpr std::string_view view() const {
    return {text_, static_cast<std::size_t>(fits() ? size_ : capacity)};
  }
  constexpr bool fits() const { return size_ <= capacity; }
  constexpr bool empty() const { return size_ == 0; }

 private:
  char text_[capacity + 1]{};
  int size_ = 0;  // of the whole name
};

}  // namespace segnet
