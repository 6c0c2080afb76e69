/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue of the NIC in software: its ring, found in what is mapped, and when its driver is told of used
 * buffers (virtio 1.4, "Notifications Coalescing"). The device's thread owns it.
 */
#ifndef FERRY_DEVICES_VDPA_SOFT_QUEUE_H
#define FERRY_DEVICES_VDPA_SOFT_QUEUE_H

#include "devices/vdpa/vdpa.h"
#include "devices/virtio/vring.h"
#include "vmm/loop_timer.h"

/*
 * The counters of a queue have the order of the specification's structures ("Device Statistics"). A receive
 * queue and a transmit queue count different things in the same places.
 */
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

/* All queues of a device share one timer, which is armed for the earliest of their deadlines. */
struct soft_alarm {
	struct loop_timer timer;
	uint64_t at_ns; /* 0: not armed */
};

struct soft_queue {
	unsigned int index;
	struct soft_alarm *alarm;
	struct vdpa_vring setup;
	bool set, enabled;
	/* The ring is served; the fields up to @again are valid. */
	bool live;
	struct loop *loop;
	struct vring vring;
	struct loop_source kick;
	bool again; /* the device itself made the next kick */

	/* The fields from here on are about interrupts that are held back. */
	struct soft_coalesce coalesce;
	bool wanted;     /* the driver waits for one */
	uint32_t n_held; /* elements used since @wanted */
	/* The latest moment of an interrupt that is held back; 0: there is none. */
	uint64_t deadline_ns;

	uint64_t counters[SOFT_N_COUNTERS];
};

static inline bool soft_is_tx(const struct soft_queue *q)
{
	return q->index % 2 == 1;
}

/* Sets the state after a reset: nothing is set up. */
void soft_queue_init(struct soft_queue *q, unsigned int index, struct soft_alarm *alarm);

/*
 * Begins to serve the ring of @q->setup, which lies in @mem, as a driver wants it that has accepted
 * @features. @kicked is called on the loop's thread for each kick. Returns 0, or -errno as vring_init() or
 * loop_add(); then nothing is left behind.
 */
int __must_check soft_queue_start(struct soft_queue *q, struct loop *loop, struct memory *mem,
				  uint64_t features,
				  void (*kicked)(struct loop_source *src, uint32_t events));
/* Ends that, and notes in @q->setup the base at which to go on. */
void soft_queue_stop(struct soft_queue *q);
/* Whether the ring of a live queue is mapped still. */
bool soft_queue_mapped(const struct soft_queue *q);

/* Kicks a live queue once more, so that it is served again when others have had their turn. */
void soft_queue_again(struct soft_queue *q);
/*
 * Makes the @n elements visible that were pushed, and tells the driver now or when the queue's rule says so.
 */
void soft_queue_publish(struct soft_queue *q, uint32_t n);
void soft_queue_set_coalesce(struct soft_queue *q, struct soft_coalesce coalesce);
/* Tells the driver now, if an interrupt is held back. */
void soft_queue_flush(struct soft_queue *q);

/* Called when the alarm has rung: tells the driver for each of @n queues that is due, and arms the alarm for
 * the next. */
void soft_queues_due(struct soft_queue *queues, unsigned int n, struct soft_alarm *alarm);

/* For tests: has the used entry that was pushed last name an element that does not exist. */
void soft_queue_spoil(struct soft_queue *q);

#endif
