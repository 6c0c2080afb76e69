# SPDX-License-Identifier: GPL-2.0-or-later
"""The nested lab: an L1 host under QEMU's TCG with KVM and real vhost-vdpa nodes, and a channel to run commands in it."""

import itertools
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import netns
import qmp

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("FERRY_BUILD", REPO / "build"))
FRAME = struct.Struct("<B3xI")
STDIN, STDOUT, STDERR, EXIT, SIGNAL, PID = range(6)
# How much longer than its author thought a wait may be on another machine: what it ends with is a lab that stands still, not a slow one.
PATIENCE = 3
instances = itertools.count()


class LabStuck(Exception):
    """The lab, not the program under test, is the likely cause: something that must always answer did not."""


class CommandFailed(Exception):
    """A command in L1 or in the guest ended with another exit code than the test expects."""


class Nic:
    """An emulated virtio-net-pci function of L1, as it is plugged; features override QEMU's property values."""

    def __init__(self, name, pairs=4, mac=None, **features):
        self.name = name
        self.pairs = pairs
        self.mac = mac
        self.features = {"ctrl_vq": "on", "ctrl_rx": "on", "ctrl_rx_extra": "on", "ctrl_vlan": "on", "ctrl_mac_addr": "on",
                         "ctrl_guest_offloads": "on", "guest_announce": "on", "rss": "on", "hash": "on", "host_mtu": "1500"}
        if pairs == 1:
            del self.features["rss"]
        self.features.update(features)


# vp0 and vp1 are alike; vp2 has fewer queues and vp3 no VLAN filter, for the tests of refusals.
NICS = (Nic("vp0"), Nic("vp1"), Nic("vp2", pairs=2), Nic("vp3", ctrl_vlan="off"))
SIMS = ("sim0", "sim1")
# PCI addresses in L1 of its management NIC, of the one that joins its bridge to L0's, and of the one to the other host of a pair.
MANAGEMENT, UPLINK, CABLE = "1e.0", "1d.0", "1c.0"
# The last byte of their MAC addresses.
MANAGEMENT_MAC, UPLINK_MAC, CABLE_MAC = "fe", "fd", "fc"
# Gives a virtio NIC of L1 by its PCI address to the driver, and prints its interface.
DRIVE = """drive() {
	device=$(ls /sys/bus/pci/devices/0000:00:$1 | grep '^virtio[0-9]')
	echo $device > /sys/bus/virtio/drivers/virtio_net/bind
	ls /sys/bus/virtio/devices/$device/net
}"""
# NICs in software are ports of a bridge in L1 which is one network with L0's: what a test sends there comes to both kinds.
BRIDGE = f"""modprobe bridge
modprobe tun
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
port=$(drive {UPLINK})
ip link add br0 type bridge mcast_snooping 0 stp_state 0 forward_delay 0
ip link set $port master br0 up
ip link set br0 up"""


def made_by(*command):
    """The folder in the cache that one of the scripts beside this file has made."""
    command = [HERE / command[0], *command[1:]]
    return pathlib.Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def l0_qemu():
    """The beginning of a command that runs L1.

    Of Debian's unstable: up to Debian 13's 10.0 VMRUN also changes a CPU's pending interrupts beside the lock under which other threads do,
    so that one can be lost. What is wrong there still is mended by vmrun.c.
    """
    root = made_by("qemu", "sid")
    return [root / "lib64/ld-linux-x86-64.so.2", "--preload", root / "vmrun.so", "--library-path", root / "usr/lib/x86_64-linux-gnu",
            root / "usr/bin/qemu-system-x86_64", "-L", root / "usr/share/qemu", "-L", root / "usr/share/seabios"]


