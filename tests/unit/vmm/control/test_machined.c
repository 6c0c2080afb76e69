/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registration with a systemd-machined of the test's own. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/control/json.h"
#include "vmm/control/machined.h"

#define UNKNOWN                                                                                              \
	"{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":"                 \
	"\"controlAddress\"}}"
#define EXISTS "{\"error\":\"io.systemd.Machine.MachineExists\",\"parameters\":{}}"

/* It answers each call with the next of its answers, and hangs up when there is none. */
struct machined {
	char folder[32], path[64];
	int listener;
	pthread_t thread;
	const char *const *answers;
	unsigned int n_calls;
	char calls[2][4096];
};

static void *machined_thread(void *arg)
{
	struct machined *m = arg;
	int fd = accept(m->listener, NULL, NULL);

	for (; *m->answers; m->answers++) {
		char *call = m->calls[m->n_calls++];

		for (size_t len = 0; len == 0 || call[len - 1]; len++)
			assert(read(fd, call + len, 1) == 1);
		assert(send(fd, *m->answers, strlen(*m->answers) + 1, MSG_NOSIGNAL) > 0);
	}
	close(fd);
	return NULL;
}

static int setup(void **state)
{
	struct machined *m = calloc(1, sizeof(*m));
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	*state = m;
	strcpy(m->folder, "/tmp/ferry-machined-XXXXXX");
	assert_non_null(mkdtemp(m->folder));
	snprintf(m->path, sizeof(m->path), "%s/socket", m->folder);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", m->path);
	m->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(m->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return listen(m->listener, 1);
}

static int teardown(void **state)
{
	struct machined *m = *state;

	close(m->listener);
	unlink(m->path);
	rmdir(m->folder);
	free(m);
	return 0;
}

static int registered(struct machined *m, const char *const *answers, struct error *err)
{
	int ret;

	m->answers = answers;
	assert_int_equal(pthread_create(&m->thread, NULL, machined_thread, m), 0);
	ret = machined_register(m->path, "web1", "/run/ferry/web1/control", err);
	pthread_join(m->thread, NULL);
	return ret;
}

/* Finds the parameters of the call at @index. */
static void parse(struct machined *m, unsigned int index, struct json *json, const jsmntok_t **parameters)
{
	char method[64];

	assert_true(json_parse(json, m->calls[index], strlen(m->calls[index])));
	assert_true(json_string(json, json->tokens, "method", method, sizeof(method)));
	assert_string_equal(method, "io.systemd.Machine.Register");
	*parameters = json_find(json, json->tokens, "parameters", JSMN_OBJECT);
	assert_non_null(*parameters);
}

static void a_machine_is_registered_with_its_control_socket(void **state)
{
	static const char *const answers[] = { "{\"parameters\":{}}", NULL };
	struct machined *m = *state;
	const jsmntok_t *parameters;
	struct error err = { 0 };
	uint64_t leader;
	struct json json;
	char text[64];
	bool allocate;

	assert_int_equal(registered(m, answers, &err), 0);
	assert_int_equal(m->n_calls, 1);
	parse(m, 0, &json, &parameters);
	assert_true(json_string(&json, parameters, "name", text, sizeof(text)));
	assert_string_equal(text, "web1");
	assert_true(json_string(&json, parameters, "controlAddress", text, sizeof(text)));
	assert_string_equal(text, "/run/ferry/web1/control");
	assert_true(json_string(&json, parameters, "class", text, sizeof(text)));
	assert_string_equal(text, "vm");
	assert_true(json_string(&json, parameters, "id", text, sizeof(text)));
	assert_int_equal(strspn(text, "0123456789abcdef"), 32);
	assert_int_equal(strlen(text), 32);
	assert_true(json_number(&json, parameters, "leader", &leader));
	assert_int_equal(leader, getpid());
	assert_true(json_bool(&json, parameters, "allocateUnit", &allocate));
	assert_false(allocate);
}

static void an_older_machined_is_not_told_of_the_control_socket(void **state)
{
	static const char *const answers[] = { UNKNOWN, "{\"parameters\":{}}", NULL };
	struct machined *m = *state;
	const jsmntok_t *parameters;
	struct error err = { 0 };
	struct json json;

	assert_int_equal(registered(m, answers, &err), 0);
	assert_int_equal(m->n_calls, 2);
	parse(m, 1, &json, &parameters);
	assert_true(json_has(&json, parameters, "name"));
	assert_false(json_has(&json, parameters, "controlAddress"));
	assert_string_equal(err.text, "");
}

static void a_refusal_is_told_by_its_name(void **state)
{
	static const char *const answers[] = { EXISTS, NULL };
	struct error err = { 0 };

	assert_int_equal(registered(*state, answers, &err), -EREMOTEIO);
	assert_string_equal(err.text,
			    "systemd-machined does not take the VM: io.systemd.Machine.MachineExists");
}

static void one_that_hangs_up_or_talks_nonsense_is_an_error(void **state)
{
	static const char *const nothing[] = { NULL }, *const nonsense[] = { "moo", NULL };
	struct error err = { 0 };

	assert_true(registered(*state, nothing, &err) < 0);
	assert_non_null(strstr(err.text, "systemd-machined does not take the VM: "));
	err = (struct error){ 0 };
	assert_int_equal(registered(*state, nonsense, &err), -EPROTO);
}

static void without_machined_there_is_no_socket(void **state)
{
	struct machined *m = *state;
	struct error err = { 0 };

	unlink(m->path);
	assert_int_equal(machined_register(m->path, "web1", "/run/ferry/web1/control", &err), -ENOENT);
	assert_non_null(strstr(err.text, "cannot reach systemd-machined"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_machine_is_registered_with_its_control_socket, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_older_machined_is_not_told_of_the_control_socket, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_refusal_is_told_by_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_hangs_up_or_talks_nonsense_is_an_error, setup,
						teardown),
		cmocka_unit_test_setup_teardown(without_machined_there_is_no_socket, setup, teardown),
	};

	return cmocka_run_group_tests_name("machined", tests, NULL, NULL);
}
