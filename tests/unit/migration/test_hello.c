/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A HELLO: what a destination says to it, and who else may connect before one comes. */
#include "migration/clock.h"
#include "migration/destination.h"
#include "vmm/config_device.h"
#include "tests/unit/migration/feeder.h"

#include <stdlib.h>

#define HELLO_MAX 4096u

/* A HELLO with the tree of @w, which ends here. */
static uint32_t put_hello(uint8_t frame[HELLO_MAX], struct state_writer *w, uint64_t version)
{
	uint32_t len;
	void *tree;

	assert_int_equal(state_close(w, &tree, &len), 0);
	assert_true(16 + len <= HELLO_MAX);
	stream_header_put((struct stream_header *)(void *)frame, STREAM_HELLO, len, version);
	memcpy(frame + 16, tree, len);
	free(tree);
	return 16 + len;
}

static bool feed_hello_to(struct arrival *a, struct state_writer *w, uint64_t version, struct feeder *f)
{
	uint8_t frame[HELLO_MAX];
	uint32_t len = put_hello(frame, w, version);

	return feed_to(a, frame, len, f);
}

static bool feed_hello(struct state_writer *w, uint64_t version, struct feeder *f)
{
	struct arrival a = { .clock_skew_ns = UINT64_MAX };

	return feed_hello_to(&a, w, version, f);
}

