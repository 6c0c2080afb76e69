# SPDX-License-Identifier: GPL-2.0-or-later
"""A host whose first process is systemd, with Ferry as Debian's package brings it: units, machinectl and varlinkctl."""

import json
import subprocess

import pytest

import ferry
import guest
import lab as lab_module
from test_boot import BUTTON

WORDS = "console=ttyS0 quiet iomem=relaxed lab.agent"
# Options of "ferry run" and of "ferry receive" in one file. A guest that does not hear its button is still there when systemd kills its unit.
CONFIG = """# A guest that hears its power button.
kernel /images/vmlinux
initrd /images/l2.cpio
cmdline {words}
mem 128M
cpus 1
serial unix:/run/{name}.serial
stop-timeout 600
net vdpa={node}
from unix:/run/{name}.incoming
"""


@pytest.fixture
def host(labs, tmp_path):
    """Debian's unstable, on which the package is installed."""
    l1 = labs.get(system=lab_module.made_by("debian", "host") / "disk")
    package = subprocess.run([lab_module.REPO / "vmm/host/deb/build", l1.share], check=True, stdout=subprocess.PIPE, text=True)
    name = package.stdout.strip().rsplit("/", 1)[1]
    l1.run(f"rm /usr/bin/ferry /usr/bin/ferry-tls; systemctl is-system-running --wait && dpkg -i /share/{name} && "
           "systemctl start systemd-machined.socket", timeout=120)
    yield l1
    labs.drop()


def configure(l1, name, node):
    words = f"{WORDS} lab.address={ferry.GUEST_ADDRESS}/24"
    l1.run(f"cat > /etc/ferry/{name}.conf", stdin=CONFIG.format(name=name, words=words, node=l1.nodes[node]).encode())


def unit(l1, name, *properties):
    """What systemd says of a unit, in the order of the properties."""
    said = dict(line.split("=", 1) for line in
                l1.run(f"systemctl show {name} {' '.join('-p ' + p for p in properties)}").splitlines())
    return tuple(said[p] for p in properties)


def ended_well(l1, name):
    l1.run(f"while systemctl is-active -q {name}; do sleep 0.1; done")
    journal = l1.run(f"journalctl --no-pager -b -o cat -u {name} | tail -n 5")
    # systemd forgets the exit status with the unit; one that was not 0 would have it "failed".
    assert unit(l1, name, "ActiveState") == ("inactive",) and "Deactivated successfully" in journal, journal


def varlink(l1, words, **options):
    return l1.run(f"varlinkctl {words}", **options)


def running(l1, control):
    return json.loads(varlink(l1, f"call {control} io.systemd.MachineInstance.Describe {{}}"))["running"]


def test_systemd_reads_the_descriptions_of_interfaces():
    """With the varlinkctl that comes along with L0's QEMU: systemd takes less than the specification has."""
    root = lab_module.made_by("qemu", "sid")
    libraries = root / "usr/lib/x86_64-linux-gnu"
    for path in sorted((lab_module.REPO / "vmm/control").glob("*.varlink")):
        said = subprocess.run([root / "lib64/ld-linux-x86-64.so.2", "--library-path", f"{libraries}:{libraries}/systemd",
                               root / "usr/bin/varlinkctl", "validate-idl", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True)
        assert said.returncode == 0, f"{path}: {said.stderr}"


@pytest.mark.long
def test_units_and_tools_of_systemd(host):
    """A guest's life in units of systemd: started, known to machinectl and varlinkctl, moved to another unit, and shut down."""
    configure(host, "web1", "vp0")
    configure(host, "web2", "vp1")
    # It returns with READY; before, it would be "activating".
    host.run("systemctl start ferry@web1", timeout=90)
    assert unit(host, "ferry@web1", "ActiveState", "SubState", "Slice") == ("active", "running", "machine.slice")
    vm = guest.Guest(host)
    vm.attach("/run/web1.serial")
    vm.wait_for(guest.READY)

    control = "/run/ferry/web1/control"
    assert varlink(host, f"list-interfaces {control}").split() == [
        "alt.ferry", "io.systemd.MachineInstance", "io.systemd.VirtualMachineInstance", "org.varlink.service"]
    for interface in ("alt.ferry", "io.systemd.MachineInstance"):
        host.run(f"varlinkctl introspect {control} {interface} > /tmp/idl && varlinkctl validate-idl /tmp/idl > /dev/null")
    assert json.loads(varlink(host, f"call {control} alt.ferry.Describe {{}}"))["name"] == "web1"
    assert "Sail() failed: No such device" in varlink(host, f"call {control} alt.ferry.Sail {{}} 2>&1", expect=None)

    assert "web1 vm ferry" in " ".join(host.run("machinectl list --no-pager --no-legend").split())
    host.run("machinectl pause web1")
    assert not running(host, control)
    host.run("machinectl resume web1")
    assert running(host, control)
    start = len(vm.text)
    host.run("machinectl reboot web1")
    vm.wait_for(guest.READY, start=start)
    vm.sh(BUTTON.format(then="poweroff -f"))
    host.run("machinectl poweroff web1")
    ended_well(host, "ferry@web1")
    host.run("! machinectl status web1 2> /dev/null")

    # From one unit to another: the first ends as after a power-off, and the other's stop presses the button.
    host.run("systemctl start ferry@web1 ferry-receive@web2", timeout=90)
    vm.attach("/run/web1.serial")
    vm.wait_for(guest.READY)
    host.run("ferry migrate web1 --to unix:/run/web2.incoming", timeout=90)
    ended_well(host, "ferry@web1")
    vm.attach("/run/web2.serial")
    vm.sh(BUTTON.format(then="poweroff -f"))
    host.run("systemctl stop ferry-receive@web2", timeout=150)
    ended_well(host, "ferry-receive@web2")
    assert not host.run("systemctl --failed --no-legend; journalctl -b --no-pager -u 'ferry*' | grep -E 'denied|no VM named|Failed' || true")
    vm.detach()
