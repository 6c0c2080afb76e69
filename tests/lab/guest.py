# SPDX-License-Identifier: GPL-2.0-or-later
"""The L2 guest behind a serial socket in L1: its console as text, and commands through labsh."""

import itertools
import re
import threading

from lab import CommandFailed, LabStuck

# What the guest's vCPUs do in a second, where any of them runs: how often each left the guest, why and from where.
EXITS = ("cd /sys/kernel/debug/tracing && echo 1 > events/kvm/kvm_exit/enable && sleep 1; echo 0 > events/kvm/kvm_exit/enable; "
         "sed -n 's/.*kvm_exit: \\(vcpu.*\\) intr_info.*/\\1/p' trace | sort | uniq -c | sort -rn | head -n 20; echo > trace")
FIRST_LINE = "lab: first line of user space"
UP = "lab: guest is up"
READY = "labsh ready"
# Seconds after which labsh ends a command: a wait for its answer ends before, and says that the lab stands still.
FOREVER = 100_000


class Guest:
    """One guest. attach() follows it to the serial socket of whichever process has it now."""

    def __init__(self, lab):
        self.lab = lab
        self.text = ""
        self.changed = threading.Condition()
        self.socket = None
        self.ended = False
        self.ids = itertools.count(1)

    def attach(self, path, timeout=30, process=None):
        """Connects to a serial socket in L1, away from an earlier one. That of a process is on its host."""
        self.detach()
        self.lab = process.lab if process else self.lab
        self.socket = self.lab.unix(path, timeout, process)
        self.ended = False
        self.thread = threading.Thread(target=self._receive, args=(self.socket,), daemon=True)
        self.thread.start()

    def detach(self):
        if self.socket:
            try:
                self.socket.shutdown(2)
            except OSError:
                pass  # the other side was first
            self.thread.join()
            self.socket.close()
            self.socket = None

    def _receive(self, s):
        while True:
            try:
                data = s.recv(65536)
            except OSError:
                data = b""
            with self.changed:
                self.text += data.decode(errors="replace")
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def stuck(self, what):
        """The verdict when something that must always answer did not, with what is known of the guest."""
        state = self.lab.run("for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in ferry*|qemu*|CPU*) "
                             "for t in $p/task/*; do echo $(cat $t/comm) $(cut -d' ' -f3,14,15 $t/stat); cat $t/stack; done;; "
                             f"esac; done; dmesg | tail -20; {EXITS}", expect=None)
        return LabStuck(f"{what}\n--- console\n{self.text[-3000:]}\n--- threads in L1: name, state, user and system ticks\n{state}")

    def wait_for(self, text, timeout=120, start=0):
        """Waits for a text on the console and returns the position behind it."""
        with self.changed:
            if self.lab.until(self.changed, lambda: text in self.text[start:] or self.ended, timeout) and text in self.text[start:]:
                return self.text.index(text, start) + len(text)
        if self.ended:
            raise LabStuck(f"the guest is gone before {text!r} on the console\n--- console\n{self.text[-3000:]}")
        raise self.stuck(f"no {text!r} on the console")

    def leave(self, command):
        """Ends the guest, or its kernel, by a command that is not answered. Its console up to here is forgotten."""
        with self.changed:
            self.text = ""
        self.socket.sendall(f"\n@bye {FOREVER} {len(command)}\n{command}".encode())

    def sh(self, command, timeout=60, expect=0):
        """Runs a command in the guest and returns its output; its exit status must be as expected (None: any)."""
        number = next(self.ids)
        start = len(self.text)
        data = command.encode()
        self.socket.sendall(f"\n@{number} {FOREVER} {len(data)}\n".encode() + data)
        pattern = re.compile(r"\n@%d\{(.*?)@%d\} (\d+)\n" % (number, number), re.DOTALL)
        with self.changed:
            found = None

            def seen():
                nonlocal found
                found = pattern.search(self.text, max(0, start - 1))
                return found
            self.lab.until(self.changed, lambda: seen() or self.ended, timeout)
        if not found and self.ended:
            raise LabStuck(f"the guest is gone that should have answered: {command}\n--- console\n{self.text[-3000:]}")
        if not found:
            raise self.stuck(f"the guest did not answer: {command}")
        output, status = found[1], int(found[2])
        if expect is not None and status != expect:
            raise CommandFailed(f"in the guest: {command}: exit status {status}\n{output}")
        return output
