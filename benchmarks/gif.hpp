// SPDX-License-Identifier: MIT
// The data pipeline is measured on GIF masks, as Kaggle's are; the library reads them but writes none.
#pragma once

#include <segnet/data/image.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace segnet_benchmark {

/// The LZW codes of a GIF (its specification's appendix F) over the alphabet {0, 1}, packed into bytes.
class two_colour_lzw {
 public:
  explicit two_colour_lzw(const std::vector<std::uint8_t>& mask) {
    restart();
    int prefix = mask[0] > 0;
    for (std::size_t i = 1; i < mask.size(); ++i) {
      const std::size_t colour = mask[i] > 0;
      int& longer = longer_[static_cast<std::size_t>(prefix)][colour];
      if (longer != none) {
        prefix = longer;
        continue;
      }
      put(prefix);
      if (codes_ == most_codes) {
        restart();
      } else {
        longer = codes_++;
        if (longer == 1 << width_) ++width_;
      }
      prefix = static_cast<int>(colour);
    }
    put(prefix);
    put(end);
    if (used_ > 0) bytes.push_back(static_cast<std::uint8_t>(bits_));
  }

  static constexpr std::uint8_t minimum_width = 2;
  std::vector<std::uint8_t> bytes;

 private:
  static constexpr int clear = 1 << minimum_width, end = clear + 1, most_codes = 4096, none = -1;

  void restart() {
    put(clear);
    for (auto& row : longer_) row.fill(none);
    codes_ = end + 1;
    width_ = minimum_width + 1;
  }
  void put(int code) {
    bits_ |= static_cast<std::uint32_t>(code) << used_;
    for (used_ += width_; used_ >= 8; used_ -= 8, bits_ >>= 8)
      bytes.push_back(static_cast<std::uint8_t>(bits_ & 0xff));
  }

  std::array<std::array<int, 2>, most_codes> longer_{};  // the code of a known sequence and one more pixel
  int codes_ = 0, width_ = minimum_width + 1;
  std::uint32_t bits_ = 0;
  int used_ = 0;
};

/// A mask of 0/255 as the bytes of a GIF.
inline std::vector<std::uint8_t> encode_gif(const segnet::image& mask) {
  std::vector<std::uint8_t> gif{'G', 'I', 'F', '8', '9', 'a'};
  const auto append = [&gif](std::initializer_list<int> values) {
    for (int value : values) gif.push_back(static_cast<std::uint8_t>(value));
  };
  const int w = mask.width, h = mask.height;
  append({w & 0xff, w >> 8, h & 0xff, h >> 8, 0x80, 0, 0});           // a table of two colours
  append({0, 0, 0, 255, 255, 255});                                   // black and white
  append({0x2c, 0, 0, 0, 0, w & 0xff, w >> 8, h & 0xff, h >> 8, 0});  // one picture
  const two_colour_lzw codes(mask.data);
  append({codes.minimum_width});
  for (std::size_t i = 0; i < codes.bytes.size(); i += 255) {
    const std::size_t length = std::min<std::size_t>(255, codes.bytes.size() - i);
    append({static_cast<int>(length)});
    const auto first = codes.bytes.begin() + static_cast<std::ptrdiff_t>(i);
    gif.insert(gif.end(), first, first + static_cast<std::ptrdiff_t>(length));
  }
  append({0, 0x3b});
  return gif;
}

}  // namespace segnet_benchmark
