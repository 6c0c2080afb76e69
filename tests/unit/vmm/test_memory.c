/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: its regions, the bounds of every access, and the log of writes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/memory.h"

static void init(struct memory *m, uint64_t size)
{
	struct error err = { 0 };

	assert_int_equal(memory_init(m, size, &err), 0);
	assert_string_equal(err.text, "");
}

static void memory_has_a_hole_below_4_gib(void **state)
{
	struct memory m;

	init(&m, MIB(16));
	assert_int_equal(m.n_regions, 1);
	assert_int_equal(m.regions[0].gpa, 0);
	assert_int_equal(m.regions[0].len, MIB(16));
	assert_int_equal(memory_end(&m), GIB(4));
	memory_exit(&m);

	init(&m, MEMORY_LOW_MAX);
	assert_int_equal(m.n_regions, 1);
	memory_exit(&m);

	init(&m, MEMORY_LOW_MAX + PAGE_SIZE);
	assert_int_equal(m.n_regions, 2);
	assert_int_equal(m.regions[1].gpa, GIB(4));
	assert_int_equal(m.regions[1].len, PAGE_SIZE);
	assert_int_equal(m.regions[1].offset, MEMORY_LOW_MAX);
	assert_int_equal(memory_end(&m), GIB(4) + PAGE_SIZE);
	assert_int_equal(memory_pages(&m), MEMORY_LOW_MAX / PAGE_SIZE + 1);
	memory_exit(&m);
	assert_int_equal(m.fd, -1);
}

/* A page table has one entry for what is at the same place in its huge page everywhere. */
static void a_page_is_at_the_same_place_in_its_huge_page_everywhere(void **state)
{
	static const uint64_t sizes[] = { PAGE_SIZE, MIB(16) + PAGE_SIZE, MEMORY_LOW_MAX + MIB(3) };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct memory m;

		init(&m, sizes[i]);
		for (unsigned int j = 0; j < m.n_regions; j++) {
			assert_int_equal((uintptr_t)m.regions[j].hva % HUGE_PAGE_SIZE, 0);
			assert_int_equal(m.regions[j].gpa % HUGE_PAGE_SIZE, 0);
			assert_int_equal(m.regions[j].offset % HUGE_PAGE_SIZE, 0);
			assert_int_equal(m.regions[j].hva[m.regions[j].len - 1], 0);
		}
		memory_exit(&m);
	}
}

static void only_what_was_written_is_data(void **state)
{
	uint64_t start, end;
	struct memory m;

	init(&m, MIB(16));
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 0);
	assert_int_equal(memory_write(&m, MIB(4) + 1, "ab", 2), 0);
	assert_int_equal(memory_write(&m, MIB(16) - 1, "c", 1), 0);
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, MIB(4));
	assert_int_equal(end, MIB(4) + PAGE_SIZE);
	assert_int_equal(memory_next_data(&m, end, UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, MIB(16) - PAGE_SIZE);
	assert_int_equal(end, MIB(16));
	assert_int_equal(memory_next_data(&m, end, UINT64_MAX, &start, &end), 0);
	memory_exit(&m);
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), -EBADF);
}

/* However it is emptied, and across the hole below 4 GiB. Memory that is overwritten stays there: a device
 * holds it. */
static void memory_that_is_emptied_reads_as_zero(void **state)
{
	static const uint64_t gpas[] = { 0, MIB(5) + 3, MEMORY_LOW_MAX - 1, MEMORY_HIGH_BASE,
					 MEMORY_HIGH_BASE + MIB(16) - 1 };
	struct error err = { 0 };
	uint64_t start, end;
	struct memory m;

	for (unsigned int how = MEMORY_DROP; how <= MEMORY_OVERWRITE; how++) {
		init(&m, MEMORY_LOW_MAX + MIB(16));
		for (unsigned int i = 0; i < ARRAY_SIZE(gpas); i++)
			assert_int_equal(memory_write(&m, gpas[i], "x", 1), 0);
		assert_int_equal(memory_clear(&m, (enum memory_clear)how, -1, &err), 0);
		assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), how == MEMORY_OVERWRITE);
		for (unsigned int i = 0; i < ARRAY_SIZE(gpas); i++)
			assert_int_equal(*(uint8_t *)memory_at(&m, gpas[i], 1), 0);
		memory_exit(&m);
	}
}

