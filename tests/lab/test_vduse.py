# SPDX-License-Identifier: GPL-2.0-or-later
"""A vDPA device in user space that echoes, without a control queue: traffic, moves to a second one and back, refusals."""

import pytest

import checks
import ferry

LEFT = "shadow rings: the network stood still for"
RETURNED = "net0: passthrough\n"
ANYBODY = "10.77.0.1"
MAC = "52:54:77:77:33:11"


@pytest.fixture
def device(lab):
    """Makes vDPA devices of vdusenic; they end with the test."""
    made = {}

    def make(name, options="", mac=MAC):
        made[name] = lab.vduse(name, mac, options)
    yield make
    for name, process in made.items():
        print(name, lab.vduse_end(name, process))


@pytest.fixture
def guest(device, fresh):
    """Boots a guest on vduse0, with vduse1 as its like; it ends before its devices do."""
    def boot(options="", net=""):
        device("vduse0", options)
        device("vduse1", options)
        vm = fresh(node="vduse0", mem="128M", net=net)
        # The guest's own queue holds back what a device that completes late has not (BQL), and drops some of that (CoDel).
        vm.sh("for queue in /sys/class/net/eth0/queues/tx-*; do echo 1000000 > $queue/byte_queue_limits/limit_min; done")
        return vm
    return boot


def other(vm):
    return "vduse1" if vm.node == "vduse0" else "vduse0"


def ping(vm, count=20):
    """All pings are answered, each once, by the guest's own count: busybox's ping under nested TCG overlooks some."""
    answers = "awk '/^Icmp: [0-9]/ { print $11 }' /proc/net/snmp"
    before = int(vm.sh(answers))
    said = vm.sh(f"ping -c {count} -i 0.02 -W 60 {ANYBODY}", expect=None)
    assert int(vm.sh(answers)) - before == count and "DUP" not in said, said


def well(vm):
    ping(vm)
    checks.no_buffer_is_lost(vm, lambda vm: checks.echoed(vm, count=600))
    checks.rings_are_well(vm)


@pytest.mark.long
@pytest.mark.parametrize("options", ["", "event_idx indirect", "shuffle"])
def test_echo(guest, options):
    vm = guest(options)
    assert vm.sh("cat /sys/class/net/eth0/address").strip() == MAC
    well(vm)


@pytest.mark.long
@pytest.mark.parametrize("options", ["", "event_idx indirect", "shuffle", "late=50"])
def test_there_and_back_under_traffic(guest, options):
    """With "late" some of what is sent is always under way: what the source's device has not yet seen, the destination's gets."""
    vm = guest(options)
    stream = checks.Stream(vm)
    for _ in range(2):
        vm.migrate(other(vm))
        ping(vm, 5)
    stream.enough(120)
    said = stream.end()
    (sent, lost, doubled, overtaken), = checks.parts(said)
    # A frame that the device has sent back but not delivered when the guest stops is lost, as on any network.
    assert sent > 100 and lost <= 2 * stream.WINDOW and not doubled and not overtaken, said
    well(vm)


@pytest.mark.long
@pytest.mark.parametrize("stage", [("from", ferry.READY, 1), ("to", ferry.ROUND, 1), ("to", ferry.WARM, 1), ("from", ferry.PREPARED, 1)])
def test_killed_destination(guest, stage):
    vm = guest()
    stream = checks.Stream(vm)
    moved = vm.send_cut(vm.receive("vduse1"), *stage)
    assert moved.status == 1, moved.output
    assert vm.host.process.running()
    ping(vm)
    stream.enough(80)
    (sent, *wrong), = checks.parts(said := stream.end())
    assert sent > 50 and not any(wrong), said
    vm.migrate("vduse1")
    well(vm)


@pytest.mark.long
def test_another_address_is_refused(guest, device, lab):
    """Without a control queue the guest's MAC address cannot be set: it has to be the device's own."""
    vm = guest()
    device("vduse2", mac="52:54:77:77:33:12")
    host = vm.receive("vduse2")
    moved = vm.send(host.address)
    assert moved.status == 1 and MAC in moved.output and "52:54:77:77:33:12" in moved.output, moved.output
    assert host.process.wait(30) == 1, host.process.output()
    vm.hosts.remove(host)
    ping(vm)
    vm.migrate("vduse1")
    well(vm)


@pytest.mark.long
def test_a_device_without_an_address_gets_one(device, fresh):
    """As "vdpa dev add" makes it without "mac": the guest's interface comes up with one of Ferry's choice, and a destination that
    can be told it no more than this one says so."""
    for name in ("vduse0", "vduse1"):
        device(name, mac="00:00:00:00:00:00")
    vm = fresh(node="vduse0", mem="128M")
    mac = vm.sh("cat /sys/class/net/eth0/address").strip()
    assert int(mac[:2], 16) & 3 == 2, mac
    assert f"has the MAC address 00:00:00:00:00:00, which no interface can have: the guest gets {mac}" in vm.host.process.output()
    ping(vm)
    host = vm.receive("vduse1")
    moved = vm.send(host.address)
    assert moved.status == 1 and f"the guest's MAC address is {mac}" in moved.output, moved.output
    assert host.process.wait(30) == 1, host.process.output()
    vm.hosts.remove(host)
    ping(vm)


def test_not_passthrough_unless_asked_for(guest, lab):
    """A device that cannot be suspended gets the guest's rings only where the operator says so."""
    vm = guest()
    assert f"{lab.nodes['vduse0']}: shadow rings: the device cannot be suspended" in vm.host.process.output()


@pytest.mark.long
@pytest.mark.parametrize("options", ["", "event_idx indirect"])
def test_passthrough_there_and_back(guest, lab, options):
    """Left by a reset: what a device has not used, that uses all in order, is known."""
    vm = guest(options, net="mode=passthrough")
    assert f"{lab.nodes['vduse0']}: passthrough" in vm.host.process.output()
    well(vm)
    stream = checks.Stream(vm)
    for _ in range(2):
        source, host = vm.host, vm.receive(other(vm))
        moved = vm.send(host.address)
        assert moved.status == 0, moved.output + source.process.output() + host.process.output()
        assert LEFT in source.process.output()
        vm.follow(host)
        host.process.wait_for(RETURNED, 30)
        ping(vm, 5)
    stream.enough(120)
    (sent, lost, doubled, overtaken), = checks.parts(said := stream.end())
    # A reset loses what is under way in the device, and what it sent without saying so is sent again.
    assert sent > 100 and lost <= 2 * stream.WINDOW and doubled <= 2 * stream.WINDOW, said
    well(vm)


@pytest.mark.long
def test_passthrough_given_up(guest):
    vm = guest("event_idx", net="mode=passthrough")
    moved = vm.send_cut(vm.receive("vduse1"), "to", ferry.WARM, 1)
    assert moved.status == 1, moved.output
    output = vm.host.process.output()
    assert LEFT in output and RETURNED in output, output
    well(vm)
    vm.migrate("vduse1")
    well(vm)


def test_out_of_order_is_refused(guest):
    """What such a device has in its hands cannot be told: the migration is refused by that name, and the guest goes on."""
    vm = guest("shuffle", net="mode=passthrough")
    checks.echoed(vm, count=600)
    host = vm.receive("vduse1")
    moved = vm.send(host.address)
    assert moved.status == 1 and "in order" in moved.output, moved.output
    host.process.wait(30)
    vm.hosts.remove(host)
    assert LEFT not in vm.host.process.output()
    well(vm)
