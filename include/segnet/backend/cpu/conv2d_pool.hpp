// SPDX-License-Identifier: MIT
// 2 x 2 max-pooling beside a convolution's output, while that is still in the cache.
#pragma once

#include <segnet/backend/cpu/conv2d_gather.hpp>
#include <segnet/backend/cpu/lanes.hpp>
#include <segnet/backend/cpu/parallel.hpp>

namespace segnet::detail {

/// Pools a block of the output, `rows` x `pixels` from (row, x) on, all of them even, and its channels
/// [first, first + count); rows count over the batch. Then comes the activation, if it was left for later.
template <class T>
SEGNET_INLINE void pool_block(const gather_product<T>& p, std::ptrdiff_t row, int rows, int x, int pixels,
                              int first, std::size_t count) {
  const std::ptrdiff_t pixel = p.columns, line = std::ptrdiff_t{p.out_w} * p.columns;
  const bool activates = p.finish.activates_after_pooling();
  for (int i = 0; i < rows; i += 2)
    for (int j = 0; j < pixels; j += 2) {
      T* const out = p.out + (row + i) * line + (x + j) * pixel + first;
      T* const pooled = p.finish.pooled + (row + i) / 2 * (line / 2) + (x + j) / 2 * pixel + first;
      for_each_vector<T>(count, [&](auto l, std::size_t c) SEGNET_INLINE_LAMBDA {
        T* const from[] = {out + c, out + c + pixel, out + c + line, out + c + line + pixel};
        auto most = load<l>(from[0]);
        for (T* at : from) {
          const auto value = load<l>(at);
          most = ((value > most) | (value != value)) ? value : most;  // keeps NaN
          const auto zero = broadcast<l>(T{0});
          if (activates) store<l>(at, value < zero ? zero : value);
        }
        store<l>(pooled + c, most);
      });
    }
}

/// Two whole rows of the output.
template <class T>
void pool_two_rows(const gather_product<T>& p, std::ptrdiff_t row) {
  with_channels(static_cast<std::size_t>(p.columns),
                [&](auto channels) { pool_block(p, row, 2, 0, p.out_w, 0, channels); });
}

/// The whole output, for forms that do not pool on their way.
template <class T>
void pool_all(thread_pool& pool, const gather_product<T>& p) {
  const auto pairs = static_cast<std::size_t>(p.batch) * static_cast<std::size_t>(p.out_h) / 2;
  parallel_for(pool, pairs, 2, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t pair = begin; pair < end; ++pair)
      pool_two_rows(p, 2 * static_cast<std::ptrdiff_t>(pair));
  });
}

}  // namespace segnet::detail
