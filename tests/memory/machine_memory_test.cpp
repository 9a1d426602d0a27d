// SPDX-License-Identifier: MIT
#include <segnet/memory/machine_memory.hpp>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

using namespace segnet;

namespace {

/// A tree of the system's files, gone at the end.
class machine {
 public:
  machine() { std::filesystem::remove_all(root_); }
  ~machine() { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root_ + path).substr(0, (root_ + path).rfind('/')));
    std::ofstream(root_ + path) << text;
  }
  std::size_t available() const { return available_memory(root_); }

 private:
  std::string root_ = (std::filesystem::temp_directory_path() / "segnet_machine_memory_test").string();
};

}  // namespace

TEST_CASE("the memory of a machine without a control group", "[memory]") {
  const machine m;
  CHECK(m.available() == std::numeric_limits<std::size_t>::max());
  m.write("/proc/meminfo", "MemTotal:  9000 kB\nMemFree:  1000 kB\nMemAvailable:  5000 kB\nBuffers: 1 kB\n");
  CHECK(m.available() == 5000 * 1024);
  m.write("/sys/fs/cgroup/memory.max", "max\n");
  m.write("/sys/fs/cgroup/memory.current", "4000\n");
  CHECK(m.available() == 5000 * 1024);
}

TEST_CASE("a control group's limit counts, the pages of files do not", "[memory]") {
  const machine m;
  m.write("/sys/fs/cgroup/memory.max", "1000000\n");
  m.write("/sys/fs/cgroup/memory.current", "900000\n");
  CHECK(m.available() == 100000);
  m.write("/sys/fs/cgroup/memory.stat",
          "anon 200000\nfile 700000\ninactive_anon 7\ninactive_file 400000\nactive_file 250000\npgfault 9\n");
  CHECK(m.available() == 750000);
  m.write("/proc/meminfo", "MemAvailable: 500 kB\n");
  CHECK(m.available() == 500 * 1024);
  m.write("/sys/fs/cgroup/memory.stat", "inactive_file 99999999\n");  // read a moment later than the sum
  CHECK(m.available() == 500 * 1024);
  m.write("/sys/fs/cgroup/memory.max", "1000\n");
  CHECK(m.available() == 1000);
}
