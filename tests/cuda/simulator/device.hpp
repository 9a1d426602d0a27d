// SPDX-License-Identifier: MIT
// What nvcc provides to device code, for the ordinary compiler: kernels that include this (by way of
// SEGNET_DEVICE_EMULATION) run on the CPU. The threads of a block are fibers of one thread of the host's,
// blocks run one after another. What would hang or be undefined on a card (a barrier that not all threads
// reach, a shuffle that lacks lanes) ends the program with a message that says so.
//
// SEGNET_SIMULATED_ORDER (forward, reverse or random) is the order of the blocks and, between barriers, of
// the threads: races show as results that depend on it.
#pragma once

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <type_traits>

#ifndef __CUDA_ARCH_LIST__
#define __CUDA_ARCH_LIST__ 900
#endif

#undef __shared__
#undef __constant__
#undef __launch_bounds__
#undef __grid_constant__
#if defined(__clang__)
// All in one section, for launch() to fill it with NaNs, as it holds nothing at first. GCC cannot do that for
// templates (bug 41091): there it holds what the block before has left.
#define __shared__ static __attribute__((section("segnet_shared")))
#else
#define __shared__ static
#endif
#define __launch_bounds__(...)
#define __grid_constant__

// Of the thread that runs at the moment; one thread of the host's at a time simulates kernels.
inline uint3 threadIdx{}, blockIdx{};
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace segnet::gpu::emulation {

/// Runs `kernel` once for every thread, in the order that the stream's work has, or records that.
void launch(unsigned blocks, unsigned threads, cudaStream_t stream, std::function<void()> kernel);
/// Runs `work` in the order that the stream's work has, or records it.
void enqueue(cudaStream_t stream, std::function<void()> work);

/// SEGNET_SIMULATED_ORDER; ends the program if it is something else.
enum class order { forward, reverse, random };
order order_of_threads();

/// f(i) for all i of [0, n), in that order.
template <class F>
void for_all(std::size_t n, const F& f) {
  switch (order_of_threads()) {
    case order::forward:
      for (std::size_t i = 0; i < n; ++i) f(i);
      break;
    case order::reverse:
      for (std::size_t i = n; i > 0; --i) f(i - 1);
      break;
    case order::random: {
      std::size_t step = n / 2 + n / 8 + 1;
      while (std::gcd(step, n) != 1) ++step;
      for (std::size_t k = 0, i = n / 3; k < n; ++k, i = (i + step) % n) f(i);
      break;
    }
  }
}

/// A barrier in the source.
struct place {
  const char* file;
  int line;
};

/// Returns when all threads of the block are there; 1 in `any` for one of them that brought true.
struct votes {
  int count, threads;
};
votes block_barrier(bool vote, place where);

/// Returns when the lanes of `mask` are there: what each brought, valid until the next call.
const std::uint64_t* warp_exchange(unsigned mask, std::uint64_t value, place where);
/// Ends the program because `lane` is not among those of the exchange.
[[noreturn]] void absent_lane(unsigned lane, place where);

/// This thread's number within its warp.
inline unsigned lane() { return threadIdx.x % 32U; }

template <class T>
T from_lane(unsigned mask, T value, unsigned source, place where) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "what CUDA's shuffles take");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  const std::uint64_t* all = warp_exchange(mask, bits, where);
  if ((mask >> source & 1U) == 0) absent_lane(source, where);
  std::memcpy(&value, &all[source], sizeof value);
  return value;
}

}  // namespace segnet::gpu::emulation

