# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory in huge pages: from the host's pool, on each kind of NIC, over moves to the pool and away from it."""

import pytest

import checks

MIB, PAGES = 128, 64


@pytest.fixture
def pool(lab):
    """Has the host keep so many huge pages of 2 MiB."""
    def keep(pages):
        lab.run(f"echo {pages} > /proc/sys/vm/nr_hugepages && grep -qx {pages} /proc/sys/vm/nr_hugepages")
    yield keep
    lab.run("echo 0 > /proc/sys/vm/nr_hugepages", expect=None)


def taken(lab):
    """Pages of the pool that are somebody's, touched or not."""
    found = dict(line.split()[:2] for line in lab.run("grep ^HugePages_ /proc/meminfo").splitlines())
    return int(found["HugePages_Total:"]) - int(found["HugePages_Free:"]) + int(found["HugePages_Rsvd:"])


def works(vm):
    """The simulator brings back what is sent; the others are in a network."""
    if vm.node.startswith("sim"):
        checks.echoed(vm)
    else:
        checks.traffic(vm)


def move(vm, options=""):
    host = vm.receive(vm.other(), options)
    moved = vm.send(host.address)
    assert moved.status == 0, f"{moved.output}\n--- source\n{vm.host.process.output()}\n--- destination\n{host.process.output()}"
    vm.follow(host)
    works(vm)


@pytest.mark.long
@pytest.mark.parametrize("node", ["vp0", "sim0", "soft0"])
def test_a_guest_moves_from_huge_pages_to_huge_and_to_small_ones_and_back(lab, fresh, pool, node):
    pool(2 * PAGES)
    vm = fresh(node=node, mem=f"{MIB}M", options="--hugepages 2M")
    assert taken(lab) == PAGES
    works(vm)
    vm.sh("dd if=/dev/urandom of=/tmp/kept bs=1M count=16 2> /dev/null; sha256sum /tmp/kept > /tmp/sum")
    for options, pages in (("--hugepages 2M", PAGES), ("", 0), ("--hugepages 2M", PAGES)):
        move(vm, options)
        assert taken(lab) == pages
        vm.sh("sha256sum -c /tmp/sum")
    checks.rings_are_well(vm)


@pytest.mark.long
def test_a_pool_with_too_few_pages_refuses_the_guest_which_goes_on(lab, fresh, pool):
    pool(PAGES + 8)
    vm = fresh(node="soft0", mem=f"{MIB}M", options="--hugepages 2M")
    host = vm.receive(vm.other(), "--hugepages 2M")
    moved = vm.send(host.address)
    words = f"needs {PAGES} of the host's huge pages of 2 MiB, and 8 are free: {PAGES - 8} are missing. Root makes them with: echo {2 * PAGES} >"
    assert moved.status == 1 and words in moved.output, moved.output
    works(vm)
    # Made as it says, they are enough for the same destination.
    pool(2 * PAGES)
    moved = vm.send(host.address)
    assert moved.status == 0, f"{moved.output}\n{host.process.output()}"
    vm.follow(host)
    works(vm)
    assert taken(lab) == PAGES
