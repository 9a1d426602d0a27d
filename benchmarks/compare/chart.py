# SPDX-License-Identifier: MIT
"""Bars of how many times as long as segnet's others take, as an SVG."""

COLOURS = {"segnet": "#d9480f", "ONNX Runtime": "#1c7ed6", "PyTorch": "#7048e8", "TensorFlow": "#2b8a3e"}
WIDTH, LABELS, BARS, BAR, GAP, HEAD, COLUMNS = 430, 104, 250, 13, 9, 34, 2
MARGIN = 20


def _text(x, y, text, size=12, anchor="start", colour="#343a40", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}" stroke="white" stroke-width="3" paint-order="stroke">{text}</text>')  # fmt: skip


def _panel(x, y, title, bars):
    """bars: {framework: {threads: ratio}}."""
    yield _text(x, y + 14, title, 14, weight="bold")
    longest = max(ratio for each in bars.values() for ratio in each.values())
    y += HEAD - 8
    end = y + sum(BAR * len(each) + GAP for each in bars.values()) - GAP
    segnet = x + LABELS + BARS / longest
    yield f'<path d="M{segnet:.1f} {y - 3}V{end + 3}" stroke="#868e96" stroke-dasharray="3 3"/>'
    for framework, each in bars.items():
        height = BAR * len(each)
        yield _text(x + LABELS - 8, y + height / 2 + 4, framework, anchor="end")
        for i, (threads, ratio) in enumerate(each.items()):
            length = BARS * ratio / longest
            # Paler with fewer threads.
            opacity = 0.45 + 0.55 * (i + 1) / len(each)
            yield (f'<rect x="{x + LABELS}" y="{y + i * BAR + 1}" width="{length:.1f}" height="{BAR - 2}" rx="2" '
                   f'fill="{COLOURS[framework]}" fill-opacity="{opacity:.2f}"/>')  # fmt: skip
            label = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
            yield _text(x + LABELS + length + 5, y + i * BAR + BAR - 3, f"{label}×", 11)
        y += height + GAP


def draw(panels):
    """panels: [(title, {framework: {threads: ratio}})]."""
    panels = [(title, bars) for title, bars in panels if bars]
    threads = list(next(iter(panels[0][1].values())))
    parts, y = [], 64
    for first in range(0, len(panels), COLUMNS):
        row = panels[first : first + COLUMNS]
        for column, (title, bars) in enumerate(row):
            parts += _panel(MARGIN + column * WIDTH, y, title, bars)
        y += HEAD + max(sum(BAR * len(each) + GAP for each in bars.values()) for _, bars in row) + 12
    width, height = 2 * MARGIN + COLUMNS * WIDTH, y
    title = "Time relative to segnet's (shorter is faster), each framework's fastest mode"
    legend = " and ".join(f"{n} thread{'s' if n > 1 else ''}" for n in threads)
    note = f"7-2-7-1, the same weights and pictures; from pale to full colour: {legend}"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(MARGIN, 28, title, 17, weight="bold"),
        _text(MARGIN, 48, note, 12, colour="#868e96"),
        *parts, "</svg>", ""])  # fmt: skip
