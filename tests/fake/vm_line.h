/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that has one interrupt line and an end, for a test that plays the guest of the UART. Linked into a
 * test as an object, where it takes the place of vmm/vm.c and vmm/irq.c. Any thread; who waits in vain
 * waits for ever.
 */
#ifndef FERRY_TESTS_FAKE_VM_LINE_H
#define FERRY_TESTS_FAKE_VM_LINE_H

#include "vmm/vm.h"

/* The line is low, and nobody has ended the VM. */
void fake_line_reset(void);
bool fake_line_is_high(void);
void fake_line_wait_high(void);
/* Waits until it has become high more than @edges times in all, and returns how often that was. */
unsigned int fake_line_wait_edge(unsigned int edges);

/* Whether the VM was powered off. */
bool fake_line_ended(void);
void fake_line_wait_ended(void);

#endif
