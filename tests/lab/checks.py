# SPDX-License-Identifier: GPL-2.0-or-later
"""What several tests check in the same way: the network works, in both directions and on all rings, and nothing was lost."""

import contextlib
import itertools
import re
import signal
import socket
import struct
import subprocess

import netns
from lab import LabStuck

# Bytes of a checked TCP stream: several times the ring's buffers in packets, and a few tenths of a second under nested TCG.
SIZE = 500_000
# Packets that may be under way to a guest: a queue of a TAP holds 500 until its reader has buffers.
AT_ONCE = 400


# How long something that is to come by itself is looked for, in seconds of the emulator's, and how often at least.
PATIENCE, LOOKS = 60, 20


def eventually(lab, look):
    """What look() returns, once that is true or it has been asked for long. It asks what always answers, or the lab stands still."""
    end = lab.clock() + PATIENCE
    for n in itertools.count(1):
        found = look()
        if found or (n >= LOOKS and lab.clock() > end):
            return found


def answered(vm, pinger, count):
    """So many further pings are answered: the network stands still only where the guest itself does not."""
    goal = len(pinger.answered) + count
    while len(pinger.answered) < goal:
        before = len(pinger.answered)

        def look():
            vm.sh("true")
            return pinger.wait_answers(min(goal, before + 1) - len(pinger.answered), 1)
        assert eventually(vm.lab, look), "the guest answers commands, but no ping"


def pings(vm, count=20):
    """The guest answers pings, each once."""
    vm.lab.forget_neighbours()
    pinger = netns.Pinger(vm.lab.namespace, vm.address)
    try:
        answered(vm, pinger, count)
    finally:
        result = pinger.stop()
    assert not result["duplicates"], f"ping: {result}"


def nettest(lab):
    return str(lab.images / "helpers" / "nettest")


