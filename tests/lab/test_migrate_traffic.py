# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations to and fro under a ping and TCP streams in both directions: nothing lost by TCP, the rings as before."""

import re

import pytest

import checks


@pytest.mark.parametrize("migrations", [3, pytest.param(10, marks=pytest.mark.long)])
def test_migrations_under_traffic(vm, ping, migrations):
    vm.sh("ethtool -L eth0 combined 4")
    vm.sh("ticker 5 > /tmp/ticks 2>&1 & echo $! > /tmp/ticker.pid")
    pinger = ping(vm)
    with checks.Streams(vm) as streams:
        downtimes = []
        for _ in range(migrations):
            downtimes.append(vm.migrate().downtime_ms)
            checks.answered(vm, pinger, 50)
            streams.go_on()
        result = pinger.stop()
        streams.end()
    print(f"downtimes {downtimes} ms; ping {result['answered']} of {result['sent']}, longest gap {result['gap_ms']} ms")
    assert not result["duplicates"], result
    # A packet that was on its way at a switchover may be lost, as on any network.
    assert result["lost"] <= migrations * pinger.WINDOW, result
    checks.no_buffer_is_lost(vm)
    checks.rings_are_well(vm)
    ticks = vm.sh("kill $(cat /tmp/ticker.pid); until grep -q ticks /tmp/ticks; do usleep 50000; done; cat /tmp/ticks")
    print(ticks)
    assert float(re.search(r"backwards ([0-9.]+) ms", ticks)[1]) == 0, ticks


def test_plain_tcp_is_refused_with_what_to_use(vm):
    moved = vm.send("tcp:127.0.0.1:4444")
    assert moved.status == 2 and "use ssh:HOST, or tls:HOST:PORT" in moved.output, moved.output
    checks.traffic(vm)
