/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A source's first words: what it has, and whether the guest is to move or only to be compared. */
#ifndef FERRY_MIGRATION_HELLO_H
#define FERRY_MIGRATION_HELLO_H

#include "migration/stream.h"
#include "vmm/vm.h"

enum hello_purpose {
	HELLO_MOVE,
	/* The answer is all that is wanted, and the destination waits on. */
	HELLO_CHECK,
};

struct hello {
	void *tree;
	uint32_t len;
	uint32_t oldest; /* version that can take it */
	uint64_t clock;  /* this host's time of day in it, see clock.h: when it was said */
};

/* Describes @vm. Asks its devices, as a migration does, which is not to happen on two threads at once. On an
 * error there is nothing to free. */
int __must_check hello_describe(struct hello *h, struct vm *vm, enum hello_purpose purpose,
				struct error *err);

/* Says it, with the time of the moment at which somebody takes it, which with ssh may be long after the
 * beginning; and waits for READY. *@clock becomes the destination's time of day, 0 if it does not say. As
 * stream_expect_ready(), -ECONNREFUSED with the reasons of a destination that says no. */
int __must_check hello_say(struct hello *h, struct stream *s, uint64_t *clock, int timeout_ms,
			   struct error *err);

void hello_free(struct hello *h);

#endif
