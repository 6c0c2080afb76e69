/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PC's real-time clock as a guest reads it, and the little that moves with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/devices/device_tree.h"
#include "vmm/x86/rtc.h"

/* The host's time of day, while a test has set one. */
static struct timespec host_time;

/* In the place of libc's. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_REALTIME || host_time.tv_sec == 0)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	*ts = host_time;
	return 0;
}

struct board {
	struct bus pio;
	struct rtc rtc;
};

static int setup(void **state)
{
	struct board *b = calloc(1, sizeof(*b));
	struct error err = { 0 };

	host_time = (struct timespec){ 0 };
	assert_int_equal(rtc_init(&b->rtc, &b->pio, &err), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct board *b = *state;

	rtc_exit(&b->rtc);
	free(b);
	return 0;
}

static void put(struct board *b, uint8_t reg, uint8_t value)
{
	bus_write(&b->pio, 0x70, &reg, 1);
	bus_write(&b->pio, 0x71, &value, 1);
}

static uint8_t get(struct board *b, uint8_t reg)
{
	uint8_t value = 0;

	bus_write(&b->pio, 0x70, &reg, 1);
	bus_read(&b->pio, 0x71, &value, 1);
	return value;
}

static const uint8_t time_registers[] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };

static void assert_time(struct board *b, const uint8_t *expected)
{
	for (unsigned int i = 0; i < sizeof(time_registers); i++) {
		if (get(b, time_registers[i]) != expected[i])
			fail_msg("register 0x%x is 0x%x and not 0x%x", time_registers[i],
				 get(b, time_registers[i]), expected[i]);
	}
}

static void the_guest_reads_the_hosts_time_in_utc(void **state)
{
	static const struct {
		time_t now;
		uint8_t bcd[8], binary[8];
	} cases[] = {
		/* Tuesday 2000-02-29 23:59:59 */
		{ 951868799, { 0x59, 0x59, 0x23, 3, 0x29, 2, 0, 0x20 }, { 59, 59, 23, 3, 29, 2, 0, 20 } },
		/* Sunday 1972-01-02 00:00:00 */
		{ 63158400, { 0, 0, 0, 1, 2, 1, 0x72, 0x19 }, { 0, 0, 0, 1, 2, 1, 72, 19 } },
		/* Saturday 2039-12-31 12:34:56, behind the end of 32 bits */
		{ 2208947696,
		  { 0x56, 0x34, 0x12, 7, 0x31, 0x12, 0x39, 0x20 },
		  { 56, 34, 12, 7, 31, 12, 39, 20 } },
		/* Thursday 2099-12-31 01:02:03 */
		{ 4102362123, { 3, 2, 1, 5, 0x31, 0x12, 0x99, 0x20 }, { 3, 2, 1, 5, 31, 12, 99, 20 } },
	};
	struct board *b = *state;

	/* Another time zone is none of the guest's business. */
	setenv("TZ", "Asia/Kathmandu", 1);
	tzset();
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		host_time = (struct timespec){ .tv_sec = cases[i].now };
		put(b, 11, 0x02);
		assert_time(b, cases[i].bcd);
		put(b, 11, 0x06);
		assert_time(b, cases[i].binary);
	}
	unsetenv("TZ");
	tzset();
}

