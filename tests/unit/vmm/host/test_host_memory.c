/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory and limits, for guests of several sizes. */
#include "tests/unit/vmm/host/host_fixture.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "vmm/host/host_memory.h"

#define MEMINFO "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\n"

static void look(struct host_rig *rig, uint64_t mem, unsigned int n_nets)
{
	memset(&rig->report.checks, 0, sizeof(rig->report.checks));
	rig->report.n_checks = rig->report.n_fails = 0;
	rig->wish.mem = mem;
	rig->wish.n_nets = n_nets;
	host_write(rig, "proc/meminfo", MEMINFO);
	host_memory_check(&rig->report, &rig->look);
}

static void a_guest_that_fits_is_ok(void **state)
{
	struct host_rig *rig = *state;

	look(rig, GIB(1), 0);
	assert_check(&rig->report, "memory", HOST_OK, "4096 MiB of 8192 MiB");
	assert_true(rig->report.facts.mem_total == GIB(8) && rig->report.facts.mem_available == GIB(4));
}

static void a_guest_between_what_is_available_and_all_fails_with_a_vdpa_nic_alone(void **state)
{
	struct host_rig *rig = *state;

	look(rig, GIB(6), 0);
	assert_check(&rig->report, "memory", HOST_WARN, "takes them as it uses them");
	look(rig, GIB(6), 1);
	assert_check(&rig->report, "memory", HOST_FAIL, "has them all from the start");
	look(rig, GIB(9), 0);
	assert_check(&rig->report, "memory", HOST_FAIL, "9216 MiB");
}

/* The limit stays for the rest of this program. */
static void a_limit_of_locked_memory_fails_where_a_device_pins_it(void **state)
{
	struct host_rig *rig = *state;
	const struct rlimit low = { MIB(8), MIB(8) };
	struct host_nic *nic = &rig->report.facts.nics[0];

	look(rig, MIB(1), 0);
	assert_check(&rig->report, "memlock", HOST_OK, "1 MiB");
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
	look(rig, GIB(4096), 0);
	/* Root may raise it as far as it likes. */
	if (host_report_find(&rig->report, "memlock")->state == HOST_OK)
		skip();
	assert_check(&rig->report, "memlock", HOST_INFO, "8 MiB may be locked");
	assert_check(&rig->report, "memlock", HOST_INFO, "LimitMEMLOCK=");
	rig->report.facts.n_nics = 1;
	strcpy(nic->driver, "vp-vdpa");
	look(rig, GIB(4096), 0);
	assert_check(&rig->report, "memlock", HOST_WARN, "8 MiB may be locked");
	look(rig, GIB(4096), 1);
	assert_check(&rig->report, "memlock", HOST_FAIL, "8 MiB may be locked");
	strcpy(nic->driver, "vdpasim_net");
	look(rig, GIB(4096), 1);
	assert_check(&rig->report, "memlock", HOST_INFO, "8 MiB may be locked");
}

static void huge_pages_that_are_denied_are_warned_of(void **state)
{
	static const char file[] = "sys/kernel/mm/transparent_hugepage/shmem_enabled";
	struct host_rig *rig = *state;

	look(rig, GIB(1), 0);
	assert_check(&rig->report, "huge-pages", HOST_WARN, "CONFIG_TRANSPARENT_HUGEPAGE");
	host_write(rig, file, "always within_size advise never [deny] force\n");
	look(rig, GIB(1), 0);
	assert_check(&rig->report, "huge-pages", HOST_WARN, "shmem_enabled");
	host_write(rig, file, "always within_size advise [never] deny force\n");
	look(rig, GIB(1), 0);
	assert_check(&rig->report, "huge-pages", HOST_OK, "2 MiB");
	assert_non_null(
		strstr(host_report_find(&rig->report, "huge-pages")->advice, "for other guests, too"));
	host_write(rig, file, "always within_size [advise] never deny force\n");
	look(rig, GIB(1), 0);
	assert_string_equal(host_report_find(&rig->report, "huge-pages")->advice, "");
}

static void pools_of_huge_pages_are_said(void **state)
{
	struct host_rig *rig = *state;

	look(rig, GIB(1), 0);
	assert_check(&rig->report, "hugetlb", HOST_INFO, "the kernel has no huge pages");
	host_write(rig, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "100\n");
	host_write(rig, "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "90\n");
	host_write(rig, "sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "20\n");
	host_write(rig, "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
	host_write(rig, "sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0\n");
	look(rig, GIB(1), 0);
	assert_check(&rig->report, "hugetlb", HOST_INFO, "70 huge pages of 2 MiB are free of 100, 0 huge");
}

static void descriptors_count_those_of_the_nics(void **state)
{
	struct host_rig *rig = *state;

	look(rig, GIB(1), 1);
	assert_check(&rig->report, "descriptors", HOST_OK, "needs about 64");
	rig->report.facts.n_nics = 1;
	rig->report.facts.nics[0].descriptors = 100;
	look(rig, GIB(1), 1);
	assert_check(&rig->report, "descriptors", HOST_OK, "needs about 164");
	rig->report.facts.nics[0].descriptors = 2000000000;
	look(rig, GIB(1), 1);
	assert_check(&rig->report, "descriptors", HOST_FAIL, "ulimit -n");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_guest_that_fits_is_ok),
		TEST(a_guest_between_what_is_available_and_all_fails_with_a_vdpa_nic_alone),
		TEST(a_limit_of_locked_memory_fails_where_a_device_pins_it),
		TEST(huge_pages_that_are_denied_are_warned_of),
		TEST(pools_of_huge_pages_are_said),
		TEST(descriptors_count_those_of_the_nics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
