// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

/// "a, b, c": the elements as `text_of` writes them.
template <class Range, class F>
std::string listed(const Range& items, std::string_view separator, F text_of) {
  std::string text;
  for (const auto& item : items) {
    if (!text.empty()) text += separator;
    text += text_of(item);
  }
  return text;
}
