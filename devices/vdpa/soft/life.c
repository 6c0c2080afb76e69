/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of the NIC in software and its events: see the header. */
#include "devices/vdpa/soft/life.h"

#include <errno.h>

#include "devices/vdpa/soft/ctrl.h"
#include "devices/vdpa/soft/rx.h"
#include "devices/vdpa/soft/tx.h"

/* Events */

/* Stops a device whose driver has broken the rules: nothing is served until its reset. */
static void soft_break(struct soft *soft, unsigned int queue, const char *why)
{
	log_limited(&soft->log_limit, LOG_WARN, "%s: queue %u: %s", soft->name, queue, why);
	soft->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	soft_unwatch(soft);
	soft_config_changed(soft);
}

/* Has the guest's link follow the port's state. */
static void soft_look(struct soft *soft)
{
	bool was_up = get_le16(soft->config + SOFT_CONFIG(status)) & VIRTIO_NET_S_LINK_UP;
	bool up = soft_port_look(soft->port) == SOFT_PORT_UP;

	if (up && !was_up)
		soft_set_status_bits(soft, VIRTIO_NET_S_LINK_UP, 0);
	else if (!up && was_up)
		soft_set_status_bits(soft, 0, VIRTIO_NET_S_LINK_UP);
}

/* Takes what a source has. */
static void soft_receive(struct soft *soft, struct soft_source *from, uint32_t events)
{
	int ret = soft_rx(soft, from);

	/* A fault that reading does not show would wake the thread again at once. */
	if (ret < 0 || ((events & (EPOLLERR | EPOLLHUP)) && from->watched)) {
		soft_port_rest(from);
		soft_look(soft);
	}
	for (unsigned int i = 0; i < soft->n_pairs; i++) {
		const struct soft_queue *q = &soft->queues[virtio_net_rx(i)];

		if (soft_serves(soft, q) && q->vring.broken)
			soft_break(soft, q->index, q->vring.broken);
	}
}

/* Goes on with reception: with what the port holds at once, since no descriptor tells of it. */
static void soft_listen(struct soft *soft)
{
	soft_watch(soft);
	for (unsigned int i = 0; i < soft->port->n_sources; i++) {
		if (soft->port->sources[i].n_held)
			soft_receive(soft, &soft->port->sources[i], 0);
	}
}

void soft_serve(struct soft *soft, struct soft_queue *q)
{
	int ret = 0;

	if (!soft_serves(soft, q))
		return;
	if (q->index == soft_ctrl_index(soft)) {
		soft_ctrl_serve(soft, q);
	} else if (soft_is_tx(q)) {
		ret = soft_tx(soft, q);
	} else {
		vring_disable_kicks(&q->vring);
		soft_listen(soft);
	}
	if (q->vring.broken)
		soft_break(soft, q->index, q->vring.broken);
	if (ret < 0)
		soft_look(soft);
}

static void soft_serve_all(struct soft *soft)
{
	soft_watch(soft);
	for (unsigned int i = 0; i < soft->vdpa.n_vqs; i++)
		soft_serve(soft, &soft->queues[i]);
}

static void soft_kicked(struct loop_source *src, uint32_t events)
{
	struct soft_queue *q = container_of(src, struct soft_queue, kick);

	if (!loop_take(src->fd))
		return;
	q->counters[SOFT_NOTIFICATIONS] += !q->again;
	q->again = false;
	soft_serve(soft_of_queue(q), q);
}

static void soft_source_readable(struct loop_source *src, uint32_t events)
{
	struct soft_source *from = container_of(src, struct soft_source, event);

	soft_receive(from->port->owner, from, events);
}

static void soft_link_changed(struct loop_source *src, uint32_t events)
{
	soft_look(container_of(src, struct soft_port, link)->owner);
}

static void soft_link_raised(struct loop_source *src, uint32_t events)
{
	soft_look(container_of(src, struct soft_port, raised)->owner);
}

static void soft_port_rested(struct loop_timer *timer)
{
	struct soft *soft = container_of(timer, struct soft_port, rest)->owner;

	if (soft_runs(soft))
		soft_watch(soft);
}

static void soft_alarm_rang(struct loop_timer *timer)
{
	struct soft *soft = container_of(timer, struct soft, alarm.timer);

	soft_queues_due(soft->queues, soft->vdpa.n_vqs, &soft->alarm);
}

static void soft_answers_due(struct loop_timer *timer)
{
	struct soft *soft = container_of(timer, struct soft, answer_timer);

	if (!soft->faults.gone)
		soft_ctrl_flush(soft);
}

/* Life */

/* Sets the state that a device has before the driver's first command. */
static void soft_defaults(struct soft *soft)
{
	memcpy(soft->config + SOFT_CONFIG(mac), soft->provisioned_mac, 6);
	soft->offloads = soft->features & SOFT_GUEST_OFFLOADS;
	soft->header_len = virtio_has(soft->features, VIRTIO_NET_F_HASH_REPORT)
				   ? sizeof(struct virtio_net_hdr_v1_hash)
				   : sizeof(struct virtio_net_hdr_v1);
	soft_filter_reset(&soft->filter, soft->features);
	soft_steering_reset(&soft->steering, soft->port->n_sources);
	soft_ctrl_reset(soft);
}

