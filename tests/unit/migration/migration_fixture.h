/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two ends of a migration, in one process, over a unix socket, and what tests of it do with them again
 * and again. */
#ifndef FERRY_TESTS_UNIT_MIGRATION_MIGRATION_FIXTURE_H
#define FERRY_TESTS_UNIT_MIGRATION_MIGRATION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "migration/compare.h"
#include "migration/incoming.h"
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
	const struct incoming_work *work;
	uint64_t clock_skew_ns;
	const char *reason; /* of whoever builds the VM, against the guest */
	pthread_t thread;
	int cancel_fd;
	int ret;
	struct error err;
	bool has_guest;
	bool ready; /* READY was said */
};

/* Up to READY, as vmm/main.c does it. */
static inline int arrival_prepare(struct arrival *a, struct destination *d, struct error *err)
{
	int ret;

	fake_guest_init(&a->guest, a->mem ? a->mem : d->mem, d->cpus);
	a->has_guest = true;
	a->guest.devices[1].holder = &holder;
	if (a->prepare)
		a->prepare(&a->guest);
	if (a->reason)
		error_add(err, 0, "%s", a->reason);
	ret = compare_hello(d, &a->guest.vm, err);
	if (ret == 0)
		ret = destination_ready(d, err);
	a->ready = ret == 0;
	return ret;
}

static inline void *arrival_run(void *arg)
{
	struct arrival *a = arg;
	const struct destination_config config = { .from = address,
						   .cancel_fd = a->cancel_fd,
						   .clock_skew_ns = a->clock_skew_ns };
	struct destination d;

	a->ret = destination_accept(&d, &config, &a->err);
	if (a->ret < 0)
		return NULL;
	a->ret = arrival_prepare(a, &d, &a->err);
	if (a->ret == 0)
		a->ret = incoming_run(&d, &a->guest.vm, a->work, &a->err);
	else
		destination_refuse(&d, &a->err);
	destination_close(&d);
	return NULL;
}

static inline void arrival_start(struct arrival *a, void (*prepare)(struct fake_guest *g))
{
	*a = (struct arrival){ .prepare = prepare,
			       .cancel_fd = eventfd(0, EFD_CLOEXEC),
			       .clock_skew_ns = UINT64_MAX };
	pthread_create(&a->thread, NULL, arrival_run, a);
}

/* For one to which no source has spoken: it waits on. */
static inline void arrival_call_off(struct arrival *a)
{
	eventfd_write(a->cancel_fd, 1);
}

static inline void arrival_join(struct arrival *a)
{
	pthread_join(a->thread, NULL);
}

static inline void arrival_exit(struct arrival *a)
{
	if (a->has_guest)
		fake_guest_exit(&a->guest);
	if (a->cancel_fd >= 0)
		close(a->cancel_fd);
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

static inline void departure_progress(void *opaque, const struct report *report)
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
static inline void departure_hold(struct departure *s)
{
	s->guest.devices[1].holder = &holder;
	holder = &s->guest.devices[1];
}

static inline void departure_init(struct departure *s)
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
	gate_resume(&s->guest.vm.gate);
}

static inline void departure_exit(struct departure *s)
{
	fake_guest_exit(&s->guest);
}

/* Again as long as the destination does not listen yet: each attempt that fails is a retry that must work. */
static inline enum source_result departure_go(struct departure *s)
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
static inline void assert_goes_on(struct departure *s)
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

static inline void assert_not_here(struct arrival *a)
{
	assert_true(a->ret < 0);
	assert_string_not_equal(a->err.text, "");
	if (!a->has_guest)
		return;
	assert_true(fake_guest_is_paused(&a->guest));
	assert_ptr_not_equal(holder, &a->guest.devices[1]);
	assert_int_equal(a->guest.devices[0].released, a->ready);
	for (unsigned int i = 0; i < 2; i++)
		assert_false(a->guest.devices[i].arrived);
}

static inline void assert_here(struct arrival *a, struct departure *s)
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

static inline void assert_moved(struct arrival *a, struct departure *s, enum source_result result)
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
static inline void assert_retry_works(struct departure *s)
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

/* What a test does at a stage: departure.then */

static inline void then_cancel(struct departure *s)
{
	eventfd_write(s->cancel_fd, 1);
}

static inline void then_end(struct departure *s)
{
	fake_guest_end(&s->guest);
}

/* The tests, with a directory for their sockets. */
static inline int run_in_dir(const char *name, const struct CMUnitTest *tests, size_t n)
{
	int ret;

	log_level = LOG_ERROR;
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(address, sizeof(address), "unix:%s", path);
	snprintf(proxy_path, sizeof(proxy_path), "%s/proxy", dir);
	snprintf(proxy_address, sizeof(proxy_address), "unix:%s", proxy_path);
	ret = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
	rmdir(dir);
	return ret;
}

#endif
