# SPDX-License-Identifier: GPL-2.0-or-later
"""Ferry in L1, as the tests use it: a VM with its guest, wherever it runs at the moment, and migrations of it."""

import itertools
import re
import shlex

import guest
from lab import CommandFailed, LabStuck

GUEST_ADDRESS = "10.77.0.2"
HELLO, READY, REFUSED, RAM, ZERO, ROUND, SYNC, SYNC_OK, WARM, WARM_OK, STATE, PREPARED, COMMIT, RUNNING = range(1, 15)
numbers = itertools.count()


class Host:
    """One "ferry run" or "ferry receive", with a runtime directory of its own: both ends of a move have the same name."""

    def __init__(self, lab, verb, node, options, address=None):
        self.node = node
        self.directory = f"/run/ferry-{next(numbers)}"
        self.serial = f"{self.directory}/serial"
        self.address = address or f"unix:{self.directory}/incoming"
        if verb == "receive":
            options = f"--from {self.address} {options}"
        net = f"--net vdpa={lab.nodes[node]}" if node else ""
        self.process = lab.spawn(f"mkdir {self.directory} && exec ferry {verb} --name vm --runtime-dir {self.directory} "
                                 f"--serial unix:{self.serial} {net} {options}")

    def pid(self):
        with self.process.changed:
            self.process.changed.wait_for(lambda: self.process.pid, 30)
        return self.process.pid


class Moved:
    """What "ferry migrate" said at its end."""

    def __init__(self, status, output):
        self.status, self.output = status, output
        found = re.search(r"moved; downtime ([0-9.]+) ms", output)
        self.downtime_ms = float(found[1]) if found else None


class Vm:
    def __init__(self, lab, node="vp0", kernel="vmlinux", mem="256M", cpus=2, cmdline="", address=GUEST_ADDRESS, options=""):
        self.lab = lab
        self.guest = guest.Guest(lab)
        self.hosts = []
        words = f"console=ttyS0 quiet iomem=relaxed lab.agent {cmdline} " + (f"lab.address={address}/24" if node and address else "")
        self.host = Host(lab, "run", node, f"--kernel /images/{kernel} --initrd /images/l2.cpio --cmdline {shlex.quote(words)} "
                                           f"--mem {mem} --cpus {cpus} {options}")
        self.hosts.append(self.host)

    def boot(self):
        try:
            self.guest.attach(self.host.serial, process=self.host.process)
            self.guest.wait_for(guest.READY)
        except BaseException as e:
            e.add_note(f"--- ferry\n{self.host.process.output()}")
            self.close()
            raise
        return self

    def sh(self, command, **options):
        try:
            return self.guest.sh(command, **options)
        except LabStuck as e:
            e.add_note("".join(f"--- ferry on {h.node}\n{h.process.output()}" for h in self.hosts))
            raise

    @property
    def node(self):
        return self.host.node

    def other(self):
        """The one of the two equal NICs on which it is not."""
        return "vp1" if self.node == "vp0" else "vp0"

    def receive(self, node, options="", address=None):
        """Starts a destination and returns it when it waits for a source."""
        host = Host(self.lab, "receive", node, options, address)
        self.hosts.append(host)
        kind, rest = host.address.split(":", 1)
        ready = f"[ -S {rest} ]" if kind == "unix" else f"grep -q ':{int(rest.rsplit(':', 1)[1]):04X} .* 0A ' /proc/net/tcp"
        # That somebody listens has no event that a shell could wait for.
        self.lab.run(f"until {ready} || ! [ -d /proc/{host.pid()} ]; do usleep 20000; done")
        if not host.process.running():
            raise CommandFailed(f"ferry receive ended with {host.process.status}\n{host.process.output()}")
        return host

    def send(self, address, options="", timeout=120):
        """Runs "ferry migrate" to its end, whatever that is."""
        process = self.lab.spawn(f"exec ferry migrate vm --runtime-dir {self.host.directory} --to {address} {options}")
        try:
            status = process.wait(timeout)
        except LabStuck:
            raise self.guest.stuck(f"ferry migrate did not end:\n{process.output()}\n--- source\n"
                                   f"{self.host.process.output()}") from None
        return Moved(status, process.output())

    def send_cut(self, host, way, kind, count):
        """A migration to @host through a proxy, which kills it at the count-th frame of a kind to or from it."""
        middle = f"{host.directory}/cut"
        proxy = self.lab.spawn(f"exec cutproxy {middle} {host.address.removeprefix('unix:')} {way} {kind} {count} {host.pid()}")
        self.lab.run(f"until [ -S {middle} ]; do usleep 20000; done")
        moved = self.send(f"unix:{middle}")
        assert proxy.wait(30) == 0 and proxy.output() == "cut\n", f"{proxy.output()}\n{moved.output}"
        host.process.wait(30)
        self.hosts.remove(host)
        return moved

    def follow(self, host):
        """Takes note that the guest has moved: the source has to end by itself, truthfully."""
        source = self.host
        status = source.process.wait(30)
        assert status == 0, f"the source ended with {status}\n{source.process.output()}"
        self.hosts.remove(source)
        self.host = host
        self.guest.attach(host.serial, process=host.process)

    def migrate(self, node=None, options="", address=None):
        """Moves the guest; an error if it does not arrive."""
        host = self.receive(node or self.other(), address=address)
        moved = self.send(host.address, options)
        if moved.status != 0:
            raise CommandFailed(f"ferry migrate ended with {moved.status}\n{moved.output}\n--- source\n"
                                f"{self.host.process.output()}\n--- destination\n{host.process.output()}")
        self.follow(host)
        return moved

    def close(self):
        self.guest.detach()
        for host in self.hosts:
            host.process.kill()
        for host in self.hosts:
            host.process.wait(20)
