// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <string>

namespace segnet_test {

/// A variable of the environment for as long as this lives; null: none.
class environment_variable {
 public:
  environment_variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name); old != nullptr) before_ = old, was_set_ = true;
    set(value);
  }
  environment_variable(const environment_variable&) = delete;
  environment_variable& operator=(const environment_variable&) = delete;
  ~environment_variable() { set(was_set_ ? before_.c_str() : nullptr); }

 private:
  void set(const char* value) {
    if (value != nullptr)
      setenv(name_, value, 1);
    else
      unsetenv(name_);
  }
  const char* name_;
  std::string before_;
  bool was_set_ = false;
};

}  // namespace segnet_test
