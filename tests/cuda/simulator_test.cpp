// SPDX-License-Identifier: MIT
// The simulated card itself: what it does, and that it notices what it is there to notice.
#if defined(SEGNET_CUDA_SIMULATED)

#include "../environment_variable.hpp"
#include "simulator/cudnn.hpp"
#include "simulator/runtime.hpp"

#include <segnet/backend/cuda/buffer.hpp>
#include <segnet/backend/cuda/cudnn.hpp>
#include <segnet/backend/cuda/kernels/launch.cuh>
#include <segnet/backend/cuda/stream.hpp>
#include <segnet/core/half.hpp>

#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <vector>

using namespace segnet;
using namespace segnet::gpu;

namespace {

/// Runs f() in a process of its own, and returns what that wrote to stderr if it aborted.
template <class F>
std::string complaint_of(F f) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(ends[1], 2);
    signal(SIGABRT, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    f();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[256];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) return text;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) return "forbidden memory";
  return "ended without a complaint";
}

bool contains(const std::string& text, const char* part) { return text.find(part) != text.npos; }

template <class T>
device_buffer<T> on_card(const std::vector<T>& values) {
  device_buffer<T> result(values.size());
  check(cudaMemcpy(result.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "copy");
  return result;
}
template <class T>
std::vector<T> on_host(const device_buffer<T>& values) {
  std::vector<T> result(values.size());
  check(cudaMemcpy(result.data(), values.data(), values.size() * sizeof(T), cudaMemcpyDeviceToHost), "copy");
  return result;
}

enum class mistake { none, early_end, other_barrier, no_barrier, lane_ended, other_shuffle };

/// Sums of the block's values, first within warps.
template <class T>
__global__ void __launch_bounds__(256) sums(const T* __restrict__ x, T* y, mistake wrong) {
  __shared__ T part[8];
  T sum = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (unsigned offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffU, sum, offset);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  if (wrong == mistake::early_end && threadIdx.x == 5) return;
  if (wrong == mistake::other_barrier && threadIdx.x == 5)
    __syncthreads();
  else if (wrong != mistake::no_barrier)
    __syncthreads();
  if (wrong == mistake::lane_ended && threadIdx.x != 31) __syncwarp();
  if (wrong == mistake::other_shuffle && threadIdx.x == 7) sum += __shfl_xor_sync(0xffffffffU, sum, 1);
  if (wrong == mistake::other_shuffle) sum += __shfl_xor_sync(0xffffffffU, sum, 1);
  if (threadIdx.x == 0) {
    T total = 0;
    for (unsigned i = 0; i < blockDim.x / 32; ++i) total += part[i];
    y[blockIdx.x] = total;
  }
}

std::vector<int> block_sums(mistake wrong) {
  std::vector<int> x(3 * 256);
  std::iota(x.begin(), x.end(), 0);
  const auto from = on_card(x);
  device_buffer<int> to(3);
  launch(&sums<int>, 3, 256, nullptr, from.data(), to.data(), wrong);
  return on_host(to);
}
const std::vector<int> right_sums = {32640, 98176, 163712};

/// Every kind of shuffle and vote; y has 8 values for each thread.
__global__ void shuffles(int* y) {
  const auto me = static_cast<int>(threadIdx.x);
  int* mine = y + 8 * me;
  mine[0] = __shfl_sync(0xffffffffU, me, 3);
  mine[1] = __shfl_xor_sync(0xffffffffU, me, 5);
  mine[2] = __shfl_down_sync(0xffffffffU, me, 2);
  mine[3] = __shfl_up_sync(0xffffffffU, me, 2);
  mine[4] = __shfl_down_sync(0xffffffffU, me, 2, 8);
  mine[5] = static_cast<int>(__ballot_sync(0xffffffffU, me % 2) & 0xffU);
  mine[6] = __any_sync(0xffffffffU, me == 33) + 2 * __all_sync(0xffffffffU, me < 33);
  // Half a warp alone.
  mine[7] = me % 32 < 16 ? __shfl_xor_sync(0x0000ffffU, me, 1) : -1;
}

struct add {
  int* to;
  SEGNET_HD void operator()(std::size_t i) const { to[i] += static_cast<int>(i); }
};

}  // namespace

