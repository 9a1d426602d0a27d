# SPDX-License-Identifier: MIT
"""segnet beside PyTorch: the same network, in turn, in one run. Prints a Markdown table.

    python3 compare.py BUILD/benchmarks/network_speed [--rounds 3] [--count 15]

A training step at 128x128, batch 8 (forward, loss, backward, Adam) and an inference at 512x512, batch 1, each with 1 and
2 threads. Each round runs every candidate once, in a process of its own; the table shows the median over the rounds, the
range, images per second, and how many times as long, and as much memory, as segnet the others take.
Debian: python3-torch.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
JOBS = [("training", 128, 8), ("inference", 512, 1)]


def candidates(program, only, size, batch, threads, count):
    options = ["--only", only, "--size", str(size), "--batch", str(batch), "--threads", str(threads), "--time", str(count)]
    yield "segnet", [program, *options]
    for layout in ("nchw", "nhwc"):
        for mode in ("eager",) if only == "training" else ("eager", "optimized"):
            script = [sys.executable, str(HERE / "train_pytorch.py"), "--one-process", "--layout", layout, "--mode", mode]
            yield f"PyTorch, {mode}, {layout}", script + options


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=15)
    args = parser.parse_args()
    print("| | threads | ms (range) | img/s | peak MiB | time / segnet's | memory / segnet's |\n|---|---|---|---|---|---|---|")
    for only, size, batch in JOBS:
        for threads in (1, 2):
            results = {}
            for _ in range(args.rounds):
                for name, command in candidates(args.program, only, size, batch, threads, args.count):
                    done = subprocess.run(command, capture_output=True, text=True)
                    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
                    if done.returncode == 0 and lines:
                        results.setdefault(name, []).append(json.loads(lines[-1]))
            medians = {name: statistics.median(r["median_ms"] for r in rows) for name, rows in results.items()}
            ours_peak = results["segnet"][0]["peak_mib"]
            for name, rows in results.items():
                times = [r["median_ms"] for r in rows]
                what = f"{only} {size}x{size}, batch {batch}: {name}"
                print(f"| {what} | {threads} | {medians[name]:.0f} ({min(times):.0f}-{max(times):.0f}) | "
                      f"{1000 * batch / medians[name]:.1f} | "
                      f"{rows[0]['peak_mib']:.0f} | {medians[name] / medians['segnet']:.2f} | "
                      f"{rows[0]['peak_mib'] / ours_peak:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
