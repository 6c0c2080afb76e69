/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's power button: an interrupt for which ACPI tells the guest's system what it is (dsdt.asl). Its
 * state is the interrupt controller's, which moves with the guest. */
#ifndef FERRY_VMM_POWER_H
#define FERRY_VMM_POWER_H

struct irq_table;

/* Presses the button once. What the guest makes of it is the guest's: a system that shuts down does so, and
 * one that does not listen goes on. Any thread. */
void power_press(struct irq_table *table);

#endif
