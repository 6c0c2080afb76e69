# SPDX-License-Identifier: GPL-2.0-or-later
"""What Ferry's and QEMU's shadow queues take for a packet, on vdpa_sim_net, which sends a guest its own frames back.

And what is left of that in passthrough. This device has no event_idx: each packet is then a kick and an interrupt, which are dear here.
"""

import itertools
import re

import vmm
import ferry
from lab import CommandFailed

NIC, MAC = "sim0", "52:54:77:77:22:11"
# To everybody: the device sends them back. To nobody: it drops them.
TO = {"looped back": "ff:ff:ff:ff:ff:ff", "sent alone": "02:00:00:00:00:99"}
# Linux's driver sends what a program does; one in user space keeps its rings full and polls them, so that no packet waits for the guest.
LINUX, FULL = "Linux's driver", "full rings"
NO_EVENT_IDX = (1 << 64) - 1 - (1 << 29)
# When, the CPU time so far of the VMM's threads and of the device's in the kernel, what the device has moved.
SAMPLE = ("echo clock $(cut -d' ' -f1 /proc/uptime); for t in /proc/{pid}/task/*; do "
          "echo thread $(cat $t/comm | tr ' ' _) $(cut -d' ' -f1 $t/schedstat); done; "
          "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in *'vDPA sim'*) echo device - $(cut -d' ' -f1 $p/schedstat);; "
          f"esac; done; for q in 0 1; do echo; vdpa -j dev vstats show {NIC} qidx $q; done; ")


class Ferry(ferry.Vm):
    def __init__(self, lab, mode):
        super().__init__(lab, node=NIC, cmdline="pci=noearly", mem="256M", cpus=1, address=None, net=f"mode={mode}")

    def pid(self):
        return self.host.pid()

    def is_vcpu(self, thread):
        return thread.startswith("vcpu")


class Qemu(vmm.QemuGuest):
    def __init__(self, lab):
        super().__init__(lab, (NIC,), None, mac=MAC, extra="-name bench,debug-threads=on ")

    def pid(self):
        return self.host.pid()

    def is_vcpu(self, thread):
        return thread.startswith("CPU_")


def sample(text, vm):
    """Seconds, packets, {who: ns}."""
    ns = {"vCPU": 0, "VMM": 0, "device": 0}
    for kind, name, value in re.findall(r"^(thread|device) (\S+) (\d+)$", text, re.MULTILINE):
        ns["device" if kind == "device" else "vCPU" if vm.is_vcpu(name) else "VMM"] += int(value)
    packets = sum(int(n) for n in re.findall(r'"[rt]x packets":\s*(\d+)', text))
    return float(re.search(r"clock ([0-9.]+)", text)[1]), packets, ns


def forward(lab, figures, column, vm, way, seconds, command):
    """@command, in the background of the guest, sends for longer than is looked at and says then what it has sent."""
    vm.sh(f"{command} > /tmp/sent 2>&1 &")
    script = SAMPLE.replace("{pid}", str(vm.pid()))
    before, after = lab.run(f"sleep 2; {script} sleep {seconds}; echo again; {script}", timeout=60 + seconds).split("again")
    vm.sh("until grep -q sent /tmp/sent; do usleep 20000; done; cat /tmp/sent")
    (start, n_before, ns_before), (end, n_after, ns_after) = sample(before, vm), sample(after, vm)
    n, elapsed = n_after - n_before, end - start
    if n < 100:
        raise CommandFailed(f"{n} packets were forwarded:\n{before}\n{after}")
    figures.add(f"{way}: packets a second", column, round(n / elapsed))
    figures.add(f"{way}: VMM's CPU time a packet, us", column, round((ns_after["VMM"] - ns_before["VMM"]) / n / 1e3, 2))
    for who, ns in ns_after.items():
        figures.add(f"   {who} busy, %", f"{column}, {way}", round((ns - ns_before[who]) / elapsed / 1e7, 1))


def forwards(lab, figures, repetitions, attempt, say, seconds=6):
    subjects = (("ferry", lambda: Ferry(lab, "shadow")), ("ferry, passthrough", lambda: Ferry(lab, "passthrough")), ("q35", lambda: Qemu(lab)))
    for repetition in range(repetitions):
        say(f"== forwarding {repetition + 1} of {repetitions}")
        for (column, make), driver in itertools.product(subjects, (LINUX, FULL)):
            def once():
                vm = make().boot()
                try:
                    slot = vm.sh(ferry.CTRLNIC).strip() if driver == FULL else None
                    for to, mac in TO.items():
                        command = (f"ctrlnic {slot} 'init {NO_EVENT_IDX:x}' 'send {seconds + 4} {mac.replace(':', '')}'" if slot
                                   else f"flood eth0 {seconds + 4} {mac}")
                        forward(lab, figures, column, vm, f"{driver}, {to}", seconds, command)
                finally:
                    vm.close()
            attempt(figures, f"{driver}, {next(iter(TO))}: packets a second", column, once)
