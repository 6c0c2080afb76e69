# SPDX-License-Identifier: GPL-2.0-or-later
"""Booting a stock Debian kernel, the ways a guest ends, and what Ferry says when it cannot begin."""

import json
import re

import pytest

import checks
import guest

KERNEL = "--kernel /images/vmlinux --initrd /images/l2.cpio --serial none"


def ended(vm):
    """Ferry's exit status; the guest has done its part."""
    return vm.host.process.wait(60)


def test_elf_1_cpu_power_off(fresh):
    vm = fresh(kernel="vmlinux", cpus=1)
    assert vm.sh("nproc").strip() == "1"
    memory = int(vm.sh("sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
    assert 180_000 < memory < 256 * 1024
    assert vm.sh("cat /sys/devices/system/clocksource/clocksource0/current_clocksource").strip() in ("kvm-clock", "tsc")
    checks.pings(vm)
    mapped = vm.lab.run(f"sed -n '/ferry-ram/,/VmFlags/s/^ShmemPmdMapped: *//p' /proc/{vm.host.pid()}/smaps")
    assert int(mapped.split()[0]) > 128 * 1024, f"of 256 MiB that a device pins, in huge pages: {mapped}"
    vm.guest.leave("poweroff -f")
    assert ended(vm) == 0


def test_bzimage_4_cpus_reboot(fresh):
    vm = fresh(kernel="vmlinuz", cpus=4)
    assert vm.sh("nproc").strip() == "4"
    checks.pings(vm)
    vm.guest.leave("reboot -f")
    assert ended(vm) == 3


def flags(vm):
    return vm.sh("grep -m1 ^flags /proc/cpuinfo").split()


def test_a_guest_has_the_features_that_its_hosts_have_in_common(lab, fresh):
    """One of two descriptions lacks a feature: so does the guest, here as there."""
    lab.run("ferry cpu > /run/here.cpu && sed 's/ rdrand//' /run/here.cpu > /run/there.cpu && "
            "ferry cpu /run/here.cpu /run/there.cpu > /run/common.cpu && grep -q rdrand /run/here.cpu && ! grep -q rdrand /run/common.cpu")
    vm = fresh(options="--cpu baseline=/run/common.cpu")
    before = flags(vm)
    assert "rdrand" not in before and "sse4_2" in before, before
    vm.migrate()
    assert flags(vm) == before
    checks.traffic(vm)


def test_the_doctor_names_the_hosts_devices(lab, fresh):
    """A guest could run, each node is told with its parent and mode, and the one of a running guest is left alone."""
    vm = fresh()
    report = json.loads(lab.run("ferry doctor --json"))
    found = {check["name"]: check for check in report["checks"]}
    assert report["ok"] and found["kvm"]["state"] == "ok", report
    for name, node in lab.nodes.items():
        about = found[node.rsplit("/", 1)[1]]
        assert "in use" in about["found"] if name == vm.node else f"{name} of " in about["found"], about
    other = lab.nodes[vm.other()].rsplit("/", 1)[1]
    assert "of vp-vdpa 0000:00:" in found[other]["found"], found[other]
    assert "CTRL_VQ" in found[f"{other} features"]["found"], found
    assert "one address space" in found[f"{other} mode"]["found"], found
    checks.pings(vm)


@pytest.mark.long
def test_a_guest_of_a_level_boots_and_moves(fresh):
    vm = fresh(options="--cpu baseline=x86-64-v2")
    before = flags(vm)
    assert {"sse4_2", "popcnt", "cx16"} <= set(before) and not {"avx", "xsave", "bmi1", "aes"} & set(before), before
    vm.migrate()
    assert flags(vm) == before
    checks.traffic(vm)


def test_a_reboot_in_place(fresh):
    """The guest begins anew on the same device, with nothing of before, again and again."""
    vm = fresh(kernel="vmlinuz", on_reset="restart")
    booted = set()
    for _ in range(2):
        booted.add(vm.sh("cat /proc/sys/kernel/random/boot_id"))
        assert vm.sh("nproc").strip() == "2"
        checks.traffic(vm)
        vm.sh("ip link add link eth0 name v9 type vlan id 9; ip link set dev eth0 promisc on")
        vm.guest.leave("reboot -f")
        vm.guest.wait_for(guest.READY)
    assert vm.sh("cat /sys/class/net/eth0/flags").strip() == "0x1003"
    checks.pings(vm)
    booted.add(vm.sh("cat /proc/sys/kernel/random/boot_id"))
    # What it boots from has gone along, and goes on from there.
    for _ in range(2):
        vm.migrate()
    vm.guest.leave("reboot -f")
    vm.guest.wait_for(guest.READY)
    booted.add(vm.sh("cat /proc/sys/kernel/random/boot_id"))
    assert len(booted) == 4
    checks.traffic(vm)
    vm.guest.leave("poweroff -f")
    assert ended(vm) == 0


# The first event of the power button, as its driver gives it to user space: the key, pressed. Both are modules of the kernel's.
BUTTON = ("modprobe button && modprobe evdev && [ \"$(cat /sys/class/input/input0/name)\" = 'Power Button' ] && "
          "({{ dd if=/dev/input/event0 of=/tmp/pressed bs=24 count=1; {then}; }} > /dev/null 2>&1 &) && "
          "until ls -l /proc/[0-9]*/fd 2> /dev/null | grep -q /dev/input/event0; do usleep 20000; done")
KEY_POWER_PRESSED = "1 0 116 0 1 0 0 0"


def stop(vm, options):
    """What "ferry stop" ends with, and what it says."""
    process = vm.lab.spawn(f"exec ferry stop vm --runtime-dir {vm.host.directory} {options}")
    return process.wait(120), process.output()


def test_a_guest_answers_its_power_button(fresh):
    """It hears "ferry stop" press the button, here as after a move, and powers off; one that hears it and goes on is left alone."""
    vm = fresh(cpus=1)
    vm.sh(BUTTON.format(then="true"))
    status, said = stop(vm, "--timeout 2")
    assert status == 1 and "has not ended in the time" in said, said
    assert vm.sh("until [ -s /tmp/pressed ]; do usleep 20000; done; tail -c 8 /tmp/pressed | hexdump -v -e '8/1 \"%u \"'").strip() == \
        KEY_POWER_PRESSED
    checks.pings(vm)
    vm.migrate()
    vm.sh(BUTTON.format(then="poweroff -f"))
    status, said = stop(vm, "--timeout 60")
    assert status == 0, said
    assert ended(vm) == 0


@pytest.mark.long
def test_consoles_beside_the_guests_serial_socket(fresh):
    """What is typed at one is answered at all of them; they end with the guest's move, of which a listener hears."""
    vm = fresh(cpus=1)
    there = f"--runtime-dir {vm.host.directory}"
    events = vm.lab.spawn(f"exec ferry events 'v*' {there}")
    events.wait_for("READY")
    consoles = [vm.lab.spawn(f"exec ferry console vm {there}") for _ in range(2)]
    for console in consoles:
        console.wait_for(guest.READY)
    command = "echo typed at a console"
    consoles[0].type(f"\n@7777 {guest.FOREVER} {len(command)}\n{command}")
    for console in consoles:
        console.wait_for("@7777} 0")
        assert "typed at a console" in console.output()
    vm.guest.wait_for("@7777} 0")
    vm.migrate()
    for console in consoles:
        assert console.wait(60) == 0 and "the guest has moved, and has its console there" in console.output(), console.output()
    assert events.wait(60) == 0
    assert [line.split()[2] for line in events.output().splitlines()] == ["READY", "MIGRATION", "MIGRATION", "SHUTDOWN"], events.output()


def test_the_power_of_a_guest_is_cut_by_force(fresh):
    """Its system, which has no driver for the button, is not asked."""
    vm = fresh(node=None, cpus=1, mem="128M")
    status, said = stop(vm, "--force")
    assert status == 0, said
    assert ended(vm) == 128 + 15


@pytest.mark.parametrize("way", ["k", "t", "p"])
def test_a_reboot_by_other_ways_than_acpi_is_a_reset(fresh, way):
    """The keyboard controller, a triple fault, and PCI's reset control register."""
    vm = fresh(kernel="vmlinux", cpus=1, cmdline=f"reboot={way}")
    vm.guest.leave("reboot -f")
    assert ended(vm) == 3


@pytest.mark.long
def test_64_cpus(fresh):
    # One after the other and in user space, when an idle one needs no tick any more: a nested host of two cannot take 64 at 250 Hz.
    vm = fresh(kernel="vmlinux", cpus=64, mem="1G", cmdline="maxcpus=1")
    vm.sh("for c in /sys/devices/system/cpu/cpu[1-9]*/online; do echo 1 > $c || exit 1; done", timeout=300)
    assert vm.sh("nproc").strip() == "64"
    vm.migrate()
    assert vm.sh("nproc; for c in 1 31 63; do taskset $(printf %x $((1 << c))) true || echo $c; done").split() == ["64"]
    checks.traffic(vm)


def test_5_gib_panic(fresh):
    vm = fresh(kernel="vmlinux", mem="5G", cpus=2)
    memory = int(vm.sh("sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
    assert memory > 4_700_000, "memory above the PCI hole is missing"
    rings = vm.sh("rings")
    assert any(int(n) >= 4 << 30 for n in re.findall(r"\d+", rings)), f"no ring lies above 4 GiB: {rings}"
    checks.traffic(vm)
    vm.guest.leave("echo c > /proc/sysrq-trigger")
    assert ended(vm) == 4


def test_console_is_reconnectable(vm):
    vm.guest.attach(vm.host.serial)
    assert vm.sh("echo still here").strip() == "still here"


@pytest.mark.parametrize("arguments, words", [
    ("run --name x --kernel /nowhere --serial none", "/nowhere"),
    ("run --name x --kernel /images/l2.cpio --serial none", "kernel"),
    (f"run --name x {KERNEL} --mem 16M", "memory"),
    (f"run --name x {KERNEL} --net vdpa=/dev/null", "/dev/null"),
    (f"run --name x {KERNEL} --net vdpa=/dev/vhost-vdpa-99", "/dev/vhost-vdpa-99"),
    # Without waiting for a source to find it out.
    ("receive --name x --from unix:/run/x --net vdpa=/dev/vhost-vdpa-99", "/dev/vhost-vdpa-99"),
    ("receive --name x --from unix:/run/x --disk /nowhere", "/nowhere"),
    ("migrate nobody --to unix:/run/nowhere", "nobody"),
    ("version > /dev/full", "cannot write to stdout"),
    ("run --help > /dev/full", "cannot write to stdout"),
])
def test_errors_say_what_and_why(lab, arguments, words):
    process = lab.spawn(f"exec ferry {arguments}")
    assert process.wait(30) == 1, process.output()
    assert words in process.output()


@pytest.mark.parametrize("arguments", ["", "sail", "run", "run --name", "run --name x --kernel", "run --cpus 0",
                                       f"run --name x {KERNEL} --net soft", "migrate"])
def test_wrong_usage(lab, arguments):
    process = lab.spawn(f"exec ferry {arguments}")
    assert process.wait(30) == 2, process.output()
    assert process.output().strip()


def test_no_kvm(lab):
    process = lab.spawn(f"mv /dev/kvm /dev/kvm-away; ferry run --name x {KERNEL}; s=$?; mv /dev/kvm-away /dev/kvm; exit $s")
    assert process.wait(30) == 1 and "/dev/kvm" in process.output(), process.output()


def test_memlock_limit(lab, vm):
    """The limit that is too low is named with the number that is needed (CAP_SYS_RESOURCE would let Ferry raise it)."""
    process = lab.spawn(f"ulimit -l 8192; exec setpriv --bounding-set -sys_resource ferry run --name x {KERNEL} "
                        f"--mem 256M --net vdpa={lab.nodes[vm.other()]}")
    assert process.wait(30) == 1, process.output()
    assert "memlock" in process.output().lower() and any(c.isdigit() for c in process.output())


def test_a_receiver_says_that_its_memlock_limit_is_low(lab, vm):
    """It is said before a source comes."""
    process = lab.spawn("ulimit -l 8192; exec setpriv --bounding-set -sys_resource ferry receive --name x --runtime-dir /run/memlock "
                        f"--from unix:/run/memlock-in --serial none --net vdpa={lab.nodes[vm.other()]}")
    process.wait_for("the limit of locked memory is 8 MiB", 30)
    process.stop()


@pytest.mark.parametrize("options, left", [("", "nothing"), ("--core ferry", "a core file")])
def test_a_crash_leaves_no_core_file_unless_asked(lab, options, left):
    """Of a guest nothing, and anything only if it is asked for."""
    said = lab.run("ulimit -c unlimited; mkdir -p /run/core; ferry receive --name x --runtime-dir /run/core --from unix:/run/core/in "
                   f"--serial none {options} & pid=$!; until [ -S /run/core/in ]; do usleep 20000; done; kill -ABRT $pid; wait $pid; "
                   "rm -r /run/core; if rm /share/core.*.$pid 2> /dev/null; then echo a core file; else echo nothing; fi")
    assert left in said.splitlines(), said


def test_device_busy(vm):
    process = vm.lab.spawn(f"exec ferry run --name x {KERNEL} --net vdpa={vm.lab.nodes[vm.node]}")
    assert process.wait(30) == 1 and "in use" in process.output(), process.output()
