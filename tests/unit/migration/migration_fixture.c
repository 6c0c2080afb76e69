/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two ends of a migration, in one process: see the header. */
#define _GNU_SOURCE
#include "tests/unit/migration/migration_fixture.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "migration/clock.h"

struct places places = { .dir = "/tmp/ferry-migration-XXXXXX" };
_Atomic(struct fake_device *) holder;

int connect_to_place(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		sched_yield();
	return fd;
}

/* Up to READY, as vmm/main.c does it. */
static int arrival_prepare(struct arrival *a, struct destination *d, struct error *err)
{
	int ret;

	fake_guest_init(&a->guest, a->mem ? a->mem : d->mem, d->cpus);
	a->has_guest = true;
	a->guest.devices[1].holder = &holder;
	if (a->prepare)
		a->prepare(&a->guest);
	if (a->reason)
		error_add(err, "%s", a->reason);
	ret = compare_hello(d, &a->guest.vm, err);
	if (ret == 0)
		ret = destination_ready(d, err);
	a->ready = ret == 0;
	return ret;
}

/* Answers one source. Returns whether it was a check, which leaves nothing behind. */
static bool arrival_meet(struct arrival *a, struct destination *d)
{
	a->ret = arrival_prepare(a, d, &a->err);
	if (a->ret == 0 && !d->check)
		a->ret = incoming_run(d, &a->guest.vm, a->work, &a->err);
	else if (a->ret < 0)
		destination_refuse(d, &a->err);
	destination_close(d);
	if (!d->check)
		return false;
	fake_guest_exit(&a->guest);
	a->has_guest = a->ready = false;
	a->err = (struct error){ 0 };
	a->n_checks++;
	return true;
}

/* Whoever connects to places.path is put into the destination's arrivals. */
struct listener {
	pthread_t thread;
	int fd, stop_fd;
	struct arrivals arrivals;
};

static void *listener_run(void *arg)
{
	struct listener *l = arg;
	struct pollfd fds[] = { { .fd = l->stop_fd, .events = POLLIN }, { .fd = l->fd, .events = POLLIN } };

	for (;;) {
		struct error err = { 0 };
		int fd;

		poll(fds, ARRAY_SIZE(fds), -1);
		if (fds[0].revents)
			return NULL;
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		assert_true(fd >= 0);
		if (arrivals_push(&l->arrivals, fd, realtime_ns(), NULL, &err) < 0)
			log_debug("%s", err.text);
	}
}

static void listener_start(struct listener *l)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct error err = { 0 };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", places.path);
	assert_int_equal(arrivals_init(&l->arrivals, "nobody waits", &err), 0);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(l->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	arrivals_open(&l->arrivals);
	assert_int_equal(listen(l->fd, 16), 0);
	pthread_create(&l->thread, NULL, listener_run, l);
}

static void listener_stop(struct listener *l)
{
	eventfd_write(l->stop_fd, 1);
	pthread_join(l->thread, NULL);
	unlink(places.path);
	close(l->fd);
	close(l->stop_fd);
	arrivals_exit(&l->arrivals);
}

void *arrival_run(void *arg)
{
	struct arrival *a = arg;
	struct listener listener;
	const struct destination_config config = { .arrivals = &listener.arrivals,
						   .cancel_fd = a->cancel_fd,
						   .clock_skew_ns = a->clock_skew_ns };
	struct destination d;

	listener_start(&listener);
	do {
		a->ret = destination_accept(&d, &config, &a->err);
		/* Who comes now is for the next destination. */
		if (a->ret < 0 || !d.check)
			listener_stop(&listener);
	} while (a->ret == 0 && arrival_meet(a, &d));
	a->report = d.report;
	return NULL;
}

void arrival_start(struct arrival *a, void (*prepare)(struct fake_guest *g))
{
	*a = (struct arrival){ .prepare = prepare,
			       .cancel_fd = eventfd(0, EFD_CLOEXEC),
			       .clock_skew_ns = UINT64_MAX };
	pthread_create(&a->thread, NULL, arrival_run, a);
}

void arrival_call_off(struct arrival *a)
{
	eventfd_write(a->cancel_fd, 1);
}

void arrival_join(struct arrival *a)
{
	pthread_join(a->thread, NULL);
}

void arrival_exit(struct arrival *a)
{
	if (a->has_guest)
		fake_guest_exit(&a->guest);
	if (a->cancel_fd >= 0)
		close(a->cancel_fd);
}

static void departure_progress(void *opaque, const struct report *report)
{
	struct departure *s = opaque;
	char json[REPORT_JSON_MAX];

	s->n_progress++;
	s->progress_while_paused |= fake_guest_is_paused(&s->guest);
	assert_in_range(report_json(report, REPORT_PROGRESS, json), 100, REPORT_JSON_MAX - 1);
	if (s->at && strcmp(s->at, report->stage) == 0) {
		s->at = NULL;
		s->then(s);
	}
}

void departure_hold(struct departure *s)
{
	s->guest.devices[1].holder = &holder;
	holder = &s->guest.devices[1];
}

void departure_init(struct departure *s)
{
	*s = (struct departure){ .cancel_fd = -1, .to = places.path };
	s->config = (struct source_config){ .fd = -1,
					    .cancel_fd = -1,
					    .changed_fd = -1,
					    .downtime_limit_ns = 300000000,
					    .progress = departure_progress,
					    .opaque = s };
	fake_guest_init(&s->guest, MEM, 2);
	departure_hold(s);
	fake_guest_fill(&s->guest, 42);
	gate_resume(&s->guest.vm.gate);
}

