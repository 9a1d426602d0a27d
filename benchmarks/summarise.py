#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Markdown summary of what benchmarks/run left in a folder: the JSON files of the benchmark programs.

    benchmarks/summarise.py DIR
"""
import json
import pathlib
import sys


class Row(dict):
    """One benchmark: its JSON, and the parts of its name, "forward/input:512/threads:1/real_time"."""

    def __init__(self, entry):
        super().__init__(entry)
        first, *rest = entry["name"].removesuffix("/real_time").split("/")
        self.kind = first
        self.of = dict(part.split(":", 1) for part in rest)
        self.threads = int(self.of.get("threads", 1))
        self.seconds = entry["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[entry["time_unit"]]

    def label(self, *left_out):
        return ", ".join(f"{key} {value}" for key, value in self.of.items() if key not in left_out)


def read(folder, name):
    """Context and rows of a program's file; stops the script where a benchmark failed."""
    file = folder / f"{name}.json"
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as problem:
        sys.exit(f"summarise.py: {file}: {problem}")
    failed = [f"{entry['name']}: {entry['error_message']}" for entry in content["benchmarks"] if entry.get("error_occurred")]
    if failed or not content["benchmarks"]:
        sys.exit(f"summarise.py: {file}: " + ("; ".join(failed) or "no benchmark ran"))
    return content["context"], [Row(entry) for entry in content["benchmarks"]]


def table(head, lines):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


def beside(rows, key, show):
    """Rows that differ in their threads alone share a line: (key, a cell for each number of threads)."""
    lines = {}
    for row in rows:
        lines.setdefault(key(row), {})[row.threads] = show(row)
    columns = sorted({row.threads for row in rows})
    return columns, [(name, [cells.get(threads, "") for threads in columns]) for name, cells in lines.items()]


def threads_heading(columns):
    return [f"{n} thread{'s' if n > 1 else ''}" for n in columns]


def machine(folder):
    context, rows = read(folder, "machine_benchmark")
    print(f"## Machine\n\n{context['date']}, {context['num_cpus']} processors at {context['mhz_per_cpu']} MHz\n")
    columns, lines = beside(rows, lambda row: row.kind.replace("_", " "),
                            lambda row: f"{row['FLOPS'] / 1e9:.1f} GFLOP/s" if "FLOPS" in row
                            else f"{row['bytes_per_second'] / 1e9:.1f} GB/s")
    table(["", *threads_heading(columns)], [(name, *cells) for name, cells in lines])


def share(rows):
    """GFLOP/s and share of the peak of all rows together, each as often as the network has it."""
    operations = sum(row["count"] * row["FLOPS"] * row.seconds for row in rows)
    seconds = sum(row["count"] * row.seconds for row in rows)
    peak = rows[0]["FLOPS"] / rows[0]["peak"]
    return f"{operations / seconds / 1e9:.1f} ({100 * operations / seconds / peak:.0f} %)"


def is_wide(row):
    """A convolution of the levels with 64 to 512 channels, on images of 16x16 pixels or more."""
    return 64 <= int(row.of["out"]) <= 512 and int(row.of["pixels"].split("x")[0]) >= 16


def convolutions(folder):
    context, rows = read(folder, "convolution_benchmark")
    print("## Convolutions of 7-2-7-1\n\nEffective GFLOP/s (share of the FMA peak): operations of the plain convolution "
          "that meet the image, over time; `up`: read at half the resolution. FMA peak in the same run: "
          + ", ".join(f"{value} ({key.partition('/')[2].replace(':', ' ')})" for key, value in context.items()
                      if key.startswith("fma_peak")) + ".\n")
    ways = [way for way in ("forward", "backward_data", "backward_weights") if any(row.kind == way for row in rows)]
    columns = sorted({row.threads for row in rows})
    for size, batch in dict.fromkeys((row.of["input"], row.of["batch"]) for row in rows):
        here = [row for row in rows if (row.of["input"], row.of["batch"]) == (size, batch)]
        by_key = {(row.kind, row.threads, row.label("threads")): row for row in here}
        lines = []
        for label, first in {row.label("threads"): row for row in here}.items():
            name = f"{first.of['in']}→{first.of['out']}, {first.of['kernel']}x{first.of['kernel']}"
            found = [by_key.get((way, threads, label)) for way in ways for threads in columns]
            cells = [f"{row['FLOPS'] / 1e9:.0f} ({100 * row['peak']:.0f} %)" if row else "" for row in found]
            lines.append((first.of["pixels"], name, f"{first['count']:.0f}", *cells))
        for title, chosen in (("all", lambda row: True), ("wide levels: 64-512 channels, 16x16 pixels or more", is_wide)):
            groups = [[row for row in here if (row.kind, row.threads) == (way, threads) and chosen(row)]
                      for way in ways for threads in columns]
            lines.append(("", f"**{title}**", "", *(f"**{share(group)}**" if group else "" for group in groups)))
        print(f"Input {size}x{size}, batch {batch}\n")
        headings = [f"{way.replace('_', ' ')}, {heading}" for way in ways for heading in threads_heading(columns)]
        table(["pixels", "convolution", "times", *headings], lines)


