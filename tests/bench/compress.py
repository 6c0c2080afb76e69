# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a guest's way takes with its memory compressed and as it is: over a link of 1 Gbit/s, which is this machine's loopback in a
network namespace of its own, and over a unix socket. Needs /dev/kvm and root. The guest's memory is of the kind of a booted one's: the lab's
kernel, and the files of its guest's root. It goes from process to process, each time another way, so that all ways are over the same
memory."""

import contextlib
import itertools
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import native

RATE = "1gbit"
MODES = ("off", "auto", "on")
LINK, UNIX = f"link of {RATE}", "unix socket"
MEMORY, CONTENT = "512M", 160 << 20
HOST = "127.0.0.1"


class Host:
    """A process that has the guest, or waits for it."""

    def __init__(self, folder, stack, *command):
        self.folder = folder
        folder.mkdir(mode=0o700)
        self.process = stack.enter_context(native.running(
            native.BUILD / "ferry", *command, "--name", "g", "--mem", MEMORY, "--runtime-dir", folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))

    def wait_for(self, words):
        for line in self.process.stdout:
            if words.encode() in line:
                return self
        raise SystemExit(f"bench: Ferry ends before it says {words}")


def connected(way, to):
    """A socket for ferry migrate, whose other end a ferry connect has."""
    if way == UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server((HOST, 0)) as server:
            ours = socket.create_connection(server.getsockname())
            theirs = server.accept()[0]
    connect = subprocess.Popen([native.BUILD / "ferry", "connect", "g", "--runtime-dir", to], stdin=theirs, stdout=theirs)
    theirs.close()
    return ours, connect


def move(source, destination, way, mode, report):
    ours, connect = connected(way, destination.folder)
    with ours:
        moved = subprocess.run([native.BUILD / "ferry", "migrate", "g", "--runtime-dir", source.folder, "--to", f"fd:{ours.fileno()}",
                                "--report", report, "--compress", mode], pass_fds=[ours.fileno()], stdout=subprocess.PIPE, text=True)
    connect.wait()
    if moved.returncode:
        raise SystemExit(f"bench: {moved.stdout}")
    return json.loads(report.read_text())


def inner(repetitions):
    """In the namespace: prints a line of JSON for each move."""
    images = pathlib.Path(subprocess.run([native.ROOT / "tests/lab/images"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        kernel, content = folder / "kernel", folder / "content"
        native.payload(kernel, (16 << 20) + 64)
        files = [(images / name).read_bytes() for name in ("vmlinux", "l2.cpio")]
        content.write_bytes(b"".join(itertools.islice(itertools.cycle(files), 2 * (CONTENT // sum(map(len, files)) + 1)))[:CONTENT])
        host = Host(folder / "0", stack, "run", "--kernel", kernel, "--initrd", content).wait_for("R")
        # Or it would go ahead of the memory that has it already, as what the guest boots from.
        os.truncate(content, 0)
        for n in range(repetitions):
            turns = [(way, mode) for way in (LINK, UNIX) for mode in MODES]
            for i, (way, mode) in enumerate(turns if n % 2 == 0 else reversed(turns)):
                there = Host(folder / f"{1 + n * len(turns) + i}", stack, "receive").wait_for("ready for a source")
                said = move(host, there, way, mode, folder / "report")
                host.process.wait()
                host = there
                print(json.dumps({"way": way, "mode": mode, **{k: said[k] for k in (
                    "elapsedNs", "downtimeNs", "sentBytes", "compressedBytes", "zeroBytes")}}), flush=True)


def measure(figures, repetitions, say):
    if not native.has_kvm() or os.geteuid() != 0:
        say("== compress: needs /dev/kvm and root")
        return
    say(f"== compress, {repetitions} repetitions")
    command = f"ip link set lo up && tc qdisc add dev lo root tbf rate {RATE} burst 256k latency 20ms && exec \"$@\""
    with subprocess.Popen(["unshare", "--net", "sh", "-ec", command, "sh", sys.executable, __file__, str(repetitions)],
                          stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            said = json.loads(line)
            row = f"memory of a booted guest's kind over a {said['way']}"
            figures.add(f"{row}, s", said["mode"], round(said["elapsedNs"] / 1e9, 3))
            figures.add("   MiB sent", said["mode"], round(said["sentBytes"] / 2**20, 1), quiet=True)
            figures.add(f"{row}, downtime, ms", said["mode"], round(said["downtimeNs"] / 1e6, 2), quiet=True)
    if process.returncode:
        raise SystemExit("bench: compress has failed")


def verdicts(figures):
    """{figure, what it is, what it is against, limit}, for bench.py."""
    median = lambda way, mode: figures.median(f"memory of a booted guest's kind over a {way}, s", mode)  # noqa: E731
    return [("1 Gbit/s, time compressed against as it is", median(LINK, "auto"), median(LINK, "off"), 0.6),
            ("unix socket, time with auto against off", median(UNIX, "auto"), median(UNIX, "off"), 1)]


if __name__ == "__main__":
    inner(int(sys.argv[1]))
