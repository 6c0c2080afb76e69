# SPDX-License-Identifier: GPL-2.0-or-later
"""How the downtime and the whole of a migration grow with a guest's sizes. What NICs have set is measured by growth.c, source and
destination in one process without KVM; vCPUs and memory by Ferry itself on this machine's /dev/kvm, between two processes. Neither
needs a lab. The sizes take turns, so that what else the machine does is shared by all. draw() makes a picture of it."""

import contextlib
import json
import math
import pathlib
import re
import statistics
import subprocess
import tempfile

import native

LINE = re.compile(r"^(.+) (\d+): downtime ([0-9.]+) ms, total ([0-9.]+) ms", re.MULTILINE)
VCPUS, MEMORY = (1, 4, 16, 64), (256, 1024, 8192, 65536)
CPUS, MIB = "vCPUs", "MiB of memory"
# Bytes of memory that the guest has filled, whatever else it has.
FILLED = 4 << 20
DOWNTIME, TOTAL = "downtime", "total"


def row(of, n, what):
    return f"{what}, {n} {of}, ms"


class Growth:
    """{what grows: {its size: {DOWNTIME or TOTAL: [ms, ...]}}}"""

    def __init__(self):
        self.of = {}

    def add(self, of, n, **values):
        at = self.of.setdefault(of, {}).setdefault(n, {DOWNTIME: [], TOTAL: []})
        for what, value in values.items():
            at[what].append(value)

    def medians(self, of, what, which=statistics.median):
        return {n: which(at[what]) for n, at in sorted(self.of[of].items())}

    def ratio(self, of, what, which=statistics.median):
        """The largest size's to the smallest one's."""
        values = list(self.medians(of, what, which).values())
        return values[-1] / values[0]


def devices(growth):
    out = subprocess.run([native.BUILD / "tests/bench/bench_growth", "1"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for of, n, downtime, total in LINE.findall(out):
        growth.add(of, int(n), downtime=float(downtime), total=float(total))


def machine(growth, folder, kernel, of, n):
    mib, cpus = (n, 1) if of == MIB else (512, n)
    with contextlib.ExitStack() as stack:
        guest = native.Guest(folder, kernel, mib, stack)
        guest.run("--cpus", cpus)
        path, report = folder / "socket", folder / "report"
        # More than this host has, perhaps, which is a reason to refuse where nobody says otherwise.
        guest.receive("--from", f"unix:{path}", "--mem", f"{mib}M", "--cpus", cpus)
        moved = guest.migrate(f"unix:{path}", "--report", report)
        if moved.returncode:
            raise SystemExit(f"bench: {moved.stdout}")
        said = json.loads(report.read_text())
        growth.add(of, n, downtime=said["downtimeNs"] / 1e6, total=said["elapsedNs"] / 1e6)


def measure(figures, repetitions, picture, say):
    growth = Growth()
    kvm = native.has_kvm()
    if not kvm:
        say("== no /dev/kvm: growth without vCPUs and memory")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        kernel = folder / "kernel"
        native.payload(kernel, (16 << 20) + FILLED)
        for repetition in range(repetitions):
            say(f"== growth, {repetition + 1} of {repetitions}")
            devices(growth)
            for of, sizes in ((CPUS, VCPUS), (MIB, MEMORY)) if kvm else ():
                for n in sizes:
                    machine(growth, folder, kernel, of, n)
    for of, sizes in growth.of.items():
        for n, at in sorted(sizes.items()):
            for what, values in at.items():
                for value in values:
                    figures.add(row(of, n, what), "ferry", round(value, 3), quiet=True)
    for of in growth.of:
        for what in DOWNTIME, TOTAL:
            figures.add(f"{what}, the most {of} to the fewest, times", "ferry", round(growth.ratio(of, what), 2))
            # What others do on the machine only ever adds to a time.
            figures.add(f"   {what} of {of}, by the least of each", "ferry", round(growth.ratio(of, what, min), 2))
    if picture:
        pathlib.Path(picture).write_text(draw(growth))
        say(f"drawn to {picture}")


# The picture: a small plot for each thing that grows, all with one scale of time.

WIDTH, HEIGHT, COLUMNS = 300, 200, 3
LEFT, TOP, GAP_X, GAP_Y = 70, 90, 50, 70
COLORS = {DOWNTIME: "#ee7733", TOTAL: "#4477aa"}


def text(x, y, words, size=12, color="#000000", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}">{words}</text>\n'


def decades(growth):
    values = [v for of in growth.of for what in COLORS for v in growth.medians(of, what).values()]
    low, high = 0.1, 10
    while low > min(values):
        low /= 10
    while high < max(values):
        high *= 10
    return low, high


def height(value, low, high):
    """Of a value in a plot from @low to @high, logarithmic, as a part of it: the steps between are equal ratios."""
    return math.log(value / low) / math.log(high / low)


def plot(growth, of, x, y, low, high):
    sizes = list(growth.medians(of, DOWNTIME))
    out, tick = text(x, y - 10, of, 14), low
    while tick <= high * 1.001:
        at = y + HEIGHT * (1 - height(tick, low, high))
        out += f'<line x1="{x}" y1="{at:.1f}" x2="{x + WIDTH}" y2="{at:.1f}" stroke="#dddddd"/>\n'
        out += text(x - 6, at + 4, f"{tick:g} ms", 11, "#666666", "end")
        tick *= 10
    across = [x + WIDTH * (0.04 + 0.92 * i / (len(sizes) - 1)) for i in range(len(sizes))]
    for at, n in zip(across, sizes):
        out += text(at, y + HEIGHT + 16, f"{n:,}", 11, "#666666", "middle")
    for what, color in COLORS.items():
        values = growth.medians(of, what).values()
        points = [(at, y + HEIGHT * (1 - height(v, low, high))) for at, v in zip(across, values)]
        out += f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>\n'
        for (a, b), value, n in zip(points, values, sizes):
            out += f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{color}"><title>{what} with {n} {of}: {value:.3g} ms</title></circle>\n'
        out += text(x + WIDTH, points[-1][1] - 8, f"{growth.ratio(of, what):.2f} times", 11, color, "end")
    return out


def draw(growth):
    low, high = decades(growth)
    rows = -(-len(growth.of) // COLUMNS)
    width, depth = LEFT + COLUMNS * (WIDTH + GAP_X + LEFT) - LEFT, TOP + rows * (HEIGHT + GAP_Y)
    out = ('<?xml version="1.0" encoding="UTF-8"?>\n'
           f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{depth}" viewBox="0 0 {width} {depth}" font-family="sans-serif">\n'
           '<rect width="100%" height="100%" fill="#ffffff"/>\n')
    out += text(LEFT, 30, "A migration as the guest grows", 20)
    runs = min(len(at[DOWNTIME]) for sizes in growth.of.values() for at in sizes.values())
    out += text(LEFT, 52, f"Downtime and the whole, medians of {runs}, on one machine; both axes by ratios. "
                "Beside each line: the largest size's against the smallest's.", 12, "#666666")
    for i, (what, color) in enumerate(COLORS.items()):
        at = width - GAP_X - 180 + 100 * i
        out += f'<rect x="{at}" y="20" width="12" height="12" fill="{color}"/>\n' + text(at + 18, 31, what)
    for i, of in enumerate(growth.of):
        out += plot(growth, of, LEFT + i % COLUMNS * (WIDTH + GAP_X + LEFT), TOP + i // COLUMNS * (HEIGHT + GAP_Y), low, high)
    return out + "</svg>\n"
