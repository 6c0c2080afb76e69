# SPDX-License-Identifier: GPL-2.0-or-later
"""Moves between two hosts over ssh and TLS, on a network that delays, loses and breaks; and the quick starts of the README."""

import json
import pathlib
import re
import socket
import ssl
import statistics

import pytest

import checks
import ferry
import hosts
import lab

# Half of it in each direction: 20 ms there and back.
FAR = "delay 10ms loss 1%"
# So slow that memory is under way for as long as a test needs.
SLOW = "rate 20mbit"
# What has gone over the cable when certainly some of the memory has: before it goes what the guest boots from, 24 MB, and after this is
# still half of the memory to go.
SOME_MEMORY = 35_000_000
CHANNEL_MOVES = 3
# This machine's own place on the cable.
ONLOOKER = "10.79.0.9/24"
HOURS = 3 * 3600
README = pathlib.Path(__file__).resolve().parent.parent.parent / "README.md"
# The lab's hosts have a vDPA device, and the bridge.
THERE = ("vdpa ", "modprobe ", "ip link add br0 ")
# In the reader's folder; each host has what the lab's guests boot.
FOLDER = "/tmp/quick"
FILES = f"mkdir -p {FOLDER} && cd {FOLDER} && ln -sf /images/vmlinuz vmlinuz && ln -sf /images/l2.cpio root.cpio"
TYPED = "echo the answer of $(uname) is $((6 * 7))\n"
ANSWER = "the answer of Linux is 42"
needs_tls = pytest.mark.skipif(not (lab.BUILD / "ferry-tls").exists(), reason="ferry-tls was not built")


@pytest.fixture(scope="module")
def nic():
    return "pair", "", 1


def moving(pair, vm, host, options=""):
    """Starts "ferry migrate" and returns it when memory is under way."""
    before = pair.sent()
    process = vm.start_send(host.address, options)
    assert checks.eventually(vm.lab, lambda: pair.sent() - before > SOME_MEMORY or not process.running()), process.output()
    assert process.running(), process.output()
    return process


def goes_on(vm, pinger):
    """The guest is where it was, and its network works."""
    assert vm.host.process.running(), vm.host.process.output()
    checks.answered(vm, pinger, 30)


def arrived(vm, pinger):
    """The guest is well where it is now."""
    checks.answered(vm, pinger, 30)
    checks.rings_are_well(vm)


def test_there_and_back_under_traffic(pair, vm, ping):
    vm.sh("ip link add link eth0 name v9 type vlan id 9; ip link set dev eth0 address 02:11:22:33:44:77")
    before = checks.settled(vm)
    pinger = ping(vm)
    with checks.Streams(vm) as streams:
        for _ in range(2):
            to = pair.other(vm.lab)
            moved = vm.migrate(to=to)
            assert vm.lab is to
            checks.answered(vm, pinger, 30)
            streams.go_on()
            assert to.rx_filter(vm.node) == before
            print(f"to {to.name}: downtime {moved.downtime_ms} ms")
        result = pinger.stop()
        streams.end()
    print(f"ping {result}")
    assert not result["duplicates"], result
    checks.rings_are_well(vm)


@pytest.mark.long
def test_over_a_network_that_delays_and_loses(pair, vm, ping):
    pinger = ping(vm)
    with pair.netem(FAR), checks.Streams(vm) as streams:
        moved = vm.migrate(to=pair.other(vm.lab))
        checks.answered(vm, pinger, 30)
        streams.go_on()
        streams.end()
    print(f"downtime {moved.downtime_ms} ms")
    checks.rings_are_well(vm)


