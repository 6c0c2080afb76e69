# SPDX-License-Identifier: GPL-2.0-or-later
"""Control commands that Linux's driver never sends, forms of them that it never uses, and a driver that breaks the rules.

The guest's driver is helpers/ctrlnic.c. The guest has two NICs: one on an emulated NIC behind vp_vdpa, whose state QEMU tells, and
Ferry's own in software on a TAP of L1, into which the tests put frames.
"""

import itertools
import struct

import pytest

import ferry
from lab import CommandFailed

OK, ERR = 0, 1
RX, MAC, VLAN, ANNOUNCE, MQ, OFFLOADS, COAL, TUNNEL, STATS = range(9)
PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST = range(6)
TX_SET, RX_SET, VQ_SET, VQ_GET = range(4)
PAIRS_SET, RSS_CONFIG, HASH_CONFIG = range(3)
# Feature bits, where a test asks for few.
F_MAC, F_STATUS, F_CTRL_VQ, F_VERSION_1 = 1 << 5, 1 << 16, 1 << 17, 1 << 32
F_RX_EXTRA, F_HASH_TUNNEL, F_VQ_COAL, F_STATS = 1 << 20, 1 << 51, 1 << 52, 1 << 50
ALL = (1 << 64) - 1
PAIRS = 4
KEY = bytes((37 * i + 11) % 256 for i in range(40))
HASH_TYPES = 0x3f
GRE_2784, VXLAN = 1 << 0, 1 << 4
LOCAL = bytes.fromhex("525400773301")
BROADCAST = b"\xff" * 6
LISTED, UNLISTED = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
GROUP, OTHER_GROUP = bytes.fromhex("333300010001"), bytes.fromhex("333300010002")
numbers = itertools.count(1)


class Nic:
    """One NIC of the guest under ctrlnic; it has the state of a fresh driver after init()."""

    def __init__(self, vm, slot):
        self.vm, self.slot = vm, slot

    def ask(self, *requests):
        """Carries out requests and returns the lines of their answers."""
        return self.vm.sh(f"ctrlnic {self.slot} " + " ".join(f"'{r}'" for r in requests), timeout=120).splitlines()

    def init(self, mask=ALL):
        words = self.ask(f"init {mask:x}")[0].split()
        assert words[0] == "features" and len(words) == 4, words
        self.features, self.ctrl = int(words[1], 16), int(words[3]) - 1
        self.header_len = 20 if self.features >> 57 & 1 else 12
        return self.features

    def chains(self, *parts, queue=None):
        """Makes chains available, each when the one before it was used, and returns what became of them."""
        return self.ask(*(f"chain {self.ctrl if queue is None else queue} {p}" for p in parts))

    def commands(self, *commands, room=0):
        """Sends commands of (class, command, payload), and returns the acks with what is behind them."""
        lines = self.chains(*(f"r={bytes((c[0], c[1], *c[2])).hex()} w={1 + room}" for c in commands))
        assert all(line.startswith("used ") for line in lines), list(zip(commands, lines))
        answers = []
        for line in lines:
            _, length, written = line.split()
            answers.append(bytes.fromhex(written)[:int(length)])
        return answers

    def command(self, class_, command, payload=b"", room=0):
        return self.commands((class_, command, payload), room=room)[0]

    def accept(self, *commands):
        answers = self.commands(*commands)
        assert answers == [bytes([OK])] * len(commands), list(zip(commands, answers))

    def modes(self, **modes):
        self.accept(*((RX, globals()[name], [on]) for name, on in modes.items()))

    def send(self, frame):
        assert self.chains(f"r={bytes(self.header_len).hex()} r={frame.hex()}", queue=1) == ["used 0 "]

    def received(self, last):
        """Frames until this one: (pair, hash value, hash report, frame)."""
        lines = self.ask(f"frames {last[-4:].hex()}")
        assert lines[-1] != "late", lines
        frames = []
        for line in lines:
            _, pair, header, frame = line.split()
            value, report = struct.unpack("<IH", bytes.fromhex(header)[12:18]) if self.header_len == 20 else (0, 0)
            frames.append((int(pair), value, report, bytes.fromhex(frame)))
        return frames


