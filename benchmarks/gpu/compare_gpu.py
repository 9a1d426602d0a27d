# SPDX-License-Identifier: MIT
"""segnet beside PyTorch on one card: 7-2-7-1, the same weights and pictures, in turn, in one run.

    python3 compare_gpu.py BUILD/benchmarks/gpu_benchmark --out FILE [options]      # benchmarks/gpu/run calls it
    python3 compare_gpu.py --compile FILE [options]                                 # only fills PyTorch's caches

Each candidate (segnet in each precision, PyTorch in each mode; speed_gpu.py says what they are told) is a process of its
own. All of a job are started together, made ready one by one, and then measured one by one, round after round; who is
not measured leaves the card alone. Without PyTorch 2 only segnet is measured. What fails, or takes too long, is noted
and left out. torch.compile takes minutes: --compile does it before, from the first job to the last, until its --budget
is spent, and the comparison given that FILE as --compiled tries only what was finished. The exit code is 1 where
segnet fails, no mode of PyTorch works, or results disagree.

Writes JSON:

    card         name, capability, memory_bytes, multiprocessors, driver, cuda, cudnn
    versions     {"segnet", "PyTorch"}
    peaks        {precision: {"operations_per_second", "bytes_per_second"}}: a large product of matrices through the same
                 plans as the convolutions; a copy on the card, bytes read and written
    jobs         a list:
      job, size, batch
      candidates   a list: program, mode; "failure" (its last line), or
                     milliseconds          by the card's clock, the median of rounds_ms
                     rounds_ms             the median of each round
                     images_per_second     by them
                     whole_milliseconds    with copies from and to the host; null where not measured
                     peak_bytes            of the card's memory: segnet's is all that its process took but CUDA's own;
                                           PyTorch's is what its allocator reserved, the smaller of the two ways
                     device_bytes, planned_bytes, reserved_bytes, allocated_bytes, prepare_seconds, losses, graph_breaks
                                           as in speed_gpu.py, where there are any
                     profile_ms            segnet's, {kind of work: milliseconds}
      floors       {precision: {"operations_ms", "bytes_ms", "floor_ms", "one_by_one_ms"}}: the convolutions' operations over
                   the matrix rate, the fewest bytes over the copy's rate, the larger of the two; and the sum of
                   each convolution's larger one, which is the least that takes where none overlaps another
      agreement    [{"mode", "with", "loss_difference" or "equal_pixels"}], segnet's modes with PyTorch's first
    compiled     {"JOB, MODE": {"seconds"} or {"failure"}}
    problems     a list of sentences
"""
import argparse
import collections
import contextlib
import importlib.util
import itertools
import json
import math
import os
import pathlib
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "compare"))

Job = collections.namedtuple("Job", "kind size batch")
# The first matter most, where time is short.
JOBS = ["training-512-16", "inference-512-1", "training-1024-8", "inference-1024-1", "inference-512-8", "inference-1024-8"]
PRECISIONS = ["bf16", "fp16", "tf32", "fp32"]
SLOW_PRECISIONS = ["tf32", "fp32"]  # only the first training and the first inference, unless they are asked for
MODES = ["eager", "CUDA graph", "compiled, reduce-overhead", "compiled, max-autotune"]
LEAST_EQUAL_PIXELS = 0.99
LARGEST_LOSS_DIFFERENCE = 0.02
# Seconds that a candidate may take.
START_LIMIT, PREPARE_LIMIT, MEASURE_LIMIT = 120, 120, 60


class Failure(Exception):
    pass


def job_of(name):
    kind, size, batch = name.split("-")
    if kind not in ("training", "inference"):
        raise ValueError(name)
    return Job(kind, int(size), int(batch))


def name_of(job):
    return f"{job.kind}-{job.size}-{job.batch}"


def options_of(job):
    return ["--job", job.kind, "--size", job.size, "--batch", job.batch]


