// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>

namespace segnet {

inline namespace literals {
constexpr std::size_t operator""_KiB(unsigned long long n) { return static_cast<std::size_t>(n) << 10; }
constexpr std::size_t operator""_MiB(unsigned long long n) { return static_cast<std::size_t>(n) << 20; }
constexpr std::size_t operator""_GiB(unsigned long long n) { return static_cast<std::size_t>(n) << 30; }
}  // namespace literals

/// "12.3 MiB".
inline std::string in_mebibytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1024.0 * 1024.0));
  return text;
}

/// What a network needs, in bytes, known while compiling. A network for training allocates all of it (but for
/// the optimizer's moments); one for inference only inference_working_bytes(): it reads its weights in the
/// pages of the checkpoint's file.
struct memory_plan {
  std::size_t parameters = 0;          ///< trainable; gradients take as much again
  std::size_t statistics = 0;          ///< running means and variances
  std::size_t folded = 0;              ///< scales and shifts of the batch-norms that inference folds
  std::size_t training_saved = 0;      ///< statistics of the batch, from forward to backward
  std::size_t training_shared = 0;     ///< scratch of all threads together
  std::size_t training_per_image = 0;  ///< activations, gradients, saved values, workspaces
  std::size_t training_per_thread = 0;
  std::size_t inference_shared = 0;
  std::size_t inference_per_image = 0;
  std::size_t inference_per_thread = 0;

  /// Adam's two moments of every parameter.
  constexpr std::size_t optimizer() const { return 2 * parameters; }
  /// All tensors of the network, without a copy.
  constexpr std::size_t weights() const { return parameters + statistics; }
  /// Parameters, gradients, statistics and working memory for training on `batch` images with Adam, and for
  /// inference with the same weights between the epochs.
  constexpr std::size_t training_bytes(int batch, int threads = 1) const {
    return 2 * parameters + optimizer() + statistics + folded + training_saved +
           std::max(training_shared, inference_shared) +
           static_cast<std::size_t>(batch) * std::max(training_per_image, inference_per_image) +
           static_cast<std::size_t>(threads) * std::max(training_per_thread, inference_per_thread);
  }
  /// What a network made for inference allocates, once.
  constexpr std::size_t inference_working_bytes(int batch = 1, int threads = 1) const {
    return folded + inference_shared + static_cast<std::size_t>(batch) * inference_per_image +
           static_cast<std::size_t>(threads) * inference_per_thread;
  }
  /// The same with the weights, which a run touches all: below that, the file's pages would be read from the
  /// disk again for every image.
  constexpr std::size_t inference_bytes(int batch = 1, int threads = 1) const {
    return weights() + inference_working_bytes(batch, threads);
  }
};

}  // namespace segnet
