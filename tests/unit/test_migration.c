/* SPDX-License-Identifier: GPL-2.0-or-later */
/* source_migrate() against destination_run(), in one process, over a unix socket: the way there, every way
 * back. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "migration/destination.h"
#include "migration/source.h"
#include "tests/fake/proxy.h"
#include "tests/fake/vm_migration.h"

#define MEM MIB(16)

static char dir[] = "/tmp/ferry-migration-XXXXXX";
static char path[64], address[80], proxy_path[64], proxy_address[80];

/* Who has what the second device of source and destination needs: a disk's lock, say. */
static _Atomic(struct fake_device *) holder;

/* The destination, on a thread of its own. */
struct arrival {
	struct fake_guest guest;
	uint64_t mem; /* 0: what the source has */
	void (*prepare)(struct fake_guest *g);
	pthread_t thread;
	int cancel_fd;
	int ret;
	struct error err;
	bool has_guest;
};

static void *arrival_run(void *arg)
{
	struct arrival *a = arg;
	struct destination d;

	a->ret = destination_accept(&d, address, a->cancel_fd, &a->err);
	if (a->ret < 0)
		return NULL;
	fake_guest_init(&a->guest, a->mem ? a->mem : d.mem, d.cpus);
	a->has_guest = true;
	a->guest.devices[1].holder = &holder;
	if (a->prepare)
		a->prepare(&a->guest);
	a->ret = destination_run(&d, &a->guest.vm, &a->err);
	destination_close(&d);
	return NULL;
}

static void arrival_start(struct arrival *a, void (*prepare)(struct fake_guest *g))
{
	*a = (struct arrival){ .prepare = prepare, .cancel_fd = -1 };
	pthread_create(&a->thread, NULL, arrival_run, a);
}

static void arrival_join(struct arrival *a)
{
	pthread_join(a->thread, NULL);
}

static void arrival_exit(struct arrival *a)
{
	if (a->has_guest)
		fake_guest_exit(&a->guest);
}

struct departure {
	struct fake_guest guest;
	struct report report;
	struct error err;
	struct source_config config;
	unsigned int n_progress;
	bool progress_while_paused;
	/* Called when the report says this stage. */
	const char *at;
	void (*then)(struct departure *s);
	int cancel_fd;
};

static void departure_progress(void *opaque, const struct report *report)
{
	struct departure *s = opaque;
	char json[REPORT_JSON_MAX];

	s->n_progress++;
	s->progress_while_paused |= fake_guest_is_paused(&s->guest);
	assert_in_range(report_json(report, json), 100, REPORT_JSON_MAX - 1);
	if (s->at && strcmp(s->at, report->stage) == 0) {
		s->at = NULL;
		s->then(s);
	}
}

/* The second device has it, of whichever of the two guests. */
static void departure_hold(struct departure *s)
{
	s->guest.devices[1].holder = &holder;
	holder = &s->guest.devices[1];
}

static void departure_init(struct departure *s)
{
	*s = (struct departure){ .cancel_fd = -1 };
	s->config = (struct source_config){ .to = address,
					    .cancel_fd = -1,
					    .downtime_limit_ns = 300000000,
					    .progress = departure_progress,
					    .opaque = s };
	fake_guest_init(&s->guest, MEM, 2);
	departure_hold(s);
	fake_guest_fill(&s->guest, 42);
	vm_resume(&s->guest.vm);
}

static void departure_exit(struct departure *s)
{
	fake_guest_exit(&s->guest);
}

/* Again as long as the destination does not listen yet: each attempt that fails is a retry that must work. */
static enum source_result departure_go(struct departure *s)
{
	enum source_result result;

	do {
		s->err = (struct error){ 0 };
		s->n_progress = 0;
		result = source_migrate(&s->guest.vm, &s->config, &s->report, &s->err);
		sched_yield();
	} while (result == SOURCE_FAILED && strstr(s->err.text, "cannot connect"));
	assert_false(s->progress_while_paused);
	return result;
}

/* As if nothing had been asked. */
static void assert_goes_on(struct departure *s)
{
	assert_false(fake_guest_is_paused(&s->guest));
	assert_false(s->guest.kvm_logging);
	assert_false(s->guest.vm.memory.logging);
	assert_false(s->guest.vm.migrating);
	assert_int_equal(s->guest.throttle, 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(s->guest.devices[i].paused);
		assert_false(s->guest.devices[i].released);
		assert_false(s->guest.devices[i].arrived);
		assert_false(s->guest.devices[i].tracked);
	}
	assert_int_equal(s->report.downtime_ns, 0);
	assert_string_not_equal(s->err.text, "");
}

