# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests in a cluster of two hosts: Pacemaker moves them away live, and starts them elsewhere when their host has died."""

import contextlib
import time

import pytest

import checks
import ferry
import netns
import pacemaker

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def nothing_of_it_is_left(labs):
    yield
    labs.drop()


@pytest.fixture
def guests(labs):
    """Two guests in a cluster, web1 on a vDPA device and web2 on a NIC in software."""
    if not isinstance(labs.pair, pacemaker.Cluster):
        labs.drop()
        labs.pair = pacemaker.Cluster(logs=(next(labs.logs), next(labs.logs)))
        made(labs.pair)
    with explained(labs.pair):
        yield labs.pair.guests


@contextlib.contextmanager
def explained(cluster):
    try:
        yield
    except BaseException as e:
        cluster.explain(e)
        raise


def made(cluster):
    """By the manual's own commands."""
    with explained(cluster):
        resource, _, _ = pacemaker.manual()
        cluster.guests = [pacemaker.Guest(cluster, "web1", lambda host: host.net("vp0"), "10.77.0.2"),
                          pacemaker.Guest(cluster, "web2", lambda host: host.net("soft-web2"), "10.77.0.3")]
        for guest in cluster.guests:
            cluster.a.run(resource.replace("web1", guest.name))
        cluster.settle()
        for guest in cluster.guests:
            guest.follow()


@contextlib.contextmanager
def under_traffic(guests, what):
    """The same guests answer all the time but for the moment of a move, and TCP streams of one of them go on."""
    pingers = [netns.Pinger(guest.lab.namespace, guest.address) for guest in guests]
    try:
        for guest, pinger in zip(guests, pingers):
            checks.answered(guest, pinger, 30)
        booted = [guest.boot_id() for guest in guests]
        began = time.monotonic()
        with checks.Streams(guests[0]) as streams:
            yield
            took = time.monotonic() - began
            for guest, pinger in zip(guests, pingers):
                guest.follow()
                checks.answered(guest, pinger, 30)
            streams.go_on()
            streams.end()
        assert [guest.boot_id() for guest in guests] == booted
    finally:
        results = [pinger.stop() for pinger in pingers]
    for guest, result in zip(guests, results):
        print(f"{what}: {took:.0f} s, {guest.name} on {guest.at.name}: longest ping gap {result['gap_ms']} ms, {result}")
        assert not result["duplicates"], result


def test_standby_drains_a_node_live(guests):
    cluster = guests[0].cluster
    _, away, back = pacemaker.manual()
    for node, other in (cluster.hosts, reversed(cluster.hosts)):
        with under_traffic(guests, f"standby of {node.name}"):
            node.run(away.replace("hosta", node.name))
            cluster.settle()
            assert all(cluster.where(guest.name) is other for guest in guests)
        node.run(back.replace("hosta", node.name))
        cluster.settle()
        # They do not move back without need.
        assert all(cluster.where(guest.name) is other for guest in guests)


def test_a_node_that_leaves_the_cluster_sends_its_guests_away_first(guests):
    cluster = guests[0].cluster
    node = cluster.where(guests[0].name)
    other = cluster.other(node)
    with under_traffic(guests, f"{node.name} leaves"):
        assert cluster.leave(node) == 0
        assert all(cluster.where(guest.name) is other for guest in guests)
    cluster.join(node)


def test_a_guest_that_the_other_node_refuses_stays_where_it_runs(guests):
    cluster, guest = guests[0].cluster, guests[0]
    node = cluster.where(guest.name)
    other = cluster.other(node)
    right = other.run(f"cat {guest.config}")
    # A NIC that is not there.
    other.run(f"sed -i 's|^net .*|net vdpa=/dev/vhost-vdpa-99|' {guest.config}")
    with under_traffic(guests[:1], f"{other.name} refuses"):
        node.run(f"crm_resource --resource {guest.name} --move --node {other.name}")
        cluster.settle()
        assert cluster.where(guest.name) is node
    other.run(f"cat > {guest.config}", stdin=right.encode())
    with under_traffic(guests[:1], f"{other.name} takes it"):
        node.run(f"crm_resource --resource {guest.name} --cleanup")
        cluster.settle()
        assert cluster.where(guest.name) is other
    node.run(f"crm_resource --resource {guest.name} --clear")
    cluster.settle()


