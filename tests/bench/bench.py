# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures Ferry beside QEMU, in turns, in one lab. Under nested TCG times mean nothing by themselves: compare the ratios."""

import argparse
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
import traceback

import compress
import forward
import growth
import modes
import programs
import readme
import replay
import start
import traffic
import vmm
from lab import BUILD, CommandFailed, Lab, LabStuck
from netns import Pinger
from test_migrate_state import ALLMULTI, HASH, MAC, OFFLOADS, PROMISC, RSS, multicast, unicast, vlans

TRACING = "/sys/kernel/debug/tracing"
EVENT = re.compile(r"-(\d+) +\[\d+\].*? (\d+\.\d+): (kvm_\w+):")
LOST_AFTER = 12
PROGRAMS = ("data-path", "soft", "nic", "stream")
NO_LAB = PROGRAMS + ("compress", "growth", "start")
PARTS = NO_LAB + ("boot", "forward", "traffic", "replay", "modes", "move")
GAP = "ping gap at the switchover, ms"


def say(text):
    print(text, flush=True)


class Figures:
    """What was measured, by row and column; what got stuck is a figure too."""

    def __init__(self):
        self.values, self.notes = {}, []

    def add(self, row, column, value, quiet=False):
        self.values.setdefault(row, {}).setdefault(column, []).append(value)
        if not quiet:
            say(f"   {row}, {column}: {value}")

    def median(self, row, column):
        numbers = [v for v in self.values.get(row, {}).get(column, []) if not isinstance(v, str)]
        return statistics.median(numbers) if numbers else None

    def cell(self, row, column):
        values = self.values.get(row, {}).get(column, [])
        if not values:
            return "-"
        numbers = [v for v in values if not isinstance(v, str)]
        words = [v for v in values if isinstance(v, str)]
        text = f"{statistics.median(numbers):.1f} ({min(numbers):.1f}..{max(numbers):.1f})" if numbers else ""
        return " ".join([text] * bool(text) + sorted({f"{words.count(w)}x {w}" for w in words}))


def attempt(figures, row, column, function):
    """Runs one measurement; one that fails or hangs is recorded as that and the run goes on."""
    try:
        return function()
    except LabStuck as e:
        figures.add(row, column, "stuck")
        figures.notes.append(f"{row}, {column}: {str(e)[-3000:]}")
    except Exception as e:
        figures.add(row, column, "failed")
        figures.notes.append(f"{row}, {column}: {''.join(traceback.format_exception(e))[-3000:]}")
    return None


def memory(lab, pid):
    """Proportional set size of a process without the guest's RAM (both map a memfd), in KiB: all, and anonymous alone."""
    pss = anonymous = 0
    guest_ram = False
    for line in lab.run(f"cat /proc/{pid}/smaps", timeout=60).splitlines():
        field = line.split()
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            guest_ram = "memfd:ferry-ram" in line or "memfd:memory-backend" in line
        elif not guest_ram and field[0] == "Pss:":
            pss += int(field[1])
        elif not guest_ram and field[0] == "Anonymous:":
            anonymous += int(field[1])
    return pss, anonymous


def boot(lab, figures, column, command, kernel):
    """Starts a guest, notes when its first process writes its first line, and what the VMM takes a little later."""
    lab.reset_nic("vp0")
    process = lab.spawn(f"echo started; exec {command(lab.nodes['vp0'])}")
    row = f"exec to first line of user space, s ({kernel})"
    try:
        process.wait_for("started", 30)
        started = time.monotonic()
        process.wait_for(vmm.MARKER, 90)
        figures.add(row, column, round(time.monotonic() - started, 2))
        # Time for the guest's own driver to set its NIC up; nothing tells it for all three.
        time.sleep(6)
        if kernel == "vmlinux":
            pss, anonymous = memory(lab, process.pid)
            figures.add("VMM's own memory, PSS, MiB", column, round(pss / 1024, 2))
            figures.add("of that anonymous, MiB", column, round(anonymous / 1024, 2))
    finally:
        process.kill()
        process.wait(20)


def boots(lab, figures, repetitions):
    commands = {
        "ferry": lambda kernel: lambda node: vmm.ferry_command(node, kernel=kernel),
        "q35": lambda kernel: lambda node: vmm.qemu_command("q35", node, kernel=kernel),
        "microvm": lambda kernel: lambda node: vmm.qemu_command("microvm", node, kernel=kernel),
    }
    for repetition in range(repetitions):
        say(f"== boot {repetition + 1} of {repetitions}")
        for kernel in ("vmlinux",) + ("vmlinuz",) * (repetition == 0):
            for column, command in commands.items():
                attempt(figures, f"exec to first line of user space, s ({kernel})", column,
                        lambda: boot(lab, figures, column, command(kernel), kernel))


