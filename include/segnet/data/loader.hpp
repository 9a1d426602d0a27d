// SPDX-License-Identifier: MIT
// Batches for training and validation, prepared by background threads while the network computes.
#pragma once

#include <segnet/core/error.hpp>
#include <segnet/core/random.hpp>
#include <segnet/core/shape.hpp>
#include <segnet/data/augment.hpp>
#include <segnet/data/picture_cache.hpp>
#include <segnet/data/picture_source.hpp>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace segnet {

struct batch {
  int epoch = 0;
  int number = 0;             ///< within the epoch, from 0
  int count = 0;              ///< pictures; fewer than the batch size only at an epoch's end
  std::vector<float> images;  ///< count x height x width x 3, red, green, blue in [0, 1]
  std::vector<float> masks;   ///< count x height x width x 1, the covered part of each pixel in [0, 1]
  /// count x height x width class numbers, ignored_label where none is known. A loader of labels fills these
  /// and leaves the masks empty; any other does the reverse.
  std::vector<std::uint8_t> labels;
  /// A raw loader fills these instead: count x height x width x 4 bytes, red, green, blue and the mask (255 =
  /// covered) or the label, and what apply_augmentation() and warp_labels() would do to each picture.
  std::vector<std::uint8_t> pictures;
  std::vector<augmentation> changes;
  std::vector<int> indices;  ///< which picture of the source each one is
};

struct loader_options {
  int height = 128, width = 128;  ///< the network's input size
  int batch_size = 8;
  bool labels = false;  ///< the source's masks hold class numbers: fill batch::labels, not batch::masks
  /// The pictures' bytes and what would change them, for a device that does the rest: batch::pictures and
  /// batch::changes instead of the others.
  bool raw = false;
  bool shuffle = true;     ///< a new order in every epoch; off for validation
  bool drop_last = false;  ///< leave out an epoch's last batch when it is incomplete
  std::optional<augment_options> augment = std::nullopt;  ///< none for validation
  std::uint64_t seed = 0;
  int workers = 1;                                 ///< background threads
  int prefetch = 3;                                ///< batches prepared ahead, at most
  std::size_t cache_bytes = std::size_t{2} << 30;  ///< budget for pictures kept in memory
  /// Where to start: a resumed run continues in the middle. An epoch's end is the start of the next.
  int first_epoch = 0, first_batch = 0;
};

