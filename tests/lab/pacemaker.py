# SPDX-License-Identifier: GPL-2.0-or-later
"""Two L1 hosts as a cluster of Debian's corosync and Pacemaker, whose power the test has, and guests that are its resources."""

import re
import signal
import socket
import threading
import time

import guest
import hosts
import lab

AGENT = lab.REPO / "vmm/host/ocf/guest"
MANUAL = lab.REPO / "vmm/ferry.1"
# What the cluster itself needs of a host: hacluster's programs, their folders, and a file system for shared memory.
HOST = """set -e
hostname {name}
mkdir -p /dev/shm /etc/corosync /etc/ferry /var/log/pacemaker /var/lib/corosync /var/lib/pacemaker /run/crm
mount -t tmpfs shm /dev/shm
[ -e /var/run ] || ln -s /run /var/run
cp -a /cluster/. /
echo hacluster:x:189:189::/var/lib/pacemaker:/bin/false >> /etc/passwd
printf 'root:x:0:\\nhaclient:x:189:\\n' >> /etc/group
mkdir -p /var/lib/pacemaker/cib /var/lib/pacemaker/pengine /var/lib/pacemaker/blackbox /var/lib/pacemaker/cores
chown -R hacluster:haclient /var/lib/pacemaker /var/log/pacemaker /run/crm
mkdir -p /usr/lib/ocf/resource.d/ferry
"""
# An emulated host can be silent for seconds, and is there all the same.
COROSYNC = """totem {{
	version: 2
	cluster_name: lab
	token: 10000
	crypto_cipher: none
	crypto_hash: none
}}
nodelist {{
{nodes}}}
quorum {{
	provider: corosync_votequorum
	two_node: 1
}}
logging {{
	to_logfile: yes
	to_syslog: no
	logfile: /var/log/corosync.log
	timestamp: on
}}
"""
NODE = "\tnode {{\n\t\tname: {name}\n\t\tnodeid: {number}\n\t\tring0_addr: {address}\n\t}}\n"
QUORUM = "until corosync-quorumtool > /dev/null 2>&1; do usleep 100000; done"
PACEMAKER = "ulimit -c 0; exec pacemakerd >> /var/log/pacemakerd.log 2>&1"
# Where this machine listens on the cable for who is to lose its power.
POWER = ("10.79.0.9", 7999)
FENCING = f"""set -e
cibadmin --create --scope resources --xml-text '<primitive id="power" class="stonith" type="fence_lab">
<instance_attributes id="power-parameters">
<nvpair id="power-power" name="power" value="{POWER[0]}:{POWER[1]}"/>
<nvpair id="power-hosts" name="pcmk_host_list" value="{' '.join(hosts.NAMES)}"/>
</instance_attributes></primitive>'
crm_attribute --type crm_config --name stonith-action --update off
crm_attribute --type crm_config --name stonith-timeout --update 120s"""


def manual():
    """The commands in the manual that make a guest a resource, and that take a node out of service and back, in this order."""
    section = re.search(r"^\.SS A guest in Pacemaker.*?^\.EX\n(.*?)^\.EE", MANUAL.read_text(), re.DOTALL | re.MULTILINE).group(1)
    text = section.replace("\\-", "-").replace("\\e", "\\")
    resource, at, rest = text.partition("</primitive>'\n")
    away, back = [line for line in rest.splitlines() if line.startswith("crm_standby")]
    return resource + at, away, back


class Power(threading.Thread):
    """Ends the emulator of each host whose name comes, and answers once it has ended."""

    def __init__(self, pair):
        super().__init__(daemon=True)
        self.pair = pair
        self.ended = []
        pair.namespace.sh(f"ip addr replace {POWER[0]}/24 dev {pair.bridge}")
        self.socket = pair.namespace.call(lambda: socket.create_server(POWER))
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rw") as file:
                name = file.readline().strip()
                host = dict(zip(hosts.NAMES, self.pair.hosts)).get(name)
                if host:
                    host.qemu.kill()
                    host.qemu.wait()
                    self.ended.append(name)
                    file.write("off\n")
                    file.flush()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.join()


