/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration/rounds.c: after how many rounds a guest is stopped, with how much left, and what a round asks. */
#define _GNU_SOURCE
#include "tests/unit/migration/migration_fixture.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "migration/rounds.h"

/* Series are of what each look finds, in microseconds of sending. */
#define US UINT64_C(1000)

/* Returns the number of looks until the stop, of which the last is the one that finds what is left. */
static unsigned int looks_until_stop(const unsigned int *us, unsigned int n)
{
	struct rounds_low low = ROUNDS_LOW_NONE;

	for (unsigned int i = 0;; i++) {
		if (rounds_low_reached(&low, us[i % n] * US))
			return i + 1;
	}
}

static void the_guest_stops_where_little_is_left(void **state)
{
	static const struct {
		unsigned int us[16]; /* over and over */
		unsigned int n;
		unsigned int looks;
	} cases[] = {
		/* A millisecond and less is small, as soon as it comes. */
		{ { 1000 }, 1, 1 },
		{ { 40000, 900 }, 2, 2 },
		{ { 3000, 2900, 2500, 2400, 700 }, 5, 5 },
		/* Half as much each time. */
		{ { 64000, 32000, 16000, 8000, 4000, 2000, 1000 }, 7, 7 },
		/* As much each time: two are alike, two more could be less. */
		{ { 50000 }, 1, 5 },
		/* A millisecond above the least is near, and so is an eighth. */
		{ { 4000, 20000, 20000, 20000, 4900 }, 5, 5 },
		{ { 4000, 20000, 20000, 20000, 5100, 4000 }, 6, 6 },
		{ { 80000, 200000, 200000, 200000, 90000 }, 5, 5 },
		{ { 80000, 200000, 200000, 200000, 91000, 80000 }, 6, 6 },
		{ { 20000, 19000, 3000, 20000, 20000, 21000, 3300, 20000 }, 8, 7 },
		/* Ever more: the round that was best does not come again, and is not waited for. */
		{ { 4000, 6000, 8000, 10000, 12000, 14000, 16000, 18000, 20000, 22000, 24000, 26000, 28000,
		    30000, 32000, 34000 },
		  16,
		  17 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int looks = looks_until_stop(cases[i].us, cases[i].n);

		if (looks != cases[i].looks)
			fail_msg("case %u: %u looks, not %u", i, looks, cases[i].looks);
	}
}

/* Until version 0.1 both bounds were bytes: 32 KiB, and an eighth above the least. */
static unsigned int looks_before(const unsigned int *us, unsigned int n, double bytes_per_us)
{
	double least = 1e18;
	unsigned int n_fitting = 0;

	for (unsigned int i = 0;; i++) {
		double left = us[i % n] * bytes_per_us, before = least;

		least = left < before ? left : before;
		if (left <= 32768 || (left > before / 2 && ++n_fitting >= 4 &&
				      (left <= before + before / 8 || n_fitting >= 16)))
			return i + 1;
	}
}

/* Made up, of the kinds that are met: a guest that does next to nothing, one that writes evenly, and one that
 * writes in bursts. At 300 MB/s. */
static const unsigned int kinds[3]
			       [20] = {
				       { 431, 318, 342, 297, 351, 325, 402, 333, 310, 347,
					 329, 365, 321, 308, 339, 377, 314, 328, 336, 345 },
				       { 3120, 1850, 2460, 2790, 2330, 2710, 2680, 2540, 2620, 2370,
					 2800, 2490, 2660, 2750, 2410, 2580, 2690, 2830, 2450, 2520 },
				       { 9400, 11200, 4830,  26100, 14800, 7300, 5720, 18900, 9900,  31200,
					 6100, 5410,  12700, 8800,  22000, 7450, 9100, 5650,  13300, 10400 },
			       };

static void fewer_rounds_leave_no_more_than_before(void **state)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		const unsigned int n = ARRAY_SIZE(kinds[i]);
		double before = 0, after = 0, left_before = 0, left_after = 0;

		/* From wherever in the series the migration happens to begin. */
		for (unsigned int at = 0; at < n; at++) {
			unsigned int us[20], looks;

			for (unsigned int j = 0; j < n; j++)
				us[j] = kinds[i][(at + j) % n];
			looks = looks_before(us, n, 300);
			before += looks;
			left_before += us[(looks - 1) % n];
			looks = looks_until_stop(us, n);
			after += looks;
			left_after += us[(looks - 1) % n];
		}
		print_message("series %u: %.1f rounds and %.2f ms left before, %.1f and %.2f now\n", i,
			      before / n, left_before / n / 1000, after / n, left_after / n / 1000);
		assert_true(after < before);
		/* What is left may be the least by what nobody notices more. */
		assert_true(left_after <= left_before + 1000.0 * n);
	}
}

