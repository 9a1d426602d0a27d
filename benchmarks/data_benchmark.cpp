// SPDX-License-Identifier: MIT
// The data pipeline in pictures per second (items_per_second), on generated photographs and masks with the
// shape and the file formats of Kaggle's: decoding, shrinking, augmentation, and the loader as a whole.
#include "gif.hpp"
#include "support.hpp"

#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/loader.hpp>
#include <segnet/data/synthetic.hpp>

#include <fstream>

namespace {

using namespace segnet_benchmark;

constexpr int width = 1918, height = 1280, pictures = 4;

/// Kaggle's layout in a temporary folder, written once.
const std::vector<sample>& samples() {
  static const temporary_folder folder;
  static const std::vector<sample> list = [] {
    for (const char* part : {"train", "train_masks"})
      std::filesystem::create_directories(folder.path() / part);
    for (int i = 0; i < pictures; ++i) {
      const int view = 1 + i * synthetic_views / pictures;
      const labelled_photo pair = render_synthetic_car(1, 0, view, width, height);
      const std::string name = "car_" + std::to_string(view);
      write_jpeg(folder.path() / "train" / (name + ".jpg"), pair.photo, 92);
      const std::filesystem::path mask = folder.path() / "train_masks" / (name + "_mask.gif");
      const std::vector<std::uint8_t> gif = encode_gif(pair.mask);
      std::ofstream(mask, std::ios::binary)
          .write(reinterpret_cast<const char*>(gif.data()), static_cast<std::streamsize>(gif.size()));
      if (read_mask(mask).data != pair.mask.data) throw file_error(mask, "reads as another mask");
    }
    return find_carvana(folder.path()).samples;
  }();
  return list;
}

void count_pictures(benchmark::State& state) { state.SetItemsProcessed(state.iterations()); }

void decode_jpeg(benchmark::State& state) {
  const std::filesystem::path file = samples()[0].image;
  for (auto _ : state) benchmark::DoNotOptimize(read_image(file).data.data());
  count_pictures(state);
}

void decode_gif_mask(benchmark::State& state) {
  const std::filesystem::path file = samples()[0].mask;
  for (auto _ : state) benchmark::DoNotOptimize(read_mask(file).data.data());
  count_pictures(state);
}

/// Photograph and mask to size x size.
void resize_both(benchmark::State& state) {
  const labelled_photo pair = read_sample(samples()[0]);
  const int size = static_cast<int>(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(shrink(pair, size, size).rgbm.data.data());
  count_pictures(state);
}

void augment(benchmark::State& state) {
  const int size = static_cast<int>(state.range(0));
  const small_picture picture = shrink(read_sample(samples()[0]), size, size);
  std::vector<float> source(picture.rgbm.data.begin(), picture.rgbm.data.end());
  for (float& value : source) value /= 255;
  std::vector<float> rgb(3 * picture.rgbm.pixels()), mask(picture.rgbm.pixels());
  std::uint64_t i = 0;
  for (auto _ : state) {
    apply_augmentation(
        source.data(), size, size,
        draw_augmentation(augment_options{}, size, size, picture.pixel_aspect, random_stream{i++}),
        rgb.data(), mask.data());
    benchmark::ClobberMemory();
  }
  count_pictures(state);
}

/// Augmented batches of one picture, from files or, from the second epoch on, out of the loader's cache.
void whole_loader(benchmark::State& state, bool cached) {
  const int size = static_cast<int>(state.range(0));
  loader batches(from_samples(samples()), {.height = size,
                                           .width = size,
                                           .batch_size = 1,
                                           .augment = augment_options{},
                                           .workers = static_cast<int>(state.range(1)),
                                           .cache_bytes = cached ? std::size_t{1} << 30 : 0});
  // Fills the cache, and catches up with the workers: no batch may have been prepared before time runs.
  for (int i = 0; i < pictures; ++i) batches.next();
  for (auto _ : state) benchmark::DoNotOptimize(batches.next().images.data());
  count_pictures(state);
}
void loader_decoding(benchmark::State& state) { whole_loader(state, false); }
void loader_cached(benchmark::State& state) { whole_loader(state, true); }

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgName("size")->Arg(256)->Arg(512)->Arg(1024)->UseRealTime()->Unit(benchmark::kMillisecond);
}
void sizes_and_threads(benchmark::internal::Benchmark* b) {
  b->ArgNames({"size", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (int size : {256, 512, 1024})
    for (int threads : thread_counts()) b->Args({size, threads});
}

BENCHMARK(decode_jpeg)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(decode_gif_mask)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(resize_both)->Name("resize")->Apply(sizes);
BENCHMARK(augment)->Apply(sizes);
BENCHMARK(loader_decoding)->Apply(sizes_and_threads);
BENCHMARK(loader_cached)->Apply(sizes_and_threads);

}  // namespace

int main(int argc, char** argv) { return segnet_benchmark::run(argc, argv); }