static void assert_not_here(struct arrival *a)
{
	assert_true(a->ret < 0);
	assert_string_not_equal(a->err.text, "");
	if (!a->has_guest)
		return;
	assert_true(fake_guest_is_paused(&a->guest));
	assert_ptr_not_equal(holder, &a->guest.devices[1]);
	assert_true(a->guest.devices[0].released);
	for (unsigned int i = 0; i < 2; i++)
		assert_false(a->guest.devices[i].arrived);
}

static void assert_here(struct arrival *a, struct departure *s)
{
	assert_string_equal(a->err.text, "");
	assert_int_equal(a->ret, 0);
	assert_false(fake_guest_is_paused(&a->guest));
	assert_int_equal(a->guest.registers, s->guest.registers);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(a->guest.devices[i].arrived);
		assert_int_equal(a->guest.devices[i].warm, s->guest.devices[i].warm);
		assert_int_equal(a->guest.devices[i].state, s->guest.devices[i].state);
	}
	assert_true(fake_guest_same_memory(&a->guest, &s->guest));
}

static void assert_moved(struct arrival *a, struct departure *s, enum source_result result)
{
	uint64_t sum = 0;

	if (result != SOURCE_MOVED)
		fail_msg("%d: %s", result, s->err.text);
	assert_true(fake_guest_is_paused(&s->guest));
	assert_true(s->guest.devices[0].released && s->guest.devices[1].released);
	/* Which was not worth the work any more. */
	assert_true(s->guest.kvm_logging);
	assert_here(a, s);
	for (unsigned int i = 0; i < REPORT_N_PARTS; i++)
		sum += s->report.parts_ns[i];
	assert_int_equal(sum, s->report.downtime_ns);
	assert_true(s->report.parts_ns[REPORT_LOAD] > 0 && s->report.parts_ns[REPORT_RESUMED] > 0);
	assert_in_range(s->report.downtime_ns, 1, s->report.elapsed_ns);
	assert_int_equal(s->report.remaining_bytes, 0);
}

/* A migration that works, to prove that what went before has left no trace. */
static void assert_retry_works(struct departure *s)
{
	struct arrival a;
	enum source_result result;

	s->config.to = address;
	s->config.cancel_fd = -1;
	arrival_start(&a, NULL);
	result = departure_go(s);
	arrival_join(&a);
	assert_moved(&a, s, result);
	arrival_exit(&a);
}

static void test_move(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.guest.devices[0].changes = 2;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	/* Warm state: the first and two changes, each taken while the guest ran. */
	assert_int_equal(s.report.n_warm, 3);
	assert_int_equal(a.guest.devices[0].n_warm_loads, 3);
	assert_int_equal(s.guest.n_pauses, 1);
	assert_in_range(s.n_progress, 7, 50);
	assert_int_equal(s.report.still_ns, FAKE_STILL_NS);
	assert_string_equal(s.report.stage, "commit");
	/* Nothing was written, so all came in the first pass. The frames' headers are less than a page. */
	assert_int_equal(a.guest.prefaulted, s.report.sent_bytes / PAGE_SIZE * PAGE_SIZE);
	arrival_exit(&a);
	departure_exit(&s);
}

/* The decision to stop has been taken: what is written now, where the guest did not write before, only the
 * last round can find. In KVM's log and in Ferry's. */
static void then_write_late(struct departure *s)
{
	fake_guest_write(&s->guest, 13000, 77);
	assert_int_equal(memory_write(&s->guest.vm.memory, 13001 * PAGE_SIZE, "late", 4), 0);
}

static void then_let_write(struct departure *s)
{
	fake_guest_wait_writes(&s->guest, 1000);
	s->at = "stop";
	s->then = then_write_late;
}

/* The guest writes all the time, and nothing of it is lost. */
static void test_move_while_writing(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	fake_guest_exit(&s.guest);
	fake_guest_init(&s.guest, MIB(64), 4);
	departure_hold(&s);
	fake_guest_fill(&s.guest, 43);
	s.guest.devices[0].changes = 5;
	s.config.stalled = SOURCE_STOP;
	s.at = "devices";
	s.then = then_let_write;
	fake_guest_run_writer(&s.guest, 12000);
	vm_resume(&s.guest.vm);
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_true(s.report.round >= 3);
	assert_true(s.guest.n_writes >= 1000);
	/* What came again was not entered again. */
	assert_true(a.guest.prefaulted + PAGE_SIZE < s.report.sent_bytes);
	arrival_exit(&a);
	departure_exit(&s);
}

