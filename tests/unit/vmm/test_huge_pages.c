/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pools of huge pages as files say them, and guest memory in real ones where this host gives some to the
 * test. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/huge_pages.h"
#include "vmm/memory.h"

#define POOL    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define N_PAGES 8u
#define MEM     (N_PAGES * MIB(2))

/* A folder in the place of /sys, and what the host's own pool had before. */
struct rig {
	char sys[64];
	uint64_t before;
	bool real; /* the host has given pages to this test */
};

static uint64_t pool_free(void)
{
	struct huge_pages pool = { 0 };

	return huge_pages_get(&pool, "/sys", MIB(2), -1) == 0 ? pool.free : 0;
}

static void pool_set(uint64_t n)
{
	char text[24];
	int fd = open(POOL, O_WRONLY);

	if (fd < 0)
		return;
	snprintf(text, sizeof(text), "%u", (unsigned int)n);
	(void)!write(fd, text, strlen(text));
	close(fd);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct huge_pages pool = { 0 };

	assert_non_null(rig);
	strcpy(rig->sys, "/tmp/ferry-huge.XXXXXX");
	assert_non_null(mkdtemp(rig->sys));
	if (huge_pages_get(&pool, "/sys", MIB(2), -1) == 0)
		rig->before = pool.all;
	if (pool.free < N_PAGES)
		pool_set(rig->before + N_PAGES);
	rig->real = pool_free() >= N_PAGES;
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	char command[128];

	pool_set(rig->before);
	snprintf(command, sizeof(command), "rm -r %s", rig->sys);
	assert_int_equal(system(command), 0);
	free(rig);
	return 0;
}

static void put(struct rig *rig, const char *folder, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "mkdir -p %s/%s", rig->sys, folder);
	assert_int_equal(system(path), 0);
	snprintf(path, sizeof(path), "%s/%s/%s", rig->sys, folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void pages_that_are_missing_are_counted_and_made_by_what_is_said(void **state)
{
	static const char folder[] = "kernel/mm/hugepages/hugepages-2048kB";
	struct rig *rig = *state;
	struct error err = { 0 };

	assert_int_equal(huge_pages_check(rig->sys, MEM, MIB(2), -1, &err), -ENOENT);
	assert_non_null(strstr(err.text, "there are no huge pages of 2 MiB here"));
	put(rig, folder, "nr_hugepages", "20\n");
	put(rig, folder, "free_hugepages", "12\n");
	put(rig, folder, "resv_hugepages", "6\n");
	err = (struct error){ 0 };
	assert_int_equal(huge_pages_check(rig->sys, MEM, MIB(2), -1, &err), -ENOMEM);
	assert_non_null(
		strstr(err.text, "8 of the host's huge pages of 2 MiB, and 6 are free: 2 are missing"));
	assert_non_null(strstr(err.text, "echo 22 > "));
	assert_non_null(strstr(err.text, "/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"));
	err = (struct error){ 0 };
	assert_int_equal(huge_pages_check(rig->sys, MEM - MIB(4), MIB(2), -1, &err), 0);
	/* More may be made when they are asked for. */
	put(rig, folder, "nr_overcommit_hugepages", "5\n");
	put(rig, folder, "surplus_hugepages", "3\n");
	assert_int_equal(huge_pages_check(rig->sys, MEM, MIB(2), -1, &err), 0);
	assert_string_equal(err.text, "");
	assert_int_equal(huge_pages_check(rig->sys, MEM + PAGE_SIZE, MIB(2), -1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "16388 KiB is no whole number of huge pages of 2 MiB"));
}

static void a_node_has_a_pool_of_its_own(void **state)
{
	static const char folder[] = "devices/system/node/node1/hugepages/hugepages-1048576kB";
	struct rig *rig = *state;
	struct error err = { 0 };
	struct huge_pages pool;

	put(rig, folder, "nr_hugepages", "3\n");
	put(rig, folder, "free_hugepages", "1\n");
	assert_int_equal(huge_pages_get(&pool, rig->sys, GIB(1), 1), 0);
	assert_int_equal(pool.all, 3);
	assert_int_equal(pool.free, 1);
	assert_int_equal(huge_pages_get(&pool, rig->sys, GIB(1), 0), -ENOENT);
	assert_int_equal(huge_pages_check(rig->sys, GIB(2), GIB(1), 1, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "node1/hugepages/hugepages-1048576kB/nr_hugepages"));
}

static void what_a_file_should_not_say_is_bounded(void **state)
{
	static const char folder[] = "kernel/mm/hugepages/hugepages-2048kB";
	struct rig *rig = *state;
	struct huge_pages pool;

	put(rig, folder, "nr_hugepages", "lots\n");
	put(rig, folder, "free_hugepages", "99999999999999999999999\n");
	put(rig, folder, "resv_hugepages", "-1\n");
	assert_int_equal(huge_pages_get(&pool, rig->sys, MIB(2), -1), 0);
	assert_int_equal(pool.all, 0);
	assert_in_range(pool.free, 0, INT32_MAX);
}

static void shared_memory_has_huge_pages_where_the_kernel_is_asked_to_give_them(void **state)
{
	static const char folder[] = "kernel/mm/transparent_hugepage";
	static const struct {
		const char *text;
		bool given;
	} t[] = {
		{ "always within_size [advise] never deny force\n", true },
		{ "[always] within_size advise never deny force\n", true },
		{ "always [within_size] advise never deny force\n", true },
		{ "always within_size advise [never] deny force\n", false },
		{ "always within_size advise never [deny] force\n", false },
	};
	struct rig *rig = *state;

	assert_false(huge_pages_transparent(rig->sys));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		put(rig, folder, "shmem_enabled", t[i].text);
		assert_int_equal(huge_pages_transparent(rig->sys), t[i].given);
	}
}