static void emptying_memory_ends_when_the_process_is_to_end(void **state)
{
	struct error err = { 0 };
	struct memory m;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	init(&m, MEMORY_LOW_MAX + MIB(16));
	assert_int_equal(memory_clear(&m, MEMORY_DROP, fds[0], &err), 0);
	close(fds[1]);
	/* A pipe without a writer is ready. */
	assert_int_equal(memory_clear(&m, MEMORY_DROP, fds[0], &err), -ECANCELED);
	close(fds[0]);
	memory_exit(&m);
}

static void pages_that_are_about_to_be_written_are_there_and_no_others(void **state)
{
	uint64_t start, end;
	struct memory m;

	init(&m, MEMORY_LOW_MAX + MIB(4));
	/* Few come by themselves, and what is no memory stays alone. */
	memory_populate(&m, 0, PAGE_SIZE);
	memory_populate(&m, MEMORY_LOW_MAX - MIB(1), MIB(2));
	memory_populate(&m, UINT64_MAX - PAGE_SIZE, MIB(1));
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 0);
	memory_populate(&m, MEMORY_HIGH_BASE + MIB(1), MIB(1));
	/* Kernels before 5.14 have no such call. */
	if (madvise(m.regions[0].hva, PAGE_SIZE, 23) == 0) {
		assert_int_equal(memory_next_data(&m, MIB(1), UINT64_MAX, &start, &end), 1);
		assert_int_equal(start, MEMORY_LOW_MAX + MIB(1));
		assert_int_equal(end, MEMORY_LOW_MAX + MIB(2));
	}
	assert_int_equal(*(uint8_t *)memory_at(&m, MEMORY_HIGH_BASE + MIB(1), 1), 0);
	memory_exit(&m);
}

static void a_file_goes_into_memory_as_far_as_it_goes(void **state)
{
	const uint64_t len = 2 * PAGE_SIZE + 3, to = MEMORY_HIGH_BASE + PAGE_SIZE + 1;
	int file = memfd_create("file", MFD_CLOEXEC), fds[2];
	uint64_t start, end;
	struct memory m;

	assert_int_equal(pwrite(file, "begin", 5, 10), 5);
	assert_int_equal(pwrite(file, "end", 3, (off_t)len - 3), 3);
	init(&m, MEMORY_LOW_MAX + MIB(4));
	assert_int_equal(memory_take_file(&m, to, file, 10, len - 10), len - 10);
	assert_memory_equal(memory_at(&m, to, 5), "begin", 5);
	assert_memory_equal(memory_at(&m, to + len - 13, 3), "end", 3);
	/* Nothing beside it is there. */
	assert_int_equal(memory_next_data(&m, 0, UINT64_MAX, &start, &end), 1);
	assert_int_equal(start, MEMORY_LOW_MAX + PAGE_SIZE);
	assert_int_equal(end, MEMORY_LOW_MAX + 3 * PAGE_SIZE);
	/* The file is shorter than that, or none that can be copied so. */
	assert_int_equal(memory_take_file(&m, 0, file, 10, MIB(1)), len - 10);
	assert_int_equal(memory_take_file(&m, 0, file, len, 1), 0);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(memory_take_file(&m, 0, fds[1], 0, 1), 0);
	assert_int_equal(memory_take_file(&m, 0, -1, 0, 1), 0);
	/* There is no such memory. */
	assert_int_equal(memory_take_file(&m, MEMORY_LOW_MAX - 1, file, 0, 2), -EFAULT);
	assert_int_equal(memory_take_file(&m, MEMORY_HIGH_BASE + MIB(4), file, 0, 1), -EFAULT);
	assert_int_equal(memory_take_file(&m, 0, file, 0, UINT64_MAX), -EFAULT);
	close(fds[0]);
	close(fds[1]);
	close(file);
	memory_exit(&m);
}

