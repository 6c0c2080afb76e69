/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A ring in guest memory with both its sides, and what the tests of vring do with it again and again. */
#ifndef FERRY_TESTS_UNIT_DEVICES_VIRTIO_VRING_FIXTURE_H
#define FERRY_TESTS_UNIT_DEVICES_VIRTIO_VRING_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "devices/virtio/vring.h"
#include "tests/fake/driver.h"
#include "vmm/state.h"

#define SIZE   8u
#define DESC   UINT64_C(0x10000)
#define AVAIL  UINT64_C(0x90000)
#define USED   UINT64_C(0xa0000)
#define BUF    UINT64_C(0x100000)
#define TABLE  UINT64_C(0x200000)
#define HIGH   MEMORY_HIGH_BASE /* the second region, of this many bytes */
#define HIGH_N MIB(16)

enum { N = VRING_DESC_F_NEXT, W = VRING_DESC_F_WRITE, I = VRING_DESC_F_INDIRECT };

struct fixture {
	struct memory mem;
	struct fake_driver driver;
	struct vring vr;
};

/* Rings of SIZE entries at DESC, AVAIL and USED. */
extern const struct vring_setup plain;
extern const struct vring_setup with_indirect;
extern const struct vring_setup with_event_idx;

/* Guest memory of two regions, and no ring yet. */
int setup(void **state);
int teardown(void **state);
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* Makes a fresh ring with both its sides. */
void start(struct fixture *f, const struct vring_setup *s);

/* The driver makes @head available, or one buffer of one byte, whose head is returned. */
void offer(struct fixture *f, uint16_t head);
uint16_t add_one(struct fixture *f);

/* Takes the next chain, which must be there; gives one back, and checks that the driver sees just that. */
uint16_t pop_one(struct fixture *f);
void complete(struct fixture *f, uint16_t head, uint32_t len);

/* The next chain is refused for a reason that has @why in it, and for good; what was in flight can still be
 * given back. */
void assert_refused(struct fixture *f, const char *why);

void assert_chain(const struct vring_chain *chain, const struct virtio_seg *segs, unsigned int n_read,
		  unsigned int n_write);
void assert_in_flight(const struct vring *vr, unsigned int n, const uint16_t *heads);

/* The state of @vr as a tree of its own, the caller's to free; and such a tree into a fresh ring, as
 * vring_load(). A refusal must say why. */
void *save(const struct vring *vr, uint32_t *len);
int load(struct vring *vr, const void *fdt, uint32_t len);

/* An interrupt is due for what the driver has armed for, has, and may not have noticed; not for what it has
 * yet to get, or has taken. */
void check_interrupts_due(struct fixture *f);

#endif
