/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a service manager hears, and what it does not. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/notify.h"

static char dir[] = "/tmp/ferry-notify-XXXXXX";

static int manager_at(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, name, strlen(name));
	if (name[0] == '@')
		addr.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void a_manager_hears_once_that_ferry_is_ready(void **state)
{
	char names[2][80], text[32];

	snprintf(names[0], sizeof(names[0]), "%s/manager", dir);
	snprintf(names[1], sizeof(names[1]), "@%s/manager", dir);
	for (unsigned int i = 0; i < 2; i++) {
		int fd = manager_at(names[i]);
		struct error err = { 0 };

		assert_int_equal(notify_ready(&err), 0);
		assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), 7);
		assert_memory_equal(text, "READY=1", 7);
		assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1);
		close(fd);
	}
	unlink(names[0]);
}

static void nobody_is_told_where_there_is_no_manager(void **state)
{
	struct error err = { 0 };

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_ready(&err), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_ready(&err), 0);
	assert_string_equal(err.text, "");
}

static void a_name_that_is_none_is_said(void **state)
{
	char name[200], long_name[200];
	const char *const names[] = { "relative", "/", "@", "vsock:2:3", long_name, name };

	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[0] = '/';
	long_name[sizeof(long_name) - 1] = '\0';
	snprintf(name, sizeof(name), "%s/nobody", dir);
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		struct error err = { 0 };

		setenv("NOTIFY_SOCKET", names[i], 1);
		assert_int_equal(notify_ready(&err), names[i] == name ? -ENOENT : -EINVAL);
		assert_string_not_equal(err.text, "");
	}
}

/* One that reads nothing is not waited for. */
static void a_manager_that_is_stuck_holds_nobody_up(void **state)
{
	struct error err = { 0 };
	char name[80];
	int fd;

	snprintf(name, sizeof(name), "%s/manager", dir);
	fd = manager_at(name);
	while (notify_ready(&err) == 0)
		;
	assert_non_null(strstr(err.text, "cannot be told"));
	close(fd);
	unlink(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manager_hears_once_that_ferry_is_ready),
		cmocka_unit_test(nobody_is_told_where_there_is_no_manager),
		cmocka_unit_test(a_name_that_is_none_is_said),
		cmocka_unit_test(a_manager_that_is_stuck_holds_nobody_up),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return ret;
}
