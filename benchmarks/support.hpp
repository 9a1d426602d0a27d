// SPDX-License-Identifier: MIT
// What several benchmark programs share: numbers of threads, random data, a temporary folder.
#pragma once

#include <segnet/core/random.hpp>
#include <segnet/memory/aligned_buffer.hpp>

#include <benchmark/benchmark.h>

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace segnet_benchmark {

using namespace segnet;

/// 1, and as many as the machine has.
inline std::vector<int> thread_counts() {
  const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return all > 1 ? std::vector{1, all} : std::vector{1};
}

/// Gives a benchmark the argument `threads`. Time is the clock's: processor time would not see the gain.
inline void threads_1_and_all(benchmark::internal::Benchmark* b) {
  b->ArgName("threads")->UseRealTime();
  for (int threads : thread_counts()) b->Arg(threads);
}

/// main() of every program.
inline int run(int argc, char** argv) try {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "%s\n", problem.what());
  return 1;
}

/// Uniform in [-0.5, 0.5).
inline aligned_buffer<float> random_buffer(std::size_t size) {
  aligned_buffer<float> buffer(size);
  random_stream stream{size};
  for (float& value : buffer.span()) value = static_cast<float>(stream.uniform(-0.5, 0.5));
  return buffer;
}

/// A folder of this process, removed with the object.
class temporary_folder {
 public:
  temporary_folder()
      : path_(std::filesystem::temp_directory_path() / ("segnet_benchmark_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace segnet_benchmark