/* A VDUSE process may try this, because the kernel gives it the file behind what it maps. */
static void nobody_cuts_guest_memory_short(void **state)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct memory m;

	init(&m, MIB(16));
	assert_int_equal(fcntl(m.fd, F_GET_SEALS) & want, want);
	errno = 0;
	assert_int_equal(ftruncate(m.fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(m.fd, MIB(32)), -1);
	assert_int_equal(fcntl(m.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	assert_int_equal(memory_write(&m, MIB(16) - 1, "a", 1), 0);
	memory_exit(&m);
}

/* The kernel has such a seal since Linux 6.3. */
static void nobody_makes_a_program_of_guest_memory(void **state)
{
	const unsigned int noexec_seal = 8;
	const int seal_exec = 0x20;
	int probe = memfd_create("probe", noexec_seal | MFD_CLOEXEC), fd;

	if (probe < 0)
		skip();
	close(probe);
	fd = memory_create_file("file", PAGE_SIZE);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS) & seal_exec, seal_exec);
	assert_int_equal(fchmod(fd, 0700), -1);
	close(fd);
}

/* A name that is too long is no kernel that is too old. */
static void a_name_that_is_too_long_is_refused(void **state)
{
	char name[512] = { 0 };

	memset(name, 'x', sizeof(name) - 1);
	assert_int_equal(memory_create_file(name, PAGE_SIZE), -EINVAL);
}

/* Returns whether a core file of this process would have what is mapped at @hva. */
static bool is_dumped(const void *hva)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	bool within = false, dumped = true;
	uintptr_t start, end;
	char line[512];

	assert_non_null(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			within = start <= (uintptr_t)hva && (uintptr_t)hva < end;
		else if (within && strncmp(line, "VmFlags:", 8) == 0)
			dumped = !strstr(line, " dd");
	}
	fclose(smaps);
	return dumped;
}

static void core_files_are_without_guest_memory(void **state)
{
	struct error err = { 0 };
	struct memory m;

	init(&m, MEMORY_LOW_MAX + MIB(4));
	assert_false(is_dumped(m.regions[0].hva));
	assert_false(is_dumped(m.regions[1].hva + MIB(4) - 1));
	assert_true(is_dumped(&m));
	memory_exit(&m);
	/* An operator can ask for it. */
	memory_frame(&m, MEMORY_LOW_MAX + MIB(4));
	m.dumped = true;
	assert_int_equal(memory_fill(&m, &err), 0);
	assert_true(is_dumped(m.regions[0].hva));
	assert_true(is_dumped(m.regions[1].hva));
	memory_exit(&m);
}

/* The memory that a peer asks for costs nothing before the guest is compared. */
static void a_frame_has_no_memory(void **state)
{
	struct error err = { 0 };
	struct memory m;

	memory_frame(&m, GIB(4096));
	assert_int_equal(m.fd, -1);
	assert_int_equal(memory_end(&m), GIB(4097));
	assert_null(m.regions[0].hva);
	assert_null(m.regions[1].hva);
	assert_null(memory_at(&m, 0, 1));
	assert_int_equal(memory_write(&m, GIB(4), "a", 1), -EFAULT);
	memory_exit(&m);
	/* A memory_fill() that fails leaves a frame. */
	memory_frame(&m, (uint64_t)1 << 62);
	assert_true(memory_fill(&m, &err) < 0);
	assert_int_equal(m.fd, -1);
	assert_int_equal(m.n_regions, 2);
	assert_null(m.regions[0].hva);
	memory_exit(&m);
}

static void more_memory_than_can_be_had_is_refused(void **state)
{
	struct error err = { 0 };
	struct memory m;

	assert_true(memory_init(&m, (uint64_t)1 << 62, &err) < 0);
	assert_non_null(strstr(err.text, "guest memory"));
	assert_int_equal(m.fd, -1);
	assert_int_equal(m.n_regions, 0);
}

