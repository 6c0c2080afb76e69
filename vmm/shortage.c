/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of the process or of the host that are reached: file descriptors, threads and addresses. */
#define _GNU_SOURCE
#include "vmm/shortage.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

const char *shortage_advice(int ret)
{
	struct rlimit limit;

	switch (ret) {
	case -EMFILE:
		return " (raise \"ulimit -n\", or LimitNOFILE= in the systemd unit)";
	case -ENFILE:
		return " (the host has no more: raise the sysctl fs.file-max)";
	case -EFBIG:
		return " (raise \"ulimit -f\", or LimitFSIZE= in the systemd unit)";
	case -EAGAIN:
		return " (raise \"ulimit -u\", or the control group's pids.max, TasksMax= in the systemd "
		       "unit)";
	case -ENOMEM:
		/* If it is not this process's limit, the host has no more. */
		if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
			return "";
		return " (raise \"ulimit -v\", or LimitAS= in the systemd unit)";
	default:
		return "";
	}
}

void shortage_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_debug("cannot raise the limit of file descriptors: %s", strerror(errno));
}

/* A new descriptor gets the lowest number that is free. */
static uint64_t shortage_open_descriptors(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	close(fd);
	return (uint64_t)fd;
}

int shortage_check_descriptors(unsigned int n, struct error *err)
{
	unsigned long long needed = shortage_open_descriptors() + n;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= needed)
		return 0;
	error_add(err,
		  "this many devices and queues need %llu file descriptors, the limit is %llu: raise it "
		  "with \"ulimit -n %llu\", or LimitNOFILE=%llu in the systemd unit, or give fewer queues",
		  needed, (unsigned long long)limit.rlim_cur, needed, needed);
	return -EMFILE;
}
