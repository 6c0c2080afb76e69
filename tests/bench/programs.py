# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that need no lab: the data path between fakes (data_path.c), a replay to Ferry's own device (replay.c), packets through that device
(nic.c), and memory on its way to another process (stream.c). As Ferry is shipped, as an optimised glibc build and, if asked for, as another build has them: in turns."""

import os
import pathlib
import re
import subprocess

from lab import BUILD

RELEASE = pathlib.Path(os.environ.get("FERRY_RELEASE", f"{BUILD}-release"))
PACKETS = re.compile(r"^(.+): ([0-9.]+) Mpackets/s, ([0-9.]+) ns a packet in Ferry$", re.MULTILINE)
FORMATS = re.compile(r"^(packed to split, .+): ([0-9.]+)$", re.MULTILINE)
THREAD = re.compile(r"^(.+): ([0-9.]+) Mpackets/s, ([0-9.]+) us for a lone one$", re.MULTILINE)
REPLAY = re.compile(r"^(.+): (\d+) commands in ([0-9.]+) ms, (\d+) a second$", re.MULTILINE)
NIC = re.compile(r"^(.+): ([0-9.]+) ns a packet$", re.MULTILINE)
STREAM = re.compile(r"^(.+): ([0-9.]+) of ([0-9.]+) GB/s, ([0-9.]+)(?:; CPU ([0-9.]+), ([0-9.]+))?$", re.MULTILINE)
MACHINE = re.compile(r"^machine: ([0-9.]+) us a page fault, ([0-9.]+) us a system call$", re.MULTILINE)
SHIPPED, GLIBC, BESIDE = "as shipped", "glibc, -O3", "beside"


def builds(beside):
    """{column: build}"""
    return {SHIPPED: BUILD, GLIBC: RELEASE, **({BESIDE: pathlib.Path(beside)} if beside else {})}


def run(build, name):
    return subprocess.run([build / "tests/bench" / f"bench_{name}"], check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(figures, parts, repetitions, beside, say):
    for repetition in range(repetitions):
        say(f"== programs, {repetition + 1} of {repetitions}")
        turns = list(builds(beside).items())
        for column, build in turns if repetition % 2 == 0 else reversed(turns):
            if "data-path" in parts:
                data_path(figures, column, run(build, "data_path"))
            if "soft" in parts:
                for case, _, ms, rate in REPLAY.findall(run(build, "replay")):
                    figures.add(f"replay to {case}: ms", column, float(ms))
                    figures.add(f"replay to {case}: commands a second", column, int(rate))
            if "nic" in parts:
                for case, ns in NIC.findall(run(build, "nic")):
                    figures.add(f"NIC in software, {case}: ns a packet", column, float(ns))
            if "stream" in parts:
                stream(figures, column, run(build, "stream"))


def data_path(figures, column, output):
    for case, rate, ns in PACKETS.findall(output):
        figures.add(f"{case}: thousand packets a second", column, round(1000 * float(rate)))
        figures.add(f"{case}: in Ferry, ns a packet", column, float(ns))
    for case, ratio in FORMATS.findall(output):
        figures.add(f"{case}, %", column, round(100 * float(ratio)))
    for case, rate, lone in THREAD.findall(output):
        figures.add(f"{case}: thousand packets a second", column, round(1000 * float(rate)))
        figures.add(f"{case}: a lone packet, us", column, float(lone))


def stream(figures, column, output):
    for fault, call in MACHINE.findall(output):
        figures.add("this machine: a page fault, us", column, float(fault))
        figures.add("this machine: a system call, us", column, float(call))
    for row, ours, base, ratio, source, destination in STREAM.findall(output):
        figures.add(f"{row}, %", column, round(100 * float(ratio)))
        figures.add(f"{row}: GB/s", column, float(ours))
        if source:
            figures.add(f"{row}: CPU of the source, %", column, round(100 * float(source)))
            figures.add(f"{row}: CPU of the destination, %", column, round(100 * float(destination)))
