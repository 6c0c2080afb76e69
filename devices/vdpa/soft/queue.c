/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues of the NIC in software: see the header. */
#include "devices/vdpa/soft/queue.h"

#include <errno.h>

#include "devices/virtio/ring.h"
#include "devices/virtio/vring_handover.h"

void soft_queue_init(struct soft_queue *q, unsigned int index, struct soft_alarm *alarm)
{
	*q = (struct soft_queue){ .index = index, .alarm = alarm };
}

int soft_queue_start(struct soft_queue *q, struct loop *loop, struct memory *mem, uint64_t features,
		     void (*kicked)(struct loop_source *src, uint32_t events))
{
	struct vring_setup setup = vring_setup_of(features);
	int ret;

	setup.size = q->setup.size;
	setup.desc = q->setup.desc;
	setup.avail = q->setup.avail;
	setup.used = q->setup.used;
	ret = vring_init(&q->vring, mem, &setup);
	if (ret < 0)
		return ret;
	vring_start_at(&q->vring, q->setup.base);
	q->loop = loop;
	q->kick = (struct loop_source){ .fd = q->setup.kick_fd, .fn = kicked };
	ret = loop_add(loop, &q->kick, EPOLLIN);
	if (ret < 0)
		vring_exit(&q->vring);
	q->live = ret == 0;
	return ret;
}

void soft_queue_stop(struct soft_queue *q)
{
	if (!q->live)
		return;
	loop_del(q->loop, &q->kick);
	q->setup.base = q->vring.last_avail;
	vring_exit(&q->vring);
	q->live = q->again = false;
	q->deadline_ns = 0;
	q->wanted = false;
	q->n_held = 0;
}

bool soft_queue_mapped(const struct soft_queue *q)
{
	const struct vring_setup *s = &q->vring.setup;

	return memory_at(q->vring.mem, s->desc, virtio_desc_bytes(s->size)) &&
	       memory_at(q->vring.mem, s->avail, virtio_avail_bytes(s->size)) &&
	       memory_at(q->vring.mem, s->used, virtio_used_bytes(s->size));
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

/* The alarm may ring too early, because a queue was flushed since: then no queue is due. */
static void soft_queue_remind(const struct soft_queue *q)
{
	struct soft_alarm *alarm = q->alarm;

	if (alarm->at_ns && alarm->at_ns <= q->deadline_ns)
		return;
	alarm->at_ns = q->deadline_ns;
	loop_timer_arm(&alarm->timer, alarm->at_ns);
}

void soft_queues_due(struct soft_queue *queues, unsigned int n, struct soft_alarm *alarm)
{
	uint64_t now = now_ns();

	alarm->at_ns = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct soft_queue *q = &queues[i];

		if (q->deadline_ns && q->deadline_ns <= now)
			soft_queue_call(q);
		else if (q->deadline_ns)
			soft_queue_remind(q);
	}
}

/*
 * The driver is told when there are max_packets, or when max_usecs have passed, whichever comes first.
 * max_usecs 0 means at once; max_packets 0 means that the time alone counts.
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
		soft_queue_remind(q);
	}
}

void soft_queue_flush(struct soft_queue *q)
{
	if (q->live && q->wanted)
		soft_queue_call(q);
}

/* An interrupt that the old rule holds back does not wait for the new one. */
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