def trace_setup(lab):
    # Before any guest runs: enabling patches KVM's code. From then on only the recording is switched.
    lab.run(f"cd {TRACING} && echo 0 > tracing_on && echo mono > trace_clock && echo 2048 > buffer_size_kb && "
            "echo 1 > events/kvm/kvm_entry/enable && echo 1 > events/kvm/kvm_exit/enable")


def threads(lab, pid):
    return set(lab.run(f"ls /proc/{pid}/task").split())


def blackout(lab, source, destination):
    """From the last time that a vCPU of the source left the guest to the first that one of the destination entered it, ms."""
    last = first = None
    pattern = "|".join(sorted(source | destination))
    for line in lab.run(f"grep -E -e '-({pattern}) ' {TRACING}/trace", timeout=120).splitlines():
        found = EVENT.search(line)
        if not found:
            continue
        if found[1] in source and found[3] == "kvm_exit":
            last = float(found[2])
        elif found[1] in destination and found[3] == "kvm_entry" and first is None:
            first = float(found[2])
    if last is None or first is None or first < last:
        raise CommandFailed(f"the trace has no switchover: last exit {last}, first entry {first}")
    return round((first - last) * 1e3, 1)


def gaps(pinger):
    """The time without an answer in which the first ping of the most lost in a row was sent, and the longest other one, ms."""
    times = sorted(pinger.answered.values())
    lost, run = None, 0
    numbers = [n for n in range(len(pinger.sent)) if n not in pinger.answered]
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        group = [n for _, n in group]
        if len(group) > run:
            lost, run = group[0], len(group)
    all_gaps = [(b - a, a, b) for a, b in zip(times, times[1:])]
    # With nothing lost the switchover is not to be told from other pauses: the longest counts.
    at = [g for g in all_gaps if lost is not None and g[1] <= pinger.sent[lost] <= g[2]] or [max(all_gaps)]
    all_gaps.remove(at[0])
    return round(at[0][0] * 1e3, 1), round(max(all_gaps)[0] * 1e3, 1)


def move(lab, figures, vm, rate, column):
    """Moves the guest once, seen from outside by a ping and by KVM's tracepoints."""
    vm.prepare()
    source, pinger = threads(lab, vm.source_pid()), Pinger(lab.namespace, vm.address, rate, window=rate)
    try:
        if not pinger.wait_answers(rate, 30):
            raise LabStuck("the guest does not answer a ping before the move")
        lab.run(f"cd {TRACING} && echo > trace && echo 1 > tracing_on")
        downtime, parts = vm.move()
        lab.run(f"echo 0 > {TRACING}/tracing_on")
        arrived = pinger.wait_answers(rate, LOST_AFTER)
    finally:
        result = pinger.stop()
    destination = threads(lab, vm.destination_pid())
    vm.finish()
    if not arrived:
        # Nested guests under TCG stand still or fault now and then: one that does not answer here either has not lost its network.
        vm.sh("true", timeout=30)
    figures.add("blackout of the vCPU, ms", column, blackout(lab, source, destination))
    switchover, other = gaps(pinger)
    figures.add(GAP, column, switchover if arrived else "network lost")
    figures.add("pings lost", column, result["lost"] if arrived else "network lost")
    figures.add("longest gap of a ping at another time, ms", column, other)
    figures.add("downtime by the VMM's own account, ms", column, downtime)
    for part, ms in parts:
        figures.add(f"   {part}, ms", column, float(ms))
    return arrived


def settle(vm):
    """Traffic of the guest's own, by which the bridge learns its port, and a timer, by which its vCPU is seen to run."""
    vm.sh(f"ping -i 0.01 {Lab.bridge_address} > /dev/null 2>&1 &")
    vm.sh("ticker 2 > /dev/null 2>&1 &")


def everything(vm, n_vlans):
    vm.sh(f"{RSS}; {HASH}; {OFFLOADS}; {MAC}; {PROMISC}; {ALLMULTI}\n{unicast(350)}\n{multicast(350)}", timeout=200)
    vm.sh(vlans(1, n_vlans), timeout=900)