/* Counts mappings of @m that the kernel has marked to want huge pages. */
static unsigned int count_wanting(const struct memory *m)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start = 0, first, end;
	unsigned int n = 0;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &first, &end) == 2)
			start = first;
		for (unsigned int i = 0; i < m->n_regions; i++)
			n += start == (uintptr_t)m->regions[i].hva && strncmp(line, "VmFlags:", 8) == 0 &&
			     strstr(line, " hg");
	}
	fclose(f);
	return n;
}

static void guest_memory_asks_for_huge_pages_when_it_is_told_to(void **state)
{
	struct error err = { 0 };
	struct memory m;

	if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) < 0)
		skip();
	assert_int_equal(memory_init(&m, MEMORY_LOW_MAX + MIB(2), &err), 0);
	assert_int_equal(count_wanting(&m), 0);
	memory_want_huge(&m);
	assert_int_equal(count_wanting(&m), 2);
	memory_exit(&m);
}

static int fill(struct memory *m, uint64_t mem, int node, struct error *err)
{
	*err = (struct error){ 0 };
	memory_frame(m, mem);
	m->page_size = MIB(2);
	m->node = node;
	return memory_fill(m, err);
}

static void memory_that_the_pool_lacks_is_refused_before_anything_is_made(void **state)
{
	struct error err;
	struct memory m;

	assert_true(fill(&m, (pool_free() + 1) * MIB(2) + MIB(2), -1, &err) < 0);
	assert_int_equal(m.fd, -1);
	assert_null(m.regions[0].hva);
	assert_non_null(strstr(err.text, "huge pages of 2 MiB"));
	memory_exit(&m);
	assert_int_equal(fill(&m, MIB(2) + PAGE_SIZE, -1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "no whole number"));
	memory_exit(&m);
}

/* Where this host gives no pages to the test, what it says of that is what is tested. */
static bool get_real(struct rig *rig, struct memory *m, int node)
{
	struct error err;
	int ret = fill(m, MEM, node, &err);

	if (rig->real) {
		assert_string_equal(err.text, "");
		assert_int_equal(ret, 0);
		return true;
	}
	assert_true(ret < 0);
	assert_non_null(strstr(err.text, "huge pages of 2 MiB"));
	memory_exit(m);
	return false;
}