int soft_life_begin(struct soft *soft)
{
	struct soft_port *port = soft->port;
	int ret = loop_timer_open(&soft->alarm.timer, &soft->loop, soft_alarm_rang);

	if (ret == 0)
		ret = loop_timer_open(&soft->answer_timer, &soft->loop, soft_answers_due);
	if (ret == 0)
		ret = loop_timer_open(&port->rest, &soft->loop, soft_port_rested);
	if (ret < 0)
		return ret;
	soft_defaults(soft);
	port->owner = soft;
	port->loop = &soft->loop;
	for (unsigned int i = 0; i < port->n_sources; i++) {
		port->sources[i].event.fn = soft_source_readable;
		port->sources[i].port = port;
	}
	port->link.fn = soft_link_changed;
	port->raised.fn = soft_link_raised;
	if (port->link.fd >= 0)
		ret = loop_add(&soft->loop, &port->link, EPOLLIN);
	/* The descriptor is writable for as long as the port is up, so only the edge is of interest. */
	if (ret == 0 && port->raised.fd >= 0)
		ret = loop_add(&soft->loop, &port->raised, EPOLLOUT | EPOLLET);
	return ret;
}

void soft_life_end(struct soft *soft)
{
	for (unsigned int i = 0; i < SOFT_MAX_VQS; i++)
		soft_queue_stop(&soft->queues[i]);
	if (soft->port)
		loop_timer_close(&soft->port->rest);
	loop_timer_close(&soft->answer_timer);
	loop_timer_close(&soft->alarm.timer);
}

static int soft_start_queue(struct soft *soft, struct soft_queue *q, struct error *err)
{
	unsigned int group = q->index == soft_ctrl_index(soft) ? SOFT_GROUP_CTRL : SOFT_GROUP_DATA;
	int ret;

	if (!q->set || !q->enabled || q->live)
		return 0;
	ret = soft_queue_start(q, &soft->loop, soft_spaces_memory(&soft->spaces, group), soft->features,
			       soft_kicked);
	if (ret < 0) {
		error_add(err, "%s: cannot serve queue %u: %s", soft->name, q->index,
			  ret == -EINVAL ? "its ring is not mapped, or misaligned" : strerror(-ret));
		return ret;
	}
	return 0;
}

static int soft_start_queues(struct soft *soft, struct error *err)
{
	int ret = 0;

	for (unsigned int i = 0; i < soft->vdpa.n_vqs && ret == 0; i++)
		ret = soft_start_queue(soft, &soft->queues[i], err);
	return ret;
}

int soft_start(struct soft *soft, struct error *err)
{
	struct soft_steering steering;
	int ret;

	soft_defaults(soft);
	ret = soft_start_queues(soft, err);
	if (ret < 0)
		return ret;
	steering = soft->steering;
	ret = soft_port_set_offloads(soft->port, soft->offloads);
	if (ret == 0)
		ret = soft_steer(soft, &steering);
	if (ret < 0) {
		soft_unwatch(soft);
		error_add(err, "%s: its interface does not take what the driver has accepted: %s", soft->name,
			  strerror(-ret));
		return ret;
	}
	soft->started = true;
	soft_port_drain(soft->port, soft->packet);
	soft_serve_all(soft);
	return 0;
}

void soft_reset(struct soft *soft)
{
	uint8_t *status = soft->config + SOFT_CONFIG(status);

	soft_unwatch(soft);
	for (unsigned int i = 0; i < soft->vdpa.n_vqs; i++) {
		soft_queue_stop(&soft->queues[i]);
		soft_queue_init(&soft->queues[i], i, &soft->alarm);
	}
	soft_spaces_reset(&soft->spaces);
	soft->config_call = -1;
	soft->features = 0;
	soft->status = 0;
	soft->started = soft->suspended = soft->fed = false;
	put_le16(status, get_le16(status) & VIRTIO_NET_S_LINK_UP);
	soft_defaults(soft);
}

void soft_suspend(struct soft *soft)
{
	soft_ctrl_flush(soft);
	for (unsigned int i = 0; i < soft->vdpa.n_vqs; i++) {
		struct soft_queue *q = &soft->queues[i];

		soft_queue_flush(q);
		/*
		 * The queue may have other buffers when it goes on, or get them a moment later. A packet that
		 * comes meanwhile is to wait for them.
		 */
		if (q->live && !soft_is_tx(q) && i != soft_ctrl_index(soft))
			soft->fed |= vring_has_avail(&q->vring);
	}
	soft_unwatch(soft);
	soft->suspended = true;
}

int soft_resume(struct soft *soft, struct error *err)
{
	int ret = soft_start_queues(soft, err);

	if (ret < 0)
		return ret;
	soft->suspended = false;
	soft_serve_all(soft);
	return 0;
}

int soft_enable(struct soft *soft, struct soft_queue *q, struct error *err)
{
	int ret = 0;

	q->enabled = true;
	if (!soft->started || soft->suspended)
		return 0;
	ret = soft_start_queues(soft, err);
	soft_serve(soft, q);
	return ret;
}

void soft_disable(struct soft *soft, struct soft_queue *q)
{
	q->enabled = false;
	soft_queue_stop(q);
}

void soft_check_rings(struct soft *soft)
{
	for (unsigned int i = 0; i < soft->vdpa.n_vqs; i++) {
		struct soft_queue *q = &soft->queues[i];

		if (!q->live || soft_queue_mapped(q))
			continue;
		soft_queue_stop(q);
		/* A suspended device waits for new addresses, so this is no fault. */
		if (!soft->suspended)
			soft_break(soft, i, "its ring is not mapped any more");
	}
}
