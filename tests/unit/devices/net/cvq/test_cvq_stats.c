/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statistics without a NIC: the most there can be, answers of every length, and saved counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "devices/net/cvq/cvq.h"
#include "tests/fake/model_nic.h"

#define TYPES UINT64_C(0x1000f000f)

struct fixture {
	struct cvq_stats stats;
	struct model_nic nic;
	struct cvq_limits limits;
	uint8_t cmd[CVQ_MAX_STATS_COMMAND];
	uint32_t len;
	uint8_t reply[MODEL_MAX_REPLY];
	uint32_t reply_len;
};

static struct fixture *new_fixture(uint16_t max_pairs, uint16_t device_ctrl)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->limits = (struct cvq_limits){ .features = UINT64_MAX,
					 .max_pairs = max_pairs,
					 .device_ctrl = device_ctrl };
	model_nic_init(&x->nic, (const uint8_t[6]){ 2, 0, 0, 0, 0, 1 }, 0);
	x->nic.n_data = device_ctrl;
	x->stats.types = TYPES;
	for (unsigned int queue = 0; queue < MODEL_MAX_QUEUES; queue++) {
		for (unsigned int k = 0; k < 16; k++)
			x->nic.counters[queue][k] = 1000 * queue + k;
	}
	return x;
}

static void ask(struct fixture *x)
{
	x->len = cvq_stats_request(&x->stats, &x->limits, x->cmd);
	x->reply_len = model_nic_answer(&x->nic, x->cmd, x->len, x->reply);
}

/* In a buffer of its size, so that ASan sees a look beyond it. */
static uint32_t take(struct fixture *x, uint32_t reply_len)
{
	uint8_t *reply = malloc(reply_len);
	uint32_t len;

	memcpy(reply, x->reply, reply_len);
	len = cvq_take_reply(&x->stats, &x->limits, x->cmd, x->len, reply, reply_len);
	memcpy(x->reply, reply, reply_len);
	free(reply);
	return len;
}

static void the_longest_answer_fits(void **state)
{
	struct fixture *x = new_fixture(CVQ_MAX_QUEUES / 2, CVQ_MAX_QUEUES);
	static uint8_t cmd[2 + 16 * (CVQ_MAX_STATS_ITEMS + 1)] = { 8, 1 };
	struct error err = { 0 };
	uint32_t len = 2 + 16 * CVQ_MAX_STATS_ITEMS;

	ask(x);
	assert_int_equal(x->len, CVQ_MAX_STATS_COMMAND);
	assert_int_equal(x->reply_len, 1 + 160 * CVQ_MAX_QUEUES + 24);
	assert_int_equal(cvq_reply_len(x->cmd, x->len, 1), x->reply_len);
	assert_int_equal(take(x, x->reply_len), x->reply_len);
	for (unsigned int k = 0; k < 16; k++) {
		assert_true(x->stats.shown[0][k] == k);
		assert_true(x->stats.shown[127][k] == 127000 + k);
	}
	assert_true(x->stats.shown[CVQ_MAX_QUEUES][1] == 128001);
	/* The same queue again and again, and one more. */
	for (uint32_t i = 0; i <= CVQ_MAX_STATS_ITEMS; i++)
		put_le64(cmd + 2 + 16 * i + 8, 0xf);
	assert_int_equal(cvq_check(&x->limits, cmd, &len, &err), CVQ_PASS);
	assert_int_equal(cvq_reply_len(cmd, len, 1), CVQ_MAX_REPLY);
	assert_int_equal(model_nic_answer(&x->nic, cmd, len, x->reply), CVQ_MAX_REPLY);
	assert_int_equal(cvq_take_reply(&x->stats, &x->limits, cmd, len, x->reply, CVQ_MAX_REPLY),
			 CVQ_MAX_REPLY);
	len += 16;
	assert_int_equal(cvq_check(&x->limits, cmd, &len, &err), CVQ_REFUSE);
	free(x);
}

static void an_answer_of_another_length_is_an_error(void **state)
{
	struct fixture *x = new_fixture(2, 4);

	ask(x);
	for (uint32_t len = 1; len < x->reply_len; len++) {
		x->reply[0] = 0;
		assert_int_equal(take(x, len), 1);
		assert_int_equal(x->reply[0], 1);
		assert_false(cvq_stats_rebase(&x->stats, &x->limits, x->cmd, x->len, x->reply, len));
	}
	x->reply[0] = 0;
	assert_int_equal(take(x, x->reply_len + 1), 1);
	free(x);
}