static void all_pages_are_kept_from_the_start_and_given_back(void **state)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	uint64_t before = pool_free();
	struct memory m;
	struct stat st;

	if (!get_real(*state, &m, -1))
		return;
	assert_int_equal(pool_free(), before - N_PAGES);
	assert_int_equal((uintptr_t)m.regions[0].hva % MIB(2), 0);
	assert_int_equal(fstat(m.fd, &st), 0);
	assert_int_equal(st.st_blksize, MIB(2));
	assert_int_equal(fcntl(m.fd, F_GET_SEALS) & seals, seals);
	memory_exit(&m);
	assert_int_equal(pool_free(), before);
}

static void a_hole_is_a_whole_huge_page(void **state)
{
	uint64_t start, end;
	struct memory m;

	if (!get_real(*state, &m, -1))
		return;
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 0);
	assert_int_equal(memory_write(&m, MIB(5), "x", 1), 0);
	assert_int_equal(memory_write(&m, MIB(7), "x", 1), 0);
	assert_int_equal(memory_write(&m, MEM - 1, "x", 1), 0);
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, MIB(4));
	assert_int_equal(end, MIB(8));
	assert_int_equal(memory_next_data(&m, MIB(5), UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, MIB(5));
	assert_int_equal(end, MIB(8));
	assert_int_equal(memory_next_data(&m, 0, MIB(4), &start, &end), 0);
	assert_int_equal(memory_next_data(&m, end, UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, MEM - MIB(2));
	assert_int_equal(end, MEM);
	assert_int_equal(memory_next_data(&m, MEM, UINT64_MAX, &start, &end), 0);
	/* Another process may have put something behind what looks like a hole. */
	m.mapped_elsewhere = true;
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, 0);
	assert_int_equal(end, MEM);
	assert_int_equal(memory_next_data(&m, MEM, UINT64_MAX, &start, &end), 0);
	memory_exit(&m);
}

/* A page that was given back could be another's when the guest touches it. */
static void memory_that_is_emptied_keeps_its_pages(void **state)
{
	struct error err = { 0 };
	uint64_t start, end, left;
	struct memory m;

	if (!get_real(*state, &m, -1))
		return;
	left = pool_free();
	assert_int_equal(memory_write(&m, MIB(5) + 3, "x", 1), 0);
	assert_int_equal(memory_clear(&m, MEMORY_DROP, -1, &err), 0);
	assert_int_equal(*(uint8_t *)memory_at(&m, MIB(5) + 3, 1), 0);
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, MIB(4));
	assert_int_equal(end, MIB(6));
	assert_int_equal(pool_free(), left);
	memory_exit(&m);
}

static void pages_of_a_node_are_taken_at_the_start(void **state)
{
	struct error err = { 0 };
	uint64_t start, end;
	struct memory m;

	if (memory_check_node(0, &err) < 0)
		skip();
	if (!get_real(*state, &m, 0))
		return;
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 1);
	assert_int_equal(end - start, MEM);
	memory_exit(&m);
}

static void core_files_can_have_them(void **state)
{
	char text[32] = "";
	int fd;

	assert_int_equal(huge_pages_dump(), 0);
	fd = open("/proc/self/coredump_filter", O_RDONLY);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_true(strtoul(text, NULL, 16) & 0x40);
	/* What was in them before stays. */
	assert_true(strtoul(text, NULL, 16) & 0x1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_that_are_missing_are_counted_and_made_by_what_is_said),
		TEST(a_node_has_a_pool_of_its_own),
		TEST(what_a_file_should_not_say_is_bounded),
		TEST(shared_memory_has_huge_pages_where_the_kernel_is_asked_to_give_them),
		cmocka_unit_test(guest_memory_asks_for_huge_pages_when_it_is_told_to),
		TEST(memory_that_the_pool_lacks_is_refused_before_anything_is_made),
		TEST(all_pages_are_kept_from_the_start_and_given_back),
		TEST(a_hole_is_a_whole_huge_page),
		TEST(memory_that_is_emptied_keeps_its_pages),
		TEST(pages_of_a_node_are_taken_at_the_start),
		cmocka_unit_test(core_files_can_have_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
