/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens to the guest, for whoever listens. */
#include "vmm/events.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/loop.h"

const char *const event_names[EVENT_N_EVENTS] = {
	[EVENT_STOP] = "STOP",           [EVENT_RESUME] = "RESUME",       [EVENT_RESET] = "RESET",
	[EVENT_POWERDOWN] = "POWERDOWN", [EVENT_MIGRATION] = "MIGRATION",
};

void events_init(struct events *events)
{
	*events = (struct events){ 0 };
	pthread_mutex_init(&events->lock, NULL);
}

void events_exit(struct events *events)
{
	pthread_mutex_destroy(&events->lock);
}

int events_listen(struct events *events, struct event_listener *l)
{
	*l = (struct event_listener){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (l->fd < 0)
		return -errno;
	pthread_mutex_lock(&events->lock);
	l->next = events->listeners;
	events->listeners = l;
	pthread_mutex_unlock(&events->lock);
	return 0;
}

void events_forget(struct events *events, struct event_listener *l)
{
	struct event_listener **at = &events->listeners;

	pthread_mutex_lock(&events->lock);
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	pthread_mutex_unlock(&events->lock);
	close(l->fd);
	l->fd = -1;
}

bool events_take(struct events *events, struct event_listener *l, enum event *event)
{
	bool taken;

	pthread_mutex_lock(&events->lock);
	taken = l->n > 0;
	if (taken) {
		*event = l->queue[0];
		l->n--;
		memmove(l->queue, l->queue + 1, l->n * sizeof(l->queue[0]));
	}
	if (l->n == 0)
		loop_take(l->fd);
	pthread_mutex_unlock(&events->lock);
	return taken;
}

void events_tell(struct events *events, enum event event)
{
	if (!events)
		return;
	pthread_mutex_lock(&events->lock);
	for (struct event_listener *l = events->listeners; l; l = l->next) {
		if (l->n < EVENTS_QUEUE)
			l->queue[l->n++] = event;
		loop_signal(l->fd);
	}
	pthread_mutex_unlock(&events->lock);
}
