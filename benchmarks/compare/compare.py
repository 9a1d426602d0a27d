# SPDX-License-Identifier: MIT
"""segnet beside PyTorch, ONNX Runtime and TensorFlow/Keras: the same network (7-2-7-1), the same weights and
pictures, in turn, in one run. Frameworks that are not installed are left out.

    benchmarks/compare/run [options]        # builds network_speed first
    python3 compare.py BUILD/benchmarks/network_speed [options]

Debian's python3-torch and what requirements.txt names, from PyPI:

    apt-get install python3-torch python3-venv
    /usr/bin/python3 -m venv --system-site-packages runs/venv
    runs/venv/bin/pip install -r benchmarks/compare/requirements.txt
    PYTHON=runs/venv/bin/python benchmarks/compare/run

Inference at 256x256, 512x512 and 1024x1024, batch 1; training steps (forward, loss, backward, Adam) at
128x128, batch 8, and 256x256, batch 4; each with 1 and 2 threads. Each round runs every candidate once, in a
process of its own. A run's time is the median over what it repeats for --seconds after warming up; the tables
show the median of the runs, the range in brackets, and how many times as long as segnet's, round by round,
others take. "Cores" is processor time per time: less than the threads where a candidate waits or the machine
is busy. Peak memory is the process's. Start-up is the time from a program's start to its first mask, all that
it imports and loads included; a frozen trace, a frozen graph and XLA are made anew in every process.

Masks (probability above 0.5) must equal those of the first other framework on 99.99 % of the pixels, and the
losses of the first three training steps must agree within 0.1 %; the exit code is 1 otherwise, and where a
framework that is installed fails.

Prints Markdown; the folder --out receives it as results.md, with results.json and chart.svg, after every round.
Weights come from a short training run of segnet, unless --weights names a checkpoint of 7-2-7-1.
"""
import argparse
import collections
import datetime
import importlib.util
import itertools
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import openblas  # noqa: F401  sets the variable that PyTorch's process inherits

import numpy as np

import chart
import pictures

HERE = pathlib.Path(__file__).resolve().parent
Job = collections.namedtuple("Job", "kind size batch")
Candidate = collections.namedtuple("Candidate", "framework mode")
JOBS = {f"{job.kind}-{job.size}": job for job in (
    Job("inference", 256, 1), Job("inference", 512, 1), Job("inference", 1024, 1),
    Job("training", 128, 8), Job("training", 256, 4))}  # fmt: skip
QUICK_JOBS = ["inference-256", "inference-512", "training-256"]
SEGNET = Candidate("segnet", "")
# The packages of each framework, its program, and its modes; --quick takes the last mode of each job.
FRAMEWORKS = {
    "PyTorch": (["torch"], "pytorch_speed.py",
                {"inference": ["eager, nchw", "eager, nhwc", "frozen trace, nchw", "frozen trace, nhwc"],
                 "training": ["eager, nhwc", "eager, nchw"]}),
    "ONNX Runtime": (["onnx", "onnxruntime"], "onnxruntime_speed.py", {"inference": ["all optimisations"], "training": []}),
    "TensorFlow": (["tensorflow"], "tensorflow_speed.py",
                   {"inference": ["XLA", "frozen graph", "tf.function"], "training": ["XLA", "tf.function"]}),
}  # fmt: skip
LEAST_EQUAL_PIXELS = 0.9999
LARGEST_LOSS_DIFFERENCE = 1e-3


def describe(job):
    return f"{job.kind} {job.size}x{job.size}, batch {job.batch}"


def name(candidate):
    return f"{candidate.framework}, {candidate.mode}" if candidate.mode else candidate.framework