static void a_hello_that_no_host_can_take_is_refused(void **state)
{
	static const struct {
		uint64_t memory;
		uint32_t cpus;
		const char *why;
	} cases[] = {
		{ MEM, 0, "cpus" },
		{ MEM, 65, "cpus" },
		{ 0, 1, "memory" },
		{ MEM - PAGE_SIZE, 1, "memory" },
		{ MEM + 1, 1, "not whole pages" },
		{ GIB(4096) + PAGE_SIZE, 1, "memory" },
		{ UINT64_MAX, 1, "memory" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		struct feeder f;

		assert_int_equal(state_open_writer(&w), 0);
		state_begin(&w, "vm");
		state_put_u64(&w, "memory", cases[i].memory);
		state_put_u32(&w, "cpus", cases[i].cpus);
		state_end(&w);
		assert_false(feed_hello(&w, STREAM_OLDEST, &f));
		assert_answer(&f, cases[i].why, i);
	}
}

/* A HELLO that fits a_hello_that_no_host_can_take_is_refused()'s and other_devices_are_refused()'
 * destination, from a host whose clock is
 * @clock. */
static void write_hello(struct state_writer *w, uint64_t clock)
{
	assert_int_equal(state_open_writer(w), 0);
	state_put_u64(w, "clock", clock);
	state_begin(w, "vm");
	state_put_u64(w, "memory", MEM);
	state_put_u32(w, "cpus", 1);
	state_end(w);
	state_begin(w, "devices");
	state_put_u32(w, "count", 2);
	for (unsigned int i = 0; i < 2; i++) {
		state_begin_indexed(w, "device", i);
		state_put_string(w, "name", i == 0 ? "dev0" : "dev1");
		state_begin(w, "config");
		state_put_u64(w, "config", 0);
		state_end(w);
		state_end(w);
	}
	state_end(w);
}

/* The newest version that both speak, or a refusal that names both ranges. A note of 0 is that of a source
 * which knows of no range. */
static void versions_are_agreed_on_or_named(void **state)
{
	static const struct {
		uint64_t oldest;
		uint32_t note;
		uint32_t ready_len, version;
		const char *why;
	} cases[] = {
		{ 1, 0, 0, 0, NULL },
		{ 1, 1, 0, 0, NULL },
		{ 1, 2, 8, 2, NULL },
		{ 1, UINT32_MAX, 8, 2, NULL },
		{ 2, 0, 8, 2, NULL },
		{ 2, 3, 8, 2, NULL },
		{ 0, 1, 0, 0, NULL },
		{ 0, 0, 0, 0, "version 0 of the migration protocol, this Ferry versions 1 to 2" },
		{ 3, 0, 0, 0, "version 3 of the migration protocol, this Ferry versions 1 to 2" },
		{ 3, 5, 0, 0, "versions 3 to 5 of the migration protocol, this Ferry versions 1 to 2" },
		{ UINT64_MAX, 5, 0, 0, "version 18446744073709551615 of the migration protocol" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		struct feeder f;

		write_hello(&w, realtime_ns());
		state_put_note(&w, cases[i].note);
		assert_false(feed_hello(&w, cases[i].oldest, &f));
		if (cases[i].why) {
			assert_answer(&f, cases[i].why, i);
			continue;
		}
		assert_int_equal(get_le32(f.answers), STREAM_READY);
		assert_int_equal(get_le32(f.answers + 4), cases[i].ready_len);
		if (cases[i].ready_len > 0)
			assert_int_equal(get_le32(f.answers + 16), cases[i].version);
		if (cases[i].ready_len > 4)
			assert_int_equal(get_le32(f.answers + 20), STREAM_TAKES_LZ4);
	}
}

/* A check is 1, and what is not one says nothing or 0. */
static void a_check_is_asked_for_in_one_way(void **state)
{
	static const uint32_t checks[] = { 2, 0x80000000, UINT32_MAX };

	for (unsigned int i = 0; i < ARRAY_SIZE(checks); i++) {
		struct state_writer w;
		struct feeder f;

		assert_int_equal(state_open_writer(&w), 0);
		state_put_u32(&w, "check", checks[i]);
		state_begin(&w, "vm");
		state_end(&w);
		assert_false(feed_hello(&w, 2, &f));
		assert_int_equal(get_le32(f.answers), STREAM_REFUSED);
		assert_answer(&f, "check", i);
	}
}

/* Devices of a source, in its words. */
static void other_devices_are_refused(void **state)
{
	static const struct {
		const char *names[3];
		uint32_t count;
		const char *why;
	} cases[] = {
		{ { "dev0", "dev1" }, 2, NULL },
		{ { "dev0", "dev0", "dev1" }, 3, "dev0: the source describes this device twice" },
		{ { "dev0", "dev1", "dev1" }, 3, "dev1: the source describes this device twice" },
		{ { "dev0", "dev1" }, 3, "no child 'device@2'" },
		{ { "dev0", "dev1", "dev2" }, 2, "more in it than" },
		{ { "dev0", "dev1" }, 65, "count" },
		{ { NULL }, 0, "dev0: this VM has such a device" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		struct feeder f;

		assert_int_equal(state_open_writer(&w), 0);
		state_begin(&w, "vm");
		state_put_u64(&w, "memory", MEM);
		state_put_u32(&w, "cpus", 1);
		state_end(&w);
		state_begin(&w, "devices");
		state_put_u32(&w, "count", cases[i].count);
		for (unsigned int j = 0; j < 3 && cases[i].names[j]; j++) {
			state_begin_indexed(&w, "device", j);
			state_put_string(&w, "name", cases[i].names[j]);
			state_begin(&w, "config");
			state_put_u64(&w, "config", 0);
			state_end(&w);
			state_end(&w);
		}
		state_end(&w);
		assert_false(feed_hello(&w, STREAM_OLDEST, &f));
		assert_int_equal(get_le32(f.answers), cases[i].why ? STREAM_REFUSED : STREAM_READY);
		if (cases[i].why)
			assert_answer(&f, cases[i].why, i);
	}
}

/* What a destination builds because the source has it, of a HELLO with devices of these names. */
static unsigned int devices_of(const char *const *names, uint32_t count)
{
	struct destination d = { 0 };
	struct state_writer w;
	unsigned int devices, n = 0;

	assert_int_equal(state_open_writer(&w), 0);
	state_begin(&w, "devices");
	state_put_u32(&w, "count", count);
	for (; *names; names++) {
		state_begin_indexed(&w, "device", n++);
		state_put_string(&w, "name", *names);
		state_end(&w);
	}
	state_end(&w);
	assert_int_equal(state_close(&w, &d.hello, &d.hello_len), 0);
	devices = destination_devices(&d);
	free(d.hello);
	return devices;
}

static void the_source_says_which_devices_there_are(void **state)
{
	const char *all[CONFIG_N_DEVICES + 2] = { "serial" };

	assert_int_equal(devices_of(all, 1), 0);
	for (unsigned int i = 0; i < CONFIG_N_DEVICES; i++) {
		const char *const one[] = { "serial", config_device_name((enum config_device)i), "net0",
					    NULL };

		assert_int_equal(devices_of(one, 3), 1u << i);
		all[i + 1] = one[1];
	}
	assert_int_equal(devices_of(all, CONFIG_N_DEVICES + 1), (1u << CONFIG_N_DEVICES) - 1);
	/* A tree that is wrong is refused when it is compared. */
	assert_int_equal(devices_of(all, CONFIG_N_DEVICES + 2), (1u << CONFIG_N_DEVICES) - 1);
	assert_int_equal(devices_of(all, DESTINATION_MAX_DEVICES + 1), 0);
	assert_int_equal(devices_of(all + CONFIG_N_DEVICES + 1, 1), 0);
}

static void refuse_all(struct fake_guest *g)
{
	g->refuse_accept = "no such CPU";
	g->devices[0].refuse_accept = "no such NIC";
	g->devices[1].refuse_accept = "no such disk";
}

#define SECONDS(n) ((n)*INT64_C(1000000000))

/* The guest's clock is this host's from then on. */
static void clocks_that_differ_are_logged_or_refused(void **state)
{
	static const struct {
		int64_t ahead; /* the source's clock */
		uint64_t allowed;
		const char *said; /* here, and to the source if it is refused */
		bool refused;
	} cases[] = {
		{ 0, SECONDS(60), NULL, false },
		{ SECONDS(1) / 2, SECONDS(60), NULL, false },
		{ SECONDS(30), SECONDS(60), "s ahead of this host's: the guest's will stay ahead", false },
		{ -SECONDS(30), SECONDS(60), "s behind this host's: the guest's will jump", false },
		{ SECONDS(3600), SECONDS(60), "s ahead of this host's, and the guest's would stay ahead",
		  true },
		{ -SECONDS(3600), SECONDS(60), "s behind this host's, and the guest's would jump", true },
		{ SECONDS(3600), SECONDS(7200), "s ahead of this host's: the guest's will stay ahead",
		  false },
		{ -SECONDS(1000000000), UINT64_MAX, "s behind this host's: the guest's will jump", false },
		{ SECONDS(5), SECONDS(2), "give ferry receive --clock-skew", true },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct arrival a = { .clock_skew_ns = cases[i].allowed };
		struct captured log;
		struct state_writer w;
		struct feeder f;

		write_hello(&w, realtime_ns() + (uint64_t)cases[i].ahead);
		capture_begin(&log);
		assert_false(feed_hello_to(&a, &w, STREAM_OLDEST, &f));
		capture_end(&log);
		assert_int_equal(get_le32(f.answers), cases[i].refused ? STREAM_REFUSED : STREAM_READY);
		if (cases[i].refused)
			assert_answer(&f, cases[i].said, i);
		else if (cases[i].said && !strstr(log.text, cases[i].said))
			fail_msg("%u: %s", i, log.text);
		else if (!cases[i].said)
			assert_null(strstr(log.text, "clock"));
	}
}

/* A clock that nobody can have. */
static void a_clock_out_of_range_is_refused(void **state)
{
	static const uint64_t clocks[] = { 0, (uint64_t)INT64_MAX + 1, UINT64_MAX };

	for (unsigned int i = 0; i < ARRAY_SIZE(clocks); i++) {
		struct state_writer w;
		struct feeder f;

		write_hello(&w, clocks[i]);
		assert_false(feed_hello(&w, STREAM_OLDEST, &f));
		assert_answer(&f, "clock", i);
	}
}

/* @a refuses a HELLO of an hour ago, with these reasons and @cpus. */
static void assert_all_told(struct arrival *a, const char *cpus, struct feeder *f)
{
	struct state_writer w;

	write_hello(&w, realtime_ns() - SECONDS(3600));
	assert_false(feed_hello_to(a, &w, STREAM_OLDEST, f));
	assert_int_equal(get_le32(f->answers), STREAM_REFUSED);
	assert_answer(f, "the guest has 4194304 MiB of memory", 0);
	assert_answer(f, "the source's clock is", 0);
	assert_answer(f, cpus, 0);
	assert_answer(f, "dev0: no such NIC", 0);
	assert_answer(f, "dev1: no such disk", 0);
}

/* The reasons are those of the code that builds the VM, of the clocks, the CPUs and the
 * devices. */
static void every_difference_is_told_at_once(void **state)
{
	struct arrival a = { .prepare = refuse_all, .reason = "the guest has 4194304 MiB of memory" };
	struct feeder f;

	assert_all_told(&a, "no such CPU", &f);
}

static char lacking[2 * ERROR_TEXT_MAX];

static void refuse_at_length(struct fake_guest *g)
{
	refuse_all(g);
	for (size_t i = 0; i < sizeof(lacking) - 1; i++)
		lacking[i] = "avx512f, "[i % 9];
	g->refuse_accept = lacking;
}

/* Where that is too much for a refusal, it says so, and is still heard of each kind. */
static void a_long_list_of_features_hides_no_device(void **state)
{
	struct arrival a = { .prepare = refuse_at_length, .reason = "the guest has 4194304 MiB of memory" };
	struct feeder f;

	assert_all_told(&a, "avx512f, avx512f", &f);
	assert_answer(&f, "...", 0);
}

/* And of what builds VMs alone. */
static void a_reason_of_the_host_is_told(void **state)
{
	struct arrival a = { .clock_skew_ns = UINT64_MAX, .reason = "64 vCPUs are too many" };
	struct state_writer w;
	struct feeder f;

	write_hello(&w, realtime_ns());
	assert_false(feed_hello_to(&a, &w, STREAM_OLDEST, &f));
	assert_int_equal(get_le32(f.answers), STREAM_REFUSED);
	assert_answer(&f, "64 vCPUs are too many", 0);
}

static void connect_to(struct channel *c)
{
	struct error err = { 0 };

	assert_int_equal(channel_adopt(c, connect_to_place(places.path), -1, &err), 0);
}

static void say(struct channel *c, const void *bytes, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	assert_int_equal(channel_writev(c, &iov, 1, 30000, NULL), 0);
}

static const char garbage[] = "GET / HTTP/1.1\r\n\r\n";

static uint32_t hear_type(struct channel *c)
{
	uint8_t answer[2048];
	struct iovec iov = { answer, sizeof(answer) };

	assert_true(channel_readv(c, &iov, 1, 30000) >= 16);
	return get_le32(answer);
}

/* The first client hangs up, the second talks, the third says nothing for long, and then the guest comes. */
static void strangers_do_not_end_the_wait(void **state)
{
	struct departure s;
	struct arrival a;
	struct channel c;

	departure_init(&s);
	arrival_start(&a, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		connect_to(&c);
		if (i == 1)
			say(&c, garbage, sizeof(garbage));
		/* Told why, within the time that a source has for its first word. */
		if (i > 0)
			assert_int_equal(hear_type(&c), STREAM_REFUSED);
		channel_close(&c);
	}
	assert_int_equal(departure_go(&s), SOURCE_MOVED);
	arrival_join(&a);
	assert_int_equal(a.ret, 0);
	arrival_exit(&a);
	departure_exit(&s);
}

/* A stranger was heard meanwhile, for as long as it liked: that is not taken for a clock that is behind. */
static void time_in_the_queue_is_no_difference_of_clocks(void **state)
{
	struct arrival a = { .clock_skew_ns = SECONDS(1), .cancel_fd = eventfd(0, EFD_CLOEXEC) };
	struct channel stranger, source;
	struct state_writer w;
	uint8_t hello[HELLO_MAX];
	uint32_t len;

	pthread_create(&a.thread, NULL, arrival_run, &a);
	connect_to(&stranger);
	/* The stranger does not go on, and is listened to for longer than clocks may differ by. */
	say(&stranger, garbage, 1);
	write_hello(&w, realtime_ns());
	len = put_hello(hello, &w, STREAM_OLDEST);
	connect_to(&source);
	say(&source, hello, len);
	assert_int_equal(hear_type(&source), STREAM_READY);
	channel_close(&stranger);
	channel_close(&source);
	arrival_join(&a);
	arrival_exit(&a);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(strangers_do_not_end_the_wait),
		cmocka_unit_test(time_in_the_queue_is_no_difference_of_clocks),
		cmocka_unit_test(clocks_that_differ_are_logged_or_refused),
		cmocka_unit_test(a_clock_out_of_range_is_refused),
		cmocka_unit_test(every_difference_is_told_at_once),
		cmocka_unit_test(a_long_list_of_features_hides_no_device),
		cmocka_unit_test(a_reason_of_the_host_is_told),
		cmocka_unit_test(a_hello_that_no_host_can_take_is_refused),
		cmocka_unit_test(versions_are_agreed_on_or_named),
		cmocka_unit_test(a_check_is_asked_for_in_one_way),
		cmocka_unit_test(other_devices_are_refused),
		cmocka_unit_test(the_source_says_which_devices_there_are),
	};

	return run_in_dir("hello", tests, ARRAY_SIZE(tests));
}
