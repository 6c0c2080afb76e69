# SPDX-License-Identifier: GPL-2.0-or-later
"""Ferry and QEMU in L1 behind one face: how each is started, and a guest that each of them can move."""

import itertools
import pathlib
import re
import shlex
import stat
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import ferry  # noqa: E402
import guest  # noqa: E402
import qmp  # noqa: E402
from lab import CommandFailed, LabStuck, Nic  # noqa: E402

# MiB of a guest that is timed from its start, and of one that moves: 4,094 VLAN devices take some 160.
BOOT_MEMORY, MOVE_MEMORY = 128, 512
# QEMU's shadow queues refuse a device that offers these; none of them is what is measured.
UNSUPPORTED = ("guest_announce", "queue_reset", "guest_uso4", "guest_uso6", "host_uso")
# The last two are for Debian 13's QEMU alone.
NICS = tuple(Nic(f"vp{i}", **dict.fromkeys((*UNSUPPORTED, "indirect_desc") if i > 5 else UNSUPPORTED, "off")) for i in range(8))
MARKER = "bench: first line of user space"
QEMU_ROOT = "/tmp/qemu"
FIRMWARE = ("share/seabios/bios-256k.bin", "share/seabios/bios-microvm.bin", "share/qemu/kvmvapic.bin",
            "share/qemu/linuxboot_dma.bin", "share/qemu/pvh.bin", "share/qemu/qboot.rom")
QEMU_NIC = ",".join(["netdev=n,mq=on,ctrl_vq=on"] + [f"{feature}=off" for feature in UNSUPPORTED] + ["mac={mac}"])
numbers = itertools.count()


def device_mac(name):
    """The MAC address that the lab gives a NIC: QEMU's guest gets nothing by another until it sets that itself."""
    return f"52:54:00:77:11:{0x11 + int(name[2:]):02x}"


def cpio_entry(name, mode, data=b"", device=(0, 0)):
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
    entry = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    entry += bytes(-len(entry) % 4) + data
    return entry + bytes(-len(entry) % 4)


def initramfs(lab):
    """The lab's guest, whose first line goes through the kernel's log: microvm's serial line has no interrupt that Debian's
    kernel finds (its DSDT does not name the port), so that user space cannot write to it; the kernel's console can."""
    script = f"#!/bin/sh\necho '<2>{MARKER}' > /dev/kmsg\nexec /init\n".encode()
    extra = (cpio_entry("bench-init", stat.S_IFREG | 0o755, script) + cpio_entry("dev/kmsg", stat.S_IFCHR | 0o600, device=(1, 11)) +
             cpio_entry("TRAILER!!!", 0))
    (lab.share / "bench.cpio").write_bytes(extra)
    lab.run("cat /images/l2.cpio /share/bench.cpio > /tmp/bench.cpio", timeout=120)


def install(lab):
    """Puts both programs into L1's memory: over a share they would start slowly."""
    lab.run("mkdir /tmp/bin && cp /build/ferry /tmp/bin && mount --bind /tmp/bin /build", timeout=120)
    return install_qemu(lab)