TEST_CASE("simulator: threads of a block meet at barriers and exchange values within warps") {
  CHECK(block_sums(mistake::none) == right_sums);
  for (const char* order : {"reverse", "random"}) {
    const segnet_test::environment_variable v("SEGNET_SIMULATED_ORDER", order);
    CHECK(block_sums(mistake::none) == right_sums);
  }

  device_buffer<int> y(8 * 64);
  launch(&shuffles, 1, 64, nullptr, y.data());
  const auto found = on_host(y);
  for (int i = 0; i < 64; ++i) {
    const int first = i / 32 * 32, lane = i % 32;
    const std::array expected{
        first + 3, i ^ 5,          lane < 30 ? i + 2 : i, lane >= 2 ? i - 2 : i, lane % 8 < 6 ? i + 2 : i,
        0xaa,      i < 32 ? 2 : 1, lane < 16 ? i ^ 1 : -1};
    CAPTURE(i);
    CHECK(std::equal(expected.begin(), expected.end(), found.begin() + 8 * i));
  }
}

TEST_CASE("simulator: what would hang or be undefined on a card ends the program") {
  const auto text = [](mistake wrong) { return complaint_of([=] { block_sums(wrong); }); };
  CHECK(contains(text(mistake::early_end), "threads wait at a barrier (thread 0), but thread 5 has ended"));
  CHECK(contains(text(mistake::other_barrier), "different barriers: thread 0 at"));
  CHECK(contains(text(mistake::lane_ended), "thread 0 waits for thread 31, which has ended"));
  CHECK(contains(text(mistake::other_shuffle), "waits for thread 7, which waits at"));
  CHECK(text(mistake::none) == "ended without a complaint");
}

TEST_CASE("simulator: a barrier that is missing shows as a wrong result in one of the orders") {
  bool wrong = false;
  for (const char* order : {"forward", "reverse", "random"}) {
    const segnet_test::environment_variable v("SEGNET_SIMULATED_ORDER", order);
    wrong = wrong || block_sums(mistake::no_barrier) != right_sums;
  }
  CHECK(wrong);
}

