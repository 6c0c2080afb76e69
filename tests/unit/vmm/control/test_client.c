/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's client with servers that answer anything. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control/client.h"
#include "vmm/control/json.h"

/* A server that answers @answer and hangs up. */
static int receive_from(const char *answer, size_t len, struct control_client *c, const char **parameters,
			struct error *err)
{
	int fds[2], ret;

	*err = (struct error){ 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*c = (struct control_client){ .fd = fds[0], .signal_fd = -1 };
	assert_int_equal(send(fds[1], answer, len, MSG_NOSIGNAL), len);
	close(fds[1]);
	ret = control_receive(c, parameters, err);
	control_disconnect(c);
	return ret;
}

static void any_answer_is_a_reply_or_an_error(void **state)
{
	static char long_answer[CONTROL_MESSAGE_MAX + 10], long_error[600];
	static const struct {
		const char *answer;
		int ret;
		const char *error;
	} cases[] = {
		{ "{}", 0, "" },
		{ "{\"parameters\":{\"n\":7}}", 0, "" },
		{ "{\"parameters\":{\"n\":7},\"continues\":true}", 1, "" },
		{ "{\"parameters\":{\"n\":7},\"continues\":\"true\"}", 0, "" },
		{ "{\"error\":\"a.b\",\"parameters\":{\"reason\":\"c\"}}", -EREMOTEIO, "c" },
		{ "{\"error\":\"a.b\"}", -EREMOTEIO, "a.b" },
		{ "{\"error\":\"a.b\",\"parameters\":[\"reason\"]}", -EREMOTEIO, "a.b" },
		{ "", -EPROTO, "not what Ferry speaks" },
		{ "[]", -EPROTO, "not what Ferry speaks" },
		{ "{\"error\":\"\377\"}", -EPROTO, "not what Ferry speaks" },
	};
	struct control_client c;
	const char *parameters;
	struct error err;
	uint64_t n;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		int ret = receive_from(cases[i].answer, strlen(cases[i].answer) + 1, &c, &parameters, &err);

		assert_int_equal(ret, cases[i].ret);
		assert_non_null(strstr(err.text, cases[i].error));
		if (strstr(cases[i].answer, ":7"))
			assert_true(json_object_number(parameters, "n", &n));
	}
	assert_int_equal(receive_from("{\"parameters\"", 13, &c, &parameters, &err), -EPIPE);
	assert_string_equal(err.text, "the VM ended before it answered");
	memset(long_answer, ' ', sizeof(long_answer));
	assert_int_equal(receive_from(long_answer, sizeof(long_answer), &c, &parameters, &err), -EMSGSIZE);
	memset(long_error, 'e', sizeof(long_error));
	memcpy(long_error, "{\"error\":\"", 10);
	memcpy(long_error + sizeof(long_error) - 3, "\"}", 3);
	assert_int_equal(receive_from(long_error, sizeof(long_error), &c, &parameters, &err), -EREMOTEIO);
	/* Two in one piece. */
	assert_int_equal(receive_from("{\"continues\":true}\0{\"parameters\":{}}", 37, &c, &parameters, &err),
			 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_answer_is_a_reply_or_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
