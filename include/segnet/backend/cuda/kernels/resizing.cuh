// SPDX-License-Identifier: MIT
// Upsampling and cropping. Every pixel of a result is computed by one thread: gradients are collected, not
// spread.
#pragma once

#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/kernels/pack.cuh>
#include <segnet/core/axes.hpp>

namespace segnet::gpu::kernels {

namespace detail {

using segnet::detail::bilinear_axis;

template <int N>
SEGNET_HD void add_to(floats<N>& sum, const floats<N>& value, float weight = 1) {
  SEGNET_UNROLL
  for (int c = 0; c < N; ++c) sum.lane[c] += value.lane[c] * weight;
}

template <class T, int N>
struct upsample_nearest {
  divisor factor;
  shape in;
  pack_grid<N> grid;
  const T* x;
  T* y;
  int y_channels, y_offset;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const std::size_t from = (at.image * to_size(in.h) + to_size(factor.whole(at.y))) * to_size(in.w) +
                             to_size(factor.whole(at.x));
    const std::size_t to = at.line * grid.w.by() + to_size(at.x);
    store(y + to * to_size(y_channels) + to_size(y_offset + at.channel),
          load<N>(x + from * to_size(in.c) + to_size(at.channel)));
  }
};
template <class T, int N>
struct upsample_nearest_slope {
  int factor;
  shape in;
  pack_grid<N> grid;
  const T* dy;
  T* dx;
  bool accumulate;
  int dy_channels, dy_offset;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const std::size_t row = product(in.w, factor);
    const T* const from = dy +
                          (at.line * to_size(factor) * row + product(at.x, factor)) * to_size(dy_channels) +
                          to_size(dy_offset + at.channel);
    floats<N> sum{};
    for (int r = 0; r < factor; ++r)
      for (int s = 0; s < factor; ++s)
        add_to(sum, read<N>(from + (to_size(r) * row + to_size(s)) * to_size(dy_channels)));
    write(dx + i * N, sum, accumulate);
  }
};

template <class T, int N>
struct upsample_bilinear {
  int factor;
  shape in;
  pack_grid<N> grid;
  const T* x;
  T* y;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const auto down = bilinear_axis{in.h, factor}.at<float>(at.y),
               across = bilinear_axis{in.w, factor}.at<float>(at.x);
    const T* const image = x + at.image * product(in.h, in.w, in.c) + to_size(at.channel);
    const auto pixel = [&](int row, int column) {
      return read<N>(image + (product(row, in.w) + to_size(column)) * to_size(in.c));
    };
    const auto mean = [&](int row) {
      floats<N> sum{};
      add_to(sum, pixel(row, across.first), across.of_first);
      add_to(sum, pixel(row, across.second), across.of_second);
      return sum;
    };
    floats<N> sum{};
    add_to(sum, mean(down.first), down.of_first);
    add_to(sum, mean(down.second), down.of_second);
    store(y + i * N, narrow<T>(sum));
  }
};
template <class T, int N>
struct upsample_bilinear_slope {
  int factor;
  shape in;
  pack_grid<N> grid;
  const T* dy;
  T* dx;
  bool accumulate;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const bilinear_axis down{in.h, factor}, across{in.w, factor};
    const T* const image = dy + at.image * product(in.h * factor, in.w * factor, in.c) + to_size(at.channel);
    floats<N> sum{};
    for (int row = down.begin(at.y); row < down.end(at.y); ++row) {
      const float of_row = down.weight<float>(at.y, row);
      if (of_row == 0) continue;
      const T* const line = image + product(row, in.w, factor, in.c);
      for (int column = across.begin(at.x); column < across.end(at.x); ++column) {
        const float of_column = across.weight<float>(at.x, column);
        if (of_column != 0) add_to(sum, read<N>(line + product(column, in.c)), of_row * of_column);
      }
    }
    write(dx + i * N, sum, accumulate);
  }
};

