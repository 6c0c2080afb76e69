# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole Debian systems as guests: systemd, ssh over the NIC, and a disk that is written while they move."""

import itertools
import shlex
import time

import pytest

import ferry
import guest
import lab as lab_module
import netns

pytestmark = pytest.mark.long

DISK = "/dev/vda"
SSH = ("ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectionAttempts=60 "
       f"root@{ferry.GUEST_ADDRESS}")
# In L1: an address beside the guest's, and a key that opens the guest.
PREPARE = f"""set -e
ip addr add 10.77.0.9/24 dev br0
cp /debian/vmlinuz /debian/initrd /run
mkdir -p -m 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
modprobe ext4
mount -t ext4 {DISK} /mnt
mkdir -p -m 700 /mnt/root/.ssh
cp /root/.ssh/id_ed25519.pub /mnt/root/.ssh/authorized_keys
umount /mnt"""
FAILED = "systemctl --failed --no-legend --plain"
# Of the processor and of what is not there, nested emulation makes the kernel say more.
ERRORS = "dmesg --level=emerg,alert,crit,err | grep -E 'virtio|vda|EXT4' || true"
BOOT = "cat /proc/sys/kernel/random/boot_id"
# Answers each line with the number of its process.
SESSION = "echo $$; while read line; do echo $line $$; done"
# In the guest: jobs of fio that verify what they have written, until there is /run/stop.
FIO = """until [ -e /run/stop ]; do
fio --name=v --filename=/var/tmp/fio --size=4M --bs=4k --rw=randwrite --direct=1 --verify=crc32c --verify_fatal=1 > /run/fio.txt 2>&1 &&
grep -q 'err= 0' /run/fio.txt || { touch /run/failed; break; }
echo >> /run/rounds
done; touch /run/stopped"""


class System(ferry.Vm):
    """A guest that boots from its disk. Commands go by ssh, and each move is to another NIC of the host."""

    def __init__(self, lab):
        self.address, self.net, self.cpus, self.on_reset = ferry.GUEST_ADDRESS, "", 1, "restart"
        self.guest = guest.Guest(lab)
        self.host = ferry.Host(lab, "run", "vp0", "", f"--kernel /run/vmlinuz --initrd /run/initrd --disk {DISK} --mem 768M "
                               f"--cpus {self.cpus} --cmdline 'root={DISK} ro console=ttyS0'", self.on_reset)
        self.hosts = [self.host]

    def sh(self, command, timeout=90, expect=0, stdin=None):
        return self.lab.run(f"{SSH} {shlex.quote(command)}", timeout=timeout, expect=expect, stdin=stdin)

    def comes_up(self, start=0):
        """There is a login, nothing is begun any more, and nothing has failed."""
        if not start:
            self.guest.attach(self.host.serial, process=self.host.process)
        self.guest.wait_for("guest login:", 240, start=start)
        assert self.sh(f"systemctl is-system-running --wait; {FAILED}", expect=None, timeout=180) == "running\n"

    def receive(self, node, options="", **others):
        return super().receive(node, f"--disk {DISK} {options}", **others)

    def ended(self):
        return self.host.process.wait(120)


@pytest.fixture(params=["bookworm", "trixie"])
def system(request, labs):
    folder = lab_module.made_by("debian", "guest", request.param)
    l1 = labs.get(shares={"debian": folder}, disks=(folder / "disk",))
    l1.run(PREPARE)
    vm = System(l1)
    yield vm
    if not request.node.lab_failed:
        vm.close()
    labs.drop()


class Session:
    """An open ssh session, to one process in the guest."""

    def __init__(self, lab):
        self.lab, self.numbers = lab, itertools.count()
        # The shell keeps the pipe open: ssh closes what it was not given as standard input and output.
        self.process = lab.spawn(f"mkfifo /run/ask; exec 3<> /run/ask; {SSH} '{SESSION}' <&3 > /run/answers 2>&1")
        lab.run("until [ -s /run/answers ]; do usleep 20000; done")
        self.pid = lab.run("head -n 1 /run/answers").strip()

    def answers(self):
        question = f"question{next(self.numbers)}"
        self.lab.run(f"echo {question} > /run/ask; until grep -q '^{question} {self.pid}$' /run/answers; do usleep 20000; done")


def goes_on(vm):
    """fio completes a job that it has begun from here on."""
    vm.sh("n=$(wc -l < /run/rounds); until [ $(wc -l < /run/rounds) -gt $((n + 1)) ] || [ -e /run/failed ]; do sleep 0.1; done; "
          "[ ! -e /run/failed ]", timeout=180)


def moves(vm, session):
    """Three times, under the session and under fio."""
    vm.sh("cat > /run/fio.sh; : > /run/rounds; systemd-run -q --unit=verify sh /run/fio.sh", stdin=FIO.encode())
    pinger = netns.Pinger(vm.lab.namespace, vm.address, rate=20)
    try:
        for _ in range(3):
            goes_on(vm)
            started = time.monotonic()
            moved = vm.migrate()
            print(f"moved in {time.monotonic() - started:.0f} s, downtime {moved.downtime_ms} ms", flush=True)
            session.answers()
        goes_on(vm)
    finally:
        print(pinger.stop(), flush=True)
    vm.sh("touch /run/stop; until [ -e /run/stopped ]; do sleep 0.1; done; [ ! -e /run/failed ]", timeout=180)
    session.answers()


def test_a_debian_system_lives_on_ferry(system):
    """No unit fails; it moves under an open ssh session and under fio; it reboots and powers off from inside; it hears its power button."""
    system.comes_up()
    moves(system, Session(system.lab))
    assert not system.sh(f"{FAILED}; {ERRORS}")

    # From inside: it comes back in place, from what it has booted from; and goes.
    booted, start = system.sh(BOOT), len(system.guest.text)
    system.sh("systemctl reboot", expect=None)
    system.comes_up(start)
    assert system.sh(BOOT) != booted
    system.sh("systemctl poweroff", expect=None)
    assert system.ended() == 0

    # From outside: logind hears the button.
    again = System(system.lab)
    system.hosts, system.host, system.guest = again.hosts, again.host, again.guest
    system.comes_up()
    assert system.lab.run(f"ferry stop vm --runtime-dir {system.host.directory} --timeout 80", timeout=120) == ""
    assert system.ended() == 0
