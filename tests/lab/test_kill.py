# SPDX-License-Identifier: GPL-2.0-or-later
"""The destination dies in each stage: before COMMIT the guest goes on at the source, after it the source keeps still."""

import pytest

import checks
import ferry

STAGES = {
    "at-hello": ("to", ferry.HELLO, 1),
    "before-ready": ("from", ferry.READY, 1),
    "first-memory": ("to", ferry.RAM, 1),
    "amid-memory": ("to", ferry.RAM, 10),
    "after-first-round": ("to", ferry.ROUND, 1),
    "before-sync-ok": ("from", ferry.SYNC_OK, 1),
    # The first is the PCI bus's, the second the NIC's.
    "at-warm": ("to", ferry.WARM, 2),
    "before-warm-ok": ("from", ferry.WARM_OK, 2),
    "at-state": ("to", ferry.STATE, 1),
    "before-prepared": ("from", ferry.PREPARED, 1),
}
# The others differ from these in the frame, not in what either side is at. Each comes later than the one before.
SHORT = ("before-ready", "amid-memory", "before-sync-ok", "before-warm-ok", "before-prepared")


@pytest.mark.parametrize("stages", [SHORT, *(pytest.param((stage,), marks=pytest.mark.long) for stage in STAGES)], ids=["each", *STAGES])
def test_killed_before_commit(lab, vm, ping, stages):
    """As often as it is killed, the guest goes on, and the next try gets further."""
    vm.sh("ip link add link eth0 name v9 type vlan id 9; ip link set dev eth0 address 02:11:22:33:44:77")
    before = checks.settled(vm)
    pinger = ping(vm)
    for stage in stages:
        moved = vm.send_cut(vm.receive(vm.other()), *STAGES[stage])
        assert moved.status == 1, moved.output
        assert vm.host.process.running()
        checks.answered(vm, pinger, 50)
        assert lab.rx_filter(vm.node) == before
    checks.tcp_from_guest(vm)
    checks.tcp_to_guest(vm)
    vm.migrate()
    assert lab.rx_filter(vm.node) == before
    checks.pings(vm)
    checks.rings_are_well(vm)


def test_killed_at_commit(lab, vm):
    """Whether the guest runs at the destination cannot be known: the source says so, stays paused, and goes on when told to."""
    moved = vm.send_cut(vm.receive(vm.other()), "to", ferry.COMMIT, 1)
    assert moved.status == 5, moved.output
    assert "paused" in moved.output
    assert vm.host.process.running()
    lab.run(f"ferry resume vm --runtime-dir {vm.host.directory}")
    checks.traffic(vm)
    vm.migrate()
    checks.traffic(vm)
    checks.rings_are_well(vm)