class Subject:
    """A guest that is kept from one repetition to the next, and made anew after one that did not go well."""

    def __init__(self, lab, figures, column, make, rate, state=None):
        self.lab, self.figures, self.column, self.make, self.rate, self.state = lab, figures, column, make, rate, state
        self.vm = None

    def measure(self):
        def once():
            if not self.vm:
                vm = self.make().boot()
                self.vm = vm
                if self.state:
                    start = time.monotonic()
                    self.state(vm)
                    say(f"   {self.column}: state set in {time.monotonic() - start:.0f} s")
            # Only the guest that is measured is busy.
            settle(self.vm)
            if not move(self.lab, self.figures, self.vm, self.rate, self.column):
                self.close()
                return True
            self.vm.sh("killall ping ticker", expect=None)
            return True
        if not attempt(self.figures, "blackout of the vCPU, ms", self.column, once):
            self.close()

    def close(self):
        if self.vm:
            self.vm.close()
            self.vm = None


def moves(lab, figures, repetitions, rate, n_vlans, n_qemu_vlans):
    trace_setup(lab)
    default = Subject(lab, figures, "ferry", lambda: vmm.FerryGuest(lab, ("vp0", "vp1"), "10.77.0.2"), rate)
    qemu = Subject(lab, figures, "q35", lambda: vmm.QemuGuest(lab, ("vp2", "vp3"), "10.77.0.3"), rate)
    full = Subject(lab, figures, "ferry, all set", lambda: vmm.FerryGuest(lab, ("vp4", "vp5"), "10.77.0.4"), rate,
                   lambda vm: everything(vm, n_vlans))
    try:
        for repetition in range(repetitions):
            say(f"== migration {repetition + 1} of {repetitions}")
            for subject in (default, qemu, full) if n_vlans else (default, qemu):
                subject.measure()
        if n_qemu_vlans:
            say(f"== migration of QEMU with {n_qemu_vlans} VLANs")
            qemu.close()
            qemu.column = f"q35, {n_qemu_vlans} VLANs"
            qemu.state = lambda vm: vm.sh(vlans(1, n_qemu_vlans), timeout=300)
            qemu.measure()
    finally:
        for subject in (default, qemu, full):
            subject.close()


def size(figures):
    stripped = BUILD / "ferry.stripped"
    subprocess.run(["strip", "-o", stripped, BUILD / "ferry"], check=True)
    figures.add("size, stripped, KiB", "ferry", round(stripped.stat().st_size / 1024))
    stripped.unlink()


def verdicts(figures):
    """{figure, what Ferry has, the limit for it} for each target."""
    gap, vcpu, given_up = GAP, "blackout of the vCPU, ms", f"given up: {modes.GAP}"
    start, own = "exec to first line of user space, s (vmlinux)", "VMM's own memory, PSS, MiB"
    better = [m for m in (figures.median(start, c) for c in ("q35", "microvm")) if m is not None]
    targets = [
        ("start against the better QEMU", figures.median(start, "ferry"), min(better, default=None), 0.75),
        ("VMM's own memory, MiB", figures.median(own, "ferry"), 1, 4),
        ("blackout against QEMU's", figures.median(vcpu, "ferry"), figures.median(vcpu, "q35"), 0.2),
        ("ping gap against QEMU's", figures.median(gap, "ferry"), figures.median(gap, "q35"), 0.2),
        ("gap of a migration given up against QEMU's", figures.median(given_up, "ferry"), figures.median(given_up, "q35"), 0.2),
        ("blackout, all set against default", figures.median(vcpu, "ferry, all set"), figures.median(vcpu, "ferry"), 1.2),
        ("ping gap, all set against default", figures.median(gap, "ferry, all set"), figures.median(gap, "ferry"), 1.2),
    ]
    rate, cpu = "split tx batch 32, eventfds: thousand packets a second", "Linux's driver, sent alone: VMM's CPU time a packet, us"
    forwarded = "full rings, sent alone: packets a second"
    many, replayed = "replay with 300 VLANs, commands a second", "replay with 40 VLANs, commands a second"
    targets += [
        ("3 million packets a second to ours", 3000, figures.median(rate, programs.SHIPPED), 1),
        ("packets a second through shadow queues, QEMU's to ours", figures.median(forwarded, "q35"), figures.median(forwarded, "ferry"), 0.5),
        ("CPU a forwarded packet, of QEMU's", figures.median(cpu, "ferry"), figures.median(cpu, "q35"), 0.5),
        ("time a command, of Debian 13's QEMU", figures.median(many, "q35, Debian 13"), figures.median(many, "ferry"), 0.333),
        ("time a command, of QEMU's", figures.median(replayed, "q35"), figures.median(replayed, "ferry"), 0.333),
    ]
    there, scattered = "memory that is there, against a plain loop, %", "scattered pages, against as many in one piece, %"
    for family in "unix", "tcp":
        targets += [
            (f"0.9 of a plain loop to ours, {family}", 90, figures.median(f"{family}, {there}", programs.SHIPPED), 1),
            (f"0.6 of one piece to scattered pages, {family}", 60, figures.median(f"{family}, {scattered}", programs.SHIPPED), 1),
        ]
    targets += compress.verdicts(figures)
    return [{"target": name, "ratio": round(value / base, 3) if value is not None and base else None, "limit": limit}
            for name, value, base, limit in targets]


