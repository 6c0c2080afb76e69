# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's network namespace on L0: sockets in it, a bridge with taps, a ping with one result a packet, raw frames."""

import ctypes
import itertools
import os
import select
import socket
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Namespace:
    def __init__(self, name):
        self.name = name
        sh(f"ip netns add {name}")
        try:
            # Nothing but what a test sends: no IPv6 solicitations on any interface made from here on.
            self.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 && ip link set lo up")
        except Exception:
            self.close()
            raise

    def sh(self, command):
        """Runs a shell command in the namespace; an error if it fails."""
        result = subprocess.run(["ip", "netns", "exec", self.name, "sh", "-c", command], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
        if result.returncode:
            raise RuntimeError(f"in {self.name}: {command}: {result.stdout}")
        return result.stdout

    def popen(self, arguments, **options):
        return subprocess.Popen(["ip", "netns", "exec", self.name] + arguments, **options)

    def bridge(self, name, address=None):
        self.sh(f"ip link add {name} type bridge mcast_snooping 0 stp_state 0 forward_delay 0 && ip link set {name} up")
        if address:
            self.sh(f"ip addr add {address} dev {name}")

    def tap(self, name, bridge=None, address=None, multi_queue=False):
        self.sh(f"ip tuntap add {name} mode tap vnet_hdr {'multi_queue' if multi_queue else ''}")
        if bridge:
            self.sh(f"ip link set {name} master {bridge}")
        if address:
            self.sh(f"ip addr add {address} dev {name}")
        self.sh(f"ip link set {name} up")

    def call(self, function):
        """Calls the function in a thread that is in the namespace: sockets it makes stay there."""
        result = []

        def run():
            fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                if libc.setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                result.append((True, function()))
            except BaseException as e:  # handed to the caller's thread
                result.append((False, e))
            finally:
                os.close(fd)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        ok, value = result[0]
        if not ok:
            raise value
        return value

    def socket(self, *arguments):
        return self.call(lambda: socket.socket(*arguments))

    def raw(self, interface):
        """An AF_PACKET socket that sends and receives whole frames on the interface."""
        def make():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.bind((interface, 0))
            return s
        return self.call(make)

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name])


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ranges(numbers):
    """A list of numbers for people: "0-3 7"."""
    parts = []
    for _, group in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]))
    return " ".join(parts)


def numbers(text):
    """The numbers that ranges() has made a text of."""
    parts = [part.split("-") for part in text.split()]
    return {number for part in parts for number in range(int(part[0]), int(part[-1]) + 1)}


class Pinger:
    """Sends ICMP echo requests at a steady rate from a thread of its own and notes when each answer came.

    No more than @window are under way: a slow guest is not overrun. Where that many have got no answer one more goes out a second; these
    are not counted as lost, so that an interruption costs no more packets on a slow machine than on a fast one.
    """

    WINDOW = 8

    def __init__(self, namespace, address, rate=100, window=WINDOW):
        self.address = address
        self.window = window
        self.interval = 1 / rate
        self.socket = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.identity = os.getpid() & 0xFFFF ^ (id(self) >> 4) & 0xFFFF
        self.sent = []
        self.knocks = set()
        self.answered = {}
        self.newest = -1
        self.duplicates = 0
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _send(self):
        number = len(self.sent)
        body = struct.pack("!HHQ", self.identity, number & 0xFFFF, number) + b"ferry lab ping!!"
        packet = struct.pack("!BBH", 8, 0, checksum(struct.pack("!BBH", 8, 0, 0) + body)) + body
        self.sent.append(time.monotonic())
        try:
            self.socket.sendto(packet, (self.address, 0))
        except OSError:
            pass  # no neighbour entry for the moment: a lost packet like others

    def _receive(self):
        data = self.socket.recv(2048)
        now = time.monotonic()
        data = data[(data[0] & 15) * 4:]
        if len(data) < 20 or data[0] != 0:
            return
        identity, _, number = struct.unpack_from("!HHQ", data, 4)
        if identity != self.identity or number >= len(self.sent):
            return
        with self.changed:
            if number in self.answered:
                self.duplicates += 1
            else:
                self.answered[number] = now
                self.newest = max(self.newest, number)
            self.changed.notify_all()

    def _run(self):
        next_send = time.monotonic()
        drain_until = None
        while True:
            now = time.monotonic()
            if self.stopping.is_set() and drain_until is None:
                drain_until = now + 2
            if drain_until is not None and (now >= drain_until or len(self.answered) == len(self.sent)):
                return
            full = len(self.sent) - 1 - self.newest >= self.window
            due = max(next_send, self.sent[-1] + 1) if full else next_send
            if drain_until is None and now >= due:
                if full:
                    self.knocks.add(len(self.sent))
                self._send()
                next_send = max(next_send + self.interval, now)
                continue
            wait = (drain_until if drain_until is not None else due) - now
            if select.select([self.socket], [], [], max(0, wait))[0]:
                self._receive()

    def wait_answers(self, more=1, timeout=20):
        """Waits until so many further answers came; False if they did not."""
        with self.changed:
            target = len(self.answered) + more
            return self.changed.wait_for(lambda: len(self.answered) >= target, timeout)

    def stop(self):
        """Ends it and returns what was seen: counts, the longest time without an answer, the longest answer time, in ms."""
        self.stopping.set()
        self.thread.join()
        self.socket.close()
        times = sorted(self.answered.values())
        gaps = [b - a for a, b in zip(times, times[1:])]
        trips = [t - self.sent[n] for n, t in self.answered.items()]
        # What was still under way at its end is not.
        lost = [n for n in range(self.newest) if n not in self.answered and n not in self.knocks]
        return {"sent": len(self.sent), "answered": len(self.answered), "duplicates": self.duplicates,
                "lost": len(lost), "lost_at": ranges(lost),
                "gap_ms": round(max(gaps, default=0) * 1e3, 1), "trip_ms": round(max(trips, default=0) * 1e3, 1)}
