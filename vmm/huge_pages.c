/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's pools of huge pages, as sysfs has them. */
#include "vmm/huge_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HUGE_PAGES_PATH_MAX 256u
#define HUGE_PAGES_FILTER   "/proc/self/coredump_filter"
/* Huge pages of shared mappings: see core(5). */
#define HUGE_PAGES_FILTER_BIT 0x40u

static void huge_pages_folder(char path[HUGE_PAGES_PATH_MAX], const char *sys, uint64_t page_size, int node)
{
	char place[48] = "kernel/mm";

	if (node >= 0)
		snprintf(place, sizeof(place), "devices/system/node/node%d", node);
	snprintf(path, HUGE_PAGES_PATH_MAX, "%s/%s/hugepages/hugepages-%" PRIu64 "kB", sys, place,
		 page_size >> 10);
}

/* Reads the beginning of a file of @folder. 0 or -errno. */
static int huge_pages_get_text(const char *folder, const char *name, char *text, size_t size)
{
	char path[HUGE_PAGES_PATH_MAX + 32];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? (int)n : 0;
}

/* Returns the number in a file of @folder, or -errno. */
static int64_t huge_pages_read(const char *folder, const char *name)
{
	char text[24];
	int ret = huge_pages_get_text(folder, name, text, sizeof(text));

	/* The kernel's numbers of pages are far below. */
	return ret < 0 ? ret : (int64_t)(strtoull(text, NULL, 10) & INT32_MAX);
}

int huge_pages_get(struct huge_pages *pool, const char *sys, uint64_t page_size, int node)
{
	char folder[HUGE_PAGES_PATH_MAX];
	int64_t all, unused, promised, most, made;

	huge_pages_folder(folder, sys, page_size, node);
	all = huge_pages_read(folder, "nr_hugepages");
	unused = huge_pages_read(folder, "free_hugepages");
	if (all < 0 || unused < 0)
		return (int)(all < 0 ? all : unused);
	*pool = (struct huge_pages){ .all = (uint64_t)all, .free = (uint64_t)unused };
	/* A node's folder lacks the rest: the kernel promises pages without saying of which node. */
	promised = huge_pages_read(folder, "resv_hugepages");
	if (promised > 0)
		pool->free -= min_u64(pool->free, (uint64_t)promised);
	most = huge_pages_read(folder, "nr_overcommit_hugepages");
	made = huge_pages_read(folder, "surplus_hugepages");
	if (made >= 0 && most > made)
		pool->free += (uint64_t)(most - made);
	return 0;
}

int huge_pages_check(const char *sys, uint64_t size, uint64_t page_size, int node, struct error *err)
{
	const uint64_t needed = size / page_size, mib = page_size >> 20;
	char folder[HUGE_PAGES_PATH_MAX];
	struct huge_pages pool;
	int ret;

	if (size % page_size != 0) {
		error_add(err,
			  "guest memory of %" PRIu64 " KiB is no whole number of huge pages of %" PRIu64
			  " MiB",
			  size >> 10, mib);
		return -EINVAL;
	}
	huge_pages_folder(folder, sys, page_size, node);
	ret = huge_pages_get(&pool, sys, page_size, node);
	if (ret < 0) {
		error_add(err, "there are no huge pages of %" PRIu64 " MiB here: %s: %s", mib, folder,
			  strerror(-ret));
		return ret;
	}
	if (pool.free >= needed)
		return 0;
	error_add(err,
		  "the guest needs %" PRIu64 " of the host's huge pages of %" PRIu64 " MiB, and %" PRIu64
		  " are free: %" PRIu64 " are missing. Root makes them with: echo %" PRIu64
		  " > %s/nr_hugepages",
		  needed, mib, pool.free, needed - pool.free, pool.all + needed - pool.free, folder);
	return -ENOMEM;
}

bool huge_pages_transparent(const char *sys)
{
	char path[HUGE_PAGES_PATH_MAX], text[128];

	snprintf(path, sizeof(path), "%s/kernel/mm/transparent_hugepage", sys);
	if (huge_pages_get_text(path, "shmem_enabled", text, sizeof(text)) < 0)
		return false;
	return !strstr(text, "[never]") && !strstr(text, "[deny]");
}

int huge_pages_dump(void)
{
	char text[24] = "";
	int fd = open(HUGE_PAGES_FILTER, O_RDWR | O_CLOEXEC), ret = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, text, sizeof(text) - 1, 0);
	if (n > 0) {
		snprintf(text, sizeof(text), "0x%lx", strtoul(text, NULL, 16) | HUGE_PAGES_FILTER_BIT);
		n = pwrite(fd, text, strlen(text), 0);
	}
	if (n < 0)
		ret = -errno;
	close(fd);
	return ret;
}
