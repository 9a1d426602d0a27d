// SPDX-License-Identifier: MIT
// The part of CUDA's runtime that the project calls, for a simulated card.
#include "runtime.hpp"
#include "device.hpp"

#include <sys/mman.h>

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

/// One piece of what a stream is given.
struct work {
  std::function<void()> perform;
  bool counts = true;  ///< false: it only orders
};
using clock_type = std::chrono::steady_clock;

/// Recorded work in the order in which it was given, which is one that its dependencies allow.
struct CUgraph_st {
  std::vector<work> nodes;
};
struct CUgraphExec_st {
  std::vector<work> nodes;
};

namespace {

/// A capture and what takes part in it.
struct capture {
  std::unique_ptr<CUgraph_st> graph = std::make_unique<CUgraph_st>();
  cudaStream_t origin = nullptr;
  std::thread::id thread;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool invalid = false;
  std::vector<cudaStream_t> joined;  ///< streams beside the origin
};

}  // namespace

struct CUstream_st {
  bool blocking = true;
  std::deque<work> waiting;              ///< where work is done late
  std::shared_ptr<capture> capturing;    ///< null: not captured
  std::size_t recorded = 0, joined = 0;  ///< of the nodes recorded here, those that another stream waited for
};

struct CUevent_st {
  bool timed = true;
  bool recorded = false;                 ///< at least once, outside of captures
  std::size_t wanted = 0, happened = 0;  ///< number of the last record() called, and of the last one done
  cudaStream_t on = nullptr;
  clock_type::time_point time;
  std::shared_ptr<capture> within;  ///< recorded last in this capture
  std::size_t position = 0;         ///< of `on`'s recorded nodes then
};

namespace {

struct range {
  std::size_t bytes = 0;
  char* mapped = nullptr;
  std::size_t mapped_bytes = 0;
  bool device = false;
  bool registered = false;  ///< the host's own memory
};

struct world {
  std::recursive_mutex mutex;
  std::map<const char*, range> ranges;  ///< the card's memory and pinned memory, by address
  std::size_t used = 0, allocations = 0, pinned_allocations = 0, synchronisations = 0, executions = 0,
              graph_launches = 0;
  std::vector<cudaStream_t> streams;
  CUstream_st legacy;
  std::vector<std::shared_ptr<capture>> captures;
  int depth = 0;  ///< of work that runs
};
/// Never destroyed: objects of static lifetime may give their handles back late.
world& all() {
  static world& w = *new world;
  return w;
}
using lock = std::lock_guard<std::recursive_mutex>;

thread_local cudaError_t last_error = cudaSuccess;

constexpr std::size_t page = 4096;
constexpr unsigned char canary = 0xa5;

std::size_t number_from_environment(const char* name, std::size_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}
bool late() {
  const char* text = std::getenv("SEGNET_SIMULATED_STREAMS");
  return text != nullptr && std::string_view(text) == "late";
}
bool guarded() {
  static const bool wanted = number_from_environment("SEGNET_SIMULATED_GUARD", 0) != 0;
  return wanted;
}
std::size_t cards() { return number_from_environment("SEGNET_SIMULATED_CARDS", 1) == 0 ? 0 : 1; }
std::size_t card_memory() {
  return number_from_environment("SEGNET_SIMULATED_MEMORY", std::size_t{80} << 30);
}

cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess && status != cudaErrorNotReady) last_error = status;
  return status;
}

cudaError_t no_card() { return cards() == 0 ? cudaErrorNoDevice : cudaSuccess; }

void protect(int protection) {
  for (const auto& [address, r] : all().ranges)
    if (r.device) mprotect(r.mapped, r.mapped_bytes - page, protection);
}

/// While one lives, the card's memory can be touched.
class card_access {
 public:
  card_access() {
    if (all().depth++ == 0 && guarded()) protect(PROT_READ | PROT_WRITE);
  }
  ~card_access() {
    if (--all().depth == 0 && guarded()) protect(PROT_NONE);
  }
  card_access(const card_access&) = delete;
  card_access& operator=(const card_access&) = delete;
};

