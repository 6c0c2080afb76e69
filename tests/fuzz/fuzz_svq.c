/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shadow virtqueue, and a hostile device that writes the ring's memory between the operations. The model:
 * an element completes at most once and is the one that was added, with no more bytes than it has; the ring
 * is full when the model's descriptors are gone; what the device is shown is what was added.
 */
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "devices/virtio/ring.h"
#include "devices/virtio/svq.h"

#define MAX_SEGS  40u
#define IOVA      UINT64_C(0x40000000)
#define TABLES    UINT64_C(0x50000000)
#define MAX_ELEMS 64u

struct element {
	bool in_flight;
	unsigned int n_read, n_write;
	unsigned int n_descs;
	struct virtio_seg segs[MAX_SEGS];
};

struct rig {
	struct svq svq;
	uint8_t *mem, *tables; /* of the ring's size, so that nothing is behind them */
	uint64_t mem_len, tables_len;
	uint16_t size;
	bool event_idx, indirect;
	struct element elements[MAX_ELEMS];
	unsigned int n_in_flight, n_free;
};

static void start(struct rig *r, struct input *in)
{
	uint8_t flags = input_u8(in);
	int ret;

	*r = (struct rig){ .size = (uint16_t)(1u << flags % 7),
			   .event_idx = flags & 64,
			   .indirect = flags & 128 };
	r->n_free = r->size;
	r->mem_len = svq_bytes(r->size);
	r->mem = aligned_alloc(PAGE_SIZE, r->mem_len);
	assert(r->mem);
	memset(r->mem, 0, r->mem_len);
	ret = svq_init(&r->svq, r->mem, IOVA, r->size, r->event_idx);
	assert(ret == 0);
	if (!r->indirect)
		return;
	r->tables_len = svq_table_bytes(r->size);
	r->tables = aligned_alloc(PAGE_SIZE, r->tables_len);
	assert(r->tables);
	ret = svq_use_tables(&r->svq, r->tables, TABLES);
	assert(ret == 0);
}

static void end(struct rig *r)
{
	svq_exit(&r->svq);
	free(r->mem);
	free(r->tables);
}

static struct ring_desc desc_at(const uint8_t *table, unsigned int i)
{
	struct ring_desc d;

	memcpy(&d, table + 16ull * i, sizeof(d));
	return d;
}

/* What the device would find behind the entry that was added last. */
static void check_shown(const struct rig *r, const struct element *e)
{
	uint16_t slot = (uint16_t)(r->svq.avail_idx - 1) & (r->size - 1u);
	unsigned int i = get_le16(r->svq.avail + ring_avail_entry(slot)), n = e->n_read + e->n_write;
	const uint8_t *table = r->svq.desc_ring;
	struct ring_desc d;

	assert(i < r->size);
	d = desc_at(table, i);
	assert(!(d.flags & VRING_DESC_F_INDIRECT) == (e->n_descs == n && n <= SVQ_MAX_DIRECT) ||
	       !r->indirect || n > SVQ_TABLE_LEN);
	if (d.flags & VRING_DESC_F_INDIRECT) {
		assert(r->indirect && d.flags == VRING_DESC_F_INDIRECT && d.len == 16 * n);
		assert(d.addr >= TABLES && d.addr - TABLES <= r->tables_len - d.len);
		table = r->tables + (d.addr - TABLES);
		i = 0;
	}
	for (unsigned int k = 0; k < n; k++, i = d.next) {
		d = desc_at(table, i);
		assert(d.addr == e->segs[k].addr && d.len == e->segs[k].len);
		assert(!(d.flags & VRING_DESC_F_WRITE) == (k < e->n_read));
		assert(!(d.flags & VRING_DESC_F_NEXT) == (k + 1 == n));
	}
}

