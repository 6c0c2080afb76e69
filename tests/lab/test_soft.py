# SPDX-License-Identifier: GPL-2.0-or-later
"""Ferry's NIC in software under a stock driver: every family set with ordinary tools, kept over a move, and seen to work.

What it filters is compared with a NIC of QEMU, to which the same commands and the same frames are given.
"""

import re

import pytest

import checks
import netns
import test_migrate_state as families

# The mode must be the one that is meant: without "mode=" one that cannot be had is replaced.
NICS = {"passthrough": ("soft", "mode=passthrough"), "shadow": ("soft", "mode=shadow"), "packed": ("soft", "packed=on,mode=shadow")}

VIEWS = families.VIEWS + "; ethtool -c eth0; ethtool -Q eth0 --show-coalesce; cat /sys/class/net/eth0/device/features; ls /sys/class/net"


@pytest.fixture(scope="module",
                params=[pytest.param(nic, id=name, marks=[pytest.mark.long] * (name != "passthrough")) for name, nic in NICS.items()])
def nic(request, labs):
    yield request.param
    # The other test files use the guest on a NIC of QEMU only.
    labs.drop_guests(but="vp")


def move(vm):
    """Moves the guest, which sees its NIC as before, with counters that do not go back."""
    counters = checks.statistics(vm)
    checks.note(vm, VIEWS)
    vm.migrate()
    checks.as_noted(vm, VIEWS)
    now = checks.statistics(vm)
    assert now.keys() == counters.keys()
    back = {name: (counters[name], now[name]) for name in counters if now[name] < counters[name]}
    assert not back, back
    checks.rings_are_well(vm)


def busy(counts):
    return {queue for queue, n in counts.items() if n > 8}


# Frames, as the guest sees them

LISTED, UNLISTED = "02:00:00:00:00:01", "02:00:00:00:00:99"
GROUP, OTHER_GROUP = "33:33:00:01:00:01", "33:33:00:01:00:99"
BROADCAST = "ff:ff:ff:ff:ff:ff"
END = 255

STATES = {
    "default": "true",
    "promisc": families.PROMISC,
    "allmulti": families.ALLMULTI,
    "unicast": families.unicast(3),
    "multicast": families.multicast(3),
    "vlan": families.vlans(7, 8),
    "mac": "ip link set dev eth0 address $(sed 's/^..:..:../02:11:22/' /sys/class/net/eth0/address)",
}


def address_of(vm):
    return vm.sh("cat /sys/class/net/eth0/address").strip()


def frames(own, provisioned, other):
    """Destination and VLAN of each frame, for a NIC with these addresses, by what it is to that NIC."""
    return {"own": (own, None), "provisioned": (provisioned, None), "of another": (other, None), "listed": (LISTED, None),
            "unlisted": (UNLISTED, None), "group": (GROUP, None), "other group": (OTHER_GROUP, None), "broadcast": (BROADCAST, None),
            "own, set VLAN": (own, 7), "own, other VLAN": (own, 9), "broadcast, set VLAN": (BROADCAST, 7),
            "broadcast, other VLAN": (BROADCAST, 9), "group, set VLAN": (GROUP, 7), "listed, other VLAN": (LISTED, 9)}


def frame(destination, vlan, number):
    parts = [destination, "02:77:00:00:00:01", f"81:00:00:{vlan:02x}" if vlan else "", "88:b5", f"{number:02x}"]
    return bytes.fromhex("".join(parts).replace(":", "")).ljust(60, b"\0")


