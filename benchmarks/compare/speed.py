# SPDX-License-Identifier: MIT
"""What the candidates of compare.py have in common. Each is a program with these options

    --job inference|training --mode MODE --size PIXELS --batch N --threads N --seconds S --weights FILE
    --images FILE [--masks FILE] [--out FILE]

which reads pictures as raw floats, [n][size][size][3] for images and [n][size][size] for masks, and prints
lines of JSON:

    inference: runs once, writes the probabilities to --out, prints {"event": "mask"} (compare.py takes the
               time from the program's start to this line); runs once more; measures.
    training:  three steps of Adam (rate 1e-3) on binary cross-entropy + 1 - soft Dice, always on the same
               batch; prints {"event": "losses", "losses": [...]}, the losses before each step; measures.
    measures:  repeats for --seconds, at least three times, and prints {"version", "times_ms": [...],
               "cores": processor seconds per second}.
"""
import argparse
import json
import time

import numpy as np

LEARNING_RATE = 1e-3
BATCH_NORM_EPSILON = 1e-4


def options(modes):
    parser = argparse.ArgumentParser(description="One candidate of compare.py; see speed.py.")
    parser.add_argument("--job", required=True, choices=("inference", "training"))
    parser.add_argument("--mode", required=True, choices=modes)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--masks")
    parser.add_argument("--out")
    return parser.parse_args()


def images(args):
    return np.fromfile(args.images, np.float32).reshape(args.batch, args.size, args.size, 3)


def masks(args):
    return np.fromfile(args.masks, np.float32).reshape(args.batch, args.size, args.size, 1)


def show(**line):
    print(json.dumps(line), flush=True)


def measure_inference(args, infer, version):
    """infer() returns the probabilities as an array."""
    np.asarray(infer(), np.float32).tofile(args.out)
    show(event="mask")
    infer()
    _measure(args, infer, version)


def measure_training(args, step, version):
    """step() returns the loss."""
    show(event="losses", losses=[float(step()) for _ in range(3)])
    _measure(args, step, version)


def _measure(args, function, version):
    times, used, start = [], time.process_time(), time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < args.seconds:
        before = time.perf_counter()
        function()
        times.append(1000 * (time.perf_counter() - before))
    cores = (time.process_time() - used) / (time.perf_counter() - start)
    show(version=version, times_ms=times, cores=cores)
