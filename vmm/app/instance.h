/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VM as systemd's tools know a machine: io.systemd.MachineInstance on the control socket. */
#ifndef FERRY_VMM_APP_INSTANCE_H
#define FERRY_VMM_APP_INSTANCE_H

#include "migration/methods.h"
#include "vmm/events.h"
#include "vmm/guard.h"

/* What the methods work on; all of it outlives the calls. */
struct instance {
	struct methods *methods;
	struct guard *guard;
	struct events *events;
	struct log_limit log_limit;
};

/* The first works on a struct instance; the second says that the machine is a virtual one, and has no
 * methods. */
extern const struct control_interface instance_interface, instance_marker;

#endif
