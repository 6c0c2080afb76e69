/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket as Varlink has it: its own interface, its errors to the letter, calls one after the
 * other, and the interfaces' descriptions against what there is. */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/control_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migration/methods.h"
#include "vmm/app/instance.h"
#include "vmm/control/interface.h"
#include "vmm/control/json.h"

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text) + 1, MSG_NOSIGNAL), strlen(text) + 1);
}

/* Says @call alone, and compares all that comes with @answer. */
static void assert_answer(struct fixture *f, const char *call, const char *answer)
{
	char buf[2048];
	int fd = raw_connect(f);
	size_t len;

	say(fd, call);
	len = raw_finish(fd, buf, sizeof(buf));
	assert_int_equal(len, answer[0] ? strlen(answer) + 1 : 0);
	assert_string_equal(buf, answer);
	close(fd);
}

static void the_service_says_what_it_is(void **state)
{
	assert_answer(
		*state, "{\"method\":\"org.varlink.service.GetInfo\"}",
		"{\"parameters\":{\"vendor\":\"Ferry\",\"product\":\"ferry\",\"version\":\"" FERRY_VERSION
		"\",\"url\":\"\",\"interfaces\":[\"org.varlink.service\",\"alt.ferry\"]}}");
	assert_answer(
		*state, "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":null}",
		"{\"parameters\":{\"vendor\":\"Ferry\",\"product\":\"ferry\",\"version\":\"" FERRY_VERSION
		"\",\"url\":\"\",\"interfaces\":[\"org.varlink.service\",\"alt.ferry\"]}}");
}

static void the_service_describes_its_interfaces(void **state)
{
	static const char *const names[] = { "alt.ferry", "org.varlink.service" };
	struct fixture *f = *state;
	struct control_client c;
	struct error err = { 0 };
	const char *reply;
	char parameters[64], text[8192];

	assert_int_equal(control_connect(&c, f->dir, "web1", &err), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(parameters, sizeof(parameters), "{\"interface\":\"%s\"}", names[i]);
		assert_int_equal(control_send(&c, "org.varlink.service.GetInterfaceDescription", parameters,
					      CONTROL_RESULT, -1, &err),
				 0);
		assert_int_equal(control_receive(&c, &reply, &err), 0);
		assert_true(json_object_string(reply, "description", text, sizeof(text)));
		assert_string_equal(text, i == 0 ? f->offer.interface->description
						 : control_service_interface.description);
	}
	control_disconnect(&c);
}

#define ERROR(name, parameter, value)                                                                        \
	"{\"error\":\"org.varlink.service." name "\",\"parameters\":{\"" parameter "\":\"" value "\"}}"

