/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hosts that run short: see the header. */
#define _GNU_SOURCE
#include "tests/fault/shortage.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "vmm/util.h"

/* The linker leads calls of these names here, and of "__real_" to the C library's. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

/* Whether the product can raise a limit again, which it does with those that are meant for other things. */
enum shortage_bound { SHORTAGE_SOFT, SHORTAGE_HARD };

static _Atomic int *shortage_left;

void shortage_counts(_Atomic int *left)
{
	shortage_left = left;
}

/* Counts a call. Whether there is nothing for it. */
static bool shortage_refuses(void)
{
	int left = shortage_left ? *shortage_left : 0, next;

	do {
		if (left == 0)
			return false;
		next = left > 1 ? left - 1 : left == 1 ? 1 : left + 1;
	} while (!atomic_compare_exchange_weak(shortage_left, &left, next));
	if (left == 1 || left == -1)
		errno = ENOMEM;
	return left == 1 || left == -1;
}

void *__wrap_malloc(size_t size)
{
	return shortage_refuses() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return shortage_refuses() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return shortage_refuses() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	return shortage_refuses() ? NULL : __real_strdup(s);
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return shortage_refuses() ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, offset);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return shortage_refuses() ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

/* Returns the lowest number that no descriptor of @pid has. */
static unsigned int shortage_next_descriptor(pid_t pid)
{
	char path[64];
	uint64_t used = 0;
	unsigned int next = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		unsigned long fd = strtoul(entry->d_name, NULL, 10);

		if (entry->d_name[0] != '.' && fd < 64)
			used |= (uint64_t)1 << fd;
	}
	if (dir)
		closedir(dir);
	while (next < 64 && used >> next & 1)
		next++;
	return next;
}

static void shortage_limit(pid_t pid, __rlimit_resource_t resource, rlim_t limit, enum shortage_bound bound)
{
	struct rlimit l;

	if (prlimit(pid, resource, NULL, &l) < 0)
		return;
	l.rlim_cur = min_u64(limit, l.rlim_max);
	if (bound == SHORTAGE_HARD)
		l.rlim_max = l.rlim_cur;
	prlimit(pid, resource, &l, NULL);
}

/* Room for a guest's memory, its kernel, its initrd and a report, or for less of them. */
static rlim_t shortage_of_files(uint64_t place)
{
	static const rlim_t most[] = { 1, 2000, 10000, MIB(18) };

	return place / 8 % most[place % ARRAY_SIZE(most)];
}

void shortage_begin(enum shortage what, pid_t pid, _Atomic int *left, uint64_t place)
{
	switch (what) {
	case SHORTAGE_DESCRIPTORS:
		shortage_limit(pid, RLIMIT_NOFILE, shortage_next_descriptor(pid) + place % 6, SHORTAGE_SOFT);
		break;
	case SHORTAGE_MEMORY:
		*left = place & 1 ? (int)(place / 2 % 6) + 1 : -(int)(place / 2 % 6) - 1;
		break;
	case SHORTAGE_LOCKED:
		shortage_limit(pid, RLIMIT_MEMLOCK, place % MIB(6), SHORTAGE_HARD);
		break;
	case SHORTAGE_DISK:
		shortage_limit(pid, RLIMIT_FSIZE, shortage_of_files(place), SHORTAGE_SOFT);
		break;
	default:
		shortage_limit(pid, RLIMIT_FSIZE, shortage_of_files(place), SHORTAGE_HARD);
		break;
	}
}

void shortage_end(pid_t pid, _Atomic int *left)
{
	*left = 0;
	if (pid <= 0)
		return;
	shortage_limit(pid, RLIMIT_NOFILE, RLIM_INFINITY, SHORTAGE_SOFT);
	shortage_limit(pid, RLIMIT_FSIZE, RLIM_INFINITY, SHORTAGE_SOFT);
}