def seen(lab, probes):
    """Sends to all guests the frames of each, {guest: {name: (destination, VLAN)}}; which of its own each one got, by their names."""
    for vm in probes:
        vm.sh("probes eth0 > /tmp/probes & until grep -q listening /tmp/probes; do usleep 20000; done")
    lab.forget_ports()
    numbers = {}
    for wanted in probes.values():
        for what in wanted.values():
            numbers.setdefault(what, len(numbers))
    with lab.namespace.raw("br0") as s:
        for what, number in numbers.items():
            s.send(frame(*what, number))
        s.send(frame(BROADCAST, None, END))
    got = {}
    for vm, wanted in probes.items():
        came = vm.sh("until grep -q seen /tmp/probes; do usleep 20000; done; sed -n 's/seen *//p' /tmp/probes").split()
        assert len(came) == len(set(came)), f"frames came twice: {came}"
        got[vm] = {name for name, what in wanted.items() if str(numbers[what]) in came}
    return got


def lets_in(state, destination, vlan):
    """Whether a NIC in this state of query-rx-filter has to let a frame in."""
    if state["promiscuous"]:
        return True
    if vlan and state["vlan"] != "all" and vlan not in netns.numbers(state["vlan-table"]):
        return False
    if destination == BROADCAST:
        # What QEMU gives under this name is the NOBCAST mode itself.
        return not state["broadcast-allowed"]
    kind = "multicast" if int(destination[:2], 16) & 1 else "unicast"
    if state[kind] != "normal" or state[f"{kind}-overflow"]:
        return state[kind] != "none"
    return destination in state[f"{kind}-table"] or destination == state["main-mac"]


@pytest.mark.parametrize("nic", [NICS["passthrough"]], ids=["passthrough"], indirect=True)
@pytest.mark.parametrize("state", [s if s in ("promisc", "unicast") else pytest.param(s, marks=pytest.mark.long) for s in STATES])
def test_filters_as_qemu_does(lab, vm, oracle, state):
    provisioned = {guest: address_of(guest) for guest in (vm, oracle)}
    for guest in (vm, oracle):
        guest.sh(STATES[state])
    own = {guest: address_of(guest) for guest in (vm, oracle)}
    probes = {vm: frames(own[vm], provisioned[vm], own[oracle]), oracle: frames(own[oracle], provisioned[oracle], own[vm])}
    filtered = checks.settled(oracle)
    expected = {name for name, what in probes[oracle].items() if lets_in(filtered, *what)}
    got = {}

    def as_expected():
        got.update(seen(lab, probes))
        return got[vm] == got[oracle] == expected
    # The other guest's driver tells its device in the background too, and there is no oracle for when it has.
    checks.eventually(lab, as_expected)
    assert got[oracle] == expected
    assert got[vm] == got[oracle]
    move(vm)
    assert seen(lab, {vm: probes[vm]}) == {vm: got[vm]}


# Everything else

@pytest.mark.long
def test_moves_and_announces(lab, vm):
    checks.traffic(vm)
    packed = vm.sh("cut -c 35 /sys/class/net/eth0/device/features").strip()
    assert packed == str(int("packed=on" in vm.net))
    mac = bytes.fromhex(address_of(vm).replace(":", ""))
    with lab.namespace.raw("br0") as s:
        move(vm)
        s.setblocking(False)
        # RARP, by Ferry at once in the guest's name; ARP about its own address, by the guest, which its NIC has told to.
        announced = set()

        def both():
            vm.sh("true")
            try:
                while data := s.recv(2048):
                    if data[6:14] == mac + b"\x80\x35":
                        announced.add("RARP")
                    elif data[6:14] == mac + b"\x08\x06" and data[28:32] == data[38:42]:
                        announced.add("ARP")
            except BlockingIOError:
                pass  # all that has come
            return announced == {"RARP", "ARP"}
        assert checks.eventually(lab, both), announced
    before = checks.statistics(vm)
    checks.traffic(vm)
    after = checks.statistics(vm)
    for name in "rx_hw_packets", "rx_hw_bytes", "rx_hw_interrupts", "tx_hw_packets", "tx_hw_bytes":
        assert after[name] > before[name], name
    assert after["rx_hw_packets"] == sum(n for name, n in after.items() if re.fullmatch(r"rx\d+_hw_packets", name))