class Candidate:
    """A process that is told what to do, line by line; none where a failure is known before."""

    living = set()

    def __init__(self, job, program, mode, command=None, environment=None, failure=None):
        """`job` is its name, for messages."""
        self.job, self.program, self.mode = job, program, mode
        self.found = {"program": program, "mode": mode}
        self.rounds, self.whole = [], []
        self.process, self.started = None, False
        if failure:
            self.found["failure"] = failure
            return
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, start_new_session=True,
                                        env={**os.environ, **(environment or {})})  # fmt: skip
        self.living.add(self)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def tell(self, command, event, seconds):
        """The answer to the command, without its "event"; ends the process and raises Failure where there is none."""
        try:
            if command:
                self.process.stdin.write(command + "\n")
                self.process.stdin.flush()
            deadline = time.monotonic() + seconds
            while answer := self.lines.get(timeout=max(0.01, deadline - time.monotonic())):
                if answer.pop("event", None) == event:
                    return answer
            self.process.wait(10)
            problem = self.last_words()
        except queue.Empty:
            problem = f"took more than {seconds:.0f} s to {command.split()[0] if command else 'start'}"
        except (OSError, subprocess.TimeoutExpired):
            problem = self.last_words()
        self.close(at_once=True)
        self.found["failure"] = problem
        raise Failure(problem)

    def last_words(self):
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        return said[-1][:300] if said else f"exit code {self.process.poll()}"

    def close(self, at_once=False):
        if self.process is None:
            return
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        if not at_once:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        # Its children too: PyTorch has some that compile.
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(5)
        self.process.stdout.close()
        self.errors.close()
        self.process = None
        self.living.discard(self)

    @classmethod
    def end_all(cls):
        for candidate in list(cls.living):
            candidate.close(at_once=True)

    @property
    def alive(self):
        return "failure" not in self.found

    def measure(self, seconds):
        found = self.tell(f"measure {seconds}", "measured", MEASURE_LIMIT + 10 * seconds)
        self.rounds.append(statistics.median(found["times_ms"]))
        if "whole_ms" in found:
            self.whole.append(statistics.median(found["whole_ms"]))

    def result(self, batch):
        found = dict(self.found)
        if self.rounds and self.alive:
            milliseconds = statistics.median(self.rounds)
            found |= {"milliseconds": milliseconds, "rounds_ms": self.rounds,
                      "images_per_second": 1000 * batch / milliseconds,
                      "whole_milliseconds": statistics.median(self.whole) if self.whole else None}  # fmt: skip
            of_process, of_allocator = found.get("device_bytes"), found.get("reserved_bytes")
            found["peak_bytes"] = min(filter(None, (of_process, of_allocator)), default=None)
        return found


def inductor_environment(args):
    """What torch.compile has made is found again by the next process."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(args.cache), "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
            "TORCHINDUCTOR_AUTOGRAD_CACHE": "1"}  # fmt: skip


def start_pytorch(args, job, mode, files=()):
    command = [sys.executable, HERE / "pytorch_gpu.py", *options_of(job), "--mode", mode, "--device", args.pytorch_device]
    return Candidate(name_of(job), "PyTorch", mode, [*command, *files], inductor_environment(args))


def pytorch_version():
    """Of PyTorch 2, or None and why not."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("numpy") is None:
        return None, "no Python package torch and numpy"
    done = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or ["it cannot be imported"])[-1]
    version = done.stdout.strip()
    return (version, "") if int(version.split(".")[0]) >= 2 else (None, f"found {version}, expected 2 or newer")


# --- torch.compile, before --------------------------------------------------------------------------------------


