// SPDX-License-Identifier: MIT
#pragma once

#include <segnet/backend/cuda/buffer.hpp>
#include <segnet/backend/cuda/stream.hpp>

#include <cstddef>
#include <optional>

namespace segnet::gpu {

/// Bytes on their way to the card, copied by one stream while another computes: host() to write them,
/// start(), arrive() for the computing stream to wait for them, device() to read them there, and release()
/// once the reading was given to the stream.
class transfer {
 public:
  transfer() = default;
  /// The streams must live as long.
  transfer(const stream& compute, const stream& copies, std::size_t bytes)
      : compute_(&compute), copies_(&copies), host_(bytes), device_(bytes), events_(std::in_place) {}

  std::size_t size() const { return host_.size(); }
  /// Waits until the last copy has been read.
  std::byte* host() {
    if (started_) events_->copied.wait();
    return host_.data();
  }
  void start(std::size_t bytes) {
    if (started_) events_->read.hold(*copies_);
    check(cudaMemcpyAsync(device_.data(), host_.data(), bytes, cudaMemcpyHostToDevice, copies_->get()),
          "cudaMemcpyAsync");
    events_->copied.record(*copies_);
    started_ = true;
  }
  void arrive() { events_->copied.hold(*compute_); }
  const std::byte* device() const { return device_.data(); }
  void release() { events_->read.record(*compute_); }

 private:
  struct two_events {
    event copied, read;
  };
  const stream* compute_ = nullptr;
  const stream* copies_ = nullptr;
  pinned_buffer<std::byte> host_;
  device_buffer<std::byte> device_;
  std::optional<two_events> events_;
  bool started_ = false;
};

}  // namespace segnet::gpu
