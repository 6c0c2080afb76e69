# SPDX-License-Identifier: GPL-2.0-or-later
"""Moves between two hosts whose clocks are apart, and those in which one of the processes that carry them is killed."""

import pathlib
import re

import pytest

import ferry
from test_hosts import arrived, goes_on, moving, needs_tls

# Half of memory is under way for some ten seconds.
SLOW = "rate 40mbit"
HOURS = 3 * 3600
TICKS = "kill $(cat /tmp/ticker.pid); until grep -q ticks /tmp/ticks; do usleep 50000; done; cat /tmp/ticks"


@pytest.fixture(scope="module")
def nic():
    return "pair", "", 1


@pytest.fixture
def clocks(pair):
    """Sets the clock of a host ahead, or back, by so many seconds until the test ends."""
    yield pair.set_clocks
    pair.set_clocks()


def tick(vm):
    vm.sh("ticker 5 > /tmp/ticks 2>&1 & echo $! > /tmp/ticker.pid")


def jumped(vm):
    """The longest time in seconds that the guest's own clock went over; it never goes back."""
    said = vm.sh(TICKS)
    gap, back = re.search(r"longest gap ([0-9.]+) ms, backwards ([0-9.]+) ms", said).groups()
    assert float(back) == 0, said
    return float(gap) / 1000


def sent(vm, host, options=""):
    moved = vm.send(host.address, options)
    assert moved.status == 0, f"{moved.output}\n--- source\n{vm.host.process.output()}\n--- destination\n{host.process.output()}"


@pytest.mark.long
@pytest.mark.parametrize("seconds", [30, -30], ids=["ahead", "behind"])
def test_clocks_half_a_minute_apart_are_told_and_the_guest_moves(pair, vm, ping, clocks, seconds):
    pinger = ping(vm)
    to, source = pair.other(vm.lab), vm.host
    clocks(to, seconds)
    tick(vm)
    host = vm.receive(vm.node, to=to)
    sent(vm, host)
    said = [(source.process, "ahead of" if seconds > 0 else "behind")]
    if seconds < 0:
        # What a source says may have been ten seconds on its way, while ssh starts a command: that its clock is ahead is certain.
        said.append((host.process, "ahead of"))
    for process, way in said:
        assert re.search(rf"clock is (2[5-9]|3[0-5])\.\d+ s {way} this host's", process.output()), process.output()
    vm.follow(host)
    arrived(vm, pinger)
    gap = jumped(vm)
    print(f"the guest's clock went over {gap} s")
    assert 25 < gap < 60 if seconds > 0 else gap < 25


@pytest.mark.long
@pytest.mark.parametrize("seconds", [HOURS, -HOURS], ids=["ahead", "behind"])
def test_clocks_hours_apart_are_refused_at_both_ends_unless_the_operator_allows_it(pair, vm, ping, clocks, seconds):
    pinger = ping(vm)
    to = pair.other(vm.lab)
    clocks(to, seconds)
    host = vm.receive(vm.node, to=to)
    moved = vm.send(host.address)
    words = rf"the source's clock is 1(07|08)\d\d\.\d+ s {'behind' if seconds > 0 else 'ahead of'} this host's"
    assert moved.status == 1 and re.search(words, moved.output), moved.output
    assert re.search(words, host.process.output()), host.process.output()
    goes_on(vm, pinger)
    vm.waits_on(host)
    tick(vm)
    host = vm.receive(vm.node, "--clock-skew any", to=to)
    sent(vm, host)
    vm.follow(host)
    arrived(vm, pinger)
    gap = jumped(vm)
    assert gap > HOURS - 60 if seconds > 0 else gap < 60


@pytest.mark.long
@pytest.mark.parametrize("seconds", [HOURS, -HOURS], ids=["forth", "back"])
@pytest.mark.parametrize("where", ["source", "destination"])
def test_a_clock_that_is_set_in_the_middle_of_a_move_does_not_hinder_it(pair, vm, ping, clocks, where, seconds):
    pinger = ping(vm)
    to = pair.other(vm.lab)
    clocks()
    host = vm.receive(vm.node, to=to)
    with pair.netem(SLOW):
        process = moving(pair, vm, host)
        clocks(to if where == "destination" else vm.lab, seconds)
        assert process.wait(120) == 0, f"{process.output()}\n--- destination\n{host.process.output()}"
    vm.follow(host)
    arrived(vm, pinger)


