# SPDX-License-Identifier: GPL-2.0-or-later
"""Two L1 hosts, each with a kernel of its own, joined by a network over which their guests migrate, and ssh on it."""

import concurrent.futures
import contextlib
import os
import subprocess
import tempfile
import time

import lab

NAMES, ADDRESSES = ("hosta", "hostb"), ("10.79.0.1", "10.79.0.2")
NICS = (lab.Nic("vp0"), lab.Nic("vp1"))
HOST_KEY, USER_KEY = "/etc/ssh/ssh_host_ed25519_key", "/root/.ssh/id_ed25519"
# In L1, the interface to the other host; keys are made by each host for itself, and only public ones leave it.
CABLE = f"""
ip link set $(drive {lab.CABLE}) name cable
ip addr add {{address}}/24 dev cable
ip link set cable up
for key in {HOST_KEY} {USER_KEY}; do
	mkdir -p -m 700 ${{{{key%/*}}}}
	ssh-keygen -q -t ed25519 -N '' -C {{name}} -f $key
done"""
KEYS = f"cut -d ' ' -f 1,2 {HOST_KEY}.pub {USER_KEY}.pub"


TLS = "/run/tls"
# The kernel loads the module when it is first asked for.
TLS_MODULE = {"kernel": "echo /sbin/modprobe > /proc/sys/kernel/modprobe",
              "helper": "echo /bin/true > /proc/sys/kernel/modprobe; ! [ -e /sys/module/tls ] || rmmod tls"}
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc"
# The manual's commands, with which an operator makes a CA for two hosts.
CERTIFY = "set -e; mkdir hosta hostb\n" \
    f"openssl req -x509 {KEY} -days 3650 -subj '/CN=Ferry CA' -addext basicConstraints=critical,CA:TRUE,pathlen:0 " \
    "-keyout ca.key -out ca.pem\n" \
    f"for host in hosta hostb; do openssl req -x509 -CA ca.pem -CAkey ca.key {KEY} -days 365 -subj /CN=$host " \
    "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:$host -keyout $host/key.pem -out $host/cert.pem; done\n" \
    "tee hosta/ca.pem < ca.pem > hostb/ca.pem"
# A folder $directory with a certificate of the CA $ca for $name, which with $days of -1 has ended.
SIGN = f"set -e; mkdir -p $directory; printf 'basicConstraints=critical,CA:FALSE\\nsubjectAltName=DNS:'$name > extensions\n" \
    f"[ -e $ca.key ] || openssl req -x509 {KEY} -days 3650 -subj '/CN=Other CA' -addext basicConstraints=critical,CA:TRUE " \
    "-keyout $ca.key -out $ca.pem\n" \
    f"openssl req {KEY} -subj /CN=$name -keyout $directory/key.pem -out request; cp ca.pem $directory\n" \
    "openssl x509 -req -in request -CA $ca.pem -CAkey $ca.key -CAcreateserial -days $days -extfile extensions -out $directory/cert.pem"