const std::pair<const char* const, range>* block_of(const void* at, std::size_t bytes) {
  const auto* address = static_cast<const char*>(at);
  auto next = all().ranges.upper_bound(address);
  if (next == all().ranges.begin()) return nullptr;
  --next;
  return address + bytes <= next->first + next->second.bytes ? &*next : nullptr;
}
/// Whether the address, of which more than the block may be meant, is one of the card's.
bool card_address(const void* at) {
  const auto* address = static_cast<const char*>(at);
  auto next = all().ranges.upper_bound(address);
  if (next == all().ranges.begin()) return false;
  --next;
  return next->second.device && address < next->first + next->second.bytes;
}

/// A block that ends where a page ends behind which nothing may be touched.
char* map_block(std::size_t bytes, bool device) {
  const std::size_t aligned = (bytes + 255) / 256 * 256;
  const std::size_t pages = (aligned + page - 1) / page * page;
  void* memory =
      mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* mapped = static_cast<char*>(memory);
  mprotect(mapped + pages, page, PROT_NONE);
  char* block = mapped + pages - aligned;
  std::memset(mapped, canary, static_cast<std::size_t>(block - mapped));
  std::memset(block, 0xff, bytes);
  std::memset(block + bytes, canary, aligned - bytes);
  all().ranges[block] = {bytes, mapped, pages + page, device, false};
  if (device && guarded() && all().depth == 0) mprotect(mapped, pages, PROT_NONE);
  return block;
}

void unmap_block(const char* block) {
  const auto found = all().ranges.find(block);
  const range r = found->second;
  {
    const card_access access;
    const auto intact = [&](const char* from, const char* to) {
      for (; from < to; ++from)
        if (static_cast<unsigned char>(*from) != canary) return false;
      return true;
    };
    if (!intact(r.mapped, block) || !intact(block + r.bytes, r.mapped + r.mapped_bytes - page))
      segnet::gpu::simulator::fail("memory around a block of %zu bytes of %s was written", r.bytes,
                                   r.device ? "the card's" : "pinned memory");
  }
  all().ranges.erase(found);
  munmap(r.mapped, r.mapped_bytes);
}

// ---- Streams
// ------------------------------------------------------------------------------------------------

CUstream_st& stream_of(cudaStream_t stream) {
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) return all().legacy;
  return *stream;
}

bool known(cudaStream_t stream) {
  if (&stream_of(stream) == &all().legacy) return true;
  for (const cudaStream_t s : all().streams)
    if (s == stream) return true;
  return false;
}

void run(const work& w) {
  const card_access access;
  if (w.counts) ++all().executions;
  w.perform();
}

void drain(CUstream_st& s) {
  while (!s.waiting.empty()) {
    const work w = std::move(s.waiting.front());
    s.waiting.pop_front();
    run(w);
  }
}
void drain_all() {
  drain(all().legacy);
  for (const cudaStream_t s : all().streams) drain(*s);
}

/// Whether calls of this thread that a capture forbids are forbidden by `c`.
bool forbids(const capture& c) {
  return c.mode == cudaStreamCaptureModeGlobal ||
         (c.mode == cudaStreamCaptureModeThreadLocal && c.thread == std::this_thread::get_id());
}
/// What must not happen while something is captured ends the capture.
cudaError_t unless_capturing(cudaError_t otherwise) {
  cudaError_t status = cudaSuccess;
  for (const auto& c : all().captures)
    if (forbids(*c)) {
      c->invalid = true;
      status = otherwise;
    }
  return status;
}
cudaError_t not_while_capturing() { return unless_capturing(cudaErrorStreamCaptureUnsupported); }
cudaError_t invalid(capture& c, cudaError_t status) {
  c.invalid = true;
  return status;
}

