# SPDX-License-Identifier: MIT
"""What the candidates of compare_gpu.py have in common. Each is a program, started once for each job, with these
options:

    --job training|inference --size PIXELS --batch N [--weights FILE] [--images FILE] [--masks FILE] [--out FILE]

and --mode MODE (pytorch_gpu.py) or --precision P (gpu_benchmark). It reads pictures as raw floats,
[n][size][size][3] for images and [n][size][size] for masks. Then it obeys commands, one on each line of its standard
input, until that ends, and answers each with a line of JSON. Between commands it leaves the card alone, so that
candidates can be measured in turn.

    (at its start)   {"event": "started", "version"}: everything is imported and read, the card was not used yet
    prepare          {"event": "prepared", "prepare_seconds", "device_bytes", ...}: makes the network, finds the fastest
                     algorithms, warms up. device_bytes: by how much the card's free memory has shrunk since,
                     without what CUDA itself takes for a program.
                     training: "losses" of the first three steps of Adam (rate 1e-3) on binary cross-entropy
                     + 1 - soft Dice, always on the same batch. inference: the probabilities of the images go to --out.
                     pytorch_gpu.py: "reserved_bytes" and "allocated_bytes", the peaks of what its allocator has taken
                     from the card, and given out of that, after the warming up. gpu_benchmark: "planned_bytes", and
                     the network's "work": operations and bytes of each convolution, and the optimizer's bytes.
    measure SECONDS  {"event": "measured", "times_ms": [...], "whole_ms": [...]}: milliseconds of each step or inference
                     by the card's clock, with inputs and outputs on the card; then by the host's clock, with copies
                     from and to the host (not for PyTorch's training).
    profile          (gpu_benchmark) {"event": "profiled", "profile_ms": {kind of work: milliseconds}}
"""
import argparse
import json
import sys

LEARNING_RATE = 1e-3


def options(modes):
    parser = argparse.ArgumentParser(description="One candidate of compare_gpu.py; see speed_gpu.py.")
    parser.add_argument("--job", required=True, choices=("inference", "training"))
    parser.add_argument("--mode", required=True, choices=modes)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    for file in ("--weights", "--images", "--masks", "--out"):
        parser.add_argument(file)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variant", default="7-2-7-1")
    return parser.parse_args()


def show(**line):
    print(json.dumps(line), flush=True)


def serve(job, version):
    """`job` has prepare() and measure(seconds), which return dictionaries."""
    show(event="started", version=version)
    for line in sys.stdin:
        command, *values = line.split()
        if command == "prepare":
            show(event="prepared", **job.prepare())
        elif command == "measure":
            show(event="measured", **job.measure(float(values[0])))
        else:
            raise ValueError(f"found the command {line!r}, expected prepare or measure SECONDS")
