/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest boots from goes with it; and what a hostile source says of it. */
#define _GNU_SOURCE
#include "tests/unit/migration/feeder.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "migration/boot.h"

/* More than a frame takes, and no multiple of anything. */
#define KERNEL_LEN ((3u << 20) + 77)
#define INITRD_LEN ((1u << 20) + 5)
#define CMDLINE    "console=ttyS0 quiet"

/* The destination's. */
static struct boot_files arrived;

static void give_place(struct fake_guest *g)
{
	g->vm.boot = &arrived;
}

static uint8_t byte_of(const struct boot_file *f, uint64_t at)
{
	return (uint8_t)(at * 7 + at / 4096 + (f->what[0] == 'k'));
}

static void make_file(struct boot_file *f, const char *what, uint64_t len)
{
	uint8_t *bytes = malloc(len);

	*f = (struct boot_file){ .what = what, .path = "x", .size = len };
	f->fd = memfd_create(what, MFD_CLOEXEC);
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = byte_of(f, i);
	assert_int_equal(write(f->fd, bytes, len), len);
	free(bytes);
}

static void make_files(struct boot_files *f, uint64_t kernel, uint64_t initrd)
{
	*f = BOOT_FILES_NONE;
	make_file(&f->kernel, "kernel", kernel);
	if (initrd > 0)
		make_file(&f->initrd, "initrd", initrd);
	f->cmdline = strdup(CMDLINE);
}

static void assert_file(const struct boot_file *f, uint64_t len)
{
	struct error err = { 0 };
	uint8_t *bytes;

	assert_int_equal(f->size, len);
	if (len == 0) {
		assert_int_equal(f->fd, -1);
		return;
	}
	bytes = malloc(len);
	assert_int_equal(boot_read(f, 0, bytes, len, &err), 0);
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(bytes[i], byte_of(f, i));
	free(bytes);
}

/* Moves a guest with such files, and frees all but what has arrived. */
static void move(struct boot_files *f)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	arrived = BOOT_FILES_NONE;
	departure_init(&s);
	s.guest.vm.boot = f;
	arrival_start(&a, give_place);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	arrival_exit(&a);
	departure_exit(&s);
}

static void kernel_initrd_and_command_line_arrive_with_the_guest(void **state)
{
	static const uint64_t initrds[] = { INITRD_LEN, 0, 1 };
	struct boot_files f;

	for (unsigned int i = 0; i < ARRAY_SIZE(initrds); i++) {
		make_files(&f, KERNEL_LEN, initrds[i]);
		move(&f);
		boot_files_close(&f);
		/* And on to the next host, from what has arrived. */
		for (unsigned int n = 0; n < 2; n++) {
			assert_true(boot_files_known(&arrived));
			assert_file(&arrived.kernel, KERNEL_LEN);
			assert_file(&arrived.initrd, initrds[i]);
			assert_string_equal(arrived.cmdline, CMDLINE);
			f = arrived;
			arrived = BOOT_FILES_NONE;
			if (n == 0)
				move(&f);
			boot_files_close(&f);
		}
	}
}

/* What the reports of a migration say before the first round. */
struct ahead {
	uint64_t last;
	unsigned int n;
};

static void note_ahead(void *opaque, const struct report *r)
{
	struct ahead *a = opaque;

	if (strcmp(r->stage, "memory") != 0 || r->round > 0 || r->sent_bytes >= KERNEL_LEN + INITRD_LEN)
		return;
	assert_true(r->sent_bytes >= a->last);
	a->n += r->sent_bytes > a->last;
	a->last = r->sent_bytes;
	if (r->sent_bytes > 0)
		assert_in_range(r->remaining_bytes, MEM,
				MEM + KERNEL_LEN + INITRD_LEN - r->sent_bytes + 4096);
}

/* At a bandwidth at which they take a second. */
static void the_way_of_kernel_and_initrd_is_seen(void **state)
{
	struct ahead ahead = { 0 };
	struct departure s;
	struct boot_files f;
	struct arrival a;
	enum source_result result;

	make_files(&f, KERNEL_LEN, INITRD_LEN);
	arrived = BOOT_FILES_NONE;
	departure_init(&s);
	s.guest.vm.boot = &f;
	s.config.bandwidth = 4u << 20;
	s.config.progress = note_ahead;
	s.config.opaque = &ahead;
	arrival_start(&a, give_place);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_in_range(ahead.n, 2, 16);
	/* All that was sent is in the sum, and nothing twice. */
	assert_true(s.report.sent_bytes >= KERNEL_LEN + INITRD_LEN + s.report.rounds[0].bytes);
	assert_true(s.report.sent_bytes < a.report.sent_bytes);
	arrival_exit(&a);
	departure_exit(&s);
	boot_files_close(&arrived);
	boot_files_close(&f);
}

/* Its reset ends it there, which is said here. */
static void a_guest_whose_files_cannot_go_along_moves_all_the_same(void **state)
{
	struct boot_files f;

	make_files(&f, MEM - 5, 6);
	move(&f);
	assert_false(boot_files_known(&arrived));
	boot_files_close(&f);

	make_files(&f, KERNEL_LEN, INITRD_LEN);
	assert_int_equal(ftruncate(f.initrd.fd, INITRD_LEN - 1), 0);
	move(&f);
	assert_false(boot_files_known(&arrived));
	boot_files_close(&f);

	f = BOOT_FILES_NONE;
	move(&f);
	assert_false(boot_files_known(&arrived));
}