void departure_exit(struct departure *s)
{
	fake_guest_exit(&s->guest);
}

enum source_result departure_go(struct departure *s)
{
	enum source_result result;

	s->err = (struct error){ 0 };
	s->n_progress = 0;
	s->config.fd = connect_to_place(s->to);
	result = source_migrate(&s->guest.vm, &s->config, &s->report, &s->err);
	/* Closed by now, and its number perhaps somebody else's. */
	s->config.fd = -1;
	assert_false(s->progress_while_paused);
	return result;
}

void assert_goes_on(struct departure *s)
{
	assert_false(fake_guest_is_paused(&s->guest));
	assert_false(s->guest.kvm_logging);
	assert_false(s->guest.vm.memory.logging);
	assert_false(s->guest.vm.migrating);
	assert_int_equal(s->guest.vm.gate.throttle, 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(s->guest.devices[i].paused);
		assert_false(s->guest.devices[i].released);
		assert_false(s->guest.devices[i].arrived);
		assert_false(s->guest.devices[i].tracked);
	}
	assert_int_equal(s->report.downtime_ns, 0);
	assert_string_not_equal(s->err.text, "");
}

void assert_not_here(struct arrival *a)
{
	assert_true(a->ret < 0);
	assert_string_not_equal(a->err.text, "");
	if (!a->has_guest)
		return;
	assert_true(fake_guest_is_paused(&a->guest));
	assert_ptr_not_equal(holder, &a->guest.devices[1]);
	assert_int_equal(a->guest.devices[0].released, a->ready);
	for (unsigned int i = 0; i < 2; i++)
		assert_false(a->guest.devices[i].arrived || a->guest.devices[i].told);
}

void assert_here(struct arrival *a, struct departure *s)
{
	assert_string_equal(a->err.text, "");
	assert_int_equal(a->ret, 0);
	assert_false(fake_guest_is_paused(&a->guest));
	assert_int_equal(a->guest.registers, s->guest.registers);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(a->guest.devices[i].arrived && a->guest.devices[i].told);
		assert_int_equal(a->guest.devices[i].warm, s->guest.devices[i].warm);
		assert_int_equal(a->guest.devices[i].state, s->guest.devices[i].state);
	}
	assert_true(fake_guest_same_memory(&a->guest, &s->guest));
}

void assert_moved(struct arrival *a, struct departure *s, enum source_result result)
{
	uint64_t sum = 0;

	if (result != SOURCE_MOVED)
		fail_msg("%d: %s", result, s->err.text);
	assert_true(fake_guest_is_paused(&s->guest));
	assert_true(s->guest.devices[0].released && s->guest.devices[1].released);
	/* The log is on, because to end it was not worth the work any more. */
	assert_true(s->guest.kvm_logging);
	assert_here(a, s);
	for (unsigned int i = 0; i < REPORT_N_PARTS; i++)
		sum += s->report.parts_ns[i];
	assert_int_equal(sum, s->report.downtime_ns);
	assert_true(s->report.parts_ns[REPORT_LOAD] > 0 && s->report.parts_ns[REPORT_RESUMED] > 0);
	assert_in_range(s->report.downtime_ns, 1, s->report.elapsed_ns);
	assert_int_equal(s->report.remaining_bytes, 0);
}

void assert_retry_works(struct departure *s)
{
	struct arrival a;
	enum source_result result;

	s->to = places.path;
	s->config.cancel_fd = -1;
	arrival_start(&a, NULL);
	result = departure_go(s);
	arrival_join(&a);
	assert_moved(&a, s, result);
	arrival_exit(&a);
}

int no_descriptor(void)
{
	return -1;
}

int no_socket(void)
{
	return eventfd(0, EFD_CLOEXEC);
}

int datagram_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int unconnected_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

void then_cancel(struct departure *s)
{
	eventfd_write(s->cancel_fd, 1);
}

void then_end(struct departure *s)
{
	gate_end(&s->guest.vm.gate, VM_EXIT_POWER_OFF);
}

int run_in_dir(const char *name, const struct CMUnitTest *tests, size_t n)
{
	int ret;

	log_level = LOG_ERROR;
	if (!mkdtemp(places.dir))
		return 1;
	snprintf(places.path, sizeof(places.path), "%s/sock", places.dir);
	snprintf(places.address, sizeof(places.address), "unix:%s", places.path);
	snprintf(places.proxy_path, sizeof(places.proxy_path), "%s/proxy", places.dir);
	ret = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
	rmdir(places.dir);
	return ret;
}

void capture_begin(struct captured *c)
{
	*c = (struct captured){ .file = memfd_create("log", MFD_CLOEXEC), .stderr_fd = dup(STDERR_FILENO) };
	assert_true(c->file >= 0 && c->stderr_fd >= 0);
	assert_int_equal(dup2(c->file, STDERR_FILENO), STDERR_FILENO);
	log_level = LOG_WARN;
}

void capture_end(struct captured *c)
{
	log_level = LOG_ERROR;
	dup2(c->stderr_fd, STDERR_FILENO);
	assert_true(pread(c->file, c->text, sizeof(c->text) - 1, 0) >= 0);
	close(c->file);
	close(c->stderr_fd);
}
