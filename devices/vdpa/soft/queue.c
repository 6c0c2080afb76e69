/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues of the vDPA NIC in software: found in what is mapped, and when their driver is told. */
#include "devices/vdpa/soft/device.h"

#include <errno.h>
#include <unistd.h>

#include "devices/virtio/ring.h"
#include "devices/virtio/vring_handover.h"

int soft_queue_start(struct soft_queue *q)
{
	struct soft_vdpa *sv = q->sv;
	unsigned int group = q->index == soft_ctrl_index(sv) ? SOFT_GROUP_CTRL : SOFT_GROUP_DATA;
	const struct vring_setup setup = {
		.size = q->setup.size,
		.desc = q->setup.desc,
		.avail = q->setup.avail,
		.used = q->setup.used,
		.event_idx = virtio_has(sv->features, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(sv->features, VIRTIO_RING_F_INDIRECT_DESC),
	};
	int ret = vring_init(&q->vring, &sv->spaces[sv->space_of[group]], &setup);

	if (ret < 0)
		return ret;
	vring_start_at(&q->vring, q->setup.base);
	q->kick = (struct loop_source){ .fd = q->setup.kick_fd, .fn = soft_kicked };
	ret = loop_add(&sv->loop, &q->kick, EPOLLIN);
	if (ret < 0)
		vring_exit(&q->vring);
	q->live = ret == 0;
	return ret;
}

void soft_queue_stop(struct soft_queue *q)
{
	if (!q->live)
		return;
	loop_del(&q->sv->loop, &q->kick);
	q->setup.base = q->vring.last_avail;
	vring_exit(&q->vring);
	q->live = q->again = false;
	q->deadline_ns = 0;
	q->wanted = false;
	q->n_held = 0;
}

void soft_queue_again(struct soft_queue *q)
{
	q->again = q->live;
	if (q->live)
		loop_signal(q->kick.fd);
}

static void soft_queue_call(struct soft_queue *q)
{
	q->deadline_ns = 0;
	q->wanted = false;
	q->n_held = 0;
	q->counters[SOFT_INTERRUPTS]++;
	loop_signal(q->setup.call_fd);
}

/* One timer for the earliest of all deadlines. */
static void soft_timer_arm(struct soft_vdpa *sv)
{
	uint64_t first = 0;

	for (unsigned int i = 0; i < sv->vdpa.n_vqs; i++) {
		uint64_t deadline = sv->queues[i].deadline_ns;

		if (deadline && (!first || deadline < first))
			first = deadline;
	}
	if (first)
		loop_timer_arm(&sv->timer, first);
	else
		loop_timer_stop(&sv->timer);
}

void soft_timer_fired(struct loop_timer *timer)
{
	struct soft_vdpa *sv = container_of(timer, struct soft_vdpa, timer);
	uint64_t now = now_ns();

	for (unsigned int i = 0; i < sv->vdpa.n_vqs; i++) {
		struct soft_queue *q = &sv->queues[i];

		if (q->deadline_ns && q->deadline_ns <= now)
			soft_queue_call(q);
	}
	soft_timer_arm(sv);
}

/*
 * "Notifications Coalescing": whichever comes first, so many packets or so much time. No time at all means at
 * once; no number of packets, that the time alone counts.
 */
void soft_queue_publish(struct soft_queue *q, uint32_t n)
{
	const struct soft_coalesce *c = &q->coalesce;

	if (n == 0)
		return;
	q->wanted |= vring_publish(&q->vring);
	if (!q->wanted)
		return;
	q->n_held += n;
	if (c->max_usecs == 0 || (c->max_packets && q->n_held >= c->max_packets)) {
		soft_queue_call(q);
	} else if (!q->deadline_ns) {
		q->deadline_ns = now_ns() + c->max_usecs * UINT64_C(1000);
		soft_timer_arm(q->sv);
	}
}

void soft_queue_flush(struct soft_queue *q)
{
	if (q->live && q->wanted)
		soft_queue_call(q);
}

/* What is held under the old rule does not wait for the new one. */
void soft_queue_set_coalesce(struct soft_queue *q, struct soft_coalesce coalesce)
{
	q->coalesce = coalesce;
	soft_queue_flush(q);
}

void soft_queue_spoil(struct soft_queue *q)
{
	uint16_t last = (uint16_t)(q->vring.used_idx - 1);

	ring_store_u32(q->vring.used + ring_used_entry(last & (q->vring.setup.size - 1u)),
		       q->vring.setup.size);
}