/* A stream with files, for feed(); both are the caller's to free. */
static void record_files(struct proxy *p, struct departure *s, struct boot_files *f)
{
	struct arrival a;
	enum source_result result;

	*p = (struct proxy){ .listen = places.proxy_path, .to = places.path };
	make_files(f, KERNEL_LEN, INITRD_LEN);
	departure_init(s);
	s->guest.vm.boot = f;
	s->to = places.proxy_path;
	proxy_start(p);
	arrived = BOOT_FILES_NONE;
	arrival_start(&a, give_place);
	result = departure_go(s);
	arrival_join(&a);
	proxy_join(p);
	assert_moved(&a, s, result);
	arrival_exit(&a);
	boot_files_close(&arrived);
}

static uint64_t frame_end(const struct proxy *p, unsigned int i)
{
	return i + 1 < p->n_frames ? p->frames[i + 1] : p->n_recorded;
}

/* Feeds a changed stream to a destination with a place for files. */
static bool feed_changed(const uint8_t *bytes, uint64_t len, struct feeder *f)
{
	struct arrival a = { .prepare = give_place, .clock_skew_ns = UINT64_MAX };

	return feed_to(&a, bytes, len, f);
}

static void what_is_wrong_with_a_kernel_that_comes_is_refused(void **state)
{
	static const struct {
		unsigned int at; /* the byte of the first BOOT frame that becomes @value */
		uint8_t value;
		const char *why;
	} cases[] = {
		{ 8, 1, "more bytes than were announced" },
		{ 8, 7, "its kind is not known" },
		{ 16 + 3, 1, "do not fit into the guest's memory" },
		{ 16 + 7, 0x80, "do not fit into the guest's memory" },
		{ 24 + 3, 1, "do not fit into the guest's memory" },
		{ 24 + 7, 0xff, "do not fit into the guest's memory" },
		{ 16 + 16 + 4, 0, "has a NUL in it" },
		/* One byte fewer of the kernel, so that a frame has some of it and some of the initrd. */
		{ 16, 76, "more bytes than were announced" },
	};
	struct boot_files files;
	struct departure s;
	struct proxy p;
	struct feeder f;
	uint8_t *copy;

	record_files(&p, &s, &files);
	copy = malloc(p.n_recorded);
	assert_int_equal(get_le32(p.recorded + p.frames[1]), STREAM_BOOT);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(copy, p.recorded, p.n_recorded);
		copy[p.frames[1] + cases[i].at] = cases[i].value;
		assert_false(feed_changed(copy, p.n_recorded, &f));
		assert_answer(&f, cases[i].why, i);
		assert_false(boot_files_known(&arrived));
	}
	free(copy);
	departure_exit(&s);
	boot_files_close(&files);
	proxy_free(&p);
}

/* Each BOOT frame left out, doubled, or behind the first page. */
static void boot_frames_in_another_order_bring_no_kernel(void **state)
{
	struct boot_files files;
	struct departure s;
	struct proxy p;
	struct feeder f;
	uint8_t *copy;

	record_files(&p, &s, &files);
	copy = malloc(2 * p.n_recorded);
	for (unsigned int i = 1; get_le32(p.recorded + p.frames[i]) == STREAM_BOOT; i++) {
		uint64_t start = p.frames[i], end = frame_end(&p, i);
		bool runs;

		memcpy(copy, p.recorded, start);
		memcpy(copy + start, p.recorded + end, p.n_recorded - end);
		runs = feed_changed(copy, p.n_recorded - (end - start), &f);
		/* A source may stop in the middle of it. */
		assert_true(!runs || i > 1);
		assert_false(boot_files_known(&arrived));

		memcpy(copy, p.recorded, end);
		memcpy(copy + end, p.recorded + start, p.n_recorded - start);
		runs = feed_changed(copy, p.n_recorded + (end - start), &f);
		assert_false(runs);
		if (i == 1)
			assert_answer(&f, "a second one begins", i);
		assert_false(boot_files_known(&arrived));
	}
	free(copy);
	departure_exit(&s);
	boot_files_close(&files);
	proxy_free(&p);
}

static void a_version_without_it_has_none(void **state)
{
	struct boot_arrival b = { .files = BOOT_FILES_NONE };
	struct stream s = { .version = 1 };
	struct error err = { 0 };

	assert_int_equal(boot_receive(&b, &s, &(struct stream_frame){ STREAM_BOOT, 20, 0 }, MEM, &err),
			 -EPROTO);
	assert_non_null(strstr(err.text, "this version has none"));
	boot_arrival_exit(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_initrd_and_command_line_arrive_with_the_guest),
		cmocka_unit_test(the_way_of_kernel_and_initrd_is_seen),
		cmocka_unit_test(a_guest_whose_files_cannot_go_along_moves_all_the_same),
		cmocka_unit_test(what_is_wrong_with_a_kernel_that_comes_is_refused),
		cmocka_unit_test(boot_frames_in_another_order_bring_no_kernel),
		cmocka_unit_test(a_version_without_it_has_none),
	};

	return run_in_dir("boot-ahead", tests, ARRAY_SIZE(tests));
}