static void test_stalled(void **state)
{
	static const struct {
		enum source_stalled stalled;
		unsigned int calm_at;
		enum source_result result;
		unsigned int throttle;
		const char *why;
	} cases[] = {
		{ SOURCE_THROTTLE, 60, SOURCE_MOVED, 60, "" },
		{ SOURCE_THROTTLE, 99, SOURCE_MOVED, 99, "" },
		{ SOURCE_THROTTLE, 100, SOURCE_FAILED, 99, "rounds: the guest's memory changes faster" },
		{ SOURCE_STOP, 100, SOURCE_MOVED, 0, "" },
		{ SOURCE_CANCEL, 100, SOURCE_FAILED, 0, "rounds: the guest's memory changes faster" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		s.config.stalled = cases[i].stalled;
		s.config.downtime_limit_ns = 0;
		s.guest.dirty_per_sync = 50;
		s.guest.calm_at = cases[i].calm_at;
		arrival_start(&a, NULL);
		result = departure_go(&s);
		arrival_join(&a);
		assert_int_equal(result, cases[i].result);
		assert_int_equal(s.guest.max_throttle, cases[i].throttle);
		assert_int_equal(s.guest.throttle, 0);
		if (strncmp(s.err.text, cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("%s", s.err.text);
		if (result == SOURCE_MOVED) {
			assert_moved(&a, &s, result);
		} else {
			assert_goes_on(&s);
			assert_not_here(&a);
			assert_int_equal(s.guest.n_pauses, 0);
		}
		arrival_exit(&a);
		departure_exit(&s);
	}
}

/* What is left would do, whatever it is: the guest stops where little is left, and in any case. */
static void test_waits_for_the_low(void **state)
{
	static const struct {
		unsigned int bursts[10]; /* pages written from one round to the next, over and over */
		unsigned int n_bursts;
		unsigned int last; /* what is left at the stop */
		unsigned int n_rounds;
	} cases[] = {
		/* Half as much each time: the first round, eight more, and the last. */
		{ { 2048, 1024, 512, 256, 128, 64, 32, 16, 8 }, 9, 8, 10 },
		/* As much each time: two are alike, two more could be less. */
		{ { 50 }, 1, 50, 6 },
		{ { 200, 190, 30, 200, 200, 210, 33, 200 }, 8, 33, 8 },
		{ { 200, 90, 190, 100 }, 4, 90, 7 },
		/* Ever more: the round that was best does not come again. */
		{ { 40, 50, 60, 70, 80, 90, 100, 110, 120, 130 }, 10, 40, 12 },
		{ { 20, 600, 100, 600, 100, 600, 100, 600, 100, 600 }, 10, 20, 12 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		s.guest.dirty_bursts = cases[i].bursts;
		s.guest.n_dirty_bursts = cases[i].n_bursts;
		s.config.downtime_limit_ns = UINT64_C(1000000000000);
		arrival_start(&a, NULL);
		result = departure_go(&s);
		arrival_join(&a);
		assert_moved(&a, &s, result);
		assert_int_equal(s.guest.dirty_per_sync, cases[i].last);
		assert_int_equal(s.report.round, cases[i].n_rounds);
		assert_int_equal(s.guest.max_throttle, 0);
		arrival_exit(&a);
		departure_exit(&s);
	}
}

/* A low that does not come again, and is not waited for. */
static void test_does_not_wait_long(void **state)
{
	unsigned int bursts[100];
	struct departure s;
	struct arrival a;
	enum source_result result;

	for (unsigned int i = 0; i < ARRAY_SIZE(bursts); i++)
		bursts[i] = 10 + 10 * i;
	departure_init(&s);
	s.guest.dirty_bursts = bursts;
	s.guest.n_dirty_bursts = ARRAY_SIZE(bursts);
	s.config.downtime_limit_ns = UINT64_C(1000000000000);
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_in_range(s.report.round, 10, 20);
	arrival_exit(&a);
	departure_exit(&s);
}

/* A guest that never stops changing its device's state is moved all the same, with the last of it in STATE.
 */
static void test_endless_changes(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.guest.devices[0].changes = 1000000;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	assert_in_range(s.report.n_warm, 2, 20);
	arrival_exit(&a);
	departure_exit(&s);
}

static void refuse_vm(struct fake_guest *g)
{
	g->refuse_accept = "CPU feature avx512f is missing";
}

static void refuse_all(struct fake_guest *g)
{
	refuse_vm(g);
	g->devices[0].refuse_accept = "1 queue pair, not 4";
	g->devices[1].refuse_accept = "no RSS";
}

static void refuse_warm(struct fake_guest *g)
{
	g->devices[0].refuse_warm = "VLAN_ADD 17 refused";
}

static void refuse_vm_load(struct fake_guest *g)
{
	g->refuse_load = "KVM_SET_XSAVE: Invalid argument";
}

static void refuse_load(struct fake_guest *g)
{
	g->devices[1].refuse_load = "ring out of bounds";
}

static void other_config(struct fake_guest *g)
{
	g->devices[1].config = 9;
}

static void missing_device(struct fake_guest *g)
{
	g->devices[0].device.next = NULL;
}

static void extra_device(struct fake_guest *g)
{
	static const struct device_ops no_ops = { 0 };
	static struct device extra = { .ops = &no_ops, .name = "net7" };

	g->devices[1].device.next = &extra;
}

/* An older Ferry's, which has nothing to compare yet. */
static void simple_device(struct fake_guest *g)
{
	static struct device_ops simple;

	simple = *g->devices[1].device.ops;
	simple.accept = NULL;
	g->devices[1].device.ops = &simple;
}

static void other_device(struct fake_guest *g)
{
	g->devices[0].device.name = "net3";
}

static void other_cpus(struct fake_guest *g)
{
	g->vm.n_vcpus++;
}

static void test_refused(void **state)
{
	static const struct {
		void (*prepare)(struct fake_guest *g);
		const char *stage;
		const char *why[3];
		unsigned int n_pauses;
	} cases[] = {
		{ refuse_vm, "hello: destination refused: ", { "avx512f" }, 0 },
		{ refuse_all,
		  "hello: destination refused: ",
		  { "avx512f", "dev0: 1 queue pair", "dev1: no RSS" },
		  0 },
		{ other_config, "hello: destination refused: ", { "config" }, 0 },
		{ missing_device,
		  "hello: destination refused: ",
		  { "dev1: the source has such a device" },
		  0 },
		{ extra_device, "hello: destination refused: ", { "net7: this VM has such a device" }, 0 },
		{ simple_device, "hello: destination refused: ", { "more in it than this Ferry knows" }, 0 },
		{ other_device, "hello: destination refused: ", { "net3: this VM", "dev0: the source" }, 0 },
		{ other_cpus, "hello: destination refused: ", { "cpus" }, 0 },
		{ refuse_warm, "devices: destination refused: ", { "dev0: VLAN_ADD 17" }, 0 },
		{ refuse_vm_load, "state: destination refused: ", { "KVM_SET_XSAVE" }, 1 },
		{ refuse_load, "state: destination refused: ", { "dev1: ring out of bounds" }, 1 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct departure s;
		struct arrival a;
		enum source_result result;

		departure_init(&s);
		arrival_start(&a, cases[i].prepare);
		result = departure_go(&s);
		arrival_join(&a);
		assert_int_equal(result, SOURCE_FAILED);
		assert_goes_on(&s);
		assert_not_here(&a);
		assert_int_equal(s.guest.n_pauses, cases[i].n_pauses);
		if (strncmp(s.err.text, cases[i].stage, strlen(cases[i].stage)) != 0)
			fail_msg("%s", s.err.text);
		for (unsigned int j = 0; j < 3 && cases[i].why[j]; j++) {
			if (!strstr(s.err.text, cases[i].why[j]) || !strstr(a.err.text, cases[i].why[j]))
				fail_msg("%s / %s", s.err.text, a.err.text);
		}
		arrival_exit(&a);
		assert_retry_works(&s);
		departure_exit(&s);
	}
}

/* The source's own device does not let its writes be tracked. */
static void test_track_refused(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.guest.devices[0].refuse_track = "keeps what it does to itself";
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "track: dev0: keeps what it does to itself");
	assert_goes_on(&s);
	assert_not_here(&a);
	assert_int_equal(s.report.round, 0);
	arrival_exit(&a);
	s.guest.devices[0].refuse_track = NULL;
	assert_retry_works(&s);
	departure_exit(&s);
}

/* The connection breaks at every frame, in four ways each. */
static void assert_unknown(struct arrival *a, struct departure *s)
{
	assert_true(fake_guest_is_paused(&s->guest));
	assert_true(s->guest.devices[0].paused && s->guest.devices[1].paused);
	assert_false(s->guest.devices[0].released || s->guest.kvm_logging);
	assert_non_null(strstr(s->err.text, "may run at the destination"));
	/* Not again, before somebody has looked. */
	assert_int_equal(source_migrate(&s->guest.vm, &s->config, &s->report, &s->err), SOURCE_FAILED);
	assert_true(fake_guest_is_paused(&s->guest));
	if (a->ret == 0)
		return;
	assert_int_equal(source_resume(&s->guest.vm, &s->err), 0);
	assert_goes_on(s);
	assert_retry_works(s);
}

static void cut_one(int type, enum proxy_cut cut)
{
	struct proxy p = { .listen = proxy_path, .to = path, .type = type, .cut = cut };
	/* Before COMMIT the source's, after it the destination's. */
	bool failed = type < STREAM_COMMIT, arrives = type == STREAM_RUNNING;
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.config.to = proxy_address;
	proxy_start(&p);
	arrival_start(&a, NULL);
	result = departure_go(&s);
	proxy_join(&p);
	arrival_join(&a);
	assert_true(p.reached);
	/* What is delivered may be answered, and that answered, before the ends see that the line is dead. */
	if (cut == PROXY_AFTER && type >= STREAM_STATE) {
		failed = result == SOURCE_FAILED;
		arrives = result == SOURCE_MOVED || (result == SOURCE_UNKNOWN && a.ret == 0);
	}
	if (arrives)
		assert_here(&a, &s);
	else
		assert_not_here(&a);
	if (failed) {
		assert_int_equal(result, SOURCE_FAILED);
		assert_goes_on(&s);
		assert_retry_works(&s);
	} else if (cut == PROXY_AFTER && result == SOURCE_MOVED) {
		assert_moved(&a, &s, result);
	} else {
		assert_int_equal(result, SOURCE_UNKNOWN);
		assert_unknown(&a, &s);
	}
	arrival_exit(&a);
	departure_exit(&s);
	proxy_free(&p);
}

static void test_cut(void **state)
{
	for (int type = STREAM_HELLO; type < STREAM_N_TYPES; type++) {
		for (enum proxy_cut cut = 0; cut < PROXY_N_CUTS; cut++) {
			if (type != STREAM_REFUSED)
				cut_one(type, cut);
		}
	}
}

static void then_cancel(struct departure *s)
{
	eventfd_write(s->cancel_fd, 1);
}

static void then_end(struct departure *s)
{
	fake_guest_end(&s->guest);
}

static void then_end_and_cancel(struct departure *s)
{
	then_end(s);
	then_cancel(s);
}

static void then_migrate_again(struct departure *s)
{
	struct report report;
	struct error err = { 0 };

	assert_int_equal(source_migrate(&s->guest.vm, &s->config, &report, &err), SOURCE_FAILED);
	assert_non_null(strstr(err.text, "under way"));
	assert_true(s->guest.vm.migrating);
}

static void keep(struct fake_guest *g)
{
	g->devices[1].keeps = true;
}

/*
 * A destination that cannot be reached any more and has what the guest needs here: without it the guest does
 * not run, and the operator is told.
 */
static void test_cannot_go_on(void **state)
{
	struct proxy p = { .listen = proxy_path, .to = path, .type = STREAM_PREPARED, .cut = PROXY_BEFORE };
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.config.to = proxy_address;
	proxy_start(&p);
	arrival_start(&a, keep);
	assert_int_equal(departure_go(&s), SOURCE_UNKNOWN);
	proxy_join(&p);
	arrival_join(&a);
	assert_true(a.ret < 0 && a.guest.devices[1].released);
	assert_true(fake_guest_is_paused(&s.guest));
	assert_true(s.guest.devices[0].paused && s.guest.devices[1].paused);
	assert_false(s.guest.devices[1].released || s.guest.kvm_logging);
	assert_non_null(strstr(s.err.text, "somebody else has it"));
	assert_non_null(strstr(s.err.text, "it stays paused"));
	assert_null(strstr(s.err.text, "may run at the destination"));
	assert_int_equal(source_migrate(&s.guest.vm, &s.config, &s.report, &s.err), SOURCE_FAILED);
	assert_true(fake_guest_is_paused(&s.guest));
	/* It has ended. */
	holder = NULL;
	assert_int_equal(source_resume(&s.guest.vm, &s.err), 0);
	assert_goes_on(&s);
	assert_retry_works(&s);
	arrival_exit(&a);
	departure_exit(&s);
	proxy_free(&p);
}

static void test_cancel(void **state)
{
	static const char *const stages[] = { "connect", "hello", "memory", "devices", "rounds" };

	for (unsigned int i = 0; i < ARRAY_SIZE(stages); i++) {
		struct departure s;
		struct arrival a;

		departure_init(&s);
		s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
		s.at = stages[i];
		s.then = then_cancel;
		/* Enough for the last round not to be empty. */
		s.guest.dirty_per_sync = 10;
		arrival_start(&a, NULL);
		assert_int_equal(departure_go(&s), SOURCE_FAILED);
		if (!strstr(s.err.text, "cancelled"))
			fail_msg("%s", s.err.text);
		assert_goes_on(&s);
		assert_int_equal(s.guest.n_pauses, 0);
		arrival_join(&a);
		assert_not_here(&a);
		assert_retry_works(&s);
		arrival_exit(&a);
		close(s.cancel_fd);
		departure_exit(&s);
	}
}

static void test_cancelled_destination(void **state)
{
	struct departure s;
	struct arrival a = { .cancel_fd = eventfd(1, EFD_CLOEXEC) };

	pthread_create(&a.thread, NULL, arrival_run, &a);
	arrival_join(&a);
	assert_int_equal(a.ret, -ECANCELED);
	close(a.cancel_fd);
	departure_init(&s);
	assert_int_equal(source_migrate(&s.guest.vm, &s.config, &s.report, &s.err), SOURCE_FAILED);
	assert_goes_on(&s);
	assert_retry_works(&s);
	departure_exit(&s);
}

static void test_guest_ends(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.at = "devices";
	s.then = then_end;
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "rounds: the guest has ended");
	assert_goes_on(&s);
	assert_not_here(&a);
	arrival_exit(&a);
	departure_exit(&s);
}

static void test_second_is_refused(void **state)
{
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	s.at = "devices";
	s.then = then_migrate_again;
	arrival_start(&a, NULL);
	result = departure_go(&s);
	arrival_join(&a);
	assert_moved(&a, &s, result);
	arrival_exit(&a);
	departure_exit(&s);
}

static void test_save_fails(void **state)
{
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.guest.fail_save = "KVM_GET_MSRS: Input/output error";
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	arrival_join(&a);
	assert_string_equal(s.err.text, "state: KVM_GET_MSRS: Input/output error");
	assert_goes_on(&s);
	assert_not_here(&a);
	arrival_exit(&a);
	s.guest.fail_save = NULL;
	assert_retry_works(&s);
	departure_exit(&s);
}

/* A destination that speaks, but not sense. */
struct script {
	uint8_t bytes[4096]; /* said as soon as the connection is there */
	size_t len;
	pthread_t thread;
	int listen_fd;
};

static void *script_run(void *arg)
{
	static const struct timeval patience = { .tv_sec = 20 };
	struct script *script = arg;
	int fd = accept(script->listen_fd, NULL, NULL);
	uint8_t dropped[65536];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* The other end of one that says nothing may have gone. */
	if (script->len > 0)
		assert_int_equal(write(fd, script->bytes, script->len), script->len);
	while (read(fd, dropped, sizeof(dropped)) > 0)
		;
	close(fd);
	return NULL;
}

static void script_frame(struct script *script, uint32_t type, uint32_t len, const char *payload)
{
	uint8_t *at = script->bytes + script->len;

	put_le32(at, type);
	put_le32(at + 4, len);
	put_le64(at + 8, 0);
	memcpy(at + 16, payload, strlen(payload));
	script->len += 16 + strlen(payload);
}

static const char *script_against_source(struct script *script, struct departure *s)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	script->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(script->listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(script->listen_fd, 1), 0);
	pthread_create(&script->thread, NULL, script_run, script);
	assert_int_equal(departure_go(s), SOURCE_FAILED);
	pthread_join(script->thread, NULL);
	close(script->listen_fd);
	unlink(path);
	assert_goes_on(s);
	return s->err.text;
}

static void test_hostile_destination(void **state)
{
	static const struct {
		struct {
			uint32_t type, len;
			const char *payload;
		} frames[2];
		const char *why;
	} cases[] = {
		{ { { 0, 0, "" } }, "hello: the peer does not speak Ferry's protocol" },
		{ { { 0x54544820, 0, "garbage garbage" } }, "hello: the peer does not speak" },
		{ { { STREAM_READY, 1, "x" } }, "hello: READY frame of 1 bytes" },
		{ { { STREAM_REFUSED, UINT32_MAX, "" } }, "hello: REFUSED frame of 4294967295 bytes" },
		{ { { STREAM_RUNNING, 24, "" } }, "hello: RUNNING frame of 24 bytes instead of READY" },
		{ { { STREAM_HELLO, 3, "abc" } }, "hello: HELLO frame" },
		{ { { STREAM_REFUSED, 4, "busy" } }, "hello: destination refused: busy" },
		/* While memory comes, without waiting for its end. */
		{ { { STREAM_READY, 0, "" }, { STREAM_REFUSED, 7, "no room" } },
		  "memory: destination refused: no room" },
		{ { { STREAM_READY, 0, "" }, { STREAM_PREPARED, 24, "" } }, "memory: the peer has closed" },
		{ { { STREAM_READY, 0, "" }, { STREAM_WARM_OK, 0, "" } }, "memory: the peer has closed" },
	};
	struct departure s;

	departure_init(&s);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct script script = { 0 };

		for (unsigned int j = 0; j < 2 && (j == 0 || cases[i].frames[j].type); j++)
			script_frame(&script, cases[i].frames[j].type, cases[i].frames[j].len,
				     cases[i].frames[j].payload);
		if (strncmp(script_against_source(&script, &s), cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("%u: %s", i, s.err.text);
	}
	assert_int_equal(s.guest.n_pauses, 0);
	assert_retry_works(&s);
	departure_exit(&s);
}

/* With the guest its Ferry ends, and calls the migration off wherever it waits: here for an answer that never
 * comes. */
static void test_guest_ends_in_a_wait(void **state)
{
	struct script silent = { 0 };
	struct departure s;

	departure_init(&s);
	s.cancel_fd = s.config.cancel_fd = eventfd(0, EFD_CLOEXEC);
	s.at = "hello";
	s.then = then_end_and_cancel;
	assert_string_equal(script_against_source(&silent, &s), "hello: the guest has ended");
	close(s.cancel_fd);
	departure_exit(&s);
}

/* What a source said in a migration that worked. */
static void record(struct proxy *p, struct departure *s)
{
	struct arrival a;
	enum source_result result;

	*p = (struct proxy){ .listen = proxy_path, .to = path };
	departure_init(s);
	s->config.to = proxy_address;
	proxy_start(p);
	arrival_start(&a, NULL);
	result = departure_go(s);
	arrival_join(&a);
	proxy_join(p);
	assert_moved(&a, s, result);
	arrival_exit(&a);
}

struct feeder {
	pthread_t thread;
	const uint8_t *bytes;
	uint64_t len;
	int write_ret;
	char answers[8192]; /* of the destination, as text as far as it is */
	size_t n_answers;
};

/* A source that says @bytes and then nothing more. */
static void *feeder_run(void *arg)
{
	struct feeder *f = arg;
	struct channel c;
	struct error err;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)f->bytes, .iov_len = f->len };
	ssize_t got;

	do {
		err = (struct error){ 0 };
		sched_yield();
	} while (channel_connect(&c, address, -1, &err) < 0);
	/* The destination may hang up in the middle: its answer says whether that was right. */
	f->write_ret = channel_writev(&c, &iov, 1, 20000, NULL);
	shutdown(c.fd, SHUT_WR);
	do {
		iov = (struct iovec){ f->answers + f->n_answers, sizeof(f->answers) - 1 - f->n_answers };
		got = channel_readv(&c, &iov, 1, 20000);
		f->n_answers += got > 0 ? (size_t)got : 0;
	} while (got > 0);
	channel_close(&c);
	return NULL;
}

/* The destination against @len bytes of a source: whether the guest came to run. */
static bool feed(const uint8_t *bytes, uint64_t len, struct feeder *f)
{
	struct arrival a = { .cancel_fd = -1 };
	bool runs;

	*f = (struct feeder){ .bytes = bytes, .len = len };
	/* Let go of by the source that was recorded. */
	holder = NULL;
	pthread_create(&f->thread, NULL, feeder_run, f);
	arrival_run(&a);
	pthread_join(f->thread, NULL);
	runs = a.ret == 0;
	if (!runs)
		assert_not_here(&a);
	arrival_exit(&a);
	return runs;
}

/* Cut short anywhere: no guest. At each byte of headers and trees, now and then within memory. */
static void test_truncated(void **state)
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

/* Each byte that is not memory's, changed: the destination says no, or runs a guest that is whole. Never
 * anything else. */
static void test_corrupted(void **state)
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
	/* Another page for the same bytes, another value of a register: nobody can tell. */
	assert_in_range(n_taken, 1, n_refused);
	free(copy);
	departure_exit(&s);
	proxy_free(&p);
}