static void a_clock_of_twelve_hours_says_which_half_of_the_day(void **state)
{
	static const uint8_t bcd[24] = { 0x12, 1,    2,    3,    4,    5,    6,    7,
					 8,    9,    0x10, 0x11, 0x92, 0x81, 0x82, 0x83,
					 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91 };
	struct board *b = *state;

	for (unsigned int hour = 0; hour < 24; hour++) {
		host_time = (struct timespec){ .tv_sec = 86400 * 365 + hour * 3600 };
		put(b, 11, 0);
		assert_int_equal(get(b, 4), bcd[hour]);
		put(b, 11, 4);
		assert_int_equal(get(b, 4), (hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
	}
}

/* A guest that finds UIP clear has 244 microseconds to read a time that does not change. */
static void uip_is_set_before_the_time_changes(void **state)
{
	static const struct {
		long ns;
		bool uip;
	} cases[] = { { 0, false },
		      { 500000000, false },
		      { 999755999, false },
		      { 999756000, true },
		      { 999999999, true } };
	struct board *b = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		host_time = (struct timespec){ .tv_sec = 951868799, .tv_nsec = cases[i].ns };
		assert_int_equal(get(b, 10) >> 7, cases[i].uip);
		/* The seconds are those that end. */
		assert_int_equal(get(b, 0), 0x59);
	}
	/* While the guest sets the clock, nothing is updated. */
	put(b, 11, 0x82);
	assert_int_equal(get(b, 10) >> 7, 0);
}

static void what_the_guest_sets_is_not_the_hosts_time(void **state)
{
	struct board *b = *state;
	uint8_t before[8];

	host_time = (struct timespec){ .tv_sec = 951868799 };
	for (unsigned int i = 0; i < sizeof(before); i++)
		before[i] = get(b, time_registers[i]);
	for (unsigned int i = 0; i < sizeof(before); i++)
		put(b, time_registers[i], 0x11);
	assert_time(b, before);
}

static void registers_without_an_effect_keep_what_is_written(void **state)
{
	struct board *b = *state;

	host_time = (struct timespec){ .tv_sec = 951868799 };
	assert_int_equal(get(b, 10), 0x26);
	assert_int_equal(get(b, 11), 0x02);
	for (uint8_t reg = 1; reg <= 5; reg += 2) {
		put(b, reg, (uint8_t)(0xc0 + reg));
		assert_int_equal(get(b, reg), 0xc0 + reg);
	}
	put(b, 10, 0xaf);
	assert_int_equal(get(b, 10), 0x2f);
	put(b, 11, 0x72);
	assert_int_equal(get(b, 11), 0x72);
	/* No interrupt comes, and the battery is good. */
	put(b, 12, 0xff);
	assert_int_equal(get(b, 12), 0);
	put(b, 13, 0);
	assert_int_equal(get(b, 13), 0x80);
}

/* Every index, with every width of an access at both ports. */
static void there_is_nothing_else(void **state)
{
	struct board *b = *state;
	uint8_t bytes[4] = { 0 };

	host_time = (struct timespec){ .tv_sec = 951868799 };
	for (unsigned int reg = 14; reg < 256; reg++) {
		if ((reg & 0x7f) < 14 || (reg & 0x7f) == 0x32)
			continue;
		put(b, (uint8_t)reg, 0x55);
		assert_int_equal(get(b, (uint8_t)reg), 0);
	}
	/* The index cannot be read; a word has the data behind it; bit 7 is not the clock's. */
	assert_int_equal(get(b, 0x80 | 13), 0x80);
	bus_read(&b->pio, 0x70, bytes, 1);
	assert_int_equal(bytes[0], 0xff);
	bus_read(&b->pio, 0x70, bytes, 2);
	assert_int_equal(bytes[1], 0x80);
	bus_write(&b->pio, 0x70, "\x01\x42", 2);
	assert_int_equal(get(b, 1), 0x42);
	/* Nobody answers beyond the two. */
	bus_read(&b->pio, 0x71, bytes, 2);
	bus_write(&b->pio, 0x71, "\x01\x02", 2);
	bus_read(&b->pio, 0x70, bytes, 4);
	assert_memory_equal(bytes, "\xff\xff\xff\xff", 4);
}

static void registers_move_and_a_reset_clears_them(void **state)
{
	struct board *b = *state, *other;
	const struct device_ops *ops = b->rtc.device.ops;
	struct tree t;
	void *p;

	setup(&p);
	other = p;
	put(b, 1, 0x11);
	put(b, 3, 0x22);
	put(b, 5, 0x33);
	put(b, 10, 0x2a);
	put(b, 11, 0x46);
	/* The guest stops between the index and the data. */
	bus_write(&b->pio, 0x70, "\x05", 1);
	t = tree_write(&b->rtc.device, ops->save);
	assert_tree_same(tree_write(&b->rtc.device, ops->save), t);
	assert_tree_taken(&other->rtc.device, ops->load, t);
	t = tree_write(&b->rtc.device, ops->save);
	assert_tree_same(tree_write(&other->rtc.device, ops->save), t);
	free(t.fdt);
	bus_read(&other->pio, 0x71, &(uint8_t){ 0 }, 1);
	assert_int_equal(get(other, 1), 0x11);
	assert_int_equal(get(other, 5), 0x33);
	assert_int_equal(get(other, 11), 0x46);

	assert_int_equal(ops->reset(&other->rtc.device, 0), 0);
	assert_int_equal(get(other, 5), 0);
	assert_int_equal(get(other, 11), 0x02);
	teardown(&p);
}

struct wrong {
	uint32_t index, a, b, n_alarm;
};

static struct tree wrong_tree(const struct wrong *wrong)
{
	static const uint8_t alarm[8];
	struct state_writer w;
	struct tree t;

	assert_int_equal(state_open_writer(&w), 0);
	state_put_u32(&w, "index", wrong->index);
	state_put_u32(&w, "register-a", wrong->a);
	state_put_u32(&w, "register-b", wrong->b);
	state_put_blob(&w, "alarm", alarm, wrong->n_alarm);
	assert_int_equal(state_close(&w, &t.fdt, &t.len), 0);
	return t;
}

static void state_that_cannot_be_is_refused(void **state)
{
	static const struct {
		struct wrong wrong;
		const char *reason;
	} cases[] = {
		{ { 128, 0, 0, 3 }, "index" },      { { 0, 0x80, 0, 3 }, "register-a" },
		{ { 0, 0, 256, 3 }, "register-b" }, { { 0, 0, 0, 2 }, "alarm" },
		{ { 0, 0, 0, 4 }, "alarm" },
	};
	struct board *b = *state;
	const struct device_ops *ops = b->rtc.device.ops;

	put(b, 1, 0x11);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		assert_tree_refused(&b->rtc.device, ops->load, wrong_tree(&cases[i].wrong), cases[i].reason);
	assert_int_equal(get(b, 1), 0x11);
	assert_tree_taken(&b->rtc.device, ops->load, wrong_tree(&(struct wrong){ 127, 0x7f, 255, 3 }));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_guest_reads_the_hosts_time_in_utc),
		TEST(a_clock_of_twelve_hours_says_which_half_of_the_day),
		TEST(uip_is_set_before_the_time_changes),
		TEST(what_the_guest_sets_is_not_the_hosts_time),
		TEST(registers_without_an_effect_keep_what_is_written),
		TEST(there_is_nothing_else),
		TEST(registers_move_and_a_reset_clears_them),
		TEST(state_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
