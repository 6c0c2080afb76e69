/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's end of one split ring as raw memory: takes elements, completes them in any order, and through
 * the functions below "illegal" writes whatever a test needs. Written against the specification alone; shares
 * no layout with devices/. One thread; the driver side may run on another.
 */
#ifndef FERRY_TESTS_FAKE_DEVICE_H
#define FERRY_TESTS_FAKE_DEVICE_H

#include "devices/virtio/virtio.h"

#define FAKE_DEVICE_MAX_TABLE 256u

struct fake_device {
	uint16_t size;
	bool event_idx;
	/* Host addresses; what they are at in the device's address space is the caller's affair. */
	const uint8_t *desc;
	const uint8_t *avail;
	uint8_t *used;
	uint16_t last_avail, used_idx, published;
	struct virtio_seg *segs; /* of the element taken last, [size + FAKE_DEVICE_MAX_TABLE] */
	/* Indirect tables, if set after init: host address of @addr with @len bytes, NULL where there is
	 * nothing. */
	const uint8_t *(*table_at)(void *opaque, uint64_t addr, uint64_t len);
	void *opaque;
	unsigned int n_tables; /* taken so far */
};

struct fake_element {
	uint16_t head;
	unsigned int n_read, n_write;
	uint64_t read_len, write_len;
	const struct virtio_seg *segs; /* addresses as the driver wrote them; valid until the next take */
};

void fake_device_init(struct fake_device *d, const void *desc, const void *avail, void *used, uint16_t size,
		      bool event_idx);
void fake_device_exit(struct fake_device *d);

/* Takes the next element: 1; 0 if there is none; -1 if the driver broke the rules. */
int fake_device_take(struct fake_device *d, struct fake_element *e);

/* Completes an element, not visible before fake_device_publish(), which returns whether the driver wants a
 * call. */
void fake_device_complete(struct fake_device *d, uint32_t id, uint32_t len);
bool fake_device_publish(struct fake_device *d);

/* Asks for kicks, or for none. Returns whether there are elements already. */
bool fake_device_enable_kicks(struct fake_device *d);
void fake_device_disable_kicks(struct fake_device *d);

/* Illegal: any used index, without an entry for it. An illegal id or length goes through
 * fake_device_complete(). */
void fake_device_set_used_idx(struct fake_device *d, uint16_t idx);

#endif
