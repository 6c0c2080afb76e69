# SPDX-License-Identifier: GPL-2.0-or-later
"""The switch from passthrough to shadow rings and back, under a stream of frames, beside QEMU's.

On vdpa_sim_net, which brings what a guest sends to its own address back to it: so the guest sees each gap itself. By its own clock: the
time in which it stands still is not in it where the VMM stops that clock, and QEMU does.
"""

import itertools
import re
import time

import vmm
import checks
from lab import CommandFailed, LabStuck

SIMS = ("sim0", "sim1", "sim2", "sim3")
RATES = (1000, 500, 200, 100, 50)
MEMORY = 128
# Seconds of a part without a migration, and after one was given up or has arrived.
QUIET, AFTER = 4, 3
# So much of what was to be sent has to have been, that a rate is said to hold.
HOLDS = 0.97
GAP = "longest gap, ms"
PART = re.compile(r"part \d+: ([0-9.]+) s, sent (\d+), lost (\d+), doubled (\d+), overtaken (\d+), longest gap ([0-9.]+) ms")
numbers = itertools.count()


class FerryGuest(vmm.ferry.Vm):
    """A guest under Ferry, in passthrough while it is not being moved."""

    def __init__(self, lab, nodes):
        self.nodes = nodes
        super().__init__(lab, node=nodes[0], cmdline="pci=noearly", mem=f"{MEMORY}M", cpus=1, address=None)

    def other(self):
        return self.nodes[self.node == self.nodes[0]]

    def give_up(self):
        """The destination dies when all memory has been there once."""
        moved = self.send_cut(self.receive(self.other()), "to", vmm.ferry.WARM, 1)
        if moved.status != 1:
            raise CommandFailed(f"ferry migrate, cut: {moved.output}")

    def move(self):
        return self.migrate().downtime_ms

    def account(self):
        """How long the network stood still at each switch to shadow rings, by Ferry's own account, ms."""
        return [int(us) / 1000 for us in re.findall(r"stood still for (\d+) us", self.host.process.output())]


class QemuHost(vmm.QemuHost):
    def __init__(self, lab, node, mac, incoming=False):
        self.lab, self.node, self.monitor = lab, node, None
        self.directory = f"/run/qemu-modes-{next(numbers)}"
        self.serial = f"{self.directory}/serial"
        self.address = f"unix:{self.directory}/incoming"
        extra = (f"-netdev vhost-vdpa,id=n,vhostdev={lab.nodes[node]},x-svq=off "
                 f"-device virtio-net-pci,netdev=n,mac={mac},disable-legacy=on,romfile= "
                 f"-qmp unix:{self.directory}/qmp,server=on,wait=off") + (f" -incoming {self.address}" if incoming else "")
        command = vmm.qemu_command("q35", None, serial=f"unix:{self.serial},server=on,wait=off", append=vmm.words(), memory=MEMORY,
                                   extra=extra)
        self.process = lab.spawn(f"mkdir {self.directory} && exec {command}")


class QemuGuest(vmm.QemuGuest):
    """The same guest under QEMU's q35 machine, whose device has the guest's rings until a migration begins."""

    def __init__(self, lab, nodes):
        mac, = re.findall(r"mac ([0-9a-f:]+)", lab.run(f"vdpa dev config show {nodes[0]}"))
        super().__init__(lab, nodes, address=None, mac=mac)

    def make_host(self, node, incoming=False):
        return QemuHost(self.lab, node, self.mac, incoming)

    def status(self, *wanted):
        deadline = time.monotonic() + 60
        while True:
            answer = self.host.monitor.command("query-migrate")
            if answer.get("status") in wanted:
                return
            if answer.get("status") in ("completed", "failed", "cancelled"):
                raise CommandFailed(f"QEMU's migration: {answer}\n{self.host.process.output()}")
            if time.monotonic() > deadline:
                raise LabStuck(f"QEMU's migration is not {wanted}: {answer}")
            time.sleep(0.1)

    def give_up(self):
        """Cancelled while memory goes over, slowly enough not to end before."""
        self.prepare()
        self.host.monitor.command("migrate-set-parameters", **{"max-bandwidth": 1 << 20})
        self.host.monitor.command("migrate", uri=self.destination.address)
        self.status("active")
        time.sleep(1)
        self.host.monitor.command("migrate_cancel")
        self.status("cancelled")
        self.destination.close()
        self.destination = None

    def move(self):
        self.prepare()
        downtime, _ = super().move()
        self.finish()
        return downtime

    def account(self):
        return []


def stream(vm, rate):
    """Frames at this rate, under way for a while."""
    frames = checks.Stream(vm, rate)
    vm.sh("sleep 1")
    return frames


def parts(frames):
    """Ends them; the figures of each part."""
    return [tuple(map(float, part)) for part in PART.findall(frames.end())]


def holds(vm, rate):
    """Whether the guest can send and get back so many frames a second at all."""
    frames = stream(vm, rate)
    frames.mark(QUIET)
    seconds, sent, lost, *_ = parts(frames)[1]
    return sent >= HOLDS * rate * seconds and lost == 0


def note(figures, column, what, part):
    _, sent, lost, doubled, overtaken, gap = part
    for name, value in ((GAP, gap), ("frames sent", sent), ("lost", lost), ("doubled", doubled), ("overtaken", overtaken)):
        figures.add(f"{what}: {name}", column, value)


def measure(figures, column, vm, rate, what, act):
    """A part without a migration, and one with."""
    frames, before = stream(vm, rate), len(vm.account())
    frames.mark(QUIET)
    frames.mark()
    result = act()
    vm.sh(f"sleep {AFTER}")
    _, quiet, part = parts(frames)
    figures.add(f"no migration: {GAP}", column, quiet[-1])
    note(figures, column, what, part)
    for ms in vm.account()[before:]:
        figures.add(f"{what}: network stood still by the VMM's own account, ms", column, ms)
    return result


def give_up(figures, column, vm, rate):
    measure(figures, column, vm, rate, "given up", vm.give_up)


def move(figures, column, vm, rate):
    downtime = measure(figures, column, vm, rate, "moved", vm.move)
    figures.add("moved: downtime by the VMM's own account, ms", column, downtime)


def highest(vm, rates):
    """The first of the rates that holds."""
    for rate in rates:
        if holds(vm, rate):
            return rate
    raise CommandFailed(f"none of these holds, in frames a second: {rates}; is the machine doing something else?")


def modes(lab, figures, repetitions, attempt, say):
    makers = {"ferry": lambda: FerryGuest(lab, SIMS[:2]).boot(), "q35": lambda: QemuGuest(lab, SIMS[2:]).boot()}
    vms, rate = {}, RATES[0]
    try:
        for column, make in makers.items():
            vms[column] = attempt(figures, "frames a second that hold", column, make)
            if vms[column]:
                held = attempt(figures, "frames a second that hold", column, lambda: highest(vms[column], [r for r in RATES if r <= rate]))
                if held:
                    figures.add("frames a second that hold", column, held)
                    rate = held
        for repetition in range(repetitions):
            say(f"== modes {repetition + 1} of {repetitions}, {rate} frames a second")
            for column, make in makers.items():
                for what, function in (("given up", give_up), ("moved", move)):
                    row = f"{what}: {GAP}"
                    vms[column] = vms[column] or attempt(figures, row, column, make)
                    if not vms[column]:
                        continue
                    notes = len(figures.notes)
                    attempt(figures, row, column, lambda: function(figures, column, vms[column], rate))
                    if len(figures.notes) > notes:
                        vms[column].close()
                        vms[column] = None
    finally:
        for vm in vms.values():
            if vm:
                vm.close()
