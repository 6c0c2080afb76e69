# SPDX-License-Identifier: GPL-2.0-or-later
"""The destination says no: the source names the reason, its guest goes on with its network, and a second attempt succeeds."""

import struct

import pytest

import checks
import ferry
from lab import CommandFailed


def refused(vm, host, words):
    """A migration that fails for the named reason and leaves the guest as it was."""
    moved = vm.send(host.address)
    assert moved.status == 1, moved.output
    for word in words:
        assert word.lower() in moved.output.lower(), f"{word!r} is not in: {moved.output}"
    assert vm.host.process.running()


# What a destination has, and what it says of a guest that wants more.
REFUSALS = {"queues": ("vp2", "", ["queue"]), "vlans": ("vp3", "", ["vlan"]), "memory": ("other", "--mem 512M", ["memory"]),
            "cpus": ("other", "--cpus 1", ["cpu"])}


@pytest.mark.parametrize("what", [REFUSALS, *(pytest.param((one,), marks=pytest.mark.long) for one in REFUSALS)], ids=["each", *REFUSALS])
def test_refused_then_retried(lab, vm, ping, what):
    vm.sh("ip link add link eth0 name v9 type vlan id 9; ip link set dev eth0 address 02:11:22:33:44:77")
    before = checks.settled(vm)
    pinger = ping(vm)
    for node, options, words in (REFUSALS[one] for one in what):
        try:
            host = vm.receive(vm.other() if node == "other" else node, options)
        except CommandFailed as e:
            # What the destination can know by itself it says before any source connects; the source is then not even asked.
            assert all(word.lower() in str(e).lower() for word in words)
        else:
            checked = vm.send(host.address, "--check")
            assert checked.status == 1 and all(word.lower() in checked.output.lower() for word in words), checked.output
            refused(vm, host, words)
            vm.waits_on(host)
        checks.answered(vm, pinger, 50)
        assert lab.rx_filter(vm.node) == before
    checks.traffic(vm)
    vm.migrate()
    assert lab.rx_filter(vm.node) == before
    checks.traffic(vm)
    checks.rings_are_well(vm)


def test_refused_control_command(lab, fresh):
    """The simulator made to refuse: the command is named, and the guest goes on. It keeps a MAC address over a reset: a new one."""
    vm = fresh(node="sim0")
    vm.sh("ip link set dev eth0 address 02:11:22:33:44:88")
    lab.run("echo Y > /sys/module/vdpa_sim_net/parameters/refuse")
    try:
        host = vm.receive("sim1")
        refused(vm, host, ["MAC"])
        assert host.process.wait(30) == 1, host.process.output()
        vm.hosts.remove(host)
    finally:
        lab.run("echo N > /sys/module/vdpa_sim_net/parameters/refuse")
    checks.echoed(vm)
    vm.migrate("sim1")
    assert vm.sh("cat /sys/class/net/eth0/address").strip() == "02:11:22:33:44:88"


def test_a_check_moves_nothing(lab, vm):
    """As often as it is asked, and the destination takes the guest afterwards."""
    host = vm.receive(vm.other())
    for _ in range(3):
        checked = vm.send(host.address, "--check")
        assert checked.status == 0 and "nothing stands against the move" in checked.output, checked.output
        assert host.process.running() and vm.host.process.running()
    checks.traffic(vm)
    moved = vm.send(host.address)
    assert moved.status == 0, moved.output
    vm.follow(host)
    checks.traffic(vm)


def test_nobody_listens(vm):
    moved = vm.send("unix:/run/nobody")
    assert moved.status == 1 and "/run/nobody" in moved.output, moved.output
    checks.pings(vm)


def tree(*nodes):
    """A flattened device tree: (name, {property: bytes}, nodes...)."""
    tags, strings = bytearray(), bytearray()

    def pad(data):
        return data + b"\0" * (-len(data) % 4)

    def put(name, properties, *children):
        tags.extend(struct.pack(">I", 1) + pad(name.encode() + b"\0"))
        for key, value in properties.items():
            tags.extend(struct.pack(">III", 3, len(value), len(strings)) + pad(value))
            strings.extend(key.encode() + b"\0")
        for child in children:
            put(*child)
        tags.extend(struct.pack(">I", 2))

    put("", {}, *nodes)
    tags.extend(struct.pack(">I", 9))
    size = 56 + len(tags) + len(strings)
    return struct.pack(">10I", 0xd00dfeed, size, 56, 56 + len(tags), 40, 17, 16, 0, len(strings), len(tags)) + bytes(16) + tags + strings


def test_a_hello_takes_nothing(lab, vm):
    """150 bytes that name the largest guest there can be: compared as a whole, and refused, with nothing built or pinned for it."""
    hello = tree(("vm", {"memory": struct.pack(">Q", 4 << 40), "cpus": struct.pack(">I", 64)}),
                 ("devices", {"count": struct.pack(">I", 0)}))
    frame = struct.pack("<IIQ", ferry.HELLO, len(hello), 1) + hello
    host = vm.receive(vm.other())
    with lab.unix(host.address.removeprefix("unix:")) as source:
        source.sendall(frame)
        with source.makefile("rb") as answers:
            kind, size, _ = struct.unpack("<IIQ", answers.read(16))
            answer = answers.read(size).decode()
    assert kind == ferry.REFUSED, kind
    vm.waits_on(host)
    for words in ("4194304 MiB of memory", "cpuid", "net0: this VM has such a device", "serial: this VM has such a device"):
        assert words in answer, answer
    vm.migrate()
    checks.traffic(vm)