/* A destination that answers the SYNC of the second round on in a way of its own: only once WARM has come
 * behind it, or only once nothing has. */
struct patient {
	pthread_t thread;
	int fd;
	bool warm_comes_later;
	unsigned int n_syncs, n_warms;
	/* Answers to SYNC in that way. */
	unsigned int n_held;
	_Alignas(8) uint8_t payload[STATE_MAX];
};

/* Time in which a source would have gone on writing. */
#define PATIENT_MS 20

static void patient_say(struct patient *p, enum stream_type type, uint32_t len)
{
	uint8_t answer[16 + 24] = { 0 };

	put_le32(answer, type);
	put_le32(answer + 4, len);
	assert_int_equal(send(p->fd, answer, 16 + len, MSG_NOSIGNAL), 16 + len);
}

/* Reads a frame and returns its type; 0: the source has gone. */
static uint32_t patient_hear(struct patient *p)
{
	uint8_t header[16];
	uint32_t len;

	if (recv(p->fd, header, sizeof(header), MSG_WAITALL) != sizeof(header))
		return 0;
	len = get_le32(header + 4);
	assert_true(len <= sizeof(p->payload));
	assert_true(len == 0 || recv(p->fd, p->payload, len, MSG_WAITALL) == (ssize_t)len);
	return get_le32(header);
}

/* Answers a SYNC behind which the device has changed, in the second round and the third. */
static void patient_hold(struct patient *p)
{
	struct pollfd more = { .fd = p->fd, .events = POLLIN };

	if (p->warm_comes_later) {
		assert_int_equal(poll(&more, 1, PATIENT_MS), 0);
	} else {
		assert_int_equal(patient_hear(p), STREAM_WARM);
		p->n_warms++;
	}
	p->n_held++;
	patient_say(p, STREAM_SYNC_OK, 0);
	if (!p->warm_comes_later)
		patient_say(p, STREAM_WARM_OK, 0);
}

static void *patient_run(void *arg)
{
	static const struct {
		enum stream_type type;
		uint32_t len;
	} answers[STREAM_N_TYPES] = {
		[STREAM_HELLO] = { STREAM_READY, 0 },     [STREAM_SYNC] = { STREAM_SYNC_OK, 0 },
		[STREAM_WARM] = { STREAM_WARM_OK, 0 },    [STREAM_STATE] = { STREAM_PREPARED, 24 },
		[STREAM_COMMIT] = { STREAM_RUNNING, 24 },
	};
	struct patient *p = arg;
	uint32_t type;

	while ((type = patient_hear(p)) != 0) {
		p->n_warms += type == STREAM_WARM;
		p->n_syncs += type == STREAM_SYNC;
		if (type == STREAM_SYNC && p->n_syncs > 1 && p->n_syncs <= 3)
			patient_hold(p);
		else if (answers[type].type)
			patient_say(p, answers[type].type, answers[type].len);
	}
	close(p->fd);
	return NULL;
}

/* The source goes by version 1 here, whose destinations also read what comes in its order. */
static void move_to_patient(struct patient *p, uint32_t warm_len)
{
	struct departure s;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	departure_init(&s);
	p->fd = sv[1];
	s.config.fd = sv[0];
	/* Each look finds a change: before the first decision, and in and behind each of two rounds. */
	s.guest.devices[0].changes = 1 + 2 * 2;
	s.guest.devices[0].warm_len = warm_len;
	pthread_create(&p->thread, NULL, patient_run, p);
	if (source_migrate(&s.guest.vm, &s.config, &s.report, &s.err) != SOURCE_MOVED)
		fail_msg("%s", s.err.text);
	pthread_join(p->thread, NULL);
	assert_int_equal(p->n_held, 2);
	assert_int_equal(p->n_warms, s.report.n_warm);
	departure_exit(&s);
}

static void a_round_asks_for_memory_and_devices_in_one_round_trip(void **state)
{
	struct patient *p = calloc(1, sizeof(*p));

	move_to_patient(p, 0);
	free(p);
}

/* Else the source, whose socket takes no more, would hear the answer as a refusal. */
static void state_that_a_socket_may_not_take_waits_for_the_answer_before_it(void **state)
{
	struct patient *p = calloc(1, sizeof(*p));

	p->warm_comes_later = true;
	move_to_patient(p, KIB(64));
	free(p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_stops_where_little_is_left),
		cmocka_unit_test(fewer_rounds_leave_no_more_than_before),
		cmocka_unit_test(a_round_asks_for_memory_and_devices_in_one_round_trip),
		cmocka_unit_test(state_that_a_socket_may_not_take_waits_for_the_answer_before_it),
	};

	return run_in_dir("rounds", tests, ARRAY_SIZE(tests));
}
