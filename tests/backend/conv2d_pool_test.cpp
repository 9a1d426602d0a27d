// SPDX-License-Identifier: MIT
// The 2 x 2 max-pooling that a convolution does beside its output, in every form.
#include <segnet/backend/cpu/cpu.hpp>

#include "kernels.hpp"
#include "reference.hpp"
#include "workspace.hpp"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

using namespace segnet;
using namespace segnet::reference;

TEMPLATE_TEST_CASE("cpu: a convolution pools what it writes", "[backend]", float, double) {
  using T = TestType;
  struct sizes {
    int h, w, in, out, kernel;
  };
  // Winograd's form with whole and partial panels and tiles, half a packet of columns, rows, direct, 1 x 1.
  for (const auto [h, w, in, out, kernel] : {sizes{16, 14, 32, 64, 3},
                                             {10, 6, 70, 40, 3},
                                             {12, 8, 24, 88, 3},
                                             {16, 16, 32, 8, 3},
                                             {38, 26, 8, 8, 3},
                                             {6, 34, 3, 5, 3},
                                             {4, 4, 48, 33, 3},
                                             {2, 2, 64, 64, 3},
                                             {8, 6, 9, 5, 1}})
    for (const bool first : {false, true})
      for (const auto act : {activation::none, activation::relu})
        for (const int threads : {1, 2}) {
          INFO(h << "x" << w << ", " << in << " -> " << out << (first ? ", pooling first" : "") << ", "
                 << threads);
          const conv2d_geometry g = convolution(h, w, in, out, kernel, 1);
          const int batch = 3;
          const auto elements = static_cast<std::size_t>(batch * h * w * out);
          const auto x = random_values<T>(static_cast<std::size_t>(batch * h * w * in), 1);
          const auto weight = random_values<T>(g.weights(), 2),
                     scale = random_values<T>(static_cast<std::size_t>(out), 3),
                     bias = random_values<T>(static_cast<std::size_t>(out), 4);
          const conv2d_source<T> source{x.data(), in, 1};
          basic_cpu<T> backend(threads);
          workspace<T> memory(basic_cpu<T>::conv2d_forward_workspace(g), threads);
          const auto run = [&](const conv2d_epilogue<T>& finish) {
            std::vector<T> y(elements, T{77});
            backend.conv2d_forward(g, batch, {&source, 1}, weight.data(), finish, y.data(), memory.get());
            return y;
          };
          std::vector<T> pooled(elements / 4, T{77});
          const auto y = run({scale.data(), bias.data(), act, pooled.data(), first});
          REQUIRE(memory.intact());
          CHECK(y == run({scale.data(), bias.data(), act}));

          const auto read = run({scale.data(), bias.data(), first ? activation::none : act});
          std::vector<T> expected(elements / 4);
          backend.max_pool_forward({h, w, out, h / 2, w / 2, 2, 2}, batch, read.data(), expected.data(),
                                   nullptr);
          CHECK(pooled == expected);
        }
}

TEMPLATE_TEST_CASE("cpu: pooling keeps a NaN, wherever it stands in the window", "[backend]", float, double) {
  using T = TestType;
  const conv2d_geometry g = convolution(2, 2, 1, 8, 1, 1);
  const std::vector<T> weight(8, T{1});
  basic_cpu<T> backend(1);
  workspace<T> memory(basic_cpu<T>::conv2d_forward_workspace(g), 1);
  for (std::size_t place = 0; place < 4; ++place) {
    std::vector<T> x{1, 2, 3, 4}, y(32), pooled(8), alone(8);
    std::vector<std::uint8_t> index(8);
    x[place] = std::numeric_limits<T>::quiet_NaN();
    const conv2d_source<T> source{x.data(), 1, 1};
    backend.conv2d_forward(g, 1, {&source, 1}, weight.data(), {.pooled = pooled.data()}, y.data(),
                           memory.get());
    backend.max_pool_forward({2, 2, 8, 1, 1, 2, 2}, 1, y.data(), alone.data(), index.data());
    for (std::size_t c = 0; c < 8; ++c) {
      CHECK(std::isnan(pooled[c]));
      CHECK(std::isnan(alone[c]));
      CHECK(index[c] == place);
    }
  }
}