TEST_CASE("simulator: memory is checked") {
  void* block = nullptr;
  const std::size_t before = simulator::allocations();
  check(cudaMalloc(&block, 1000), "cudaMalloc");
  CHECK(simulator::allocations() == before + 1);
  std::vector<unsigned char> bytes(2000);
  check(cudaMemcpy(bytes.data(), block, 1000, cudaMemcpyDeviceToHost), "cudaMemcpy");
  CHECK(std::all_of(bytes.begin(), bytes.begin() + 1000, [](unsigned char b) { return b == 0xff; }));
  CHECK(cudaMemcpy(bytes.data(), block, 1001, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(block, bytes.data(), 1000, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemset(static_cast<char*>(block) + 1, 0, 1000) == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
  const auto write_at = [&](std::ptrdiff_t offset) {
    return complaint_of([=] {
      emulation::enqueue(nullptr, [=] { static_cast<char*>(block)[offset] = 1; });
      cudaFree(block);
    });
  };
  CHECK(write_at(999) == "ended without a complaint");
  CHECK(contains(write_at(1000), "memory around a block of 1000 bytes"));
  CHECK(contains(write_at(-1), "memory around a block of 1000 bytes"));
  CHECK(write_at(1024) == "forbidden memory");
  CHECK(contains(complaint_of([=] {
                   cudaFree(block);
                   cudaFree(block);
                 }),
                 "not a block of the card's"));
  check(cudaFree(block), "cudaFree");

  const segnet_test::environment_variable v("SEGNET_SIMULATED_MEMORY", "4096");
  CHECK_THROWS_AS(device_buffer<char>(5000), memory_error);
  CHECK(device_buffer<char>(4096).size() == 4096);
}

TEST_CASE("simulator: a capture records and refuses what a card's refuses") {
  const stream s, other;
  device_buffer<int> x(100);
  std::vector<int> pageable(100);
  pinned_buffer<int> pinned(100);
  const auto captured = [&](auto record) {
    check(cudaStreamBeginCapture(s.get(), cudaStreamCaptureModeThreadLocal), "begin");
    record();
    cudaGraph_t graph = nullptr;
    const cudaError_t status = cudaStreamEndCapture(s.get(), &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    return status;
  };
  void* block = nullptr;
  CHECK(captured([&] { for_each(s.get(), 100, add{x.data()}); }) == cudaSuccess);
  CHECK(captured([&] { CHECK(cudaMalloc(&block, 4) == cudaErrorStreamCaptureUnsupported); }) ==
        cudaErrorStreamCaptureInvalidated);
  CHECK(captured([&] { cudaStreamSynchronize(s.get()); }) == cudaErrorStreamCaptureInvalidated);
  CHECK(captured([&] { cudaMemset(x.data(), 0, 4); }) == cudaErrorStreamCaptureInvalidated);
  CHECK(captured([&] { cudaMemcpyAsync(x.data(), pageable.data(), 400, cudaMemcpyHostToDevice, s.get()); }) ==
        cudaErrorStreamCaptureInvalidated);
  CHECK(captured([&] { cudaMemcpyAsync(x.data(), pinned.data(), 400, cudaMemcpyHostToDevice, s.get()); }) ==
        cudaSuccess);
  CHECK(on_host(x)[1] == 0);  // nothing was done yet

  const event forked, joined;
  const auto fork = [&] {
    forked.record(s);
    forked.hold(other);
    for_each(other.get(), 100, add{x.data()});
  };
  CHECK(captured(fork) == cudaErrorStreamCaptureUnjoined);
  const graph twice = graph::capture(s, [&] {
    fork();
    joined.record(other);
    joined.hold(s);
    for_each(s.get(), 100, add{x.data()});
  });
  for (int i = 0; i < 3; ++i) twice.launch(s);
  s.wait();
  CHECK(on_host(x)[5] == 30);
}

TEST_CASE("simulator: streams may do their work late") {
  const segnet_test::environment_variable v("SEGNET_SIMULATED_STREAMS", "late");
  const stream s, t;
  const event e;
  pinned_buffer<int> from(10), to(10);
  device_buffer<int> x(10);
  std::ranges::fill(from.span(), 1);
  std::ranges::fill(to.span(), 0);
  cudaMemcpyAsync(x.data(), from.data(), 40, cudaMemcpyHostToDevice, s.get());
  e.record(s);
  e.hold(t);
  cudaMemcpyAsync(to.data(), x.data(), 40, cudaMemcpyDeviceToHost, t.get());
  from.data()[3] = 7;  // too early
  CHECK(to.data()[0] == 0);
  t.wait();
  CHECK(to.data()[0] == 1);
  CHECK(to.data()[3] == 7);
}

namespace {

using four = std::array<std::int64_t, 4>;

class backend_descriptor {
 public:
  explicit backend_descriptor(cudnnBackendDescriptorType_t type) {
    check(cudnnBackendCreateDescriptor(type, &handle_), "create");
  }
  backend_descriptor(backend_descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  backend_descriptor& operator=(backend_descriptor&&) = delete;
  ~backend_descriptor() { cudnnBackendDestroyDescriptor(handle_); }
  template <class T>
  backend_descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                          const std::vector<T>& values) {
    check(cudnnBackendSetAttribute(handle_, name, type, static_cast<std::int64_t>(values.size()),
                                   values.data()),
          "set");
    return *this;
  }
  backend_descriptor& set(cudnnBackendAttributeName_t name, const backend_descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::vector{other.handle_});
  }
  backend_descriptor& finalize() {
    check(cudnnBackendFinalize(handle_), "finalize");
    return *this;
  }
  cudnnBackendDescriptor_t get() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

backend_descriptor tensor_of(std::int64_t id, four d, cudnnDataType_t type, bool is_virtual = false) {
  backend_descriptor t(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, std::vector{id})
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, std::vector{type})
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::vector(d.begin(), d.end()))
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64,
           std::vector<std::int64_t>{d[1] * d[2] * d[3], 1, d[1] * d[3], d[1]})
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, std::vector<std::int64_t>{16})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, std::vector<char>{is_virtual ? '\1' : '\0'})
      .finalize();
  return t;
}

/// A plan of the `place`-th of the recommended engines.
backend_descriptor plan_of(const cudnn& dnn, const std::vector<cudnnBackendDescriptor_t>& operations,
                           std::size_t place = 0) {
  backend_descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, std::vector{dnn.get()})
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations)
      .finalize();
  backend_descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, std::vector{CUDNN_HEUR_MODE_A})
      .set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .finalize();
  std::int64_t count = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
        "count");
  if (count <= static_cast<std::int64_t>(place)) throw cuda_error("no such engine");
  std::vector<backend_descriptor> configurations;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (std::int64_t i = 0; i < count; ++i)
    handles.push_back(configurations.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, handles.data()),
        "results");
  backend_descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, std::vector{dnn.get()})
      .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configurations[place])
      .finalize();
  return plan;
}

