# SPDX-License-Identifier: GPL-2.0-or-later
"""Ten migrations to and fro under a ping and TCP streams in both directions: nothing lost by TCP, the rings as before."""

import re
import subprocess

import checks

MIGRATIONS = 10


def test_ten_migrations_under_traffic(lab, vm, ping):
    vm.sh("ethtool -L eth0 combined 4")
    # Streams long enough for all migrations; they are ended, with everything sent so far checked, by closing the sender.
    rate, size = 300_000, 40_000_000
    vm.sh("ticker 5 > /tmp/ticks 2>&1 & echo $! > /tmp/ticker.pid")
    sink = lab.namespace.popen([checks.nettest(lab), "sink", "5003"], stdout=subprocess.PIPE, text=True)
    sink.stdout.readline()
    vm.sh(f"nettest source {lab.bridge_address} 5003 {size} {rate} > /tmp/source 2>&1 &")
    vm.sh("nettest sink 5004 > /tmp/sink 2>&1 & until grep -q listening /tmp/sink; do usleep 20000; done")
    source = lab.namespace.popen([checks.nettest(lab), "source", "10.77.0.2", "5004", str(size), str(rate)],
                                 stdout=subprocess.PIPE, text=True)
    pinger = ping()
    try:
        downtimes = []
        for _ in range(MIGRATIONS):
            downtimes.append(vm.migrate().downtime_ms)
            assert pinger.wait_answers(50, 30), "no answers after the migration"
            assert source.poll() is None and sink.poll() is None, "a TCP stream ended during the migrations"
        result = pinger.stop()
        sent = source.communicate(timeout=300)[0]
        received = sink.communicate(timeout=300)[0]
    finally:
        for process in (sink, source):
            process.kill()
            process.wait()
    assert f"received {size} ok" in received
    assert f"sent {size}" in sent
    assert f"received {size} ok" in vm.sh("until grep -q received /tmp/sink; do usleep 50000; done; cat /tmp/sink")
    print(f"downtimes {downtimes} ms; ping {result['answered']} of {result['sent']}, longest gap {result['gap_ms']} ms")
    assert not result["duplicates"], result
    # A packet that was on its way at a switchover may be lost, as on any network; ten switchovers do not lose more than a blink.
    assert len(result["lost"]) <= 10 * MIGRATIONS, result
    checks.no_buffer_is_lost(vm)
    checks.rings_are_well(vm)
    ticks = vm.sh("kill $(cat /tmp/ticker.pid); until grep -q ticks /tmp/ticks; do usleep 50000; done; cat /tmp/ticks")
    print(ticks)
    assert float(re.search(r"backwards ([0-9.]+) ms", ticks)[1]) == 0, ticks