# The process in L1 that is killed: on which host, by which script.
CONNECT = "for p in $(pidof ferry); do if tr '\\0' ' ' < /proc/$p/cmdline | grep -q '^ferry connect'; " \
    "then kill -9 $p; echo killed; fi; done"
# Of the processes of ferry-tls where it listens one is the door, a child of Ferry's, and one is its child, which pumps.
HELPER = "for p in $(pidof ferry-tls); do if {} grep -qx ferry /proc/$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status)/comm; " \
    "then kill -9 $p; echo killed; fi; done"
KILLED = {
    "ssh": ("source", "ssh", "killall -9 ssh && echo killed"),
    "sshd": ("destination", "ssh", "for p in $(pidof sshd); do grep -q '^PPid:.\\b1$' /proc/$p/status || kill -9 $p; done; echo killed"),
    "connect": ("destination", "ssh", CONNECT),
    "helper-here": ("source", "tls", "killall -9 ferry-tls && echo killed"),
    "helper-there": ("destination", "tls", HELPER.format("!")),
}


def begun(pair, vm, way):
    """A destination on the other host, the process that moves the guest to it, with memory under way, and how to begin again."""
    to = pair.other(vm.lab)
    if way == "ssh":
        host = vm.receive(vm.node, to=to)
        return host, moving(pair, vm, host)
    pair.encrypt_by("helper")
    folder = pair.certify()
    host = vm.receive(vm.node, f"--from {ferry.tls_address(to)} --tls {folder}", to=to)
    host.address = ferry.tls_address(to)
    return host, moving(pair, vm, host, f"--tls {folder}")


@pytest.mark.long
@pytest.mark.parametrize("what", [pytest.param(w, marks=needs_tls) if way == "tls" else w for w, (_, way, _) in KILLED.items()])
def test_a_killed_carrier_costs_the_guest_nothing(pair, vm, ping, what):
    where, way, script = KILLED[what]
    pinger = ping(vm)
    with pair.netem(SLOW):
        host, process = begun(pair, vm, way)
        assert "killed" in (vm.lab if where == "source" else host.lab).run(script)
        assert process.wait(60) == 1, process.output()
        goes_on(vm, pinger)
    print(process.output())
    # A guest of which a part has come is none: this destination is used up.
    assert host.process.wait(60) == 1, host.process.output()
    vm.hosts.remove(host)
    vm.migrate(to=pair.other(vm.lab))
    arrived(vm, pinger)


@pytest.mark.long
@needs_tls
def test_a_killed_door_is_named_and_the_guest_stays(pair, vm, ping):
    """Once memory is under way there is none any more that could be killed."""
    pinger = ping(vm)
    to, folder = pair.other(vm.lab), pair.certify()
    host = vm.receive(vm.node, f"--from {ferry.tls_address(to)} --tls {folder}", to=to)
    assert "killed" in to.run(HELPER.format(""))
    assert host.process.wait(60) == 1, host.process.output()
    assert "ferry-tls, which takes connections, has ended" in host.process.output(), host.process.output()
    vm.hosts.remove(host)
    moved = vm.send(ferry.tls_address(to), f"--tls {folder}")
    assert moved.status == 1, moved.output
    goes_on(vm, pinger)
    vm.migrate(to=to, tls=folder)
    arrived(vm, pinger)


PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "vmm" / "ferry-messages.7"
# In L1 there is no procps.
PGREP = "pgrep() { for p in $(pidof $2); do echo $p $(tr '\\0' ' ' < /proc/$p/cmdline); done; }; "
SOON = "ssh -o ServerAliveInterval=2 -o ServerAliveCountMax=2"
DEAF = "tc qdisc replace dev cable root netem loss 100%", "tc qdisc del dev cable root"


class Runbook:
    """The manual's steps for an outcome that is unknown, done word by word for the guest "vm"."""

    def __init__(self):
        part = re.search(r'^\.SH "THE OUTCOME IS UNKNOWN"\n(.*?)^\.SH', PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]
        self.text = re.sub(r"\\(aq|-)", lambda found: {"aq": "'", "-": "-"}[found[1]], part)
        self.steps = {int(n): " ".join(words.split()) for n, words in re.findall(r"^(\d)\. (.*?)(?=^\.br|\Z)", self.text, re.DOTALL | re.MULTILINE)}

    def commands(self, step):
        """What a step has one type."""
        typed = re.findall(r"\\fB((?:ferry (?!receive)|pgrep ).*?)\\fR", self.steps[step])
        return [command.replace("NAME", "vm") for command in typed]

    def look(self, host):
        """Step 1, at the destination: the guest's state there, "" without a VM of this name; and that of no such process."""
        listed, processes = (host.run(PGREP + command) for command in self.commands(1))
        found = re.search(r"^vm +(\w+)", listed, re.MULTILINE)
        assert bool(found) == ("ferry receive --name vm" in processes), (listed, processes)
        return found[1] if found else ""

    def has_it(self, state):
        """Step 2 or 3, by the state."""
        for step in (2, 3):
            words = re.search(r"state there is ([a-z, ]+), ", self.steps[step])[1]
            if state in re.split(r", | or ", words):
                return step
        raise AssertionError(f"no step for the state {state!r}:\n{self.text}")


