/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every port of the NIC in software behaves alike in this: when its sources are watched, and what it answers
 * once it is gone. */
#include "devices/vdpa/soft/port.h"

#include <errno.h>

/* A port that fails is let alone for 20 ms: that is short against what a driver or a peer waits for, and long
 * against the time that the failures of a burst take. */
#define PORT_REST_MS 20

/* A drain ends after as many packets as a TAP or a socket holds, because further ones are new. */
#define PORT_MAX_HELD 1024u

void soft_port_unwatch(struct soft_source *source)
{
	if (source->watched)
		loop_del(source->port->loop, &source->event);
	source->watched = false;
}

void soft_port_rest(struct soft_source *source)
{
	soft_port_unwatch(source);
	loop_timer_arm(&source->port->rest, end_of(PORT_REST_MS));
}

void soft_port_watch(struct soft_port *port, unsigned int n)
{
	for (unsigned int i = 0; i < port->n_sources; i++) {
		struct soft_source *source = &port->sources[i];

		/* A source whose queue is not attached would report EPOLLERR without an end. */
		if (port->gone || i >= n) {
			soft_port_unwatch(source);
			continue;
		}
		if (!source->watched)
			source->watched = loop_add(port->loop, &source->event, EPOLLIN) == 0;
		if (!source->watched)
			soft_port_rest(source);
	}
}

enum soft_port_state soft_port_look(struct soft_port *port)
{
	enum soft_port_state state = SOFT_PORT_UP;

	if (port->gone)
		return SOFT_PORT_GONE;
	if (port->ops->state)
		state = port->ops->state(port);
	if (state != SOFT_PORT_GONE)
		return state;
	port->gone = true;
	soft_port_watch(port, 0);
	if (port->link.fd >= 0)
		loop_del(port->loop, &port->link);
	if (port->raised.fd >= 0)
		loop_del(port->loop, &port->raised);
	return state;
}

void soft_port_drain(struct soft_port *port, void *buf)
{
	const struct iovec iov = { buf, SOFT_PACKET_MAX };
	unsigned int n = PORT_MAX_HELD;
	int ret;

	if (port->gone)
		return;
	do {
		ret = port->ops->receive(port, 0, &iov, 1);
	} while (--n > 0 && ret != 0 && ret != -ENODEV && ret != -ENETDOWN);
}

int soft_port_send(struct soft_port *port, unsigned int pair, struct soft_out *packets, unsigned int n)
{
	return port->gone ? -ENODEV : port->ops->send(port, pair, packets, n);
}

int soft_port_set_offloads(struct soft_port *port, uint64_t offloads)
{
	return port->gone ? 0 : port->ops->set_offloads(port, offloads);
}

int soft_port_set_pairs(struct soft_port *port, unsigned int n_pairs)
{
	return port->gone ? 0 : port->ops->set_pairs(port, n_pairs);
}