# In the place of ssh: the destination's last word, that the guest runs there, gets lost, and so does the connection.
LOSSY = f"""mv /bin/ssh /bin/ssh.whole
cat > /bin/ssh << 'END'
#!/bin/sh
case "$*" in
*"ferry connect"*) exec cutproxy - "exec ssh.whole $*" from {ferry.RUNNING} 1 nobody ;;
esac
exec ssh.whole "$@"
END
chmod 755 /bin/ssh"""
WHOLE = "mv /bin/ssh.whole /bin/ssh"


def moved_without_an_answer(cluster, guest):
    """The guest comes, and its source does not hear of it: both have it, and it runs at one. The cluster does nothing by itself."""
    node = cluster.where(guest.name)
    other = cluster.other(node)
    node.run(LOSSY)
    try:
        node.run(f"crm_resource --resource {guest.name} --move --node {other.name}")
        cluster.settle()
    finally:
        node.run(WHOLE)
    assert f"{guest.name} unknown" in " ".join(node.run("ferry list").split())
    assert cluster.where(guest.name) is other
    return node, other


def test_a_move_whose_outcome_is_unknown_leaves_one_guest(guests):
    cluster, guest = guests[0].cluster, guests[0]
    with under_traffic(guests[:1], "an unknown outcome, as in the manual"):
        node, other = moved_without_an_answer(cluster, guest)
        node.run(f"ferry stop --force {guest.name}; crm_resource --resource {guest.name} --cleanup")
        cluster.settle()
        assert cluster.where(guest.name) is other
    # Who says that the reason is gone, without a look, may lose what the guest has in memory, and no more.
    before = guest.boot_id()
    pinger = netns.Pinger(guest.lab.namespace, guest.address)
    try:
        node, other = moved_without_an_answer(cluster, guest)
        began = time.monotonic()
        other.run(f"crm_resource --resource {guest.name} --cleanup")
        cluster.settle()
        guest.follow()
        assert guest.name not in cluster.other(guest.at).run("ferry list")
        print(f"an unknown outcome, without a look: {time.monotonic() - began:.0f} s, {guest.name} on {guest.at.name}, "
              f"{'the same' if guest.boot_id() == before else 'booted anew'}")
        guest.at.forget_neighbours()
        checks.answered(guest, pinger, 30)
    finally:
        result = pinger.stop()
    assert not result["duplicates"], result
    guest.at.run(f"crm_resource --resource {guest.name} --clear")
    cluster.settle()


def came_back(guests, cluster, other):
    """The host that was fenced boots. No guest runs twice then, and all of them can be moved to it."""
    began = time.monotonic()
    host = cluster.come_back()
    print(f"{host.name} is a member again after {time.monotonic() - began:.0f} s")
    assert all(cluster.where(guest.name) is other for guest in guests)
    with under_traffic(guests, f"standby of {other.name}, to the host that came back"):
        other.run(pacemaker.manual()[1].replace("hosta", other.name))
        cluster.settle()
        assert all(cluster.where(guest.name) is host for guest in guests)


def test_guests_of_a_host_that_has_died_start_elsewhere_after_fencing_and_it_comes_back(guests, labs):
    cluster = guests[0].cluster
    node = cluster.where(guests[0].name)
    other = cluster.other(node)
    for guest in guests:
        guest.follow()
    before = [guest.boot_id() for guest in guests]
    stranded = [guest for guest in guests if guest.at is node]
    pingers = [netns.Pinger(guest.lab.namespace, guest.address) for guest in guests]
    try:
        for guest, pinger in zip(guests, pingers):
            checks.answered(guest, pinger, 30)
        began = time.monotonic()
        cluster.hang(node)
        assert checks.eventually(other, lambda: node.name in cluster.power.ended), "the host was not fenced"
        print(f"fenced after {time.monotonic() - began:.0f} s")
        cluster.settle()
        print(f"started after {time.monotonic() - began:.0f} s")
        for guest, pinger in zip(guests, pingers):
            guest.follow()
            # One that has booted anew may have another address.
            other.forget_neighbours()
            assert checks.eventually(other, lambda: pinger.wait_answers(30, 1)), "no ping is answered"
            assert guest.at is other
        print(f"all answer after {time.monotonic() - began:.0f} s")
        for guest, booted in zip(guests, before):
            assert (guest.boot_id() != booted) == (guest in stranded)
        for pinger in pingers:
            print(pinger.stop())
        pingers = []
        came_back(guests, cluster, other)
    finally:
        for pinger in pingers:
            print(pinger.stop())
        labs.drop()
