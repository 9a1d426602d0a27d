#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What benchmarks/gpu/run leaves: gpu.json, and gpu.md made of it.

    report_gpu.py DIR     reads DIR/steps.jsonl, DIR/compare.json and DIR/train.log, as far as they exist

gpu.json:

    date       ISO 8601, UTC
    commit     of the sources; "" where unknown
    machine    {"processor", "cores"}
    steps      a list of {"step", "result": "passed", "failed", "timed out" or "left out", "seconds", "limit", "note"}
    compare    what compare_gpu.py found, described there; null without it
    training   of the real job, where it was asked for: {"command", "seconds", "output": its last lines, "dice": the mean
               Dice at the photographs' own size}
"""
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

# What is asked for: how many times PyTorch's best in images per second.
ASKED = {"training": 1.5, "inference": 2}
MIB = 2**20


def table(head, rows):
    lines = ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:], ""]


def number(value, digits=3):
    """To so many digits, without an exponent; with as many decimals below 1."""
    if value is None:
        return ""
    before = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(0, digits - before)}f}"


def with_range(values):
    low, middle, high = (number(v) for v in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def title(job):
    return f"{job['job']} {job['size']}x{job['size']}, batch {job['batch']}"


def measured(job, program):
    return [c for c in job["candidates"] if c["program"] == program and "milliseconds" in c]


def fastest(candidates):
    return min(candidates, key=lambda c: c["milliseconds"], default=None)


def ours(job):
    """bf16, as PyTorch's; else the fastest."""
    found = measured(job, "segnet")
    return next((c for c in found if c["mode"] == "bf16"), fastest(found))


def steps(result):
    yield "## Steps\n"
    yield from table(["step", "result", "s", "limit s", ""],
                     [(s["step"], s["result"], f"{s['seconds']:.0f}", f"{s['limit']:.0f}" if s["limit"] else "",
                       s.get("note", "")) for s in result["steps"]])  # fmt: skip


def summary(compare):
    """One line for each job: segnet and PyTorch's fastest mode."""
    rows = []
    for job in compare["jobs"]:
        segnet, best = ours(job), fastest(measured(job, "PyTorch"))
        if segnet is None:
            continue
        floor = job["floors"].get(segnet["mode"])
        row = [title(job), f"{number(segnet['milliseconds'])} ({segnet['mode']})", number(segnet["images_per_second"])]
        if best:
            ratios = [b / a for a, b in zip(segnet["rounds_ms"], best["rounds_ms"])]
            row += [f"{number(best['milliseconds'])} ({best['mode']})", f"**{with_range(ratios)}**",
                    number(ASKED[job["job"]])]  # fmt: skip
            memory = [c["peak_bytes"] for c in (segnet, best)]
            row.append(number(memory[0] / memory[1]) if all(memory) else "")
        else:
            row += ["", "", number(ASKED[job["job"]]), ""]
        row += [number(floor["floor_ms"]), number(segnet["milliseconds"] / floor["floor_ms"])] if floor else ["", ""]
        rows.append(row)
    yield "## segnet and PyTorch's fastest mode\n"
    yield from table(["", "segnet ms", "images/s", "PyTorch ms", "times as fast", "asked", "memory / PyTorch's", "floor ms",
                      "ms / floor"], rows)  # fmt: skip


def candidates(job):
    yield f"### {title(job)}\n"
    base = ours(job)
    rows = []
    for c in job["candidates"]:
        name = f"{c['program']}, {c['mode']}"
        if "milliseconds" not in c:
            rows.append((name, c.get("failure", "not measured"), *[""] * 6))
            continue
        ratio = statistics.median([a / b for a, b in zip(c["rounds_ms"], base["rounds_ms"])]) if base else None
        memory = [f"{c[key] / MIB:.0f}" if c.get(key) is not None else "" for key in ("device_bytes", "reserved_bytes", "allocated_bytes")]
        rows.append((name, with_range(c["rounds_ms"]), number(c["images_per_second"]), number(ratio),
                     number(c["whole_milliseconds"]), *memory))  # fmt: skip
    yield from table(["", "ms", "images/s", "ms / segnet's", "with copies ms", "on the card MiB", "reserved MiB",
                      "allocated MiB"], rows)  # fmt: skip
    if job["floors"]:
        yield from table(["floor", "operations ms", "bytes ms", "one by one ms"],
                         [(p, *(number(f[key]) for key in ("operations_ms", "bytes_ms", "one_by_one_ms")))
                          for p, f in job["floors"].items()])  # fmt: skip
    profiles = {c["mode"]: c["profile_ms"] for c in measured(job, "segnet") if c.get("profile_ms")}
    if profiles:
        kinds = dict.fromkeys(kind for profile in profiles.values() for kind in profile)
        largest = sorted(kinds, key=lambda kind: -max(profile.get(kind, 0) for profile in profiles.values()))
        lines = [(kind, *(number(profile.get(kind)) for profile in profiles.values())) for kind in largest]
        lines.append(("all", *(number(sum(profile.values())) for profile in profiles.values())))
        yield from table(["kind of work, ms", *profiles], lines)
    if job["agreement"]:
        yield from table(["agreement", "with", "largest difference of the losses", "equal mask pixels"],
                         [(a["mode"], a["with"], f"{100 * a['loss_difference']:.3f} %" if "loss_difference" in a else "",
                           f"{100 * a['equal_pixels']:.3f} %" if "equal_pixels" in a else "")
                          for a in job["agreement"]])  # fmt: skip


def peaks(compare):
    if compare["peaks"]:
        yield "## What the card can do\n"
        yield from table(["", "matrix product TFLOP/s", "copy GB/s"],
                         [(p, number(f["operations_per_second"] / 1e12), number(f["bytes_per_second"] / 1e9))
                          for p, f in compare["peaks"].items()])  # fmt: skip


def markdown(result):
    compare, machine = result["compare"], result["machine"]
    parts = [result["date"], f"commit {result['commit']}" if result["commit"] else "",
             f"{machine['processor']}, {machine['cores']} cores"]  # fmt: skip
    if compare and compare["card"]:
        card = compare["card"]
        parts.insert(1, f"{card['name']} ({card['memory_bytes'] / 2**30:.0f} GiB), CUDA {card['cuda']} "
                        f"(driver {card['driver']}), cuDNN {card['cudnn']}")  # fmt: skip
        parts += [f"{name} {version}" for name, version in compare["versions"].items()]
    lines = ["# segnet on a GPU", "", "; ".join(filter(None, parts)) + ".", "", *steps(result)]
    if compare:
        lines += summary(compare)
        lines += peaks(compare)
        lines.append("## All candidates\n")
        for job in compare["jobs"]:
            lines += candidates(job)
        lines += [f"PROBLEM: {problem}\n" for problem in compare["problems"]]
    if training := result["training"]:
        dice = f", mean Dice {training['dice']:.4f}" if training["dice"] is not None else ""
        lines += ["## The real job\n", f"`{training['command']}`: {training['seconds']:.0f} s{dice}\n",
                  "```", *training["output"], "```", ""]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def read(path, parse):
    try:
        return parse(path.read_text(errors="replace"))
    except (OSError, ValueError):
        return None


def dice_of(lines):
    """In the last line of train_carvana's final table: a size in pixels, the number of images, Dice."""
    found = [m for line in lines if (m := re.match(r"\s*\d+x\d+\S*\s+\d+\s+(\d\.\d+)\s", line))]
    return float(found[-1][1]) if found else None


def collect(folder):
    lines = (read(folder / "steps.jsonl", str) or "").splitlines()
    result = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(), "machine": {"processor": processor(), "cores": os.cpu_count()},
        "steps": [json.loads(line) for line in lines], "compare": read(folder / "compare.json", json.loads),
        "training": None}  # fmt: skip
    log = read(folder / "train.log", str)
    step = next((s for s in result["steps"] if s["step"] == "train"), None)
    if log is not None and step:
        log = [line.split("\r")[-1] for line in log.splitlines()]
        result["training"] = {"command": log[0].removeprefix("$ "), "seconds": step["seconds"], "dice": dice_of(log),
                              "output": log[-20:]}  # fmt: skip
    return result


def commit():
    try:
        done = subprocess.run(["git", "-C", pathlib.Path(__file__).parent, "describe", "--always", "--dirty"],
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout.strip()
    except OSError:
        return ""


def processor():
    names = re.findall(r"^model name\s*: (.*)$", read(pathlib.Path("/proc/cpuinfo"), str) or "", re.MULTILINE)
    return names[0].strip() if names else platform.machine()


def write(path, text):
    """A reader never sees half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    result = collect(folder)
    write(folder / "gpu.json", json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    write(folder / "gpu.md", text)
    print(text, end="")


if __name__ == "__main__":
    main()