def install_qemu(lab, suite="sid", place=QEMU_ROOT):
    """A suite's QEMU with the libraries that it needs; returns its version."""
    root = pathlib.Path(subprocess.run([HERE.parent / "lab" / "qemu", suite], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    programs = [p for p in ("usr/bin/qemu-system-x86_64", "usr/bin/qemu-system-x86_64-microvm") if (root / p).exists()]
    loader, = (root / "lib64").glob("ld-linux*")
    folders = f"{root}/usr/lib/x86_64-linux-gnu"
    files = set(programs) | {"usr/" + f for f in FIRMWARE if (root / "usr" / f).exists()} | {str(loader.relative_to(root))}
    for program in programs:
        listed = subprocess.run([loader, "--library-path", folders, "--list", root / program], check=True, stdout=subprocess.PIPE,
                                text=True).stdout
        files |= {str(pathlib.Path(word).relative_to(root)) for word in listed.split() if word.startswith(folders)}
    with open(lab.share / "qemu.tar", "wb") as tar:
        subprocess.run(["tar", "-C", root, "-ch", *sorted(files)], check=True, stdout=tar)
    folders = " ".join("/" + d for d in ("dev", "proc", "sys", "run", "images", "tmp"))
    lab.run(f"mkdir {place} && tar -xf /share/qemu.tar -C {place} && cd {place} && "
            f"for d in {folders}; do mkdir -p .$d && mount --bind $d .$d; done && mkdir -p usr/lib && "
            "for l in lib; do [ -e $l ] || ln -s usr/lib $l; done", timeout=300)
    (lab.share / "qemu.tar").unlink()
    version = lab.run(f"chroot {place} /usr/bin/qemu-system-x86_64 --version", timeout=120)
    return version.splitlines()[0]


def words(address=None):
    # L1's emulated CPU is of a family that had AGP: without "noearly" the kernel looks for a bridge on 256 buses, twice.
    return "console=ttyS0 quiet pci=noearly rdinit=/bench-init lab.agent" + (f" lab.address={address}/24" if address else "")


def ferry_command(node, serial="stdio", kernel="vmlinux"):
    net = f"--net vdpa={node}" if node else ""
    return (f"/build/ferry run --name bench --runtime-dir /run --kernel /images/{kernel} --initrd /tmp/bench.cpio --mem {BOOT_MEMORY}M "
            f"--cpus 1 --serial {serial} {net} --cmdline {shlex.quote(words())}")


def qemu_command(machine, node, mac=device_mac("vp0"), serial="stdio", kernel="vmlinux", append=None, memory=BOOT_MEMORY, extra="",
                 place=QEMU_ROOT):
    program, options, nic = {
        "q35": ("qemu-system-x86_64", "q35", f"virtio-net-pci,{QEMU_NIC},vectors=10,disable-legacy=on,romfile="),
        # Its option ROMs stay: one of them is what enters an ELF kernel.
        "microvm": ("qemu-system-x86_64-microvm", "microvm,rtc=on",
                    f"virtio-net-device,{QEMU_NIC}"),
    }[machine]
    net = f"-netdev vhost-vdpa,id=n,vhostdev={node},queues=4,x-svq=on -device {nic.format(mac=mac)}" if node else ""
    return (f"chroot {place} /usr/bin/{program} -nodefaults -no-user-config -display none -M {options},accel=kvm,memory-backend=ram "
            f"-object memory-backend-memfd,id=ram,size={memory}M,share=on -cpu host -smp 1 -m {memory} -serial {serial} "
            f"-kernel /images/{kernel} -initrd /tmp/bench.cpio -append {shlex.quote(append or words())} {net} {extra}")


class FerryGuest(ferry.Vm):
    """A guest under Ferry that moves between two NICs."""

    def __init__(self, lab, nodes, address):
        self.nodes, self.address = nodes, address
        for name in nodes:
            lab.reset_nic(name)
        super().__init__(lab, node=nodes[0], cmdline="pci=noearly", mem=f"{MOVE_MEMORY}M", cpus=1, address=address)

    def prepare(self):
        self.destination = self.receive(self.nodes[self.node == self.nodes[0]])

    def source_pid(self):
        return self.host.pid()

    def destination_pid(self):
        return self.destination.pid()

    def move(self):
        moved = self.send(self.destination.address, timeout=90)
        if moved.status != 0:
            raise CommandFailed(f"ferry migrate: {moved.output}\n{self.host.process.output()}\n{self.destination.process.output()}")
        return moved.downtime_ms, re.findall(r"^  (\S.*?) +([0-9.]+) ms$", moved.output, re.MULTILINE)

    def finish(self):
        self.follow(self.destination)


class Monitor(qmp.Qmp):
    """QMP over the relay into L1."""

    def __init__(self, s):
        s.settimeout(60)
        self.lock = qmp.threading.Lock()
        self.socket = s
        self.file = s.makefile("rw")
        self.file.readline()
        self.command("qmp_capabilities")


class QemuHost:
    def __init__(self, lab, node, mac, address, incoming=False, extra="", place=QEMU_ROOT):
        self.lab, self.node = lab, node
        self.directory = f"/run/qemu-{next(numbers)}"
        self.serial = f"{self.directory}/serial"
        self.address = f"unix:{self.directory}/incoming"
        extra += f" -qmp unix:{self.directory}/qmp,server=on,wait=off" + (f" -incoming {self.address}" if incoming else "")
        command = qemu_command("q35", lab.nodes[node], mac, f"unix:{self.serial},server=on,wait=off", append=words(address),
                               memory=MOVE_MEMORY, extra=extra.replace("{directory}", self.directory), place=place)
        self.process = lab.spawn(f"mkdir {self.directory} && exec {command}")
        self.monitor = None

    def connect(self):
        self.monitor = Monitor(self.lab.unix(f"{self.directory}/qmp", process=self.process))

    def pid(self):
        with self.process.changed:
            self.process.changed.wait_for(lambda: self.process.pid, 30)
        return self.process.pid

    def close(self):
        if self.monitor:
            self.monitor.close()
        self.process.kill()
        self.process.wait(20)


class QemuGuest:
    """The same guest under QEMU's q35 machine. @options are for each of its hosts."""

    def __init__(self, lab, nodes, address, mac=None, **options):
        self.lab, self.nodes, self.address, self.options = lab, nodes, address, options
        self.guest = guest.Guest(lab)
        self.destination = None
        for name in nodes:
            if name in lab.nics:
                lab.reset_nic(name)
        self.mac = mac or device_mac(nodes[0])
        self.host = self.make_host(nodes[0])

    def make_host(self, node, incoming=False):
        return QemuHost(self.lab, node, self.mac, self.address, incoming, **self.options)

    def boot(self):
        try:
            self.guest.attach(self.host.serial, process=self.host.process)
            self.guest.wait_for(guest.READY)
            self.host.connect()
        except BaseException as e:
            e.add_note(f"--- qemu\n{self.host.process.output()}")
            self.close()
            raise
        return self

    def sh(self, command, **options):
        return self.guest.sh(command, **options)

    @property
    def node(self):
        return self.host.node

    def prepare(self):
        self.destination = self.make_host(self.nodes[self.node == self.nodes[0]], incoming=True)
        self.destination.connect()
        # The default of 128 MiB/s is a limit of its own; Ferry has none.
        self.host.monitor.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})

    def source_pid(self):
        return self.host.pid()

    def destination_pid(self):
        return self.destination.pid()

    def move(self):
        self.host.monitor.command("migrate", uri=self.destination.address)
        deadline = time.monotonic() + 90
        while True:
            answer = self.host.monitor.command("query-migrate")
            if answer.get("status") == "completed":
                break
            if answer.get("status") in ("failed", "cancelled"):
                raise CommandFailed(f"QEMU's migration: {answer}\n{self.host.process.output()}\n{self.destination.process.output()}")
            if time.monotonic() > deadline:
                raise LabStuck(f"QEMU's migration did not end: {answer}")
            time.sleep(0.2)
        while self.destination.monitor.command("query-status")["status"] != "running":
            if time.monotonic() > deadline:
                raise LabStuck("QEMU's destination does not run")
            time.sleep(0.1)
        return answer.get("downtime"), []

    def finish(self):
        self.host.close()
        self.host, self.destination = self.destination, None
        self.guest.attach(self.host.serial, process=self.host.process)

    def close(self):
        self.guest.detach()
        for host in (self.host, self.destination):
            if host:
                host.close()