static void memory_for_which_no_descriptor_is_left_is_refused_with_advice(void **state)
{
	struct rlimit before, now;
	struct error err = { 0 };
	struct memory m;
	int next = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	now = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(memory_init(&m, MIB(16), &err), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_non_null(strstr(err.text, "Too many open files (raise \"ulimit -n\""));
}

static void no_access_leaves_its_region(void **state)
{
	const uint64_t low = MEMORY_LOW_MAX, high = GIB(4);
	const struct {
		uint64_t gpa, len;
		bool there;
	} cases[] = {
		{ 0, 1, true },
		{ 0, low, true },
		{ 0, 0, false },
		{ low - 1, 1, true },
		{ low - 1, 2, false },
		{ low, 1, false },
		{ low, high - low + 1, false },
		{ 0, low + 1, false },
		{ low - 1, high - low + 2, false },
		{ high - 1, 1, false },
		{ high, PAGE_SIZE, true },
		{ high, PAGE_SIZE + 1, false },
		{ high + PAGE_SIZE - 1, 1, true },
		{ high + PAGE_SIZE, 1, false },
		{ high + PAGE_SIZE, 0, false },
		{ 1, UINT64_MAX, false },
		{ high, UINT64_MAX - high + 1, false },
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX, UINT64_MAX, false },
	};
	uint8_t byte = 0;
	struct memory m;

	init(&m, low + PAGE_SIZE);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(memory_at(&m, cases[i].gpa, cases[i].len) != NULL, cases[i].there);
		if (cases[i].there || cases[i].len > 2)
			continue;
		assert_int_equal(memory_read(&m, cases[i].gpa, &byte, cases[i].len), -EFAULT);
		assert_int_equal(memory_write(&m, cases[i].gpa, &byte, cases[i].len), -EFAULT);
	}
	memory_exit(&m);
}

/* Bytes at a guest address are at the region's offset in the memfd. */
static void guest_memory_is_in_the_file_at_the_regions_offset(void **state)
{
	const char text[] = "at the beginning of the high region";
	char back[sizeof(text)] = { 0 };
	struct memory m;

	init(&m, MEMORY_LOW_MAX + PAGE_SIZE);
	assert_int_equal(memory_write(&m, GIB(4), text, sizeof(text)), 0);
	assert_int_equal(pread(m.fd, back, sizeof(back), MEMORY_LOW_MAX), sizeof(back));
	assert_string_equal(back, text);
	memset(back, 0, sizeof(back));
	assert_int_equal(memory_read(&m, GIB(4), back, sizeof(back)), 0);
	assert_string_equal(back, text);
	memory_exit(&m);
}

static void the_log_has_every_page_that_was_marked_once(void **state)
{
	const uint64_t first_high = MEMORY_LOW_MAX / PAGE_SIZE;
	struct page_set pages;
	struct memory m;

	init(&m, MEMORY_LOW_MAX + 3 * PAGE_SIZE);
	assert_int_equal(page_set_init(&pages, memory_pages(&m)), 0);
	memory_mark_dirty(&m, 0, PAGE_SIZE); /* off: costs nothing, leaves nothing */
	assert_null(m.dirty);
	assert_false(memory_is_logged(&m));
	assert_int_equal(memory_log_start(&m), 0);
	assert_true(memory_is_logged(&m));
	memory_mark_dirty(&m, 5 * PAGE_SIZE, 0);
	memory_mark_dirty(&m, 63 * PAGE_SIZE + 4095, 2); /* two pages, two words */
	memory_mark_logged(&m, 70 * PAGE_SIZE, PAGE_SIZE);
	memory_mark_logged(&m, 90 * PAGE_SIZE, 0);
	memory_mark_dirty(&m, GIB(4) + 2 * PAGE_SIZE, 1);
	page_set_add(&pages, 0, 1); /* stays: what is in the log is added */
	memory_log_take(&m, &pages);
	assert_int_equal(pages.words[0], (uint64_t)1 << 63 | 1);
	assert_int_equal(pages.words[1], 1 | 1 << 6);
	assert_int_equal(pages.words[(first_high + 2) / 64], (uint64_t)1 << (first_high + 2) % 64);
	assert_int_equal(pages.n_pages, 5);

	page_set_remove(&pages, 0, memory_pages(&m));
	memory_log_take(&m, &pages);
	assert_int_equal(pages.n_pages, 0);

	/* A new log begins empty. */
	memory_mark_dirty(&m, 0, 1);
	memory_log_stop(&m);
	memory_mark_dirty(&m, PAGE_SIZE, 1);
	assert_int_equal(memory_log_start(&m), 0);
	memory_log_take(&m, &pages);
	assert_int_equal(pages.n_pages, 0);
	memory_log_stop(&m);
	page_set_exit(&pages);
	memory_exit(&m);
}

