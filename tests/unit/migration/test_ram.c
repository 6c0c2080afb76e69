/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/ram.c: a pass from one memory into another over a socket pair, frames as a peer
 * might forge them. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "migration/ram.h"
#include "tests/fake/vm_migration.h"

struct fixture {
	struct fake_guest src, dst;
	struct channel channels[2];
	struct stream out, in;
	struct dirty dirty;
	struct compress compress;
	struct report report;
	struct error err;
	/* Of the receiving thread. */
	pthread_t thread;
	unsigned int n_frames, n_zero_frames, n_lz4_frames, max_len;
	int ret;
	struct error in_err;
	uint64_t n_sent; /* bytes that sent() was told of */
	unsigned int n_ticks;
	int tick_ret;
	struct ram_arrival arrival;
};

static void setup(struct fixture *f, uint64_t mem)
{
	int fds[2];

	*f = (struct fixture){ .arrival.left = mem };
	compress_init(&f->compress, SOURCE_COMPRESS_OFF, true);
	fake_guest_init(&f->src, mem, 1);
	fake_guest_init(&f->dst, mem, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	for (unsigned int i = 0; i < 2; i++)
		f->channels[i] = (struct channel){ .fd = fds[i], .cancel_fd = -1 };
	assert_int_equal(stream_init(&f->out, &f->channels[0], 5000, &f->err), 0);
	assert_int_equal(stream_init(&f->in, &f->channels[1], 5000, &f->err), 0);
}

static void teardown(struct fixture *f)
{
	dirty_stop(&f->dirty);
	compress_exit(&f->compress);
	stream_exit(&f->out);
	stream_exit(&f->in);
	channel_close(&f->channels[0]);
	channel_close(&f->channels[1]);
	fake_guest_exit(&f->src);
	fake_guest_exit(&f->dst);
}

/* As incoming.c does. */
static int take(struct fixture *f, const struct stream_frame *frame, struct error *err)
{
	static uint8_t block[STREAM_LZ4_HEAD + LZ4_BLOCK];
	int ret;

	if (frame->type != STREAM_LZ4)
		return ram_receive(&f->in, frame, &f->dst.vm.memory, &f->arrival, err);
	ret = stream_read(&f->in, block, frame->len, err);
	return ret < 0 ? ret : ram_unpack(frame, block, &f->dst.vm.memory, &f->arrival, err);
}

static void *receive(void *arg)
{
	struct fixture *f = arg;
	struct stream_frame frame;

	for (;;) {
		f->ret = stream_receive(&f->in, &frame, 10000, &f->in_err);
		if (f->ret == 0 && frame.type == STREAM_ROUND)
			f->arrival.left = f->dst.vm.memory.size;
		if (f->ret < 0 || frame.type == STREAM_ROUND)
			return NULL;
		f->n_frames++;
		f->n_zero_frames += frame.type == STREAM_ZERO;
		f->n_lz4_frames += frame.type == STREAM_LZ4;
		if (frame.len > f->max_len)
			f->max_len = frame.len;
		f->ret = take(f, &frame, &f->in_err);
		if (f->ret < 0)
			return NULL;
	}
}

static int tick(void *opaque, struct error *err)
{
	struct fixture *f = opaque;

	f->n_ticks++;
	return f->tick_ret;
}

static int sent(void *opaque, uint64_t bytes, struct error *err)
{
	struct fixture *f = opaque;

	f->n_sent += bytes;
	return 0;
}

static void pass(struct fixture *f)
{
	struct ram_pass p = { .stream = &f->out,
			      .dirty = &f->dirty,
			      .compress = &f->compress,
			      .report = &f->report,
			      .tick = tick,
			      .sent = sent,
			      .opaque = f };
	uint64_t remaining = dirty_bytes(&f->dirty), before = f->report.sent_bytes;

	f->n_sent = 0;
	f->n_frames = f->n_zero_frames = f->n_lz4_frames = f->max_len = 0;
	pthread_create(&f->thread, NULL, receive, f);
	assert_int_equal(ram_send(&p, &f->err), 0);
	assert_int_equal(stream_send(&f->out, STREAM_ROUND, 0, NULL, 0, &f->err), 0);
	pthread_join(f->thread, NULL);
	assert_string_equal(f->in_err.text, "");
	assert_int_equal(f->ret, 0);
	assert_int_equal(f->report.remaining_bytes, 0);
	assert_int_equal(dirty_bytes(&f->dirty), 0);
	assert_int_equal(p.wire_bytes, f->report.sent_bytes - before);
	assert_int_equal(p.bytes, remaining);
	assert_int_equal(f->n_sent, p.wire_bytes);
	assert_true(remaining == 0 || p.wire_ns > 0);
}

static void assert_same(struct fixture *f)
{
	assert_true(fake_guest_same_memory(&f->src, &f->dst));
}

static uint64_t existing(const struct memory *m)
{
	struct stat st;

	fstat(m->fd, &st);
	return (uint64_t)st.st_blocks * 512 / PAGE_SIZE;
}

static void memory_arrives_as_it_was_pass_after_pass(void **state)
{
	struct fixture f;
	uint64_t n;

	setup(&f, MIB(16));
	fake_guest_fill(&f.src, 1000);
	/* A stretch that is longer than a frame may be. */
	for (uint64_t page = 100; page < 900; page++)
		fake_guest_write(&f.src, page, page);
	n = existing(&f.src.vm.memory);
	assert_int_equal(dirty_start(&f.dirty, &f.src.vm, &f.err), 0);
	pass(&f);
	assert_same(&f);
	assert_int_equal(f.max_len, STREAM_RAM_MAX);
	assert_int_equal(f.report.zero_bytes, PAGE_SIZE);
	assert_int_equal(f.n_zero_frames, 1);
	/* Holes were not touched at either end; the zero page came as a number and stays a hole. */
	assert_int_equal(existing(&f.src.vm.memory), n);
	assert_int_equal(existing(&f.dst.vm.memory), n - 1);

	/* A later round: new contents, contents that became zero, a page that was not there. */
	fake_guest_write(&f.src, 200, 3);
	memset(f.src.vm.memory.regions[0].hva + 300 * PAGE_SIZE, 0, 3 * PAGE_SIZE);
	memory_mark_dirty(&f.src.vm.memory, 300 * PAGE_SIZE, 3 * PAGE_SIZE);
	fake_guest_write(&f.src, 1500, 0);
	assert_int_equal(dirty_sync(&f.dirty, &f.err), 0);
	pass(&f);
	assert_same(&f);
	assert_int_equal(f.n_frames, 3);
	assert_int_equal(f.n_zero_frames, 2);

	/* And one with nothing in it. */
	pass(&f);
	assert_int_equal(f.n_frames, 0);
	teardown(&f);
}

/* Every other page of many: more frames than one call takes. */
static void pages_that_lie_apart_arrive(void **state)
{
	struct fixture f;

	setup(&f, MIB(16));
	for (uint64_t page = 0; page < 2000; page += 2)
		fake_guest_write(&f.src, page, page * 5 + 1);
	assert_int_equal(dirty_start(&f.dirty, &f.src.vm, &f.err), 0);
	pass(&f);
	assert_int_equal(f.n_frames, 1000);
	assert_same(&f);
	teardown(&f);
}

/* A mixture of zero pages and others at all distances. */
static void zero_pages_and_others_arrive_at_all_distances(void **state)
{
	uint64_t v = 2463534242u;
	struct fixture f;

	setup(&f, MIB(16));
	for (uint64_t page = 0; page < 4096; page++) {
		v ^= v << 13;
		v ^= v >> 7;
		v ^= v << 17;
		if (v % 4 != 0)
			fake_guest_write(&f.src, page, v % 3 == 0 ? 0 : v);
		/* The destination's memory is not always fresh. */
		if (v % 5 == 0)
			fake_guest_write(&f.dst, page, 0);
	}
	assert_int_equal(dirty_start(&f.dirty, &f.src.vm, &f.err), 0);
	pass(&f);
	assert_same(&f);
	teardown(&f);
}

static void memory_above_the_pci_hole_arrives(void **state)
{
	uint64_t edge = MEMORY_LOW_MAX / PAGE_SIZE;
	struct fixture f;
	uint64_t v;

	setup(&f, MEMORY_LOW_MAX + MIB(1));
	for (uint64_t i = edge - 2; i < edge + 4; i++)
		fake_guest_write(&f.src, i, i);
	fake_guest_write(&f.src, edge + 9, 0);
	assert_int_equal(dirty_start(&f.dirty, &f.src.vm, &f.err), 0);
	pass(&f);
	assert_int_equal(f.n_frames, 3);
	assert_int_equal(
		memory_read(&f.dst.vm.memory, MEMORY_HIGH_BASE + PAGE_SIZE + (edge + 1) % 512 * 8, &v, 8), 0);
	assert_int_equal(v, edge + 1);
	teardown(&f);
}

static void compressed_memory_arrives(void **state)
{
	uint64_t v = 88172645463325252u, full = 0;
	struct fixture f;

	setup(&f, MIB(16));
	compress_exit(&f.compress);
	compress_init(&f.compress, SOURCE_COMPRESS_ON, true);
	/* Long runs, pages that lie apart, zeros, and one that cannot be compressed. */
	for (uint64_t page = 0; page < 4096; page += page < 1024 ? 1 : 4)
		fake_guest_write(&f.src, page, page % 11 == 0 ? 0 : page), full += page % 11 != 0;
	for (unsigned int i = 0; i < PAGE_SIZE / 8; i++) {
		v ^= v << 13;
		v ^= v >> 7;
		v ^= v << 17;
		put_le64(f.src.vm.memory.regions[0].hva + 2002 * PAGE_SIZE + 8 * i, v);
	}
	assert_int_equal(dirty_start(&f.dirty, &f.src.vm, &f.err), 0);
	pass(&f);
	assert_same(&f);
	assert_true(f.n_lz4_frames > 700 && f.n_lz4_frames < f.n_frames);
	assert_true(f.report.sent_bytes < full * PAGE_SIZE / 4);
	assert_int_equal(f.report.compressed_bytes, full * PAGE_SIZE);
	/* A last round. */
	for (uint64_t page = 5; page < 1000; page += 17)
		fake_guest_write(&f.src, page, ~page);
	assert_int_equal(dirty_sync(&f.dirty, &f.err), 0);
	pass(&f);
	assert_same(&f);
	teardown(&f);
}

/* One page's block, and what a stranger makes of it. */
static void a_compressed_frame_is_within_memory_and_as_long_as_it_says(void **state)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
		unsigned int cut;
		bool good;
	} frames[] = {
		{ 0, 4096, 0, true },
		{ MIB(16) - 4096, 4096, 0, true },
		{ MIB(16), 4096, 0, false },
		{ 512, 4096, 0, false },
		{ UINT64_MAX - 4095, 4096, 0, false },
		{ 0, 8192, 0, false },
		{ MIB(16) - 4096, 8192, 0, false },
		{ 0, 0, 0, false },
		{ 0, 4095, 0, false },
		{ 0, LZ4_BLOCK, 0, false },
		{ 0, LZ4_BLOCK + 4096, 0, false },
		{ 0, UINT32_MAX - 4095, 0, false },
		{ 0, 4096, 1, false },
	};
	static uint8_t page[PAGE_SIZE];
	static struct lz4_table table;
	uint8_t payload[STREAM_LZ4_HEAD + 256];
	uint32_t n;

	memset(page, 0x5a, sizeof(page));
	n = lz4_compress(&table, payload + STREAM_LZ4_HEAD, 256, page, PAGE_SIZE);
	assert_true(n > 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(frames); i++) {
		struct stream_frame frame = { .type = STREAM_LZ4,
					      .len = STREAM_LZ4_HEAD + n - frames[i].cut,
					      .arg = frames[i].gpa };
		struct fixture f;
		int ret;

		setup(&f, MIB(16));
		put_le32(payload, frames[i].len);
		ret = ram_unpack(&frame, payload, &f.dst.vm.memory, &f.arrival, &f.err);
		if (ret != (frames[i].good ? 0 : -EPROTO) || (f.err.text[0] == '\0') != frames[i].good)
			fail_msg("frame %u: %d %s", i, ret, f.err.text);
		if (frames[i].good)
			assert_memory_equal(memory_at(&f.dst.vm.memory, frames[i].gpa, PAGE_SIZE), page,
					    PAGE_SIZE);
		/* Each counts against what a round may bring. */
		f.arrival.left = 4095;
		assert_int_equal(ram_unpack(&frame, payload, &f.dst.vm.memory, &f.arrival, &f.err), -EPROTO);
		teardown(&f);
	}
}

