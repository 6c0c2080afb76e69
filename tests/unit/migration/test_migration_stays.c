/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Migrations that end early, at either end or between the two: the guest goes on where it is, or stays paused
 * there. */
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vmm/x86/boot_files.h"

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

static void a_destination_that_refuses_says_why(void **state)
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
		assert_int_equal(s.guest.vm.gate.n_pauses, cases[i].n_pauses);
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
static void a_device_that_cannot_be_tracked_keeps_the_guest_here(void **state)
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
	struct proxy p = { .listen = places.proxy_path, .to = places.path, .type = type, .cut = cut };
	/* Before COMMIT the source's, after it the destination's. */
	bool failed = type < STREAM_COMMIT || type == STREAM_BOOT, arrives = type == STREAM_RUNNING;
	struct boot_files boot;
	struct departure s;
	struct arrival a;
	enum source_result result;

	departure_init(&s);
	assert_int_equal(boot_files_make(&boot, 5000, 77, "quiet", &s.err), 0);
	s.guest.vm.boot = &boot;
	s.to = places.proxy_path;
	proxy_start(&p);
	arrival_start(&a, NULL);
	result = departure_go(&s);
	proxy_join(&p);
	if (type == STREAM_HELLO)
		arrival_call_off(&a);
	arrival_join(&a);
	assert_true(p.reached);
	/* A frame that is delivered may be answered, and that answered, before the ends see that the line is
	 * dead. */
	if (cut == PROXY_AFTER && type >= STREAM_STATE && type != STREAM_BOOT) {
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
	boot_files_close(&boot);
}

static void a_connection_that_is_cut_leaves_one_guest(void **state)
{
	for (int type = STREAM_HELLO; type < STREAM_N_TYPES; type++) {
		for (enum proxy_cut cut = 0; cut < PROXY_N_CUTS; cut++) {
			/* A connection within this host is too fast for LZ4. */
			if (type != STREAM_REFUSED && type != STREAM_LZ4)
				cut_one(type, cut);
		}
	}
}

static void then_migrate_again(struct departure *s)
{
	struct source_config config = s->config;
	struct report report;
	struct error err = { 0 };

	config.fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(source_migrate(&s->guest.vm, &config, &report, &err), SOURCE_FAILED);
	assert_non_null(strstr(err.text, "under way"));
	assert_int_equal(fcntl(config.fd, F_GETFD), -1);
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
static void without_what_it_needs_a_guest_stays_paused(void **state)
{
	struct proxy p = {
		.listen = places.proxy_path, .to = places.path, .type = STREAM_PREPARED, .cut = PROXY_BEFORE
	};
	struct departure s;
	struct arrival a;

	departure_init(&s);
	s.to = places.proxy_path;
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
	/* The destination has ended. */
	holder = NULL;
	assert_int_equal(source_resume(&s.guest.vm, &s.err), 0);
	assert_goes_on(&s);
	assert_retry_works(&s);
	arrival_exit(&a);
	departure_exit(&s);
	proxy_free(&p);
}

static void a_cancel_leaves_the_guest_here(void **state)
{
	static const char *const stages[] = { "adopt", "hello", "memory", "devices", "rounds" };

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
		assert_int_equal(s.guest.vm.gate.n_pauses, 0);
		arrival_call_off(&a);
		arrival_join(&a);
		assert_not_here(&a);
		assert_retry_works(&s);
		arrival_exit(&a);
		close(s.cancel_fd);
		departure_exit(&s);
	}
}

static void a_cancelled_destination_leaves_nothing_behind(void **state)
{
	struct departure s;
	struct arrival a = { .cancel_fd = eventfd(1, EFD_CLOEXEC), .clock_skew_ns = UINT64_MAX };

	pthread_create(&a.thread, NULL, arrival_run, &a);
	arrival_join(&a);
	assert_int_equal(a.ret, -ECANCELED);
	close(a.cancel_fd);
	departure_init(&s);
	assert_retry_works(&s);
	departure_exit(&s);
}

static int abandoned_socket(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	close(fds[1]);
	return fds[0];
}

