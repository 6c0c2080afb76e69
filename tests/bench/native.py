# SPDX-License-Identifier: GPL-2.0-or-later
"""Ferry on this machine's own /dev/kvm, with a guest that fills its memory and halts: what needs no lab."""

import contextlib
import os
import pathlib
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("FERRY_BUILD", ROOT / "build"))


def has_kvm():
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def eventually(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise SystemExit(f"bench: {what}")
        time.sleep(0.01)
    return result


@contextlib.contextmanager
def running(*command, **options):
    process = subprocess.Popen(list(map(str, command)), **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def payload(path, end):
    """A kernel that writes random numbers to each 64 bytes of the memory from 16 MiB to @end, says R on the serial line, and halts."""
    code = b"\xbf" + struct.pack("<I", 1 << 24) + b"\xb8" + struct.pack("<I", 2463534242)
    # A xorshift generator: eax ^= eax << 13, eax ^= eax >> 17, eax ^= eax << 5.
    body = b"".join(b"\x89\xc2\xc1" + shift + b"\x31\xd0" for shift in (b"\xe2\x0d", b"\xea\x11", b"\xe2\x05"))
    body += b"\x89\x07\x83\xc7\x40\x81\xff" + struct.pack("<I", end)
    code += body + b"\x72" + struct.pack("b", -(len(body) + 2)) + b"\xba\xf8\x03\x00\x00\xb0R\xee\xb0\n\xee\xf4\xeb\xfd"
    entry, header = 1 << 20, 64 + 2 * 56
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen", entry)
    elf = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, header + len(note), entry, entry, len(code), len(code), 0)
    elf += struct.pack("<IIQQQQQQ", 4, 4, header, 0, 0, len(note), len(note), 4)
    path.write_bytes(elf + note + code)


class Guest:
    """A guest of Ferry's that has filled its memory."""

    def __init__(self, folder, kernel, mib, stack):
        self.at = [folder / "from", folder / "to"]
        self.folder, self.kernel, self.mib, self.stack = folder, kernel, mib, stack
        for each in self.at:
            each.mkdir(exist_ok=True, mode=0o700)

    def run(self, *options):
        self.process = self.stack.enter_context(running(
            BUILD / "ferry", "run", "--name", "g", "--kernel", self.kernel, "--mem", f"{self.mib}M", "--runtime-dir", self.at[0],
            *options, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        if self.process.stdout.readline() != b"R\n":
            raise SystemExit("bench: Ferry's guest does not run")

    def receive(self, *options):
        process = self.stack.enter_context(running(
            BUILD / "ferry", "receive", "--name", "g", "--runtime-dir", self.at[1], *options,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        for line in process.stderr:
            if "ready for a source" in line:
                return
        raise SystemExit("bench: ferry receive is not ready")

    def migrate(self, to, *options):
        return subprocess.run([BUILD / "ferry", "migrate", "g", "--runtime-dir", self.at[0], "--to", to, *options],
                              env={**os.environ, **getattr(self, "environment", {})}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