static void a_frame_outside_of_memory_is_refused(void **state)
{
	static const struct {
		enum stream_type type;
		uint32_t len;
		uint64_t gpa, zero_len;
		bool good;
	} frames[] = {
		{ STREAM_RAM, 4096, 0, 0, true },
		{ STREAM_RAM, 4096, MIB(16) - 4096, 0, true },
		{ STREAM_RAM, 4096, MIB(16), 0, false },
		{ STREAM_RAM, 8192, MIB(16) - 4096, 0, false },
		{ STREAM_RAM, 4097, 0, 0, false },
		{ STREAM_RAM, 6144, 0, 0, false },
		{ STREAM_RAM, 4096, 1, 0, false },
		{ STREAM_RAM, 4096, 512, 0, false },
		{ STREAM_RAM, 4096, UINT64_MAX - 4095, 0, false },
		{ STREAM_RAM, 8192, UINT64_MAX - 4095, 0, false },
		{ STREAM_RAM, 4096, GIB(4), 0, false },
		{ STREAM_ZERO, 8, 0, 4096, true },
		{ STREAM_ZERO, 8, 0, MIB(16), true },
		{ STREAM_ZERO, 8, 4096, MIB(16) - 4096, true },
		{ STREAM_ZERO, 8, 0, 0, false },
		{ STREAM_ZERO, 8, 0, MIB(16) + 4096, false },
		{ STREAM_ZERO, 8, 4096, MIB(16), false },
		{ STREAM_ZERO, 8, 0, 4095, false },
		{ STREAM_ZERO, 8, 16, 4096, false },
		{ STREAM_ZERO, 8, 4096, UINT64_MAX - 4095, false },
		{ STREAM_ZERO, 8, MIB(16), 4096, false },
		{ STREAM_ZERO, 8, UINT64_MAX - 4095, 4096, false },
	};
	uint8_t payload[8192];

	for (unsigned int i = 0; i < ARRAY_SIZE(frames); i++) {
		struct stream_frame frame = { .type = frames[i].type,
					      .len = frames[i].len,
					      .arg = frames[i].gpa };
		struct iovec iov = { .iov_base = payload, .iov_len = frames[i].len };
		struct fixture f;
		int ret;

		setup(&f, MIB(16));
		memset(payload, 0x5a, sizeof(payload));
		if (frames[i].type == STREAM_ZERO)
			put_le64(payload, frames[i].zero_len);
		assert_int_equal(channel_writev(&f.channels[0], &iov, 1, 1000, NULL), 0);
		ret = ram_receive(&f.in, &frame, &f.dst.vm.memory, &f.arrival, &f.err);
		if (ret != (frames[i].good ? 0 : -EPROTO))
			fail_msg("frame %u: %d %s", i, ret, f.err.text);
		if (!frames[i].good)
			assert_int_equal(existing(&f.dst.vm.memory), 0);
		teardown(&f);
	}
}

