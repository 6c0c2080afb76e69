/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The port of the vDPA NIC in software, TAP or hub: when its sources are watched, and what the guest's link
 * does. */
#include "devices/vdpa/soft/device.h"

#include <errno.h>
#include <unistd.h>

/* How long a port that fails is let alone: short against what a driver or a peer waits for, long against the
 * time that the failures of a burst take. */
#define SOFT_REST_MS 20

void soft_port_unwatch(struct soft_source *source)
{
	if (source->watched)
		loop_del(&source->sv->loop, &source->event);
	source->watched = false;
}

void soft_port_rest(struct soft_source *source)
{
	soft_port_unwatch(source);
	loop_timer_arm(&source->sv->rest, end_of(SOFT_REST_MS));
}

void soft_port_rested(struct loop_timer *timer)
{
	struct soft_vdpa *sv = container_of(timer, struct soft_vdpa, rest);

	if (soft_runs(sv))
		soft_port_watch(sv, true);
}

static unsigned int soft_n_served(const struct soft_steering *s)
{
	return s->n_rx > s->n_tx ? s->n_rx : s->n_tx;
}

void soft_port_watch(struct soft_vdpa *sv, bool watch)
{
	for (unsigned int i = 0; i < sv->port->n_sources; i++) {
		struct soft_source *source = &sv->port->sources[i];

		/* A source whose queue is not attached reports EPOLLERR without an end. */
		if (!watch || sv->port->gone || i >= soft_n_served(&sv->steering)) {
			soft_port_unwatch(source);
			continue;
		}
		if (!source->watched)
			source->watched = loop_add(&sv->loop, &source->event, EPOLLIN) == 0;
		/* The kernel had no memory for watching it: try again later. */
		if (!source->watched)
			soft_port_rest(source);
	}
}

int soft_port_set_offloads(struct soft_vdpa *sv, uint64_t offloads)
{
	return sv->port->gone ? 0 : sv->port->ops->set_offloads(sv->port, offloads);
}

int soft_port_steer(struct soft_vdpa *sv, const struct soft_steering *next)
{
	int ret = 0;

	soft_port_watch(sv, false);
	if (!sv->port->gone)
		ret = sv->port->ops->set_pairs(sv->port, soft_n_served(next));
	if (ret == 0)
		sv->steering = *next;
	soft_port_watch(sv, true);
	return ret;
}

void soft_port_look(struct soft_vdpa *sv)
{
	bool was_up =
		get_le16(sv->config + offsetof(struct virtio_net_config, status)) & VIRTIO_NET_S_LINK_UP;
	struct soft_port *port = sv->port;
	enum soft_port_state state;

	if (port->gone || !port->ops->state)
		return;
	state = port->ops->state(port);
	if (state == SOFT_PORT_GONE) {
		port->gone = true;
		soft_port_watch(sv, false);
		if (port->link.fd >= 0)
			loop_del(&sv->loop, &port->link);
		if (port->raised.fd >= 0)
			loop_del(&sv->loop, &port->raised);
	}
	if (was_up != (state == SOFT_PORT_UP))
		soft_set_status_bits(sv, was_up ? 0 : VIRTIO_NET_S_LINK_UP,
				     was_up ? VIRTIO_NET_S_LINK_UP : 0);
}

void soft_port_drain(struct soft_vdpa *sv)
{
	/* A drain ends after as many packets as ports hold: further ones are new. */
	unsigned int n = 1024;
	int ret;

	if (sv->port->gone)
		return;
	do {
		ret = sv->port->ops->receive(sv->port, 0, sv->packet, sizeof(sv->packet));
	} while (--n > 0 && ret != 0 && ret != -ENODEV && ret != -ENETDOWN);
}