/// Gives `w` to the stream, in the way that the stream is in. `what` counts as work that is done.
cudaError_t give(cudaStream_t stream, work w) {
  if (const cudaError_t status = no_card(); status != cudaSuccess) return status;
  const lock l(all().mutex);
  if (!known(stream)) segnet::gpu::simulator::fail("work for a stream that does not exist");
  CUstream_st& s = stream_of(stream);
  if (&s == &all().legacy)
    if (const cudaError_t status = unless_capturing(cudaErrorStreamCaptureImplicit); status != cudaSuccess)
      return status;
  if (s.capturing != nullptr) {
    if (s.capturing->invalid) return cudaErrorStreamCaptureInvalidated;
    s.capturing->graph->nodes.push_back(std::move(w));
    ++s.recorded;
    return cudaSuccess;
  }
  if (&s == &all().legacy) {  // ordered with all that is not cudaStreamNonBlocking
    for (const cudaStream_t other : all().streams)
      if (other->blocking) drain(*other);
  } else if (s.blocking) {
    drain(all().legacy);
  }
  if (late()) {
    s.waiting.push_back(std::move(w));
  } else {
    drain(s);
    run(w);
  }
  return cudaSuccess;
}

/// Where the host waits.
cudaError_t wait_for(cudaStream_t stream) {
  if (const cudaError_t status = no_card(); status != cudaSuccess) return status;
  const lock l(all().mutex);
  if (!known(stream)) segnet::gpu::simulator::fail("waited for a stream that does not exist");
  CUstream_st& s = stream_of(stream);
  if (s.capturing != nullptr) {
    return invalid(*s.capturing, cudaErrorStreamCaptureUnsupported);
  }
  if (&s == &all().legacy)
    if (const cudaError_t status = unless_capturing(cudaErrorStreamCaptureImplicit); status != cudaSuccess)
      return status;
  ++all().synchronisations;
  if (&s == &all().legacy)
    for (const cudaStream_t other : all().streams)
      if (other->blocking) drain(*other);
  drain(s);
  return cudaSuccess;
}

// ---- Copies
// -------------------------------------------------------------------------------------------------

struct area {
  std::size_t pitch, width, height;
  std::size_t bytes() const { return height == 0 || width == 0 ? 0 : (height - 1) * pitch + width; }
};

/// cudaSuccess if memory at `at` is of that kind and holds the area.
cudaError_t fits(const void* at, const area& a, bool device) {
  if (device) return segnet::gpu::simulator::on_card(at, a.bytes()) ? cudaSuccess : cudaErrorInvalidValue;
  // Of the host's memory, only what is pinned has known bounds.
  return card_address(at) ? cudaErrorInvalidValue : cudaSuccess;
}

enum class wait { no, yes };

cudaError_t copy(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                 std::size_t height, cudaMemcpyKind kind, cudaStream_t stream, wait waits) {
  if (const cudaError_t status = no_card(); status != cudaSuccess) return status;
  const lock l(all().mutex);
  if (width == 0 || height == 0) return cudaSuccess;
  if (to == nullptr || from == nullptr) return cudaErrorInvalidValue;
  if (height > 1 && (to_pitch < width || from_pitch < width)) return cudaErrorInvalidPitchValue;
  const area out{to_pitch, width, height}, in{from_pitch, width, height};
  bool to_card = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  bool from_card = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) {
    to_card = card_address(to);
    from_card = card_address(from);
  }
  for (const cudaError_t status : {fits(to, out, to_card), fits(from, in, from_card)})
    if (status != cudaSuccess) return status;
  const bool pageable = (!to_card && !segnet::gpu::simulator::pinned(to, out.bytes())) ||
                        (!from_card && !segnet::gpu::simulator::pinned(from, in.bytes()));
  const bool captured = known(stream) && stream_of(stream).capturing != nullptr;
  if (pageable && captured) return invalid(*stream->capturing, cudaErrorStreamCaptureUnsupported);
  if (waits == wait::yes)
    if (const cudaError_t status = not_while_capturing(); status != cudaSuccess) return status;
  const cudaError_t status = give(stream, {[=] {
                                    for (std::size_t y = 0; y < height; ++y)
                                      std::memmove(static_cast<char*>(to) + y * to_pitch,
                                                   static_cast<const char*>(from) + y * from_pitch, width);
                                  }});
  // Pageable memory is copied while the call lasts.
  if (status == cudaSuccess && !captured && (waits == wait::yes || pageable)) drain(stream_of(stream));
  if (status == cudaSuccess && waits == wait::yes) ++all().synchronisations;
  return status;
}