// ---- Barriers and warps
// -------------------------------------------------------------------------------------

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  segnet::gpu::emulation::block_barrier(false, {file, line});
}
inline int __syncthreads_or(int vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return segnet::gpu::emulation::block_barrier(vote != 0, {file, line}).count > 0 ? 1 : 0;
}
inline int __syncthreads_count(int vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return segnet::gpu::emulation::block_barrier(vote != 0, {file, line}).count;
}
inline int __syncthreads_and(int vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const auto v = segnet::gpu::emulation::block_barrier(vote != 0, {file, line});
  return v.count == v.threads ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffU, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
  segnet::gpu::emulation::warp_exchange(mask, 0, {file, line});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
  const auto w = static_cast<unsigned>(width), first = segnet::gpu::emulation::lane() & ~(w - 1U);
  return segnet::gpu::emulation::from_lane(mask, value, first + (static_cast<unsigned>(source) & (w - 1U)),
                                           {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flipped, int width = 32, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  const auto w = static_cast<unsigned>(width), lane = segnet::gpu::emulation::lane();
  const unsigned source = lane ^ static_cast<unsigned>(flipped);
  return segnet::gpu::emulation::from_lane(mask, value, source < (lane & ~(w - 1U)) + w ? source : lane,
                                           {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const auto w = static_cast<unsigned>(width), lane = segnet::gpu::emulation::lane();
  const bool inside = (lane & (w - 1U)) + delta < w;
  return segnet::gpu::emulation::from_lane(mask, value, inside ? lane + delta : lane, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  const auto w = static_cast<unsigned>(width), lane = segnet::gpu::emulation::lane();
  const bool inside = (lane & (w - 1U)) >= delta;
  return segnet::gpu::emulation::from_lane(mask, value, inside ? lane - delta : lane, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
  const std::uint64_t* all = segnet::gpu::emulation::warp_exchange(mask, predicate != 0, {file, line});
  unsigned bits = 0;
  for (unsigned i = 0; i < 32; ++i)
    if ((mask >> i & 1U) != 0 && all[i] != 0) bits |= 1U << i;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, file, line) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, file, line) == mask ? 1 : 0;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- Memory
// -------------------------------------------------------------------------------------------------

// clang-format off
template <class T> T __ldg(const T* from) { return *from; }
template <class T> T __ldca(const T* from) { return *from; }
template <class T> T __ldcg(const T* from) { return *from; }
template <class T> T __ldcs(const T* from) { return *from; }
template <class T> void __stcg(T* to, std::type_identity_t<T> value) { *to = value; }
template <class T> void __stcs(T* to, std::type_identity_t<T> value) { *to = value; }

// The types that CUDA has; none for floats, whose sums would depend on the order.
#define SEGNET_SIMULATED_ATOMIC(type)                                                                              \
  inline type atomicAdd(type* at, type v) { const type old = *at; *at = old + v; return old; }                     \
  inline type atomicOr(type* at, type v) { const type old = *at; *at = old | v; return old; }                      \
  inline type atomicAnd(type* at, type v) { const type old = *at; *at = old & v; return old; }                     \
  inline type atomicMax(type* at, type v) { const type old = *at; *at = old < v ? v : old; return old; }           \
  inline type atomicMin(type* at, type v) { const type old = *at; *at = v < old ? v : old; return old; }           \
  inline type atomicExch(type* at, type v) { const type old = *at; *at = v; return old; }                          \
  inline type atomicCAS(type* at, type was, type v) { const type old = *at; if (old == was) *at = v; return old; }
SEGNET_SIMULATED_ATOMIC(int)
SEGNET_SIMULATED_ATOMIC(unsigned)
SEGNET_SIMULATED_ATOMIC(unsigned long long)
#undef SEGNET_SIMULATED_ATOMIC

// ---- Arithmetic ---------------------------------------------------------------------------------------------

#define SEGNET_SIMULATED_ORDERED(type)                        \
  constexpr type min(type a, type b) { return b < a ? b : a; } \
  constexpr type max(type a, type b) { return a < b ? b : a; }
SEGNET_SIMULATED_ORDERED(int)
SEGNET_SIMULATED_ORDERED(unsigned)
SEGNET_SIMULATED_ORDERED(long)
SEGNET_SIMULATED_ORDERED(unsigned long)
SEGNET_SIMULATED_ORDERED(long long)
SEGNET_SIMULATED_ORDERED(unsigned long long)
#undef SEGNET_SIMULATED_ORDERED
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return 1.0F / sqrtf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0F) : 0.0F; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __frcp_rn(float a) { return 1.0F / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
// The C library declares functions of these names, without defining them.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)

inline unsigned __float_as_uint(float x) { unsigned r; std::memcpy(&r, &x, 4); return r; }
inline int __float_as_int(float x) { int r; std::memcpy(&r, &x, 4); return r; }
inline float __uint_as_float(unsigned x) { float r; std::memcpy(&r, &x, 4); return r; }
inline float __int_as_float(int x) { float r; std::memcpy(&r, &x, 4); return r; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using wide = unsigned __int128;
  return static_cast<unsigned long long>(static_cast<wide>(a) * b >> 64);
}
// clang-format on
