/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of a migration on a terminal and elsewhere: how many lines it takes, and how wide they are. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/control/follow.h"

#define REPORT                                                                                               \
	"{\"state\":\"running\",\"stage\":\"memory\",\"elapsedNs\":1230000000,\"round\":2,\"sentBytes\":"    \
	"104857600,"                                                                                         \
	"\"remainingBytes\":1048576,\"bytesPerSecond\":1073741824,\"throttlePercent\":40}"
#define HOSTILE                                                                                              \
	"{\"state\":\"failed\",\"stage\":\"\\u001b[2J\\r\\n\\u009b\\u202e\",\"reason\":\"a\\u001b["          \
	"2Jb\\nferry: all "                                                                                  \
	"is well\"}"

/* A terminal of @columns columns. Returns the end that a person reads; the other is *@out. */
static int open_terminal(unsigned short columns, FILE **out)
{
	const struct winsize size = { .ws_row = 25, .ws_col = columns };
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), other;

	assert_true(fd >= 0);
	assert_int_equal(grantpt(fd), 0);
	assert_int_equal(unlockpt(fd), 0);
	/* Not this process's own: it would get SIGHUP at the end. */
	other = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(other >= 0);
	*out = fdopen(other, "r+");
	assert_non_null(*out);
	assert_int_equal(ioctl(fileno(*out), TIOCSWINSZ, &size), 0);
	return fd;
}

/* Reads what has been written to a terminal. */
static void read_terminal(int fd, char *text, size_t size)
{
	ssize_t n = read(fd, text, size - 1);

	assert_true(n > 0);
	text[n] = '\0';
}

static void a_terminal_has_one_line_as_wide_as_it_is(void **state)
{
	static const unsigned short widths[] = { 1, 2, 20, 79, 80, 200 };

	for (unsigned int i = 0; i < ARRAY_SIZE(widths); i++) {
		char text[512], *end;
		struct follow f;
		FILE *out;
		int fd = open_terminal(widths[i], &out);

		follow_begin(&f, out);
		for (unsigned int n = 0; n < 3; n++) {
			follow_progress(&f, REPORT);
			read_terminal(fd, text, sizeof(text));
			assert_null(strchr(text, '\n'));
			assert_int_equal(text[0], '\r');
			end = strstr(text, "\033[K");
			assert_non_null(end);
			/* One less than there is: behind the last column terminals go to the next line. */
			assert_true(end - (text + 1) < widths[i]);
			assert_true(widths[i] < 20 || strncmp(text + 1, "   1.23 s  memory", 17) == 0);
		}
		follow_clear(&f);
		read_terminal(fd, text, sizeof(text));
		assert_string_equal(text, "\r\033[K");
		/* There is nothing left to take away. */
		follow_clear(&f);
		fprintf(out, "x");
		fflush(out);
		read_terminal(fd, text, sizeof(text));
		assert_string_equal(text, "x");
		fclose(out);
		close(fd);
	}
}

static void elsewhere_lines_are_fewer_than_one_a_second(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct follow f = { .out = out };

	for (unsigned int i = 0; i < 100; i++)
		follow_progress(&f, REPORT);
	fflush(out);
	assert_string_equal(
		text, "   1.23 s  memory    round 2     100.0 MiB sent       1.0 MiB left    1024.0 MiB/s  "
		      "throttled 40 %\n");
	/* A second later. */
	f.last_ns -= 1000000001;
	follow_progress(&f, REPORT);
	follow_clear(&f);
	fflush(out);
	assert_int_equal(len, 2 * (size_t)(strchr(text, '\n') + 1 - text));
	fclose(out);
	free(text);
}

static void what_a_stranger_says_is_plain_text(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	struct follow f = { .out = out };

	follow_progress(&f, HOSTILE);
	follow_progress(&f, "nothing");
	follow_summary(out, HOSTILE);
	fclose(out);
	assert_string_equal(text, "   0.00 s  ?[2J???????\nfailed; a?[2Jb?ferry: all is well\n");
	free(text);
}

static void a_guest_that_has_moved_has_a_downtime_with_parts(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	follow_summary(
		out,
		"{\"state\":\"moved\",\"downtimeNs\":12500000,\"lastRamNs\":2500000,\"nicStillNs\":1000000,"
		"\"stoppedBecause\":\"it fits\"}");
	fclose(out);
	assert_non_null(strstr(text, "moved; downtime 12.50 ms\n"));
	assert_non_null(strstr(text, "\n  last RAM              2.50 ms\n"));
	assert_non_null(strstr(text, "\nwhy the guest was stopped when it was: it fits\n"));
	assert_non_null(strstr(text, "stood still for 1.00 ms"));
	free(text);
}

static void an_object_in_another_is_found(void **state)
{
	char buf[16];

	assert_true(follow_object("{\"a\":{\"b\":1},\"c\":2}", "a", buf, sizeof(buf)));
	assert_string_equal(buf, "{\"b\":1}");
	assert_false(follow_object("{\"a\":{\"b\":1},\"c\":2}", "c", buf, sizeof(buf)));
	assert_false(follow_object("{\"a\":{\"b\":1},\"c\":2}", "b", buf, sizeof(buf)));
	assert_false(follow_object("{\"a\":{\"b\":\"0123456789\"}}", "a", buf, sizeof(buf)));
	assert_false(follow_object("[]", "a", buf, sizeof(buf)));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_terminal_has_one_line_as_wide_as_it_is),
		cmocka_unit_test(elsewhere_lines_are_fewer_than_one_a_second),
		cmocka_unit_test(what_a_stranger_says_is_plain_text),
		cmocka_unit_test(a_guest_that_has_moved_has_a_downtime_with_parts),
		cmocka_unit_test(an_object_in_another_is_found),
	};

	alarm(60);
	return cmocka_run_group_tests_name("follow", tests, NULL, NULL);
}
