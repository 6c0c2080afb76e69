/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that fail with a signal beside the error: the error alone counts, and the process lives. */
#define _GNU_SOURCE
#include "tests/unit/devices/blk/blk_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>

#include "vmm/guard.h"

#define FILE_LIMIT MIB(1)

static void limit_files(uint64_t soft, uint64_t hard)
{
	const struct rlimit limit = { soft, hard };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Tells what a child that calls @fn, with or without its guard, ends with: an exit code, or a signal as
 * shells say it. */
static int in_child(int (*fn)(void), bool guarded)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* Shells and programs of other languages leave these to what they start. */
		signal(SIGPIPE, SIG_DFL);
		signal(SIGXFSZ, SIG_DFL);
		signal(SIGTTOU, SIG_DFL);
		if (guarded)
			guard_failed_calls();
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		return 128 + WSTOPSIG(status);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int write_beyond_the_limit(void)
{
	char path[] = "/var/tmp/ferry-limit-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	limit_files(FILE_LIMIT, FILE_LIMIT);
	return pwrite(fd, "x", 1, 2 * FILE_LIMIT) < 0 && errno == EFBIG ? 0 : 1;
}

static int write_to_nobody(void)
{
	int fds[2];

	if (pipe(fds) < 0)
		return 1;
	close(fds[0]);
	return write(fds[1], "x", 1) < 0 && errno == EPIPE ? 0 : 1;
}

/* As "ferry run &" of a shell whose terminal has "stty tostop", of which this child plays the shell: the
 * job's status. */
static int write_from_the_background(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, status;
	struct termios termios;
	pid_t pid;

	setsid();
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		return 1;
	slave = open(ptsname(master), O_RDWR);
	if (slave < 0 || tcgetattr(slave, &termios) < 0)
		return 1;
	termios.c_lflag |= TOSTOP;
	if (tcsetattr(slave, TCSANOW, &termios) < 0)
		return 1;
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		_exit(write(slave, "x", 1) == 1 ? 0 : 1);
	}
	if (waitpid(pid, &status, WUNTRACED) != pid)
		return 1;
	if (WIFSTOPPED(status))
		kill(pid, SIGKILL);
	return WIFSTOPPED(status) ? 128 + WSTOPSIG(status) : WEXITSTATUS(status);
}

static void a_call_fails_by_its_error_alone(void **state)
{
	static const struct {
		int (*fn)(void);
		int signo;
	} cases[] = {
		{ write_beyond_the_limit, SIGXFSZ },
		{ write_to_nobody, SIGPIPE },
		{ write_from_the_background, SIGTTOU },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(in_child(cases[i].fn, true), 0);
		assert_int_equal(in_child(cases[i].fn, false), 128 + cases[i].signo);
	}
}

static int memory_beyond_the_limit(void)
{
	struct rlimit limit;
	struct error err = { 0 };
	struct memory m;

	limit_files(FILE_LIMIT, MIB(64));
	if (memory_init(&m, MIB(16), &err) < 0 || getrlimit(RLIMIT_FSIZE, &limit) < 0)
		return 1;
	/* The limits that others have set are as they were. */
	return limit.rlim_cur == FILE_LIMIT && limit.rlim_max == MIB(64) ? 0 : 2;
}

static int memory_beyond_the_hard_limit(void)
{
	struct error err = { 0 };
	struct memory m;

	limit_files(FILE_LIMIT, FILE_LIMIT);
	/* Nobody's user may not raise it. */
	if (getuid() == 0 && setuid(65534) < 0)
		return 1;
	return memory_init(&m, MIB(16), &err) == -EFBIG && strstr(err.text, "raise \"ulimit -f\"") ? 0 : 2;
}

static void a_limit_on_files_is_none_on_memory(void **state)
{
	assert_int_equal(in_child(memory_beyond_the_limit, true), 0);
	assert_int_equal(in_child(memory_beyond_the_hard_limit, true), 0);
}

static uint8_t try_at(struct disk_guest *g, uint32_t type, uint64_t offset, uint32_t len)
{
	return (uint8_t)request(g, type, offset / 512, DATA, len);
}

/* Sectors below the limit are read and written as before. */
static int disk_beyond_the_limit(void)
{
	char path[DISK_PATH];
	struct disk_guest g;

	make_disk(path, "blk-limit", DISK_LEN);
	disk_guest_init(&g, path, WRITTEN);
	disk_start(&g, ALL);
	limit_files(FILE_LIMIT, FILE_LIMIT);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(try_at(&g, VIRTIO_BLK_T_OUT, 2 * FILE_LIMIT, 4096), VIRTIO_BLK_S_IOERR);
		assert_int_equal(try_at(&g, VIRTIO_BLK_T_OUT, FILE_LIMIT - 4096, 8192), VIRTIO_BLK_S_IOERR);
		assert_int_equal(try_at(&g, VIRTIO_BLK_T_OUT, FILE_LIMIT - 4096, 4096), VIRTIO_BLK_S_OK);
		assert_int_equal(try_at(&g, VIRTIO_BLK_T_IN, 2 * FILE_LIMIT, 4096), VIRTIO_BLK_S_OK);
		assert_int_equal(try_at(&g, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	}
	assert_int_equal(disk_status(&g), DRIVER_OK);
	disk_guest_exit(&g);
	unlink(path);
	return 0;
}

static void a_disk_beyond_the_limit_is_an_io_error(void **state)
{
	assert_int_equal(in_child(disk_beyond_the_limit, true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_fails_by_its_error_alone),
		cmocka_unit_test(a_limit_on_files_is_none_on_memory),
		cmocka_unit_test(a_disk_beyond_the_limit_is_an_io_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
