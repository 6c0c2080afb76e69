# SPDX-License-Identifier: GPL-2.0-or-later
"""What several tests check in the same way: the network works, in both directions and on all rings, and nothing was lost."""

import re
import socket
import subprocess
import time

import netns
from ferry import GUEST_ADDRESS


def pings(lab, count=20, address=GUEST_ADDRESS):
    """The guest answers pings: all of them, each once."""
    pinger = netns.Pinger(lab.namespace, address)
    answered = pinger.wait_answers(count, 30)
    result = pinger.stop()
    assert answered and not result["duplicates"], f"ping: {result}"


def nettest(lab):
    return str(lab.images / "helpers" / "nettest")


def tcp_from_guest(vm, size=2_000_000, port=5001):
    sink = vm.lab.namespace.popen([nettest(vm.lab), "sink", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        sink.stdout.readline()
        vm.sh(f"nettest source {vm.lab.bridge_address} {port} {size}", timeout=90)
        output = sink.communicate(timeout=20)[0]
    finally:
        sink.kill()
        sink.wait()
    assert f"received {size} ok" in output


def tcp_to_guest(vm, size=2_000_000, port=5002, address=GUEST_ADDRESS):
    """A checked TCP stream from L0 to the guest, whose sink is known to listen before the source starts."""
    vm.sh(f"nettest sink {port} > /tmp/sink 2>&1 & until grep -q listening /tmp/sink; do usleep 20000; done")
    subprocess.run(["ip", "netns", "exec", vm.lab.namespace.name, nettest(vm.lab), "source", address, str(port), str(size)],
                   check=True, stdout=subprocess.PIPE, timeout=120)
    output = vm.sh("until grep -q -e received -e wrong /tmp/sink; do usleep 20000; done; cat /tmp/sink; rm /tmp/sink")
    assert f"received {size} ok" in output


def traffic(vm):
    pings(vm.lab)
    tcp_from_guest(vm)
    tcp_to_guest(vm)


def queue_packets(vm):
    """Packets received on each receive queue so far, by the guest driver's own counters."""
    text = vm.sh("ethtool -S eth0")
    return {int(q): int(n) for q, n in re.findall(r"rx(?:_queue_|)(\d+)_packets: (\d+)", text)}


def spread(vm, flows=64, each=4):
    """Sends UDP packets of many flows to the guest and returns how many more came on each receive queue."""
    before = queue_packets(vm)
    sender = vm.lab.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    expected = flows * each
    with sender:
        for port in range(flows):
            for _ in range(each):
                sender.sendto(b"x" * 100, (GUEST_ADDRESS, 20000 + port))
            # Paced to what a guest under nested TCG takes: its rings are to be used, not overrun.
            time.sleep(0.01)
    deadline = time.monotonic() + 10
    while True:
        after = queue_packets(vm)
        more = {q: after[q] - before.get(q, 0) for q in after}
        if sum(more.values()) >= expected or time.monotonic() > deadline:
            break
    assert sum(more.values()) >= expected, f"of {expected} packets came {more}"
    return more


def rings_are_well(vm):
    """No ring error that the guest's driver or Ferry noticed: a doubled, lost or wrong buffer."""
    log = vm.sh("dmesg | grep -E 'not a head|bad gso|virtio.*(error|broken|fail)|Unexpected (TXQ|RXQ)|hung_task|BUG:|Oops' || true")
    assert not log.strip(), f"the guest's kernel says: {log}"
    said = vm.host.process.output()
    assert "needs reset" not in said.lower() and "error" not in said.lower(), f"ferry says: {said}"
