/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue of the NIC in software: its ring, found in what is mapped, and when its driver is told of used
 * buffers (virtio 1.4, "Notifications Coalescing"). On the device's thread. */
#ifndef FERRY_DEVICES_VDPA_SOFT_QUEUE_H
#define FERRY_DEVICES_VDPA_SOFT_QUEUE_H

#include "devices/vdpa/vdpa.h"
#include "devices/virtio/vring.h"
#include "vmm/loop_timer.h"

/* Counters of a queue, in the order of the specification's structures ("Device Statistics"). Those of a
 * receive queue and of a transmit queue share places. */
enum soft_counter {
	SOFT_NOTIFICATIONS,
	SOFT_PACKETS,
	SOFT_BYTES,
	SOFT_INTERRUPTS,
	SOFT_DROPS,
	SOFT_RX_OVERRUNS,
	SOFT_TX_MALFORMED = SOFT_RX_OVERRUNS,
	SOFT_RX_CSUM_VALID,
	SOFT_RX_NEEDS_CSUM,
	SOFT_RX_CSUM_NONE,
	SOFT_RX_CSUM_BAD,
	SOFT_RX_GSO_PACKETS,
	SOFT_RX_GSO_BYTES,
	SOFT_TX_CSUM_NONE = SOFT_RX_CSUM_VALID,
	SOFT_TX_NEEDS_CSUM,
	SOFT_TX_GSO_PACKETS,
	SOFT_TX_GSO_BYTES,
	SOFT_TX_GSO_SEGMENTS,
	SOFT_TX_GSO_SEGMENT_BYTES,
	SOFT_N_COUNTERS = 16,
};

struct soft_coalesce {
	uint32_t max_packets, max_usecs;
};

/* One timer for the earliest deadline of all queues. */
struct soft_alarm {
	struct loop_timer timer;
	uint64_t at_ns; /* 0: not armed */
};

struct soft_queue {
	unsigned int index;
	struct soft_alarm *alarm;
	struct vdpa_vring setup;
	bool set, enabled;
	bool live; /* its ring is served; the fields up to @again are valid */
	struct loop *loop;
	struct vring vring;
	struct loop_source kick;
	bool again; /* the next kick is the device's own */

	/* Interrupts that are held back. */
	struct soft_coalesce coalesce;
	bool wanted;          /* the driver waits for one */
	uint32_t n_held;      /* elements since it has */
	uint64_t deadline_ns; /* when it is due at the latest; 0: none is held */

	uint64_t counters[SOFT_N_COUNTERS];
};

static inline bool soft_is_tx(const struct soft_queue *q)
{
	return q->index % 2 == 1;
}

/* As after a reset: nothing is set up. */
void soft_queue_init(struct soft_queue *q, unsigned int index, struct soft_alarm *alarm);

/* Serves the ring of @q->setup, which lies in @mem; @features are those that the driver has accepted. @kicked
 * is called on the loop's thread for each kick. 0 or -errno; -EINVAL or -EFAULT: the ring is not mapped, or
 * misaligned. */
int __must_check soft_queue_start(struct soft_queue *q, struct loop *loop, struct memory *mem,
				  uint64_t features,
				  void (*kicked)(struct loop_source *src, uint32_t events));
/* Leaves in @q->setup where the next one has to begin. */
void soft_queue_stop(struct soft_queue *q);
/* Whether its ring is mapped still. */
bool soft_queue_mapped(const struct soft_queue *q);

/* Has it kicked once more, when others have had their turn. */
void soft_queue_again(struct soft_queue *q);
/* Makes visible what was pushed, @n elements, and tells the driver now or when it is time. */
void soft_queue_publish(struct soft_queue *q, uint32_t n);
void soft_queue_set_coalesce(struct soft_queue *q, struct soft_coalesce coalesce);
/* Tells the driver of what is held back. */
void soft_queue_flush(struct soft_queue *q);

/* When the alarm has rung: tells the drivers of the @n queues that are due, and arms it for the next. */
void soft_queues_due(struct soft_queue *queues, unsigned int n, struct soft_alarm *alarm);

/* For tests: makes the next used entry one of an element that does not exist, in the place of one that was
 * pushed last. */
void soft_queue_spoil(struct soft_queue *q);

#endif