cudaError_t set(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height,
                cudaStream_t stream) {
  if (const cudaError_t status = no_card(); status != cudaSuccess) return status;
  const lock l(all().mutex);
  if (width == 0 || height == 0) return cudaSuccess;
  if (const cudaError_t status = fits(to, {pitch, width, height}, true); status != cudaSuccess) return status;
  return give(stream, {[=] {
                for (std::size_t y = 0; y < height; ++y)
                  std::memset(static_cast<char*>(to) + y * pitch, value, width);
              }});
}

struct error_text {
  cudaError_t status;
  const char *name, *text;
};
constexpr error_text error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not initiated in this stream"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

}  // namespace

// ---- What tests ask
// -----------------------------------------------------------------------------------------

namespace segnet::gpu::simulator {

std::size_t allocations() { return all().allocations; }
std::size_t pinned_allocations() { return all().pinned_allocations; }
std::size_t synchronisations() { return all().synchronisations; }
std::size_t executions() { return all().executions; }
std::size_t graph_launches() { return all().graph_launches; }
std::size_t allocated_bytes() { return all().used; }

bool on_card(const void* from, std::size_t bytes) {
  const lock l(all().mutex);
  const auto* block = block_of(from, bytes);
  return block != nullptr && block->second.device;
}
bool pinned(const void* from, std::size_t bytes) {
  const lock l(all().mutex);
  const auto* block = block_of(from, bytes);
  return block != nullptr && !block->second.device;
}

void fail(const char* format, ...) {
  std::fputs("simulated card: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputs("\n", stderr);
  std::abort();
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> w) { return give(stream, {std::move(w)}); }

}  // namespace segnet::gpu::simulator

namespace segnet::gpu::emulation {
void enqueue(cudaStream_t stream, std::function<void()> w) { result(give(stream, {std::move(w)})); }
}  // namespace segnet::gpu::emulation

// ---- CUDA's functions
// ---------------------------------------------------------------------------------------

extern "C" {

const char* cudaGetErrorName(cudaError_t status) {
  for (const auto& e : error_texts)
    if (e.status == status) return e.name;
  return "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t status) {
  for (const auto& e : error_texts)
    if (e.status == status) return e.text;
  return "unrecognized error code";
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(cards());
  return result(no_card());
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return result(no_card());
}
cudaError_t cudaSetDevice(int device) {
  if (cards() == 0) return result(cudaErrorNoDevice);
  return result(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t status = cudaSetDevice(device); status != cudaSuccess) return status;
  *properties = {};
  std::strcpy(properties->name, "Simulated");
  properties->totalGlobalMem = card_memory();
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 132;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->sharedMemPerBlock = 49152;
  properties->sharedMemPerBlockOptin = 232448;
  properties->l2CacheSize = 50 << 20;
  properties->regsPerBlock = 65536;
  properties->asyncEngineCount = 3;
  properties->concurrentKernels = 1;
  properties->unifiedAddressing = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (const cudaError_t status = cudaSetDevice(device); status != cudaSuccess) return status;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = 49152;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 132;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrClockRate:
      *value = 1980000;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 2619000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = 5120;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    default:
      return result(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* available, std::size_t* total) {
  const lock l(all().mutex);
  *total = card_memory();
  *available = *total > all().used ? *total - all().used : 0;
  return result(no_card());
}
cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  const lock l(all().mutex);
  if (const cudaError_t status = not_while_capturing(); status != cudaSuccess) return result(status);
  ++all().synchronisations;
  drain_all();
  return cudaSuccess;
}

// ---- Memory

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  const lock l(all().mutex);
  *block = nullptr;
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  if (const cudaError_t status = not_while_capturing(); status != cudaSuccess) return result(status);
  if (bytes == 0) return cudaSuccess;
  // A card gives memory away in pieces of 512 bytes.
  if (bytes > card_memory() || all().used + bytes > card_memory()) return result(cudaErrorMemoryAllocation);
  *block = map_block(bytes, true);
  if (*block == nullptr) return result(cudaErrorMemoryAllocation);
  ++all().allocations;
  all().used += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* block) {
  const lock l(all().mutex);
  if (block == nullptr) return cudaSuccess;
  if (const cudaError_t status = not_while_capturing(); status != cudaSuccess) return result(status);
  const auto found = all().ranges.find(static_cast<const char*>(block));
  if (found == all().ranges.end() || !found->second.device)
    segnet::gpu::simulator::fail("cudaFree of %p, which is not a block of the card's", block);
  drain_all();  // as a card does
  all().used -= found->second.bytes;
  unmap_block(found->first);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** block, std::size_t bytes, unsigned) {
  const lock l(all().mutex);
  *block = nullptr;
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  if (const cudaError_t status = not_while_capturing(); status != cudaSuccess) return result(status);
  if (bytes == 0) return cudaSuccess;
  *block = map_block(bytes, false);
  if (*block == nullptr) return result(cudaErrorMemoryAllocation);
  ++all().pinned_allocations;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** block, std::size_t bytes) { return cudaHostAlloc(block, bytes, 0); }
cudaError_t cudaFreeHost(void* block) {
  const lock l(all().mutex);
  if (block == nullptr) return cudaSuccess;
  if (const cudaError_t status = not_while_capturing(); status != cudaSuccess) return result(status);
  const auto found = all().ranges.find(static_cast<const char*>(block));
  if (found == all().ranges.end() || found->second.device || found->second.registered)
    segnet::gpu::simulator::fail("cudaFreeHost of %p, which is not a block of pinned memory", block);
  drain_all();
  unmap_block(found->first);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void* block, std::size_t bytes, unsigned) {
  const lock l(all().mutex);
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  if (const cudaError_t status = not_while_capturing(); status != cudaSuccess) return result(status);
  if (block == nullptr || bytes == 0) return result(cudaErrorInvalidValue);
  if (block_of(block, 1) != nullptr) return result(cudaErrorHostMemoryAlreadyRegistered);
  all().ranges[static_cast<const char*>(block)] = {bytes, nullptr, 0, false, true};
  ++all().pinned_allocations;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* block) {
  const lock l(all().mutex);
  const auto found = all().ranges.find(static_cast<const char*>(block));
  if (found == all().ranges.end() || !found->second.registered)
    return result(cudaErrorHostMemoryNotRegistered);
  drain_all();
  all().ranges.erase(found);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* at) {
  const lock l(all().mutex);
  *attributes = {};
  const auto* block = block_of(at, 1);
  attributes->type = block == nullptr       ? cudaMemoryTypeUnregistered
                     : block->second.device ? cudaMemoryTypeDevice
                                            : cudaMemoryTypeHost;
  if (block != nullptr && block->second.device) attributes->devicePointer = const_cast<void*>(at);
  if (block != nullptr && !block->second.device) attributes->hostPointer = const_cast<void*>(at);
  return result(no_card());
}

cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  return result(set(to, bytes, value, bytes, 1, nullptr));
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return result(set(to, bytes, value, bytes, 1, stream));
}
cudaError_t cudaMemset2D(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height) {
  return result(set(to, pitch, value, width, height, nullptr));
}
cudaError_t cudaMemset2DAsync(void* to, std::size_t pitch, int value, std::size_t width, std::size_t height,
                              cudaStream_t stream) {
  return result(set(to, pitch, value, width, height, stream));
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return result(copy(to, bytes, from, bytes, bytes, 1, kind, nullptr, wait::yes));
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return result(copy(to, bytes, from, bytes, bytes, 1, kind, stream, wait::no));
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                         std::size_t width, std::size_t height, cudaMemcpyKind kind) {
  return result(copy(to, to_pitch, from, from_pitch, width, height, kind, nullptr, wait::yes));
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return result(copy(to, to_pitch, from, from_pitch, width, height, kind, stream, wait::no));
}