def test_a_cable_cut_for_good_costs_the_guest_nothing(pair, vm, ping):
    pinger = ping(vm)
    host = vm.receive(vm.node, to=pair.other(vm.lab))
    with pair.netem(SLOW):
        process = moving(pair, vm, host, "--ssh 'ssh -o ServerAliveInterval=2 -o ServerAliveCountMax=2'")
        pair.cut()
        try:
            assert process.wait(120) == 1, process.output()
            goes_on(vm, pinger)
        finally:
            pair.mend()
    print(process.output())
    # A guest of which a part has come is none: this destination is used up.
    assert host.process.wait(120) == 1, host.process.output()
    vm.hosts.remove(host)
    vm.migrate(to=pair.other(vm.lab))
    arrived(vm, pinger)


@pytest.mark.long
def test_a_cable_cut_for_five_seconds_is_waited_for(pair, vm, ping):
    pinger = ping(vm)
    host = vm.receive(vm.node, to=pair.other(vm.lab))
    with pair.netem(SLOW):
        process = moving(pair, vm, host)
        pair.cut()
        try:
            checks.answered(vm, pinger, 300)
        finally:
            pair.mend()
    assert process.wait(120) == 0, process.output()
    vm.follow(host)
    arrived(vm, pinger)


STRANGERS = {
    "key": ("cd /root/.ssh && mv authorized_keys away", "cd /root/.ssh && mv away authorized_keys", "Permission denied"),
    "host": ("ssh-keygen -q -t ed25519 -N '' -f /tmp/k && mv /etc/ssh/ssh_host_ed25519_key /tmp/away && "
             "mv /tmp/k /etc/ssh/ssh_host_ed25519_key", "mv /tmp/away /etc/ssh/ssh_host_ed25519_key", "Host key verification failed"),
}


@pytest.mark.parametrize("what", ["key", pytest.param("host", marks=pytest.mark.long)])
def test_ssh_says_itself_why_it_failed(pair, vm, ping, what):
    change, undo, words = STRANGERS[what]
    pinger = ping(vm)
    to = pair.other(vm.lab)
    host = vm.receive(vm.node, to=to)
    to.run(change)
    try:
        moved = vm.send(host.address)
    finally:
        to.run(undo)
    assert moved.status == 1 and words in moved.output, moved.output
    goes_on(vm, pinger)
    # Nobody has come to the destination: it still waits.
    moved = vm.send(host.address)
    assert moved.status == 0, f"{moved.output}\n--- destination\n{host.process.output()}"
    vm.follow(host)
    arrived(vm, pinger)


@needs_tls
@pytest.mark.parametrize("who, says", [("kernel", "the kernel"), pytest.param("helper", "ferry-tls", marks=pytest.mark.long)],
                         ids=["kernel", "helper"])
def test_over_tls(pair, vm, ping, who, says):
    pair.encrypt_by(who)
    pinger = ping(vm)
    to, folder = pair.other(vm.lab), pair.certify()
    vm.migrate(to=to, tls=folder)
    assert f"{says} encrypts" in vm.host.process.output(), vm.host.process.output()
    arrived(vm, pinger)


def address(host):
    return hosts.ADDRESSES[hosts.NAMES.index(host.name)]