#define N_WRITERS 2
#define N_ROUNDS  20000u

struct writer {
	struct memory *m;
	uint64_t gpa;
};

static void *writer_thread(void *arg)
{
	struct writer *w = arg;

	for (uint32_t i = 1; i <= N_ROUNDS; i++) {
		__atomic_store_n((uint32_t *)memory_at(w->m, w->gpa, 4), i, __ATOMIC_RELAXED);
		memory_mark_dirty(w->m, w->gpa, 4);
	}
	return NULL;
}

/* Writers mark while the log is taken: after the last take a copy made page by page is complete. */
static void a_copy_by_the_log_is_complete_while_others_write(void **state)
{
	uint32_t copy[N_WRITERS] = { 0 };
	struct writer writers[N_WRITERS];
	pthread_t threads[N_WRITERS];
	struct page_set pages;
	struct memory m;
	bool ended = false;

	init(&m, MIB(16));
	assert_int_equal(page_set_init(&pages, memory_pages(&m)), 0);
	assert_int_equal(memory_log_start(&m), 0);
	for (unsigned int i = 0; i < N_WRITERS; i++) {
		writers[i] = (struct writer){ .m = &m, .gpa = i * PAGE_SIZE };
		assert_int_equal(pthread_create(&threads[i], NULL, writer_thread, &writers[i]), 0);
	}
	for (;;) {
		page_set_remove(&pages, 0, N_WRITERS);
		memory_log_take(&m, &pages);
		for (unsigned int i = 0; i < N_WRITERS; i++) {
			if (pages.words[0] >> i & 1)
				copy[i] = __atomic_load_n((uint32_t *)memory_at(&m, i * PAGE_SIZE, 4),
							  __ATOMIC_RELAXED);
		}
		if (ended)
			break;
		ended = copy[0] > N_ROUNDS / 2 || copy[1] > N_ROUNDS / 2;
		for (unsigned int i = 0; ended && i < N_WRITERS; i++)
			pthread_join(threads[i], NULL);
	}
	for (unsigned int i = 0; i < N_WRITERS; i++)
		assert_int_equal(copy[i], N_ROUNDS);
	page_set_exit(&pages);
	memory_exit(&m);
}

struct marker {
	struct memory *m;
	_Atomic uint64_t n_marks;
	_Atomic bool end;
};

static void *marker_thread(void *arg)
{
	struct marker *marker = arg;

	while (!atomic_load(&marker->end)) {
		memory_mark_dirty(marker->m, 0, 1);
		atomic_fetch_add(&marker->n_marks, 1);
	}
	return NULL;
}

/* Also one that begins while somebody marks a page for the log before. */
static void a_new_log_misses_no_page(void **state)
{
	struct marker marker = { 0 };
	struct page_set pages;
	pthread_t thread;
	struct memory m;

	init(&m, MIB(16));
	marker.m = &m;
	assert_int_equal(page_set_init(&pages, memory_pages(&m)), 0);
	assert_int_equal(pthread_create(&thread, NULL, marker_thread, &marker), 0);
	for (unsigned int round = 0; round < 2000; round++) {
		uint64_t n;

		assert_int_equal(memory_log_start(&m), 0);
		n = atomic_load(&marker.n_marks);
		/* Of two more the second has begun since. */
		while (atomic_load(&marker.n_marks) < n + 2)
			sched_yield();
		memory_log_take(&m, &pages);
		assert_int_equal(page_set_next(&pages, 0, 1), 0);
		page_set_remove(&pages, 0, 1);
		memory_log_stop(&m);
	}
	atomic_store(&marker.end, true);
	pthread_join(thread, NULL);
	page_set_exit(&pages);
	memory_exit(&m);
}

