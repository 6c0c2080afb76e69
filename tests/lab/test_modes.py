# SPDX-License-Identifier: GPL-2.0-or-later
"""Who serves the guest's rings: the device itself, shadow rings while a migration is under way, and the device again."""

import pytest

import checks
import ferry

LEFT = "shadow rings: the network stood still for"
RETURNED = "net0: passthrough\n"


def loops(vm):
    checks.echoed(vm)
    checks.rings_are_well(vm)


def move(vm, node, net=None):
    """A migration, after which the guest's rings are the device's again."""
    host = vm.receive(node, net=net)
    moved = vm.send(host.address)
    assert moved.status == 0, moved.output + vm.host.process.output() + host.process.output()
    assert "the network stood still" in moved.output
    assert LEFT in vm.host.process.output()
    vm.follow(host)
    host.process.wait_for(RETURNED, 30)
    loops(vm)


@pytest.mark.parametrize("mode", ["auto", pytest.param("passthrough", marks=pytest.mark.long)])
def test_simulator(lab, fresh, mode):
    vm = fresh(node="sim0", net=f"mode={mode}")
    assert f"{lab.nodes['sim0']}: passthrough" in vm.host.process.output()
    loops(vm)
    vm.sh("ip link set dev eth0 address 02:11:22:33:44:66")
    assert "02:11:22:33:44:66" in lab.run("vdpa dev config show sim0")
    loops(vm)
    move(vm, "sim1")
    assert vm.sh("cat /sys/class/net/eth0/address").strip() == "02:11:22:33:44:66"
    assert "02:11:22:33:44:66" in lab.run("vdpa dev config show sim1")
    # Where nothing is said it is "auto".
    move(vm, "sim0", net="")
    assert LEFT not in vm.host.process.output()


@pytest.mark.long
def test_the_other_end_has_another_mode(lab, fresh):
    vm = fresh(node="sim0", net="mode=passthrough")
    host = vm.receive("sim1", net="mode=shadow")
    assert vm.send(host.address).status == 0
    vm.follow(host)
    loops(vm)
    assert "passthrough" not in host.process.output()


PREPARED, WARM = ("from", ferry.PREPARED), ("to", ferry.WARM)


@pytest.mark.parametrize("stages", [[PREPARED], pytest.param([WARM, PREPARED], marks=pytest.mark.long)], ids=["once", "twice"])
def test_given_up(lab, fresh, stages):
    """The destination is killed: the device serves the guest's rings again, and another try gets through."""
    vm = fresh(node="sim0")
    for n, (way, kind) in enumerate(stages, 1):
        assert vm.send_cut(vm.receive("sim1"), way, kind, 1).status != 0
        # Before "ferry migrate" ends.
        output = vm.host.process.output()
        assert output.count(LEFT) == output.count(RETURNED) == n, output
        loops(vm)
    move(vm, "sim1")


def test_one_address_space(lab, vm, labs):
    """A device whose control queue shares its address space with the data queues does not get the guest's rings."""
    node = lab.nodes[vm.other()]
    why = "one address space for data and control queues"
    assert f"{lab.nodes[vm.node]}: shadow rings: {why}" in vm.host.process.output()
    output = lab.run(f"mkdir -p /run/mode && ferry run --name mode --runtime-dir /run/mode --kernel /images/vmlinux "
                     f"--net vdpa={node},mode=passthrough 2>&1", expect=1)
    assert f"{node}: no passthrough: {why}" in output
