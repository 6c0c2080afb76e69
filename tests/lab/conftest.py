# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the lab's tests: one L1 host for all of them, guests that are reused while they are well."""

import os
import pathlib
import sys

import pytest
from _pytest.runner import runtestprotocol

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import ferry  # noqa: E402
import lab as lab_module  # noqa: E402
import netns  # noqa: E402


def evidence():
    """The folder for what shows why a test failed."""
    directory = pathlib.Path(os.environ.get("FERRY_EVIDENCE", lab_module.BUILD / "lab-evidence"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def pytest_runtest_protocol(item, nextitem):
    """A test whose lab got stuck (about one guest in 25 freezes under nested TCG) is run a second time, and says so."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(r.failed and "LabStuck" in str(r.longrepr) for r in reports):
        path = evidence() / (item.name.replace("/", "-") + ".txt")
        path.write_text("\n".join("\n".join([str(r.longrepr), *map("\n".join, r.sections)]) for r in reports if r.failed))
        item.config.get_terminal_writer().write(f"\nLAB STUCK in {item.nodeid}, evidence in {path}; again\n")
        if "request" in item.__dict__ or hasattr(item, "_initrequest"):
            item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.when == "call":
        item.failed = report.failed
    l1 = getattr(item, "funcargs", {}).get("lab")
    if report.failed and call.excinfo:
        report.sections.extend(("note", note) for note in getattr(call.excinfo.value, "__notes__", ()))
    if report.failed and l1:
        report.sections.append(("kernel log of L1", l1.run("dmesg | tail -20", expect=None)))
        report.sections.append(("core files", l1.keep_cores(evidence())))


@pytest.fixture(scope="session")
def lab():
    with lab_module.Lab(log=lab_module.BUILD / "lab-l1.log") as l1:
        yield l1


class Guests:
    """Hands out one guest that many tests use in turn, and boots another when it is gone or a test left it in doubt."""

    def __init__(self, lab):
        self.lab = lab
        self.vm = None

    def get(self):
        if self.vm and not self.vm.host.process.running():
            self.drop()
        if not self.vm:
            self.vm = ferry.Vm(self.lab, "vp0", mem="128M").boot()
        return self.vm

    def drop(self):
        if self.vm:
            self.vm.close()
            self.vm = None


@pytest.fixture(scope="session")
def guests(lab):
    guests = Guests(lab)
    yield guests
    guests.drop()


@pytest.fixture
def vm(guests, request):
    """A running guest on vp0 or vp1 in its default state."""
    vm = guests.get()
    # A reset by the driver returns all that a test has set to its default; a VLAN or macvlan device goes with its parent.
    vm.sh("cd /sys/bus/virtio/drivers/virtio_net && d=$(ls -d virtio*) && echo $d > unbind && echo $d > bind && "
          "ip link set eth0 up && ip addr add 10.77.0.2/24 dev eth0")
    yield vm
    if getattr(request.node, "failed", True):
        guests.drop()


@pytest.fixture
def fresh(guests):
    """Boots guests of a test's own; they end with it, and the shared one is out of their way."""
    guests.drop()
    vms = []

    def boot(**options):
        vm = ferry.Vm(guests.lab, **options)
        vms.append(vm)
        return vm.boot()
    yield boot
    for vm in vms:
        vm.close()


@pytest.fixture
def ping(lab):
    """Starts pings at 100 a second to the guest; they end with the test."""
    pingers = []

    def start(address=ferry.GUEST_ADDRESS):
        pinger = netns.Pinger(lab.namespace, address)
        pingers.append(pinger)
        assert pinger.wait_answers(1, 20), "the guest does not answer a ping"
        return pinger
    yield start
    for pinger in pingers:
        pinger.stop()