def without_certificate(pair, to):
    """A stranger who speaks TLS and has no certificate: what it is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    pair.namespace.sh(f"ip addr replace {ONLOOKER} dev {pair.bridge}")
    connection = pair.namespace.call(lambda: socket.create_connection((address(to), 7443), timeout=60))
    # In TLS 1.3 a client hears what is thought of its certificate after its own last word.
    with context.wrap_socket(connection) as tls:
        return tls.recv(4096).decode(errors="replace")


class Wait:
    """A destination on @to that takes the guest from @source alone; it says five times in ten seconds at most whom it has turned away."""

    def __init__(self, vm, to, own, source):
        self.vm, self.to, self.own = vm, to, own
        self.host = vm.receive(vm.node, f"--from {ferry.tls_address(to)} --tls {own} --peer {source.name}", to=to)

    def turned_away(self, words, since=0):
        assert checks.eventually(self.to, lambda: words in self.host.process.output()[since:]), f"{words}:\n{self.host.process.output()}"

    def refuses(self, at, options, words):
        """Both ends say why."""
        since = len(self.host.process.output())
        moved = self.vm.send(at, options)
        assert moved.status == 1 and words in moved.output, f"{words}:\n{moved.output}"
        self.turned_away(words, since)

    def ends(self):
        self.to.run(f"kill {self.host.pid()}")
        assert self.host.process.wait(30) == 128 + 15, self.host.process.output()
        self.vm.hosts.remove(self.host)

    def takes(self):
        moved = self.vm.send(ferry.tls_address(self.to), f"--tls {self.own} --peer {self.to.name}")
        assert moved.status == 0, f"{moved.output}\n--- destination\n{self.host.process.output()}"
        self.vm.follow(self.host)


@needs_tls
def test_strangers_are_refused_by_name_at_both_ends_and_the_wait_goes_on(pair, vm, ping):
    pinger = ping(vm)
    source, to, own = vm.lab, pair.other(vm.lab), pair.certify()
    expired = pair.stranger(source, "expired", source.name, days=-1)
    other_ca = pair.stranger(source, "other-ca", source.name, ca="other")
    other_name = pair.stranger(source, "other-name", "hostc")
    wait, at = Wait(vm, to, own, source), ferry.tls_address(to)
    wait.refuses(at, f"--tls {expired}", "expired")
    wait.refuses(at, f"--tls {other_ca}", "CA")
    wait.refuses(at, f"--tls {other_name}", f"the certificate is of hostc, and {source.name} is wanted")
    goes_on(vm, pinger)
    wait.takes()
    arrived(vm, pinger)


@needs_tls
def test_who_has_no_certificate_or_no_trust_is_told_why(pair, vm, ping):
    """Also where it is the source that does not take the destination, for its name."""
    pinger = ping(vm)
    source, to, own = vm.lab, pair.other(vm.lab), pair.certify()
    wait = Wait(vm, to, own, source)
    assert "no certificate was sent" in without_certificate(pair, to)
    wait.turned_away("no certificate was sent")
    wait.refuses(ferry.tls_address(to), f"--tls {own} --peer hostd", f"the certificate is of {to.name}, and hostd is wanted")
    wait.refuses(f"tls:{address(to)}:7443", f"--tls {own}", f"the certificate is of {to.name}, and {address(to)} is wanted")
    goes_on(vm, pinger)
    wait.ends()


def over(pair, vm, way):
    """Moves the guest once, by this way, and returns its downtime in ms and the rate of its first round in MiB a second."""
    source, options = vm.lab, "--report /tmp/report"
    if way == "unix":
        with pair.alone(source):
            moved = vm.migrate(options=options)
    elif way == "ssh":
        moved = vm.migrate(options=options, to=pair.other(source))
    else:
        pair.encrypt_by(way)
        moved = vm.migrate(options=options, to=pair.other(source), tls=pair.certify())
    first = json.loads(source.run("cat /tmp/report"))["rounds"][0]
    return moved.downtime_ms, first["bytes"] / first["ns"] * 1e9 / (1 << 20)


@pytest.mark.long
@needs_tls
def test_no_channel_takes_ten_times_the_downtime_of_another(pair, vm, ping):
    """Side by side, in turns: what is measured one after the other here is compared with another machine."""
    pinger, ways = ping(vm), ("unix", "ssh", "kernel", "helper")
    moves = {way: [] for way in ways}
    for _ in range(CHANNEL_MOVES):
        for way in ways:
            moves[way].append(over(pair, vm, way))
            checks.answered(vm, pinger, 10)
    medians = {way: [statistics.median(values) for values in zip(*taken)] for way, taken in moves.items()}
    print(f"median by channel of downtime in ms and first round in MiB/s: {medians}; all: {moves}")
    downtimes = [downtime for downtime, _ in medians.values()]
    assert max(downtimes) < 10 * min(downtimes), moves
    checks.rings_are_well(vm)


def steps(heading):
    """Where the commands are to be typed, and what they are, in the README's order."""
    part = re.search(rf"^## {heading}\n(.*?)^## ", README.read_text(), re.DOTALL | re.MULTILINE)[1]
    found = re.findall(r"^On (both hosts|hosta|hostb),.*(?:\n.+)*\n\n((?:    .+\n)+)", part, re.MULTILINE)
    assert len(found) == 4, part
    return [(where, [line.strip() for line in block.splitlines()]) for where, block in found]