/* Frames of a good stream, left out, doubled or exchanged. */
static void test_order(void **state)
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
		/* What comes after COMMIT is nobody's business any more; warm state, and the question for
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

static void test_bad_hello(void **state)
{
	static const struct {
		uint64_t memory;
		uint32_t cpus;
		uint64_t version;
		const char *why;
	} cases[] = {
		{ MEM, 1, STREAM_VERSION + 1, "version 2 of the migration protocol, this Ferry version 1" },
		{ MEM, 0, STREAM_VERSION, "cpus" },
		{ MEM, 65, STREAM_VERSION, "cpus" },
		{ 0, 1, STREAM_VERSION, "memory" },
		{ MEM - PAGE_SIZE, 1, STREAM_VERSION, "memory" },
		{ MEM + 1, 1, STREAM_VERSION, "not whole pages" },
		{ GIB(4096) + PAGE_SIZE, 1, STREAM_VERSION, "memory" },
		{ UINT64_MAX, 1, STREAM_VERSION, "memory" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		uint8_t frame[4096];
		struct feeder f;
		uint32_t len;
		void *tree;

		assert_int_equal(state_open_writer(&w), 0);
		state_begin(&w, "vm");
		state_put_u64(&w, "memory", cases[i].memory);
		state_put_u32(&w, "cpus", cases[i].cpus);
		state_end(&w);
		assert_int_equal(state_close(&w, &tree, &len), 0);
		assert_true(16 + len <= sizeof(frame));
		stream_header_put((struct stream_header *)(void *)frame, STREAM_HELLO, len, cases[i].version);
		memcpy(frame + 16, tree, len);
		free(tree);
		assert_false(feed(frame, 16 + len, &f));
		if (!memmem(f.answers, f.n_answers, cases[i].why, strlen(cases[i].why)))
			fail_msg("%u: %s", i, f.answers + 16);
	}
}

/* Devices of a source, in its words. */
static void test_bad_devices(void **state)
{
	static const struct {
		const char *names[3];
		uint32_t count;
		const char *why;
	} cases[] = {
		{ { "dev0", "dev1" }, 2, NULL },
		{ { "dev0", "dev0", "dev1" }, 3, "dev0: twice" },
		{ { "dev0", "dev1", "dev1" }, 3, "dev1: twice" },
		{ { "dev0", "dev1" }, 3, "no child 'device@2'" },
		{ { "dev0", "dev1", "dev2" }, 2, "more in it than" },
		{ { "dev0", "dev1" }, 65, "count" },
		{ { NULL }, 0, "dev0: this VM has such a device" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct state_writer w;
		uint8_t frame[4096];
		struct feeder f;
		uint32_t len;
		void *tree;

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
		assert_int_equal(state_close(&w, &tree, &len), 0);
		assert_true(16 + len <= sizeof(frame));
		stream_header_put((struct stream_header *)(void *)frame, STREAM_HELLO, len, STREAM_VERSION);
		memcpy(frame + 16, tree, len);
		free(tree);
		assert_false(feed(frame, 16 + len, &f));
		assert_int_equal(get_le32(f.answers), cases[i].why ? STREAM_REFUSED : STREAM_READY);
		if (cases[i].why && !memmem(f.answers, f.n_answers, cases[i].why, strlen(cases[i].why)))
			fail_msg("%u: %s", i, f.answers + 16);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_move_while_writing),
		cmocka_unit_test(test_stalled),
		cmocka_unit_test(test_waits_for_the_low),
		cmocka_unit_test(test_does_not_wait_long),
		cmocka_unit_test(test_endless_changes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_track_refused),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_cannot_go_on),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancelled_destination),
		cmocka_unit_test(test_guest_ends),
		cmocka_unit_test(test_guest_ends_in_a_wait),
		cmocka_unit_test(test_second_is_refused),
		cmocka_unit_test(test_save_fails),
		cmocka_unit_test(test_hostile_destination),
		cmocka_unit_test(test_bad_hello),
		cmocka_unit_test(test_bad_devices),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_corrupted),
		cmocka_unit_test(test_order),
	};
	int ret;

	log_level = LOG_ERROR;
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(address, sizeof(address), "unix:%s", path);
	snprintf(proxy_path, sizeof(proxy_path), "%s/proxy", dir);
	snprintf(proxy_address, sizeof(proxy_address), "unix:%s", proxy_path);
	ret = cmocka_run_group_tests_name("migration", tests, NULL, NULL);
	rmdir(dir);
	return ret;
}
