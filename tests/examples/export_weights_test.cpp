// SPDX-License-Identifier: MIT
#include "checkpoint.hpp"
#include "program.hpp"

#include <segnet/core/half.hpp>
#include <segnet/data/image.hpp>
#include <segnet/data/synthetic.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

using namespace segnet;
using segnet_test::has_program;
using segnet_test::message_of;
using segnet_test::run_program;
using segnet_test::temporary_folder;
namespace fs = std::filesystem;

TEST_CASE("exported weights are the checkpoint's, rounded, without what training needs", "[examples]") {
  const temporary_folder folder;
  const fs::path from = folder / "last.safetensors", to = folder / "small.safetensors";
  const std::vector<float> weight{1, -2.5F, 3e-5F, 0.1F}, bias{0.1F, 1e-9F}, momentum(6, 1);
  const auto write = [&](std::span<const float> values) {
    auto metadata = segnet_test::lite_header().to_metadata();
    metadata["training_options"] = "{}";
    metadata["training_state"] = "{}";
    write_safetensors(from,
                      {{"a.weight", dtype::f32, {2, 1, 1, 2}, std::as_bytes(values)},
                       {"a.bias", dtype::f32, {2}, std::as_bytes(std::span(bias))},
                       {"training.m", dtype::f32, {6}, std::as_bytes(std::span(momentum))}},
                      metadata);
  };
  write(weight);
  for (const dtype type : {dtype::f16, dtype::bf16, dtype::f32}) {
    export_weights(safetensors_file(from), to, type);
    const safetensors_file found(to);
    REQUIRE(found.tensors().size() == 2);
    CHECK(found.at("a.weight").type == type);
    CHECK(found.at("a.weight").shape == std::vector<std::size_t>{2, 1, 1, 2});
    CHECK(found.at("a.bias").type == dtype::f32);
    std::vector<float> w(4), b(2);
    found.read("a.weight", w);
    found.read("a.bias", b);
    CHECK(b == bias);
    for (std::size_t i = 0; i < w.size(); ++i)
      CHECK(w[i] == (type == dtype::f16    ? static_cast<float>(float16(weight[i]))
                     : type == dtype::bf16 ? static_cast<float>(bfloat16(weight[i]))
                                           : weight[i]));
    const auto header = checkpoint_header::from(found);
    CHECK(header.variant == "lite");
    CHECK(header.split_seed == 3);
    CHECK(!found.metadata().contains("training_options"));
    CHECK(!found.metadata().contains("training_state"));
  }
  write(std::vector<float>{1, 2, 1e6F, 3});
  CHECK(message_of<file_error>([&] { export_weights(safetensors_file(from), to); }) ==
        from.string() + ": a.weight: 1000000.000000 is too large for F16");
  CHECK(fs::exists(to));  // the one before
  CHECK_NOTHROW(export_weights(safetensors_file(from), to, dtype::bf16));
  CHECK_THROWS_AS(export_weights(safetensors_file(from), to, dtype::f64), argument_error);
}

TEST_CASE("export_weights makes a file that infer_carvana reads", "[examples]") {
  if (!has_program("export_weights") || !has_program("infer_carvana")) return;
  const temporary_folder folder;
  const fs::path from = folder / "best.safetensors", to = folder / "small.safetensors";
  segnet_test::write_random_checkpoint(from);
  const auto run =
      run_program("export_weights", {"--weights", from.string(), "--output", to.string()}, folder);
  INFO(run.err);
  REQUIRE(run.exit_code == 0);
  CHECK(50 * fs::file_size(to) < 26 * fs::file_size(from));

  const auto wrong = run_program("export_weights",
                                 {"--weights", (folder / "none").string(), "--output", to.string()}, folder);
  CHECK(wrong.exit_code == 1);
  CHECK(run_program("export_weights", {"--weights", from.string(), "--output", to.string(), "--type", "f8"},
                    folder)
            .exit_code == 2);

  const fs::path photo = folder / "car.png";
  write_png(photo, render_synthetic_car(1, 2, 3, 191, 127).photo);
  const auto mask_with = [&](const fs::path& weights) {
    const fs::path mask = folder / "mask.png";
    const auto infer = run_program("infer_carvana",
                                   {"--weights", weights.string(), "--input", photo.string(), "--output",
                                    mask.string(), "--probability", "--threads=1"},
                                   folder);
    INFO(infer.err);
    REQUIRE(infer.exit_code == 0);
    return read_image(folder / "mask_probability.png");
  };
  const image whole = mask_with(from), small = mask_with(to);
  REQUIRE(whole.data.size() == small.data.size());
  int worst = 0;
  for (std::size_t i = 0; i < whole.data.size(); ++i)
    worst = std::max(worst, std::abs(int{whole.data[i]} - int{small.data[i]}));
  CHECK(worst <= 4);
}
