// SPDX-License-Identifier: MIT
// Graphs that no person would draw: values read many times, by one layer twice, or not at all.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/layers/graph_builder.hpp>

#include <algorithm>
#include <vector>

namespace segnet::test {

/// About `layers` layers on an 8x8 image, channels and sizes kept small.
inline auto random_graph(std::uint64_t seed, int layers) {
  random_stream random{0x67726170, seed};
  graph_builder g;
  std::vector<value> values{g.input({8, 8, 1 + random.below(3)})};
  const auto pick = [&] {  // more often a late one, so that the graph becomes deep
    const int n = static_cast<int>(values.size());
    return values[static_cast<std::size_t>(std::max(random.below(n), random.below(n)))];
  };
  /// Another value of the same size, perhaps the same one.
  const auto pick_like = [&](shape s, bool channels, auto... more) {
    std::vector<value> fitting{more...};
    for (value v : values)
      if (const shape d = g.dims(v); d.h == s.h && d.w == s.w && (!channels || d.c == s.c))
        fitting.push_back(v);
    return fitting[static_cast<std::size_t>(random.below(static_cast<int>(fitting.size())))];
  };
  while (static_cast<int>(values.size()) < layers) {
    const value x = pick();
    const shape s = g.dims(x);
    switch (random.below(11)) {
      case 0:
      case 1:
        values.push_back(g(conv2d{.channels = 1 + random.below(4), .bias = random.chance(0.5)}, x));
        break;
      case 2:
        if (s.h % 2 == 0 && s.w % 2 == 0 && random.chance(0.5)) {  // what an encoder's level ends with
          value v = g(conv2d{.channels = 1 + random.below(3)}, x);
          if (random.chance(0.5)) v = g(batch_norm{}, v);
          value skip = g(relu{}, v);
          if (random.chance(0.5)) skip = g(conv2d{.channels = 2, .kernel = 1}, skip);
          values.push_back(g(concat{}, skip, g(upsample{2}, g(max_pool{2}, v))));
          if (random.chance(0.3)) values.push_back(v);
          break;
        }
        values.push_back(g(conv2d{.channels = 2, .kernel = 1, .stride = 1 + random.below(2)}, x));
        break;
      case 3:
        values.push_back(g(batch_norm{}, x));
        break;
      case 4:
        values.push_back(random.chance(0.7) ? g(relu{}, x) : g(dropout{}, x));
        break;
      case 5:
        values.push_back(random.chance(0.7) ? g(sigmoid{}, x) : g(softmax{}, x));
        break;
      case 6:
        if (s.h % 2 == 0 && s.w % 2 == 0) values.push_back(g(max_pool{2}, x));
        break;
      case 7:
        if (s.h <= 8) values.push_back(g(upsample{2}, x));
        break;
      case 8:
        values.push_back(g(add{}, x, pick_like(s, true)));
        break;
      case 9: {  // pooled over the edge, and back
        const int window = 2 + random.below(2);
        const value from = random.chance(0.5) ? g(conv2d{.channels = s.c}, x) : x;
        const value pooled = g(max_pool{.window = window, .ceil = true}, from);
        value v = pick_like(g.dims(pooled), true, pooled);
        if (random.chance(0.5)) v = g(batch_norm{}, g(conv2d{.channels = s.c}, v));
        values.push_back(g(max_unpool{.window = window, .h = s.h, .w = s.w}, v, pooled));
        if (random.chance(0.5)) values.push_back(pooled);
        break;
      }
      default:
        if (s.c > 6) break;
        if (random.chance(0.5))
          values.push_back(g(concat{}, x, pick_like(s, false)));
        else
          values.push_back(g(concat{}, pick_like(s, false), x, pick_like(s, false)));
    }
  }
  g.output(g(conv2d{.channels = 1, .kernel = 1}, values.back()));
  return g.finish();
}

}  // namespace segnet::test
