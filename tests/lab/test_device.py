# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that a guest has because it was started with them: Debian's drivers find them, also where the guest has moved."""

import pytest

import checks
import guest

# Seconds by which a guest's clock may be off. L1 measures the rate of its TSC, and on a busy machine mistakes it by some percent.
DRIFT = 30


@pytest.fixture
def vm(fresh):
    """A guest with one vCPU and nothing but these devices."""
    return fresh(node=None, mem="128M", cpus=1, kernel="vmlinuz", options="--device rng --device rtc --device vmclock", on_reset="restart")


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


def has_time(vm):
    """The clock's driver has found it, and Linux has set its time by it."""
    assert "rtc_cmos" in vm.sh("cat /sys/class/rtc/rtc0/name")
    assert "setting system clock to" in vm.sh("dmesg")
    before = int(vm.lab.run("date +%s"))
    told, system = map(int, vm.sh("cat /sys/class/rtc/rtc0/since_epoch; date +%s").split())
    after = int(vm.lab.run("date +%s"))
    assert before <= told <= after, f"{told} between {before} and {after}"
    assert before - DRIFT <= system <= after + DRIFT, f"{system} between {before} and {after}"


def moves(vm):
    """What VMClock's page says: its count, and the number that becomes another with each move."""
    vm.sh("cat /sys/bus/acpi/devices/AMZNC10C:00/hid")
    page = bytes.fromhex(vm.sh("dd if=/dev/mem bs=32 skip=$((0xdf000 / 32)) count=1 2>/dev/null | od -An -v -tx1").replace("\n", " "))
    assert page[:12] == b"VCLK" + bytes([0, 16, 0, 0, 1, 0, 255, 0]), page
    return int.from_bytes(page[12:16], "little"), int.from_bytes(page[16:24], "little")


def test_linux_has_the_time_without_a_clock_of_its_own(fresh):
    """By kvm-clock, at boot."""
    vm = fresh(node=None, mem="128M", cpus=1, kernel="vmlinuz")
    assert vm.sh("ls /sys/class/rtc").strip() == ""
    before = int(vm.lab.run("date +%s"))
    told = int(vm.sh("date +%s"))
    after = int(vm.lab.run("date +%s"))
    assert before - DRIFT <= told <= after + DRIFT, f"{told} between {before} and {after}"


def test_devices_move_and_are_there_after_a_reset(vm):
    has_entropy(vm)
    has_time(vm)
    count, first = moves(vm)
    assert count == 0
    move(vm)
    has_entropy(vm)
    has_time(vm)
    assert moves(vm) == (2, (first + 1) % (1 << 64))
    vm.guest.leave("reboot -f")
    vm.guest.wait_for(guest.READY)
    has_entropy(vm)
    has_time(vm)
    count, second = moves(vm)
    assert count == 0 and second not in (first, first + 1)
    move(vm)
    has_entropy(vm)
    has_time(vm)
    assert moves(vm) == (2, (second + 1) % (1 << 64))


def test_a_vcpu_runs_on_the_cpu_that_it_was_given(lab):
    process = lab.spawn("exec ferry run --name pinned --kernel /images/vmlinuz --serial none --mem 128M --cpus 2,pin=1+0")
    with process.changed:
        process.changed.wait_for(lambda: process.pid, 30)
    places = f"for t in /proc/{process.pid}/task/*; do echo $(cat $t/comm) $(grep Cpus_allowed_list $t/status); done | grep vcpu | sort"

    def placed():
        return [line.split() for line in lab.run(places, expect=None).splitlines()]
    wanted = [["vcpu0", "Cpus_allowed_list:", "1"], ["vcpu1", "Cpus_allowed_list:", "0"]]
    assert checks.eventually(lab, lambda: placed() == wanted or not process.running()), placed()
    assert process.running(), process.output()
    process.stop()


@pytest.mark.parametrize("verb", ["receive", "run --kernel /images/vmlinuz"])
@pytest.mark.parametrize("options, words", [
    ("--cpus 1,pin=1023", "CPU 1023 of the host: there is none"),
    ("--mem 64M,node=1023", "node 1023 of the host: there is none"),
])
def test_what_the_host_has_not_is_said_at_the_start(lab, verb, options, words):
    """A destination says it before a source comes."""
    process = lab.spawn(f"exec ferry {verb} --name placed --serial none {options}")
    assert process.wait(30) == 1
    assert words in process.output()