/* Every host that knows nodes has a node 0. */
static void memory_comes_from_the_node_that_was_asked_for(void **state)
{
	struct error err = { 0 };
	unsigned long nodes[MEMORY_MAX_NODES / 64];
	struct memory m;
	int mode;

	if (syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) < 0)
		skip();
	memory_frame(&m, MEMORY_LOW_MAX + MIB(2));
	m.node = 0;
	assert_int_equal(memory_fill(&m, &err), 0);
	for (unsigned int i = 0; i < 2; i++) {
		memset(nodes, 0, sizeof(nodes));
		assert_int_equal(syscall(SYS_get_mempolicy, &mode, nodes, MEMORY_MAX_NODES,
					 m.regions[i].hva + m.regions[i].len - PAGE_SIZE, MPOL_F_ADDR),
				 0);
		assert_int_equal(mode, MPOL_BIND);
		assert_true(nodes[0] == 1);
	}
	assert_int_equal(memory_write(&m, GIB(4), "x", 1), 0);
	memory_exit(&m);
	assert_int_equal(memory_check_node(0, &err), 0);
}

static void a_node_that_is_not_there_is_named(void **state)
{
	struct error err = { 0 };
	struct memory m;
	int mode;

	if (syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) < 0)
		skip();
	assert_int_equal(memory_check_node(MEMORY_MAX_NODES - 1, &err), -EINVAL);
	assert_string_equal(err.text,
			    "guest memory cannot come from node 1023 of the host: there is none, or "
			    "this process may not have its memory");
	err = (struct error){ 0 };
	memory_frame(&m, MIB(16));
	m.node = MEMORY_MAX_NODES - 1;
	assert_int_equal(memory_fill(&m, &err), -EINVAL);
	assert_non_null(strstr(err.text, "node 1023"));
	assert_int_equal(m.fd, -1);
	memory_exit(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_comes_from_the_node_that_was_asked_for),
		cmocka_unit_test(a_node_that_is_not_there_is_named),
		cmocka_unit_test(memory_has_a_hole_below_4_gib),
		cmocka_unit_test(a_page_is_at_the_same_place_in_its_huge_page_everywhere),
		cmocka_unit_test(more_memory_than_can_be_had_is_refused),
		cmocka_unit_test(memory_for_which_no_descriptor_is_left_is_refused_with_advice),
		cmocka_unit_test(no_access_leaves_its_region),
		cmocka_unit_test(guest_memory_is_in_the_file_at_the_regions_offset),
		cmocka_unit_test(the_log_has_every_page_that_was_marked_once),
		cmocka_unit_test(a_copy_by_the_log_is_complete_while_others_write),
		cmocka_unit_test(a_new_log_misses_no_page),
		cmocka_unit_test(only_what_was_written_is_data),
		cmocka_unit_test(memory_that_is_emptied_reads_as_zero),
		cmocka_unit_test(emptying_memory_ends_when_the_process_is_to_end),
		cmocka_unit_test(pages_that_are_about_to_be_written_are_there_and_no_others),
		cmocka_unit_test(a_file_goes_into_memory_as_far_as_it_goes),
		cmocka_unit_test(nobody_cuts_guest_memory_short),
		cmocka_unit_test(core_files_are_without_guest_memory),
		cmocka_unit_test(a_frame_has_no_memory),
		cmocka_unit_test(a_name_that_is_too_long_is_refused),
		cmocka_unit_test(nobody_makes_a_program_of_guest_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
