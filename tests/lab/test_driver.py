# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's driver at bad moments: gone and back, the guest reset, replaced and crashed, under traffic and amid a migration."""

import pytest

import checks
import ferry
import guest

NICS = {"vp": ("vp", "", 2), "soft": ("soft", "", 2)}

# What is held back meanwhile: the end of the first round, and the destination's word that its device is up and told everything.
MOMENTS = {"in-rounds": ("to", ferry.ROUND, 1), "when-warm": ("from", ferry.WARM_OK, 1)}

ENDS = {"reboot": ("reboot -f", 3), "panic": ("echo c > /proc/sysrq-trigger", 4)}


@pytest.fixture(scope="module", params=[pytest.param(NICS["vp"], id="vp"), pytest.param(NICS["soft"], id="soft", marks=pytest.mark.long)])
def nic(request, labs):
    yield request.param
    labs.drop_guests()


def well(vm):
    checks.traffic(vm)
    checks.rings_are_well(vm)


@pytest.mark.long
def test_rebound_under_traffic(vm, stream, ping):
    pinger = ping(vm)
    for _ in range(3):
        vm.rebind()
        checks.answered(vm, pinger, 20)
    checks.rings_are_well(vm)


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
def test_rebound_in_a_migration(vm, stream, moment):
    vm.sh("ip link add link eth0 name v9 type vlan id 9; ip link set dev eth0 promisc on")
    host = vm.receive(vm.other())
    moved = vm.send_held(host, *MOMENTS[moment], vm.rebind)
    assert moved.status == 0, moved.output
    vm.follow(host)
    if vm.node.startswith("vp"):
        assert checks.settled(vm)["vlan-table"] == "0"
    well(vm)


def test_unbound_in_a_migration(vm, stream):
    """Its driver is gone when it arrives."""
    host = vm.receive(vm.other())
    moved = vm.send_held(host, *MOMENTS["when-warm"], lambda: vm.sh(ferry.UNBIND))
    assert moved.status == 0, moved.output
    vm.follow(host)
    vm.bind()
    well(vm)


def ended(vm, status):
    """The guest's last words are said; Ferry ends by itself and says how."""
    assert vm.host.process.wait(30) == status, vm.host.process.output()


@pytest.mark.long
@pytest.mark.parametrize("nic, end", [(NICS["soft"], "reboot"), (NICS["vp"], "panic")], indirect=["nic"], ids=["soft-reboot", "vp-panic"])
def test_end_under_traffic(vm, stream, end):
    command, status = ENDS[end]
    vm.guest.leave(command)
    ended(vm, status)


@pytest.mark.parametrize("end", ENDS)
def test_end_in_a_migration(vm, stream, end):
    """The migration fails and says why, and the destination runs nothing."""
    command, status = ENDS[end]
    host = vm.receive(vm.other())
    moved = vm.send_held(host, *MOMENTS["in-rounds"], lambda: (vm.guest.leave(command), ended(vm, status)))
    assert moved.status == 1 and "the guest has ended" in moved.output, moved.output
    assert host.process.wait(30) == 1, host.process.output()


@pytest.mark.long
@pytest.mark.parametrize("nic", [NICS["vp"]], indirect=True, ids=["vp"])
def test_reset_in_a_migration(fresh, nic):
    """The migration is given up, the guest begins anew at the source, and a retry works."""
    vm = fresh(node=nic[0] + "0", net=nic[1], cpus=nic[2], on_reset="restart")
    booted = vm.sh("cat /proc/sys/kernel/random/boot_id")
    host = vm.receive(vm.other())

    def reset():
        vm.guest.leave("reboot -f")
        vm.guest.wait_for(guest.READY)
    moved = vm.send_held(host, *MOMENTS["in-rounds"], reset)
    assert moved.status == 1 and "the guest has reset itself" in moved.output, moved.output
    assert host.process.wait(30) == 1, host.process.output()
    assert vm.sh("cat /proc/sys/kernel/random/boot_id") != booted
    well(vm)
    vm.migrate()
    well(vm)


@pytest.mark.long
@pytest.mark.parametrize("nic", [NICS["vp"]], indirect=True, ids=["vp"])
def test_kexec(lab, fresh, nic, ping):
    """Another kernel takes the place of the running one, which leaves its devices as they are, with packets coming in all the time."""
    lab.run("cd /images && printf 'vmlinuz\\nl2.cpio\\n' | cpio -o -H newc 2>/dev/null | cat l2.cpio - > /tmp/kexec.cpio")
    vm = fresh(node=nic[0] + "0", net=nic[1], cpus=nic[2], initrd="/tmp/kexec.cpio")
    pinger = ping(vm)
    booted = vm.sh("cat /proc/sys/kernel/random/boot_id")
    vm.guest.leave("kexec /vmlinuz /l2.cpio")
    vm.guest.wait_for(guest.READY)
    assert vm.sh("cat /proc/sys/kernel/random/boot_id") != booted
    checks.answered(vm, pinger, 20)
    well(vm)
    vm.migrate()
    well(vm)
    lab.run("rm /tmp/kexec.cpio")
