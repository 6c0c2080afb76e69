/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line between two hosts, frame by frame, with a fault at one instant of one migration. */
#ifndef FERRY_TESTS_FAULT_LINK_H
#define FERRY_TESTS_FAULT_LINK_H

#include <pthread.h>

#include "migration/stream.h"

enum link_way { LINK_THERE, LINK_BACK, LINK_N_WAYS };

enum link_fault {
	LINK_WELL,
	LINK_CUT,   /* both ways end */
	LINK_HALF,  /* nothing comes through any more on this way, and nobody hears of it */
	LINK_STALL, /* nothing comes through for a while */
	LINK_DRIP,  /* a byte at a time, for a while */
	LINK_FLIP,  /* a bit of one byte changes */
	LINK_CALL,  /* @act is called, and the line stays well */
};

struct link {
	/* Where it happens: at the first frame of a type, or where that is 0 at which frame of which way; and
	 * how far in it. */
	enum link_fault fault;
	int at_type;
	enum link_way way;
	unsigned int frame;
	uint64_t place; /* taken modulo the frame's length */
	unsigned int ms;
	void (*act)(void *opaque);
	void *opaque;
	/* NULL, or changes each frame, which stays as long as it is, before it goes on. */
	void (*edit)(struct link *l, enum link_way way, uint8_t *frame);

	/* Written by the two threads, read after link_join(), but for @reached and @running. */
	unsigned int n_frames[LINK_N_WAYS];
	_Atomic int type;       /* of the frame of the fault */
	_Atomic bool reached;   /* it has happened */
	_Atomic bool committed; /* a whole COMMIT came through */
	_Atomic bool running;   /* a whole RUNNING came through */
	_Atomic int newer;      /* a type that a peer's version does not have, which came all the same */
	_Atomic bool ends;      /* link_join() wants the threads back */
	bool begun;             /* by link_start() */
	pthread_t threads[LINK_N_WAYS];
	int fds[LINK_N_WAYS]; /* of the source, of the destination; closed by link_join() */
};

/* Begins to pass bytes on. @source and @destination are connected sockets whose other ends the hosts have. */
void link_start(struct link *l, int source, int destination);
/* Ends both ways, whatever is under way. */
void link_join(struct link *l);

#endif
