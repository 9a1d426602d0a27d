// SPDX-License-Identifier: MIT
// Runs a kernel's threads as fibers that yield at barriers.
#include "device.hpp"
#include "runtime.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define SEGNET_FIBERS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEGNET_FIBERS_ASAN 1
#endif
#endif
#if defined(SEGNET_FIBERS_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves what a call must keep and takes the other stack; swapcontext would call the kernel each time.
extern "C" void segnet_simulator_switch(void** save, void* load);
asm(R"(
.text
.globl segnet_simulator_switch
.type segnet_simulator_switch, @function
segnet_simulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size segnet_simulator_switch, .-segnet_simulator_switch
)");
#else
#include <ucontext.h>
#endif

// What __shared__ has put there, if there is anything.
extern "C" {
extern char __start_segnet_shared[] __attribute__((weak));
extern char __stop_segnet_shared[] __attribute__((weak));
}

namespace segnet::gpu::emulation {
namespace {

constexpr std::size_t stack_bytes = std::size_t{256} << 10;
constexpr std::size_t page = 4096;

enum class state { ready, at_block_barrier, at_warp_exchange, ended };

/// One thread of a block.
struct fiber {
  state now = state::ready;
  bool started = false;
  char* stack = nullptr;  ///< from when it starts to when it ends
  place where{};
  unsigned mask = 0;
  std::uint64_t brought = 0;
#if defined(__x86_64__)
  void* top = nullptr;
#else
  ucontext_t context;
#endif
  void* fake_stack = nullptr;  ///< AddressSanitizer's
};

/// The block that runs.
struct block {
  std::vector<fiber> fibers;
  std::vector<std::uint64_t> exchanged;  ///< what the threads brought, by thread
  votes result{};
  const std::function<void()>* kernel = nullptr;
  fiber* current = nullptr;
  std::vector<char*> free_stacks;
  std::size_t stacks = 0;
#if defined(__x86_64__)
  void* scheduler = nullptr;
#else
  ucontext_t scheduler;
#endif
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
};
block running;
std::mutex one_at_a_time;

unsigned number_of(const fiber& f) { return static_cast<unsigned>(&f - running.fibers.data()); }

char* take_stack() {
  if (running.free_stacks.empty()) {
    void* memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) simulator::fail("no memory for the stack of a simulated thread");
    mprotect(memory, page, PROT_NONE);
    running.free_stacks.push_back(static_cast<char*>(memory) + page);
    ++running.stacks;
  }
  char* stack = running.free_stacks.back();
  running.free_stacks.pop_back();
#if defined(SEGNET_FIBERS_ASAN)
  __asan_unpoison_memory_region(stack, stack_bytes);
#endif
  return stack;
}

void to_scheduler([[maybe_unused]] bool last) {
  fiber& f = *running.current;
#if defined(SEGNET_FIBERS_ASAN)
  __sanitizer_start_switch_fiber(last ? nullptr : &f.fake_stack, running.scheduler_stack,
                                 running.scheduler_stack_bytes);
#endif
#if defined(__x86_64__)
  segnet_simulator_switch(&f.top, running.scheduler);
#else
  swapcontext(&f.context, &running.scheduler);
#endif
#if defined(SEGNET_FIBERS_ASAN)
  __sanitizer_finish_switch_fiber(f.fake_stack, &running.scheduler_stack, &running.scheduler_stack_bytes);
#endif
}

void body() {
#if defined(SEGNET_FIBERS_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &running.scheduler_stack, &running.scheduler_stack_bytes);
#endif
  (*running.kernel)();
  running.current->now = state::ended;
  to_scheduler(true);
  std::abort();
}

/// Until it waits or ends.
void run(fiber& f) {
  running.current = &f;
  threadIdx = {number_of(f), 0, 0};
  if (!f.started) {
    f.started = true;
    f.stack = take_stack();
#if defined(__x86_64__)
    // Tops at different places of a page, else all of them would compete for the same lines of the cache.
    const std::size_t stagger = number_of(f) % 16 * 192;
    auto** top = reinterpret_cast<void**>(f.stack + stack_bytes - stagger);
    *--top = nullptr;  // where body() would return to
    *--top = reinterpret_cast<void*>(&body);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    f.top = top;
#else
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack;
    f.context.uc_stack.ss_size = stack_bytes;
    f.context.uc_link = nullptr;
    makecontext(&f.context, &body, 0);
#endif
  }
#if defined(SEGNET_FIBERS_ASAN)
  __sanitizer_start_switch_fiber(&running.scheduler_fake_stack, f.stack, stack_bytes);
#endif
#if defined(__x86_64__)
  segnet_simulator_switch(&running.scheduler, f.top);
#else
  swapcontext(&running.scheduler, &f.context);
#endif
#if defined(SEGNET_FIBERS_ASAN)
  __sanitizer_finish_switch_fiber(running.scheduler_fake_stack, nullptr, nullptr);
#endif
  if (f.now == state::ended) running.free_stacks.push_back(std::exchange(f.stack, nullptr));
}

/// Lets those go on that the warp's exchanges waited for. False if none waits for one.
bool finish_exchanges(std::size_t first) {
  const std::size_t end = std::min(first + 32, running.fibers.size());
  bool any = false;
  for (std::size_t i = first; i < end; ++i) {
    fiber& f = running.fibers[i];
    if (f.now != state::at_warp_exchange) continue;
    any = true;
    if ((f.mask >> (i - first) & 1U) == 0)
      simulator::fail("%s:%d: thread %zu is not in its own mask %#x", f.where.file, f.where.line, i, f.mask);
    for (std::size_t lane = 0; lane < 32; ++lane) {
      if ((f.mask >> lane & 1U) == 0) continue;
      const std::size_t other = first + lane;
      if (other >= end)
        simulator::fail("%s:%d: thread %zu waits for lane %zu, which a block of %zu threads lacks",
                        f.where.file, f.where.line, i, lane, running.fibers.size());
      fiber& o = running.fibers[other];
      if (o.now == state::ended)
        simulator::fail("%s:%d: thread %zu waits for thread %zu, which has ended", f.where.file, f.where.line,
                        i, other);
      if (o.now != state::at_warp_exchange || o.mask != f.mask || o.where.line != f.where.line ||
          std::string_view(o.where.file) != f.where.file)
        simulator::fail("%s:%d: thread %zu (mask %#x) waits for thread %zu, which waits at %s:%d (mask %#x)",
                        f.where.file, f.where.line, i, f.mask, other, o.where.file, o.where.line, o.mask);
    }
    for (std::size_t lane = 0; lane < 32; ++lane)
      if (const std::size_t other = first + lane; (f.mask >> lane & 1U) != 0) {
        running.exchanged[other] = running.fibers[other].brought;
        running.fibers[other].now = state::ready;
      }
  }
  return any;
}

void finish_block_barrier() {
  const auto waiting = std::ranges::find(running.fibers, state::at_block_barrier, &fiber::now);
  running.result = {0, static_cast<int>(running.fibers.size())};
  for (fiber& f : running.fibers) {
    if (f.now == state::ended)
      simulator::fail("%s:%d: threads wait at a barrier (thread %u), but thread %u has ended",
                      waiting->where.file, waiting->where.line, number_of(*waiting), number_of(f));
    if (f.where.line != waiting->where.line || std::string_view(f.where.file) != waiting->where.file)
      simulator::fail("threads wait at different barriers: thread %u at %s:%d, thread %u at %s:%d",
                      number_of(*waiting), waiting->where.file, waiting->where.line, number_of(f),
                      f.where.file, f.where.line);
    running.result.count += f.brought != 0 ? 1 : 0;
    f.now = state::ready;
  }
}

void run_block(std::vector<unsigned>& order) {
  for (fiber& f : running.fibers) {
    f.now = state::ready;
    f.started = false;
  }
  for (;;) {
    bool waiting = false;
    for (const unsigned i : order) {
      fiber& f = running.fibers[i];
      if (f.now == state::ready) run(f);
      waiting = waiting || f.now != state::ended;
    }
    if (!waiting) return;
    bool exchanged = false;
    for (std::size_t first = 0; first < running.fibers.size(); first += 32)
      exchanged = finish_exchanges(first) || exchanged;
    if (!exchanged) finish_block_barrier();
  }
}

/// What launch() enqueues.
void run_kernel(unsigned blocks, unsigned threads, const std::function<void()>& kernel) {
  const std::lock_guard lock(one_at_a_time);
  std::vector<unsigned> thread_order(threads), block_order(blocks);
  std::iota(thread_order.begin(), thread_order.end(), 0U);
  std::iota(block_order.begin(), block_order.end(), 0U);
  std::minstd_rand random(7);
  const order wanted = order_of_threads();
  if (wanted == order::reverse) {
    std::ranges::reverse(thread_order);
    std::ranges::reverse(block_order);
  } else if (wanted == order::random) {
    std::ranges::shuffle(thread_order, random);
    std::ranges::shuffle(block_order, random);
  }
  running.fibers.resize(threads);
  running.exchanged.resize((threads + 31U) / 32U * 32U);
  running.kernel = &kernel;
  blockDim = dim3(threads);
  gridDim = dim3(blocks);
  unsigned begun = 0;
  for (const unsigned b : block_order) {
    // Not for every block, to save time.
    if (begun++ % 8 == 0 && __start_segnet_shared != nullptr)
      std::memset(__start_segnet_shared, 0xff,
                  static_cast<std::size_t>(__stop_segnet_shared - __start_segnet_shared));
    blockIdx = {b, 0, 0};
    run_block(thread_order);
  }
  running.current = nullptr;
}

fiber& here(place where) {
  if (running.current == nullptr)
    simulator::fail("%s:%d: a barrier outside of a kernel that launch() started", where.file, where.line);
  return *running.current;
}

}  // namespace