def commit_into(pair, vm, cut):
    """Moves the guest over a connection that is cut in the last moment: before the source's last word goes out, which it does then."""
    to, source = pair.other(vm.lab), vm.lab
    host = vm.receive(vm.node, "--from unix:/run/door", to=to)
    source.run("rm -f /run/far /run/ferry/held; ip neigh flush dev cable")
    line = source.spawn(f"exec {SOON} -N -L /run/far:/run/door {to.name}")
    source.run("until [ -S /run/far ]; do usleep 20000; done")
    host.address = "unix:/run/far"
    # What holds the last frame is in the folder of the guest's own host.
    host.directory = vm.host.directory
    moved = vm.send_held(host, "to", ferry.COMMIT, 1, cut)
    line.wait(60)
    return host, moved


def told(vm, moved, runbook):
    """The operator learns that it is not known, by the words of the manual, and the guest does not run here."""
    assert moved.status == 5, moved.output
    words = "the guest may run at the destination: COMMIT was sent, and no answer came; it stays paused here"
    assert words in runbook.text and words in moved.output, moved.output
    assert re.search(r"^vm +unknown", vm.lab.run("ferry list"), re.MULTILINE)
    again = vm.send("exec:cat")
    words = 'the guest is paused here after a migration whose outcome is unknown; if it does not run at the destination, "ferry resume" first'
    assert words in runbook.text and again.status == 5 and words in again.output, again.output


@pytest.mark.long
def test_the_runbook_ends_the_source_of_a_guest_that_arrived_and_could_not_say_so(pair, vm, ping):
    """What the destination sends gets lost from the last moment on."""
    pinger, runbook, to, source = ping(vm), Runbook(), pair.other(vm.lab), vm.host
    try:
        host, moved = commit_into(pair, vm, lambda: to.run(DEAF[0]))
        told(vm, moved, runbook)
        state = runbook.look(to)
    finally:
        to.run(DEAF[1], expect=None)
    assert (state, runbook.has_it(state)) == ("running", 2)
    (stop,) = [c for c in runbook.commands(2)]
    source.lab.run(stop)
    source.process.wait(30)
    assert "never resume it" in runbook.steps[2]
    vm.hosts.remove(source)
    vm.host = host
    vm.guest.attach(host.serial, process=host.process)
    arrived(vm, pinger)
    vm.migrate(to=pair.other(vm.lab))
    arrived(vm, pinger)


@pytest.mark.long
def test_the_runbook_resumes_a_guest_whose_last_word_did_not_arrive(pair, vm, ping):
    """The cable is cut in the last moment."""
    pinger, runbook, to = ping(vm), Runbook(), pair.other(vm.lab)
    try:
        host, moved = commit_into(pair, vm, pair.cut)
        told(vm, moved, runbook)
        state = runbook.look(to)
    finally:
        pair.mend()
    if state:
        assert (state, runbook.has_it(state)) == ("arriving", 3)
        assert "End that process, wait until it has gone, and go on with 4." in runbook.steps[3]
        to.run(f"kill {host.pid()}")
    status = host.process.wait(120)
    vm.hosts.remove(host)
    assert runbook.look(to) == ""
    words = re.search(r'The line "(.*?)"', runbook.steps[4])[1]
    ran = [int(n) for n in re.search(r"an exit status of ([0-9, or]+)\.", runbook.steps[4])[1].replace("or", ",").split(",") if n.strip()]
    assert words not in host.process.output() and status not in ran, f"{status}: {host.process.output()}"
    (resume,) = runbook.commands(5)
    vm.lab.run(resume)
    goes_on(vm, pinger)
    vm.migrate(to=pair.other(vm.lab))
    arrived(vm, pinger)