cudnnStatus_t execute(const cudnn& dnn, const backend_descriptor& plan, const std::vector<std::int64_t>& ids,
                      const std::vector<void*>& pointers, void* workspace) {
  backend_descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers)
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, std::vector{workspace})
      .finalize();
  return cudnnBackendExecute(dnn.get(), plan.get(), pack.get());
}

/// A convolution with unequal sizes everywhere, and its tensors as double precision has them.
struct case_of {
  std::int64_t n = 2, c = 6, h = 7, w = 9, k = 8, r = 3, s = 2, groups = 1;
  std::array<std::int64_t, 2> before{1, 0}, after{2, 1}, stride{2, 1}, dilation{1, 2};
  std::int64_t oh() const { return (h + before[0] + after[0] - dilation[0] * (r - 1) - 1) / stride[0] + 1; }
  std::int64_t ow() const { return (w + before[1] + after[1] - dilation[1] * (s - 1) - 1) / stride[1] + 1; }
  four x() const { return {n, c, h, w}; }
  four weights() const { return {k, c / groups, r, s}; }
  four y() const { return {n, k, oh(), ow()}; }

  /// f(index of x, of w, of y) for all products.
  template <class F>
  void each(F f) const {
    const std::int64_t cg = c / groups, kg = k / groups;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t p = 0; p < oh(); ++p)
        for (std::int64_t q = 0; q < ow(); ++q)
          for (std::int64_t o = 0; o < k; ++o)
            for (std::int64_t a = 0; a < r; ++a)
              for (std::int64_t b = 0; b < s; ++b)
                for (std::int64_t j = 0; j < cg; ++j) {
                  const std::int64_t row = p * stride[0] - before[0] + a * dilation[0];
                  const std::int64_t column = q * stride[1] - before[1] + b * dilation[1];
                  if (row < 0 || row >= h || column < 0 || column >= w) continue;
                  f(static_cast<std::size_t>(((i * h + row) * w + column) * c + o / kg * cg + j),
                    static_cast<std::size_t>(((o * r + a) * s + b) * cg + j),
                    static_cast<std::size_t>(((i * oh() + p) * ow() + q) * k + o));
                }
  }
  backend_descriptor descriptor() const {
    const auto list = [](const std::array<std::int64_t, 2>& a) { return std::vector(a.begin(), a.end()); };
    backend_descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::vector<std::int64_t>{2})
        .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, std::vector{CUDNN_DATA_FLOAT})
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE,
             std::vector{CUDNN_CROSS_CORRELATION})
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, list(before))
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, list(after))
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, list(stride))
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, list(dilation))
        .finalize();
    return d;
  }
};

std::size_t volume(const four& d) { return static_cast<std::size_t>(d[0] * d[1] * d[2] * d[3]); }

std::vector<float> noise(std::size_t n, unsigned seed) {
  std::minstd_rand random(seed);
  std::uniform_real_distribution<float> one(-1, 1);
  std::vector<float> result(n);
  for (float& v : result) v = one(random);
  return result;
}
bool close_to(const std::vector<float>& found, const std::vector<double>& expected) {
  return std::equal(found.begin(), found.end(), expected.begin(), expected.end(),
                    [](double a, double b) { return std::abs(a - b) < 1e-4; });
}

}  // namespace