order order_of_threads() {
  const char* text = std::getenv("SEGNET_SIMULATED_ORDER");
  const std::string_view wanted = text != nullptr ? text : "forward";
  if (wanted == "forward") return order::forward;
  if (wanted == "reverse") return order::reverse;
  if (wanted == "random") return order::random;
  simulator::fail("SEGNET_SIMULATED_ORDER is \"%s\"", text);
}

votes block_barrier(bool vote, place where) {
  fiber& f = here(where);
  f.now = state::at_block_barrier;
  f.where = where;
  f.brought = vote ? 1 : 0;
  to_scheduler(false);
  return running.result;
}

const std::uint64_t* warp_exchange(unsigned mask, std::uint64_t value, place where) {
  fiber& f = here(where);
  f.now = state::at_warp_exchange;
  f.where = where;
  f.mask = mask;
  f.brought = value;
  to_scheduler(false);
  return running.exchanged.data() + number_of(f) / 32 * 32;
}

void absent_lane(unsigned lane, place where) {
  simulator::fail("%s:%d: thread %u reads from lane %u, which takes no part", where.file, where.line,
                  threadIdx.x, lane);
}

void launch(unsigned blocks, unsigned threads, cudaStream_t stream, std::function<void()> kernel) {
  if (threads == 0 || threads > 1024 || blocks == 0 || blocks > 0x7fffffffU)
    simulator::fail("a kernel with %u blocks of %u threads", blocks, threads);
  enqueue(stream, [=, k = std::move(kernel)] { run_kernel(blocks, threads, k); });
}

}  // namespace segnet::gpu::emulation
