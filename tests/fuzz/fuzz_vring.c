/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device side of a ring, and a hostile driver that writes guest memory between the operations. The model:
 * what was popped is in flight exactly once, in order; what is pushed is in the ring, once; every page that
 * is written is in the log, and nothing outside the ring's own parts is; saved state is the same when it was
 * loaded.
 */
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "devices/virtio/vring.h"
#include "devices/virtio/vring_handover.h"
#include "tests/fake/log.h"

#define MAX_SIZE 16u
#define BLOCK    64u
#define N_PAGES  ((FUZZ_LOW + FUZZ_HIGH) / PAGE_SIZE)
#define DESC     UINT64_C(0x1000)
#define AVAIL    UINT64_C(0x2000)
#define USED     UINT64_C(0x3000)
#define TABLES   UINT64_C(0x4000)
#define BUFFERS  UINT64_C(0x5000)

/* A chain that is in flight. */
struct chain {
	uint16_t head;
	uint16_t n_descs; /* packed: places that it takes */
	bool done;        /* in order: waits for an older one */
	uint32_t len;
};

struct rig {
	struct memory *mem;
	struct vring vr;
	struct chain chains[MAX_SIZE + 1]; /* first taken first */
	unsigned int n_chains;
	bool can_unpop;
	uint16_t used; /* next entry or place */
	bool used_wrap;
	uint16_t published;
	unsigned int n_pushed; /* and not published */
	uint64_t unlogged;     /* bit n: page n was written since the log was looked at */
	uint16_t next;         /* the driver's next entry or place */
	bool wrap;
};

static struct memory memory;
static uint8_t shadow[FUZZ_LOW + FUZZ_HIGH];

/* Guest memory as one piece. */
static uint8_t *mem_at(uint64_t offset)
{
	return offset < FUZZ_LOW ? memory.regions[0].hva + offset
				 : memory.regions[1].hva + (offset - FUZZ_LOW);
}

static bool in_part(uint64_t gpa, uint64_t start, uint64_t len)
{
	return gpa >= start && gpa - start < len;
}

static bool is_ring(const struct vring_setup *s, uint64_t gpa)
{
	if (s->packed)
		return in_part(gpa, s->desc, virtio_desc_bytes(s->size)) || in_part(gpa, s->used, 4);
	return in_part(gpa, s->used, virtio_used_bytes(s->size));
}

/* After everything that the ring does: only what is its own to write has changed. */
static void check_writes(struct rig *r)
{
	for (uint64_t page = 0; page < N_PAGES; page++) {
		uint8_t *now = mem_at(page * PAGE_SIZE), *was = shadow + page * PAGE_SIZE;
		uint64_t gpa = page * PAGE_SIZE;

		if (memcmp(now, was, PAGE_SIZE) == 0)
			continue;
		if (gpa >= FUZZ_LOW)
			gpa += MEMORY_HIGH_BASE - FUZZ_LOW;
		for (unsigned int at = 0; at < PAGE_SIZE; at += BLOCK) {
			if (memcmp(now + at, was + at, BLOCK) == 0)
				continue;
			for (unsigned int i = at; i < at + BLOCK; i++)
				assert(now[i] == was[i] || is_ring(&r->vr.setup, gpa + i));
		}
		memcpy(was, now, PAGE_SIZE);
		r->unlogged |= (uint64_t)1 << page;
	}
}

/* Once all is published. */
static void check_log(struct rig *r)
{
	uint64_t log = 0;

	fake_log_take(r->mem, &log);
	assert((r->unlogged & ~log) == 0);
	r->unlogged = 0;
}

/* The driver's own writes. */
static void put(uint64_t gpa, const void *data, uint32_t len)
{
	uint8_t *p = memory_at(&memory, gpa, len);

	if (!p)
		return;
	memcpy(p, data, len);
	memcpy(shadow + (gpa < FUZZ_LOW ? gpa : gpa - MEMORY_HIGH_BASE + FUZZ_LOW), data, len);
}

static void put_u16(uint64_t gpa, uint16_t v)
{
	uint8_t data[2];

	put_le16(data, v);
	put(gpa, data, sizeof(data));
}

static void put_desc(uint64_t gpa, uint64_t addr, uint32_t len, uint16_t word12, uint16_t word14)
{
	uint8_t data[16];

	put_le64(data, addr);
	put_le32(data + 8, len);
	put_le16(data + 12, word12);
	put_le16(data + 14, word14);
	put(gpa, data, sizeof(data));
}

