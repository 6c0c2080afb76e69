# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that a guest has because it was started with them: Debian's drivers find them, also where the guest has moved."""

import pytest

import guest


@pytest.fixture
def vm(fresh):
    """A guest with one vCPU and nothing but these devices."""
    return fresh(node=None, mem="128M", cpus=1, kernel="vmlinuz", options="--device rng", on_reset="restart")


def move(vm):
    """To a destination that nobody has told of the devices."""
    host = vm.receive(None)
    moved = vm.send(host.address)
    assert moved.status == 0, f"{moved.output}\n{host.process.output()}"
    vm.follow(host)


def random_bytes(vm):
    """4096 of them, as the driver reads them."""
    return vm.sh("dd if=/dev/hwrng bs=64 count=64 iflag=fullblock 2>/dev/null | gzip -c | wc -c")


def has_entropy(vm):
    vm.sh("modprobe virtio-rng")
    assert vm.sh("cat /sys/class/misc/hw_random/rng_current").strip() == "virtio_rng.0"
    # Random bytes do not get shorter.
    assert int(random_bytes(vm)) > 4096


def test_devices_move_and_are_there_after_a_reset(vm):
    has_entropy(vm)
    move(vm)
    has_entropy(vm)
    vm.guest.leave("reboot -f")
    vm.guest.wait_for(guest.READY)
    has_entropy(vm)
    move(vm)
    has_entropy(vm)