class Cluster(hosts.Pair):
    """A pair with a cluster on it. What fences a host is this process."""

    memory = "2G"

    def __init__(self, **options):
        self.power = self.hung = None
        self.guests = []
        super().__init__(shares={"cluster": lab.made_by("cluster")}, **options)
        try:
            self.power = Power(self)
            began = time.monotonic()
            for host in self.hosts:
                self.prepare(host)
            for host in self.hosts:
                host.run("corosync")
            for host in self.hosts:
                host.run(QUORUM)
            self.daemons = {host: host.spawn(PACEMAKER) for host in self.hosts}
            self.online(self.hosts)
            self.a.run(FENCING, timeout=120)
            self.settle()
            print(f"cluster up in {time.monotonic() - began:.0f} s")
        except BaseException as e:
            self.explain(e)
            self.close()
            raise

    def prepare(self, host):
        nodes = "".join(NODE.format(name=name, number=n, address=address)
                        for n, (name, address) in enumerate(zip(hosts.NAMES, hosts.ADDRESSES), 1))
        host.run(HOST.format(name=host.name), timeout=120)
        for path, data in (("/etc/corosync/corosync.conf", COROSYNC.format(nodes=nodes)),
                           ("/usr/lib/ocf/resource.d/ferry/guest", AGENT.read_bytes()),
                           ("/bin/fence_lab", (lab.HERE / "fence_lab").read_bytes())):
            host.run(f"cat > {path} && chmod 755 {path}", stdin=data if isinstance(data, bytes) else data.encode())

    def online(self, members):
        """Waits until these are members of the cluster, as the first of them sees it."""
        look = "crm_mon -1 --output-as xml --include none,nodes 2> /dev/null | grep -c 'online=\"true\".*pending=\"false\"'"
        members[0].run(f"until [ $({look}) = {len(members)} ]; do sleep 1; done", timeout=240)

    def settle(self, host=None, seconds=240):
        """Waits until the cluster, as the host sees it, has nothing left to do."""
        (host or self.living()).run(f"crm_resource --wait --timeout {seconds}s", timeout=seconds + 30)

    def where(self, name):
        """The one host on which the guest runs; an error if there is another, or none."""
        at = [host for host in self.hosts if host is not self.hung and
              re.search(rf"^{name} +(running|migrating) ", host.run("ferry list"), re.MULTILINE)]
        assert len(at) == 1, f"{name} runs on {[host.name for host in at]}"
        return at[0]

    def leave(self, host):
        """Ends Pacemaker on the host, as its administrator does before maintenance; its exit status."""
        self.daemons[host].kill(signal.SIGTERM)
        return self.daemons[host].wait(300)

    def join(self, host):
        self.daemons[host] = host.spawn(PACEMAKER)
        self.online([self.other(host), host])
        self.settle(self.other(host))

    def hang(self, host):
        """The host does nothing any more, and nobody can tell whether it has ended."""
        self.hung = host
        host.qmp.command("stop")

    def come_back(self):
        """The host that was fenced boots, and becomes a member again; returns it."""
        del self.daemons[self.hung]
        host = self.replace(self.hung)
        self.hung = None
        self.prepare(host)
        for guest in self.guests:
            guest.configure(host)
        host.run("corosync")
        host.run(QUORUM)
        self.join(host)
        return host

    def living(self):
        return self.b if self.hung is self.a else self.a

    def explain(self, error):
        for host in self.hosts:
            if host.qemu and host.qemu.poll() is None and host is not self.hung:
                try:
                    error.add_note(f"--- {host.name}\n" + host.run(
                        "crm_mon -1 -r -f -n 2>&1; ferry list; tail -n 200 /var/log/pacemaker/pacemaker.log /var/log/ferry*; "
                        "tail -n 40 /var/log/corosync.log /var/log/pacemakerd.log", expect=None))
                except Exception as e:  # the first error counts
                    error.add_note(f"--- {host.name}: {e}")

    def close(self):
        if self.power:
            self.power.close()
        super().close()


class Guest:
    """A guest that the cluster starts and moves. As much of a ferry.Vm as checks.py needs."""

    def __init__(self, cluster, name, net, address):
        self.cluster, self.name, self.address = cluster, name, address
        self.guest, self.at, self.net = guest.Guest(cluster.a), None, net
        for host in cluster.hosts:
            self.configure(host)

    def configure(self, host):
        host.run(f"cat > {self.config}", stdin=self.options(host).encode())

    @property
    def config(self):
        return f"/etc/ferry/{self.name}.conf"

    def options(self, host):
        return "\n".join(("kernel /images/vmlinuz", "initrd /images/l2.cpio", "mem 128M", "cpus 1", f"net {self.net(host)}",
                          f"cmdline console=ttyS0 quiet iomem=relaxed lab.agent lab.address={self.address}/24",
                          f"serial unix:/run/{self.name}.serial", ""))

    def follow(self):
        """Talks to it where it runs now."""
        self.at = self.cluster.where(self.name)
        self.guest.lab = self.at
        self.guest.attach(f"/run/{self.name}.serial")

    @property
    def lab(self):
        return self.at

    def sh(self, command, **options):
        return self.guest.sh(command, **options)

    def boot_id(self):
        return self.sh("cat /proc/sys/kernel/random/boot_id").strip()
