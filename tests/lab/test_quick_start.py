# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick starts of the README, word for word, on two hosts."""

import pathlib
import re

import pytest

README = pathlib.Path(__file__).resolve().parent.parent.parent / "README.md"
# The lab's hosts have a vDPA device, and the bridge.
THERE = ("vdpa ", "modprobe ", "ip link add br0 ")
# In the reader's folder; each host has what the lab's guests boot.
FOLDER = "/tmp/quick"
FILES = f"mkdir -p {FOLDER} && cd {FOLDER} && ln -sf /images/vmlinuz vmlinuz && ln -sf /images/l2.cpio root.cpio"
TYPED = "echo the answer of $(uname) is $((6 * 7))\n"
ANSWER = "the answer of Linux is 42"


def steps(heading):
    """Where the commands are to be typed, and what they are, in the README's order."""
    part = re.search(rf"^## {heading}\n(.*?)^## ", README.read_text(), re.DOTALL | re.MULTILINE)[1]
    found = re.findall(r"^On (both hosts|hosta|hostb),.*(?:\n.+)*\n\n((?:    .+\n)+)", part, re.MULTILINE)
    assert len(found) == 4, part
    return [(where, [line.strip() for line in block.splitlines()]) for where, block in found]


@pytest.mark.parametrize("heading", ["On vDPA hardware", pytest.param("Without vDPA hardware", marks=pytest.mark.long)])
def test_a_guest_moves_to_the_other_host(labs, pair, heading):
    labs.drop_guests()
    hosts = {"hosta": [pair.a], "hostb": [pair.b], "both hosts": [pair.a, pair.b]}
    terminals = []
    try:
        for where, lines in steps(heading):
            for host, line in [(host, line) for host in hosts[where] for line in lines if not line.startswith(THERE)]:
                command = f"{FILES} && {line}"
                if not re.match("ferry (run|receive) ", line):
                    host.run(command)
                    continue
                terminals.append(host.spawn(f"{FILES} && exec {line}"))
                terminals[-1].wait_for("lab: guest is up" if "ferry run" in line else "ready for a source")
        source, destination = terminals
        assert source.wait() == 0, source.output()
        destination.type(TYPED)
        destination.wait_for(ANSWER)
    finally:
        for terminal in terminals:
            terminal.kill()
            terminal.wait()
