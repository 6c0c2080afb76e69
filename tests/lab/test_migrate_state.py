# SPDX-License-Identifier: GPL-2.0-or-later
"""Every family of control commands: set it with the guest's ordinary tools, migrate, compare what the devices do."""

import pytest

import checks

KEY = ":".join(f"{(37 * i + 11) % 256:02x}" for i in range(40))


def addresses(prefix, count):
    """Adds many addresses, by one run of bridge: a process for each would take the guest minutes."""
    return (f"i=1; while [ $i -le {count} ]; do printf 'fdb add {prefix}:%02x:%02x dev eth0 self\\n' $((i / 256)) $((i % 256)); "
            "i=$((i + 1)); done > /tmp/f; bridge -batch /tmp/f && rm /tmp/f")


def unicast(count):
    return addresses("02:00:00:00", count)


def multicast(count):
    return addresses("33:33:00:01", count)


def vlans(first, last):
    return (f"i={first}; while [ $i -le {last} ]; do echo link add link eth0 name v$i type vlan id $i; i=$((i+1)); done > /tmp/v; "
            "ip -batch /tmp/v && rm /tmp/v")


PROMISC = "ip link set dev eth0 promisc on"
ALLMULTI = "ip link set dev eth0 allmulticast on"
MAC = "ip link set dev eth0 address 02:11:22:33:44:55"
PAIRS = "ethtool -L eth0 combined 4"
RSS = f"{PAIRS} && ethtool -X eth0 hkey {KEY} weight 0 0 1 3"
HASH = "ethtool -K eth0 rxhash on && ethtool -N eth0 rx-flow-hash udp4 sdfn && ethtool -N eth0 rx-flow-hash tcp4 sd"
OFFLOADS = "ethtool -K eth0 rx-gro-hw off"

FAMILIES = {
    "default": "true",
    "promisc": PROMISC,
    "allmulti": ALLMULTI,
    "promisc-and-back": f"{PROMISC}; ip link set dev eth0 promisc off",
    "mac": MAC,
    "unicast": unicast(5),
    "multicast": multicast(5),
    "64-macs": unicast(32) + "\n" + multicast(30),
    "700-macs": unicast(350) + "\n" + multicast(350),
    "vlan": vlans(100, 102),
    "pairs": PAIRS,
    "one-pair": "ethtool -L eth0 combined 1",
    "rss": RSS,
    "hash": HASH,
    "offloads": OFFLOADS,
}

# Each is a part of another test here: of a larger one of its kind, or of one that looks at what it does to traffic.
LONG = ("promisc-and-back", "allmulti", "mac", "unicast", "multicast", "64-macs", "vlan", "pairs", "rss", "hash", "offloads")

VIEWS = ("ethtool -l eth0; ethtool -x eth0; ethtool -k eth0; ethtool -n eth0 rx-flow-hash udp4; ethtool -n eth0 rx-flow-hash tcp4; "
         "ip -d link show eth0 | sed 's/qdisc.*//'; cat /sys/class/net/eth0/address; ip maddr show eth0 | md5sum; "
         "bridge fdb show dev eth0 | md5sum")


def compare(lab, vm):
    """Migrates and compares the two NICs as QEMU sees them, and the guest's own views before and after."""
    source = vm.node
    filter_before = checks.settled(vm)
    checks.note(vm, VIEWS)
    vm.migrate()
    assert vm.node != source
    filter_after = lab.rx_filter(vm.node)
    assert filter_after == filter_before
    checks.as_noted(vm, VIEWS)
    checks.rings_are_well(vm)
    return filter_after


def test_the_oracle_sees_the_difference(lab, vm):
    """Without this the comparisons below could all be between defaults."""
    default = lab.rx_filter(vm.node)
    vm.sh(PROMISC)
    assert lab.rx_filter(vm.node)["promiscuous"] and not default["promiscuous"]
    vm.sh("ip link set dev eth0 promisc off")
    vm.sh(f"{unicast(2)}\n{multicast(2)}\n{vlans(7, 8)}\n{MAC}")
    state = checks.settled(vm)
    assert "02:00:00:00:00:02" in state["unicast-table"]
    assert "33:33:00:01:00:02" in state["multicast-table"]
    assert state["vlan-table"].endswith("7-8")
    assert state["main-mac"] == "02:11:22:33:44:55"


