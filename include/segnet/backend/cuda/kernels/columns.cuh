// SPDX-License-Identifier: MIT
// Loops over [rows][channels] in which a thread always meets the same channels, so that their coefficients
// and sums stay in registers. The matrix is read as one run of elements: after a period of
// lcm(channels, elements of a pack) elements the channels of a pack's lanes repeat, so that whole packs serve
// any number of channels.
#pragma once

#include <segnet/backend/cuda/kernels.hpp>
#include <segnet/backend/cuda/kernels/pack.cuh>

#include <algorithm>
#include <numeric>

namespace segnet::gpu::kernels::detail {

/// Which elements a thread takes. It depends on sizes and alignment alone, and so do sums.
struct column_cut {
  std::size_t size;   ///< elements of the matrix
  std::size_t step;   ///< elements that a block's threads take at once, times the number of chunks
  std::size_t block;  ///< elements from a chunk's first to the next one's
  unsigned channels;
  unsigned wide;     ///< so many blocks lie side by side, where one is too narrow for a row
  unsigned chunks;   ///< so many behind each other
  unsigned columns;  ///< packs of a row, or of a block's part of it
  unsigned active;   ///< threads with work
  bool whole;        ///< whole packs

  unsigned blocks() const { return wide * chunks; }
};

template <class T>
column_cut cut_columns(std::size_t rows, int channels, bool aligned, std::size_t most_chunks) {
  const auto row = static_cast<unsigned>(channels);
  unsigned n = aligned ? static_cast<unsigned>(whole_pack<T>) : 1;
  unsigned packs = std::lcm(row, n) / n;
  if (packs > block_threads && row % n != 0) {  // a period would be many rows
    n = 1;
    packs = row;
  }
  column_cut cut{};
  cut.size = rows * row;
  cut.channels = row;
  cut.whole = n > 1;
  cut.wide = (packs + block_threads - 1) / block_threads;
  cut.columns = (packs + cut.wide - 1) / cut.wide;
  const unsigned periods = cut.wide == 1 ? block_threads / packs : 1;
  cut.active = periods * cut.columns;
  cut.block = static_cast<std::size_t>(periods) * packs * n;
  // A few turns for each thread, unless multiprocessors would have nothing to do.
  const std::size_t turns = (cut.size + cut.block - 1) / cut.block;
  const std::size_t enough = std::max((turns + 3) / 4, std::min<std::size_t>(turns, 132));
  cut.chunks = static_cast<unsigned>(
      std::clamp<std::size_t>(std::min(enough, most_chunks / cut.wide), 1, most_chunks));
  cut.step = cut.block * cut.chunks;
  return cut;
}

/// The channels of a pack's lanes.
template <int N>
struct lane_channels {
  unsigned of[N];

  SEGNET_HD lane_channels(unsigned first, unsigned channels) {
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      of[i] = first;
      first = first + 1 == channels ? 0 : first + 1;
    }
  }
  SEGNET_HD floats<N> read(const float* values) const {
    floats<N> result;
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) result.lane[i] = values[of[i]];
    return result;
  }
};

/// Calls body's functions for the elements of one thread: state = prepare(lane_channels<N>), and for every
/// pack use(state, fetch(element, width<N>), element, sums, first lane of the sums), `Turns` of them being
/// fetched before any is used.
template <int N, int Turns, class Body, class Sums>
SEGNET_HD void visit_columns(const column_cut& cut, unsigned block, unsigned thread, const Body& body,
                             Sums& sums) {
  const unsigned chunk = block / cut.wide, part = block - chunk * cut.wide;
  const unsigned column = part * cut.columns + thread;
  if (thread >= cut.active || (cut.wide > 1 && std::size_t{column} * N >= cut.channels)) return;
  std::size_t at = chunk * cut.block + std::size_t{column} * N;
  if (at >= cut.size) return;
  const auto first = static_cast<unsigned>(std::size_t{column} * N % cut.channels);
  const auto state = body.prepare(lane_channels<N>(first, cut.channels));
  const std::size_t step = cut.step;
  if constexpr (Turns > 1) {
    for (; at + (Turns - 1) * step + N <= cut.size; at += Turns * step) {
      decltype(body.fetch(at, width<N>{})) fetched[Turns];
      SEGNET_UNROLL
      for (int i = 0; i < Turns; ++i)
        fetched[i] = body.fetch(at + static_cast<std::size_t>(i) * step, width<N>{});
      SEGNET_UNROLL
      for (int i = 0; i < Turns; ++i)
        body.use(state, fetched[i], at + static_cast<std::size_t>(i) * step, sums, 0);
    }
  }
  for (; at + N <= cut.size; at += step) body.use(state, body.fetch(at, width<N>{}), at, sums, 0);
  if constexpr (N > 1) {  // the last elements, where they do not fill a pack
    if (at >= cut.size) return;
    const auto rest = static_cast<int>(cut.size - at);
    SEGNET_UNROLL
    for (int i = 0; i < N; ++i) {
      if (i >= rest) continue;
      const std::size_t element = at + static_cast<std::size_t>(i);
      const auto channel = static_cast<unsigned>(element % cut.channels);
      body.use(body.prepare(lane_channels<1>(channel, cut.channels)), body.fetch(element, width<1>{}),
               element, sums, i);
    }
  }
}

struct no_sums {};

template <int N, class Body>
struct column_thread {
  column_cut cut;
  Body body;

  SEGNET_HD void operator()(std::size_t i) const {
    no_sums none;
    visit_columns<N, 2>(cut, static_cast<unsigned>(i / block_threads),
                        static_cast<unsigned>(i % block_threads), body, none);
  }
};

