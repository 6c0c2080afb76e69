# SPDX-License-Identifier: GPL-2.0-or-later
"""What the other tests take for granted of the lab itself."""


def test_an_injected_interrupt_comes_once(lab):
    """As it is, the emulator lets a guest's handler run again for some of each thousand (vmrun.c); then anything can happen in it."""
    process = lab.spawn("exec irqtwice 1000")
    assert process.wait(60) == 0, process.output()


def test_a_guest_survives_what_other_cpus_do_with_their_fpu(lab):
    """As it is, the emulator loses what a CPU has just noted of its guest, such as nested paging (vmrun.c): then this one ends at once."""
    process = lab.spawn("exec lostflags 20000")
    assert process.wait(60) == 0, process.output()
