/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A migration as clients of the control socket see it: who watches it, changes it and ends it. */
#define _GNU_SOURCE
#include "tests/unit/migration/migration_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "migration/methods.h"
#include "vmm/control/client.h"
#include "vmm/control/interface.h"
#include "vmm/control/server.h"

/* Pages with something in them: at the least bandwidth that can be asked for they take seconds, which no test
 * waits for. */
#define N_PAGES 8192u
#define SLOW    "\"bandwidth\":1048576"

/* A guest with a control socket, and who calls it. */
struct rig {
	struct departure s;
	struct arrival a;
	struct guard guard;
	struct methods methods;
	struct control *control;
	struct control_offer offer;
	struct control_client client;
	const char *reply; /* the last one's parameters */
	struct error err;
};

static void rig_init(struct rig *r)
{
	static const struct vm_config vm_config = { .name = "web1" };
	const struct control_config config = { .runtime_dir = places.dir,
					       .name = "web1",
					       .offers = &r->offer,
					       .n_offers = 1,
					       .guard = &r->guard };

	memset(r, 0, sizeof(*r));
	r->offer = (struct control_offer){ &methods_interface, &r->methods };
	departure_init(&r->s);
	for (uint64_t page = 0; page < N_PAGES; page++)
		fake_guest_write(&r->s.guest, page % 4000, page + 1);
	/* Nobody waits for the guest's first moments elsewhere. */
	r->s.guest.vm.stop_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(guard_init(&r->guard, &r->err), 0);
	assert_int_equal(methods_init(&r->methods, NULL, &r->err), 0);
	r->methods.config = &vm_config;
	methods_set_guest(&r->methods, METHODS_HERE, &r->s.guest.vm);
	assert_int_equal(control_create(&r->control, &config, &r->err), 0);
}

/* Ends it all, whatever runs. */
static void rig_exit(struct rig *r)
{
	control_destroy(r->control);
	methods_exit(&r->methods);
	assert_int_equal(guard_exit(&r->guard), 0);
	close(r->s.guest.vm.stop_fd);
	departure_exit(&r->s);
}

static void call(struct rig *r, struct control_client *c, const char *method, const char *parameters,
		 enum control_replies replies)
{
	const bool connects =
		strcmp(method, "alt.ferry.Migrate") == 0 || strcmp(method, "alt.ferry.CheckMigration") == 0;
	int fd = connects ? connect_to_place(places.path) : -1;

	r->err = (struct error){ 0 };
	assert_int_equal(control_connect(c, places.dir, "web1", &r->err), 0);
	assert_int_equal(control_send(c, method, parameters, replies, fd, &r->err), 0);
	if (fd >= 0)
		close(fd);
}

/* Calls and waits for the last reply, which is r->reply. Returns 0 or -errno, with r->client.error and
 * r->err. */
static int ask(struct rig *r, const char *method, const char *parameters)
{
	int ret;

	call(r, &r->client, method, parameters, CONTROL_RESULT);
	ret = control_receive(&r->client, &r->reply, &r->err);
	control_disconnect(&r->client);
	return ret;
}

/* Has a migration begin that takes long, and of which @c sees the reports: it sends memory. */
static void begin(struct rig *r, struct control_client *c, const char *parameters)
{
	arrival_start(&r->a, NULL);
	call(r, c, "alt.ferry.Migrate", parameters, CONTROL_PROGRESS);
	do {
		assert_int_equal(control_receive(c, &r->reply, &r->err), 1);
	} while (!strstr(r->reply, "\"stage\":\"memory\""));
}

/* Follows the migration's status to the end; @state is the last. */
static void follow(struct rig *r, const char *state)
{
	char text[32] = "";
	int ret;

	call(r, &r->client, "alt.ferry.MigrationStatus", "{}", CONTROL_PROGRESS);
	do {
		ret = control_receive(&r->client, &r->reply, &r->err);
	} while (ret == 1);
	assert_int_equal(ret, 0);
	assert_true(json_object_string(r->reply, "state", text, sizeof(text)));
	assert_string_equal(text, state);
	control_disconnect(&r->client);
}