// ---- Streams

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const lock l(all().mutex);
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  *stream = new CUstream_st;
  (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
  all().streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const lock l(all().mutex);
  if (stream == nullptr || !known(stream))
    segnet::gpu::simulator::fail("cudaStreamDestroy of a stream that does not exist");
  drain(*stream);
  if (stream->capturing != nullptr) {
    stream->capturing->invalid = true;
    std::erase(stream->capturing->joined, stream);
    if (stream->capturing->origin == stream) std::erase(all().captures, stream->capturing);
  }
  std::erase(all().streams, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return result(wait_for(stream)); }
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const lock l(all().mutex);
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  if (!known(stream)) segnet::gpu::simulator::fail("cudaStreamQuery of a stream that does not exist");
  CUstream_st& s = stream_of(stream);
  if (s.capturing != nullptr) {
    s.capturing->invalid = true;
    return result(cudaErrorStreamCaptureUnsupported);
  }
  if (s.waiting.empty()) return cudaSuccess;
  // Whoever asks again and again must see it end.
  const work w = std::move(s.waiting.front());
  s.waiting.pop_front();
  run(w);
  return cudaErrorNotReady;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return result(give(stream, {[=] { function(data); }}));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  *event = new CUevent_st;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const lock l(all().mutex);
  drain_all();  // records of it may still wait
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  const lock l(all().mutex);
  if (!known(stream)) segnet::gpu::simulator::fail("cudaEventRecord in a stream that does not exist");
  CUstream_st& s = stream_of(stream);
  if (s.capturing != nullptr) {
    if (s.capturing->invalid) return result(cudaErrorStreamCaptureInvalidated);
    event->within = s.capturing;
    event->on = stream;
    event->position = s.recorded;
    return cudaSuccess;
  }
  event->within = nullptr;
  event->recorded = true;
  event->on = stream;
  const std::size_t number = ++event->wanted;
  const cudaError_t status = give(stream, {[event, number] {
                                             event->happened = number;
                                             event->time = clock_type::now();
                                           },
                                           false});
  return result(status);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const lock l(all().mutex);
  if (event->within != nullptr) return result(cudaErrorCapturedEvent);
  if (event->happened == event->wanted) return cudaSuccess;
  CUstream_st& s = stream_of(event->on);
  const work w = std::move(s.waiting.front());
  s.waiting.pop_front();
  run(w);
  return cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const lock l(all().mutex);
  if (event->within != nullptr) return result(invalid(*event->within, cudaErrorCapturedEvent));
  ++all().synchronisations;
  if (event->happened != event->wanted) {
    CUstream_st& s = stream_of(event->on);
    while (event->happened != event->wanted && !s.waiting.empty()) {
      const work w = std::move(s.waiting.front());
      s.waiting.pop_front();
      run(w);
    }
  }
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const lock l(all().mutex);
  if (!start->timed || !end->timed || !start->recorded || !end->recorded)
    return result(cudaErrorInvalidResourceHandle);
  if (start->within != nullptr || end->within != nullptr) return result(cudaErrorCapturedEvent);
  if (start->happened != start->wanted || end->happened != end->wanted) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const lock l(all().mutex);
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  if (!known(stream)) segnet::gpu::simulator::fail("cudaStreamWaitEvent in a stream that does not exist");
  CUstream_st& s = stream_of(stream);
  if (event->within != nullptr) {
    const bool ended = event->within->graph == nullptr;
    if (ended) return result(cudaErrorCapturedEvent);
    if (s.capturing != nullptr && s.capturing != event->within)
      return result(invalid(*s.capturing, cudaErrorStreamCaptureIsolation));
    if (s.capturing == nullptr) {
      if (&s == &all().legacy) return result(invalid(*event->within, cudaErrorStreamCaptureImplicit));
      drain(s);
      s.capturing = event->within;
      s.capturing->joined.push_back(stream);
      s.recorded = s.joined = 0;
    }
    ++s.recorded;  // what waits must be waited for
    CUstream_st& other = stream_of(event->on);
    if (&other != &s && other.joined < event->position) other.joined = event->position;
    return cudaSuccess;
  }
  if (s.capturing != nullptr) {
    // An event that was never recorded is no dependency.
    return result(event->recorded ? invalid(*s.capturing, cudaErrorStreamCaptureIsolation) : cudaSuccess);
  }
  if (!event->recorded || event->happened == event->wanted) return cudaSuccess;
  const std::size_t number = event->wanted;
  const cudaStream_t on = event->on;
  const work waiting{[=] {
                       CUstream_st& other = stream_of(on);
                       while (event->happened < number && !other.waiting.empty()) {
                         const work w = std::move(other.waiting.front());
                         other.waiting.pop_front();
                         run(w);
                       }
                     },
                     false};
  return result(give(stream, waiting));
}

