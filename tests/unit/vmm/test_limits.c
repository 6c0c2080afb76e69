/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory that the host has, and how much of it a guest whose size a peer has named may take. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/limits.h"

/* Reads memory from a file with @text, as /proc/meminfo has it. */
static void get_memory(struct limits_memory *m, const char *text)
{
	int fd = memfd_create("meminfo", MFD_CLOEXEC);
	char path[64];

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	limits_get_memory(m, path);
	close(fd);
}

static void memory_is_read_or_asked_of_the_kernel(void **state)
{
	struct limits_memory m;
	struct sysinfo info;
	uint64_t total;

	get_memory(&m,
		   "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    4096 kB\nMemTotalX: 1 kB\n");
	assert_int_equal(m.total, MIB(16));
	assert_int_equal(m.available, MIB(4));
	get_memory(&m, "MemTotal:       16384 kB\n");
	assert_int_equal(m.available, MIB(16));
	/* The kernel may not show it there. */
	assert_int_equal(sysinfo(&info), 0);
	total = (uint64_t)info.totalram * info.mem_unit;
	get_memory(&m, "MemTotal: much\n");
	assert_int_equal(m.total, total);
	limits_get_memory(&m, "/nowhere");
	assert_int_equal(m.total, total);
	assert_int_equal(m.available, total);
	/* This host's own memory is read, too. */
	limits_get_memory(&m, LIMITS_MEMINFO);
	assert_in_range(m.total, MIB(64), GIB(1 << 20));
	assert_in_range(m.available, 1, m.total);
}

static void a_guest_is_bound_by_what_the_host_has(void **state)
{
	static const struct limits_memory host = { .total = GIB(8), .available = GIB(2) };
	static const struct {
		uint64_t size;
		enum limits_use use;
		const char *why; /* NULL: it fits */
	} cases[] = {
		{ GIB(2), LIMITS_PINNED, NULL },
		{ GIB(2) + 1, LIMITS_PINNED, "could give a vDPA device 2048 MiB" },
		{ GIB(8), LIMITS_LAZY, NULL },
		{ GIB(8) + 1, LIMITS_LAZY, "this host has 8192 MiB" },
		{ GIB(4096), LIMITS_LAZY, "the guest has 4194304 MiB of memory" },
		{ GIB(4096), LIMITS_PINNED, "give --mem 4194304M" },
		{ GIB(8) + PAGE_SIZE, LIMITS_LAZY, "give --mem 8388612K" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		int ret = limits_check_memory(&host, cases[i].size, cases[i].use, &err);

		assert_int_equal(ret == 0, !cases[i].why);
		if (cases[i].why && !strstr(err.text, cases[i].why))
			fail_msg("%u: %s", i, err.text);
	}
}

/* Checks a guest of @size as a user who may not raise the limit of @most bytes. 0: it fits; 1: it is refused
 * with the advice. */
static int check_memlock(uint64_t most, uint64_t size)
{
	struct rlimit limit = { most, most };
	struct error err = { 0 };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || (geteuid() == 0 && setuid(65534) < 0))
			_exit(2);
		if (limits_check_memlock(size, &err) == 0)
			_exit(err.text[0] ? 3 : 0);
		_exit(strstr(err.text, "the limit of locked memory is 1 MiB") && strstr(err.text, "ulimit -l")
			      ? 1
			      : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void a_guest_beyond_the_memlock_limit_is_told(void **state)
{
	struct rlimit limit;

	/* Every user has such a limit. */
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_max < MIB(1) && geteuid() != 0)
		skip();
	assert_int_equal(check_memlock(MIB(1), MIB(1)), 0);
	assert_int_equal(check_memlock(MIB(1), MIB(1) + 1), 1);
	assert_int_equal(check_memlock(MIB(1), GIB(4096)), 1);
}

/* Whatever CPUs this test may have: the first of them, and one that no host has. */
static void a_cpu_that_cannot_be_had_is_named(void **state)
{
	struct error err = { 0 };
	cpu_set_t before, after;
	uint16_t cpus[2] = { 0, 1023 };

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(cpus[0], &before))
		cpus[0]++;
	assert_int_equal(limits_check_cpus(cpus, 1, &err), 0);
	assert_int_equal(limits_check_cpus(cpus, 2, &err), -EINVAL);
	assert_non_null(
		strstr(err.text, "on CPU 1023 of the host: there is none, or this process may not have it"));
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cpu_that_cannot_be_had_is_named),
		cmocka_unit_test(memory_is_read_or_asked_of_the_kernel),
		cmocka_unit_test(a_guest_is_bound_by_what_the_host_has),
		cmocka_unit_test(a_guest_beyond_the_memlock_limit_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