/* The guest goes on at the source. */
static void assert_stays(struct rig *r)
{
	arrival_join(&r->a);
	assert_not_here(&r->a);
	arrival_exit(&r->a);
	assert_false(fake_guest_is_paused(&r->s.guest));
}

static void assert_has_moved(struct rig *r)
{
	arrival_join(&r->a);
	assert_here(&r->a, &r->s);
	arrival_exit(&r->a);
}

static void refuse_both(struct fake_guest *g)
{
	g->devices[0].refuse_accept = "no such \"NIC\"";
	g->devices[1].refuse_accept = "no such disk";
}

/* The same destination answers both, and takes the guest in the end. */
static void a_check_says_what_stands_against_a_migration(void **state)
{
	struct rig r;

	rig_init(&r);
	arrival_start(&r.a, NULL);
	assert_int_equal(ask(&r, "alt.ferry.CheckMigration", "{\"to\":\"there\"}"), 0);
	assert_string_equal(r.reply, "{\"streamVersion\":2,\"obstacles\":[]}");
	assert_int_equal(ask(&r, "alt.ferry.MigrationStatus", "{}"), 0);
	assert_string_equal(r.reply, "{\"state\":\"none\"}");
	assert_int_equal(ask(&r, "alt.ferry.Migrate", "{}"), 0);
	assert_has_moved(&r);
	rig_exit(&r);

	rig_init(&r);
	arrival_start(&r.a, refuse_both);
	assert_int_equal(ask(&r, "alt.ferry.CheckMigration", "{}"), 0);
	assert_string_equal(r.reply, "{\"streamVersion\":0,\"obstacles\":[\"dev0: no such \\\"NIC\\\"\","
				     "\"dev1: no such disk\"]}");
	arrival_call_off(&r.a);
	assert_stays(&r);
	rig_exit(&r);
}

/* Of the process with the guest nothing is asked while its devices are at work for a migration. */
static void a_check_waits_for_no_migration(void **state)
{
	struct control_client first;
	struct rig r;
	int fds[2];

	rig_init(&r);
	begin(&r, &first, "{" SLOW "}");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	r.err = (struct error){ 0 };
	assert_int_equal(control_connect(&r.client, places.dir, "web1", &r.err), 0);
	assert_int_equal(
		control_send(&r.client, "alt.ferry.CheckMigration", "{}", CONTROL_RESULT, fds[0], &r.err), 0);
	assert_int_equal(control_receive(&r.client, &r.reply, &r.err), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_BUSY);
	control_disconnect(&r.client);
	close(fds[0]);
	/* Nobody holds the connection. */
	assert_int_equal(read(fds[1], fds, sizeof(fds)), 0);
	close(fds[1]);
	control_disconnect(&first);
	assert_stays(&r);
	rig_exit(&r);
}

static void a_client_that_hangs_up_calls_its_migration_off(void **state)
{
	struct control_client first;
	char text[64];
	struct rig r;

	rig_init(&r);
	assert_int_equal(ask(&r, "alt.ferry.MigrationStatus", "{}"), 0);
	assert_string_equal(r.reply, "{\"state\":\"none\"}");
	begin(&r, &first, "{" SLOW "}");
	control_disconnect(&first);
	follow(&r, "failed");
	assert_non_null(strstr(r.reply, "cancelled"));
	/* The last report stays, with the reason and where it was. */
	assert_true(json_object_string(r.reply, "phase", text, sizeof(text)));
	assert_string_equal(text, "memory");
	assert_int_equal(ask(&r, "alt.ferry.MigrationStatus", "{}"), 0);
	assert_non_null(strstr(r.reply, "cancelled"));
	assert_non_null(strstr(r.reply, "\"report\":{\"state\":\"failed\",\"stage\":\"memory\""));
	assert_stays(&r);
	rig_exit(&r);
}

static void a_detached_migration_outlives_its_client(void **state)
{
	struct control_client first;
	struct rig r;

	rig_init(&r);
	begin(&r, &first, "{\"detach\":true," SLOW "}");
	control_disconnect(&first);
	assert_int_equal(ask(&r, "alt.ferry.MigrationStatus", "{}"), 0);
	assert_non_null(strstr(r.reply, "{\"state\":\"running\""));
	/* What was set of it is lifted by somebody else. */
	assert_int_equal(ask(&r, "alt.ferry.SetMigration", "{\"bandwidth\":0,\"stalled\":\"cancel\"}"), 0);
	follow(&r, "moved");
	assert_non_null(strstr(r.reply, "\"rounds\":[{\"rounds\":1,"));
	assert_non_null(strstr(r.reply, "\"stalled\":\"cancel\""));
	assert_non_null(strstr(r.reply, "\"stoppedBecause\":\"what is left fits the downtime limit"));
	assert_has_moved(&r);
	rig_exit(&r);
}

