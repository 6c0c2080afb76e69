# SPDX-License-Identifier: GPL-2.0-or-later
"""From the start of the process to the guest, on this machine's own KVM, and where the time goes. A system call under strace takes longer, so
what it shows is told of single calls, of which most is a wait in the kernel, and of their number."""

import collections
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from native import BUILD, Guest, has_kvm, payload

SIZE = 24 << 20
FILES = f"kernel and {SIZE >> 20} MiB of initrd"
CALL = re.compile(r"^(\d+) +(\d+\.\d+) (.*?)(?: <(\d+\.\d+)>)?$", re.MULTILINE)
# What waits for the kernel, or has it move bytes.
LONG = ("KVM_CREATE_VM", "KVM_CREATE_IRQCHIP", "KVM_SET_USER_MEMORY_REGION", "KVM_CREATE_VCPU", "sendfile")
COLUMN = "ferry"


def since(begin):
    return round((time.monotonic() - begin) * 1000, 2)


def until_guest(folder, kernel, options):
    with contextlib.ExitStack() as stack:
        begin = time.monotonic()
        Guest(folder, kernel, 512, stack).run(*options)
        return since(begin)


def new_memory(initrd):
    with open(initrd, "rb") as file, open(os.memfd_create("memory"), "wb") as memory:
        begin, at = time.monotonic(), 0
        while at < SIZE:
            at += os.sendfile(memory.fileno(), file.fileno(), at, SIZE - at)
        return since(begin)


def traced(folder, kernel, initrd):
    """{call: seconds}, and the number of calls, up to the first KVM_RUN."""
    trace, runtime = folder / "trace", folder / "traced"
    runtime.mkdir(exist_ok=True, mode=0o700)
    command = ["strace", "-f", "-T", "-ttt", "-o", trace, BUILD / "ferry", "run", "--name", "g", "--kernel", kernel, "--initrd", initrd,
               "--mem", "512M", "--runtime-dir", runtime]
    process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.readline()
    # strace would leave alone what it traces.
    os.kill(int(trace.read_text().split(" ", 1)[0]), signal.SIGKILL)
    process.communicate()
    seconds, begun, n = collections.Counter(), {}, 0
    for thread, _, call, took in CALL.findall(trace.read_text()):
        n += "resumed>" not in call
        if "KVM_RUN" in call:
            break
        name = next((name for name in LONG if name in call), None)
        if "unfinished" in call:
            begun[thread] = name
        elif "resumed>" in call:
            name = begun.pop(thread, None)
        if name and took:
            seconds[name] += float(took)
    return seconds, n


def measure(figures, repetitions, say):
    if not has_kvm():
        say("no /dev/kvm: without the start")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        kernel, initrd = folder / "kernel", folder / "initrd"
        payload(kernel, (16 << 20) + 64)
        initrd.write_bytes(os.urandom(SIZE))
        for repetition in range(repetitions):
            say(f"== start, {repetition + 1} of {repetitions}")
            begin = time.monotonic()
            subprocess.run([BUILD / "ferry", "version"], check=True, stdout=subprocess.DEVNULL)
            figures.add("start: the process alone, ms", COLUMN, since(begin))
            figures.add("start: until the guest's first word, a kernel, ms", COLUMN, until_guest(folder, kernel, ()))
            figures.add(f"start: until the guest's first word, {FILES}, ms", COLUMN, until_guest(folder, kernel, ("--initrd", initrd)))
            figures.add(f"start: {SIZE >> 20} MiB of a file into new memory, ms", COLUMN, new_memory(initrd))
            if shutil.which("strace"):
                seconds, n = traced(folder, kernel, initrd)
                for call in LONG:
                    figures.add(f"start: of that {call}, ms", COLUMN, round(seconds[call] * 1000, 2))
                figures.add("start: system calls until KVM_RUN", COLUMN, n)
