/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket with systemd's client of Varlink, where this machine has one (Debian 13 and later). */
#define _GNU_SOURCE
#include "tests/unit/vmm/control/control_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migration/methods.h"
#include "vmm/app/instance.h"

static bool have_varlinkctl(void)
{
	return system("command -v varlinkctl > /dev/null") == 0;
}

/* Runs varlinkctl with @args, in which %s is the socket, as a shell does. Returns its exit status, with what
 * it says, or skips the test where there is none. */
static int varlinkctl(struct fixture *f, const char *args, char *said, size_t size)
{
	char words[512], command[768];
	FILE *out;
	size_t n;
	int status;

	if (!have_varlinkctl())
		skip();
	snprintf(words, sizeof(words), args, f->path);
	snprintf(command, sizeof(command), "timeout 30 varlinkctl %s 2>&1", words);
	out = popen(command, "re");
	assert_non_null(out);
	n = fread(said, 1, size - 1, out);
	said[n] = '\0';
	status = pclose(out);
	assert_true(status >= 0);
	return status;
}

static void varlinkctl_lists_and_introspects(void **state)
{
	static const char *const shows[][2] = {
		{ "info %s", "Product: ferry" },
		{ "list-interfaces %s", "org.varlink.service" },
		{ "list-methods %s", "alt.ferry.Later" },
		{ "introspect %s alt.ferry", "method Later" },
		{ "introspect %s org.varlink.service", "method GetInterfaceDescription" },
	};
	char said[16384];

	for (unsigned int i = 0; i < ARRAY_SIZE(shows); i++) {
		if (varlinkctl(*state, shows[i][0], said, sizeof(said)) != 0 || !strstr(said, shows[i][1]))
			fail_msg("%s: %s", shows[i][0], said);
	}
}

static void varlinkctl_calls(void **state)
{
	static const struct {
		const char *args, *said;
		bool works;
	} calls[] = {
		{ "call -j %s alt.ferry.Echo '{\"text\":\"x\",\"n\":7}'", "{\"text\":\"x\",\"n\":7}", true },
		{ "call --oneway %s alt.ferry.Echo '{\"text\":\"x\"}'", "", true },
		{ "call -j --more %s alt.ferry.Progress {}", "{\"round\":99}", true },
		{ "call -j %s alt.ferry.Echo '{\"txt\":\"x\"}'", "InvalidParameter", false },
		{ "call -j %s alt.ferry.Watch {}", "ExpectedMore", false },
		{ "call -j %s alt.ferry.None {}", "MethodNotFound", false },
		{ "call -j %s alt.other.None {}", "InterfaceNotFound", false },
	};
	char said[16384];

	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		if ((varlinkctl(*state, calls[i].args, said, sizeof(said)) == 0) != calls[i].works ||
		    !strstr(said, calls[i].said))
			fail_msg("%s: %s", calls[i].args, said);
	}
}

/* With the parser that systemd's own interfaces go through. */
static void every_description_is_valid(void **state)
{
	static const struct control_interface *const all[] = { &control_service_interface, &methods_interface,
							       &instance_interface, &instance_marker };
	struct fixture *f = *state;
	char path[160], args[200], said[16384];

	if (!have_varlinkctl())
		skip();
	snprintf(path, sizeof(path), "%s/idl", f->dir);
	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		FILE *file = fopen(path, "we");
		int status;

		assert_non_null(file);
		fputs(all[i]->description, file);
		fclose(file);
		snprintf(args, sizeof(args), "validate-idl %s", path);
		status = varlinkctl(f, args, said, sizeof(said));
		unlink(path);
		if (status != 0)
			fail_msg("%s: %s", all[i]->name, said);
	}
}

#define VARLINKCTL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VARLINKCTL_TEST(varlinkctl_lists_and_introspects),
		VARLINKCTL_TEST(varlinkctl_calls),
		VARLINKCTL_TEST(every_description_is_valid),
	};

	alarm(240);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
