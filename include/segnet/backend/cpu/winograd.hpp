// SPDX-License-Identifier: MIT
// The transforms of Winograd's minimal filtering F(M x M, 3 x 3) (A. Lavin and S. Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2016): a tile of M x M outputs costs (M + 2)^2 multiplications per pair of
// channels instead of 9 M^2. With the interpolation points 0, +-a, +-b and infinity, in one dimension,
//   data:    D(x) = x filtered by the polynomial through all points but one, for each point,
//   weights: W(w)_p = (w0 + w1 p + w2 p^2) / product over the other points q of (p - q),
//   result:  y_i = sum over p of p^i D(x)_p W(w)_p.
// The points +-3/4 and +-3/2 (Toom-Cook points after B. Barabasz et al., "Error Analysis and Improving the
// Accuracy of Winograd Convolution for Deep Neural Networks", 2020, chosen here by measuring) give F(4 x 4) a
// third of the error of the usual +-1 and +-2, and all constants of the data and of the result are exact.
//
// The gradient of the weights is F(3 x 3, M x M) with the same points and the same transform of the data: the
// gradient of the result takes the place of the weights, and the sum over all tiles is transformed back.
#pragma once

#include <segnet/backend/cpu/simd.hpp>

#include <array>

namespace segnet::detail {

/// One-dimensional transforms on packets V::packet for tiles of M = 2 or 4 results. `size` points.
template <class V, int M>
struct winograd;

template <class V>
struct winograd<V, 2> {
  using T = typename V::scalar;
  using packet = typename V::packet;
  static constexpr int size = 4;  // points 0, 1, -1, infinity

  static SEGNET_INLINE void data(const packet (&x)[4], packet (&d)[4]) {
    d[0] = x[0] - x[2];
    d[1] = x[2] + x[1];
    d[2] = x[2] - x[1];
    d[3] = x[3] - x[1];
  }
  static SEGNET_INLINE void weights(const packet (&w)[3], packet (&u)[4]) {
    const packet half = V::set(T(0.5)), even = w[0] + w[2];
    u[0] = w[0];
    u[1] = half * (even + w[1]);
    u[2] = half * (even - w[1]);
    u[3] = w[2];
  }
  static SEGNET_INLINE void result(const packet (&m)[4], packet (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
  }
  static SEGNET_INLINE void gradient(const packet (&g)[2], packet (&u)[4]) {
    const packet half = V::set(T(0.5));
    u[0] = g[0];
    u[1] = half * (g[0] + g[1]);
    u[2] = half * (g[0] - g[1]);
    u[3] = g[1];
  }
  static SEGNET_INLINE void weights_gradient(const packet (&m)[4], packet (&w)[3]) {
    const packet sum = m[1] + m[2];
    w[0] = m[0] + sum;
    w[1] = m[1] - m[2];
    w[2] = sum + m[3];
  }
};

template <class V>
struct winograd<V, 4> {
  using T = typename V::scalar;
  using packet = typename V::packet;
  static constexpr int size = 6;  // points 0, a, -a, b, -b, infinity
  static constexpr T a = T(0.75), b = T(1.5), a2 = a * a, b2 = b * b;
  // 1 / the products of the differences to the other points.
  static constexpr T origin = 1 / (a2 * b2), near = 1 / (2 * a2 * (a2 - b2)), far = 1 / (2 * b2 * (b2 - a2));

  static SEGNET_INLINE void data(const packet (&x)[6], packet (&d)[6]) {
    const packet product = V::set(a2 * b2), sum = V::set(-(a2 + b2));
    d[0] = V::madd(product, x[0], V::madd(sum, x[2], x[4]));
    pair(V::madd(V::set(-b2), x[2], x[4]), a, V::madd(V::set(-b2), x[1], x[3]), d[1], d[2]);
    pair(V::madd(V::set(-a2), x[2], x[4]), b, V::madd(V::set(-a2), x[1], x[3]), d[3], d[4]);
    d[5] = V::madd(product, x[1], V::madd(sum, x[3], x[5]));
  }
  static SEGNET_INLINE void weights(const packet (&w)[3], packet (&u)[6]) {
    u[0] = V::set(origin) * w[0];
    pair(V::set(near) * V::madd(V::set(a2), w[2], w[0]), near * a, w[1], u[1], u[2]);
    pair(V::set(far) * V::madd(V::set(b2), w[2], w[0]), far * b, w[1], u[3], u[4]);
    u[5] = w[2];
  }
  static SEGNET_INLINE void result(const packet (&m)[6], packet (&y)[4]) {
    const packet near_sum = m[1] + m[2], near_difference = m[1] - m[2];
    const packet far_sum = m[3] + m[4], far_difference = m[3] - m[4];
    y[0] = m[0] + (near_sum + far_sum);
    y[1] = V::madd(V::set(a), near_difference, V::set(b) * far_difference);
    y[2] = V::madd(V::set(a2), near_sum, V::set(b2) * far_sum);
    y[3] = V::madd(V::set(a2 * a), near_difference, V::madd(V::set(b2 * b), far_difference, m[5]));
  }
  static SEGNET_INLINE void gradient(const packet (&g)[4], packet (&u)[6]) {
    u[0] = V::set(origin) * g[0];
    pair(V::set(near) * V::madd(V::set(a2), g[2], g[0]), near * a, V::madd(V::set(a2), g[3], g[1]), u[1],
         u[2]);
    pair(V::set(far) * V::madd(V::set(b2), g[2], g[0]), far * b, V::madd(V::set(b2), g[3], g[1]), u[3], u[4]);
    u[5] = g[3];
  }
  static SEGNET_INLINE void weights_gradient(const packet (&m)[6], packet (&w)[3]) {
    const packet near_sum = m[1] + m[2], far_sum = m[3] + m[4];
    w[0] = m[0] + (near_sum + far_sum);
    w[1] = V::madd(V::set(a), m[1] - m[2], V::set(b) * (m[3] - m[4]));
    w[2] = V::madd(V::set(a2), near_sum, V::madd(V::set(b2), far_sum, m[5]));
  }

 private:
  /// even +- factor * odd: what a pair of opposite points shares.
  static SEGNET_INLINE void pair(packet even, T factor, packet odd, packet& plus, packet& minus) {
    plus = V::madd(V::set(factor), odd, even);
    minus = V::madd(V::set(-factor), odd, even);
  }
};

/// Applies a one-dimensional transform along both axes of a square: load(i, j) gives a From x From square of
/// packets, store(i, j, packet) takes the To x To square of the result.
template <class V, int From, int To, class Transform, class Load, class Store>
SEGNET_INLINE void transform_square(Transform transform, Load load, Store store) {
  using packet = typename V::packet;
  packet half[To][From];
  unroll<From>([&](auto j) SEGNET_INLINE_LAMBDA {
    packet column[From], changed[To];
    unroll<From>([&](auto i) SEGNET_INLINE_LAMBDA { column[i] = load(i, j); });
    transform(column, changed);
    unroll<To>([&](auto i) SEGNET_INLINE_LAMBDA { half[i][j] = changed[i]; });
  });
  unroll<To>([&](auto i) SEGNET_INLINE_LAMBDA {
    packet changed[To];
    transform(half[i], changed);
    unroll<To>([&](auto j) SEGNET_INLINE_LAMBDA { store(i, j, changed[j]); });
  });
}

}  // namespace segnet::detail
