# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration in the nested lab: what demo-steps does on two hosts with ssh between them, with a ping from outside meanwhile."""

import shutil
import sys
import threading

import hosts
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
    print("== booting two hosts under QEMU's TCG, each with KVM and vp_vdpa, nested, with a network between them", flush=True)
    with hosts.Pair() as pair:
        print(f"== both are up after {pair.boot_seconds:.1f} s, and ssh leads from each to the other; NICs: {pair.a.nodes}", flush=True)
        shutil.copy(lab.HERE / "demo-steps", pair.a.share)
        process = pair.a.spawn(f"exec /share/demo-steps ferry /images {pair.a.nodes['vp0']} {pair.b.nodes['vp0']} {pair.a.name} "
                               f"{pair.b.name}")
        printer = threading.Thread(target=show, args=(process,))
        printer.start()
        process.wait_for("ready\n", 180)
        pinger = netns.Pinger(pair.namespace, "10.77.0.2", window=100)
        printer.join()
        result = pinger.stop()
        print(f"== a ping at 100 a second from outside, all the while: {result['sent']} sent, {result['answered']} answered, "
              f"longest gap {result['gap_ms']} ms")
        return process.status


sys.exit(main())
