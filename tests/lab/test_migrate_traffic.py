# SPDX-License-Identifier: GPL-2.0-or-later
"""Ten migrations to and fro under a ping and TCP streams in both directions: nothing lost by TCP, the rings as before."""

import re
import subprocess

import checks

MIGRATIONS = 10


def total(output, verb):
    """The bytes that nettest says it has sent, or received and found to be right."""
    return int(re.search(rf"{verb} (\d+) (?:ok|in)", output)[1])


def streams_go_on(vm):
    """The guest sends and gets some more segments full of data, whatever else comes."""
    counters = "cd /sys/class/net/eth0/statistics && cat rx_bytes tx_bytes"
    before = [int(n) for n in vm.sh(counters).split()]
    assert checks.eventually(vm.lab, lambda: all(int(n) > b + 50_000 for n, b in zip(vm.sh(counters).split(), before))), \
        "a stream stands still"


def test_ten_migrations_under_traffic(lab, vm, ping):
    vm.sh("ethtool -L eth0 combined 4")
    # Both streams end when told to, and then have arrived as a whole.
    rate, size = 300_000, 10**12
    vm.sh("ticker 5 > /tmp/ticks 2>&1 & echo $! > /tmp/ticker.pid")
    sink = lab.namespace.popen([checks.nettest(lab), "sink", "5003"], stdout=subprocess.PIPE, text=True)
    sink.stdout.readline()
    vm.sh(f"nettest source {lab.bridge_address} 5003 {size} {rate} > /tmp/source 2>&1 & echo $! > /tmp/source.pid")
    vm.sh("nettest sink 5004 > /tmp/sink 2>&1 & until grep -q listening /tmp/sink; do usleep 20000; done")
    source = lab.namespace.popen([checks.nettest(lab), "source", "10.77.0.2", "5004", str(size), str(rate)],
                                 stdout=subprocess.PIPE, text=True)
    pinger = ping(vm)
    try:
        downtimes = []
        for _ in range(MIGRATIONS):
            downtimes.append(vm.migrate().downtime_ms)
            checks.answered(vm, pinger, 50)
            streams_go_on(vm)
            assert source.poll() is None and sink.poll() is None, "a TCP stream ended during the migrations"
        result = pinger.stop()
        source.terminate()
        sent = lab.ended(source)
        guest_sent = vm.sh("kill $(cat /tmp/source.pid); until grep -q -e sent -e : /tmp/source; do usleep 20000; done; cat /tmp/source")
        received = lab.ended(sink)
    finally:
        for process in (sink, source):
            process.kill()
            process.wait()
    guest_received = vm.sh("until grep -q -e received -e wrong /tmp/sink; do usleep 20000; done; cat /tmp/sink")
    assert total(guest_sent, "sent") == total(received, "received")
    assert total(sent, "sent") == total(guest_received, "received")
    print(f"downtimes {downtimes} ms; ping {result['answered']} of {result['sent']}, longest gap {result['gap_ms']} ms")
    assert not result["duplicates"], result
    # A packet that was on its way at a switchover may be lost, as on any network.
    assert result["lost"] <= MIGRATIONS * pinger.WINDOW, result
    checks.no_buffer_is_lost(vm)
    checks.rings_are_well(vm)
    ticks = vm.sh("kill $(cat /tmp/ticker.pid); until grep -q ticks /tmp/ticks; do usleep 50000; done; cat /tmp/ticks")
    print(ticks)
    assert float(re.search(r"backwards ([0-9.]+) ms", ticks)[1]) == 0, ticks


def test_plain_tcp_is_refused_with_what_to_use(vm):
    moved = vm.send("tcp:127.0.0.1:4444")
    assert moved.status == 2 and "use ssh:HOST, or tls:HOST:PORT" in moved.output, moved.output
    checks.traffic(vm)
