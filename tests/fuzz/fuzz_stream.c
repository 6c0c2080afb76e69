/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The destination of a migration and a hostile source: frames as a source would send them, and what it never
 * would. The model: the guest runs if and only if incoming_run() says so, after a COMMIT that was
 * answered by PREPARED before; then its memory is what the frames say, and every device was resumed; else
 * every device was released and the peer has been refused, once.
 */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "migration/boot.h"
#include "migration/compare.h"
#include "migration/incoming.h"
#include "tests/fake/vm_migration.h"
#include "tests/fuzz/channel.h"
#include "vmm/config.h"

#define MEM     CONFIG_MIN_MEM
#define N_PAGES 64u /* that frames go to; anything else is as good as another */

struct rig {
	uint8_t wire[1 << 20];
	uint32_t len;
	bool spoiled; /* the model does not know what the frames say */
	uint64_t round;
	uint8_t fill[N_PAGES]; /* the model's memory: a page has one value in it */
	struct fuzz_peer peer;
};

static struct rig rig;
static struct fake_guest guest;

static void put_frame(struct rig *r, enum stream_type type, uint64_t arg, const void *payload, uint32_t len)
{
	struct stream_header h;

	if (sizeof(r->wire) - r->len < sizeof(struct stream_header) + len)
		return;
	stream_header_put(&h, type, len, arg);
	memcpy(r->wire + r->len, &h, sizeof(h));
	r->len += (uint32_t)sizeof(h);
	if (len > 0)
		memcpy(r->wire + r->len, payload, len);
	r->len += len;
}

static void put_tree(struct rig *r, struct input *in, enum stream_type type,
		     void (*save)(const void *arg, struct state_writer *w), const void *arg)
{
	struct fuzz_tree t = fuzz_save(save, arg);
	uint8_t how = input_u8(in);

	if (how % 8 == 7) {
		fuzz_tree_spoil(&t, in);
		r->spoiled = true;
	}
	put_frame(r, type, how == 0xfe ? input_u64(in) : STREAM_OLDEST, t.fdt, t.len);
	free(t.fdt);
}

static void save_hello(const void *arg, struct state_writer *w)
{
	uint8_t how = *(const uint8_t *)arg;

	if (how >= 16)
		state_put_u64(w, "clock", how - 16u);
	/* Of a source that speaks the newest version, and of a check. */
	if (how % 16 >= 8)
		state_put_note(w, STREAM_NEWEST);
	if (how % 16 >= 14)
		state_put_u32(w, "check", how % 2);
	state_begin(w, "vm");
	state_put_u64(w, "memory", how == 1 ? 2 * MEM : MEM);
	state_put_u32(w, "cpus", how == 2 ? 2 : 1);
	state_end(w);
	state_begin(w, "devices");
	state_put_u32(w, "count", how == 3 ? 1 : how == 4 ? 3 : 2);
	for (unsigned int i = 0; i < 2; i++) {
		if (how == 3 && i == 1)
			break;
		state_begin_indexed(w, "device", i);
		state_put_string(w, "name", how != 5 && i == 0 ? "dev0" : "dev1");
		state_begin(w, "config");
		state_put_u64(w, "config", how == 6);
		state_end(w);
		state_end(w);
	}
	state_end(w);
}

static void save_warm(const void *arg, struct state_writer *w)
{
	state_put_string(w, "device", *(const uint8_t *)arg == 1 ? "dev1" : "dev0");
	state_begin(w, "state");
	state_put_u64(w, "warm", 7);
	state_end(w);
}

static void save_state(const void *arg, struct state_writer *w)
{
	state_begin(w, "vm");
	state_put_u64(w, "registers", 11);
	state_end(w);
	state_begin(w, "devices");
	for (unsigned int i = 0; i < 2; i++) {
		state_begin(w, i ? "dev1" : "dev0");
		state_put_u64(w, "warm", 7);
		state_put_u64(w, "state", 20 + i);
		state_end(w);
	}
	state_end(w);
}

static void put_ram(struct rig *r, struct input *in)
{
	static uint8_t pages[4 * 4096];
	uint8_t page = input_u8(in) % N_PAGES, n = input_u8(in) % 4 + 1u, v = input_u8(in);

	if (page + n > N_PAGES)
		n = (uint8_t)(N_PAGES - page);
	memset(pages, v, n * PAGE_SIZE);
	memset(r->fill + page, v, n);
	put_frame(r, STREAM_RAM, page * PAGE_SIZE, pages, (uint32_t)(n * PAGE_SIZE));
}