static void add(struct rig *r, struct input *in)
{
	uint8_t n_read = input_u8(in), n_write = input_u8(in);
	struct element *e = r->elements;
	unsigned int n;
	int ret;

	while (e < r->elements + MAX_ELEMS && e->in_flight)
		e++;
	if (e == r->elements + MAX_ELEMS)
		return;
	/* Mostly few. */
	e->n_read = n_read < 0xf0 ? n_read % 4 : n_read % (MAX_SEGS / 2);
	e->n_write = n_write < 0xf0 ? n_write % 4 : n_write % (MAX_SEGS / 2);
	n = e->n_read + e->n_write;
	if (n == 0)
		return;
	for (unsigned int i = 0; i < n; i++)
		e->segs[i] = (struct virtio_seg){ input_u16(in), input_u16(in) % 8192u + 1u };
	e->n_descs = r->indirect && n > SVQ_MAX_DIRECT && n <= SVQ_TABLE_LEN ? 1 : n;
	ret = svq_add(&r->svq, e->segs, (uint16_t)e->n_read, (uint16_t)e->n_write,
		      (uint64_t)(e - r->elements) << 40 | 5);
	assert(ret == (e->n_descs > r->n_free ? -ENOSPC : 0));
	if (ret < 0)
		return;
	e->in_flight = true;
	r->n_in_flight++;
	r->n_free -= e->n_descs;
	check_shown(r, e);
}

/* What was written is where the element's writable segments are, from the first on. */
static void check_written(const struct element *e, const struct svq_used *used)
{
	uint64_t room = 0, len = 0;

	for (unsigned int i = 0; i < e->n_write; i++)
		room += e->segs[e->n_read + i].len;
	assert(used->len <= room && used->n_written <= e->n_write);
	for (unsigned int i = 0; i < used->n_written; i++) {
		const struct virtio_seg *seg = &e->segs[e->n_read + i];

		assert(used->written[i].addr == seg->addr && used->written[i].len > 0);
		assert(i + 1u < used->n_written ? used->written[i].len == seg->len
						: used->written[i].len <= seg->len);
		len += used->written[i].len;
	}
	assert(len == used->len);
}

static void take(struct rig *r)
{
	bool broken = r->svq.broken;
	struct svq_used used;
	struct element *e;
	int ret = svq_get_used(&r->svq, &used);

	assert(ret == -EIO ? r->svq.broken != NULL : !r->svq.broken && !broken);
	if (ret != 1)
		return;
	assert((used.token & ((uint64_t)1 << 40) - 1) == 5 && used.token >> 40 < MAX_ELEMS);
	e = &r->elements[used.token >> 40];
	assert(e->in_flight && r->n_in_flight > 0);
	check_written(e, &used);
	e->in_flight = false;
	r->n_in_flight--;
	r->n_free += e->n_descs;
}

static void publish(struct rig *r)
{
	bool new = r->svq.published != r->svq.avail_idx, wanted = svq_publish(&r->svq);

	assert(!wanted || new);
	assert(!new || get_le16(r->svq.avail + RING_IDX) == r->svq.avail_idx);
}

/* The device: used entries with ids that may be right, any index, any bytes. */
static void device_use(struct rig *r, struct input *in)
{
	uint16_t idx = get_le16(r->svq.used + RING_IDX);
	uint8_t how = input_u8(in);
	uint8_t *entry = r->svq.used + ring_used_entry(idx & (r->size - 1u));

	put_le32(entry, how < 0xf0 ? how % r->size : input_u32(in));
	put_le32(entry + 4, input_u32(in));
	put_le16(r->svq.used + RING_IDX, (uint16_t)(idx + 1));
}

static void device_write(struct rig *r, struct input *in)
{
	bool tables = r->tables && input_u8(in) % 4 == 3;
	uint64_t len = tables ? r->tables_len : r->mem_len;
	uint8_t *at = (tables ? r->tables : r->mem) + input_u32(in) % len;

	*at = input_u8(in);
}

static void step(struct rig *r, struct input *in)
{
	switch (input_u8(in) % 12) {
	case 0:
	case 1:
	case 2:
		add(r, in);
		break;
	case 3:
	case 4:
		publish(r);
		break;
	case 5:
	case 6:
	case 7:
		device_use(r, in);
		break;
	case 8:
	case 9:
		take(r);
		break;
	case 10:
		switch (input_u8(in) % 3) {
		case 0:
			assert(!svq_enable_calls(&r->svq) || !r->svq.broken);
			break;
		case 1:
			svq_disable_calls(&r->svq);
			break;
		case 2:
			assert(!svq_enable_calls_after(&r->svq, r->size) || !r->svq.broken);
			break;
		}
		break;
	default:
		device_write(r, in);
		break;
	}
	assert(r->svq.n_in_flight == r->n_in_flight && r->svq.n_free == r->n_free);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	static struct rig r;

	start(&r, &in);
	while (in.len > 0) {
		step(&r, &in);
		if (r.svq.broken && input_u8(&in) % 4 == 3) {
			end(&r);
			start(&r, &in);
		}
	}
	end(&r);
	return 0;
}
