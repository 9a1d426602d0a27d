// SPDX-License-Identifier: MIT
// Trains a network to cut cars out of studio photographs: on generated ones, or on the Kaggle Carvana set.
#include "train_carvana.hpp"
#include "training_command_line.hpp"

#include <CLI/CLI.hpp>
#include <type_traits>

int main(int argc, char** argv) {
  return training_run::guarded(train_carvana::self, [&] {
    train_carvana::options o;
    CLI::App app{
        "Trains a network to cut cars out of studio photographs. Without --data it generates its own."};
    app.footer(
        "Two checkpoints are kept in the output folder: best.safetensors, for infer_carvana and "
        "evaluate_carvana, and\n"
        "last.safetensors, for --resume. Ctrl-C finishes the step, saves and leaves.\n\n"
        "Exit code: 0, 1 if anything failed, 2 for wrong options, 130 when interrupted, after saving.\n\n"
        "Examples: train_carvana --data carvana --size 256 --batch 4 --out runs/carvana-256\n"
        "          train_carvana --resume runs/carvana-256/last.safetensors");
    app.set_version_flag("--version", SEGNET_VERSION);
    app.option_defaults()->always_capture_default();
    app.add_option("--data", o.data, "Kaggle's Carvana set: a folder with train/ and train_masks/")
        ->type_name("DIR");
    app.add_option("--variant", o.variant,
                   "7-2-7-1, 6-2-6-1, or lite (7-2-7-1 with a quarter of the filters)");
    app.add_option("--size", o.size, "pictures are shrunk to SIZE x SIZE pixels");
    app.add_option("--epochs", o.epochs, "passes over the training pictures")
        ->check(training_run::positive)
        ->default_str("40 with --data, else 6");
    app.add_option("--lr", o.rate, "highest learning rate of Adam")->check(training_run::positive);
    app.add_option("--boundary-weight", o.boundary_weight, "pixels near the outline count three times")
        ->check(CLI::IsMember({"on", "off"}));
    app.add_option("--val-fraction", o.val_fraction, "part of the cars that is held out for validation")
        ->check(training_run::proper_fraction);
    training_run::add_options(app, o, train_carvana::self);
    if (const auto code = training_run::parse(app, o, train_carvana::self, argc, argv)) return *code;
    if (o.epochs == 0) o.epochs = o.data.empty() ? 6 : 40;
    return device::with_backend(
        o.device, [&]<class Backend>(std::type_identity<Backend>, const segnet::network_options& with) {
          return train_carvana::train_on<Backend>(o, with);
        });
  });
}