/* Pages of one value, compressed, as they should be or with a byte that is another. */
static void put_lz4(struct rig *r, struct input *in)
{
	static uint8_t pages[16 * 4096], payload[STREAM_LZ4_HEAD + 1024];
	static struct lz4_table table;
	uint8_t page = input_u8(in) % N_PAGES, n = input_u8(in) % 16 + 1u, v = input_u8(in),
		how = input_u8(in);
	uint32_t len;

	if (page + n > N_PAGES)
		n = (uint8_t)(N_PAGES - page);
	memset(pages, v, n * PAGE_SIZE);
	memset(r->fill + page, v, n);
	put_le32(payload, (uint32_t)(n * PAGE_SIZE));
	len = lz4_compress(&table, payload + STREAM_LZ4_HEAD, 1024, pages, (uint32_t)(n * PAGE_SIZE));
	assert(len > 0);
	len += STREAM_LZ4_HEAD;
	if (how >= 0xf0) {
		payload[input_u16(in) % len] = input_u8(in);
		r->spoiled = true;
	}
	put_frame(r, STREAM_LZ4, page * PAGE_SIZE, payload, len);
}

static void put_zero(struct rig *r, struct input *in)
{
	uint8_t page = input_u8(in) % N_PAGES, how = input_u8(in), n = how % 8 + 1u;
	uint8_t len[8];

	if (page + n > N_PAGES)
		n = (uint8_t)(N_PAGES - page);
	put_le64(len, how == 0xff ? input_u64(in) : n * PAGE_SIZE);
	r->spoiled |= how == 0xff;
	memset(r->fill + page, 0, n);
	put_frame(r, STREAM_ZERO, page * PAGE_SIZE, len, sizeof(len));
}

/* A part of what the guest boots from, as it should be or not: the model is that it makes no difference,
 * unless the destination says so. */
static void put_boot(struct rig *r, struct input *in)
{
	uint8_t payload[sizeof(struct stream_boot) + 256], how = input_u8(in);
	struct stream_boot head;
	uint32_t len = input_u8(in);

	memset(payload, how, sizeof(payload));
	if (how % 4 > 1) {
		put_frame(r, STREAM_BOOT, STREAM_BOOT_BYTES, payload, len + 1);
		return;
	}
	put_le64(&head.kernel_len, how == 0xf0 ? input_u64(in) : input_u16(in) % 512u);
	put_le64(&head.initrd_len, how == 0xf1 ? input_u64(in) : input_u16(in) % 512u);
	memcpy(payload, &head, sizeof(head));
	put_frame(r, STREAM_BOOT, how == 0xf4 ? input_u64(in) : STREAM_BOOT_BEGIN, payload,
		  (uint32_t)sizeof(head) + len);
}

/* Any header, and any bytes behind it. */
static void put_raw(struct rig *r, struct input *in)
{
	uint8_t bytes[64], n = input_u8(in) % sizeof(bytes);
	uint32_t type = input_u8(in) % (STREAM_N_TYPES + 2), len = input_u32(in);
	uint64_t arg = input_u64(in);

	input_bytes(in, bytes, n);
	r->spoiled = true;
	put_frame(r, (enum stream_type)type, arg, bytes, n);
	if (len & 1)
		put_le32(r->wire + r->len - n - 12, len);
}

/* False: what comes now is nothing that the destination looks at. */
static bool put_next(struct rig *r, struct input *in)
{
	uint8_t op = input_u8(in), how;

	switch (op % 16) {
	case 0:
	case 1:
	case 2:
		if (op / 16 < 8)
			put_ram(r, in);
		else
			put_lz4(r, in);
		break;
	case 3:
	case 4:
		put_zero(r, in);
		break;
	case 5:
	case 6:
	case 7:
		put_frame(r, STREAM_ROUND, op == 0xf7 ? input_u64(in) : r->round++, NULL, 0);
		break;
	case 8:
	case 9:
	case 10:
		how = input_u8(in);
		put_tree(r, in, STREAM_WARM, save_warm, &how);
		break;
	case 11:
	case 12:
		put_tree(r, in, STREAM_STATE, save_state, NULL);
		break;
	case 13:
	case 14:
		put_frame(r, STREAM_COMMIT, 0, NULL, 0);
		return false;
	default:
		if (op / 16 < 8)
			put_raw(r, in);
		else
			put_boot(r, in);
		break;
	}
	return true;
}