static void a_detached_migration_is_answered_at_once(void **state)
{
	char text[32];
	struct rig r;

	rig_init(&r);
	arrival_start(&r.a, NULL);
	assert_int_equal(ask(&r, "alt.ferry.Migrate", "{\"detach\":true," SLOW "}"), 0);
	assert_true(json_object_string(r.reply, "state", text, sizeof(text)));
	assert_string_equal(text, "running");
	assert_int_equal(ask(&r, "alt.ferry.SetMigration", "{\"bandwidth\":0}"), 0);
	follow(&r, "moved");
	assert_has_moved(&r);
	/* Whoever cancels learns what has become of it. */
	assert_int_equal(ask(&r, "alt.ferry.CancelMigration", "{}"), 0);
	assert_string_equal(r.reply, "{\"cancelled\":false,\"state\":\"moved\",\"reason\":\"\"}");
	rig_exit(&r);
}

static void a_second_client_cancels(void **state)
{
	struct control_client first;
	struct rig r;
	int ret;

	rig_init(&r);
	begin(&r, &first, "{\"to\":\"ssh:b\"," SLOW "}");
	assert_int_equal(ask(&r, "alt.ferry.CancelMigration", "{}"), 0);
	assert_non_null(strstr(r.reply, "{\"cancelled\":true,\"state\":\"failed\",\"reason\":\"memory: "));
	assert_int_equal(ask(&r, "alt.ferry.Metrics", "{}"), 0);
	assert_non_null(strstr(r.reply, "outcome=\\\"failed\\\"} 1\\u000a"));
	assert_non_null(strstr(r.reply, "outcome=\\\"moved\\\"} 0\\u000a"));
	assert_null(strstr(r.reply, "\"next\""));
	do {
		ret = control_receive(&first, &r.reply, &r.err);
	} while (ret == 1);
	assert_int_equal(ret, -EREMOTEIO);
	assert_string_equal(first.error, CLIENT_ERROR_FAILED);
	assert_non_null(strstr(r.err.text, "cancelled"));
	/* The error brings the report. */
	assert_non_null(strstr(r.reply, "\"report\":{"));
	assert_non_null(strstr(r.reply, "\"to\":\"ssh:b\""));
	control_disconnect(&first);
	assert_stays(&r);
	assert_int_equal(ask(&r, "alt.ferry.CancelMigration", "{}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_NONE);
	rig_exit(&r);
}

/* As many as there are places for calls, and then some. */
static void followers_keep_no_short_call_out(void **state)
{
	struct control_client first, followers[CONTROL_MAX_CALLS + 8];
	unsigned int n_busy = 0;
	struct rig r;

	rig_init(&r);
	begin(&r, &first, "{\"detach\":true," SLOW "}");
	for (unsigned int i = 0; i < ARRAY_SIZE(followers); i++) {
		int ret;

		call(&r, &followers[i], "alt.ferry.MigrationStatus", "{}", CONTROL_PROGRESS);
		ret = control_receive(&followers[i], &r.reply, &r.err);
		if (ret == 1)
			continue;
		assert_int_equal(ret, -EREMOTEIO);
		assert_string_equal(followers[i].error, CLIENT_ERROR_BUSY);
		n_busy++;
	}
	assert_true(n_busy >= 8 && n_busy < ARRAY_SIZE(followers));
	assert_int_equal(ask(&r, "alt.ferry.MigrationStatus", "{}"), 0);
	assert_int_equal(ask(&r, "alt.ferry.SetMigration", "{\"stalled\":\"cancel\"}"), 0);
	assert_int_equal(ask(&r, "alt.ferry.CancelMigration", "{}"), 0);
	assert_non_null(strstr(r.reply, "{\"cancelled\":true"));
	for (unsigned int i = 0; i < ARRAY_SIZE(followers); i++)
		control_disconnect(&followers[i]);
	control_disconnect(&first);
	assert_stays(&r);
	/* Who has gone is in nobody's way. */
	follow(&r, "failed");
	rig_exit(&r);
}

static void one_migration_at_a_time_and_a_retry_works(void **state)
{
	struct control_client first;
	int fds[2];
	struct rig r;

	rig_init(&r);
	begin(&r, &first, "{\"to\":\"ssh:b\"," SLOW "}");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(control_connect(&r.client, places.dir, "web1", &r.err), 0);
	assert_int_equal(control_send(&r.client, "alt.ferry.Migrate", "{}", CONTROL_RESULT, fds[0], &r.err),
			 0);
	assert_int_equal(control_receive(&r.client, &r.reply, &r.err), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_BUSY);
	assert_string_equal(r.err.text, "a migration of this guest is under way, to ssh:b");
	control_disconnect(&r.client);
	close(fds[0]);
	close(fds[1]);
	control_disconnect(&first);
	follow(&r, "failed");
	assert_stays(&r);
	arrival_start(&r.a, NULL);
	assert_int_equal(ask(&r, "alt.ferry.Migrate", "{}"), 0);
	assert_non_null(strstr(r.reply, "{\"state\":\"moved\""));
	assert_has_moved(&r);
	rig_exit(&r);
}

static void the_processs_end_ends_a_detached_migration(void **state)
{
	struct control_client first;
	struct rig r;

	rig_init(&r);
	begin(&r, &first, "{\"detach\":true," SLOW "}");
	control_disconnect(&first);
	rig_exit(&r);
	arrival_join(&r.a);
	assert_not_here(&r.a);
	arrival_exit(&r.a);
}

static void a_time_that_is_up_is_said(void **state)
{
	struct rig r;

	rig_init(&r);
	arrival_start(&r.a, NULL);
	assert_int_equal(ask(&r, "alt.ferry.Migrate", "{\"timeoutMs\":1000," SLOW "}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_FAILED);
	assert_non_null(strstr(r.err.text, "not done within the 1 s that it was given"));
	assert_stays(&r);
	rig_exit(&r);
}

static void a_guest_without_a_nic_has_none_to_describe(void **state)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(ask(&r, "alt.ferry.DescribeNic", "{}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_NO_NIC);
	assert_string_equal(r.err.text, "the guest has no NIC");
	rig_exit(&r);
}

static void a_wrong_parameter_is_refused_by_its_name(void **state)
{
	static const struct {
		const char *method, *parameters, *name;
	} cases[] = {
		{ "alt.ferry.SetMigration", "{\"downtimeMs\":0}", "\"downtimeMs\"" },
		{ "alt.ferry.SetMigration", "{\"downtimeMs\":60001}", "\"downtimeMs\"" },
		{ "alt.ferry.SetMigration", "{\"downtimeMs\":\"300\"}", "\"downtimeMs\"" },
		{ "alt.ferry.SetMigration", "{\"bandwidth\":1}", "\"bandwidth\"" },
		{ "alt.ferry.SetMigration", "{\"bandwidth\":-1}", "\"bandwidth\"" },
		{ "alt.ferry.SetMigration", "{\"bandwidth\":1e9}", "\"bandwidth\"" },
		{ "alt.ferry.SetMigration", "{\"bandwidth\":18446744073709551615}", "\"bandwidth\"" },
		{ "alt.ferry.SetMigration", "{\"stalled\":\"wait\"}", "\"stalled\"" },
		{ "alt.ferry.SetMigration", "{\"stalled\":true}", "\"stalled\"" },
		{ "alt.ferry.SetMigration", "{\"stalled\":\"throttle, or what else there is\"}",
		  "\"stalled\"" },
		{ "alt.ferry.SetMigration", "{\"compress\":\"on\"}", "\"compress\"" },
		/* What is misspelled is not taken for what is left out. */
		{ "alt.ferry.SetMigration", "{\"downtimeMs\":5,\"bandwith\":1048576}", "\"bandwith\"" },
		{ "alt.ferry.MigrationStatus", "{\"name\":\"downtimeMs\"}", "\"name\"" },
		{ "alt.ferry.CancelMigration", "{\"\":{\"a\":[1]}}", "\"\"" },
		{ "alt.ferry.Resume", "{\"really\":true}", "\"really\"" },
		{ "alt.ferry.DescribeNic", "{\"nic\":\"../net0\"}", "\"nic\"" },
		{ "alt.ferry.DescribeNic", "{\"nic\":\"a name that is longer than any NIC has one\"}",
		  "\"nic\"" },
		{ "alt.ferry.DescribeNic", "{\"nic\":7}", "\"nic\"" },
		{ "alt.ferry.DescribeNic", "{\"queue\":65536}", "\"queue\"" },
		{ "alt.ferry.DescribeNic", "{\"queue\":\"rx0\"}", "\"queue\"" },
		{ "alt.ferry.Metrics", "{\"from\":1}", "\"from\"" },
		{ "alt.ferry.Metrics", "{\"from\":65536}", "\"from\"" },
		{ "alt.ferry.Metrics", "{\"from\":4294967296}", "\"from\"" },
		{ "alt.ferry.Metrics", "{\"from\":-1}", "\"from\"" },
		{ "alt.ferry.Metrics", "{\"next\":0}", "\"next\"" },
	};
	static const char *const migrate[][2] = {
		{ "{\"timeoutMs\":0}", "\"timeoutMs\"" },   { "{\"timeoutMs\":604800001}", "\"timeoutMs\"" },
		{ "{\"detach\":1}", "\"detach\"" },         { "{\"to\":1}", "\"to\"" },
		{ "{\"downTimeMs\":5}", "\"downTimeMs\"" }, { "{\"compress\":\"lz4\"}", "\"compress\"" },
		{ "{\"compress\":true}", "\"compress\"" },
	};
	struct rig r;

	rig_init(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(ask(&r, cases[i].method, cases[i].parameters), -EREMOTEIO);
		assert_string_equal(r.client.error, SERVICE_ERROR_PARAMETER);
		if (!strstr(r.err.text, cases[i].name))
			fail_msg("%s: %s", cases[i].parameters, r.err.text);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(migrate); i++) {
		r.err = (struct error){ 0 };
		assert_int_equal(control_connect(&r.client, places.dir, "web1", &r.err), 0);
		assert_int_equal(control_send(&r.client, "alt.ferry.Migrate", migrate[i][0], CONTROL_RESULT,
					      -1, &r.err),
				 0);
		assert_int_equal(control_receive(&r.client, &r.reply, &r.err), -EREMOTEIO);
		assert_string_equal(r.client.error, SERVICE_ERROR_PARAMETER);
		if (!strstr(r.err.text, migrate[i][1]))
			fail_msg("%s: %s", migrate[i][0], r.err.text);
		control_disconnect(&r.client);
	}
	assert_int_equal(ask(&r, "alt.ferry.SetMigration", "{\"stalled\":null}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_CALL);
	assert_int_equal(ask(&r, "alt.ferry.SetMigration", "{\"downtimeMs\":100}"), -EREMOTEIO);
	assert_string_equal(r.client.error, CLIENT_ERROR_NONE);
	assert_int_equal(ask(&r, "alt.ferry.Resume", "{}"), -EREMOTEIO);
	assert_string_equal(r.client.error, "alt.ferry.NotPaused");
	rig_exit(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_says_what_stands_against_a_migration),
		cmocka_unit_test(a_check_waits_for_no_migration),
		cmocka_unit_test(a_client_that_hangs_up_calls_its_migration_off),
		cmocka_unit_test(a_detached_migration_outlives_its_client),
		cmocka_unit_test(a_detached_migration_is_answered_at_once),
		cmocka_unit_test(a_second_client_cancels),
		cmocka_unit_test(followers_keep_no_short_call_out),
		cmocka_unit_test(one_migration_at_a_time_and_a_retry_works),
		cmocka_unit_test(the_processs_end_ends_a_detached_migration),
		cmocka_unit_test(a_time_that_is_up_is_said),
		cmocka_unit_test(a_guest_without_a_nic_has_none_to_describe),
		cmocka_unit_test(a_wrong_parameter_is_refused_by_its_name),
	};

	return run_in_dir("job", tests, ARRAY_SIZE(tests));
}
