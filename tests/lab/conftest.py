# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the lab's tests: one L1 host for most of them, or a pair, guests that are reused while they are well."""

import itertools
import os
import pathlib
import subprocess
import sys

import pytest
from _pytest.runner import runtestprotocol

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import checks  # noqa: E402
import ferry  # noqa: E402
import hosts  # noqa: E402
import lab as lab_module  # noqa: E402
import netns  # noqa: E402


# A guest, or L1, that stands still is the lab's fault once or twice: three times in one test are ours. Of nested TCG's faults two were
# behind it, which are known and mended (vmrun.c, test_lab.py): an interrupt that came twice, the second time also where interrupts are
# off, such as in a section under a lock that the handler wants, or within the handler itself; and a CPU that forgot whether it was in a
# guest with nested paging, so that the host's registers were saved as the guest's, or the guest's page tables were taken for the host's.
LAB_ATTEMPTS = 3


def evidence():
    """The folder for what shows why a test failed."""
    directory = pathlib.Path(os.environ.get("FERRY_EVIDENCE", lab_module.BUILD / "lab-evidence"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def pytest_runtest_protocol(item, nextitem):
    """A test in which the lab itself failed, as TCG's nested virtualisation sometimes does, runs again in a new one."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(1, LAB_ATTEMPTS + 1):
        item.lab_failed = False
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not item.lab_failed:
            break
        path = evidence() / (item.name.replace("/", "-") + f".{attempt}.txt")
        path.write_text("\n".join("\n".join([str(r.longrepr), *map("\n".join, r.sections)]) for r in reports if r.failed))
        item.config.get_terminal_writer().write(f"\nLAB STUCK in {item.nodeid}, evidence in {path}\n")
        item.config.labs.drop()
        item.config.labs.stuck.append(item.nodeid)
        item._initrequest()
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
    if not report.failed or not call.excinfo:
        return
    report.sections.extend(("note", note) for note in getattr(call.excinfo.value, "__notes__", ()))
    up = item.config.labs.up()
    for l1 in up:
        of = f" of {l1.name}" if l1.name else ""
        report.sections.append((f"console of L1{of}", l1.console_text()[-3000:]))
        report.sections.append((f"core files{of}", l1.keep_cores(evidence())))
        report.sections.extend((f"still running{of}: {p.script}", p.output()[-3000:]) for p in l1.processes if p.running())
    # QEMU's monitor always answers in time, too.
    item.lab_failed |= call.excinfo.errisinstance((lab_module.LabStuck, TimeoutError)) or any(l1.crashed() for l1 in up)


# The guest on each kind of NIC has an address of its own: they can be there at the same time.
ADDRESSES = {"vp": ferry.GUEST_ADDRESS, "soft": "10.77.0.3"}
# Instead of a kind, as first of a file's "nic": the guest is on one of a pair of hosts.
PAIR = "pair"


class Labs:
    """The L1 host that most tests share, and the guests in it that many of them use in turn; made anew when lost or in doubt.

    Or a pair of hosts. There is memory for one of the two.
    """

    def __init__(self):
        self.lab = self.pair = None
        self.options = {}
        self.vms = {}
        self.stuck = []
        # Several processes run the tests, each with hosts of its own, where pytest-xdist is told so.
        self.logs = (lab_module.BUILD / f"lab-l1-{os.environ.get('PYTEST_XDIST_WORKER', '')}{n}.log" for n in itertools.count(1))

    def up(self):
        """The hosts that there are."""
        return ([self.lab] if self.lab else []) + (self.pair.hosts if self.pair else [])

    def get(self, **options):
        """The one host, made anew where it is not to be as it is now."""
        if not self.lab or self.options != options:
            self.drop()
            self.lab, self.options = lab_module.Lab(log=next(self.logs), **options), options
        return self.lab

    def get_pair(self):
        if not self.pair:
            self.drop()
            self.pair = hosts.Pair(logs=(next(self.logs), next(self.logs)))
        return self.pair

    def guest(self, parent, net, cpus=2):
        """A guest on a NIC of the kind @parent with the options @net: one of each kind at a time."""
        vm = self.vms.get(parent)
        if vm and not (vm.host.process.running() and (vm.net, vm.cpus) == (net, cpus)):
            self.drop_guest(vm)
            vm = None
        if not vm:
            # What a guest boots from moves with it: between hosts the shorter of two images, which takes it longer to boot.
            lab, kind, kernel = (self.get_pair().a, "vp", "vmlinuz") if parent == PAIR else (self.get(), parent, "vmlinux")
            vm = ferry.Vm(lab, kind + "0", kernel, mem="128M", cpus=cpus, address=ADDRESSES[kind], net=net).boot()
            self.vms[parent] = vm
        return vm

    def drop_guest(self, vm):
        self.vms = {parent: other for parent, other in self.vms.items() if other is not vm}
        vm.close()

    def drop_guests(self, but=None):
        for parent, vm in list(self.vms.items()):
            if parent != but:
                self.drop_guest(vm)

    def drop(self):
        gone = filter(None, (self.lab, self.pair))
        self.lab, self.pair, self.vms = None, None, {}
        for each in gone:
            each.close()


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="the long tests, too: the same on more devices, at more moments, in more states")


def pytest_configure(config):
    config.labs = Labs()
    config.addinivalue_line("markers", "long: left out unless there is --all")


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["stuck"] = session.config.labs.stuck


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """What one of several processes that run the tests has to tell at its end."""
    node.config.labs.stuck.extend(getattr(node, "workeroutput", {}).get("stuck", ()))


def pytest_terminal_summary(terminalreporter, config):
    """A lab that stood still is neither a test that failed nor one that passed."""
    if config.labs.stuck:
        terminalreporter.section("LAB STUCK")
        terminalreporter.line("\n".join(config.labs.stuck))


# The files that take longest, so that they begin first: several processes end at about the same time then.
LONGEST = ("test_debian.py", "test_cluster.py", "test_migrate_state.py", "test_hosts.py", "test_soft.py", "test_migrate_traffic.py",
           "test_boot.py")


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    if config.getoption("--all"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def labs(request):
    yield request.config.labs
    request.config.labs.drop()


@pytest.fixture
def lab(labs):
    return labs.get()


@pytest.fixture
def pair(labs):
    return labs.get_pair()


@pytest.fixture(scope="module")
def nic():
    """Which NIC the guest "vm" has: its kind, and options of --net; how many vCPUs there are. Test files have their own."""
    return "vp", ""


def in_default_state(labs, request, nic):
    vm = labs.guest(*nic)
    # A reset by the driver returns all that a test has set to its default; a VLAN or macvlan device goes with its parent.
    vm.rebind()
    yield vm
    if getattr(request.node, "failed", True) and not request.node.lab_failed:
        labs.drop_guest(vm)


@pytest.fixture
def vm(labs, request, nic):
    """A running guest in its default state on one of the two equal NICs of its kind."""
    yield from in_default_state(labs, request, nic)


@pytest.fixture
def oracle(labs, request):
    """Another one, on a NIC of QEMU."""
    yield from in_default_state(labs, request, ("vp", ""))


@pytest.fixture
def fresh(labs, request):
    """Boots guests of a test's own; they end with it, and the shared ones are out of their way."""
    labs.drop_guests()
    vms = []

    def boot(**options):
        vm = ferry.Vm(labs.get(), **options)
        vms.append(vm)
        return vm.boot()
    yield boot
    for vm in vms if not request.node.lab_failed else ():
        vm.close()


@pytest.fixture
def ping():
    """Starts pings at up to 100 a second to a guest; they end with the test."""
    pingers = []

    def start(vm):
        vm.lab.forget_neighbours()
        pinger = netns.Pinger(vm.lab.namespace, vm.address)
        pingers.append(pinger)
        checks.answered(vm, pinger, 1)
        return pinger
    yield start
    for pinger in pingers:
        pinger.stop()


@pytest.fixture
def stream(lab, vm):
    """Two endless TCP streams, of which the guest must not be asked whether they end well."""
    sink = lab.namespace.popen([checks.nettest(lab), "sink", "5005"], stdout=subprocess.PIPE, text=True)
    sink.stdout.readline()
    vm.sh(f"nettest source {lab.bridge_address} 5005 {10**12} 1000000 > /dev/null 2>&1 & "
          "nettest sink 5006 > /tmp/driver-sink 2>&1 & until grep -q listening /tmp/driver-sink; do usleep 20000; done")
    lab.forget_neighbours()
    source = lab.namespace.popen([checks.nettest(lab), "source", vm.address, "5006", str(10**12), "1000000"], stdout=subprocess.DEVNULL)
    yield
    for process in (sink, source):
        process.kill()
        process.wait()
    if vm.host.process.running():
        vm.sh("killall nettest || true")
