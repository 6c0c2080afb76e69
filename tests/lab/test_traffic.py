# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic through the vDPA NIC: ping and checked TCP, both directions, many flows on many queues, a device reset."""

import re

import pytest

import checks


def test_ping(lab, vm, ping):
    pinger = ping(vm)
    checks.answered(vm, pinger, 300)
    result = pinger.stop()
    assert not result["lost"] and not result["duplicates"], result


def test_tcp_both_directions(vm):
    checks.tcp_from_guest(vm, 8_000_000)
    checks.tcp_to_guest(vm, 8_000_000)
    checks.rings_are_well(vm)


def test_all_queues(vm):
    vm.sh("ethtool -L eth0 combined 4")
    more = checks.spread(vm, flows=128)
    assert len([q for q, n in more.items() if n > 8]) == 4, more


def test_driver_reset(vm):
    """The vm fixture has just unbound and bound the driver; a few times more, each followed by traffic."""
    for _ in range(3):
        vm.rebind()
        checks.pings(vm)
    checks.tcp_from_guest(vm)


def test_reset_returns_filters_to_default(lab, vm):
    default = checks.settled(vm)
    vm.sh("ip link set eth0 promisc on; ip link set eth0 allmulticast on; ip link add link eth0 name v5 type vlan id 5; "
          "ip maddr add 33:33:00:00:00:77 dev eth0")
    assert checks.settled(vm) != default
    vm.rebind()
    assert checks.settled(vm) == default


def carrier(vm, state):
    """Waits until the guest's driver has been told."""
    vm.sh(f"until [ $(cat /sys/class/net/eth0/carrier) = {state} ]; do usleep 20000; done")


def test_link(lab, vm):
    """The link under the device goes down and comes back; where it is up the guest finds it up, where it is down, down."""
    first, second = vm.node, vm.other()
    carrier(vm, 1)
    try:
        lab.qmp.command("set_link", name=first, up=False)
        carrier(vm, 0)
        vm.migrate(second)
        carrier(vm, 1)
        checks.traffic(vm)
        vm.migrate(first)
        carrier(vm, 0)
    finally:
        lab.qmp.command("set_link", name=first, up=True)
    carrier(vm, 1)
    checks.traffic(vm)
    checks.rings_are_well(vm)


def test_rings_of_another_size(vm, stream, ping):
    """The driver resets the rings of its running NIC, one by one, and enables them with another size; so they move.

    Packets come and go all the time. Each ring that is reset costs no more pings than are under way at once.
    """
    pinger = ping(vm)
    pairs = int(re.findall(r"Combined:\s*(\d+)", vm.sh("ethtool -l eth0"))[0])
    resets, before = 0, (256, 256)

    def works(rx, tx):
        rings = checks.rings(vm)
        assert (rings[0][0], rings[1][0]) == (rx, tx)
        checks.answered(vm, pinger, 20)

    for sizes in (256, 128), (64, 128), (128, 256), (64, 64), (64, 128):
        vm.sh("ethtool -G eth0 rx {} tx {}".format(*sizes))
        resets += pairs * sum(a != b for a, b in zip(sizes, before))
        works(*sizes)
        before = sizes
    checks.traffic(vm)
    vm.migrate()
    works(*sizes)
    checks.traffic(vm)
    vm.sh("ethtool -G eth0 rx 256 tx 256")
    works(256, 256)
    checks.traffic(vm)
    result = pinger.stop()
    assert not result["duplicates"] and result["lost"] <= (resets + 2 * pairs + 1) * pinger.WINDOW, result
    checks.rings_are_well(vm)


def test_mtu_sized_frames(lab, vm):
    vm.sh(f"ping -c 3 -s 1472 -w 10 {lab.bridge_address}")


@pytest.mark.long
def test_simulator_loops_back(fresh):
    """vdpa_sim_net has none of the usual features and brings frames back."""
    checks.echoed(fresh(node="sim0"))