class Comparison:
    def __init__(self, args, frameworks, folder):
        """`folder` takes what is gone afterwards: some 500 MiB of weights, models and pictures."""
        self.args = args
        self.frameworks = frameworks
        self.folder = folder
        self.runs = {}  # (job, threads, candidate) -> one dictionary for each round
        self.failures = {}  # candidate -> what it said
        self.versions = {}
        self.problems = []

    def prepare(self):
        """Weights, the ONNX model, and the pictures."""
        self.weights = self.args.weights or self.folder / "weights.safetensors"
        if not self.args.weights:
            images, masks = self.folder / "train.images", self.folder / "train.masks"
            pictures.write(images, masks, count=64, size=128, seed=1)
            command = [self.args.program, "--job", "training", "--size", "128", "--batch", "8", "--steps", "40",
                       "--threads", str(self.args.threads[-1]), "--images", images, "--masks", masks,
                       "--save", self.weights]  # fmt: skip
            must_run(command)
        if "ONNX Runtime" in self.frameworks:
            command = [sys.executable, HERE / "onnx_model.py", self.weights, self.folder / "carvana.onnx"]
            must_run(command)
        for job in self.args.jobs:
            pictures.write(*self.picture_files(job), job.batch, job.size, seed=job.size)

    def picture_files(self, job):
        return [self.folder / f"{job.size}-{job.batch}.{what}" for what in ("images", "masks")]

    def candidates(self, job):
        yield SEGNET
        for framework in self.frameworks:
            modes = FRAMEWORKS[framework][2][job.kind]
            for mode in modes[-1:] if self.args.quick else modes:
                yield Candidate(framework, mode)

    def output(self, job, threads, candidate):
        return self.folder / f"{job.size}-{threads}-{name(candidate)}.probabilities"

    def run(self, job, threads, candidate):
        """One process; what it found, or None."""
        images, masks = self.picture_files(job)
        if candidate == SEGNET:
            command, weights = [self.args.program], self.weights
        else:
            command = [sys.executable, HERE / FRAMEWORKS[candidate.framework][1], "--mode", candidate.mode]
            weights = self.folder / "carvana.onnx" if candidate.framework == "ONNX Runtime" else self.weights
        command += ["--job", job.kind, "--size", job.size, "--batch", job.batch, "--threads", threads,
                    "--seconds", self.args.seconds, "--weights", weights, "--images", images]  # fmt: skip
        if job.kind == "inference":
            command += ["--out", self.output(job, threads, candidate)]
        else:
            command += ["--masks", masks]
        variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        found = {}
        with tempfile.TemporaryFile("w+") as errors:
            start = time.perf_counter()
            process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, text=True,
                                       env={**os.environ, **variables})  # fmt: skip
            for line in process.stdout:
                if line.startswith("{"):
                    found.update(json.loads(line))
                    if found["event"] == "mask":
                        found.setdefault("first_mask_s", time.perf_counter() - start)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            said = errors.read().strip()
        if process.returncode != 0 or "times_ms" not in found:
            if candidate == SEGNET:
                sys.exit(f"segnet failed, exit code {process.returncode}: {said}")
            self.failures[candidate] = said or f"exit code {process.returncode}"
            return
        self.versions[candidate.framework] = found["version"]
        found["median_ms"] = statistics.median(found["times_ms"])
        found["peak_mib"] = usage.ru_maxrss / 1024
        self.runs.setdefault((job, threads, candidate), []).append(found)

    def round(self, number):
        for job, threads in itertools.product(self.args.jobs, self.args.threads):
            for candidate in self.candidates(job):
                if candidate not in self.failures:
                    print(f"round {number}, {describe(job)}, {threads} threads: {name(candidate)}    ",
                          end="\r", file=sys.stderr, flush=True)  # fmt: skip
                    self.run(job, threads, candidate)
        print(end="\x1b[K", file=sys.stderr, flush=True)

    def rows(self, job, threads, field):
        """For each candidate its values of `field`, and these over segnet's of the same round."""
        ours = [run[field] for run in self.runs.get((job, threads, SEGNET), [])]
        for candidate in self.candidates(job):
            values = [run[field] for run in self.runs.get((job, threads, candidate), [])]
            if values:  # fewer where a later round failed
                yield candidate, values, [a / b for a, b in zip(values, ours)]

    def median(self, job, threads, candidate, field):
        return statistics.median(run[field] for run in self.runs[job, threads, candidate])

    def speed_table(self, job):
        yield f"| {describe(job)} | threads | ms | time / segnet's | peak MiB | memory / segnet's | cores |"
        yield "|---|---|---|---|---|---|---|"
        for threads in self.args.threads:
            for candidate, times, ratios in self.rows(job, threads, "median_ms"):
                peak, cores = (self.median(job, threads, candidate, f) for f in ("peak_mib", "cores"))
                ours = self.median(job, threads, SEGNET, "peak_mib")
                yield (f"| {name(candidate)} | {threads} | {with_range(times, 0 if min(times) > 100 else 1)} | "
                       f"{with_range(ratios, 2)} | {peak:.0f} | {peak / ours:.2f} | {cores:.2f} |")  # fmt: skip

    def start_up_table(self, job):
        yield f"| start to first mask, {job.size}x{job.size} | threads | seconds | time / segnet's |"
        yield "|---|---|---|---|"
        for threads in self.args.threads:
            for candidate, times, ratios in self.rows(job, threads, "first_mask_s"):
                yield f"| {name(candidate)} | {threads} | {with_range(times, 2)} | {with_range(ratios, 1)} |"

    def agreement_table(self):
        """Against the first framework's first mode, whichever number of threads is worse; fills `problems`."""
        self.problems = []
        yield "| agreement | of | largest difference | equal mask pixels |"
        yield "|---|---|---|---|"
        for job in self.args.jobs:
            tried = [c for c in self.candidates(job) if any((job, n, c) in self.runs for n in self.args.threads)]
            if len(tried) < 2:
                continue
            reference = tried.pop(1)
            for candidate in tried:
                where = f"{describe(job)} | {name(candidate)} and {name(reference)}"
                pairs = [(self.result(job, n, candidate), self.result(job, n, reference)) for n in self.args.threads
                         if (job, n, candidate) in self.runs and (job, n, reference) in self.runs]  # fmt: skip
                if job.kind == "inference":
                    difference = max(np.abs(a - b).max() for a, b in pairs)
                    equal = min(np.mean((a > 0.5) == (b > 0.5)) for a, b in pairs)
                    good = equal >= LEAST_EQUAL_PIXELS
                    yield f"| {where} | {difference:.1e} | {100 * equal:.4f} % |"
                else:
                    difference = max(np.abs(a / b - 1).max() for a, b in pairs)
                    good = difference <= LARGEST_LOSS_DIFFERENCE
                    yield f"| {where} | {difference:.1e} of the loss | |"
                if not good:
                    self.problems.append("DISAGREEMENT: " + where.replace(" |", ":"))

    def result(self, job, threads, candidate):
        """The probabilities of the picture, or the losses of the first steps."""
        if job.kind == "inference":
            return np.fromfile(self.output(job, threads, candidate), np.float32)
        return np.array(self.runs[job, threads, candidate][0]["losses"])

    def busy(self):
        """Says where the machine, not the candidates, set the times."""
        for job, threads in itertools.product(self.args.jobs, self.args.threads):
            cores = self.median(job, threads, SEGNET, "cores")
            if cores < 0.8 * threads:
                yield f"BUSY MACHINE: {describe(job)}: segnet's {threads} threads had {cores:.2f} cores"

    def report(self):
        """Writes results.md, results.json and chart.svg; returns the Markdown."""
        versions = ", ".join(f"{framework} {version}" for framework, version in self.versions.items())
        finished = min(len(runs) for (_, _, candidate), runs in self.runs.items() if candidate == SEGNET)
        lines = [f"{machine()}; {versions}; {finished} round{'s' * (finished > 1)}.", ""]
        for job in self.args.jobs:
            lines += [*self.speed_table(job), ""]
        first = next((job for job in self.args.jobs if job.kind == "inference"), None)
        if first:
            lines += [*self.start_up_table(first), ""]
        lines += [*self.agreement_table(), ""]
        lines += [f"FAILED: {name(candidate)}: {said.splitlines()[-1]}" for candidate, said in self.failures.items()]
        lines += [*self.busy(), *self.problems]
        text = "\n".join(lines).rstrip() + "\n"
        (self.args.out / "results.md").write_text(text)
        panels = [(describe(job), self.bars(job, "median_ms")) for job in self.args.jobs]
        if first:
            panels.append((f"start to first mask, {first.size}x{first.size}", self.bars(first, "first_mask_s")))
        (self.args.out / "chart.svg").write_text(chart.draw(panels))
        rows = [{**job._asdict(), "threads": threads, **candidate._asdict(), "rounds": runs}
                for (job, threads, candidate), runs in self.runs.items()]  # fmt: skip
        summary = {"date": datetime.date.today().isoformat(), "machine": machine(), "versions": self.versions,
                   "results": rows}  # fmt: skip
        (self.args.out / "results.json").write_text(json.dumps(summary, indent=1) + "\n")
        return text

    def bars(self, job, field):
        """{framework: {threads: its fastest mode's time over segnet's}}."""
        best = {}
        for threads in self.args.threads:
            for candidate, _, ratios in self.rows(job, threads, field):
                of_framework = best.setdefault(candidate.framework, {})
                ratio = statistics.median(ratios)
                of_framework[threads] = min(ratio, of_framework.get(threads, ratio))
        return best