template <class T, int N>
struct crop_pack {
  shape in, window;
  int top, left;
  pack_grid<N> grid;
  const T* x;
  T* y;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const std::size_t from =
        (at.image * to_size(in.h) + to_size(top + at.y)) * to_size(in.w) + to_size(left + at.x);
    store(y + i * N, load<N>(x + from * to_size(in.c) + to_size(at.channel)));
  }
};
template <class T, int N>
struct crop_slope {
  shape in, window;
  int top, left;
  pack_grid<N> grid;
  const T* dy;
  T* dx;
  bool accumulate;

  SEGNET_HD void operator()(std::size_t i) const {
    const pixel_place at = grid[i];
    const int y = at.y - top, x = at.x - left;
    if (y >= 0 && y < window.h && x >= 0 && x < window.w) {
      const std::size_t from = (at.image * to_size(window.h) + to_size(y)) * to_size(window.w) + to_size(x);
      write(dx + i * N, read<N>(dy + from * to_size(in.c) + to_size(at.channel)), accumulate);
    } else if (!accumulate) {
      store(dx + i * N, narrow<T>(floats<N>{}));
    }
  }
};

}  // namespace detail

template <class T>
void upsample_nearest_forward(cudaStream_t stream, int factor, int batch, shape in, const T* x, T* y,
                              int y_channels, int y_offset) {
  detail::with_packs<T>(detail::fits_packs<T>({x, y}, {in.c, y_channels, y_offset}), [&](auto n) {
    const detail::pack_grid<n> grid{in.h * factor, in.w * factor, in.c};
    for_each(stream, grid.size(batch),
             detail::upsample_nearest<T, n>{factor, in, grid, x, y, y_channels, y_offset});
  });
}
template <class T>
void upsample_nearest_backward(cudaStream_t stream, int factor, int batch, shape in, const T* dy, T* dx,
                               bool accumulate, int dy_channels, int dy_offset) {
  detail::with_packs<T>(detail::fits_packs<T>({dy, dx}, {in.c, dy_channels, dy_offset}), [&](auto n) {
    const detail::pack_grid<n> grid{in.h, in.w, in.c};
    for_each(
        stream, grid.size(batch),
        detail::upsample_nearest_slope<T, n>{factor, in, grid, dy, dx, accumulate, dy_channels, dy_offset});
  });
}

template <class T>
void upsample_bilinear_forward(cudaStream_t stream, int factor, int batch, shape in, const T* x, T* y) {
  detail::with_packs<T>(detail::fits_packs<T>({x, y}, {in.c}), [&](auto n) {
    const detail::pack_grid<n> grid{in.h * factor, in.w * factor, in.c};
    for_each(stream, grid.size(batch), detail::upsample_bilinear<T, n>{factor, in, grid, x, y});
  });
}
template <class T>
void upsample_bilinear_backward(cudaStream_t stream, int factor, int batch, shape in, const T* dy, T* dx,
                                bool accumulate) {
  detail::with_packs<T>(detail::fits_packs<T>({dy, dx}, {in.c}), [&](auto n) {
    const detail::pack_grid<n> grid{in.h, in.w, in.c};
    for_each(stream, grid.size(batch),
             detail::upsample_bilinear_slope<T, n>{factor, in, grid, dy, dx, accumulate});
  });
}

template <class T>
void crop_forward(cudaStream_t stream, int batch, shape in, shape window, int top, int left, const T* x,
                  T* y) {
  detail::with_packs<T>(detail::fits_packs<T>({x, y}, {in.c}), [&](auto n) {
    const detail::pack_grid<n> grid{window.h, window.w, in.c};
    for_each(stream, grid.size(batch), detail::crop_pack<T, n>{in, window, top, left, grid, x, y});
  });
}
template <class T>
void crop_backward(cudaStream_t stream, int batch, shape in, shape window, int top, int left, const T* dy,
                   T* dx, bool accumulate) {
  detail::with_packs<T>(detail::fits_packs<T>({dy, dx}, {in.c}), [&](auto n) {
    const detail::pack_grid<n> grid{in.h, in.w, in.c};
    for_each(stream, grid.size(batch),
             detail::crop_slope<T, n>{in, window, top, left, grid, dy, dx, accumulate});
  });
}

}  // namespace segnet::gpu::kernels
