// SPDX-License-Identifier: MIT
// Element by element: activations, sums, casts and dropout.
#pragma once

#include <segnet/backend/cuda/kernels/columns.cuh>
#include <segnet/core/random_key.hpp>

#include <algorithm>
#include <cmath>

namespace segnet::gpu::kernels {

namespace detail {

/// y = (or +=) f(a).
template <class From, class To, class F>
struct map_one {
  const From* a;
  To* y;
  bool accumulate;
  F f;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>) const {
    floats<N> value = read<N>(a + at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) value.lane[i] = f(value.lane[i]);
    write(y + at, value, accumulate);
  }
};
/// y = (or +=) f(a, b).
template <class T, class F>
struct map_two {
  const T *a, *b;
  T* y;
  bool accumulate;
  F f;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>) const {
    floats<N> value = read<N>(a + at);
    const floats<N> second = read<N>(b + at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) value.lane[i] = f(value.lane[i], second.lane[i]);
    write(y + at, value, accumulate);
  }
};

template <class From, class To, class F>
void map(cudaStream_t stream, std::size_t size, const From* a, To* y, bool accumulate, F f) {
  using smaller_type = std::conditional_t<sizeof(From) < sizeof(To), From, To>;
  for_each_pack<smaller_type>(stream, size, fits_packs<smaller_type>({a, y}),
                              map_one<From, To, F>{a, y, accumulate, f});
}
template <class T, class F>
void map(cudaStream_t stream, std::size_t size, const T* a, const T* b, T* y, bool accumulate, F f) {
  for_each_pack<T>(stream, size, fits_packs<T>({a, b, y}), map_two<T, F>{a, b, y, accumulate, f});
}

struct relu_of {
  SEGNET_HD float operator()(float x) const { return x < 0 ? 0 : x; }  // keeps NaN
};
struct relu_slope {
  SEGNET_HD float operator()(float y, float dy) const { return y > 0 ? dy : 0; }
};
struct sigmoid_of {
  SEGNET_HD float operator()(float x) const { return 1 / (1 + std::exp(-x)); }
};
struct sigmoid_slope {
  SEGNET_HD float operator()(float y, float dy) const { return dy * y * (1 - y); }
};
struct sum_of_two {
  SEGNET_HD float operator()(float a, float b) const { return a + b; }
};
struct same {
  SEGNET_HD float operator()(float x) const { return x; }
};

template <class T>
struct fill_pack {
  float value;
  T* y;

  template <int N>
  SEGNET_HD void operator()(std::size_t at, width<N>) const {
    floats<N> all;
    for (int i = 0; i < N; ++i) all.lane[i] = value;
    store(y + at, narrow<T>(all));
  }
};

/// As columns of one channel, so that a thread computes the key once.
template <class T>
struct dropout_body {
  const step_values* step;
  std::uint64_t layer;
  std::uint32_t dropped;  // of 2^31
  float scale;
  const T* x;
  T* y;
  bool accumulate;

  template <int N>
  SEGNET_HD std::uint64_t prepare(const lane_channels<N>&) const {
    return random_key{step->seed, layer}();
  }
  template <int N>
  SEGNET_HD pack<T, N> fetch(std::size_t at, width<N>) const {
    return load<N>(x + at);
  }
  template <int N>
  SEGNET_HD void use(std::uint64_t key, const pack<T, N>& fetched, std::size_t at, no_sums&, int) const {
    floats<N> value = widen(fetched);
    if constexpr (N == 1) {
      const std::uint64_t bits = pair(key, at & ~std::size_t{1});
      value.lane[0] = kept(value.lane[0], (at & 1) == 0 ? first(bits) : second(bits));
    } else {
      SEGNET_UNROLL
      for (int i = 0; i < N; i += 2) {
        const std::uint64_t bits = pair(key, at + static_cast<std::size_t>(i));
        value.lane[i] = kept(value.lane[i], first(bits));
        value.lane[i + 1] = kept(value.lane[i + 1], second(bits));
      }
    }
    write(y + at, value, accumulate);
  }

 private:
  // 64 bits make two numbers of 31, for two neighbours.
  static SEGNET_HD std::uint64_t pair(std::uint64_t key, std::size_t even) {
    return mix64(key + even * 0x9e3779b97f4a7c15ULL);
  }
  static SEGNET_HD std::uint32_t first(std::uint64_t bits) { return static_cast<std::uint32_t>(bits >> 33); }
  static SEGNET_HD std::uint32_t second(std::uint64_t bits) { return static_cast<std::uint32_t>(bits) >> 1; }
  SEGNET_HD float kept(float value, std::uint32_t random) const {
    return random >= dropped ? value * scale : 0;
  }
};

}  // namespace detail

template <class T>
void relu_forward(cudaStream_t stream, std::size_t size, const T* x, T* y) {
  detail::map(stream, size, x, y, false, detail::relu_of{});
}
template <class T>
void relu_backward(cudaStream_t stream, std::size_t size, const T* y, const T* dy, T* dx, bool accumulate) {
  detail::map(stream, size, y, dy, dx, accumulate, detail::relu_slope{});
}
template <class T>
void sigmoid_forward(cudaStream_t stream, std::size_t size, const T* x, T* y) {
  detail::map(stream, size, x, y, false, detail::sigmoid_of{});
}
template <class T>
void sigmoid_backward(cudaStream_t stream, std::size_t size, const T* y, const T* dy, T* dx,
                      bool accumulate) {
  detail::map(stream, size, y, dy, dx, accumulate, detail::sigmoid_slope{});
}

template <class T>
void add(cudaStream_t stream, std::size_t size, const T* a, const T* b, T* y) {
  detail::map(stream, size, a, b, y, false, detail::sum_of_two{});
}
template <class T>
void fill(cudaStream_t stream, std::size_t size, float value, T* y) {
  detail::for_each_pack<T>(stream, size, detail::fits_packs<T>({y}), detail::fill_pack<T>{value, y});
}

template <class T>
void cast(cudaStream_t stream, std::size_t size, const float* from, T* to) {
  detail::map(stream, size, from, to, false, detail::same{});
}
template <class T>
void cast_back(cudaStream_t stream, std::size_t size, const T* from, float* to) {
  detail::map(stream, size, from, to, false, detail::same{});
}
template <class T>
void accumulate_gradient(cudaStream_t stream, std::size_t size, const T* from, float* gradient,
                         bool accumulate) {
  detail::map(stream, size, from, gradient, accumulate, detail::same{});
}

template <class T>
void dropout(cudaStream_t stream, std::size_t size, const step_values* step, std::uint64_t layer, double rate,
             const T* x, T* y, bool accumulate) {
  constexpr double range = 1u << 31;
  const auto dropped = static_cast<std::uint32_t>(std::min(std::round(rate * range), range - 1));
  detail::for_each_column<T>(
      stream, size, 1, detail::fits_packs<T>({x, y}),
      detail::dropout_body<T>{step, layer, dropped, static_cast<float>(1 / (1 - rate)), x, y, accumulate});
}

}  // namespace segnet::gpu::kernels