def with_range(values, digits):
    low, middle, high = (f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def must_run(command):
    """Ends the script with the last line of what the command said, where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        sys.exit(f"{' '.join(map(str, command))}: {said.splitlines()[-1]}")


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.partition(": ")[2].strip() for line in file if line.startswith("model name")), "")
    return f"{model or platform.machine()}, {os.cpu_count()} cores"


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, help="network_speed, built in Release")
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR", help="[runs/compare-TIME]")
    parser.add_argument("--weights", type=pathlib.Path, metavar="FILE", help="a checkpoint of 7-2-7-1")
    parser.add_argument("--rounds", type=int, help="[5; 1 with --quick]")
    parser.add_argument("--seconds", type=float, default=2, help="each run measures this long [2]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="[1 2]")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, help="only these")
    parser.add_argument("--quick", action="store_true", help="fewer jobs and modes, one round")
    args = parser.parse_args()
    args.out = args.out or HERE.parent.parent / f"runs/compare-{time.strftime('%Y%m%d-%H%M%S')}"
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.jobs = [JOBS[job] for job in args.jobs or (QUICK_JOBS if args.quick else JOBS)]
    args.threads = sorted({min(threads, os.cpu_count()) for threads in args.threads})
    if args.rounds < 1 or args.threads[0] < 1:
        parser.error("--rounds and --threads are at least 1")
    if not args.program.is_file():
        parser.error(f"{args.program}: no such program; benchmarks/compare/run builds it")
    if args.weights and not args.weights.is_file():
        parser.error(f"{args.weights}: no such file")
    args.program = args.program.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def main():
    args = parse()
    for number in (signal.SIGINT, signal.SIGTERM):  # an exception, so that the temporary folder goes
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    frameworks = []
    for framework, (packages, _, _) in FRAMEWORKS.items():
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            print(f"{framework} is left out: no Python package {', '.join(missing)}", file=sys.stderr)
        else:
            frameworks.append(framework)
    with tempfile.TemporaryDirectory(dir=args.out) as folder:
        comparison = Comparison(args, frameworks, pathlib.Path(folder))
        comparison.prepare()
        for number in range(1, args.rounds + 1):
            comparison.round(number)
            text = comparison.report()
    print(text)
    sys.exit(1 if comparison.failures or comparison.problems else 0)


if __name__ == "__main__":
    main()
