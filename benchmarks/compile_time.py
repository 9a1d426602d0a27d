#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Seconds and memory that compilers need for segnet: the umbrella headers alone, a program that trains one network,
for Carvana's and for each published one at full width, and train_carvana with all its networks, with the flags that
CMake gives to train_carvana in Release.

    benchmarks/compile_time.py [--quick] [--compilers g++ clang++] [--json FILE]

Prints a Markdown table.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRAIN_CARVANA_BUDGET_S = 90  # with four sizes
PUBLISHED_BUDGET_S = 60

ONE_NETWORK = """#include <segnet/carvana.hpp>
using namespace segnet;
int main() {{
  network<carvana_{variant}<256>> net;
  training_options how{{.epochs = 1, .folder = "run"}};
  trainer run(net, how);
  const picture_source cars = synthetic_source(1, 0, 1, 480, 320);
  loader training(cars, {{}}), validation(cars, {{}});
  run.run(training, validation);
}}
"""

# As published: full width, the papers' image sizes and numbers of classes.
PUBLISHED = ("segnet_vgg16<360, 480, 11>", "segnet_basic<360, 480, 11>", "fcn_32s<500, 500, 21>",
             "fcn_16s<500, 500, 21>", "fcn_8s<500, 500, 21>", "deconvnet<21>", "unet<572, 572, 2>",
             "unet_same<512, 512, 2>")

PUBLISHED_NETWORK = """#include <segnet/segmentation.hpp>
using namespace segnet;
int main() {{
  network<{definition}> net;
  training_options how{{.epochs = 1, .optimizer = sgd{{}}, .folder = "run"}};
  trainer run(net, how, class_task{{}});
  constexpr int height = decltype(net)::input_shape.h, width = decltype(net)::input_shape.w;
  const picture_source streets = street_source(1, 0, 1, 480, 360);
  loader training(streets, {{.height = height, .width = width, .labels = true}});
  loader validation(streets, {{.height = height, .width = width, .labels = true}});
  run.run(training, validation);
}}
"""


def sources():
    """Name, text and budget of each translation unit; no text: train_carvana's networks on the CPU."""
    for umbrella in ("carvana", "segmentation"):
        yield f"{umbrella}.hpp alone", f"#include <segnet/{umbrella}.hpp>\nint main() {{}}\n", None
    for variant in ("7_2_7_1", "6_2_6_1", "lite"):
        yield f"one network, {variant.replace('_', '-')} at 256x256", ONE_NETWORK.format(variant=variant), None
    for definition in PUBLISHED:
        yield f"one network, {definition}", PUBLISHED_NETWORK.format(definition=definition), PUBLISHED_BUDGET_S
    yield "train_carvana, 4 sizes x 3 variants", None, TRAIN_CARVANA_BUDGET_S


def train_carvana_command(compiler, folder):
    """How CMake compiles train_carvana, without its output, and the source at the end."""
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
               "-DSEGNET_BUILD_EXAMPLES=ON", "-DSEGNET_BUILD_TESTS=OFF", "-DSEGNET_BUILD_BENCHMARKS=OFF"]
    subprocess.run(["cmake", "-S", ROOT, "-B", folder, *options], check=True, stdout=subprocess.DEVNULL)
    for entry in json.loads((folder / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        if entry["file"].endswith("backends/train_carvana.cpp") and "-DSEGNET_BACKEND=cpu" in words:
            del words[words.index("-o"):]  # -o OUTPUT -c SOURCE
            return words, entry["file"]
    sys.exit("compile_time.py: CMake's compile_commands.json has no train_carvana.cpp for the CPU")


def measure(command):
    """Runs the command; clock and processor seconds, and the most MiB that one of its processes had."""
    start = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit("compile_time.py: failed: " + shlex.join(map(str, command)))
    return {"seconds": round(seconds, 2), "processor_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_mib": round(usage.ru_maxrss / 1024)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one compiler, the umbrella header alone")
    parser.add_argument("--compilers", nargs="+", help="default: those of g++ and clang++ that are there")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures to this file too")
    args = parser.parse_args()
    compilers = args.compilers or [name for name in ("g++", "clang++") if shutil.which(name)]
    if not compilers or not all(map(shutil.which, compilers)):
        sys.exit(f"compile_time.py: found no compiler {' or '.join(compilers or ['g++', 'clang++'])}")

    results = []
    print("| compiler | source | s | processor s | peak MiB | budget s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for compiler in compilers[:1] if args.quick else compilers:
            folder = pathlib.Path(temporary) / pathlib.Path(compiler).name
            command, train_carvana = train_carvana_command(compiler, folder)
            for name, text, budget in list(sources())[:1] if args.quick else sources():
                source = train_carvana
                if text is not None:
                    source = folder / "source.cpp"
                    source.write_text(text)
                result = {"compiler": compiler, "source": name, "budget_s": budget,
                          **measure([*command, "-o", folder / "object.o", "-c", source])}
                results.append(result)
                print(f"| {compiler} | {name} | {result['seconds']:.1f} | {result['processor_seconds']:.1f} "
                      f"| {result['peak_mib']} | {result['budget_s'] or ''} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"compile_time": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
