// SPDX-License-Identifier: MIT
// Scratch memory for one primitive, filled with NaN: nothing may count on what it finds there.
#pragma once

#include <segnet/core/primitives.hpp>
#include <segnet/memory/aligned_buffer.hpp>

#include <algorithm>
#include <limits>

namespace segnet::reference {

template <class T>
class workspace {
 public:
  workspace(workspace_size size, int threads)
      : shared_(size.shared + guard),
        threads_(size.per_thread * static_cast<std::size_t>(threads) + guard),
        size_(size) {
    for (auto* part : {&shared_, &threads_})
      std::fill_n(part->data(), part->size(), std::numeric_limits<T>::quiet_NaN());
    for (auto* part : {&shared_, &threads_}) std::fill_n(part->data() + part->size() - guard, guard, mark);
  }
  scratch<T> get() { return {shared_.data(), threads_.data(), size_.per_thread}; }
  /// Whether nothing was written behind the end.
  bool intact() const {
    for (const auto* part : {&shared_, &threads_})
      for (std::size_t i = part->size() - guard; i < part->size(); ++i)
        if (part->data()[i] != mark) return false;
    return true;
  }

 private:
  static constexpr std::size_t guard = 64;
  static constexpr T mark = 12345;
  aligned_buffer<T> shared_, threads_;
  workspace_size size_;
};

}  // namespace segnet::reference
