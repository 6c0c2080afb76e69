/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory and limits, judged for a guest of the size that is asked about. */
#define _GNU_SOURCE
#include "vmm/host/host_memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "vmm/huge_pages.h"
#include "vmm/limits.h"
#include "vmm/shortage.h"

/* Descriptors of a VM without devices, on the generous side. */
#define HOST_DESCRIPTORS 64u

/* Drivers whose devices are programs: they reach memory by its owner's addresses, and pin none. */
static const char *const host_memory_unpinned[] = { "vdpasim_net", "vduse" };

static bool host_memory_pins(const struct host_nic *nic)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(host_memory_unpinned); i++) {
		if (strcmp(nic->driver, host_memory_unpinned[i]) == 0)
			return false;
	}
	return true;
}

/* How bad it is where too little can be locked. */
static enum host_state host_memory_lock_state(const struct host_report *r, const struct host_look *look)
{
	for (unsigned int i = 0; i < r->facts.n_nics; i++) {
		if (host_memory_pins(&r->facts.nics[i]))
			return look->wish->n_nets > 0 ? HOST_FAIL : HOST_WARN;
	}
	return HOST_INFO;
}

static void host_memory_check_size(struct host_report *r, const struct host_look *look)
{
	enum limits_use use = look->wish->n_nets > 0 ? LIMITS_PINNED : LIMITS_LAZY;
	uint64_t mem = look->wish->mem;
	char path[HOST_PATH_MAX];
	struct limits_memory m;
	struct error err = { 0 };
	bool fits;

	snprintf(path, sizeof(path), "%s/meminfo", look->proc);
	limits_get_memory(&m, path);
	r->facts.mem_total = m.total;
	r->facts.mem_available = m.available;
	fits = limits_check_memory(&m, mem, use, &err) == 0;
	host_report_add(r,
			!fits               ? HOST_FAIL
			: mem > m.available ? HOST_WARN
					    : HOST_OK,
			"memory", mem > m.available ? "end other programs, or ask with a smaller --mem" : "",
			"%" PRIu64 " MiB of %" PRIu64 " MiB are available; a guest of %" PRIu64 " MiB %s",
			m.available >> 20, m.total >> 20, mem >> 20,
			use == LIMITS_PINNED ? "has them all from the start, because of its vDPA NIC"
					     : "takes them as it uses them");
}

static void host_memory_check_lock(struct host_report *r, const struct host_look *look)
{
	uint64_t mem = look->wish->mem, limit = limits_raise_memlock(mem);

	if (limit >= mem)
		host_report_add(r, HOST_OK, "memlock", "",
				"a guest of %" PRIu64 " MiB can be locked in memory for a vDPA device",
				mem >> 20);
	else
		host_report_add(r, host_memory_lock_state(r, look), "memlock",
				"raise it with \"ulimit -l\", with LimitMEMLOCK= in the systemd unit, or run "
				"Ferry as root",
				"%" PRIu64
				" MiB may be locked; for a vDPA device that pins memory a guest of "
				"%" PRIu64 " MiB needs that many, and some more for each NIC's rings",
				limit >> 20, mem >> 20);
}

static void host_memory_check_huge(struct host_report *r, const struct host_look *look)
{
	char value[128];

	if (host_read(value, sizeof(value), "%s/kernel/mm/transparent_hugepage/shmem_enabled", look->sys) <
	    0) {
		host_report_add(r, HOST_WARN, "huge-pages", "use a kernel with CONFIG_TRANSPARENT_HUGEPAGE",
				"the kernel has no transparent huge pages for shared memory: setting up a "
				"guest's memory takes longer");
		return;
	}
	if (strstr(value, "[deny]"))
		host_report_add(
			r, HOST_WARN, "huge-pages",
			"write \"never\" or \"advise\" to "
			"/sys/kernel/mm/transparent_hugepage/shmem_enabled: Ferry asks for huge pages "
			"by itself",
			"the kernel gives no huge pages to shared memory: setting up a guest's memory "
			"takes longer");
	else
		host_report_add(r, HOST_OK, "huge-pages",
				huge_pages_transparent(look->sys)
					? ""
					: "for other guests, too: write \"advise\" to "
					  "/sys/kernel/mm/transparent_hugepage/shmem_enabled, or see "
					  "--hugepages",
				"memory for vDPA devices is moved into transparent huge pages (2 MiB) where "
				"the kernel has room for them");
}

/* The pools that --hugepages takes memory from. */
static void host_memory_check_pool(struct host_report *r, const struct host_look *look)
{
	static const uint64_t sizes[] = { MIB(2), GIB(1) };
	char text[128] = "";
	size_t n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct huge_pages pool;

		if (huge_pages_get(&pool, look->sys, sizes[i], -1) == 0)
			n += (size_t)snprintf(text + n, sizeof(text) - n,
					      "%s%" PRIu64 " huge pages of %" PRIu64
					      " MiB are free of %" PRIu64,
					      n ? ", " : "", pool.free, sizes[i] >> 20, pool.all);
	}
	host_report_add(r, HOST_INFO, "hugetlb", "", "for --hugepages %s",
			n ? text : "the kernel has no huge pages");
}

static void host_memory_check_descriptors(struct host_report *r, const struct host_look *look)
{
	unsigned int n = HOST_DESCRIPTORS;
	struct error err = { 0 };
	struct rlimit limit;

	for (unsigned int i = 0; i < r->facts.n_nics && i < look->wish->n_nets; i++)
		n += r->facts.nics[i].descriptors;
	shortage_raise_descriptors();
	if (shortage_check_descriptors(n, &err) < 0)
		host_report_add(r, HOST_FAIL, "descriptors", "", "%s", err.text);
	else if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		host_report_add(r, HOST_OK, "descriptors", "",
				"%llu files may be open at one time, a guest needs about %u",
				(unsigned long long)limit.rlim_cur, n);
}

void host_memory_check(struct host_report *r, const struct host_look *look)
{
	host_memory_check_size(r, look);
	host_memory_check_lock(r, look);
	host_memory_check_huge(r, look);
	host_memory_check_pool(r, look);
	host_memory_check_descriptors(r, look);
}
