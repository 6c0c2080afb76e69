/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several VMs that are heard at the same time. On the client's thread. */
#ifndef FERRY_VMM_CONTROL_SEVERAL_H
#define FERRY_VMM_CONTROL_SEVERAL_H

#include "vmm/control/commands.h"
#include "vmm/control/follow.h"

struct several_vm {
	const char *name;
	struct control_client c; /* its fd is -1 once the VM has said its last word */
	struct follow progress;
};

/*
 * Calls @method of all VMs of @o, and has @heard told of each reply, the @last of each VM included, until
 * none will say more or stdout is gone. @object is a stranger's JSON text, there for the call. Returns the
 * exit code; what has failed was said, with the VM's name.
 */
int several_hear(const struct client_options *o, const char *method,
		 void (*heard)(struct several_vm *vm, const struct client_options *o, const char *object,
			       bool last));

#endif