def forms(folder):
    _, rows = read(folder, "form_benchmark")
    print("## Forms of the forward convolutions\n\nMicroseconds with one thread in every form that fits; in bold what the "
          "library's estimate chooses.\n")
    names = list(dict.fromkeys(row.kind for row in rows))
    for size in dict.fromkeys(row.of["input"] for row in rows):
        layers = {}
        for row in rows:
            if row.of["input"] == size:
                layers.setdefault((row.of["pixels"], f"{row.of['in']}→{row.of['out']}"), {})[row.kind] = row
        print(f"Input {size}x{size}\n")
        show = lambda row: ("**{}**" if row["chosen"] else "{}").format(f"{1e6 * row.seconds:.0f}") if row else ""  # noqa: E731
        table(["pixels", "convolution", *(name.replace("winograd_", "Winograd ") for name in names)],
              [(*key, *(show(cells.get(name)) for name in names)) for key, cells in layers.items()])
        chosen, best = (sum(pick(cells.values())["count"] * pick(cells.values()).seconds for cells in layers.values()) for pick in (
            lambda rows: next(row for row in rows if row["chosen"]), lambda rows: min(rows, key=lambda row: row.seconds)))
        print(f"All of these: {1e3 * chosen:.1f} ms as chosen, {1e3 * best:.1f} ms with the fastest form of each.\n")


def network(folder):
    _, rows = read(folder, "network_benchmark")
    print("## Network 7-2-7-1\n\nMilliseconds (effective GFLOP/s of the convolutions, share of the peak); planned memory is "
          "the network's, without the program's own.\n")
    planned = {(row.kind, row.label("threads")): row.get("planned_bytes") for row in rows}
    columns, lines = beside(rows, lambda row: (row.kind, row.label("threads")),
                            lambda row: f"{1e3 * row.seconds:.1f}" + (
                                f" ({row['FLOPS'] / 1e9:.0f}, {100 * row['peak']:.0f} %)" if "FLOPS" in row else ""))
    table(["", "", *threads_heading(columns), "planned MiB"],
          [(kind.replace("_", " "), label, *cells, f"{planned[kind, label] / 2**20:.0f}" if planned[kind, label] else "")
           for (kind, label), cells in lines])


def data(folder):
    _, rows = read(folder, "data_benchmark")
    print("## Data: pictures per second\n\nPhotographs of 1918x1280; the loader shrinks and augments.\n")
    columns, lines = beside(rows, lambda row: (row.kind.replace("_", " "), row.label("threads")),
                            lambda row: f"{row['items_per_second']:.1f}")
    table(["", "", *threads_heading(columns)], [(*key, *cells) for key, cells in lines])


def compile_time(folder):
    print("## Compile time\n")
    table(["compiler", "source", "s", "processor s", "peak MiB", "budget s"],
          [(entry["compiler"], entry["source"], f"{entry['seconds']:.1f}", f"{entry['processor_seconds']:.1f}",
            str(entry["peak_mib"]), str(entry["budget_s"] or ""))
           for entry in json.loads((folder / "compile_time.json").read_text())["compile_time"]])


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    for section in (machine, convolutions, forms, network, data, compile_time):
        section(pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    main()