class Process:
    """A command that runs in L1; its output is collected as it comes."""

    def __init__(self, lab, script):
        self.lab, self.script = lab, script
        self.out, self.err = bytearray(), bytearray()
        self.pid = self.status = None
        self.changed = threading.Condition()
        self.socket = lab.connect()
        data = script.encode()
        self.socket.sendall(b"exec %d\n" % len(data) + data)
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def _read(self, n):
        data = bytearray()
        while len(data) < n:
            part = self.socket.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _receive(self):
        try:
            while self.status is None:
                kind, length = FRAME.unpack(self._read(FRAME.size))
                data = self._read(length)
                with self.changed:
                    if kind == STDOUT:
                        self.out += data
                    elif kind == STDERR:
                        self.err += data
                    elif kind == PID:
                        self.pid, = struct.unpack("<I", data)
                    elif kind == EXIT:
                        self.status, = struct.unpack("<I", data)
                    self.changed.notify_all()
        except (EOFError, OSError):
            with self.changed:
                if self.status is None:
                    self.status = -1
                self.changed.notify_all()
        self.socket.close()

    def _frame(self, kind, data=b""):
        self.socket.sendall(FRAME.pack(kind, len(data)) + data)

    def stdin(self, data):
        try:
            for i in range(0, len(data), 32768):
                self._frame(STDIN, data[i:i + 32768])
            self._frame(STDIN)
        except OSError:
            with self.changed:
                if self.status is None:
                    raise
            # One that has ended already does without.

    def type(self, text):
        """Writes to its standard input, which stays open."""
        self._frame(STDIN, text.encode())

    def output(self):
        """What it has written so far, standard output first."""
        with self.changed:
            return (self.out + self.err).decode(errors="replace")

    def wait(self, timeout=60):
        """Its exit status; LabStuck if it does not end in time."""
        with self.changed:
            if not self.lab.until(self.changed, lambda: self.status is not None, timeout):
                raise LabStuck(f"still running after {timeout} s: {self.script}\n{(self.out + self.err).decode(errors='replace')}")
            return self.status

    def wait_for(self, text, timeout=60):
        """Waits until it has written the text; an error if it ends before, LabStuck after the time."""
        with self.changed:
            def seen():
                return text in (self.out + self.err).decode(errors="replace")
            if not self.lab.until(self.changed, lambda: seen() or self.status is not None, timeout):
                raise LabStuck(f"no {text!r} after {timeout} s: {self.script}\n{(self.out + self.err).decode(errors='replace')}")
            if not seen():
                raise CommandFailed(f"{self.script}: ended with {self.status} before {text!r}\n"
                                    f"{(self.out + self.err).decode(errors='replace')}")

    def running(self):
        return self.status is None

    def kill(self, number=signal.SIGKILL):
        """Signals its whole process group."""
        if self.status is None:
            try:
                self._frame(SIGNAL, struct.pack("<I", number))
            except OSError:
                pass

    def stop(self, timeout=20):
        self.kill(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except LabStuck:
            self.kill()
            return self.wait(timeout)


def network():
    """A namespace with the bridge that the hosts' NICs are on."""
    namespace = netns.Namespace(f"ferry-{os.getpid()}-{next(instances)}")
    namespace.bridge("br0", Lab.bridge_address + "/24")
    return namespace


class Lab:
    """One L1 host with its NICs on a bridge in a namespace. Use as a context manager or call close().

    One of a pair (hosts.py) has a namespace that is the pair's, and a NIC on its bridge @cable. With a @system, a disk that "debian"
    has made, systemd is the first process. @disks come after it: the first is vda where there is no @system. What is written to any of
    these is lost with the host.
    """

    bridge_address = "10.77.0.1"
    l1_address = "10.78.0.2"

    def __init__(self, nics=NICS, sims=SIMS, memory="7G", memlock="unlimited", shares=None, log=None, number=0, namespace=None,
                 cable=None, system=None, disks=()):
        self.nics = {nic.name: nic for nic in nics}
        self.number, self.cable = number, cable
        self.system, self.disks = system, ([system] if system else []) + list(disks)
        self.l1_address = f"10.78.{number}.2"
        # What other hosts know it as, with the folder where "ferry connect" looks for its VMs.
        self.name = self.runtime_dir = None
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ferry-lab-"))
        self.images = made_by("images")
        self.share = self.directory / "share"
        self.share.mkdir()
        self.log = pathlib.Path(log) if log else self.directory / "l1.log"
        self.nodes = {}
        self.processes = []
        self.namespace, self.own_namespace = namespace, not namespace
        self.qemu = self.qmp = None
        started = time.monotonic()
        try:
            self._network(nics)
            self._start(nics, memory, memlock, {"share": self.share, "build": BUILD, **(shares or {})})
            self._devices(sims)
        except BaseException:
            self.close()
            raise
        self.boot_seconds = time.monotonic() - started

    def _network(self, nics):
        if self.own_namespace:
            self.namespace = network()
        for i, nic in enumerate(nics):
            self.namespace.tap(self.tap(i), bridge="br0", multi_queue=nic.pairs > 1)
        self.namespace.tap(self.tap("u"), bridge="br0")
        self.namespace.tap(self.tap("m"), address=f"10.78.{self.number}.1/24")
        if self.cable:
            self.namespace.tap(self.tap("c"), bridge=self.cable)

    def tap(self, of):
        """The interface in the namespace of a NIC: its number, or m, u or c for management, uplink and cable."""
        return f"h{self.number}t{of}"

    def _link(self, of, address, mac):
        return ["-netdev", f"tap,id={of},ifname={self.tap(of)},script=no,downscript=no,vhost=off", "-device",
                f"virtio-net-pci,netdev={of},bus=pcie.0,addr={address},romfile=,disable-legacy=on,mac=52:54:00:77:{self.number:02x}:{mac}"]

    def _start(self, nics, memory, memlock, shares):
        append = ("console=ttyS0 quiet panic=-1 intel_iommu=on iommu=pt nokaslr mitigations=off tsc=reliable no_timer_check "
                  f"lab.net=0000:00:{MANAGEMENT} lab.address={self.l1_address}/24 lab.memlock={memlock} lab.shares={','.join(shares)}")
        if self.system:
            append += " lab.root=/dev/vda net.ifnames=0"
        command = l0_qemu() + [
                   "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,+svm,+npt", "-smp", "2", "-m", memory, "-M", "q35",
                   "-device", "intel-iommu,intremap=on,device-iotlb=on,snoop-control=on,caching-mode=off",
                   "-kernel", self.images / "vmlinuz", "-initrd", self.images / "l1.cpio", "-append", append,
                   "-serial", "stdio", "-qmp", f"unix:{self.directory}/qmp.sock,server=on,wait=off",
                   "-qmp", f"unix:{self.directory}/qmp-shell.sock,server=on,wait=off",
                   *self._link("m", MANAGEMENT, MANAGEMENT_MAC), *self._link("u", UPLINK, UPLINK_MAC)]
        if self.cable:
            command += self._link("c", CABLE, CABLE_MAC)
        for i, disk in enumerate(self.disks):
            command += ["-drive", f"id=disk{i},if=none,format=raw,snapshot=on,file={disk}",
                        "-device", f"virtio-blk-pci,drive=disk{i},bus=pcie.0,addr={8 + i},disable-legacy=on"]
        for name, path in shares.items():
            command += ["-virtfs", f"local,path={path},mount_tag={name},security_model=none,multidevs=remap"]
        for i, nic in enumerate(nics):
            queues = f",queues={nic.pairs}" if nic.pairs > 1 else ""
            extra = "".join(f",{k}={v}" for k, v in nic.features.items())
            mq = f",mq=on,vectors={2 * nic.pairs + 2}" if nic.pairs > 1 else ""
            command += ["-netdev", f"tap,id=n{i},ifname={self.tap(i)},script=no,downscript=no,vhost=off{queues}",
                        "-device", f"virtio-net-pci,id={nic.name},netdev=n{i},bus=pcie.0,addr={0x10 + i:#x},disable-legacy=on,"
                                   f"iommu_platform=on,romfile=,mac={nic.mac or f'52:54:00:77:{0x11 + self.number:02x}:{0x11 + i:02x}'}{mq}{extra}"]
        self.ready, self.is_ready = threading.Condition(), False
        self.qemu = self.namespace.popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT)
        self.console = threading.Thread(target=self._console, daemon=True)
        self.console.start()
        with self.ready:
            up = self.until(self.ready, lambda: self.is_ready or self.qemu.poll() is not None, 120)
        if not up or self.qemu.poll() is not None:
            raise LabStuck("L1 did not come up:\n" + self.console_text()[-3000:])
        self.qmp = qmp.Qmp(f"{self.directory}/qmp.sock")

    def _console(self):
        with open(self.log, "wb") as log:
            for line in self.qemu.stdout:
                log.write(line)
                log.flush()
                if b"lab: agent ready" in line:
                    with self.ready:
                        self.is_ready = True
                        self.ready.notify_all()

    def _devices(self, sims):
        # A program of its own: a build meanwhile does not change what is being tested.
        script = ["set -e", "cp /build/ferry /bin/ferry", "! [ -e /build/ferry-tls ] || cp /build/ferry-tls /bin/ferry-tls",
                  "echo /share/core.%e.%p > /proc/sys/kernel/core_pattern", DRIVE, BRIDGE]
        for i, nic in enumerate(self.nics.values()):
            script.append(f"echo {nic.name} $(vpvdpa 0000:00:{0x10 + i:02x}.0 {nic.name} | sed -n 's/^node //p')")
        for i, sim in enumerate(sims):
            script.append(f"vdpa dev add name {sim} mgmtdev vdpasim_net mac 52:54:77:77:{0x22 + self.number:02x}:{0x11 + i:02x} >&2")
            script.append(f"echo {sim} /dev/$(ls /sys/bus/vdpa/devices/{sim} | grep vhost-vdpa)")
        for line in self.run("\n".join(script)).splitlines():
            name, node = line.split()
            self.nodes[name] = node

    def clock(self):
        """Seconds that the emulator had: those for which one of its threads waited for a processor of a busy machine do not count.

        For one that has gone, which a machine without memory may have ended, they are over.
        """
        if self.qemu.poll() is not None:
            return float("inf")
        held = 0
        for path in pathlib.Path(f"/proc/{self.qemu.pid}/task").glob("*/schedstat"):
            try:
                held = max(held, int(path.read_text().split()[1]))
            except (OSError, IndexError):
                pass  # a thread that has just ended, or a kernel that does not count
        return time.monotonic() - held / 1e9

    def until(self, condition, seen, seconds):
        """Waits with @condition, which is held, until seen(); false where that has not come in so many seconds of the emulator's."""
        end = self.clock() + PATIENCE * seconds
        while not condition.wait_for(seen, 1):
            if self.clock() > end:
                return seen()
        return True

    def ended(self, process, seconds=60):
        """What a program on this machine that talks to the lab has written, at its end."""
        end = self.clock() + PATIENCE * seconds
        while True:
            try:
                return process.communicate(timeout=1)[0]
            except subprocess.TimeoutExpired:
                if self.clock() > end:
                    raise LabStuck(f"still running: {process.args}") from None

    def connect(self):
        end = self.clock() + PATIENCE * 30
        while True:
            try:
                s = self.namespace.call(lambda: socket.create_connection((self.l1_address, 7000), timeout=30))
                break
            except OSError as e:
                if self.clock() > end:
                    raise LabStuck(f"L1 does not answer: {e}") from None
        s.settimeout(None)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def spawn(self, script):
        """Starts a shell script in L1."""
        process = Process(self, script)
        self.processes.append(process)
        return process

    def run(self, script, timeout=60, expect=0, stdin=None):
        """Runs a shell script in L1 and returns its output; its exit status must be as expected (None: any)."""
        process = Process(self, script)
        process.stdin(stdin or b"")
        status = process.wait(timeout)
        if expect is not None and status != expect:
            raise CommandFailed(f"{script}: exit status {status}\n{process.output()}")
        return process.output()

    def unix(self, path, timeout=30, process=None):
        """A connection to a Unix socket in L1; waits until something listens there, or the process that should has ended."""
        end = self.clock() + PATIENCE * timeout
        while True:
            s = self.connect()
            s.sendall(b"unix " + path.encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                part = s.recv(1)
                if not part:
                    break
                answer += part
            if answer == b"ok\n":
                return s
            s.close()
            if process and not process.running():
                raise CommandFailed(f"{process.script}: ended with {process.status} before it listened on {path}\n{process.output()}")
            if self.clock() > end:
                raise LabStuck(f"nothing listens on {path} in L1: {answer.decode().strip()}")
            # There is no event for a socket of another program that is not there yet.
            time.sleep(0.05)

    def forget_neighbours(self):
        """L0 would for some time go on to send to the MAC address that an earlier guest, or the same one earlier, had."""
        self.namespace.sh("ip neigh flush dev br0")

    def forget_ports(self):
        """The bridges on the way to NICs send everything to all of them, until they learn again who is where."""
        self.namespace.sh("ip link set br0 type bridge fdb_flush")
        self.run("ip link set br0 type bridge fdb_flush")

    def rx_filter(self, nic):
        """What the emulated NIC really filters, from QEMU's own view, in a form that can be compared."""
        state, = self.qmp.command("query-rx-filter", name=nic)
        state.pop("name")
        for key in ("unicast-table", "multicast-table"):
            state[key] = sorted(state.get(key, []))
        state["vlan-table"] = netns.ranges(state.get("vlan-table", []))
        return state

    def net(self, node):
        """The value of --net for a NIC of L1: a vDPA device by its name, or "softN": one in software."""
        return f"soft,tap={node},bridge=br0,queues=4" if node.startswith("soft") else f"vdpa={self.nodes[node]}"

    def reset_nic(self, name):
        """Makes the vDPA device of a NIC anew."""
        index = list(self.nics).index(name)
        self.nodes[name] = self.run(f"vpvdpa 0000:00:{0x10 + index:02x}.0 {name} | sed -n 's/^node //p'").strip()

    def vduse(self, name, mac="52:54:77:77:33:11", options=""):
        """Makes a vDPA device of a program in L1 that echoes; vduse_end() once nobody uses it."""
        process = self.spawn(f"modprobe vduse && exec vdusenic {name} {mac} {options}")
        process.wait_for("ready\n", 30)
        self.nodes[name] = self.run(f"vdpa dev add name {name} mgmtdev vduse && "
                                    f"echo /dev/$(ls /sys/bus/vdpa/devices/{name} | grep vhost-vdpa)").strip()
        return process

    def vduse_end(self, name, process):
        """Returns what it says of the frames that it has brought back and lost."""
        del self.nodes[name]
        self.run(f"vdpa dev del {name}")
        if process.stop() != 0:
            raise CommandFailed(f"{process.script}: ended with {process.status}\n{process.output()}")
        return process.output()

    def console_text(self):
        return self.log.read_text(errors="replace")

    def crashed(self):
        """Whether L1's own kernel found itself broken: it is Debian's, and TCG the likely reason."""
        return any(words in self.console_text() for words in ("Oops", "BUG:", "Kernel panic", "general protection fault"))

    def keep_cores(self, directory):
        """Moves core files of programs that crashed in L1 into a folder and returns their names."""
        cores = [shutil.move(path, directory / path.name) for path in self.share.glob("core.*")]
        return "\n".join(map(str, cores))

    def close(self):
        for process in self.processes:
            process.kill()
        if self.qmp:
            try:
                self.qmp.command("quit")
            except (qmp.QmpError, OSError, ValueError):
                pass
            self.qmp.close()
        if self.qemu:
            try:
                self.qemu.wait(10)
            except subprocess.TimeoutExpired:
                self.qemu.kill()
                self.qemu.wait()
            self.console.join()
        if self.namespace and self.own_namespace:
            self.namespace.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
