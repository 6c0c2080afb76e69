/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that the host has, and how much of it may be locked. */
#define _GNU_SOURCE
#include "vmm/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

/* Returns the number behind @key, in lines of "Key:  123 kB", as bytes; 0 if there is none. */
static uint64_t limits_read_kib(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(key);
	uint64_t kib = 0;
	char line[128];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			kib = strtoull(line + len + 1, NULL, 10);
			break;
		}
	}
	fclose(file);
	return kib << 10;
}

void limits_get_memory(struct limits_memory *m, const char *path)
{
	struct sysinfo info;

	m->total = limits_read_kib(path, "MemTotal");
	m->available = limits_read_kib(path, "MemAvailable");
	if (m->total == 0 && sysinfo(&info) == 0)
		m->total = (uint64_t)info.totalram * info.mem_unit;
	if (m->available == 0)
		m->available = m->total;
}

int limits_check_memory(const struct limits_memory *m, uint64_t size, enum limits_use use, struct error *err)
{
	uint64_t most = use == LIMITS_PINNED ? m->available : m->total;

	if (size <= most)
		return 0;
	error_add(err,
		  "the guest has %" PRIu64 " MiB of memory, this host %s %" PRIu64
		  " MiB: if it is to be taken nevertheless, give --mem %" PRIu64 "%s",
		  size >> 20, use == LIMITS_PINNED ? "could give a vDPA device" : "has", most >> 20,
		  size % MIB(1) ? size >> 10 : size >> 20, size % MIB(1) ? "K" : "M");
	return -ENOMEM;
}

uint64_t limits_pinned(void)
{
	return limits_read_kib("/proc/self/status", "VmPin");
}

uint64_t limits_raise_memlock(uint64_t needed)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return 0;
	if (limit.rlim_cur < needed) {
		const struct rlimit raised = { .rlim_cur = needed,
					       .rlim_max = max_u64(needed, limit.rlim_max) };
		const struct rlimit soft = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };

		if (setrlimit(RLIMIT_MEMLOCK, &raised) < 0 && setrlimit(RLIMIT_MEMLOCK, &soft) < 0)
			return limit.rlim_cur;
		if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
			return 0;
	}
	return limit.rlim_cur;
}

int limits_check_memlock(uint64_t size, struct error *err)
{
	uint64_t limit = limits_raise_memlock(size);

	if (limit >= size)
		return 0;
	error_add(err,
		  "the limit of locked memory is %" PRIu64 " MiB: a vDPA device that pins guest memory "
		  "can be given no larger guest, unless it is raised with \"ulimit -l\", or LimitMEMLOCK= "
		  "in the systemd unit, or Ferry run as root",
		  limit >> 20);
	return -EPERM;
}

int limits_check_cpus(const uint16_t *cpus, unsigned int n, struct error *err)
{
	cpu_set_t before, one;
	int ret = sched_getaffinity(0, sizeof(before), &before) < 0 ? -errno : 0;
	unsigned int i = 0;

	if (ret < 0) {
		error_add(err, "cannot find out on which CPUs this process may run: %s", strerror(-ret));
		return ret;
	}
	for (; ret == 0 && i < n; i++) {
		CPU_ZERO(&one);
		CPU_SET(cpus[i], &one);
		ret = sched_setaffinity(0, sizeof(one), &one) < 0 ? -errno : 0;
	}
	if (sched_setaffinity(0, sizeof(before), &before) < 0 && ret == 0)
		ret = -errno;
	if (ret < 0) {
		error_add(err, "no vCPU can run on CPU %u of the host: %s", cpus[i - 1],
			  ret == -EINVAL ? "there is none, or this process may not have it" : strerror(-ret));
		return ret;
	}
	return 0;
}
