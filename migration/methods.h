/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods that clients of a VM's control socket can call: to migrate its guest, and to resume one. */
#ifndef FERRY_MIGRATION_METHODS_H
#define FERRY_MIGRATION_METHODS_H

#include "vmm/control/call.h"
#include "vmm/vm.h"

/* The methods' @opaque. Zeroed at first but for @vm, which outlives the calls. Any thread. */
struct methods {
	struct vm *vm;
	/* After a COMMIT without an answer the guest may run elsewhere, and only the operator can know. */
	_Atomic bool outcome_unknown;
};

#define METHODS_N 2u

/* For control_create(). */
extern const struct control_method methods_all[METHODS_N];

#endif
