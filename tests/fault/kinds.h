/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of faults: a row for each, with how it comes about and what may become of the guest. */
#ifndef FERRY_TESTS_FAULT_KINDS_H
#define FERRY_TESTS_FAULT_KINDS_H

#include "tests/fault/run.h"

/* What holds for a kind beside or in place of what holds for all. */
enum kind_rules {
	KIND_HANGS = 1,             /* the operator gives up where nothing goes on */
	KIND_LIES = 2,              /* what a host hears is not what the other has said */
	KIND_UNSURE = 4,            /* a COMMIT can be under way that has not come through */
	KIND_SOURCE_ENDS = 8,       /* its process does */
	KIND_DESTINATION_ENDS = 16, /* its process does */
	KIND_GUEST_ENDS = 32,
	KIND_MOVES = 64, /* the guest does, always */
	KIND_STAYS = 128,
	KIND_REFUSED =
		256, /* before anything is taken for the guest: the wait goes on, and the retry is to it */
	KIND_OLD =
		512, /* one end is of version 1, in which nothing of what the guest boots from goes along */
	KIND_RIVALS = 1024,    /* there are two sources */
	KIND_WAIT_ENDS = 4096, /* a destination that has no guest does not wait on, and says why */
	KIND_TLS = 2048,       /* needs ferry-tls */
};

struct kind {
	const char *name;
	enum link_fault fault;
	unsigned int rules;
	/* NULL, or changes what kind_plan() has drawn. */
	void (*plan)(struct run *r, uint64_t *random);
	/* For LINK_CALL, on the thread of a line. */
	void (*act)(struct run *r);
	/* NULL, or what the reason says if the guest stays: one of several, with a '|' between two. */
	const char *reason;
};

extern const struct kind kinds[];
extern const unsigned int n_kinds;

/* Draws where and when the fault of @r->kind comes, and the guest that it meets. */
void kind_plan(struct run *r, uint64_t *random);

uint64_t next_random(uint64_t *state);

#endif
