# SPDX-License-Identifier: GPL-2.0-or-later
"""Many moves of one guest under traffic, each with another control state, and figures of what they cost."""

import collections
import contextlib
import random
import re
import statistics
import time

import checks
import ferry
import hosts
import lab
import netns
from test_migrate_state import KEY, VIEWS

# So many moves have the same guest's default state before them, and the same TCP streams around them: each such leg can be run alone.
LEG = 20
# Flows of which it is compared on which queues they come, and of how many moves one is so.
FLOWS, STEERED = 32, 5
# Bytes a second of each TCP stream, and pings: so many that a move is one under traffic, and not so many that nested emulation is busy
# with little else.
RATE, PINGS = 100_000, 40
# In the guest, each VLAN is a network device of some 40 KiB.
MAX_VLANS = 60
# A table of the NIC has room for 64 addresses.
TABLES = (0, 1, 5, 40, 64, 150)
# In L1: what a process has of its own, its threads and descriptors; and how many Ferrys there are.
SIZES = "sed -n 's/^\\(RssAnon\\|Threads\\):[^0-9]*\\([0-9]*\\).*/\\2/p' /proc/{pid}/status; ls /proc/{pid}/fd | wc -l; pidof ferry | wc -w"


class ControlState:
    """What a guest's administrator can set of its NIC; change() sets some of it anew, by ordinary tools."""

    def __init__(self, rng):
        self.rng = rng
        self.pairs = 1
        self.seen = []
        self.vlans, self.tables = set(), {"02:00:00:00": set(), "33:33:00:01": set()}

    def _switch(self, words):
        return [words.format(self.rng.choice(("on", "off")))]

    def promisc(self):
        return self._switch("ip link set dev eth0 promisc {}")

    def allmulti(self):
        return self._switch("ip link set dev eth0 allmulticast {}")

    def mac(self):
        return ["ip link set dev eth0 address 02:11:" + ":".join(f"{self.rng.randrange(256):02x}" for _ in range(4))]

    def _table(self, prefix):
        old = self.tables[prefix]
        new = {f"{prefix}:{n >> 8:02x}:{n & 0xff:02x}" for n in self.rng.sample(range(1, 1 << 16), self.rng.choice(TABLES))}
        self.tables[prefix] = new
        return batch("bridge", [f"fdb del {a} dev eth0 self" for a in sorted(old)] + [f"fdb add {a} dev eth0 self" for a in sorted(new)])

    def unicast(self):
        return self._table("02:00:00:00")

    def multicast(self):
        return self._table("33:33:00:01")

    def vlan(self):
        gone = {v for v in self.vlans if self.rng.random() < 0.5}
        new = set(self.rng.sample(range(1, 4095), self.rng.randrange(MAX_VLANS // 2))) - self.vlans
        self.vlans = self.vlans - gone | new
        return batch("ip", [f"link del v{v}" for v in sorted(gone)] +
                     [f"link add link eth0 name v{v} type vlan id {v}" for v in sorted(new)])

    def queues(self):
        self.pairs = self.rng.randint(1, 4)
        # A table of the administrator's own may name queues that are not to be there.
        return ["ethtool -X eth0 default", f"ethtool -L eth0 combined {self.pairs}"]

    def rss(self):
        key = ":".join(f"{self.rng.randrange(256):02x}" for _ in range(40))
        weights = [self.rng.randrange(4) for _ in range(self.pairs - 1)] + [1]
        return [f"ethtool -X eth0 hkey {key} weight {' '.join(map(str, weights))}"]

    def hash(self):
        return [f"ethtool -N eth0 rx-flow-hash {flow} {self.rng.choice(('sd', 'sdfn'))}" for flow in ("udp4", "tcp4")] + \
            self._switch("ethtool -K eth0 rxhash {}")

    def offloads(self):
        return self._switch("ethtool -K eth0 rx-gro-hw {}")

    # In this order: the key and the table of RSS are for the queues that there are.
    FAMILIES = (promisc, allmulti, mac, unicast, multicast, vlan, queues, rss, hash, offloads)

    def change(self, vm):
        """Sets about half of it; returns the names of what it has set."""
        chosen = [f for f in self.FAMILIES if self.rng.random() < 0.5] or [self.rng.choice(self.FAMILIES)]
        vm.sh(" && ".join(command for family in chosen for command in family(self)), timeout=120)
        # This machine would for some time go on to send to an address that the guest had.
        vm.lab.forget_neighbours()
        return [family.__name__ for family in chosen]


def batch(tool, lines):
    """Commands for one run of @tool: a process for each would take the guest minutes."""
    return ["printf '" + "".join(f"{line}\\n" for line in lines) + f"' | {tool} -batch -"] if lines else []


class Place:
    """Where a guest moves to and fro, and by which way: over ssh or TLS between two hosts, or a Unix socket within one."""

    WAYS = ("ssh", "tls-kernel", "tls-pump", "unix")

    def __init__(self, way):
        self.way = way
        self.pair = None if way == "unix" else hosts.Pair()
        self.alone = None if self.pair else lab.Lab(sims=())
        if way.startswith("tls"):
            self.pair.encrypt_by("kernel" if way == "tls-kernel" else "helper")
            self.pair.certify()

    def hosts(self):
        return self.pair.hosts if self.pair else [self.alone]

    def boot(self, cpus):
        # What a guest boots from moves with it: between hosts the shorter of two images, which takes it longer to boot.
        kernel = "vmlinuz" if self.pair else "vmlinux"
        return ferry.Vm(self.hosts()[0], "vp0", kernel, mem="96M", cpus=cpus).boot()

    def move(self, vm):
        to = self.pair and self.pair.other(vm.lab)
        return vm.migrate(to=to, tls=hosts.TLS if self.way.startswith("tls") else None)

    def close(self):
        for host in filter(None, (self.pair, self.alone)):
            host.close()


class Figures:
    """What moves have cost, and where the time of the tests went."""

    def __init__(self):
        self.moves = []
        self.seconds = collections.defaultdict(list)

    @contextlib.contextmanager
    def timed(self, what):
        started = time.monotonic()
        yield
        self.seconds[what].append(time.monotonic() - started)

    def row(self, what, digits=1):
        values = [move[what] for move in self.moves]
        return f"{what}: {min(values):.{digits}f} / {statistics.median(values):.{digits}f} / {max(values):.{digits}f}"

    def quarters(self, what):
        """Its median in the first quarter of the moves and in the last."""
        quarter = max(1, len(self.moves) // 4)
        return [statistics.median(move[what] for move in part) for part in (self.moves[:quarter], self.moves[-quarter:])]

    def grown(self):
        """What the last processes have more of than the first, by more than other control state takes."""
        return [f"{what} from {first:.0f} to {last:.0f}" for what, some in (("own KiB", 256), ("threads", 0), ("descriptors", 0))
                for first, last in [self.quarters(what) if self.moves else (0, 0)] if last > first + some]

    def text(self):
        if not self.moves:
            return "no moves"
        rows = [self.row(what) for what in ("downtime ms", "longest ping gap ms", "migrate s")]
        rows += [self.row(what, 0) for what in ("pings lost", "own KiB", "threads", "descriptors")]
        return "\n".join(["least / median / most"] + rows +
                         ["own KiB, median of the first quarter and of the last: {:.0f}, {:.0f}".format(*self.quarters("own KiB")),
                          "median seconds: " + ", ".join(f"{k} {statistics.median(v):.1f}" for k, v in self.seconds.items())])


def steering(vm, streams, figures):
    """How many packets of many flows come on each of the guest's queues while nothing else does."""
    with figures.timed("steer"), streams.paused():
        return checks.spread(vm, flows=FLOWS)


def sizes(vm):
    """The guest's process, at rest."""
    own, threads, descriptors, ferries = map(int, vm.lab.run(SIZES.format(pid=vm.host.pid())).split())
    assert ferries == 1, f"{ferries} processes of Ferry where the guest is"
    return {"own KiB": own, "threads": threads, "descriptors": descriptors}


def one(place, vm, state, streams, figures):
    """Sets control state, moves, and compares."""
    with figures.timed("set"):
        changed = state.change(vm)
    with figures.timed("look"):
        before = checks.settled(vm)
        checks.note(vm, VIEWS)
    steered = steering(vm, streams, figures) if len(state.seen) % STEERED == 0 else None
    source, started = vm.lab, time.monotonic()
    ended = started
    pinger = netns.Pinger(vm.lab.namespace, vm.address, rate=PINGS)
    try:
        checks.answered(vm, pinger, 10)
        with figures.timed("migrate"):
            moved = place.move(vm)
        ended = time.monotonic()
        with figures.timed("answer"):
            checks.answered(vm, pinger, 20)
    finally:
        ping = pinger.stop()
        ping["lost_ms"] = [round((pinger.sent[n] - ended) * 1000) for n in sorted(netns.numbers(ping["lost_at"]))]
        state.seen.append(f"{changed}: {ping}")
    with figures.timed("compare"):
        after = vm.lab.rx_filter(vm.node)
        assert after == before, f"the device filters {after}, before the move {before}"
        checks.as_noted(vm, VIEWS)
    if steered:
        again = steering(vm, streams, figures)
        assert all(abs(again[q] - steered[q]) <= 8 for q in steered), f"flows came on other queues: {steered}, then {again}"
    with figures.timed("streams"):
        streams.go_on()
        checks.rings_are_well(vm)
        left = [host.run("pidof ferry || true").split() for host in place.hosts() if host is not vm.lab]
        assert not any(left), f"processes of Ferry where the guest was: {left}"
        row = sizes(vm)
    assert not ping["duplicates"], ping
    row.update({"downtime ms": moved.downtime_ms, "longest ping gap ms": ping["gap_ms"], "pings lost": ping["lost"],
                "migrate s": figures.seconds["migrate"][-1], "all s": time.monotonic() - started})
    figures.moves.append(row)
    if ping["lost"] > netns.Pinger.WINDOW:
        print(f"more than a window of pings lost, by when they were sent before the move's end: {ping}", flush=True)
    return (f"{source.name or source.l1_address} -> {vm.lab.name or vm.lab.l1_address}: downtime {moved.downtime_ms} ms, ping gap "
            f"{ping['gap_ms']} ms, lost {ping['lost']}, {row['migrate s']:.1f} s of {row['all s']:.1f}; {' '.join(changed)}")


def leg(place, vm, seed, count, figures, say):
    """@count moves with what follows from @seed, from the default state on; at the end all is there that was sent."""
    vm.rebind()
    state = ControlState(random.Random(seed))
    vm.sh("ticker 5 > /tmp/ticks 2>&1 & echo $! > /tmp/ticker.pid")
    try:
        with checks.Streams(vm, RATE) as streams:
            for _ in range(count):
                say(one(place, vm, state, streams, figures))
            streams.end()
    except Exception as e:
        e.add_note("\n".join(state.seen + [f"--- ferry in {host.lab.l1_address}\n{host.process.output()}" for host in vm.hosts]))
        raise
    # Flows come on all queues: a key drawn at random may lead next to none to one of them, and without a hash all come on the first. And
    # QEMU's software RSS waits for buffers in the queue that a packet came for, so that a burst into one other queue waits for ever.
    vm.sh(f"ethtool -X eth0 hkey {KEY} equal {state.pairs} && ethtool -N eth0 rx-flow-hash udp4 sdfn && ethtool -K eth0 rxhash on")
    with figures.timed("buffers"):
        checks.no_buffer_is_lost(vm)
    ticks = vm.sh("kill $(cat /tmp/ticker.pid); until grep -q ticks /tmp/ticks; do usleep 50000; done; cat /tmp/ticks")
    assert float(re.search(r"backwards ([0-9.]+) ms", ticks)[1]) == 0, ticks