def tcp_from_guest(vm, size=SIZE, port=5001):
    sink = vm.lab.namespace.popen([nettest(vm.lab), "sink", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        sink.stdout.readline()
        vm.sh(f"nettest source {vm.lab.bridge_address} {port} {size}", timeout=90)
        output = vm.lab.ended(sink)
    finally:
        sink.kill()
        sink.wait()
    assert f"received {size} ok" in output


def tcp_to_guest(vm, size=SIZE, port=5002, address=None):
    """A checked TCP stream from L0 to the guest, whose sink is known to listen before the source starts."""
    vm.sh(f"nettest sink {port} > /tmp/sink 2>&1 & until grep -q listening /tmp/sink; do usleep 20000; done")
    vm.lab.forget_neighbours()
    source = vm.lab.namespace.popen([nettest(vm.lab), "source", address or vm.address, str(port), str(size)], stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True)
    try:
        said = vm.lab.ended(source)
    finally:
        source.kill()
        source.wait()
    assert f"sent {size}" in said, said
    output = vm.sh("until grep -q -e received -e wrong /tmp/sink; do usleep 20000; done; cat /tmp/sink; rm /tmp/sink")
    assert f"received {size} ok" in output


def received_size(vm, stream):
    """The mean size of the packets in which the guest receives a TCP stream of so many bytes."""
    counters = "cd /sys/class/net/eth0/statistics; echo $(cat rx_bytes) $(cat rx_packets)"
    bytes_before, packets_before = map(int, vm.sh(counters).split())
    tcp_to_guest(vm, stream)
    bytes_after, packets_after = map(int, vm.sh(counters).split())
    return (bytes_after - bytes_before) / (packets_after - packets_before)


def traffic(vm):
    pings(vm)
    tcp_from_guest(vm)
    tcp_to_guest(vm)


def rings(vm):
    """The guest's rings as they are in its memory: for each queue its size, available and used index, and the used heads."""
    queues = [[int(n) for n in re.findall(r"\d+", line)] for line in vm.sh("rings").splitlines()]
    memory = f"/proc/{vm.host.pid()}/fd/$n"
    process = vm.lab.spawn(
        f"for n in $(ls /proc/{vm.host.pid()}/fd); do case $(readlink {memory}) in *ferry-ram*) break;; esac; done; "
        "part() { dd if=" + memory + " bs=4096 iflag=skip_bytes,count_bytes skip=$1 count=$2 2>/dev/null; }; " +
        "; ".join(f"part {driver + 2} 2; part {device + 2} {2 + 8 * size}" for _, size, driver, device in queues))
    assert process.wait(30) == 0, process.output()
    data, at, state = bytes(process.out), 0, {}
    for queue, size, _, _ in queues:
        available, used = struct.unpack_from("<HH", data, at)
        heads = struct.unpack_from("<" + "I4x" * size, data, at + 4)
        state[queue] = (size, available, used, heads)
        at += 4 + 8 * size
    return state


def note(vm, views):
    """Keeps in the guest what it sees by these commands: its console is slow, and to write much to it can end a nested guest."""
    vm.sh(f"({views}) > /tmp/views 2>&1", expect=None)


def as_noted(vm, views):
    """By the commands that were given to note() it sees the same."""
    said = vm.sh(f"({views}) > /tmp/views-now 2>&1; diff /tmp/views /tmp/views-now", expect=None)
    assert not said.strip(), said


def statistics(vm):
    """The counters of "ethtool -S", the device's own with "hw" in their names."""
    return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", vm.sh("ethtool -S eth0"))}


def received(vm):
    """How many buffers of each receive queue have come back to the guest's driver: packets, where they are small."""
    counters = statistics(vm)
    if "rx_hw_packets" in counters:
        return {int(name[2:-len("_hw_packets")]): n for name, n in counters.items() if re.fullmatch(r"rx\d+_hw_packets", name)}
    return {queue // 2: used for queue, (_, _, used, _) in rings(vm).items() if queue % 2 == 0}


def spread(vm, flows=64, each=4):
    """Sends UDP packets of many flows to the guest and returns how many more came on each receive queue.

    No more at a time than nobody has to drop, however slow the guest is.
    """
    vm.lab.forget_neighbours()
    before, expected = received(vm), 0
    more = {}

    def all_came():
        after = received(vm)
        more.update((q, (after[q] - before.get(q, 0)) & 0xFFFF) for q in after)
        return sum(more.values()) >= expected

    with vm.lab.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        packets = [20000 + port for port in range(flows) for _ in range(each)]
        while packets:
            now, packets = packets[:AT_ONCE], packets[AT_ONCE:]
            for port in now:
                sender.sendto(b"x" * 100, (vm.address, port))
            expected += len(now)
            assert eventually(vm.lab, all_came), f"of {expected} packets came {more}"
    return more


def parts(said):
    """What frames says of its parts: tuples of the frames sent, lost, doubled and overtaken."""
    return [tuple(map(int, found)) for found in re.findall(r"sent (\d+), lost (\d+), doubled (\d+), overtaken (\d+)", said)]


def echoed(vm, count=50, rate=200):
    """On a device that brings frames back to their sender: numbered ones come, all of them, each once and in their order."""
    said = vm.sh(f"frames eth0 {rate} {count} 64", timeout=120)
    assert parts(said) == [(count, 0, 0, 0)], said


class Stream:
    """Numbered frames, in parts, on a device that brings them back, while something else happens."""

    # So many are under way at most, where the rate is not to be measured.
    WINDOW = 8

    def __init__(self, vm, rate=None):
        self.vm = vm
        self.start = self.received()
        limits = rate or f"100 {10**6} {self.WINDOW}"
        vm.sh(f"frames eth0 {limits} > /tmp/frames 2>&1 & echo $! > /tmp/frames.pid")

    def received(self):
        return int(self.vm.sh("cat /sys/class/net/eth0/statistics/rx_packets"))

    def enough(self, count):
        """Waits until so many have come back."""
        assert eventually(self.vm.lab, lambda: self.received() - self.start >= count), "frames do not come back"

    def mark(self, seconds=0):
        """Begins a part that lasts so long at least."""
        self.vm.sh(f"kill -USR1 $(cat /tmp/frames.pid); sleep {seconds}")

    def end(self):
        """What frames says of the parts."""
        return self.vm.sh("kill $(cat /tmp/frames.pid); until grep -q skipped /tmp/frames; do usleep 20000; done; cat /tmp/frames")


def total(output, verb):
    """The bytes that nettest says it has sent, or received and found to be right."""
    return int(re.search(rf"{verb} (\d+) (?:ok|in)", output)[1])


class Streams:
    """A checked TCP stream in each direction while something else happens. Both end when told to, and then have arrived as a whole."""

    RATE, SIZE, PORTS = 300_000, 10**12, ("5003", "5004")

    def __init__(self, vm, rate=RATE):
        self.vm = vm
        namespace, (to, other) = vm.lab.namespace, self.PORTS
        self.sink = namespace.popen([nettest(vm.lab), "sink", to], stdout=subprocess.PIPE, text=True)
        self.sink.stdout.readline()
        vm.sh(f"nettest source {vm.lab.bridge_address} {to} {self.SIZE} {rate} > /tmp/source 2>&1 & echo $! > /tmp/source.pid")
        vm.sh(f"nettest sink {other} > /tmp/sink 2>&1 & until grep -q listening /tmp/sink; do usleep 20000; done")
        self.source = namespace.popen([nettest(vm.lab), "source", vm.address, other, str(self.SIZE), str(rate)],
                                      stdout=subprocess.PIPE, text=True)

    def go_on(self):
        """The guest sends and gets some more segments full of data, whatever else comes."""
        counters = "cd /sys/class/net/eth0/statistics && cat rx_bytes tx_bytes"
        before = [int(n) for n in self.vm.sh(counters).split()]
        assert eventually(self.vm.lab, lambda: all(int(n) > b + 50_000 for n, b in zip(self.vm.sh(counters).split(), before))), \
            "a stream stands still"
        assert self.source.poll() is None and self.sink.poll() is None, "a TCP stream has ended"

    @contextlib.contextmanager
    def paused(self):
        """Nothing of them comes or goes meanwhile, but for what their kernels still have."""
        self.source.send_signal(signal.SIGSTOP)
        self.vm.sh("kill -STOP $(cat /tmp/source.pid)")
        try:
            yield
        finally:
            self.vm.sh("kill -CONT $(cat /tmp/source.pid)")
            self.source.send_signal(signal.SIGCONT)

    def end(self):
        self.source.terminate()
        sent = self.vm.lab.ended(self.source)
        guest_sent = self.vm.sh("kill $(cat /tmp/source.pid); until grep -q -e sent -e : /tmp/source; do usleep 20000; done; "
                                "cat /tmp/source")
        received = self.vm.lab.ended(self.sink)
        guest_received = self.vm.sh("until grep -q -e received -e wrong /tmp/sink; do usleep 20000; done; cat /tmp/sink")
        assert total(guest_sent, "sent") == total(received, "received")
        assert total(sent, "sent") == total(guest_received, "received")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.sink, self.source):
            process.kill()
            process.wait()


def no_buffer_is_lost(vm, traffic=lambda vm: spread(vm, flows=64, each=8)):
    """Every buffer comes back: of each receive ring all heads are used in turn, and nothing stays in an idle transmit ring."""
    pairs = int(re.findall(r"Combined:\s*(\d+)", vm.sh("ethtool -l eth0"))[1])
    seen = {2 * pair: set() for pair in range(pairs)}
    sizes = {}
    for _ in range(12):
        # The used ring holds as many entries as there are buffers: in two rounds each must have been used.
        traffic(vm)
        for queue, (size, available, used, heads) in rings(vm).items():
            if queue in seen:
                sizes[queue] = size
                assert (available - used) & 0xFFFF <= size
                seen[queue].update(heads[n % size] for n in range(max(0, used - size), used))
        if all(len(seen[queue]) == sizes[queue] for queue in seen):
            break
    lost = {queue: sizes[queue] - len(seen[queue]) for queue in seen if len(seen[queue]) < sizes[queue]}
    assert not lost, f"heads that were never used, by queue: {lost}"
    busy = {}

    def idle():
        busy.clear()
        busy.update((queue, (available, used)) for queue, (_, available, used, _) in rings(vm).items()
                    if queue < 2 * pairs and queue % 2 == 1 and available != used)
        return not busy
    assert eventually(vm.lab, idle), f"transmit rings with available and used index apart though idle: {busy}"


def filters(vm):
    """What the guest's kernel wants its NIC to filter, in the terms of query-rx-filter."""
    # No device has room for more than the first of them.
    addresses = vm.sh("bridge fdb show dev eth0 | cut -d ' ' -f 1 | head -n 200").split()
    flags, address = vm.sh("cat /sys/class/net/eth0/flags /sys/class/net/eth0/address").split()
    groups = sorted(a for a in addresses if int(a[:2], 16) & 1)
    return {"promiscuous": bool(int(flags, 16) & 0x100), "main-mac": address, "multicast-table": groups,
            "unicast-table": sorted(set(addresses) - set(groups))}


def settled(vm):
    """The filter of the guest's NIC once the guest has told it everything: its driver does so in the background."""
    wanted, state, seen = {}, {}, {}

    def told():
        # The guest's own view first: what it has by then must be in the device's.
        wanted.update(filters(vm))
        state.update(vm.lab.rx_filter(vm.node))
        seen.update((key, state[key]) for key in wanted)
        for table in ("unicast", "multicast"):
            if state[f"{table}-overflow"]:
                # More than the device's table holds: it takes all.
                wanted[f"{table}-table"] = seen[f"{table}-table"] = []
        return seen == wanted
    assert eventually(vm.lab, told), f"the guest wants {wanted}, its NIC has {seen}"
    return state


def rings_are_well(vm):
    """No ring error that the guest's driver or Ferry noticed: a doubled, lost or wrong buffer."""
    trouble = "not a head|bad gso|virtio.*(error|broken|fail)|Unexpected (TXQ|RXQ)|hung_task|WARNING:|BUG:|Oops"
    log = vm.sh(f"dmesg | grep -m 1 -A 60 -E '{trouble}' || true")
    if re.search("WARNING:.* __hrtimer_run_queues", log):
        # An interrupt within its own handler, where they are off. TCG's VMRUN leaves the vector that it has injected pending as an
        # exception, which comes, too, if the vCPU's thread is kicked before the next #VMEXIT.
        raise LabStuck(f"the guest had its timer's interrupt twice: {log}")
    assert not log, f"the guest's kernel says: {log}"
    said = vm.host.process.output()
    assert "needs reset" not in said.lower() and "error" not in said.lower(), f"ferry says: {said}"