def compile_all(args):
    """Each mode has a lane of its own; within it, one job after the other."""
    deadline = time.monotonic() + args.budget
    found, lock = {}, threading.Lock()

    def compile_one(job, mode):
        left = deadline - time.monotonic()
        if left < 20:
            return {"failure": "not compiled: no time was left"}
        start = time.monotonic()
        candidate = start_pytorch(args, job, mode)
        try:
            candidate.tell("", "started", min(left, START_LIMIT))
            candidate.tell("prepare", "prepared", deadline - time.monotonic())
            candidate.close()
            return {"seconds": time.monotonic() - start}
        except Failure as failure:
            return {"failure": f"compiling {failure}"}

    def lane(mode):
        for job in args.jobs:
            result = compile_one(job, mode)
            with lock:
                found[f"{name_of(job)}, {mode}"] = result
                write_json(args.compile, found)
                print(f"{name_of(job)}, {mode}: {result}", file=sys.stderr, flush=True)

    write_json(args.compile, found)
    lanes = [threading.Thread(target=lane, args=(mode,), daemon=True) for mode in args.modes if mode.startswith("compiled")]
    for each in lanes:
        each.start()
    for each in lanes:
        each.join()


# --- The comparison ---------------------------------------------------------------------------------------------


class Comparison:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.deadline = time.monotonic() + args.budget
        self.result = {"card": {}, "versions": {}, "peaks": {}, "jobs": [], "compiled": {}, "problems": []}
        version, problem = (None, "not asked for") if args.no_pytorch else pytorch_version()
        self.modes = args.modes if version else []
        if version:
            self.result["versions"]["PyTorch"] = version
        else:
            say(f"PyTorch is left out: {problem}")
        if args.compiled and args.compiled.is_file():
            self.result["compiled"] = json.loads(args.compiled.read_text())
        self.has_numpy = importlib.util.find_spec("numpy") is not None

    def run(self):
        self.measure_peaks()
        self.weights = self.folder / "weights.safetensors"
        size, batch = next(((j.size, j.batch) for j in self.args.jobs if j.kind == "training"), (None, None))
        if size:
            self.make_weights(Job("training", size, batch))
        # The next job's candidates start (PyTorch takes seconds for that) while this one's are made ready.
        started = {}
        for job, following in itertools.zip_longest(self.args.jobs, self.args.jobs[1:]):
            if time.monotonic() > self.deadline:
                self.problem(f"{name_of(job)} was left out: no time was left")
                self.save()
                continue
            candidates = started.pop(job, None) or list(self.start(job))
            if following:
                started[following] = list(self.start(following))
            self.run_job(job, candidates, started.get(following, []))
            self.save()

    def problem(self, text):
        say(text)
        self.result["problems"].append(text)

    def save(self):
        write_json(self.args.out, self.result)

    def segnet(self, *options):
        quick = ["--quick"] if self.args.quick else []
        return [self.args.program, *options, *quick]

    def measure_peaks(self):
        for precision in self.args.precisions:
            candidate = Candidate("peak", "segnet", precision,
                                  self.segnet("--serve", "--job", "peak", "--precision", precision))  # fmt: skip
            try:
                self.result["versions"]["segnet"] = candidate.tell("", "started", START_LIMIT)["version"]
                self.result["card"] = candidate.tell("prepare", "prepared", PREPARE_LIMIT)["card"]
                found = candidate.tell(f"measure {self.args.seconds}", "measured", MEASURE_LIMIT)
                self.result["peaks"][precision] = {
                    "operations_per_second": 1000 * found["operations"] / statistics.median(found["matrix_ms"]),
                    "bytes_per_second": 1000 * found["bytes"] / statistics.median(found["copy_ms"])}  # fmt: skip
                candidate.close()
            except Failure as failure:
                self.problem(f"what the card can do in {precision}: {failure}")

    def picture_files(self, job):
        """Options for both kinds of program; written when first asked for."""
        if not self.has_numpy:
            return []
        import pictures

        images, masks = (self.folder / f"{job.size}-{job.batch}.{what}" for what in ("images", "masks"))
        if not images.exists():
            pictures.write(images, masks, job.batch, job.size, seed=job.size)
        return ["--images", images, *(["--masks", masks] if job.kind == "training" else [])]

    def make_weights(self, job):
        command = self.segnet("--job", "weights", "--size", job.size, "--batch", job.batch, *self.picture_files(job),
                              "--out", self.weights)  # fmt: skip
        try:
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PREPARE_LIMIT)
            problem = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            if done.returncode != 0:
                self.problem(f"weights: {problem[0]}")
        except subprocess.TimeoutExpired:
            self.problem(f"weights: took more than {PREPARE_LIMIT} s")

    def start(self, job):
        files = self.picture_files(job)
        if self.weights.exists():
            files += ["--weights", self.weights]

        def out(mode):
            return ["--out", self.folder / f"{name_of(job)}-{mode}.probabilities"] if job.kind == "inference" else []

        first = job == next(j for j in self.args.jobs if j.kind == job.kind)
        for precision in self.args.precisions:
            if precision in SLOW_PRECISIONS and not first and not self.args.all_precisions:
                continue
            command = self.segnet("--serve", *options_of(job), "--precision", precision, *files, *out(precision))
            yield Candidate(name_of(job), "segnet", precision, command)
        for mode in self.modes:
            compiled = self.result["compiled"].get(f"{name_of(job)}, {mode}")
            if self.args.compiled and mode.startswith("compiled") and (compiled is None or "failure" in compiled):
                yield Candidate(name_of(job), "PyTorch", mode,
                                failure=compiled["failure"] if compiled else "not compiled")  # fmt: skip
            else:
                yield start_pytorch(self.args, job, mode, [*files, *out(mode)])

    def each(self, candidates, step):
        for candidate in candidates:
            if candidate.alive:
                try:
                    step(candidate)
                except Failure as failure:
                    note = self.problem if candidate.program == "segnet" else say
                    note(f"{candidate.job}, {candidate.program}, {candidate.mode}: {failure}")

    def run_job(self, job, candidates, following):
        work = {}

        def wait_for_start(candidate):
            if not candidate.started:
                candidate.tell("", "started", START_LIMIT)
                candidate.started = True

        def prepare(candidate):
            say(f"{name_of(job)}: {candidate.program}, {candidate.mode}")
            found = candidate.tell("prepare", "prepared", PREPARE_LIMIT)
            if "work" in found:
                work[candidate.mode] = found.pop("work")
            candidate.found |= found

        def profile(candidate):
            if candidate.program == "segnet":
                candidate.found |= candidate.tell("profile", "profiled", MEASURE_LIMIT)

        try:
            self.each(candidates, wait_for_start)
            self.each(candidates, prepare)
            self.each(following, wait_for_start)  # nothing else runs while times are taken
            for _ in range(self.args.rounds):
                self.each(candidates, lambda candidate: candidate.measure(self.args.seconds))
            self.each(candidates, profile)
        finally:
            for candidate in candidates:
                candidate.close(at_once=not candidate.alive)
        if self.modes and not any(c.alive for c in candidates if c.program == "PyTorch"):
            self.problem(f"{name_of(job)}: no mode of PyTorch worked")
        self.result["jobs"].append({
            "job": job.kind, "size": job.size, "batch": job.batch,
            "candidates": [candidate.result(job.batch) for candidate in candidates],
            "floors": {mode: self.floor(mode, each) for mode, each in work.items() if mode in self.result["peaks"]},
            "agreement": self.agreement(job, [candidate for candidate in candidates if candidate.alive])})  # fmt: skip

    def floor(self, precision, work):
        operations, bandwidth = (self.result["peaks"][precision][f"{what}_per_second"] for what in ("operations", "bytes"))
        extra = 1000 * work["optimizer_bytes"] / bandwidth
        pairs = [(1000 * ops / operations, 1000 * moved / bandwidth) for ops, moved in work["convolutions"]]
        operations_ms, bytes_ms = sum(a for a, _ in pairs), sum(b for _, b in pairs) + extra
        return {"operations_ms": operations_ms, "bytes_ms": bytes_ms, "floor_ms": max(operations_ms, bytes_ms),
                "one_by_one_ms": sum(map(max, pairs)) + extra}  # fmt: skip

    def agreement(self, job, candidates):
        """segnet's results with those of PyTorch's first mode; the other modes with it, too."""
        reference = next((c for c in candidates if c.program == "PyTorch"), None)
        if reference is None:
            return []
        found = []
        for candidate in candidates:
            if candidate is reference:
                continue
            one = {"mode": f"{candidate.program}, {candidate.mode}", "with": f"{reference.program}, {reference.mode}"}
            if job.kind == "training":
                pairs = list(zip(candidate.found["losses"], reference.found["losses"]))
                # A loss that is no number arrives as null from C++.
                one["loss_difference"] = max((abs(a - b) / abs(b) if a and b else math.inf) for a, b in pairs)
                good = one["loss_difference"] <= LARGEST_LOSS_DIFFERENCE
            else:
                one["equal_pixels"] = self.equal_pixels(job, candidate.mode, reference.mode)
                good = one["equal_pixels"] >= LEAST_EQUAL_PIXELS
            found.append(one)
            if not good and candidate.program == "segnet":
                self.problem(f"DISAGREEMENT: {name_of(job)}: {one}")
        return found

    def equal_pixels(self, job, mode, reference):
        import numpy as np

        a, b = (np.fromfile(self.folder / f"{name_of(job)}-{m}.probabilities", np.float32) for m in (mode, reference))
        return float(np.mean((a > 0.5) == (b > 0.5))) if a.shape == b.shape else 0.0