class Pair:
    """Two hosts, @a and @b, which know each other as hosta and hostb. Use as a context manager or call close()."""

    bridge = "br1"
    # Enough for a guest and for the file system in memory; QEMU adds up to a GiB of translated code.
    memory = "1536M"

    def __init__(self, logs=(None, None), **options):
        self.hosts = []
        self.options = options
        self.certificates = None
        self.namespace = lab.network()
        try:
            self.namespace.bridge(self.bridge)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                booting = [pool.submit(self._boot, n, log) for n, log in enumerate(logs)]
            self.hosts = [host.result() for host in booting if not host.exception()]
            # What went wrong with one of them is raised here, with the other in the list.
            self.a, self.b = (host.result() for host in booting)
            self._acquaint(self.hosts)
        except BaseException:
            self.close()
            raise
        self.boot_seconds = max(host.boot_seconds for host in self.hosts)

    def _boot(self, n, log):
        return lab.Lab(NICS, (), self.memory, log=log, number=n, namespace=self.namespace, cable=self.bridge, **self.options)

    def _acquaint(self, new):
        """Each host gets the other's keys, and those that are @new its name, and a server that lets its root in."""
        for host, name, address in zip(self.hosts, NAMES, ADDRESSES):
            if host in new:
                host.name, host.runtime_dir = name, "/run/ferry"
                host.run(lab.DRIVE + CABLE.format(address=address, name=name))
        keys = [host.run(KEYS).splitlines() for host in self.hosts]
        names = "".join(f"{address} {name}\n" for name, address in zip(NAMES, ADDRESSES))
        known = "".join(f"{name} {host_key}\n" for name, (host_key, _) in zip(NAMES, keys))
        for host, (_, user_key) in zip(self.hosts, reversed(keys)):
            host.run(f"printf %s '{names}' > /etc/hosts; printf %s '{known}' > /root/.ssh/known_hosts; "
                     f"echo '{user_key}' > /root/.ssh/authorized_keys")
        for host in new:
            host.run("/bin/sshd -E /tmp/sshd.log")

    def replace(self, host):
        """Boots a host in the place of one that has ended, and returns it: it has nothing of what that one had."""
        n = self.hosts.index(host)
        host.close()
        self.namespace.sh(f"for tap in $(ls /sys/class/net | grep ^h{n}t); do ip link del $tap; done")
        self.hosts[n] = self._boot(n, None)
        self.a, self.b = self.hosts
        self._acquaint([self.hosts[n]])
        return self.hosts[n]

    def certify(self):
        """The folder in each host with its key and certificate, and that of the CA of both, for --tls."""
        if not self.certificates:
            self.certificates = tempfile.TemporaryDirectory()
            self._openssl(CERTIFY)
            self.set_clocks()
            for host in self.hosts:
                self._give(host, host.name, TLS)
        return TLS

    def stranger(self, host, directory, name, days=365, ca="ca"):
        """Another folder in the host like certify()'s, with a certificate of this name, which this CA has signed for so many days."""
        self.certify()
        self._openssl(SIGN, directory=directory, name=name, days=str(days), ca=ca)
        self.set_clocks()
        self._give(host, directory, f"{TLS}-{directory}")
        return f"{TLS}-{directory}"

    def _openssl(self, script, **variables):
        subprocess.run(["sh", "-c", script], cwd=self.certificates.name, env={**os.environ, **variables}, check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _give(self, host, name, folder):
        files = subprocess.run(["tar", "-cC", f"{self.certificates.name}/{name}", "."], check=True, stdout=subprocess.PIPE).stdout
        host.run(f"rm -rf {folder} && mkdir -m 700 {folder} && tar -xC {folder}", stdin=files)

    def set_clocks(self, host=None, seconds=0):
        """Sets the clocks as on this machine, but that of @host so many seconds from it."""
        for each in self.hosts:
            # A host's clock can be seconds behind, and a certificate is not valid before it was made.
            each.run(f"date -s @{int(time.time()) + 1 + (seconds if each is host else 0)}")

    def encrypt_by(self, who):
        """Whether the kernel encrypts what goes by TLS, or "helper": ferry-tls does."""
        for host in self.hosts:
            host.run(TLS_MODULE[who])

    def other(self, host):
        return self.b if host is self.a else self.a

    @contextlib.contextmanager
    def alone(self, host):
        """Guests move within the host, over Unix sockets, as in a lab that is one of no pair."""
        name, host.name = host.name, None
        directory, host.runtime_dir = host.runtime_dir, None
        try:
            yield
        finally:
            host.name, host.runtime_dir = name, directory

    def cut(self):
        """Cuts the cable: neither host can know."""
        self.namespace.sh(f"ip link set {self.a.tap('c')} down")

    def mend(self):
        self.namespace.sh(f"ip link set {self.a.tap('c')} up")

    def sent(self):
        """The bytes that have come from both hosts into the cable since it was there."""
        return sum(int(self.namespace.sh(f"cat /sys/class/net/{host.tap('c')}/statistics/rx_bytes")) for host in self.hosts)

    @contextlib.contextmanager
    def netem(self, rules):
        """The cable with a fault of the network emulator's, such as "delay 10ms loss 1%", in either direction."""
        try:
            for host in self.hosts:
                host.run(f"tc qdisc replace dev cable root netem {rules}")
            yield
        finally:
            for host in self.hosts:
                host.run("tc qdisc del dev cable root", expect=None)

    def close(self):
        for host in self.hosts:
            host.close()
        if self.certificates:
            self.certificates.cleanup()
        self.namespace.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