static void without_a_connection_nothing_begins(void **state)
{
	static const struct {
		int (*open)(void);
		const char *why;
	} cases[] = {
		{ no_descriptor,
		  "adopt: a migration needs a connected stream socket, and what was passed is no socket: " },
		{ no_socket,
		  "adopt: a migration needs a connected stream socket, and what was passed is no socket: " },
		{ datagram_socket, "adopt: a migration needs a connected stream socket, and what was passed "
				   "is no stream socket" },
		{ unconnected_socket, "adopt: a migration needs a connected stream socket, and what was "
				      "passed is a socket without a connection: " },
		{ abandoned_socket, "hello: the peer has closed" },
	};
	struct departure s;

	departure_init(&s);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = s.config.fd = cases[i].open();

		s.err = (struct error){ 0 };
		assert_int_equal(source_migrate(&s.guest.vm, &s.config, &s.report, &s.err), SOURCE_FAILED);
		if (strncmp(s.err.text, cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("%s", s.err.text);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
		assert_goes_on(&s);
		assert_int_equal(s.guest.vm.gate.n_pauses, 0);
	}
	assert_retry_works(&s);
	departure_exit(&s);
}

static void the_guests_end_ends_its_migration(void **state)
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

static void then_reset(struct departure *s)
{
	gate_reset(&s->guest.vm.gate);
	/* Whoever carries it out looks, and leaves it for when the migration has ended. */
	assert_true(s->guest.vm.migrating);
}

static void reset_while_asked(struct fake_device *f)
{
	gate_reset(&f->guest->vm.gate);
}

/* The reset is not carried out: a test that waits for @fd is told again that it is due, and does it. */
static void assert_given_up_for_reset(struct departure *s, int fd, enum source_result result)
{
	assert_int_equal(result, SOURCE_FAILED);
	if (!strstr(s->err.text, ": the guest has reset itself, and begins anew here"))
		fail_msg("%s", s->err.text);
	assert_true(loop_take(fd));
	assert_goes_on(s);
	assert_true(gate_resetting(&s->guest.vm.gate));
	gate_reset_done(&s->guest.vm.gate);
	assert_retry_works(s);
}

static void a_reset_ends_the_migration_at_once_and_a_retry_works(void **state)
{
	static const char *const stages[] = { "adopt", "hello", "memory", "devices", "rounds", NULL };

	for (unsigned int i = 0; i < ARRAY_SIZE(stages); i++) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		enum source_result result;
		struct departure s;
		struct arrival a;

		departure_init(&s);
		gate_set_reset(&s.guest.vm.gate, fd);
		s.at = stages[i];
		s.then = then_reset;
		/* The last moment: the guest runs for as long as its devices are asked. */
		if (!stages[i])
			s.guest.devices[1].on_settle = reset_while_asked;
		s.guest.dirty_per_sync = 10;
		arrival_start(&a, NULL);
		result = departure_go(&s);
		s.at = NULL;
		s.guest.devices[1].on_settle = NULL;
		arrival_call_off(&a);
		arrival_join(&a);
		assert_int_equal(s.guest.vm.gate.n_pauses, !stages[i]);
		assert_given_up_for_reset(&s, fd, result);
		assert_not_here(&a);
		arrival_exit(&a);
		departure_exit(&s);
		close(fd);
	}
}

/* Nobody waits for a destination that says nothing. */
static void a_reset_ends_the_wait_for_an_answer(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	enum source_result result;
	struct departure s;

	strcpy(sa.sun_path, places.path);
	assert_int_equal(bind(listen_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listen_fd, 1), 0);
	departure_init(&s);
	gate_set_reset(&s.guest.vm.gate, fd);
	s.at = "hello";
	s.then = then_reset;
	result = departure_go(&s);
	s.at = NULL;
	close(listen_fd);
	unlink(places.path);
	assert_true(s.report.elapsed_ns < UINT64_C(30000000000));
	assert_int_equal(strncmp(s.err.text, "hello: ", 7), 0);
	assert_given_up_for_reset(&s, fd, result);
	departure_exit(&s);
	close(fd);
}

/* A guest that begins anew at this moment cannot be moved. */
static void no_migration_begins_during_a_reset(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct departure s;
	struct arrival a;

	departure_init(&s);
	gate_set_reset(&s.guest.vm.gate, fd);
	gate_reset(&s.guest.vm.gate);
	atomic_store(&s.guest.vm.migrating, true);
	arrival_start(&a, NULL);
	assert_int_equal(departure_go(&s), SOURCE_FAILED);
	assert_non_null(strstr(s.err.text, "is being reset"));
	arrival_call_off(&a);
	arrival_join(&a);
	arrival_exit(&a);
	gate_reset_done(&s.guest.vm.gate);
	atomic_store(&s.guest.vm.migrating, false);
	assert_retry_works(&s);
	departure_exit(&s);
	close(fd);
}

static void a_second_migration_is_refused(void **state)
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

static void a_guest_whose_state_cannot_be_read_goes_on(void **state)
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_destination_that_refuses_says_why),
		cmocka_unit_test(a_device_that_cannot_be_tracked_keeps_the_guest_here),
		cmocka_unit_test(a_connection_that_is_cut_leaves_one_guest),
		cmocka_unit_test(without_what_it_needs_a_guest_stays_paused),
		cmocka_unit_test(a_cancel_leaves_the_guest_here),
		cmocka_unit_test(a_cancelled_destination_leaves_nothing_behind),
		cmocka_unit_test(without_a_connection_nothing_begins),
		cmocka_unit_test(the_guests_end_ends_its_migration),
		cmocka_unit_test(a_reset_ends_the_migration_at_once_and_a_retry_works),
		cmocka_unit_test(a_reset_ends_the_wait_for_an_answer),
		cmocka_unit_test(no_migration_begins_during_a_reset),
		cmocka_unit_test(a_second_migration_is_refused),
		cmocka_unit_test(a_guest_whose_state_cannot_be_read_goes_on),
	};

	return run_in_dir("migration_stays", tests, ARRAY_SIZE(tests));
}