static uint64_t pick_address(struct input *in)
{
	uint8_t how = input_u8(in);

	switch (how % 16) {
	case 0:
		return input_u64(in);
	case 1:
		return MEMORY_HIGH_BASE + input_u16(in);
	case 2:
		return FUZZ_LOW - how / 16;
	default:
		return BUFFERS + input_u16(in) % 0x3000;
	}
}

static uint32_t pick_len(struct input *in)
{
	uint8_t how = input_u8(in);

	return how < 4 ? input_u32(in) : how;
}

/* Descriptors of a table; links as a split ring has them. */
static void fill_table(struct rig *r, struct input *in, uint64_t table, unsigned int n)
{
	uint8_t writable = input_u8(in);

	for (unsigned int i = 0; i < n; i++) {
		uint16_t flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
					    (i >= writable % 5u ? VRING_DESC_F_WRITE : 0));
		uint64_t addr = pick_address(in);
		uint32_t len = pick_len(in);

		if (r->vr.setup.packed)
			put_desc(table + 16 * i, addr, len, 0, flags & VRING_DESC_F_WRITE);
		else
			put_desc(table + 16 * i, addr, len, flags, (uint16_t)(i + 1));
	}
}

/* What the driver's turn makes of flags in a packed ring. */
static uint16_t avail_flags(const struct rig *r)
{
	return r->wrap ? RING_PACKED_F_AVAIL : RING_PACKED_F_USED;
}

static void advance(const struct rig *r, uint16_t *place, bool *wrap, unsigned int n)
{
	unsigned int next = *place + n;

	*wrap ^= next >= r->vr.setup.size;
	*place = (uint16_t)(next % r->vr.setup.size);
}

/* A chain as a driver would make it, but for whatever the input puts into it. */
static void driver_add(struct rig *r, struct input *in)
{
	const struct vring_setup *s = &r->vr.setup;
	unsigned int n = input_u8(in) % 5 + 1u, shape = input_u8(in);
	uint16_t head = input_u8(in) % (s->size + (shape % 32 == 31 ? 1u : 0u));
	uint8_t n_read = input_u8(in) % 5;
	uint64_t table = 0;

	if (n > s->size)
		n = s->size;
	if (shape % 4 == 3) {
		table = TABLES + 256ull * head + (shape & 8);
		fill_table(r, in, table, n);
	}
	for (unsigned int i = 0; i < (table ? 1 : n); i++) {
		uint16_t flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
					    (i >= n_read ? VRING_DESC_F_WRITE : 0));
		uint64_t addr = table ? table : pick_address(in);
		uint32_t len = table ? 16 * n : pick_len(in);
		uint16_t place = (uint16_t)((head + i) % s->size);

		if (table)
			flags = VRING_DESC_F_INDIRECT;
		if (s->packed) {
			put_desc(s->desc + 16ull * r->next, addr, len, head, flags | avail_flags(r));
			advance(r, &r->next, &r->wrap, 1);
		} else {
			put_desc(s->desc + 16ull * place, addr, len, flags,
				 (uint16_t)((place + 1) % s->size));
		}
	}
	if (s->packed)
		return;
	put_u16(s->avail + ring_avail_entry(r->next & (s->size - 1u)), head);
	r->next++;
	put_u16(s->avail + RING_IDX, r->next);
}

static void driver_write(struct rig *r, struct input *in)
{
	const struct vring_setup *s = &r->vr.setup;
	const uint64_t parts[] = { s->desc, s->avail, s->used, TABLES };
	uint8_t data[16];
	uint8_t part = input_u8(in), len = input_u8(in) % sizeof(data) + 1u;
	uint64_t at = parts[part % 4] + input_u16(in) % 512u;

	input_bytes(in, data, len);
	put(at, data, len);
}

/* The other side */

static struct chain *find(struct rig *r, uint16_t head)
{
	for (unsigned int i = 0; i < r->n_chains; i++) {
		if (r->chains[i].head == head)
			return &r->chains[i];
	}
	return NULL;
}

static void check_chain(const struct rig *r, const struct vring_chain *chain)
{
	uint64_t lens[2] = { 0, 0 };
	unsigned int n = (unsigned int)chain->n_read + chain->n_write;

	assert(chain->head < r->vr.setup.size && n <= r->vr.setup.size);
	for (unsigned int i = 0; i < n; i++) {
		assert(memory_at(r->mem, chain->segs[i].addr, chain->segs[i].len));
		lens[i >= chain->n_read] += chain->segs[i].len;
	}
	assert(lens[0] == chain->read_len && lens[1] == chain->write_len);
}

