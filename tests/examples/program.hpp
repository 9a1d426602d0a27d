// SPDX-License-Identifier: MIT
// Runs one of the example programs, as a user would.
#pragma once

#include "../temporary_folder.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#if __has_include(<sys/wait.h>)
#include <sys/wait.h>
#endif

namespace segnet_test {

struct program_run {
  int exit_code = -1;
  std::string out, err;
};

inline std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

inline std::string text_of(const std::filesystem::path& file) {
  const auto bytes = content(file);
  return {bytes.begin(), bytes.end()};
}

/// False, with a remark, where the examples were not built.
inline bool has_program(const std::string& name) {
  if (std::filesystem::exists(std::filesystem::path(SEGNET_PROGRAM_DIR) / name)) return true;
  WARN("skipped: " << name << " is not built (SEGNET_BUILD_EXAMPLES)");
  return false;
}

/// What the program printed goes through files in `folder`.
inline program_run run_program(const std::string& name, const std::vector<std::string>& arguments,
                               const temporary_folder& folder) {
  std::string command = quoted((std::filesystem::path(SEGNET_PROGRAM_DIR) / name).string());
  for (const std::string& argument : arguments) command += " " + quoted(argument);
  command += " > " + quoted((folder / ".stdout").string()) + " 2> " + quoted((folder / ".stderr").string());
  program_run run;
  run.exit_code = std::system(command.c_str());
#ifdef WEXITSTATUS
  run.exit_code = WIFEXITED(run.exit_code) ? WEXITSTATUS(run.exit_code) : -1;
#endif
  run.out = text_of(folder / ".stdout");
  run.err = text_of(folder / ".stderr");
  return run;
}

/// Runs it in the background until `file` is there, then sends it SIGTERM; returns its exit code.
inline int interrupt_program(const std::string& name, const std::vector<std::string>& arguments,
                             const std::filesystem::path& file) {
  std::string command = quoted((std::filesystem::path(SEGNET_PROGRAM_DIR) / name).string());
  for (const std::string& argument : arguments) command += " " + quoted(argument);
  command += " > /dev/null 2>&1 & run=$!; while kill -0 $run 2> /dev/null && [ ! -e " +
             quoted(file.string()) + " ]; do sleep 0.01; done; kill $run; wait $run";
  const int status = std::system(command.c_str());
#ifdef WEXITSTATUS
  return WEXITSTATUS(status);
#else
  return status;
#endif
}

/// Another current folder for as long as it lives.
struct folder_change {
  explicit folder_change(const std::filesystem::path& to) : from(std::filesystem::current_path()) {
    std::filesystem::current_path(to);
  }
  folder_change(const folder_change&) = delete;
  ~folder_change() { std::filesystem::current_path(from); }
  std::filesystem::path from;
};

}  // namespace segnet_test
