// SPDX-License-Identifier: MIT
// More threads than the machine can start. The sanitizers need an address space without a limit.
#include <segnet/backend/cpu/thread_pool.hpp>

#include <catch2/catch.hpp>

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SEGNET_TEST_LIMITS 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#undef SEGNET_TEST_LIMITS
#endif
#endif

#ifdef SEGNET_TEST_LIMITS
#include <sys/resource.h>

#include <string>

TEST_CASE("threads that cannot be started are an error, not the program's end", "[backend]") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  rlimit small = before;
  small.rlim_cur = rlim_t{1} << 30;  // a thread's stack takes some MiB of it
  REQUIRE(setrlimit(RLIMIT_AS, &small) == 0);
  std::string message;
  try {
    segnet::thread_pool pool(5000);
  } catch (const segnet::error& refused) {
    message = refused.what();
  }
  setrlimit(RLIMIT_AS, &before);
  CHECK_THAT(message,
             Catch::Matchers::StartsWith("threads: found 5000, but the machine starts no more than "));
}
#endif