static void pop(struct rig *r)
{
	uint16_t before = r->vr.last_avail;
	bool broken = r->vr.broken;
	struct vring_chain chain;
	int ret = vring_pop(&r->vr, &chain);

	assert(ret == -EINVAL ? r->vr.broken != NULL : !r->vr.broken && !broken);
	if (ret != 1) {
		assert(r->vr.last_avail == before);
		return;
	}
	assert(!find(r, chain.head) && r->n_chains < r->vr.setup.size);
	check_chain(r, &chain);
	r->chains[r->n_chains++] =
		(struct chain){ .head = chain.head,
				.n_descs = r->vr.setup.packed ? r->vr.kept[chain.head].n : 1 };
	r->can_unpop = true;
}

static void unpop(struct rig *r)
{
	if (!r->can_unpop || r->chains[r->n_chains - 1].done)
		return;
	vring_unpop(&r->vr);
	r->n_chains--;
	r->can_unpop = false;
}

/* The next used entry, which has just been written. */
static void check_used(struct rig *r, const struct chain *c)
{
	const struct vring_setup *s = &r->vr.setup;

	if (s->packed) {
		const uint8_t *p = r->vr.desc + 16ull * r->used;

		assert(get_le32(p + RING_PACKED_LEN) == c->len && get_le16(p + RING_PACKED_ID) == c->head);
		advance(r, &r->used, &r->used_wrap, c->n_descs);
	} else {
		const uint8_t *p = r->vr.used + ring_used_entry(r->used & (s->size - 1u));

		assert(get_le32(p) == c->head && get_le32(p + 4) == c->len);
		r->used++;
	}
	r->n_pushed++;
}

static void forget(struct rig *r, struct chain *c)
{
	unsigned int i = (unsigned int)(c - r->chains);

	if (i == r->n_chains - 1)
		r->can_unpop = false;
	memmove(c, c + 1, (r->n_chains - i - 1) * sizeof(*c));
	r->n_chains--;
}

static void push(struct rig *r, struct input *in)
{
	unsigned int i = input_u8(in);
	struct chain *c;

	if (r->n_chains == 0)
		return;
	c = &r->chains[i % r->n_chains];
	if (c->done)
		return;
	c->done = true;
	c->len = input_u32(in);
	vring_push(&r->vr, c->head, c->len);
	if (!r->vr.setup.in_order) {
		check_used(r, c);
		forget(r, c);
		return;
	}
	while (r->n_chains > 0 && r->chains[0].done) {
		check_used(r, &r->chains[0]);
		forget(r, &r->chains[0]);
	}
}

static void publish(struct rig *r)
{
	const uint8_t *first = r->vr.desc + 16ull * r->vr.batch + RING_PACKED_FLAGS;
	bool wanted = vring_publish(&r->vr);

	check_writes(r);
	assert(!wanted || r->n_pushed > 0);
	if (r->n_pushed > 0 && r->vr.setup.packed)
		assert(get_le16(first) == r->vr.batch_flags);
	else if (r->n_pushed > 0)
		assert(get_le16(r->vr.used + RING_IDX) == r->used);
	r->n_pushed = 0;
	r->published = r->used;
	check_log(r);
}

static void reread(struct rig *r, struct input *in)
{
	struct vring_chain chain;
	struct chain *c;
	uint8_t i = input_u8(in);

	if (r->n_chains == 0)
		return;
	c = &r->chains[i % r->n_chains];
	if (c->done)
		return;
	if (vring_reread(&r->vr, c->head, &chain) == 1) {
		assert(chain.head == c->head);
		check_chain(r, &chain);
	} else {
		assert(r->vr.broken);
	}
}

static void check_in_flight(const struct rig *r)
{
	int head = vring_next_in_flight(&r->vr, -1);

	for (unsigned int i = 0; i < r->n_chains; i++) {
		if (r->chains[i].done)
			continue;
		assert(head == r->chains[i].head);
		head = vring_next_in_flight(&r->vr, head);
	}
	assert(head == -1 && r->vr.n_in_flight == r->n_chains);
}

/* State */

static void save(const void *arg, struct state_writer *w)
{
	vring_save(arg, w);
}

/* The model of what a tree says that somebody else has written. */
static void believe(struct rig *r)
{
	uint16_t anchor = r->vr.setup.size;

	r->n_chains = 0;
	for (uint16_t head = r->vr.next[anchor]; head != anchor; head = r->vr.next[head]) {
		r->chains[r->n_chains++] =
			(struct chain){ .head = head,
					.n_descs = r->vr.setup.packed ? r->vr.kept[head].n : 1,
					.done = r->vr.done && r->vr.done[head].done,
					.len = r->vr.done ? r->vr.done[head].len : 0 };
		assert(r->n_chains <= r->vr.setup.size);
	}
	r->can_unpop = false;
	r->used = r->published = r->vr.used_idx;
	r->used_wrap = r->vr.used_wrap;
}