def table(figures):
    columns = []
    for row in figures.values.values():
        columns += [c for c in row if c not in columns]
    lines = [["median (least..most)"] + columns]
    lines += [[row] + [figures.cell(row, c) for c in columns] for row in figures.values]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    say("")
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    say("")
    for verdict in verdicts(figures):
        ratio, limit = verdict["ratio"], verdict["limit"]
        outcome = "not measured" if ratio is None else "met" if ratio <= limit else "MISSED"
        say(f"{verdict['target']:42} {'-' if ratio is None else ratio:>8}  at most {limit:<5} {outcome}")


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two repetitions")
    parser.add_argument("--rate", type=int, default=200, help="pings a second (200)")
    parser.add_argument("--vlans", type=int, default=4094, help="VLANs of Ferry's guests with everything set; 0: no such guests")
    parser.add_argument("--qemu-vlans", type=int, default=64, help="VLANs of QEMU's last guest; 0: no such guest")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS,
                        help="what to measure (all): data-path: packets through shadow rings between fakes, soft: replay of everything to Ferry's "
                             "own device, nic: packets through that device, stream: memory on its way beside a plain loop, growth: migrations "
                             "as a guest grows, compress: memory over 1 Gbit/s, and start: from the process to the guest, all without a lab; boot: "
                             "start and memory; "
                             "forward: packets through shadow rings on vdpa_sim_net; traffic: iperf3 and packets through Ferry's own device on "
                             "a TAP, beside QEMU's NIC and vhost-net; "
                             "replay: control commands to vp_vdpa; modes: the switch to shadow rings and back on vdpa_sim_net; move: migration")
    parser.add_argument("--plot", metavar="FILE", help="with growth: a picture of it, as SVG")
    parser.add_argument("--readme", action="store_true", help="write the README's table of figures, of what was measured")
    parser.add_argument("--beside", metavar="BUILD",
                        help="with data-path, soft, nic and stream: another build of these programs, measured in turns with this one")
    options = parser.parse_args()
    repetitions = 2 if options.quick else options.repetitions
    figures = Figures()
    started = time.monotonic()
    size(figures)
    try:
        programs.measure(figures, options.only, repetitions if set(options.only) & set(PROGRAMS) else 0, options.beside, say)
        if "growth" in options.only:
            growth.measure(figures, max(7, repetitions), options.plot, say)
        if "start" in options.only:
            start.measure(figures, max(7, repetitions), say)
        if "compress" in options.only:
            compress.measure(figures, max(7, repetitions), say)
        if set(options.only) <= set(NO_LAB):
            return
        nics = vmm.NICS if set(options.only) - {*NO_LAB, "forward", "modes"} else ()
        with Lab(nics=nics, sims=modes.SIMS, memory="4G", log=BUILD / "bench-l1.log") as lab:
            say(f"== lab up in {lab.boot_seconds:.0f} s")
            qemu = vmm.install(lab)
            vmm.initramfs(lab)
            say(f"== {qemu}")
            if "boot" in options.only:
                boots(lab, figures, repetitions)
            if "forward" in options.only:
                forward.forwards(lab, figures, repetitions, attempt, say)
            if "traffic" in options.only:
                traffic.traffic(lab, figures, repetitions, attempt, say)
            if "replay" in options.only and options.vlans:
                replay.replays(lab, figures, repetitions, options.vlans, attempt, say)
            if "modes" in options.only:
                modes.modes(lab, figures, repetitions, attempt, say)
            if "move" in options.only:
                moves(lab, figures, repetitions, options.rate, options.vlans, options.qemu_vlans)
    finally:
        say(f"\n{repetitions} repetitions in {time.monotonic() - started:.0f} s")
        table(figures)
        (BUILD / "bench.json").write_text(json.dumps({"figures": figures.values, "verdicts": verdicts(figures),
                                                      "notes": figures.notes}, indent=1))
        for note in figures.notes:
            say(f"--- {note}")
        if options.readme:
            readme.write(figures)
        say(f"written to {BUILD}/bench.json")


if __name__ == "__main__":
    sys.exit(main())