/* The bytes that a round brings are counted, in frames of either kind: once they are all of memory no more
 * are taken. */
static void a_round_brings_no_more_than_all_memory(void **state)
{
	struct stream_frame frame = { .type = STREAM_RAM, .len = 8192 };
	struct stream_frame zero = { .type = STREAM_ZERO, .len = 8 };
	uint8_t payload[8192] = { 0 };
	struct iovec iov;
	struct fixture f;

	setup(&f, MIB(16));
	for (unsigned int i = 0; i < 3; i++) {
		iov = (struct iovec){ payload, i == 1 ? 8 : 8192 };
		put_le64(payload, i == 1 ? MIB(16) - 8192 : 0);
		assert_int_equal(channel_writev(&f.channels[0], &iov, 1, 1000, NULL), 0);
		assert_int_equal(
			ram_receive(&f.in, i == 1 ? &zero : &frame, &f.dst.vm.memory, &f.arrival, &f.err),
			i == 2 ? -EPROTO : 0);
	}
	assert_non_null(strstr(f.err.text, "more than all of guest memory"));
	teardown(&f);
}

/* One frame of zeros after another, over memory that is there in parts, one of which comes meanwhile: all of
 * it is empty then, and holes are still holes. */
static void zeros_find_what_is_there_among_holes(void **state)
{
	static const uint64_t there[] = { 1, 2, 3, 6, 8 };
	struct stream_frame frame = { .type = STREAM_ZERO, .len = 8 };
	struct stat before, after;
	struct fixture f;

	setup(&f, MIB(16));
	for (unsigned int i = 0; i < ARRAY_SIZE(there); i++)
		fake_guest_write(&f.dst, there[i], 1);
	for (uint64_t page = 0; page < 12; page += 2) {
		uint8_t payload[8];
		struct iovec iov = { payload, sizeof(payload) };

		if (page == 4)
			fake_guest_write(&f.dst, 5, 2);
		assert_int_equal(fstat(f.dst.vm.memory.fd, &before), 0);
		put_le64(payload, 2 * PAGE_SIZE);
		frame.arg = page << PAGE_SHIFT;
		assert_int_equal(channel_writev(&f.channels[0], &iov, 1, 1000, NULL), 0);
		assert_int_equal(ram_receive(&f.in, &frame, &f.dst.vm.memory, &f.arrival, &f.err), 0);
		assert_int_equal(fstat(f.dst.vm.memory.fd, &after), 0);
		assert_int_equal(after.st_blocks, before.st_blocks);
	}
	assert_true(fake_guest_same_memory(&f.src, &f.dst));
	teardown(&f);
}

