// SPDX-License-Identifier: MIT
// Makes of a checkpoint a small file to pass on.
#include <segnet/network/checkpoint.hpp>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <string>

int main(int argc, char** argv) try {
  namespace fs = std::filesystem;
  using namespace segnet;
  fs::path weights, output;
  dtype type = dtype::f16;
  CLI::App app{
      "Writes a checkpoint's weights without what training needs to go on, as numbers of 16 bits.\n\n"
      "Biases, scales and statistics stay as they are. infer_carvana and evaluate_carvana read the file as "
      "any\n"
      "other checkpoint."};
  app.footer(
      "Exit code: 0, 1 if anything failed, 2 for wrong options.\n\n"
      "Example: export_weights --weights runs/carvana-1/best.safetensors --output car.safetensors");
  app.set_version_flag("--version", SEGNET_VERSION);
  app.add_option("--weights", weights, "checkpoint (.safetensors)")->required()->type_name("FILE");
  app.add_option("--output", output, "the file to write")->required()->type_name("FILE");
  app.add_option("--type", type, "f16, bf16, or f32")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, dtype>{{"f16", dtype::f16}, {"bf16", dtype::bf16}, {"f32", dtype::f32}}))
      ->default_str("f16")
      ->type_name("TYPE");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : 2;
  }
  const safetensors_file file(weights);
  checkpoint_header::from(file);  // throws for files that segnet did not write
  export_weights(file, output, type);
  std::printf("%s: %.1f MB, from %.1f MB\n", output.string().c_str(),
              static_cast<double>(fs::file_size(output)) / 1e6,
              static_cast<double>(fs::file_size(weights)) / 1e6);
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "export_weights: %s\n", problem.what());
  return 1;
}
