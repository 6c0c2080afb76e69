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
DRIVER = "/sys/bus/virtio/drivers/virtio_net"
UNBIND = f"basename $(readlink /sys/class/net/eth0/device) > /tmp/device && cat /tmp/device > {DRIVER}/unbind"
BIND = f"cat /tmp/device > {DRIVER}/bind"
# All of the guest's NICs get helpers/ctrlnic.c as their driver; prints their PCI functions.
CTRLNIC = ("cd /sys/bus/pci/devices && for d in *; do if grep -q 0x1041 $d/device; then "
           "echo $d > /sys/bus/pci/drivers/virtio-pci/unbind; ctrlnic start $d; echo $d; fi; done")


class Host:
    """One "ferry run" or "ferry receive" in @lab.

    In a lab that is alone it has a runtime directory of its own, because both ends of a move have the same name. One of a pair of hosts
    has Ferry's default directory, where "ferry connect" looks for it.
    """

    def __init__(self, lab, verb, node, net, options, on_reset):
        self.lab, self.node = lab, node
        own = f"/run/ferry-{next(numbers)}"
        self.directory = lab.runtime_dir or own
        self.serial = f"{own}/serial"
        # That of "ferry migrate": what comes by ssh needs no door.
        self.address = f"ssh:{lab.name}" if lab.name else f"unix:{own}/incoming"
        if verb == "receive" and not lab.name:
            options = f"--from {self.address} {options}"
        net = f"--net {','.join(filter(None, [lab.net(node), net]))}" if node else ""
        self.process = lab.spawn(self.script(own, f"ferry {verb} --name vm --runtime-dir {self.directory} --serial unix:{self.serial} "
                                                  f"--core ferry --stop-timeout 0 --on-reset {on_reset} {net} {options}"))

    def script(self, own, command):
        """What starts Ferry, which has a folder of its own."""
        return f"mkdir {own} && exec {command}"

    def pid(self):
        with self.process.changed:
            self.process.changed.wait_for(lambda: self.process.pid, 30)
        return self.process.pid


def tls_address(host):
    """Where a destination on @host waits for whoever comes by TLS."""
    return f"tls:{host.name}:7443"


class Moved:
    """What "ferry migrate" said at its end."""

    def __init__(self, status, output):
        self.status, self.output = status, output
        found = re.search(r"moved; downtime ([0-9.]+) ms", output)
        self.downtime_ms = float(found[1]) if found else None


class Vm:
    """@node is a NIC that lab.net() knows, @net what follows it in --net, such as "packed=on", wherever the guest goes. A reset that
    nobody expects ends Ferry, unless @on_reset is "restart"."""

    make_host = Host
    # In front of a client's command.
    client = ""

    def __init__(self, lab, node="vp0", kernel="vmlinux", mem="256M", cpus=2, cmdline="", address=GUEST_ADDRESS, options="", net="",
                 initrd="/images/l2.cpio", on_reset="exit"):
        self.address = address
        self.net = net
        self.cpus = cpus
        self.on_reset = on_reset
        self.guest = guest.Guest(lab)
        self.hosts = []
        words = f"console=ttyS0 quiet iomem=relaxed lab.agent {cmdline} " + (f"lab.address={address}/24" if node and address else "")
        self.host = self.make_host(lab, "run", node, net, f"--kernel /images/{kernel} --initrd {initrd} --cmdline {shlex.quote(words)} "
                                                          f"--mem {mem} --cpus {cpus} {options}", on_reset)
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

    def rebind(self):
        """Resets the NIC as its driver does: unbound and bound again, all is at its default; upper devices go with it."""
        self.sh(UNBIND)
        self.bind()

    def bind(self):
        self.sh(f"{BIND} && ip link set eth0 up && ip addr add {self.address}/24 dev eth0")

    @property
    def lab(self):
        """The host on which it is."""
        return self.host.lab

    @property
    def node(self):
        return self.host.node

    def other(self):
        """The one of two equal NICs on which it is not."""
        return self.node[:-1] + ("1" if self.node.endswith("0") else "0")

    def receive(self, node, options="", net=None, to=None):
        """Starts a destination, on the host @to or else on this one, and returns it when it waits for a source."""
        host = self.make_host(to or self.lab, "receive", node, self.net if net is None else net, options, self.on_reset)
        self.hosts.append(host)
        host.process.wait_for("ready for a source")
        return host

    def start_send(self, address, options=""):
        """Starts "ferry migrate"."""
        return self.lab.spawn(f"exec {self.client} ferry migrate vm --runtime-dir {self.host.directory} --to {address} {options}")

    def send(self, address, options="", timeout=120):
        """Runs "ferry migrate" to its end, whatever that is."""
        process = self.start_send(address, options)
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

    def send_held(self, host, way, kind, count, action):
        """A migration that stands still before the count-th frame of a kind to or from @host until @action has been done."""
        middle = f"{host.directory}/held"
        proxy = self.lab.spawn(f"exec cutproxy {middle} {host.address.removeprefix('unix:')} {way} {kind} {count} hold")
        self.lab.run(f"until [ -S {middle} ]; do usleep 20000; done")
        process = self.start_send(f"unix:{middle}")
        proxy.wait_for("held")
        action()
        proxy.stdin(b"")
        return Moved(process.wait(120), process.output())

    def waits_on(self, host):
        """A destination that could not have the guest waits for another source, until it is told to end."""
        host.process.wait_for("a source is still waited for")
        host.lab.run(f"kill {host.pid()}")
        assert host.process.wait(30) == 128 + 15, host.process.output()
        self.hosts.remove(host)

    def follow(self, host):
        """Takes note that the guest has moved: the source has to end by itself, truthfully."""
        source = self.host
        status = source.process.wait(30)
        assert status == 0, f"the source ended with {status}\n{source.process.output()}"
        self.hosts.remove(source)
        self.host = host
        self.guest.attach(host.serial, process=host.process)

    def migrate(self, node=None, options="", to=None, tls=None):
        """Moves the guest, to the host @to or else within this one; an error if it does not arrive.

        With @tls it goes by TLS, with the keys in this folder.
        """
        listen = ""
        if tls:
            options += f" --tls {tls}"
            listen = f"--from {tls_address(to)} --tls {tls}"
        host = self.receive(node or (self.node if to else self.other()), listen, to=to)
        moved = self.send(tls_address(to) if tls else host.address, options)
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