/// An endless sequence of batches, epoch after epoch. Order and content depend on the seed, never on the
/// number of workers: picture i of epoch e is augmented with the stream {seed, e, i}. One consumer; the
/// workers stop when the loader is destroyed, at any time.
///
///     loader batches(from_samples(split.train), {.batch_size = 8, .augment = augment_options{}});
///     for (int i = 0; i < batches.batches_per_epoch(); ++i) train(batches.next());
class loader {
 public:
  loader(picture_source source, const loader_options& options)
      : options_(checked(options)),
        cache_(std::move(source), options.height, options.width, options.cache_bytes, options.labels),
        next_{options.first_epoch, options.first_batch},
        slots_(static_cast<std::size_t>(options.prefetch) + 1),
        order_(static_cast<std::size_t>(cache_.size())) {
    if (options_.drop_last && cache_.size() < options_.batch_size)
      throw argument_error("loader: " + std::to_string(cache_.size()) +
                           " pictures do not fill one batch of " + std::to_string(options_.batch_size) +
                           " and incomplete batches are to be dropped");
    if (options_.first_batch > batches_per_epoch())
      throw argument_error("loader: first_batch: found " + std::to_string(options_.first_batch) +
                           ", but an epoch has " + std::to_string(batches_per_epoch()) + " batches");
    if (next_.batch == batches_per_epoch()) next_ = {next_.epoch + 1, 0};
    for (slot& s : slots_) {
      set_pictures(s.content, options_.batch_size);
      s.content.indices.reserve(static_cast<std::size_t>(options_.batch_size));
    }
    order_epoch(next_.epoch);
    threads_.reserve(static_cast<std::size_t>(options_.workers));
    try {
      for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }

  ~loader() { stop(); }
  loader(const loader&) = delete;
  loader& operator=(const loader&) = delete;

  int height() const { return options_.height; }
  int width() const { return options_.width; }
  int batch_size() const { return options_.batch_size; }
  /// Do the batches hold labels instead of masks?
  bool labels() const { return options_.labels; }
  /// Are the batches raw?
  bool raw() const { return options_.raw; }
  int size() const { return cache_.size(); }
  /// How many of the size() pictures fit the cache's budget.
  int cached_pictures() const { return cache_.capacity(); }
  int batches_per_epoch() const {
    return options_.drop_last ? cache_.size() / options_.batch_size
                              : (cache_.size() + options_.batch_size - 1) / options_.batch_size;
  }

  /// The next batch, valid until the next call. Rethrows a worker's exception (a file_error that names the
  /// picture) when the batch it belongs to is reached, and again on every call after that.
  const batch& next() {
    if (taken_ahead_) {
      taken_ahead_ = false;
      return slot_of(consumed_).content;
    }
    std::unique_lock lock(mutex_);
    if (holds_one_) ++consumed_;  // the batch handed out before is free for reuse
    holds_one_ = true;
    room_.notify_all();
    slot& s = slot_of(consumed_);
    filled_.wait(lock, [&] { return s.number == consumed_ && s.unfinished == 0; });
    if (s.problem) {
      holds_one_ = false;
      std::rethrow_exception(s.problem);
    }
    return s.content;
  }

  /// The batch that next() will return, as soon as it is there; the one before is no longer valid. Null where
  /// next() will throw.
  const batch* ahead() {
    if (!taken_ahead_) {
      try {
        next();
      } catch (...) {
        return nullptr;  // which next() finds again
      }
      taken_ahead_ = true;
    }
    return &slot_of(consumed_).content;
  }

 private:
  struct position {
    int epoch = 0, batch = 0;
  };
  struct slot {
    long number = -1;    ///< which batch of the sequence it holds
    int unfinished = 0;  ///< pictures not yet ready
    int problem_at = 0;  ///< the picture whose problem is reported: the first, whichever thread met it
    std::exception_ptr problem;
    batch content;
  };

  static const loader_options& checked(const loader_options& o) {
    const auto at_least = [](int least, const char* option, int found) {
      if (found < least)
        throw argument_error("loader: " + std::string(option) + ": found " + std::to_string(found) +
                             ", expected at least " + std::to_string(least));
    };
    at_least(1, "height", o.height);
    at_least(1, "width", o.width);
    at_least(1, "batch_size", o.batch_size);
    at_least(1, "workers", o.workers);
    at_least(1, "prefetch", o.prefetch);
    at_least(0, "first_epoch", o.first_epoch);
    at_least(0, "first_batch", o.first_batch);
    if (o.augment) check(*o.augment);
    return o;
  }

  slot& slot_of(long number) { return slots_[static_cast<std::size_t>(number) % slots_.size()]; }

  void stop() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    room_.notify_all();
    threads_.clear();  // joins
  }

  void order_epoch(int epoch) {
    static constexpr std::uint64_t order_key = 0x0bde;
    std::iota(order_.begin(), order_.end(), 0);
    random_stream random{options_.seed, order_key, static_cast<std::uint64_t>(epoch)};
    if (options_.shuffle) shuffle(order_, random);
  }

  void set_pictures(batch& b, int count) const {
    const std::size_t pixels =
        shape{options_.height, options_.width, 1}.size() * static_cast<std::size_t>(count);
    if (options_.raw) {
      b.pictures.resize(4 * pixels);
      b.changes.resize(static_cast<std::size_t>(count));
      return;
    }
    b.images.resize(3 * pixels);
    if (options_.labels)
      b.labels.resize(pixels);
    else
      b.masks.resize(pixels);
  }