static void make_wire(struct rig *r, struct input *in)
{
	uint8_t how = input_u8(in);

	r->len = 0;
	r->round = 0;
	r->spoiled = false;
	memset(r->fill, 0, sizeof(r->fill));
	r->peer = (struct fuzz_peer){ .max_piece = input_u16(in) };
	how %= 32;
	if (how != 31)
		put_tree(r, in, STREAM_HELLO, save_hello, &how);
	for (unsigned int n = 0; in->len > 0 && n < 40 && put_next(r, in); n++)
		;
	r->peer.data = r->wire;
	r->peer.len = r->len;
}

/* Frames that were said to the source: how many there are of each. */
static void count_said(const struct rig *r, unsigned int n[STREAM_N_TYPES])
{
	const struct fuzz_peer *p = &r->peer;
	uint32_t at = 0;

	memset(n, 0, STREAM_N_TYPES * sizeof(n[0]));
	while (at < p->n_said) {
		uint32_t type = get_le32(p->said + at);

		assert(p->n_said - at >= 16 && type < STREAM_N_TYPES &&
		       n[STREAM_REFUSED] + n[STREAM_RUNNING] == 0);
		n[type]++;
		at += 16 + get_le32(p->said + at + 4);
	}
	assert(at == p->n_said);
}

static void check_memory(const struct rig *r)
{
	const uint8_t *hva = guest.vm.memory.regions[0].hva;

	for (unsigned int i = 0; i < N_PAGES && !r->spoiled; i++) {
		for (unsigned int at = 0; at < PAGE_SIZE; at += 512)
			assert(hva[i * PAGE_SIZE + at] == r->fill[i]);
	}
}

/* What the last guest that came boots from. */
static struct boot_files boot = BOOT_FILES_NONE;

/* Of a check that the destination has answered, that is all. */
static void check_check(const struct rig *r)
{
	unsigned int said[STREAM_N_TYPES];

	count_said(r, said);
	assert(said[STREAM_READY] + said[STREAM_REFUSED] == 1);
	assert(fake_guest_is_paused(&guest) && !guest.devices[0].n_warm_loads);
}

static void check_end(const struct rig *r, int ret, bool ready, const struct error *err)
{
	unsigned int said[STREAM_N_TYPES];

	count_said(r, said);
	assert((ret == 0) == !fake_guest_is_paused(&guest));
	assert(said[STREAM_RUNNING] == (ret == 0) && said[STREAM_REFUSED] == (ret < 0));
	for (unsigned int i = 0; i < ARRAY_SIZE(guest.devices); i++) {
		assert(guest.devices[i].arrived == (ret == 0));
		assert(guest.devices[i].released == (ready && ret < 0));
	}
	assert(ret == 0 || err->text[0]);
	if (ret < 0)
		return;
	assert(said[STREAM_READY] == 1 && said[STREAM_PREPARED] == 1 && said[STREAM_WARM_OK] > 0);
	if (!r->spoiled)
		assert(guest.registers == 11 && guest.devices[1].state == 21 &&
		       guest.devices[0].n_warm_loads > 0);
	check_memory(r);
}

static void start_guest(void)
{
	if (!guest.vm.memory.size)
		fake_guest_init(&guest, MEM, 1);
	else
		madvise(guest.vm.memory.regions[0].hva, MEM, MADV_REMOVE);
	boot_files_close(&boot);
	guest.vm.boot = &boot;
	guest.vm.gate.paused = true;
	guest.registers = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(guest.devices); i++) {
		struct fake_device *f = &guest.devices[i];

		f->warm = f->state = f->n_warm_loads = 0;
		f->paused = f->arrived = f->released = f->ready = false;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct destination_config config = { .cancel_fd = -1, .clock_skew_ns = UINT64_MAX };
	struct input in = { data, len };
	struct error err = { 0 };
	struct destination d;
	bool ready;
	int ret;

	make_wire(&rig, &in);
	start_guest();
	fuzz_channel_set_peer(&rig.peer);
	ret = destination_accept(&d, &config, &err);
	if (ret < 0) {
		assert(err.text[0]);
		return 0;
	}
	assert(d.mem >= CONFIG_MIN_MEM && d.mem <= CONFIG_MAX_MEM && d.cpus >= 1 &&
	       d.cpus <= CONFIG_MAX_CPUS);
	ret = compare_hello(&d, &guest.vm, &err);
	if (ret == 0)
		ret = destination_ready(&d, &err);
	ready = ret == 0;
	if (ready && !d.check)
		ret = incoming_run(&d, &guest.vm, NULL, &err);
	else if (!ready)
		destination_refuse(&d, &err);
	if (d.check)
		check_check(&rig);
	else
		check_end(&rig, ret, ready, &err);
	destination_close(&d);
	return 0;
}
