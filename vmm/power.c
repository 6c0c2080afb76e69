/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's power button. */
#include "vmm/power.h"

#include "vmm/irq.h"
#include "vmm/x86/layout.h"

void power_press(struct irq_table *table)
{
	/* The line's edge is the event. */
	irq_set_line(table, LAYOUT_POWER_IRQ, true);
	irq_set_line(table, LAYOUT_POWER_IRQ, false);
}