// ---- Graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const lock l(all().mutex);
  if (const cudaError_t status = no_card(); status != cudaSuccess) return result(status);
  if (!known(stream) || &stream_of(stream) == &all().legacy) return result(cudaErrorStreamCaptureUnsupported);
  if (stream->capturing != nullptr) return result(cudaErrorIllegalState);
  stream->capturing = std::make_shared<capture>();
  stream->capturing->origin = stream;
  stream->capturing->mode = mode;
  stream->capturing->thread = std::this_thread::get_id();
  stream->recorded = stream->joined = 0;
  all().captures.push_back(stream->capturing);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const lock l(all().mutex);
  *graph = nullptr;
  if (stream == nullptr || !known(stream) || stream->capturing == nullptr)
    return result(cudaErrorIllegalState);
  const std::shared_ptr<capture> c = stream->capturing;
  if (c->origin != stream) {
    c->invalid = true;
    return result(cudaErrorStreamCaptureUnmatched);
  }
  bool unjoined = false;
  for (const cudaStream_t s : c->joined) {
    unjoined = unjoined || s->joined < s->recorded;
    s->capturing = nullptr;
  }
  stream->capturing = nullptr;
  std::erase(all().captures, c);
  std::unique_ptr<CUgraph_st> made = std::move(c->graph);
  if (c->invalid) return result(cudaErrorStreamCaptureInvalidated);
  if (unjoined) return result(cudaErrorStreamCaptureUnjoined);
  *graph = made.release();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const lock l(all().mutex);
  const auto& c = stream_of(stream).capturing;
  *status = c == nullptr ? cudaStreamCaptureStatusNone
            : c->invalid ? cudaStreamCaptureStatusInvalidated
                         : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(current, *mode);
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  if (nodes != nullptr) return result(cudaErrorNotSupported);
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (graph == nullptr) return result(cudaErrorInvalidValue);
  *executable = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const lock l(all().mutex);
  if (executable == nullptr) return result(cudaErrorInvalidValue);
  cudaError_t status = cudaSuccess;
  for (const work& node : executable->nodes)
    if (status == cudaSuccess) status = give(stream, node);
  if (status == cudaSuccess) ++all().graph_launches;
  return result(status);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

}  // extern "C"