static void errors_are_varlinks_to_the_letter(void **state)
{
	static const char *const cases[][2] = {
		{ "{\"method\":\"com.example.Echo\"}",
		  ERROR("InterfaceNotFound", "interface", "com.example") },
		{ "{\"method\":\"alt.ferry.Echo.More\"}",
		  ERROR("InterfaceNotFound", "interface", "alt.ferry.Echo") },
		{ "{\"method\":\"Echo\"}", ERROR("InterfaceNotFound", "interface", "Echo") },
		{ "{\"method\":\"\"}", ERROR("InterfaceNotFound", "interface", "") },
		{ "{\"method\":\"alt.ferry\"}", ERROR("InterfaceNotFound", "interface", "alt") },
		{ "{\"method\":\"alt.ferry.\"}", ERROR("MethodNotFound", "method", "alt.ferry.") },
		{ "{\"method\":\"alt.ferry.echo\"}", ERROR("MethodNotFound", "method", "alt.ferry.echo") },
		{ "{\"method\":\"org.varlink.service.Get\"}",
		  ERROR("MethodNotFound", "method", "org.varlink.service.Get") },
		{ "{\"method\":\"alt.ferry.Later\"}",
		  ERROR("MethodNotImplemented", "method", "alt.ferry.Later") },
		{ "{\"method\":\"alt.ferry.Echo\",\"parameters\":{\"text\":\"x\",\"txet\":1}}",
		  ERROR("InvalidParameter", "parameter", "txet") },
		{ "{\"method\":\"alt.ferry.Leave\",\"parameters\":{\"a\\\"b\":null}}",
		  ERROR("InvalidParameter", "parameter", "a\\\\\\\"b") },
		{ "{\"method\":\"alt.ferry.Echo\",\"parameters\":[]}",
		  ERROR("InvalidParameter", "parameter", "parameters") },
		{ "{\"method\":\"alt.ferry.Echo\",\"parameters\":7}",
		  ERROR("InvalidParameter", "parameter", "parameters") },
		{ "{\"method\":\"alt.ferry.Leave\",\"more\":1}",
		  ERROR("InvalidParameter", "parameter", "more") },
		{ "{\"method\":\"alt.ferry.Leave\",\"oneway\":\"yes\"}",
		  ERROR("InvalidParameter", "parameter", "oneway") },
		{ "{\"method\":\"alt.ferry.Leave\",\"upgrade\":true}",
		  ERROR("InvalidParameter", "parameter", "upgrade") },
		{ "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":{\"x\":1}}",
		  ERROR("InvalidParameter", "parameter", "x") },
		{ "{\"method\":\"org.varlink.service.GetInterfaceDescription\"}",
		  ERROR("InvalidParameter", "parameter", "interface") },
		{ "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
		  "{\"interface\":7}}",
		  ERROR("InvalidParameter", "parameter", "interface") },
		{ "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":"
		  "{\"interface\":\"a.b\"}}",
		  ERROR("InterfaceNotFound", "interface", "a.b") },
		{ "{\"method\":\"alt.ferry.Watch\"}",
		  "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}" },
		{ "{\"method\":\"alt.ferry.Watch\",\"more\":false}",
		  "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		assert_answer(*state, cases[i][0], cases[i][1]);
}

#define ECHO(n) "{\"method\":\"alt.ferry.Echo\",\"parameters\":{\"text\":\"\",\"n\":" #n "}}"

static void calls_of_one_connection_are_answered_in_their_order(void **state)
{
	static const char calls[] =
		ECHO(1) "\0" ECHO(2) "\0{\"method\":\"alt.ferry.None\"}\0"
				     "{\"method\":\"alt.ferry.Progress\",\"more\":true}\0" ECHO(5);
	static const char answers[] =
		"{\"parameters\":{\"text\":\"\",\"n\":1}}\0"
		"{\"parameters\":{\"text\":\"\",\"n\":2}}\0" ERROR(
			"MethodNotFound", "method",
			"alt.ferry.None") "\0"
					  "{\"parameters\":{\"round\":0},\"continues\":true}\0"
					  "{\"parameters\":{\"round\":1},\"continues\":true}\0"
					  "{\"parameters\":{\"round\":2},\"continues\":true}\0"
					  "{\"parameters\":{\"round\":99}}\0"
					  "{\"parameters\":{\"text\":\"\",\"n\":5}}";
	struct fixture *f = *state;
	char buf[2048];

	/* At once, and in pieces of every size. */
	for (size_t piece = 1; piece < sizeof(calls); piece += piece < 8 ? 1 : 37) {
		int fd = raw_connect(f);

		for (size_t at = 0; at < sizeof(calls); at += piece) {
			size_t n = min_u64(piece, sizeof(calls) - at);

			assert_int_equal(send(fd, calls + at, n, MSG_NOSIGNAL), n);
		}
		assert_int_equal(raw_finish(fd, buf, sizeof(buf)), sizeof(answers));
		assert_memory_equal(buf, answers, sizeof(answers));
		close(fd);
	}
}

static void a_call_that_wants_no_answer_gets_none(void **state)
{
	static const char *const calls[] = {
		"{\"method\":\"alt.ferry.Echo\",\"parameters\":{\"text\":\"x\"},\"oneway\":true}",
		"{\"method\":\"alt.ferry.Progress\",\"more\":true,\"oneway\":true}",
		"{\"method\":\"alt.ferry.None\",\"oneway\":true}",
		"{\"method\":\"alt.ferry.Leave\",\"parameters\":{\"x\":1},\"oneway\":true}",
	};
	struct fixture *f = *state;
	char buf[512];
	int fd = raw_connect(f);

	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++)
		say(fd, calls[i]);
	say(fd, ECHO(1));
	raw_finish(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{\"text\":\"\",\"n\":1}}");
	close(fd);
}

/* There is no telling what the rest is. */
static void what_is_no_call_ends_the_connection(void **state)
{
	static const char calls[] = ECHO(1) "\0{\"method\":\0" ECHO(2);
	struct fixture *f = *state;
	char buf[512];
	int fd = raw_connect(f);

	assert_int_equal(send(fd, calls, sizeof(calls), MSG_NOSIGNAL), sizeof(calls));
	raw_drain(fd, buf, sizeof(buf));
	assert_string_equal(buf, "{\"parameters\":{\"text\":\"\",\"n\":1}}");
	assert_non_null(strstr(buf + strlen(buf) + 1, "alt.ferry.InvalidCall"));
	close(fd);
}

/* Counts the lines of @text that begin with @words. */
static unsigned int count_lines(const char *text, const char *words)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, words)); at++)
		n += at == text || at[-1] == '\n';
	return n;
}

/* A method is in the description, with its parameters, and nothing else is. */
static void descriptions_are_of_what_there_is(void **state)
{
	static const struct control_interface *const all[] = { &control_service_interface, &methods_interface,
							       &instance_interface, &instance_marker };
	char words[128];

	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		snprintf(words, sizeof(words), "interface %s\n", all[i]->name);
		assert_int_equal(count_lines(all[i]->description, words), 1);
		assert_int_equal(count_lines(all[i]->description, "method "), all[i]->n_methods);
		for (unsigned int j = 0; j < all[i]->n_methods; j++) {
			const struct control_method *m = &all[i]->methods[j];
			const char *at, *end;
			unsigned int n = 0;

			snprintf(words, sizeof(words), "\nmethod %s(", m->name);
			at = strstr(all[i]->description, words);
			if (!at)
				fail_msg("%s is not described", m->name);
			at += strlen(words);
			end = strchr(at, ')');
			for (const char *const *p = m->parameters; p && *p; p++, n++) {
				snprintf(words, sizeof(words), "%s: ", *p);
				if (!memmem(at, (size_t)(end - at), words, strlen(words)))
					fail_msg("%s has no %s", m->name, *p);
			}
			for (; at < end; at++)
				n -= *at == ':';
			assert_int_equal(n, 0);
		}
	}
}

#define SERVICE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVICE_TEST(the_service_says_what_it_is),
		SERVICE_TEST(the_service_describes_its_interfaces),
		SERVICE_TEST(errors_are_varlinks_to_the_letter),
		SERVICE_TEST(calls_of_one_connection_are_answered_in_their_order),
		SERVICE_TEST(a_call_that_wants_no_answer_gets_none),
		SERVICE_TEST(what_is_no_call_ends_the_connection),
		cmocka_unit_test(descriptions_are_of_what_there_is),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
