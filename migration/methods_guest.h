/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all methods work on: the guest, or the wait for it, and the job that migrates it. */
#ifndef FERRY_MIGRATION_METHODS_GUEST_H
#define FERRY_MIGRATION_METHODS_GUEST_H

#include "migration/entrance.h"
#include "migration/job.h"
#include "vmm/config.h"
#include "vmm/control/call.h"

/* Bytes of a reply, and of what a client or a peer has said, quoted. */
#define METHODS_REPLY_MAX  (CONTROL_MESSAGE_MAX - 256)
#define METHODS_QUOTED_MAX 2048u

/* What there is of a guest, in a process whose control socket is there from its start. */
enum methods_guest {
	METHODS_STARTS,  /* it is about to boot */
	METHODS_AWAITED, /* a source is waited for */
	METHODS_ARRIVES, /* a source has come */
	METHODS_HERE,
	METHODS_N_GUESTS,
};

/* What the methods work on, from before control_create() to after control_destroy(). Any thread. */
struct methods {
	_Atomic(enum methods_guest) guest;
	struct vm *vm; /* once the guest is METHODS_HERE */
	int here_fd;   /* an eventfd: it is */
	struct entrance *entrance;
	_Atomic unsigned int n_staying; /* calls that wait for what others do */
	/* What the process was started with, for who asks. Set before the calls begin. */
	const struct vm_config *config;
	struct job job;
};

/* Begins with a guest that METHODS_STARTS; @entrance outlives the calls. methods_exit() undoes it, and ends a
 * migration that runs: calls have ended by then. Of one whose @here_fd is -1 it does nothing. */
int __must_check methods_init(struct methods *m, struct entrance *entrance, struct error *err);
void methods_exit(struct methods *m);

/*
 * For other interfaces that work on the same guest. The first waits for a guest that a call needs: false if
 * there is none yet, and the call has been answered. The second begins a wait for what others do, which may
 * be long, and methods_stayed() ends it: false where too many wait already, and the call has been answered.
 * The last says in a word how the guest is.
 */
bool methods_wait(struct methods *m, struct control_call *call);
bool methods_stay(struct methods *m, struct control_call *call);
void methods_stayed(struct methods *m);
const char *methods_guest_state(struct methods *m);

/* Tells what has become of the guest; @vm is there when it is METHODS_HERE, and outlives the calls. */
void methods_set_guest(struct methods *m, enum methods_guest guest, struct vm *vm);

/* Answers that a parameter is wrong, by its name. Returns false. */
bool methods_invalid(struct control_call *call, const char *name);

/* Reads a number of @min to @max; leaves *@v as it is where there is none. False if the call has been
 * answered, with what is wrong. */
bool __must_check methods_number(struct control_call *call, const char *name, uint64_t min, uint64_t max,
				 uint64_t *v);

#endif
