/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that has one interrupt line and an end, for a test that plays the guest of the UART. Linked into a
 * test as an object, where it takes the place of vmm/irq.c, gate.c and vm.c. Any thread; who waits in vain
 * waits for ever.
 */
#ifndef FERRY_TESTS_FAKE_VM_LINE_H
#define FERRY_TESTS_FAKE_VM_LINE_H

#include "vmm/vm.h"

/* Makes the line low, and the VM run. */
void fake_line_reset(void);
bool fake_line_is_high(void);
void fake_line_wait_high(void);
/* Waits until the line has become high more than @edges times in all, and returns how often that was. */
unsigned int fake_line_wait_edge(unsigned int edges);

/* Returns whether the VM was powered off, and waits for that. */
bool fake_line_ended(void);
void fake_line_wait_ended(void);

#endif