@pytest.mark.parametrize("family", [f if f not in LONG else pytest.param(f, marks=pytest.mark.long) for f in FAMILIES])
def test_family(lab, vm, family):
    vm.sh(FAMILIES[family], timeout=120)
    compare(lab, vm)
    checks.traffic(vm)


def test_pairs_carry_traffic(lab, vm):
    vm.sh("ethtool -L eth0 combined 3; ethtool -X eth0 default")
    compare(lab, vm)
    more = checks.spread(vm, flows=128)
    assert [q for q, n in sorted(more.items()) if n > 8] == [0, 1, 2], more


def test_rss_steers_traffic(lab, vm):
    vm.sh(RSS)
    before = checks.spread(vm, flows=128)
    compare(lab, vm)
    after = checks.spread(vm, flows=128)
    assert {q for q, n in after.items() if n > 8} == {2, 3}, after
    # The same flows, key and table: the same queues, but for what else comes in.
    assert all(abs(after[q] - before[q]) <= 8 for q in (2, 3)), (before, after)


def test_offloads_take_effect(lab, vm):
    """With receive offloads off the device may not hand the guest packets above the MTU; with them on it does."""
    stream = 4_000_000
    assert checks.received_size(vm, stream) > 1600
    vm.sh(OFFLOADS)
    assert checks.received_size(vm, stream) < 1600
    compare(lab, vm)
    assert checks.received_size(vm, stream) < 1600
    vm.sh("ethtool -K eth0 rx-gro-hw on")
    compare(lab, vm)
    assert checks.received_size(vm, stream) > 1600


@pytest.mark.long
@pytest.mark.parametrize("count", [100, 1000])
def test_vlans(lab, vm, count):
    vm.sh(vlans(1, count), timeout=120)
    state = compare(lab, vm)
    assert state["vlan-table"] == f"0-{count}"
    checks.traffic(vm)


@pytest.mark.parametrize("moves", [1, pytest.param(2, marks=pytest.mark.long)], ids=["there", "there-and-back"])
def test_everything_at_once(lab, fresh, moves):
    """All families set, all 4,094 VLANs among them."""
    # Each of so many network devices takes some 40 KiB.
    vm = fresh(node="vp0", mem="512M")
    vm.sh(f"{RSS}; {HASH}; {OFFLOADS}; {MAC}; {ALLMULTI}\n{unicast(350)}\n{multicast(350)}", timeout=120)
    vm.sh(vlans(1, 4094), timeout=400)
    for _ in range(moves):
        state = compare(lab, vm)
        assert state["vlan-table"] == "0-4094"
        checks.traffic(vm)


def test_changes_during_migration(lab, vm):
    """What the guest sets while memory is being copied arrives too."""
    vm.sh("(i=0; while [ $i -lt 60 ]; do ip maddr add 33:33:00:02:00:$(printf %02x $i) dev eth0; "
          "ip link add link eth0 name w$i type vlan id $((2000 + i)); i=$((i+1)); done; touch /tmp/set) > /dev/null 2>&1 &")
    vm.migrate()
    vm.sh("until [ -e /tmp/set ]; do usleep 50000; done; rm /tmp/set")
    state = checks.settled(vm)
    assert "2000-2059" in state["vlan-table"]
    assert "33:33:00:02:00:3b" in state["multicast-table"] or state["multicast-overflow"]
    checks.traffic(vm)


@pytest.mark.long
def test_simulator(lab, fresh):
    """vdpa_sim_net to vdpa_sim_net: a parent with next to no features, whose control queue knows the MAC address only."""
    vm = fresh(node="sim0")
    vm.sh("ip link set dev eth0 address 02:11:22:33:44:66")
    vm.migrate("sim1")
    assert vm.sh("cat /sys/class/net/eth0/address").strip() == "02:11:22:33:44:66"
    assert "02:11:22:33:44:66" in lab.run("vdpa dev config show sim1")
    checks.echoed(vm)
    checks.rings_are_well(vm)