static int load(struct vring *vr, const struct rig *r, const struct fuzz_tree *t)
{
	struct error err = { 0 };
	struct state_node root;
	int ret = vring_init(vr, r->mem, &r->vr.setup);

	assert(ret == 0);
	ret = state_open(&root, t->fdt, t->len, &err);
	if (ret == 0)
		ret = vring_load(vr, &root);
	if (ret == 0)
		ret = state_finish(&root);
	assert(ret == 0 || err.text[0]);
	return ret;
}

/* Goes on with a ring that was loaded from what this one has saved, spoiled or not. */
static void move(struct rig *r, struct input *in, bool spoil)
{
	struct fuzz_tree before, after;
	struct vring there;
	bool moved;

	publish(r);
	before = fuzz_save(save, &r->vr);
	if (spoil)
		fuzz_tree_spoil(&before, in);
	moved = load(&there, r, &before) == 0;
	/* The driver may have written to the used index, which is then not the one that was saved. */
	if (!spoil)
		assert(moved == (r->vr.setup.packed || get_le16(r->vr.used + RING_IDX) == r->published));
	if (moved) {
		vring_exit(&r->vr);
		r->vr = there;
		if (spoil)
			believe(r);
		after = fuzz_save(save, &r->vr);
		assert(spoil || fuzz_tree_same(&before, &after));
		free(after.fdt);
	} else {
		vring_exit(&there);
	}
	r->can_unpop = false;
	free(before.fdt);
}

/* Inputs */

static struct vring_setup pick_setup(struct input *in)
{
	uint8_t flags = input_u8(in), size = input_u8(in);
	struct vring_setup s = {
		.packed = flags & 1,
		.event_idx = flags & 2,
		.indirect = flags & 4,
		.in_order = flags & 8,
		.size = (uint16_t)(flags & 1 ? size % MAX_SIZE + 1u : 1u << size % 5),
		.desc = DESC,
		.avail = AVAIL,
		.used = USED,
	};

	if ((flags & 0xf0) == 0xf0) {
		s.desc = pick_address(in);
		s.avail = pick_address(in);
		s.used = pick_address(in);
		s.size = input_u16(in) % (MAX_SIZE + 1);
	}
	return s;
}

static void step(struct rig *r, struct input *in)
{
	switch (input_u8(in) % 16) {
	case 0:
	case 1:
	case 2:
		driver_add(r, in);
		break;
	case 3:
		driver_write(r, in);
		break;
	case 4:
	case 5:
	case 6:
		pop(r);
		break;
	case 7:
		unpop(r);
		break;
	case 8:
	case 9:
		push(r, in);
		break;
	case 10:
		publish(r);
		break;
	case 11:
		reread(r, in);
		break;
	case 12:
		vring_disable_kicks(&r->vr);
		break;
	case 13:
		assert(!vring_enable_kicks(&r->vr) || vring_has_avail(&r->vr));
		break;
	case 14:
		move(r, in, false);
		break;
	default:
		move(r, in, true);
		break;
	}
	check_writes(r);
	check_in_flight(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	struct rig r = { .mem = &memory, .used_wrap = true, .wrap = true };
	struct vring_setup setup = pick_setup(&in);

	if (!memory.n_regions)
		fuzz_memory_init(&memory);
	memset(memory.regions[0].hva, 0, FUZZ_LOW);
	memset(memory.regions[1].hva, 0, FUZZ_HIGH);
	memset(shadow, 0, sizeof(shadow));
	if (vring_init(&r.vr, &memory, &setup) < 0)
		return 0;
	if (!setup.packed && setup.desc == DESC) {
		r.next = input_u16(&in);
		put_u16(setup.avail + RING_IDX, r.next);
		put_u16(setup.used + RING_IDX, r.next);
		vring_start_at(&r.vr, r.next);
		r.used = r.published = r.vr.used_idx;
	}
	while (in.len > 0)
		step(&r, &in);
	while (r.n_chains > 0) {
		struct input none = { 0 };

		push(&r, &none);
		/* In order, the first is the one that all others wait for. */
		assert(!r.n_chains || !r.vr.setup.in_order || !r.chains[0].done);
	}
	publish(&r);
	vring_exit(&r.vr);
	return 0;
}
