# SPDX-License-Identifier: GPL-2.0-or-later
"""The README's table of figures, written between its marks: what was measured in this run, and nothing else."""

import pathlib
import platform
import re
import statistics

from growth import CPUS, DOWNTIME, MIB
from programs import SHIPPED

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- written by tests/bench/run -->\n", "<!-- until here -->\n"
FERRY = "ferry"
# What stands in the table, how it is called where it was measured, in which column, and its unit.
ROWS = (
    ("Memory to another process over a unix socket, beside a plain loop of `write` and `read` over as many bytes",
     "unix, memory that is there, against a plain loop, %", SHIPPED, "%"),
    ("The same over TCP", "tcp, memory that is there, against a plain loop, %", SHIPPED, "%"),
    ("CPU of the source for it, over a unix socket", "unix, memory that is there, against a plain loop: CPU of the source, %", SHIPPED, "%"),
    ("CPU of the destination", "unix, memory that is there, against a plain loop: CPU of the destination, %", SHIPPED, "%"),
    ("Scattered pages, beside as many in one piece, unix", "unix, scattered pages, against as many in one piece, %", SHIPPED, "%"),
    ("The same over TCP", "tcp, scattered pages, against as many in one piece, %", SHIPPED, "%"),
    ("Into memory that is not there yet, beside a plain loop whose pages fault one by one, unix",
     "unix, first pass, against a plain loop that faults, %", SHIPPED, "%"),
    ("The same, beside a plain loop that has its pages made ahead in one call for many",
     "unix, first pass, against a plain loop that populates, %", SHIPPED, "%"),
    ("The same, beside a plain loop that writes the memory's file, which needs no mapping",
     "unix, first pass, against a plain loop that writes the memfd, %", SHIPPED, "%"),
    ("A device that pins memory, while the stream comes, beside one that did so before READY, unix",
     "unix, a device that pins memory as it comes, against before, %", SHIPPED, "%"),
    ("Packets through split shadow rings, 32 at a time, nobody sleeping, sent", "split tx batch 32, all poll: thousand packets a second", SHIPPED, "thousand a second"),
    ("The same, received", "split rx batch 32, all poll: thousand packets a second", SHIPPED, "thousand a second"),
    ("Through packed rings, sent", "packed tx batch 32, all poll: thousand packets a second", SHIPPED, "thousand a second"),
    ("The same, received", "packed rx batch 32, all poll: thousand packets a second", SHIPPED, "thousand a second"),
    ("From `exec` to the guest's first word, with a kernel", "start: until the guest's first word, a kernel, ms", FERRY, "ms"),
    ("With a kernel and an initrd of 24 MiB", "start: until the guest's first word, kernel and 24 MiB of initrd, ms", FERRY, "ms"),
)
# What a migration's downtime grows with, from the first size to the last.
GROWTH = ("VLANs", "MACs", "queue pairs", "NICs", CPUS, MIB)


def cpu():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def spread(values, unit):
    low, middle, high = (f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in (min(values), statistics.median(values), max(values)))
    return f"{middle} {unit} | {low} to {high}, {len(values)} times"


def growth(figures):
    for of in GROWTH:
        sizes = sorted(int(m[1]) for m in (re.match(rf"{DOWNTIME}, (\d+) {of}, ms$", row) for row in figures.values) if m)
        if sizes:
            values = [figures.values[f"{DOWNTIME}, {n} {of}, ms"][FERRY] for n in sizes]
            first, last = (statistics.median(v) for v in (values[0], values[-1]))
            yield f"| Downtime with {sizes[0]} and with {sizes[-1]} {of} | {first:.2f} and {last:.2f} ms | {last - first:+.2f} ms, {last / first:.2f} times |"


def lines(figures):
    machine = [figures.median(f"this machine: {what}, us", SHIPPED) for what in ("a page fault", "a system call")]
    costs = "".join(f", {us:.2f} us {what}" for us, what in zip(machine, ("a page fault", "a system call")) if us is not None)
    release = ".".join(platform.release().split(".")[:2])
    yield f"On {cpu()}, Linux {release}{costs}:"
    yield ""
    yield "| what | median | least and most |"
    yield "| --- | --- | --- |"
    for words, row, column, unit in ROWS:
        values = [v for v in figures.values.get(row, {}).get(column, []) if not isinstance(v, str)]
        if values:
            yield f"| {words} | {spread(values, unit)} |"
    yield from growth(figures)


def write(figures):
    before, begin, rest = README.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"bench: {README} has no marks for the figures")
    README.write_text(before + BEGIN + "\n".join(lines(figures)) + "\n" + END + after)