class Guest(ferry.Vm):
    """Both its NICs are free for ctrlnic; it moves between vp0 with the TAP lt0 and vp1 with lt1."""

    def __init__(self, lab):
        lab.run("modprobe tun; ! [ -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        super().__init__(lab, "vp0", mem="128M", options=self.soft("vp0"))

    def boot(self):
        super().boot()
        self.vp, self.soft_nic = (Nic(self, slot) for slot in self.sh(ferry.CTRLNIC).split())
        return self

    @staticmethod
    def soft(node):
        # What is checked of rings and commands is on Ferry's own side of them.
        return f"--net soft,tap=lt{node[-1]},queues={PAIRS},mac={LOCAL.hex(':')},mode=shadow"

    def move(self):
        host = self.receive(self.other(), self.soft(self.other()))
        moved = self.send(host.address)
        if moved.status != 0:
            raise CommandFailed(f"ferry migrate ended with {moved.status}\n{moved.output}\n--- source\n"
                                f"{self.host.process.output()}\n--- destination\n{host.process.output()}")
        self.follow(host)

    def inject(self, *frames):
        """Puts frames into the software NIC's TAP."""
        self.lab.run(f"inject lt{self.node[-1]} " + " ".join(f.hex() for f in frames))


@pytest.fixture(scope="module")
def guests():
    """The guest that this file's tests share."""
    running = []
    yield running
    for guest in running:
        guest.close()


@pytest.fixture
def guest(labs, guests, request):
    if guests and (guests[0].lab is not labs.lab or not guests[0].host.process.running()):
        guests.pop()
    if not guests:
        labs.drop_guests()
        guests.append(Guest(labs.get()))
        guests[0].boot()
    yield guests[0]
    if getattr(request.node, "failed", True) and not request.node.lab_failed and guests:
        guests.pop().close()


@pytest.fixture
def vp(guest):
    guest.vp.init()
    return guest.vp


@pytest.fixture
def soft(guest):
    features = guest.soft_nic.init()
    wanted = F_RX_EXTRA | F_HASH_TUNNEL | F_VQ_COAL | F_STATS
    assert features & wanted == wanted, hex(features)
    return guest.soft_nic


def unique():
    return struct.pack("!I", 0xfe770000 + next(numbers))


def plain(destination):
    return destination + bytes.fromhex("02aabbccddee88b5") + bytes(46) + unique()


def mac_tables(unicast, multicast):
    return struct.pack("<I", len(unicast)) + b"".join(unicast) + struct.pack("<I", len(multicast)) + b"".join(multicast)


PROBES = {"own": LOCAL, "listed": LISTED, "unlisted": UNLISTED, "group": GROUP, "other group": OTHER_GROUP, "broadcast": BROADCAST}


def passing(guest, last=BROADCAST):
    """Which of the probes pass the software NIC's filter. @last, which must, is sent once more behind them."""
    end = plain(last)
    frames = {name: plain(address) for name, address in PROBES.items()}
    guest.inject(*frames.values(), end)
    arrived = [frame for _, _, _, frame in guest.soft_nic.received(end)]
    assert arrived.pop() == end
    return {name for name, frame in frames.items() if frame in arrived}


@pytest.mark.long
def test_receive_modes(lab, guest, vp, soft):
    """Each of RX_EXTRA's modes, as QEMU tells it of its NICs and as frames show it of Ferry's; all of them carried, on and off."""
    for nic in (vp, soft):
        nic.modes(PROMISC=0)
        nic.accept((MAC, 0, mac_tables([LISTED], [GROUP])))
    usual = {"own", "listed", "group", "broadcast"}
    assert passing(guest) == usual
    soft.modes(ALLUNI=1)
    assert passing(guest) == usual | {"unlisted"}
    soft.modes(ALLUNI=0, ALLMULTI=1, NOMULTI=1)
    assert passing(guest) == usual - {"group"}
    soft.modes(NOMULTI=0)
    assert passing(guest) == usual | {"other group"}
    soft.modes(ALLMULTI=0, NOBCAST=1)
    assert passing(guest, last=LOCAL) == usual - {"broadcast"}
    soft.modes(NOBCAST=0, NOUNI=1, NOMULTI=1)
    assert passing(guest) == {"broadcast"}

    before = lab.rx_filter(guest.node)
    assert (before["unicast"], before["multicast"]) == ("normal", "normal"), before
    vp.modes(NOUNI=1, NOMULTI=1, NOBCAST=1)
    state = lab.rx_filter(guest.node)
    # QEMU tells of the mode NOBCAST under the name of its contrary.
    assert state == {**before, "unicast": "none", "multicast": "none", "broadcast-allowed": not before["broadcast-allowed"]}
    guest.move()
    assert lab.rx_filter(guest.node) == state
    assert passing(guest) == {"broadcast"}

    for nic in (vp, soft):
        nic.modes(NOUNI=0, NOMULTI=0, ALLUNI=1, NOBCAST=0)
    soft.modes(NOBCAST=1)
    state = lab.rx_filter(guest.node)
    assert state == {**before, "unicast": "all"}
    guest.move()
    assert lab.rx_filter(guest.node) == state
    assert passing(guest, last=LOCAL) == usual - {"broadcast"} | {"unlisted"}


def coal(packets, usecs):
    return struct.pack("<II", packets, usecs)


def test_coalescing_of_single_queues(guest, soft):
    """VQ_SET's values, the last word for their queues until TX_SET or RX_SET comes, as the device gives them back."""
    # Of each queue; the order of commands is that of their precedence.
    soft.accept((COAL, VQ_SET, struct.pack("<HH", 0, 0) + coal(1, 11)),
                (COAL, RX_SET, coal(2, 22)),
                (COAL, TX_SET, coal(3, 33)),
                *((COAL, VQ_SET, struct.pack("<HH", q, 0) + coal(10 + q, 100 + q)) for q in (1, 4, 7)))

    def values():
        answers = soft.commands(*((COAL, VQ_GET, struct.pack("<HH", q, 0)) for q in range(2 * PAIRS)), room=8)
        assert {(len(a), a[0]) for a in answers} == {(9, OK)}, answers
        return [struct.unpack("<II", a[1:]) for a in answers]

    wanted = [(10 + q, 100 + q) if q in (1, 4, 7) else (3, 33) if q % 2 else (2, 22) for q in range(2 * PAIRS)]
    assert values() == wanted
    guest.move()
    assert values() == wanted


def toeplitz(data):
    key, result = int.from_bytes(KEY, "big"), 0
    for i in range(8 * len(data)):
        if data[i // 8] >> 7 - i % 8 & 1:
            result ^= key >> (8 * len(KEY) - 32 - i) & 0xFFFFFFFF
    return result


def ipv4(source, destination, protocol, payload):
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0, source, destination) + payload


def udp(source, destination, payload):
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


OUTER = (bytes([10, 1, 0, 1]), bytes([10, 1, 0, 2]))
INNER = (bytes([192, 168, 7, 1]), bytes([192, 168, 7, 2]))
ETHERNET = LOCAL + bytes.fromhex("02aabbccddee0800")
FLOWS = range(2000, 2012)


def inner(port):
    return ipv4(*INNER, 17, udp(port, 53, unique()))


def in_vxlan(port):
    return ETHERNET + ipv4(*OUTER, 17, udp(40000, 4789, bytes.fromhex("0800000000002a00") + ETHERNET + inner(port)))


def in_gre(port):
    return ETHERNET + ipv4(*OUTER, 47, struct.pack("!HH", 0, 0x0800) + inner(port))


def hashes(guest, make):
    """(pair, hash, report) of each of a tunnel's flows. L1's TAP may spread them over its queues, whose order is open."""
    frames = [make(port) for port in FLOWS]
    guest.inject(*frames)
    found = {}
    for frame in frames:
        if frame not in found:
            found.update((arrived[3], arrived[:3]) for arrived in guest.soft_nic.received(frame))
    return [found[frame] for frame in frames]


def expected(data, report):
    value = toeplitz(data)
    return (value & 127) % PAIRS, value, report


@pytest.mark.long
def test_hash_of_the_inner_packet(guest, soft):
    """Packets in tunnels are steered and their hash reported by what HASH_TUNNEL_SET said, before and after a move."""
    table = struct.pack("<128H", *(i % PAIRS for i in range(128)))
    soft.accept((MQ, RSS_CONFIG, struct.pack("<IHH", HASH_TYPES, 127, 0) + table + struct.pack("<HB", PAIRS, len(KEY)) + KEY))
    # Reports: 1 is IPv4, 3 UDP over IPv4.
    by_outer = {in_vxlan: [expected(b"".join(OUTER) + struct.pack("!HH", 40000, 4789), 3)] * len(FLOWS),
                in_gre: [expected(b"".join(OUTER), 1)] * len(FLOWS)}
    by_inner = [expected(b"".join(INNER) + struct.pack("!HH", port, 53), 3) for port in FLOWS]
    assert len({pair for pair, _, _ in by_inner}) > 1
    for make, wanted in by_outer.items():
        assert hashes(guest, make) == wanted
    soft.accept((TUNNEL, 0, struct.pack("<I", VXLAN)))
    assert soft.command(TUNNEL, 0, struct.pack("<I", 1 << 20 | GRE_2784)) == bytes([ERR])
    assert hashes(guest, in_vxlan) == by_inner
    guest.move()
    assert hashes(guest, in_vxlan) == by_inner
    assert hashes(guest, in_gre) == by_outer[in_gre]
    soft.accept((TUNNEL, 0, struct.pack("<I", GRE_2784)))
    assert hashes(guest, in_vxlan) == by_outer[in_vxlan]
    assert hashes(guest, in_gre) == by_inner


def stats(nic, *items):
    """Counters of (queue, type), in the order of the specification's structures."""
    request = b"".join(struct.pack("<HHHHQ", queue, 0, 0, 0, 1 << type_) for queue, type_ in items)
    reply = nic.command(STATS, 1, request, room=64 * len(items))
    assert reply[0] == OK, reply
    found, at = [], 1
    for queue, type_ in items:
        got_type, _, got_queue, _, size = struct.unpack_from("<BBHHH", reply, at)
        assert (got_type, got_queue) == (type_, queue)
        found.append(struct.unpack_from(f"<{(size - 8) // 8}Q", reply, at + 8))
        at += size
    assert at == len(reply)
    return found


RX_BASIC, TX_BASIC, CVQ = 0, 16, 32


@pytest.mark.long
def test_statistics(guest, soft):
    reply = soft.command(STATS, 0, room=8)
    types = struct.unpack("<Q", reply[1:])[0]
    assert reply[0] == OK and all(types >> t & 1 for t in (RX_BASIC, TX_BASIC, CVQ)), reply
    frames = [plain(LOCAL) for _ in range(5)]
    guest.inject(*frames)
    soft.received(frames[-1])
    soft.send(frames[0])
    items = ((0, RX_BASIC), (1, TX_BASIC), (soft.ctrl, CVQ))
    rx, tx, ctrl = stats(soft, *items)
    # Notifications, packets, bytes; commands, those accepted.
    assert rx[1:3] == (5, 5 * 64) and tx[1:3] == (1, 64), (rx, tx)
    again, = stats(soft, items[2])
    assert again == (ctrl[0] + 1, ctrl[1] + 1)
    guest.move()
    guest.inject(*frames[:3])
    soft.received(frames[2])
    soft.send(frames[0])
    rx, tx, after = stats(soft, *items)
    # Ferry's announcements, of 60 bytes each, go out by the same ring.
    assert rx[1:3] == (8, 8 * 64) and tx[1] >= 2 and tx[2] - 2 * 64 == 60 * (tx[1] - 2), (rx, tx)
    assert after[0] > ctrl[0] and after[1] > ctrl[1]


def rss(table=128, queue=0, tx=PAIRS, key=40, types=HASH_TYPES, length=None):
    body = struct.pack(f"<IHH{table}HHB", types, table - 1, 0, *[queue] * table, tx, key) + bytes(key)
    return (MQ, RSS_CONFIG, body if length is None else body[:length])


# What no device may see: unknown, too short, too long, or with values that make no sense.
WRONG = [
    (RX, 6, [1]), (MAC, 2, []), (VLAN, 2, [1, 0]), (ANNOUNCE, 1, []), (MQ, 3, [1, 0]), (OFFLOADS, 1, bytes(8)), (COAL, 4, bytes(8)),
    (TUNNEL, 1, bytes(4)), (STATS, 2, []), (9, 0, []), (255, 255, bytes(40)),
    (RX, PROMISC, []), (RX, NOBCAST, [1, 1]), (RX, ALLUNI, bytes(1000)),
    (MAC, 0, bytes(4)), (MAC, 0, bytes(9)), (MAC, 0, struct.pack("<I", 0xFFFFFFFF) + bytes(4)),
    (MAC, 0, struct.pack("<I", 0x2AAAAAAB) + bytes(10)), (MAC, 0, struct.pack("<II", 0, 0xFFFFFFFF)),
    (MAC, 0, mac_tables([LISTED], [])[:-1]), (MAC, 0, mac_tables([LISTED], [GROUP]) + b"\0"),
    (MAC, 1, LOCAL[:5]), (MAC, 1, LOCAL + b"\0"), (MAC, 1, bytes(6)), (MAC, 1, GROUP), (MAC, 1, b"\xff" * 6),
    (VLAN, 0, [5]), (VLAN, 0, [0, 16]), (VLAN, 1, [5, 0, 0]),
    (ANNOUNCE, 0, []), (ANNOUNCE, 0, [0]),
    (MQ, PAIRS_SET, [1]), (MQ, PAIRS_SET, [0, 0]), (MQ, PAIRS_SET, [PAIRS + 1, 0]), (MQ, PAIRS_SET, [1, 128]),
    rss(table=3), rss(table=512), rss(queue=PAIRS), rss(queue=0x8000), rss(tx=0), rss(tx=PAIRS + 1), rss(key=255), rss(types=1 << 31),
    rss(length=8), rss(length=200),
    (MQ, HASH_CONFIG, bytes(12) + b"\x29" + bytes(40)), (MQ, HASH_CONFIG, bytes(12)),
    (OFFLOADS, 0, bytes(7) + b"\x80"), (OFFLOADS, 0, bytes(4)),
    (COAL, TX_SET, bytes(4)), (COAL, VQ_SET, struct.pack("<HHII", 2 * PAIRS, 0, 1, 1)), (COAL, VQ_GET, struct.pack("<HH", 0xFFFF, 0)),
    (TUNNEL, 0, struct.pack("<I", 1 << 31)), (TUNNEL, 0, bytes(3)),
    (STATS, 1, []), (STATS, 1, bytes(15)), (STATS, 1, struct.pack("<HHHHQ", 2 * PAIRS + 1, 0, 0, 0, 1)),
    (STATS, 1, struct.pack("<HHHHQ", 1, 0, 0, 0, 1 << RX_BASIC)), (STATS, 1, struct.pack("<HHHHQ", 0, 0, 0, 0, 1 << 40)),
]
# Nothing to read; half a header; more than the longest command has; nowhere for an answer.
WRONG_CHAINS = {"w=1": "used 1 01", "r=00 w=1": "used 1 01", "r=0000 " + "r=01*4096 " * 13 + "w=1": "used 1 01", "r=000001": "used 0 ",
                "r=0000 r=01 w=0": "used 0 "}
# Right, but for features that are not negotiated.
RIGHT = [(RX, PROMISC, [1]), (RX, NOMULTI, [1]), (MAC, 0, mac_tables([LISTED], [])), (MAC, 1, LOCAL), (VLAN, 0, [5, 0]),
         (MQ, PAIRS_SET, [1, 0]), rss(queue=0, tx=1), (MQ, HASH_CONFIG, bytes(12) + b"\x28" + KEY), (OFFLOADS, 0, bytes(8)),
         (COAL, TX_SET, coal(1, 1)), (COAL, VQ_SET, bytes(4) + coal(1, 1)), (COAL, VQ_GET, bytes(4)), (TUNNEL, 0, bytes(4)),
         (STATS, 0, []), (STATS, 1, struct.pack("<HHHHQ", 0, 0, 0, 0, 1))]


def refuses(nic, commands):
    for command, answer in zip(commands, nic.commands(*commands, room=64)):
        assert answer == bytes([ERR]), (command, answer)


def test_wrong_commands_are_refused(lab, guest, vp, soft):
    """They are answered, each at once, and the device has not seen them: QEMU's NIC is as it was, Ferry's has counted none."""
    for nic in (vp, soft):
        nic.modes(PROMISC=0)
    state = lab.rx_filter(guest.node)
    counted, = stats(soft, (soft.ctrl, CVQ))
    for nic in (vp, soft):
        refuses(nic, WRONG)
        assert dict(zip(WRONG_CHAINS, nic.chains(*WRONG_CHAINS))) == WRONG_CHAINS
    assert lab.rx_filter(guest.node) == state
    after, = stats(soft, (soft.ctrl, CVQ))
    # Those that asked for it.
    assert after == (counted[0] + 1, counted[1] + 1), (counted, after)
    # A driver that cannot set the address starts only where the device has the guest's by itself: where it was booted.
    if guest.node != "vp0":
        guest.move()
    for nic in (vp, soft):
        nic.init(F_VERSION_1 | F_CTRL_VQ | F_MAC | F_STATUS)
        assert nic.ctrl == 2
    state = lab.rx_filter(guest.node)
    for nic in (vp, soft):
        refuses(nic, RIGHT)
    assert lab.rx_filter(guest.node) == state


@pytest.mark.long
def test_forms_of_commands(lab, guest, vp, soft):
    """What the specification leaves to the driver: how a command is cut into buffers, where they are, what room the answer has."""
    def add(vid):
        return bytes([VLAN, 0, vid, 0])

    one_by_one = [bytes([b]).hex() for b in add(3)]
    table = bytes([MAC, 0]) + mac_tables([LISTED, UNLISTED] * 10, [GROUP])
    forms = [f"r={add(1).hex()} w=1",
             f"r={add(2)[:2].hex()} r={add(2)[2:].hex()} w=1",
             " ".join(f"r={b}" for b in one_by_one) + " w=1",
             f"r={add(4).hex()} w=1 indirect",
             f"r={add(5)[:1].hex()} r={add(5)[1:].hex()} w=1 indirect",
             f"r= r={add(6)[:3].hex()} r= r={add(6)[3:].hex()} w=0 w=1 w=0",
             f"r={add(7).hex()} w=0 w=1 w=40 indirect",
             f"r={add(8).hex()} w=4096",
             " ".join(f"r={bytes([b]).hex()}" for b in add(9)) + " r=" * 50 + " w=1",
             " ".join(f"r={table[i:i + 3].hex()}" for i in range(0, len(table), 3)) + " w=1 indirect"]
    for nic in (vp, soft):
        nic.modes(PROMISC=0)
        for form, became in zip(forms, nic.chains(*forms)):
            assert became.startswith("used 1 00"), (form, became)
    state = lab.rx_filter(guest.node)
    assert state["vlan-table"] == "1-9"
    assert set(state["unicast-table"]) == {LISTED.hex(":"), UNLISTED.hex(":")} and state["multicast-table"] == [GROUP.hex(":")]
    assert passing(guest) == {"own", "listed", "unlisted", "group", "broadcast"}


COMMAND = bytes([RX, PROMISC, 1]).hex()
# Queue (None: the control queue) and chain.
HOSTILE = [
    (None, f"r={COMMAND} w=1 loop"), (None, f"r={COMMAND} w=1 loop indirect"),
    (None, f"w=1 r={COMMAND}"), (None, f"r={COMMAND} w=1 r=00 indirect"),
    (None, "R=0x100000000000,3 w=1"), (None, "R=0xfffffffffffffffe,3 w=1"), (None, f"r={COMMAND} W=0x7fffffffffff0000,1"),
    (None, "R=0x1000,0xffffffff w=1"), (None, f"r={COMMAND} w=1 head=64"), (None, f"r={COMMAND} w=1 ahead=300"),
    (0, "W=0x100000000000,1526"), (1, "R=0x100000000000,64"), (1, "r=00*12 r=00*60 loop"), (1, "w=64 r=00*72"), (1, "r=00*72 head=65535"),
]


def test_hostile_driver(lab, guest, vp, soft):
    """A NIC whose driver breaks a ring's rules stops alone, and works again after the driver's reset, whatever it was."""
    pid = guest.host.pid()
    for nic, other in ((vp, soft), (soft, vp)):
        again = [f"init {ALL:x}", f"chain {nic.ctrl} r={COMMAND} w=1"]
        requests = [[f"chain {nic.ctrl if queue is None else queue} {chain}", "status", *again] for queue, chain in HOSTILE]
        answers = iter(nic.ask(*sum(requests, [])))
        for request in requests:
            broken, status, _, done = itertools.islice(answers, len(request))
            assert broken == "needs reset" and int(status.split()[1], 16) & 0x40, (request, broken, status)
            assert done == "used 1 00", request
        assert nic.chains(f"w=1 r={COMMAND}") == ["needs reset"]
        other.modes(PROMISC=0, ALLMULTI=1)
        nic.init()
    assert guest.host.process.running() and guest.host.pid() == pid
    assert lab.rx_filter(guest.node)["multicast"] == "all"
    soft.modes(PROMISC=0)
    assert passing(guest) == {"own", "broadcast"}


@pytest.mark.long
def test_broken_nic_moves(lab, guest, vp, soft):
    """It arrives as broken as it was, and its driver's reset makes it work there."""
    for nic in (vp, soft):
        assert nic.chains(f"w=1 r={COMMAND}") == ["needs reset"]
    guest.move()
    for nic in (vp, soft):
        assert int(nic.ask("status")[0].split()[1], 16) & 0x40
        nic.init()
        nic.modes(PROMISC=0, ALLMULTI=1)
    assert lab.rx_filter(guest.node)["multicast"] == "all"
    assert passing(guest) == {"own", "group", "other group", "broadcast"}
