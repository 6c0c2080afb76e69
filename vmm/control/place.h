/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places for the control socket's clients: connections whose calls are read on the server's loop, one by one,
 * and run on threads of their own. All functions: the loop's thread, or while nobody runs the loop, unless
 * they say otherwise.
 */
#ifndef FERRY_VMM_CONTROL_PLACE_H
#define FERRY_VMM_CONTROL_PLACE_H

#include "vmm/control/service.h"
#include "vmm/loop_timer.h"

/* Calls that run at a time: each has a thread and a stack of 1 MiB. */
#define CONTROL_MAX_CALLS 16u
/* Clients at a time, with those that have no call running. */
#define CONTROL_MAX_CLIENTS 32u
_Static_assert(CONTROL_MAX_CALLS < CONTROL_MAX_CLIENTS, "there is always one that can give way");

/*
 *	FREE     -> READING  a client is taken; what it says is taken in on the loop's thread
 *	READING  -> FREE     it hung up, took too long for a call that it had begun, or gave way to another
 *	READING  -> RUNNING  its call is whole and has a thread; the loop watches for its hanging up alone
 *	RUNNING  -> READING  the call is answered: the next may be there already
 *	RUNNING  -> FREE     the same, and the connection cannot go on
 */
enum control_state { CLIENT_FREE, CLIENT_READING, CLIENT_RUNNING };

struct control_places;

/* A place for a client. */
struct control_place {
	struct control_places *places;
	enum control_state state;
	/* @thread has been started, and not been joined: while not RUNNING it is about to end. */
	bool joinable;
	pthread_t thread;
	struct loop_source src;
	/* While READING: since when it has said nothing, or, once there is something of a call, since the
	 * first of that. */
	uint64_t since_ns;
	/* The loop's while READING, its own thread's while RUNNING. */
	struct control_call call;
};

struct control_places {
	struct loop *loop;
	/* Fires when the time of a call that has begun is up. */
	struct loop_timer timer;
	/* No call begins any more. */
	bool stopping;
	const struct control_service *service;
	struct control_place all[CONTROL_MAX_CLIENTS];
};

/* Makes places on @loop, of memory that is all zeroes. @service outlives them. 0 or -errno: then there is
 * nothing to exit. */
int __must_check places_init(struct control_places *p, struct loop *loop,
			     const struct control_service *service);
/* Comes after places_join(), or where no client was ever taken. */
void places_exit(struct control_places *p);

/* Takes the connection @fd, which is the places' then, and whose client may call. */
void places_take(struct control_places *p, int fd);

/* Turns away a client that has no call running, with the reason, as far as it takes that at once. @parameters
 * as for control_fail_with(). */
void places_turn_away(int fd, const char *error, const char *parameters);

/* Lets no call begin from here on, and has those that run hear of their end. */
void places_stop(struct control_places *p);
/* Waits for the calls that ran, after places_stop() and while the loop runs: any thread but the loop's. */
void places_join(struct control_places *p);

#endif