@pytest.mark.parametrize("heading", ["On vDPA hardware", pytest.param("Without vDPA hardware", marks=pytest.mark.long)])
def test_a_quick_start_of_the_readme_moves_a_guest(labs, pair, heading):
    """Word for word."""
    labs.drop_guests()
    hosts = {"hosta": [pair.a], "hostb": [pair.b], "both hosts": [pair.a, pair.b]}
    terminals = []
    try:
        for where, lines in steps(heading):
            for host, line in [(host, line) for host in hosts[where] for line in lines if not line.startswith(THERE)]:
                command = f"{FILES} && {line}"
                if not re.match("ferry (run|receive) ", line):
                    host.run(command)
                    continue
                terminals.append(host.spawn(f"{FILES} && exec {line}"))
                terminals[-1].wait_for("lab: guest is up" if "ferry run" in line else "ready for a source")
        source, destination = terminals
        assert source.wait() == 0, source.output()
        destination.type(TYPED)
        destination.wait_for(ANSWER)
    finally:
        for terminal in terminals:
            terminal.kill()
            terminal.wait()


def peer(host, options="", expect=0):
    """What "ferry doctor" on the host says of the other one, by the check's name: (state, what it has found)."""
    said = json.loads(host.run(f"ferry doctor --json --mem 128M {options} 2>/tmp/doctor.err", timeout=90, expect=expect))
    assert said["ok"] == (expect == 0), said
    found = {}
    for check in said["checks"]:
        if check["name"].startswith("peer"):
            found.setdefault(check["name"], []).append((check["state"], check["found"]))
    return found


def states(found):
    return {name: [state for state, _ in about] for name, about in found.items()}


SIM = "vdpa dev add name odd mgmtdev vdpasim_net mac 52:54:77:77:44:01 mtu {}"


def test_the_doctor_names_what_would_stop_a_move_to_the_other_host(labs, pair):
    """Two differences, and nothing where there is none; the exit code says whether a guest could move."""
    labs.drop_guests()
    pair.set_clocks()
    to = f"--peer {pair.b.name}"
    alike = states(peer(pair.a, to))
    # To the second they are set one after the other.
    assert alike.pop("peer clock")[0] in ("ok", "warn")
    assert set(sum(alike.values(), [])) == {"ok"}, alike
    pair.set_clocks(pair.b, HOURS)
    for host, mtu in ((pair.a, 9000), (pair.b, 1400)):
        host.run(SIM.format(mtu))
    try:
        unlike = peer(pair.a, to, expect=1)
    finally:
        pair.set_clocks()
        for host in pair.hosts:
            host.run("vdpa dev del odd")
    clock, nics = unlike.pop("peer clock"), unlike.pop("peer NICs")
    assert [state for state, _ in clock] == ["fail"], clock
    assert re.search(r"^the clock of hostb is 1(07|08)\d\d\.\d+ s ahead of this host's", clock[0][1]), clock
    failed = [found for state, found in nics if state == "fail"]
    assert len(nics) == 3 and len(failed) == 1 and "has an MTU of 9000, " in failed[0], nics
    alike.pop("peer NICs")
    assert states(unlike) == alike
    # A host that cannot be asked is named, in ssh's own words.
    pair.a.run("ferry doctor --peer 10.79.0.77 --ssh 'ssh -o ConnectTimeout=2' > /tmp/doctor 2>&1", timeout=90, expect=1)
    said = pair.a.run("cat /tmp/doctor")
    assert "10.79.0.77" in said and "No route to host" in said or "timed out" in said, said
