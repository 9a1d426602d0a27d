// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/config.hpp>

#include <cstddef>

namespace segnet {

/// A vector with its storage inside: what compile-time passes compute with and what the program keeps as a
/// constant. push_back beyond the capacity is a compile-time error in a constant expression; callers that
/// run at run time check full() first.
template <class T, int Capacity>
class fixed_vector {
 public:
  constexpr void push_back(const T& item) { items_[count_++] = item; }
  template <int N>
  constexpr void assign(const fixed_vector<T, N>& other) {
    clear();
    for (const T& item : other) push_back(item);
  }
  constexpr void pop_back() { --count_; }
  constexpr void clear() { count_ = 0; }
  constexpr bool full() const { return count_ == Capacity; }
  constexpr bool empty() const { return count_ == 0; }
  constexpr int size() const { return count_; }
  constexpr T& operator[](int i) { return items_[i]; }
  constexpr const T& operator[](int i) const { return items_[i]; }
  constexpr T* begin() { return items_; }
  constexpr T* end() { return items_ + count_; }
  constexpr const T* begin() const { return items_; }
  constexpr const T* end() const { return items_ + count_; }

 private:
  T items_[Capacity > 0 ? Capacity : 1]{};  // there are no arrays of nothing
  int count_ = 0;
};

}  // namespace segnet
