/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens to the guest, for whoever listens: clients of the control socket. All functions: any thread.
 */
#ifndef FERRY_VMM_EVENTS_H
#define FERRY_VMM_EVENTS_H

#include <pthread.h>

#include "vmm/util.h"

/* Names are those of QEMU's events, which managers of VMs know. */
enum event {
	EVENT_STOP,      /* the guest stands still, as somebody has asked */
	EVENT_RESUME,    /* and goes on */
	EVENT_RESET,     /* the guest begins anew */
	EVENT_POWERDOWN, /* its power button was pressed */
	EVENT_MIGRATION, /* a migration away from here has begun, or has ended */
	EVENT_N_EVENTS,
};

extern const char *const event_names[EVENT_N_EVENTS];

/* Events that wait for a listener; of one that is slower the latest are dropped. */
#define EVENTS_QUEUE 32u

/* Somebody who listens. Owned by the caller. */
struct event_listener {
	int fd; /* an eventfd: there is an event */
	/* Under the lock of the events. */
	unsigned int n;
	enum event queue[EVENTS_QUEUE];
	struct event_listener *next;
};

struct events {
	pthread_mutex_t lock;
	struct event_listener *listeners;
};

void events_init(struct events *events);
/* Nobody listens any more. */
void events_exit(struct events *events);

/* Begins to listen: what happens from here on is heard. -errno of eventfd(). events_forget() ends it. */
int __must_check events_listen(struct events *events, struct event_listener *l);
void events_forget(struct events *events, struct event_listener *l);

/* Takes the next event, if there is one, and @l->fd is readable while there are more. */
bool events_take(struct events *events, struct event_listener *l, enum event *event);

/* Tells all that listen; of @events that are NULL nobody does. Never waits. */
void events_tell(struct events *events, enum event event);

#endif
