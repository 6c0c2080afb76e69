# SPDX-License-Identifier: GPL-2.0-or-later
"""How long Ferry and QEMU take, at the destination of a migration, to bring a device of vp_vdpa into the state that the guest has set,
command by command.

Ferry says it in its log when a destination is warm. QEMU does it when the guest has arrived, between enabling the control queue and
the first data queue, of which its trace has the times. Debian 13's QEMU takes 300 VLANs, on a device without indirect descriptors; the
newest loses the network from 50 on.
"""

import datetime
import re

import vmm
import ferry
from lab import CommandFailed
from test_migrate_state import vlans

REPLAYED = re.compile(r"control commands replayed: (\d+), in ([0-9.]+) ms")
ENABLED = re.compile(r"^(?:\d+@(\d+\.\d+)|(\S+Z)\S*)[: ].*vhost_vdpa_set_vring_enable_one.* idx: (\d+)", re.MULTILINE)
TRACE = "-trace vhost_vdpa_set_vring_enable_one -msg timestamp=on -D {directory}/trace"
OLD_QEMU = "/tmp/qemu-trixie"
N_DATA = 8


class Ferry:
    column = "ferry"

    def __init__(self, lab):
        for name in ("vp0", "vp1"):
            lab.reset_nic(name)
        self.vm = ferry.Vm(lab, cmdline="pci=noearly", mem=f"{vmm.MOVE_MEMORY}M", cpus=1).boot()

    def replay(self):
        """Number of commands, and ms."""
        self.vm.migrate()
        found = REPLAYED.findall(self.vm.host.process.output())
        if not found:
            raise CommandFailed(f"the destination has replayed nothing:\n{self.vm.host.process.output()}")
        # The first is everything, what follows is what changed meanwhile.
        return int(found[0][0]), float(found[0][1])

    def close(self):
        self.vm.close()


class Qemu:
    def __init__(self, lab, column, nodes, place):
        self.column = column
        self.vm = vmm.QemuGuest(lab, nodes, None, extra=TRACE, place=place).boot()

    def _move(self, count):
        """The trace of the destination, with a line for each command or without."""
        self.vm.prepare()
        host = self.vm.destination
        host.monitor.command("trace-event-set-state", name="vhost_vdpa_net_load_cmd", enable=count)
        self.vm.move()
        self.vm.finish()
        return self.vm.lab.run(f"cat {host.directory}/trace")

    def replay(self):
        # Counted in a move of its own, for a line for each takes time.
        n = self._move(True).count("vhost_vdpa_net_load_cmd ")
        output = self._move(False)
        times = [(int(idx), float(a) if a else datetime.datetime.fromisoformat(b.replace("Z", "+00:00")).timestamp())
                 for a, b, idx in ENABLED.findall(output)]
        start = max((i for i, (idx, _) in enumerate(times) if idx == N_DATA), default=None)
        if start is None or start + 1 >= len(times) or times[start + 1][0] != 0 or n == 0:
            raise CommandFailed(f"{n} commands, and no start of the device in QEMU's trace:\n{output[-2000:]}")
        return n, (times[start + 1][1] - times[start][1]) * 1e3

    def close(self):
        self.vm.close()


def replays(lab, figures, repetitions, n_vlans, attempt, say):
    say(f"== {vmm.install_qemu(lab, 'trixie', OLD_QEMU)}")
    subjects = [(lambda: Ferry(lab), "ferry", n_vlans), (lambda: Qemu(lab, "q35, Debian 13", ("vp6", "vp7"), OLD_QEMU), "q35, Debian 13", 300),
                (lambda: Qemu(lab, "q35", ("vp2", "vp3"), vmm.QEMU_ROOT), "q35", 40)]
    running = []
    try:
        for make, column, most in subjects:
            subject = attempt(figures, "replay", column, make)
            if subject:
                running.append((subject, column, most))
        last = 0
        for n in sorted({40, 300, n_vlans}):
            able = []
            for subject, column, most in running:
                if n <= most and attempt(figures, "replay", column, lambda: subject.vm.sh(vlans(last + 1, n), timeout=900)) is not None:
                    able.append((subject, column))
            last = n
            for repetition in range(repetitions):
                say(f"== replay of {n} VLANs, {repetition + 1} of {repetitions}")
                for subject, column in able:
                    def once():
                        commands, ms = subject.replay()
                        figures.add(f"replay of {n} VLANs and the rest, ms", column, round(ms, 1))
                        figures.add("   its commands", column, commands)
                        figures.add(f"replay with {n} VLANs, commands a second", column, round(commands / ms * 1e3))
                    attempt(figures, f"replay of {n} VLANs and the rest, ms", column, once)
    finally:
        for subject, *_ in running:
            subject.close()
