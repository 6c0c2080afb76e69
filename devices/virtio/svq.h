/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Driver side of a split virtqueue: the shadow virtqueue that faces the vDPA device. Its rings live in memory
 * of Ferry's own that is mapped for the device; descriptors are kept in a private copy as well, and only the
 * copy is used: whatever the device writes, ids and lengths are bounded and an element completes exactly
 * once.
 *
 * One owner thread. Nothing is allocated after svq_init().
 */
#ifndef FERRY_DEVICES_VIRTIO_SVQ_H
#define FERRY_DEVICES_VIRTIO_SVQ_H

#include "devices/virtio/ring.h"
#include "devices/virtio/virtio.h"

/* Bytes that a ring of @size entries takes in the window; its parts in it are aligned for the device. A
 * multiple of PAGE_SIZE. */
uint64_t svq_bytes(uint16_t size);

/* An element of more than SVQ_MAX_DIRECT segments, and up to SVQ_TABLE_LEN, takes one descriptor and a table,
 * where there are tables. */
#define SVQ_MAX_DIRECT 2u
#define SVQ_TABLE_LEN  32u
/* There are as many tables as descriptors, but no more than a guest has use for at once. */
#define SVQ_MAX_TABLES 512u

/* Bytes that the tables of a ring of @size entries take in the window; a multiple of PAGE_SIZE. */
uint64_t svq_table_bytes(uint16_t size);

/* A private copy of a descriptor. */
struct svq_desc;

struct svq {
	uint16_t size;
	bool event_idx;
	/* Shared with the device. */
	uint8_t *desc_ring;
	uint8_t *avail;
	uint8_t *used;
	uint64_t desc_iova, avail_iova, used_iova;

	/* Descriptor tables, by the descriptor that names them: [n_tables], 0 if there are none. */
	uint8_t *tables;
	uint64_t tables_iova;
	uint16_t n_tables;
	struct virtio_seg *table_segs; /* private copy: [n_tables][SVQ_TABLE_LEN] */

	struct svq_desc *descs;     /* [size] */
	struct virtio_seg *written; /* [size], what svq_get_used() shows */
	uint16_t free_head;
	uint16_t n_free;
	uint16_t avail_idx;   /* next entry to write */
	uint16_t published;   /* avail.idx as the device sees it */
	uint16_t last_used;   /* next entry to take */
	uint16_t used_idx;    /* the device's index as last read */
	uint16_t n_in_flight; /* elements */
	/* The rule that the device broke, for the log; NULL while the queue is good. */
	const char *broken;
};

/*
 * Makes an empty queue in @mem, svq_bytes(@size) zeroed bytes at @iova, which stay the caller's. @size is a
 * power of two up to VIRTIO_RING_MAX_SIZE. Indexes start at 0 (base 0 at the device). 0 or -ENOMEM. A zeroed
 * svq may be passed to svq_exit().
 */
int __must_check svq_init(struct svq *svq, void *mem, uint64_t iova, uint16_t size, bool event_idx);
void svq_exit(struct svq *svq);

/* Gives the queue tables, with VIRTIO_RING_F_INDIRECT_DESC after svq_init(): @mem is svq_table_bytes() at
 * @iova. 0 or -ENOMEM. */
int __must_check svq_use_tables(struct svq *svq, void *mem, uint64_t iova);

/*
 * Adds an element of @n_read readable and then @n_write writable segments, none of length 0, at least one in
 * all, less than 2^32 bytes together. @token comes back at its completion. -ENOSPC if the ring lacks
 * descriptors now: an element of more than @svq->size segments that no table takes never fits. Not visible
 * before svq_publish(), which returns whether the device wants a kick for what it made visible.
 */
int __must_check svq_add(struct svq *svq, const struct virtio_seg *segs, uint16_t n_read, uint16_t n_write,
			 uint64_t token);
bool __must_check svq_publish(struct svq *svq);

/* Returns how many elements the device can see and has not given back, as far as is known. */
static inline uint16_t svq_n_visible(const struct svq *svq)
{
	return (uint16_t)(svq->n_in_flight - (svq->avail_idx - svq->published));
}

/* Whether svq_get_used() has something to say, without taking it; false for a queue that is not there. */
static inline bool svq_has_used(const struct svq *svq)
{
	return svq->size > 0 && !svq->broken && ring_load_u16(svq->used + RING_IDX) != svq->last_used;
}

struct svq_used {
	uint64_t token;
	uint32_t len; /* bytes written, as the device says and there was room */
	/* The first since the device's index was read anew: what the device has written of this one, and of
	 * those that follow up to the next such, can be read by now. */
	bool fresh;
	/* The parts of the writable segments that @len covers; valid until the next call on the svq. */
	uint16_t n_written;
	const struct virtio_seg *written;
};

/*
 * Takes one completed element: 1, 0 if there is none, -EIO if the device broke the rules: then @svq->broken
 * says how and the queue is dead until svq_init().
 */
int __must_check svq_get_used(struct svq *svq, struct svq_used *used);

/*
 * Asks for calls, returns true if completions are waiting already (look again before sleeping).
 * svq_enable_calls_after() asks for a call when @n are there, from 1 to what is in flight; a device without
 * event_idx calls for each. svq_disable_calls() asks for none, which the device takes as a hint.
 */
bool svq_enable_calls(struct svq *svq);
bool svq_enable_calls_after(struct svq *svq, uint16_t n);
void svq_disable_calls(struct svq *svq);

#endif