TEST_CASE("simulator: cuDNN's convolutions") {
  const stream stream;
  const cudnn dnn(stream);
  device_buffer<char> workspace(simulator::cudnn().workspace);
  const std::int64_t groups = GENERATE(1, 2);
  case_of c;
  c.groups = groups;
  if (groups == 2) std::swap(c.stride, c.dilation);
  const auto x = noise(volume(c.x()), 1), w = noise(volume(c.weights()), 2), dy = noise(volume(c.y()), 3);
  std::vector<double> y(dy.size()), dx(x.size()), dw(w.size());
  c.each([&](std::size_t i, std::size_t j, std::size_t o) {
    y[o] += static_cast<double>(x[i]) * w[j];
    dx[i] += static_cast<double>(dy[o]) * w[j];
    dw[j] += static_cast<double>(dy[o]) * x[i];
  });
  const auto tx = tensor_of(1, c.x(), CUDNN_DATA_FLOAT), tw = tensor_of(2, c.weights(), CUDNN_DATA_FLOAT);
  const auto ty = tensor_of(3, c.y(), CUDNN_DATA_FLOAT);
  const auto convolution = c.descriptor();
  auto on_x = on_card(x), on_w = on_card(w), on_dy = on_card(dy);
  const auto operation = [&](cudnnBackendDescriptorType_t type, cudnnBackendAttributeName_t first,
                             float beta) {
    // ALPHA, BETA, CONV_DESC, and the tensors of w, x and y.
    const auto name = [&](int i) {
      return static_cast<cudnnBackendAttributeName_t>(static_cast<int>(first) + i);
    };
    backend_descriptor op(type);
    op.set(name(0), CUDNN_TYPE_FLOAT, std::vector{1.0F})
        .set(name(1), CUDNN_TYPE_FLOAT, std::vector{beta})
        .set(name(2), convolution);
    op.set(name(3), tw).set(name(4), tx).set(name(5), ty).finalize();
    return op;
  };

  device_buffer<float> out(y.size());
  const auto forward = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 0);
  const auto plan = plan_of(dnn, {forward.get()});
  const std::vector<void*> pointers{on_x.data(), on_w.data(), out.data()};
  CHECK(execute(dnn, plan, {1, 2, 3}, pointers, nullptr) == CUDNN_STATUS_BAD_PARAM);  // it needs workspace
  CHECK(execute(dnn, plan, {1, 2, 4}, pointers, workspace.data()) == CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
  CHECK(execute(dnn, plan, {3, 2, 1}, {on_x.data(), on_w.data(), out.data()}, workspace.data()) !=
        CUDNN_STATUS_SUCCESS);  // one is too small
  CHECK(execute(dnn, plan, {1, 2, 3}, pointers, workspace.data()) == CUDNN_STATUS_SUCCESS);
  CHECK(close_to(on_host(out), y));
  CHECK(execute(dnn, plan_of(dnn, {forward.get()}, 1), {1, 2, 3}, pointers, nullptr) == CUDNN_STATUS_SUCCESS);
  CHECK(close_to(on_host(out), y));
  // That of other engines is not reproducible, or not exact.
  CHECK(execute(dnn, plan_of(dnn, {forward.get()}, 2), {1, 2, 3}, pointers, nullptr) == CUDNN_STATUS_SUCCESS);
  CHECK_FALSE(close_to(on_host(out), y));

  device_buffer<float> out_x(x.size());
  const auto data = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 0);
  CHECK(execute(dnn, plan_of(dnn, {data.get()}), {1, 2, 3}, {out_x.data(), on_w.data(), on_dy.data()},
                workspace.data()) == CUDNN_STATUS_SUCCESS);
  CHECK(close_to(on_host(out_x), dx));

  auto out_w = on_card(std::vector<float>(w.size(), 1.0F));
  const auto filter = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1);
  CHECK(execute(dnn, plan_of(dnn, {filter.get()}), {1, 2, 3}, {on_x.data(), out_w.data(), on_dy.data()},
                workspace.data()) == CUDNN_STATUS_SUCCESS);
  for (double& v : dw) v += 1;
  CHECK(close_to(on_host(out_w), dw));
}