@pytest.mark.long
def test_steering(vm):
    """RSS with a key and a table; then hashes of addresses alone, on another number of queues: all from one host to one of them."""
    vm.sh(families.RSS)
    before = checks.spread(vm, flows=64)
    assert busy(before) == {2, 3}
    move(vm)
    after = checks.spread(vm, flows=64)
    assert busy(after) == {2, 3}
    # The same flows: the same queues, but for what else comes in.
    assert all(abs(after[queue] - before[queue]) <= 8 for queue in (2, 3)), (before, after)
    vm.sh("ethtool -X eth0 default && ethtool -L eth0 combined 3")
    assert busy(checks.spread(vm, flows=64)) == {0, 1, 2}
    vm.sh("ethtool -K eth0 rxhash on; ethtool -N eth0 rx-flow-hash udp4 sd")
    before = busy(checks.spread(vm, flows=16))
    assert len(before) == 1
    move(vm)
    assert busy(checks.spread(vm, flows=16)) == before


@pytest.mark.long
def test_offloads(vm):
    """With receive offloads off no packet is above the MTU; with them on they are."""
    assert checks.received_size(vm, 1_000_000) > 1600
    vm.sh(families.OFFLOADS)
    move(vm)
    assert checks.received_size(vm, 1_000_000) < 1600
    vm.sh("ethtool -K eth0 rx-gro-hw on")
    assert checks.received_size(vm, 1_000_000) > 1600


def interrupts(vm, ping, count=100):
    """Interrupts of the receive and of the transmit queues during some pings, of which each makes one of both unless held back."""
    def counts():
        table = vm.sh("grep -E 'virtio[0-9]+-(in|out)put' /proc/interrupts")
        return {kind: sum(int(n) for line in table.splitlines() if f"-{kind}." in line for n in re.findall(r"\s(\d+)(?=\s)", line)[:2])
                for kind in ("input", "output")}

    pinger = ping(vm)
    before = counts()
    checks.answered(vm, pinger, count)
    after = counts()
    pinger.stop()
    return {kind: after[kind] - before[kind] for kind in before}


@pytest.mark.long
def test_coalescing(vm, ping):
    """What holds interrupts back by time, on all queues but one that has been told otherwise."""
    vm.sh("ethtool -L eth0 combined 2; ethtool -X eth0 weight 1 0")
    free = interrupts(vm, ping)
    # For longer than the pings take of which no more are ever under way, also on a slow machine.
    vm.sh("ethtool -C eth0 rx-usecs 1000000 rx-frames 64 tx-usecs 1000000 tx-frames 64; "
          "ethtool -Q eth0 queue_mask 2 --coalesce rx-usecs 0 rx-frames 0")
    held = interrupts(vm, ping)
    assert 3 * held["input"] < free["input"] and 3 * held["output"] < free["output"], (free, held)
    move(vm)
    held = interrupts(vm, ping)
    assert 3 * held["input"] < free["input"] and 3 * held["output"] < free["output"], (free, held)
    vm.sh("ethtool -X eth0 weight 0 1")
    other = interrupts(vm, ping)
    assert 2 * other["input"] > free["input"] and 3 * other["output"] < free["output"], (free, other)


def test_everything_at_once(vm):
    vm.sh(f"{families.RSS}; {families.HASH}; {families.OFFLOADS}; {families.MAC}; {families.ALLMULTI}; "
          "ethtool -C eth0 rx-usecs 50 rx-frames 8 tx-usecs 60 tx-frames 9; "
          "ethtool -Q eth0 queue_mask 5 --coalesce rx-usecs 20 tx-usecs 30\n"
          f"{families.unicast(350)}\n{families.multicast(350)}\n{families.vlans(1, 100)}", timeout=120)
    move(vm)
    checks.traffic(vm)
    move(vm)
    checks.traffic(vm)