/// body.prepare() and the others as in visit_columns(), for each pack once. T: what a pack is made of.
template <class T, class Body>
void for_each_column(cudaStream_t stream, std::size_t rows, int channels, bool aligned, Body body) {
  const column_cut cut = cut_columns<T>(rows, channels, aligned, most_blocks / 2);
  with_packs<T>(cut.whole, [&](auto n) {
    for_each(stream, std::size_t{cut.blocks()} * block_threads, column_thread<n, Body>{cut, body});
  });
}

// --- Sums --------------------------------------------------------------------------------------------------

template <int Sums, int N>
struct column_sums {
  float of[Sums][N];
};

/// Writes [chunk][sum][channel]. With room for two blocks on a multiprocessor: where more registers are
/// withheld, loads that should be under way together wait for each other.
template <int N, class Body>
__global__ void __launch_bounds__(block_threads, 2) sum_chunks(column_cut cut, Body body, float* chunks) {
  constexpr int sums = Body::sums;
  alignas(32) __shared__ float element[block_threads * N];
  column_sums<sums, N> mine{};
  visit_columns<N, 4>(cut, blockIdx.x, threadIdx.x, body, mine);

  // What the threads have lies in the order of the elements that a block takes at once, so that elements
  // `channels` apart belong together.
  const unsigned chunk = blockIdx.x / cut.wide, first = (blockIdx.x - chunk * cut.wide) * cut.columns * N;
  const unsigned row = cut.wide == 1 ? cut.channels : smaller(cut.columns * N, cut.channels - first);
  for (int s = 0; s < sums; ++s) {
    if (s > 0) __syncthreads();
    pack<float, N> held;
    for (int i = 0; i < N; ++i) held.lane[i] = mine.of[s][i];
    *reinterpret_cast<pack<float, N>*>(element + threadIdx.x * N) = held;
    __syncthreads();
    for (unsigned rows = cut.wide == 1 ? cut.active * N / row : 1; rows > 1;) {
      const unsigned quarter = (rows + 3) / 4, size = rows * row, far = quarter * row;
      for (unsigned e = threadIdx.x; e < far; e += block_threads) {
        float sum = element[e];
        for (unsigned other = e + far; other < size; other += far) sum += element[other];
        element[e] = sum;
      }
      rows = quarter;
      __syncthreads();
    }
    float* const to = chunks + (std::size_t{chunk} * sums + static_cast<unsigned>(s)) * cut.channels + first;
    for (unsigned e = threadIdx.x; e < row; e += block_threads) to[e] = element[e];
  }
}

/// Channels of a block of add_chunks(): what a sector of memory holds.
inline constexpr unsigned most_added_channels = 8;

/// finish(channel, the sums over all chunks).
template <int Sums, class Finish>
__global__ void __launch_bounds__(block_threads)
    add_chunks(unsigned chunks, unsigned channels, unsigned together, const float* of, Finish finish) {
  __shared__ double part[Sums][block_threads];
  const unsigned groups = block_threads / together, group = threadIdx.x / together;
  const unsigned c = blockIdx.x * together + (threadIdx.x - group * together);
  double sum[Sums] = {};
  const auto value = [&](unsigned chunk, int s) {
    return of[(std::size_t{chunk} * Sums + static_cast<unsigned>(s)) * channels + c];
  };
  if (c < channels) {
    constexpr int turns = 4;  // under way together
    unsigned chunk = group;
    for (; chunk + (turns - 1) * groups < chunks; chunk += turns * groups) {
      float found[turns][Sums];
      SEGNET_UNROLL
      for (int i = 0; i < turns * Sums; ++i)
        found[i / Sums][i % Sums] = value(chunk + static_cast<unsigned>(i / Sums) * groups, i % Sums);
      SEGNET_UNROLL
      for (int i = 0; i < turns * Sums; ++i) sum[i % Sums] += static_cast<double>(found[i / Sums][i % Sums]);
    }
    for (; chunk < chunks; chunk += groups)
      for (int s = 0; s < Sums; ++s) sum[s] += static_cast<double>(value(chunk, s));
  }
  for (int s = 0; s < Sums; ++s) part[s][threadIdx.x] = sum[s];
  __syncthreads();
  for (unsigned left = groups / 2; left > 0; left /= 2) {
    if (group < left)
      for (int s = 0; s < Sums; ++s) part[s][threadIdx.x] += part[s][threadIdx.x + left * together];
    __syncthreads();
  }
  if (group > 0 || c >= channels) return;
  for (int s = 0; s < Sums; ++s) sum[s] = part[s][threadIdx.x];
  finish(c, sum);
}

template <int Sums, class Finish>
void add_up_chunks(cudaStream_t stream, unsigned chunks, unsigned channels, const float* of, Finish finish) {
  unsigned together = 1;
  while (together < most_added_channels && together < channels) together *= 2;
  launch(&add_chunks<Sums, Finish>, (channels + together - 1) / together, block_threads, stream, chunks,
         channels, together, of, finish);
}

/// For each channel finish(channel, double sums[Body::sums]) of what body.use() adds to sums.of[sum][lane].
/// `workspace`: column_sums_workspace(Body::sums, channels) bytes.
template <class T, class Body, class Finish>
void sum_columns(cudaStream_t stream, std::size_t rows, int channels, bool aligned, Body body,
                 void* workspace, Finish finish) {
  const column_cut cut = cut_columns<T>(rows, channels, aligned, most_column_chunks(channels));
  float* const chunks = static_cast<float*>(workspace);
  with_packs<T>(cut.whole, [&](auto n) {
    launch(&sum_chunks<n, Body>, cut.blocks(), block_threads, stream, cut, body, chunks);
  });
  add_up_chunks<Body::sums>(stream, cut.chunks, cut.channels, chunks, finish);
}

}  // namespace segnet::gpu::kernels::detail
