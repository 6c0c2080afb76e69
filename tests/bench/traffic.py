# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's traffic through a TAP in L1: Ferry's NIC in software beside QEMU's own and beside the kernel's vhost-net.

The same guest with one queue pair each, on one bridge, whose other end are programs in L1. Under TCG a program takes some ten times as long
as on hardware, and an exit of a guest longer still: the ratios favour whoever exits less.
"""

import json
import lzma
import pathlib
import re
import subprocess

import ferry
import vmm
from lab import CommandFailed, made_by

HERE = pathlib.Path(__file__).resolve().parent
HOST, PREFIX, NOBODY = "10.80.0.1", "10.80.0.", "02:00:00:00:00:99"
COLUMNS = ("ferry", "QEMU, vhost=on", "QEMU, vhost=off", "ferry, poll=auto")
MAC = "52:54:77:80:00:%02x"
STREAMS = {
    "TCP, guest to host, Gbit/s": "",
    "TCP, host to guest, Gbit/s": "-R",
    "UDP, guest to host, Gbit/s": "-u -b 0 -l 1400",
    "UDP, host to guest, Gbit/s": "-u -b 0 -l 1400 -R",
}
SENT, RECEIVED, RTT = "guest sends: thousand packets a second", "guest receives: thousand packets a second", "a lone ping, us"
CPU = "VMM's CPU time a packet"
IDLE = "idle: wake-ups a second of the VMM's threads"
ROWS = (*STREAMS, SENT, RECEIVED)


def interface(number):
    return f"tap{number}"


class Ferry(ferry.Vm):
    def __init__(self, lab, number, options=""):
        super().__init__(lab, node=None, mem="192M", cpus=1, initrd="/tmp/traffic.cpio",
                         cmdline=f"pci=noearly lab.address={PREFIX}{number + 2}/24",
                         options=f"--net soft,tap={interface(number)},mac={MAC % number}{options}")

    def pid(self):
        return self.host.pid()


class QemuHost(vmm.QemuHost):
    def __init__(self, lab, number, vhost):
        self.lab, self.node, self.monitor = lab, None, None
        self.directory = f"/run/qemu-traffic-{number}"
        self.serial = f"{self.directory}/serial"
        extra = (f"-name traffic,debug-threads=on -netdev tap,id=n,ifname={interface(number)},script=no,downscript=no,vhost={vhost} "
                 f"-device virtio-net-pci,netdev=n,mac={MAC % number},disable-legacy=on,romfile= "
                 f"-qmp unix:{self.directory}/qmp,server=on,wait=off")
        command = vmm.qemu_command("q35", None, serial=f"unix:{self.serial},server=on,wait=off", memory=192, extra=extra,
                                   append=f"console=ttyS0 quiet pci=noearly lab.agent lab.address={PREFIX}{number + 2}/24")
        self.process = lab.spawn(f"mkdir {self.directory} && exec {command.replace('/tmp/bench.cpio', '/tmp/traffic.cpio')}")


class Qemu(vmm.QemuGuest):
    def __init__(self, lab, number, vhost):
        self.number, self.vhost = number, vhost
        super().__init__(lab, (None,), None, mac=MAC % number)

    def make_host(self, node, incoming=False):
        return QemuHost(self.lab, self.number, self.vhost)

    def pid(self):
        return self.host.pid()


def iperf(lab):
    """iperf3 in L1 and in the guests' initramfs, each with its own libraries."""
    folder = pathlib.Path(subprocess.run([HERE / "iperf"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    script = b'#!/bin/sh\nexec /iperf/loader --library-path /iperf /iperf/program "$@"\n'
    entries = [vmm.cpio_entry("iperf", 0o40755), vmm.cpio_entry("bin/iperf3", 0o100755, script)]
    entries += [vmm.cpio_entry(f"iperf/{f.name}", 0o100755, f.read_bytes()) for f in sorted(folder.iterdir())]
    (lab.share / "iperf.cpio").write_bytes(b"".join(entries) + vmm.cpio_entry("TRAILER!!!", 0))
    lab.run("cat /images/l2.cpio /share/iperf.cpio > /tmp/traffic.cpio && cd / && cpio -idu < /share/iperf.cpio", timeout=120)
    (lab.share / "iperf.cpio").unlink()


def modules(lab):
    """vhost-net, which nothing else in the lab needs."""
    kernel = made_by("kernel") / "modules/kernel"
    for name in ("drivers/net/tap", "drivers/vhost/vhost_net"):
        path = lab.share / f"{pathlib.Path(name).name}.ko"
        path.write_bytes(lzma.open(kernel / f"{name}.ko.xz").read())
        lab.run(f"lsmod | grep -q '^{path.stem} ' || insmod /share/{path.name}")


def prepare(lab):
    modules(lab)
    iperf(lab)
    helpers = made_by("images") / "helpers"
    (lab.share / "flood").write_bytes((helpers / "flood").read_bytes())
    script = [f"cp /share/flood /bin && chmod 755 /bin/flood && ip link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0 && "
              f"ip addr add {HOST}/24 dev br1 && ip link set br1 up"]
    for number in range(len(COLUMNS)):
        script.append(f"ip tuntap add {interface(number)} mode tap vnet_hdr && ip link set {interface(number)} master br1 up")
    lab.run(" && ".join(script))
    server = lab.spawn("exec iperf3 -s --forceflush")
    server.wait_for("Server listening", 60)


def stream(vm, options, seconds):
    """One run of iperf3 from the guest: what the receiver got."""
    text = vm.sh(f"iperf3 -J -c {HOST} -t {seconds} -O 1 {options}", timeout=120 + seconds)
    try:
        end = json.loads(text)["end"]
    except (ValueError, KeyError):
        raise CommandFailed(f"iperf3 {options}: {text}") from None
    if "-u" in options:
        total = end["sum"]
        return total["bits_per_second"] * (1 - total["lost_percent"] / 100)
    return end["sum_received"]["bits_per_second"]


SAMPLE = ("echo at $(cut -d' ' -f1 /proc/uptime) $(cat /sys/class/net/{tap}/statistics/{what}); "
          "for t in /proc/{pid}/task/*; do echo $(cat $t/comm | tr ' ' _) $(cut -d' ' -f1 $t/schedstat); done; ")


def is_vcpu(thread):
    return thread.startswith(("vcpu", "CPU_"))


def sample(text):
    found = re.search(r"at ([0-9.]+) (\d+)", text)
    ns = {name: 0 for name in ("vCPU", "VMM")}
    for name, value in re.findall(r"^(\S+) (\d+)$", text, re.MULTILINE):
        ns["vCPU" if is_vcpu(name) else "VMM"] += int(value)
    return float(found[1]), int(found[2]), ns


def count(lab, figures, column, vm, number, row, what, seconds):
    """Packets of the interface in L1 while somebody sends as many as can be."""
    script = SAMPLE.replace("{pid}", str(vm.pid())).replace("{tap}", interface(number)).replace("{what}", what)
    before, after = lab.run(f"sleep 1; {script} sleep {seconds}; echo again; {script}", timeout=60 + seconds).split("again")
    (start, n_before, ns_before), (end, n_after, ns_after) = sample(before), sample(after)
    n, elapsed = n_after - n_before, end - start
    if n < 100:
        raise CommandFailed(f"{n} packets:\n{before}\n{after}")
    figures.add(row, column, round(n / elapsed / 1e3, 2))
    figures.add(f"{CPU}, {row.split(':')[0]}, us", column, round((ns_after["VMM"] - ns_before["VMM"]) / n / 1e3, 2))


def send(lab, figures, column, vm, number, seconds):
    vm.sh(f"flood eth0 {seconds + 3} {NOBODY} > /tmp/sent 2>&1 &")
    count(lab, figures, column, vm, number, SENT, "rx_packets", seconds)
    vm.sh("until grep -q sent /tmp/sent; do usleep 20000; done")


def receive(lab, figures, column, vm, number, seconds):
    flood = lab.spawn(f"exec flood {interface(number)} {seconds + 3} {MAC % number}")
    count(lab, figures, column, vm, number, RECEIVED, "tx_packets", seconds)
    flood.wait(60)


def lone(vm):
    """Half of the pings took less, us."""
    text = vm.sh(f"ping -c 20 {HOST}", timeout=90)
    times = sorted(float(t) for t in re.findall(r"time=([0-9.]+) ms", text))
    if not times:
        raise CommandFailed(text)
    return round(times[len(times) // 2] * 1e3)


def wakeups(lab, vm, seconds):
    """How often threads of the VMM that are no vCPU have gone to sleep of their own, a second."""
    script = (f"for t in /proc/{vm.pid()}/task/*; do echo $(cat $t/comm | tr ' ' _) "
              "$(sed -n 's/^voluntary_ctxt_switches:.//p' $t/status); done; ")
    before, after = lab.run(f"{script} sleep {seconds}; echo again; {script}", timeout=60 + seconds).split("again")
    totals = [sum(int(n) for name, n in re.findall(r"^(\S+) (\d+)$", text, re.MULTILINE) if not is_vcpu(name)) for text in (before, after)]
    return round((totals[1] - totals[0]) / seconds, 1)


def measure(lab, figures, column, vm, number, attempt, seconds):
    for row, options in STREAMS.items():
        def once():
            figures.add(row, column, round(stream(vm, options, seconds) / 1e9, 3))
        attempt(figures, row, column, once)
    attempt(figures, SENT, column, lambda: send(lab, figures, column, vm, number, seconds))
    attempt(figures, RECEIVED, column, lambda: receive(lab, figures, column, vm, number, seconds))
    attempt(figures, RTT, column, lambda: figures.add(RTT, column, lone(vm)))


def traffic(lab, figures, repetitions, attempt, say, seconds=4):
    prepare(lab)
    makers = (lambda: Ferry(lab, 0), lambda: Qemu(lab, 1, "on"), lambda: Qemu(lab, 2, "off"), lambda: Ferry(lab, 3, ",poll=auto"))
    vms = {}
    try:
        for column, make in zip(COLUMNS, makers):
            vms[column] = attempt(figures, ROWS[0], column, lambda: make().boot())
            if vms[column]:
                attempt(figures, IDLE, column, lambda: figures.add(IDLE, column, wakeups(lab, vms[column], 10)))
        for repetition in range(repetitions):
            say(f"== traffic {repetition + 1} of {repetitions}")
            for number, column in enumerate(COLUMNS):
                if vms[column]:
                    measure(lab, figures, column, vms[column], number, attempt, seconds)
    finally:
        for vm in vms.values():
            if vm:
                vm.close()
