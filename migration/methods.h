/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients of a VM's control socket can call. */
#ifndef FERRY_MIGRATION_METHODS_H
#define FERRY_MIGRATION_METHODS_H

#include "vmm/control/call.h"
#include "vmm/vm.h"

/* What the methods are called on. Starts zeroed but for @vm, which outlives the calls. */
struct methods {
	struct vm *vm;
	/* COMMIT went out and nothing came back: the guest may run elsewhere, only the operator can know. */
	_Atomic bool outcome_unknown;
};

#define METHODS_N 2u

/* For control_create(); their @opaque is a struct methods. */
extern const struct control_method methods_all[METHODS_N];

#endif