  /// Prepares the slot of the next batch of the sequence; the lock is held.
  void open_batch() {
    slot& s = slot_of(opened_);
    const int first = next_.batch * options_.batch_size;
    s.number = opened_;
    s.problem = nullptr;
    s.content.epoch = next_.epoch, s.content.number = next_.batch;
    s.content.count = s.unfinished = std::min(options_.batch_size, cache_.size() - first);
    s.content.indices.assign(order_.begin() + first, order_.begin() + first + s.content.count);
    // Shrinking keeps the capacity: nothing is allocated after the first batches.
    set_pictures(s.content, s.content.count);
    ++opened_;
    next_picture_ = 0;
    if (++next_.batch == batches_per_epoch()) {
      next_ = {next_.epoch + 1, 0};
      order_epoch(next_.epoch);
    }
  }

  /// Threads take single pictures, not batches: the first batch is then ready as soon as it can be.
  void work() {
    small_picture scratch;
    std::vector<float> source(options_.raw ? 0 : shape{options_.height, options_.width, 4}.size());
    std::unique_lock lock(mutex_);
    for (;;) {
      const auto batch_is_dealt = [&] {
        return opened_ == 0 || next_picture_ == slot_of(opened_ - 1).content.count;
      };
      const auto has_room = [&] { return opened_ - consumed_ < static_cast<long>(slots_.size()); };
      room_.wait(lock, [&] { return stopping_ || !batch_is_dealt() || has_room(); });
      if (stopping_) return;
      if (batch_is_dealt()) {
        open_batch();
        room_.notify_all();
      }
      slot& s = slot_of(opened_ - 1);
      const int i = next_picture_++;
      lock.unlock();
      std::exception_ptr problem;
      try {
        prepare(s.content, i, scratch, source);
      } catch (...) {
        problem = std::current_exception();
      }
      lock.lock();
      if (problem && (!s.problem || i < s.problem_at)) s.problem = problem, s.problem_at = i;
      if (--s.unfinished == 0) filled_.notify_all();
    }
  }

  /// Fills picture i of a batch.
  void prepare(batch& b, int i, small_picture& scratch, std::vector<float>& source) {
    const int index = b.indices[static_cast<std::size_t>(i)];
    const small_picture& picture = cache_.get(index, scratch);
    const std::size_t pixels = picture.rgbm.pixels(), offset = pixels * static_cast<std::size_t>(i);
    augmentation change;
    if (options_.augment) {
      static constexpr std::uint64_t augment_key = 0xa06;
      const random_stream random{options_.seed, augment_key, static_cast<std::uint64_t>(b.epoch),
                                 static_cast<std::uint64_t>(index)};
      change =
          draw_augmentation(*options_.augment, options_.width, options_.height, picture.pixel_aspect, random);
    }
    if (options_.raw) {
      std::ranges::copy(picture.rgbm.data, b.pictures.begin() + static_cast<std::ptrdiff_t>(4 * offset));
      b.changes[static_cast<std::size_t>(i)] = change;
      return;
    }
    for (std::size_t k = 0; k < source.size(); ++k)
      source[k] = static_cast<float>(picture.rgbm.data[k]) * (1.0f / 255.0f);
    float* rgb = b.images.data() + 3 * offset;
    float* mask = options_.labels ? nullptr : b.masks.data() + offset;
    if (options_.augment) {
      apply_augmentation(source.data(), options_.height, options_.width, change, rgb, mask);
    } else {
      for (std::size_t p = 0; p < pixels; ++p) {
        std::copy_n(source.data() + 4 * p, 3, rgb + 3 * p);
        if (mask) mask[p] = source[4 * p + 3];
      }
    }
    if (options_.labels)
      warp_labels(picture.rgbm.data.data() + 3, 4, options_.height, options_.width, change.warp,
                  b.labels.data() + offset);
  }

  const loader_options options_;
  picture_cache cache_;
  bool taken_ahead_ = false;  ///< of the consumer: the batch handed out last is also the next

  std::mutex mutex_;  // guards all below
  std::condition_variable room_, filled_;
  bool stopping_ = false, holds_one_ = false;
  long consumed_ = 0;     ///< batches given back by the consumer
  long opened_ = 0;       ///< batches begun
  int next_picture_ = 0;  ///< of the batch begun last
  position next_;         ///< of the batch to begin next
  std::vector<slot> slots_;
  std::vector<int> order_;
  std::vector<std::jthread> threads_;  // last: joined before anything else goes
};

}  // namespace segnet