/* Any byte of an answer, changed to anything: bounded, and never longer. */
static void any_byte_of_an_answer_may_be_wrong(void **state)
{
	struct fixture *x = new_fixture(1, 2);

	for (uint32_t i = 0; i < 1 + 160; i++) {
		for (unsigned int v = 0; v < 256; v += i < 20 ? 1 : 51) {
			uint32_t len;

			ask(x);
			x->reply[i] = (uint8_t)v;
			len = take(x, x->reply_len);
			assert_true(len == 1 || len == x->reply_len);
		}
	}
	free(x);
}

/* The other device has its control queue elsewhere, and counts from more than there was. */
static void counters_go_on_at_another_device(void **state)
{
	struct fixture *x = new_fixture(2, 4), *y = new_fixture(2, 8);

	x->nic.counters[4][0] = 6;
	ask(x);
	assert_int_equal(take(x, x->reply_len), x->reply_len);
	y->stats = x->stats;
	y->nic.counters[0][0] = UINT64_MAX;
	y->nic.counters[8][0] = 1000000;
	ask(y);
	assert_int_equal(get_le16(y->cmd + 2 + 16 * 4), 8);
	assert_true(cvq_stats_rebase(&y->stats, &y->limits, y->cmd, y->len, y->reply, y->reply_len));
	y->nic.counters[0][0] += 2;
	ask(y);
	assert_int_equal(take(y, y->reply_len), y->reply_len);
	assert_true(y->stats.shown[0][0] == 2);
	assert_true(y->stats.shown[1][15] == 1015);
	assert_true(y->stats.shown[CVQ_MAX_QUEUES][0] == 7 + 1);
	/* The guest's number for it. */
	assert_int_equal(get_le16(y->reply + 1 + 4 * 160 + 2), 4);
	free(x);
	free(y);
}

static int load(struct fixture *x, const void *fdt, uint32_t len, struct error *err)
{
	struct state_node root;
	int ret = state_open(&root, fdt, len, err);

	if (ret == 0)
		ret = cvq_stats_load(&x->stats, &x->limits, &root);
	return ret == 0 ? state_finish(&root) : ret;
}

static void save(struct fixture *x, void **fdt, uint32_t *len)
{
	struct state_writer w;

	assert_int_equal(state_open_writer(&w), 0);
	cvq_stats_save(&x->stats, &x->limits, &w);
	assert_int_equal(state_close(&w, fdt, len), 0);
}

static void loaded_counters_are_saved_as_they_were(void **state)
{
	static const uint16_t pairs[] = { 1, 2, CVQ_MAX_QUEUES / 2 };

	for (unsigned int i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct fixture *x = new_fixture(pairs[i], (uint16_t)(2 * pairs[i]));
		struct fixture *y = new_fixture(pairs[i], (uint16_t)(2 * pairs[i]));
		struct fixture *z = new_fixture((uint16_t)(pairs[i] + 1), (uint16_t)(2 * pairs[i] + 2));
		uint32_t len, again_len;
		void *fdt, *again;
		struct error err = { 0 };

		ask(x);
		assert_int_equal(take(x, x->reply_len), x->reply_len);
		save(x, &fdt, &len);
		assert_int_equal(load(y, fdt, len, &err), 0);
		save(y, &again, &again_len);
		assert_int_equal(len, again_len);
		assert_memory_equal(fdt, again, len);
		/* Counters of another number of queues are refused, and so are those that are cut off. */
		if (pairs[i] < CVQ_MAX_QUEUES / 2)
			assert_int_equal(load(z, fdt, len, &err), -EINVAL);
		for (uint32_t n = 0; n < len; n += n < 200 ? 1 : 97) {
			void *cut = malloc(n ? n : 1);

			memcpy(cut, fdt, n);
			assert_int_equal(load(y, cut, n, &err), -EINVAL);
			free(cut);
		}
		free(fdt);
		free(again);
		free(x);
		free(y);
		free(z);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_answer_fits),
		cmocka_unit_test(an_answer_of_another_length_is_an_error),
		cmocka_unit_test(any_byte_of_an_answer_may_be_wrong),
		cmocka_unit_test(counters_go_on_at_another_device),
		cmocka_unit_test(loaded_counters_are_saved_as_they_were),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
