/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A destination against what a good source has said, cut short, damaged, in another order, or too often. */
#define _GNU_SOURCE
#include "tests/unit/migration/feeder.h"

#include <stdlib.h>

/* Cut short anywhere: no guest. At each byte of headers and trees, now and then within memory. */
static void a_stream_that_is_cut_short_brings_no_guest(void **state)
{
	struct departure s;
	struct proxy p;
	struct feeder f;

	record(&p, &s);
	assert_true(feed(p.recorded, p.n_recorded, &f));
	for (unsigned int i = 0; i < p.n_frames; i++) {
		uint64_t end = i + 1 < p.n_frames ? p.frames[i + 1] : p.n_recorded;
		uint64_t at = p.frames[i];

		while (at < end) {
			uint64_t step = get_le32(p.recorded + p.frames[i]) == STREAM_RAM ? 9973 : 11;

			assert_false(feed(p.recorded, at, &f));
			at += at - p.frames[i] < 20 || end - at < 3 ? 1 : step;
		}
	}
	departure_exit(&s);
	proxy_free(&p);
}

/* With any byte changed that is not memory's the destination says no, or runs a guest that is whole. */
static void a_stream_that_is_damaged_brings_no_damaged_guest(void **state)
{
	struct departure s;
	struct proxy p;
	struct feeder f;
	uint8_t *copy;
	unsigned int n_refused = 0, n_taken = 0;

	record(&p, &s);
	copy = malloc(p.n_recorded);
	for (unsigned int i = 0; i < p.n_frames; i++) {
		uint64_t end = i + 1 < p.n_frames ? p.frames[i + 1] : p.n_recorded;

		for (uint64_t at = p.frames[i]; at < end; at += at - p.frames[i] < 16 ? 1 : 9) {
			if (get_le32(p.recorded + p.frames[i]) == STREAM_RAM && at - p.frames[i] >= 16)
				break;
			memcpy(copy, p.recorded, p.n_recorded);
			copy[at] ^= (uint8_t)(1u << (at % 8));
			if (feed(copy, p.n_recorded, &f))
				n_taken++;
			else
				n_refused++;
		}
	}
	assert_in_range(n_refused, 100, 100000);
	/* A change that nobody can see is another page for the same bytes, or another value of a register. */
	assert_in_range(n_taken, 1, n_refused);
	free(copy);
	departure_exit(&s);
	proxy_free(&p);
}

/* Frames of a good stream, left out, doubled or exchanged. */
static void frames_in_another_order_are_refused(void **state)
{
	struct departure s;
	struct proxy p;
	struct feeder f;
	uint8_t *copy;

	record(&p, &s);
	copy = malloc(2 * p.n_recorded);
	for (unsigned int i = 0; i < p.n_frames; i++) {
		uint64_t start = p.frames[i], end = i + 1 < p.n_frames ? p.frames[i + 1] : p.n_recorded;
		uint32_t type = get_le32(p.recorded + start);
		bool memory = type == STREAM_RAM || type == STREAM_ZERO;
		/* The last round was empty: without it nothing is missing. */
		bool missed = !memory && type != STREAM_SYNC &&
			      !(type == STREAM_ROUND && get_le64(p.recorded + start + 8) > 0);

		memcpy(copy, p.recorded, start);
		memcpy(copy + start, p.recorded + end, p.n_recorded - end);
		if (missed)
			assert_false(feed(copy, p.n_recorded - (end - start), &f));
		memcpy(copy, p.recorded, end);
		memcpy(copy + end, p.recorded + start, p.n_recorded - start);
		/* Frames after COMMIT are nobody's business any more; warm state, and the question for
		 * what has come, may come any number of times. */
		assert_int_equal(feed(copy, p.n_recorded + (end - start), &f),
				 memory || type == STREAM_SYNC || type == STREAM_WARM ||
					 type == STREAM_COMMIT);
		if (type == STREAM_STATE)
			assert_non_null(memmem(f.answers, f.n_answers, "STATE frame out of order", 24));
	}
	free(copy);
	departure_exit(&s);
	proxy_free(&p);
}

/* The first frame of a kind that is said again and again. */
struct again {
	enum stream_type type;
	unsigned int n;
	const char *why;
};

/* Rounds have numbers: @n more of them come behind the frame at @start, and those that follow go on. */
static void renumber_rounds(uint8_t *copy, const struct proxy *p, uint64_t start, uint64_t end,
			    unsigned int n)
{
	uint64_t len = end - start;

	for (unsigned int i = 1; i <= n; i++)
		put_le64(copy + start + i * len + 8, get_le64(copy + start + 8) + i);
	for (unsigned int i = 0; i < p->n_frames; i++) {
		uint8_t *header = copy + p->frames[i] + n * len;

		if (p->frames[i] >= end && get_le32(header) == STREAM_ROUND)
			put_le64(header + 8, get_le64(header + 8) + n);
	}
}

/* A good stream with that in it: whether the guest came to run. */
static bool feed_again(const struct proxy *p, const struct again *again, struct feeder *f)
{
	uint64_t start = 0, end = 0, len;
	uint8_t *copy;
	bool runs;

	for (unsigned int i = 0; i < p->n_frames && end == 0; i++) {
		start = p->frames[i];
		if (get_le32(p->recorded + start) == again->type)
			end = p->frames[i + 1];
	}
	assert_true(end > 0);
	len = p->n_recorded + again->n * (end - start);
	copy = malloc(len);
	memcpy(copy, p->recorded, start);
	for (unsigned int i = 0; i <= again->n; i++)
		memcpy(copy + start + i * (end - start), p->recorded + start, end - start);
	memcpy(copy + end + again->n * (end - start), p->recorded + end, p->n_recorded - end);
	if (again->type == STREAM_ROUND)
		renumber_rounds(copy, p, start, end, again->n);
	runs = feed(copy, len, f);
	free(copy);
	return runs;
}

/* Frames that cost the destination work and bring no memory, as often as a source may have a use for them,
 * and once more; and memory that comes again. */
static void work_for_nothing_is_counted(void **state)
{
	static const struct again cases[] = {
		{ STREAM_WARM, 4096, "more than 4096 WARM frames" },
		{ STREAM_SYNC, 1024, "more than 1024 SYNC frames" },
		{ STREAM_ROUND, 1024, "more than 1024 ROUND frames" },
		{ STREAM_RAM, MEM / PAGE_SIZE, "a round brings more than all of guest memory" },
	};
	static struct feeder f;
	struct departure s;
	struct proxy p;

	record(&p, &s);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct again half = cases[i];

		half.n /= cases[i].type == STREAM_RAM ? 1024 : 2;
		assert_true(feed_again(&p, &half, &f));
		assert_false(feed_again(&p, &cases[i], &f));
		assert_answer(&f, cases[i].why, i);
	}
	departure_exit(&s);
	proxy_free(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_that_is_cut_short_brings_no_guest),
		cmocka_unit_test(a_stream_that_is_damaged_brings_no_damaged_guest),
		cmocka_unit_test(frames_in_another_order_are_refused),
		cmocka_unit_test(work_for_nothing_is_counted),
	};

	return run_in_dir("hostile_source", tests, ARRAY_SIZE(tests));
}
