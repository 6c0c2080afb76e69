# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration in the nested lab: what demo-steps does on a host, in L1, with a ping from outside meanwhile."""

import shutil
import sys
import threading

import lab
import netns


def show(process):
    """Prints a process's output as it comes; returns at its end."""
    shown = 0
    while True:
        with process.changed:
            process.changed.wait_for(lambda: process.status is not None or len(process.out) > shown)
            end = process.out.rfind(b"\n") + 1 if process.status is None else len(process.out)
            news, shown, status = process.out[shown:end], max(shown, end), process.status
        sys.stdout.write(news.decode(errors="replace"))
        sys.stdout.flush()
        if status is not None:
            sys.stdout.write(process.err.decode(errors="replace"))
            return status


def main():
    print("== booting L1, a host under QEMU's TCG with KVM and vp_vdpa, nested", flush=True)
    with lab.Lab(sims=()) as l1:
        print(f"== L1 is up after {l1.boot_seconds:.1f} s; NICs: {l1.nodes}", flush=True)
        shutil.copy(lab.HERE / "demo-steps", l1.share)
        process = l1.spawn(f"exec /share/demo-steps ferry /images {l1.nodes['vp0']} {l1.nodes['vp1']}")
        printer = threading.Thread(target=show, args=(process,))
        printer.start()
        process.wait_for("ready\n", 180)
        pinger = netns.Pinger(l1.namespace, "10.77.0.2", window=100)
        printer.join()
        result = pinger.stop()
        print(f"== a ping at 100 a second from outside, all the while: {result['sent']} sent, {result['answered']} answered, "
              f"longest gap {result['gap_ms']} ms")
        return process.status


sys.exit(main())