/* Data that breaks off, and data that the operator no longer wants. */
static void a_pass_ends_with_its_peer_and_its_operator(void **state)
{
	struct ram_pass p = { .tick = tick, .sent = sent };
	int cancel_fd = eventfd(1, EFD_CLOEXEC);
	struct stream_frame frame = { .type = STREAM_RAM, .len = 8192, .arg = 0 };
	uint8_t byte = 1;
	struct fixture f;

	setup(&f, MIB(16));
	fake_guest_fill(&f.src, 5);
	assert_int_equal(dirty_start(&f.dirty, &f.src.vm, &f.err), 0);
	p.stream = &f.out;
	p.dirty = &f.dirty;
	p.compress = &f.compress;
	p.report = &f.report;
	p.opaque = &f;
	f.channels[0].cancel_fd = cancel_fd;
	assert_int_equal(ram_send(&p, &f.err), -ECANCELED);
	assert_int_equal(f.report.sent_bytes, 0);
	f.channels[0].cancel_fd = -1;

	assert_int_equal(write(f.channels[0].fd, &byte, 1), 1);
	channel_close(&f.channels[0]);
	assert_int_equal(ram_receive(&f.in, &frame, &f.dst.vm.memory, &f.arrival, &f.err), -EPIPE);
	close(cancel_fd);
	teardown(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_arrives_as_it_was_pass_after_pass),
		cmocka_unit_test(pages_that_lie_apart_arrive),
		cmocka_unit_test(zero_pages_and_others_arrive_at_all_distances),
		cmocka_unit_test(memory_above_the_pci_hole_arrives),
		cmocka_unit_test(compressed_memory_arrives),
		cmocka_unit_test(a_compressed_frame_is_within_memory_and_as_long_as_it_says),
		cmocka_unit_test(a_frame_outside_of_memory_is_refused),
		cmocka_unit_test(a_round_brings_no_more_than_all_memory),
		cmocka_unit_test(zeros_find_what_is_there_among_holes),
		cmocka_unit_test(a_pass_ends_with_its_peer_and_its_operator),
	};

	return cmocka_run_group_tests_name("ram", tests, NULL, NULL);
}
