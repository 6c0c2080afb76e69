# SPDX-License-Identifier: GPL-2.0-or-later
"""A launcher with rights opens what a guest needs, and starts a Ferry that has none: no root, no capability, no access to any node."""

import pytest

import checks
import ferry
from lab import CommandFailed

NOBODY = 65534
DROP = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
DISK, KVM, KERNEL, INITRD = "/run/own.img", "/dev/kvm", "/images/vmlinux", "/images/l2.cpio"


class Launched(ferry.Host):
    """Descriptors stand in the place of the files in Ferry's command, by number, or to a destination by the name that it is told."""

    def script(self, own, command):
        opened = {self.lab.nodes[self.node]: "<>", KVM: "<>", DISK: "<>", KERNEL: "<", INITRD: "<"}
        # The first descriptors beyond stderr: what a service manager passes, too.
        lines = [f"mkdir {own}", f"chown {NOBODY}:{NOBODY} {own}", "ulimit -l unlimited"]
        names = []
        for fd, (path, how) in enumerate(opened.items(), start=3):
            names.append(path.rsplit("/", 1)[1])
            lines.append(f"exec {fd}{how}{path}")
            command = command.replace(path, f"fd:{names[-1] if ' receive ' in command else fd}")
        if " receive " in command:
            lines.append(f"export LISTEN_PID=$$ LISTEN_FDS={len(names)} LISTEN_FDNAMES={':'.join(names)}")
        return "\n".join(["set -e", *lines, f"exec {DROP} {command}"])


class Vm(ferry.Vm):
    make_host = Launched
    # A VM takes no calls of root's to somebody else.
    client = DROP


@pytest.fixture
def vm(lab, labs, request):
    labs.drop_guests()
    # All but these are root's as they are made.
    lab.run(f"truncate -s 4M {DISK} && chmod 600 {DISK} {KVM} /dev/vhost-vdpa-* && chmod 711 /run")
    vm = Vm(lab, mem="128M", options=f"--kvm {KVM} --disk {DISK}").boot()
    yield vm
    if not request.node.lab_failed:
        vm.close()
        lab.run(f"rm {DISK}")


def has_no_rights(vm):
    """Whose process it is, as the kernel says it, and that it can open nothing of what it uses."""
    pid = vm.host.pid()
    status = dict(line.split(":\t", 1) for line in vm.lab.run(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert status["Uid"].split() == status["Gid"].split() == [str(NOBODY)] * 4
    assert not status["Groups"].strip()
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    for path in (vm.lab.nodes[vm.node], KVM, DISK):
        with pytest.raises(CommandFailed):
            vm.lab.run(f"{DROP} dd if={path} of=/dev/null count=0 2>/dev/null")


def test_a_guest_runs_and_moves_without_any_right(vm, ping):
    pinger = ping(vm)
    has_no_rights(vm)
    vm.sh("echo written before the move | dd of=/dev/vda conv=fsync 2>/dev/null")
    for _ in range(2):
        host = vm.receive(vm.other(), f"--kvm {KVM} --disk {DISK}")
        moved = vm.send(host.address)
        assert moved.status == 0, f"{moved.output}\n{host.process.output()}"
        vm.follow(host)
        has_no_rights(vm)
        checks.answered(vm, pinger, 10)
        assert vm.sh("dd if=/dev/vda count=1 2>/dev/null | head -n 1").strip() == "written before the move"
        # A reset boots from what the source had open, which came with the guest.
        assert "what the guest boots from has not come" not in host.process.output()


def test_a_descriptor_that_cannot_serve_is_refused_by_its_number(lab):
    """Of a kind that Ferry only finds out by asking the kernel."""
    for option, reason in (("--net vdpa=fd:3", "fd:3 is not a vhost-vdpa device"), ("--kvm fd:3", "fd:3 speaks version -1")):
        process = lab.spawn(f"exec 3<>/dev/zero; exec ferry run --name wrong --kernel {KERNEL} --serial none {option}")
        assert process.wait(30) == 1
        assert reason in process.output(), process.output()


QUEUES = {"soft0": 1, "soft1": 2}


class Attached(ferry.Host):
    """A launcher makes the TAP, a port of L1's bridge, and opens its queues: Ferry gets them, and no right to make one."""

    def script(self, own, command):
        queues = QUEUES[self.node]
        kind = "multi_queue" if queues > 1 else ""
        descriptors = ":".join(str(3 + n) for n in range(queues))
        command = command.replace(f"tap={self.node},bridge=br0,queues=4", f"tap=fd:{descriptors}")
        return f"""set -e
            mkdir {own}
            chown {NOBODY}:{NOBODY} {own}
            ip tuntap add {self.node} mode tap vnet_hdr {kind}
            ip link set {self.node} master br0 up
            exec opentap {self.node} {queues} {DROP} {command}"""


class AttachedVm(Vm):
    make_host = Attached


@pytest.mark.long
def test_a_guest_on_the_launchers_tap_is_reached_and_moves_to_another(lab, labs, request, ping):
    """From a TAP with one queue to one with two: a guest that uses one pair has no more of it."""
    labs.drop_guests()
    lab.run(f"chmod 666 {KVM} && chmod 711 /run")
    vm = AttachedVm(lab, "soft0", mem="128M").boot()
    try:
        pinger = ping(vm)
        checks.traffic(vm)
        vm.migrate()
        checks.answered(vm, pinger, 20)
        checks.traffic(vm)
        checks.rings_are_well(vm)
    finally:
        if not request.node.lab_failed:
            vm.close()
            lab.run("ip link del soft0; ip link del soft1", expect=None)