TEST_CASE("simulator: cuDNN's graphs of several operations, captured") {
  const stream stream;
  const cudnn dnn(stream);
  case_of c;
  const auto x = noise(volume(c.x()), 1), w = noise(volume(c.weights()), 2), b = noise(8, 3);
  std::vector<double> y(volume(c.y())), sum(8), squares(8);
  c.each([&](std::size_t i, std::size_t j, std::size_t o) {
    y[o] += static_cast<double>(static_cast<float>(bfloat16(x[i]))) * static_cast<float>(bfloat16(w[j]));
  });
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = std::max(0.0, y[i] + b[i % 8]);
    sum[i % 8] += y[i];
    squares[i % 8] += y[i] * y[i];
  }
  const auto half = [](const std::vector<float>& v) {
    std::vector<bfloat16> result;
    for (const float f : v) result.emplace_back(f);
    return result;
  };
  const auto tx = tensor_of(1, c.x(), CUDNN_DATA_BFLOAT16),
             tw = tensor_of(2, c.weights(), CUDNN_DATA_BFLOAT16);
  const auto product = tensor_of(3, c.y(), CUDNN_DATA_FLOAT, true);
  const auto tb = tensor_of(4, {1, 8, 1, 1}, CUDNN_DATA_FLOAT);
  const auto biased = tensor_of(5, c.y(), CUDNN_DATA_FLOAT, true);
  const auto positive = tensor_of(6, c.y(), CUDNN_DATA_FLOAT, true);
  const auto ty = tensor_of(7, c.y(), CUDNN_DATA_BFLOAT16);
  const auto tsum = tensor_of(8, {1, 8, 1, 1}, CUDNN_DATA_FLOAT);
  const auto tsquares = tensor_of(9, {1, 8, 1, 1}, CUDNN_DATA_FLOAT);
  const auto convolution = c.descriptor();
  backend_descriptor conv(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  conv.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, std::vector{1.0F})
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, std::vector{0.0F})
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, tx)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, tw)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, product)
      .finalize();
  const auto pointwise = [](cudnnPointwiseMode_t mode, const backend_descriptor& from,
                            const backend_descriptor* second, const backend_descriptor& to) {
    backend_descriptor f(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    f.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, std::vector{mode})
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, std::vector{CUDNN_DATA_FLOAT})
        .finalize();
    backend_descriptor op(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, f)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
    if (second != nullptr) op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *second);
    op.finalize();
    return op;
  };
  const auto add_bias = pointwise(CUDNN_POINTWISE_ADD, product, &tb, biased);
  const auto rectify = pointwise(CUDNN_POINTWISE_RELU_FWD, biased, nullptr, positive);
  const auto round = pointwise(CUDNN_POINTWISE_IDENTITY, positive, nullptr, ty);
  backend_descriptor statistics(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
  statistics
      .set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE,
           std::vector{CUDNN_GENSTATS_SUM_SQSUM})
      .set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, std::vector{CUDNN_DATA_FLOAT})
      .set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, positive)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, tsum)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, tsquares)
      .finalize();
  // In an order that must be put right.
  const std::vector operations{statistics.get(), round.get(), rectify.get(), add_bias.get(), conv.get()};

  auto on_x = on_card(half(x)), on_w = on_card(half(w));
  auto on_b = on_card(b);
  device_buffer<bfloat16> out(y.size());
  device_buffer<float> out_sum(8), out_squares(8);
  device_buffer<char> workspace(simulator::cudnn().workspace);
  const auto plan = plan_of(dnn, operations);
  const graph captured = graph::capture(stream, [&] {
    CHECK(execute(dnn, plan, {1, 2, 4, 7, 8, 9},
                  {on_x.data(), on_w.data(), on_b.data(), out.data(), out_sum.data(), out_squares.data()},
                  workspace.data()) == CUDNN_STATUS_SUCCESS);
  });
  CHECK(on_host(out_sum)[0] == 0);
  captured.launch(stream);
  stream.wait();
  CHECK(close_to(on_host(out_sum), sum));
  CHECK(close_to(on_host(out_squares), squares));
  const auto found = on_host(out);
  CHECK(std::equal(found.begin(), found.end(), y.begin(), [](bfloat16 a, double v) {
    return std::abs(static_cast<float>(a) - v) <= std::abs(v) / 256 + 1e-6;
  }));

  // Nothing of that where only single operations are known, or the engine is broken.
  const auto limits = simulator::cudnn();
  simulator::cudnn().supports = [](std::span<const cudnnBackendDescriptorType_t> ops) {
    return ops.size() == 1;
  };
  CHECK_THROWS(plan_of(dnn, operations));
  simulator::cudnn() = limits;
  simulator::cudnn().broken = {10};
  CHECK_THROWS(plan_of(dnn, operations));
  CHECK_NOTHROW(plan_of(dnn, operations, 1));
  simulator::cudnn() = limits;
}

TEST_CASE("simulator: cuDNN's descriptors check their attributes") {
  cudnnBackendDescriptor_t tensor = nullptr;
  REQUIRE(cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &tensor) == CUDNN_STATUS_SUCCESS);
  const std::int64_t one = 1;
  const float f = 1;
  CHECK(cudnnBackendSetAttribute(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_FLOAT, 1, &f) ==
        CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
  CHECK(cudnnBackendSetAttribute(tensor, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 1, &one) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnnBackendSetAttribute(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &one) ==
        CUDNN_STATUS_SUCCESS);
  CHECK(cudnnBackendFinalize(tensor) == CUDNN_STATUS_BAD_PARAM);
  char text[100];
  cudnnGetLastErrorString(text, sizeof text);
  CHECK(contains(text, "lacks attribute"));
  cudnnBackendDestroyDescriptor(tensor);
}

#endif