def say(text):
    print(text, file=sys.stderr, flush=True)


def write_json(path, value):
    """A reader never sees half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, nargs="?", help="gpu_benchmark, built in Release")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="where the results go")
    parser.add_argument("--compile", type=pathlib.Path, metavar="FILE", help="see above")
    parser.add_argument("--compiled", type=pathlib.Path, metavar="FILE", help="what --compile wrote")
    parser.add_argument("--cache", type=pathlib.Path, metavar="DIR", default=pathlib.Path("inductor"),
                        help="of torch.compile")  # fmt: skip
    parser.add_argument("--budget", type=float, default=240, help="no job is started after so many seconds [240]")
    parser.add_argument("--rounds", type=int, help="[3; 1 with --quick]")
    parser.add_argument("--seconds", type=float, help="each measurement takes so long [0.3; 0.05 with --quick]")
    parser.add_argument("--jobs", nargs="+", type=job_of, metavar="KIND-SIZE-BATCH", help="[" + " ".join(JOBS) + "]")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, help="segnet's")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="PyTorch's")
    parser.add_argument("--no-pytorch", action="store_true")
    parser.add_argument("--pytorch-device", default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="fewer jobs and modes, one round: a sign of life")
    args = parser.parse_args()
    args.jobs = args.jobs or [job_of(name) for name in (JOBS[:2] if args.quick else JOBS)]
    args.all_precisions = args.precisions is not None
    args.precisions = args.precisions or PRECISIONS[: 1 if args.quick else None]
    args.modes = args.modes or MODES[: 2 if args.quick else None]
    args.rounds = args.rounds or (1 if args.quick else 3)
    args.seconds = args.seconds if args.seconds is not None else 0.05 if args.quick else 0.3
    args.cache = args.cache.resolve()
    if args.compile is None and (args.program is None or args.out is None):
        parser.error("expected gpu_benchmark and --out, or --compile")
    if args.program and not args.program.is_file():
        parser.error(f"{args.program}: no such program; benchmarks/gpu/run builds it")
    if args.program:
        args.program = args.program.resolve()
    return args


def main():
    args = parse()
    for number in (signal.SIGINT, signal.SIGTERM):  # an exception, so that processes and files go
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        if args.compile:
            return compile_all(args)
        with tempfile.TemporaryDirectory() as folder:
            comparison = Comparison(args, pathlib.Path(folder))
            comparison.save()
            try:
                comparison.run()
            finally:
                comparison.save()
        return 1 if comparison.result["problems"] else 0
    finally:
        Candidate.end_all()


if __name__ == "__main__":
    sys.exit(main())
