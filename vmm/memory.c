/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM in a memfd, checked access to it and the log of Ferry's own writes. */
#define _GNU_SOURCE
#include "vmm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/huge_pages.h"
#include "vmm/shortage.h"

/* A flag since Linux 6.3; not every libc has it yet. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif
/* Not in every libc either. */
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif
/* Of madvise(), since Linux 5.14. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Fewer pages are had more cheaply by a fault each. */
#define MEMORY_POPULATE_MIN (4 * PAGE_SIZE)
/* Pages that are looked at together. */
#define MEMORY_POPULATE_STEP 256u

/* Sets the length of a memfd. RLIMIT_FSIZE counts for a memfd, too, though whoever set it meant files on
 * disk: so the limit is raised for as long as the call takes, where that is allowed. */
static int memory_set_size(int fd, uint64_t len)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit limit, most;
	int ret = ftruncate(fd, (off_t)len) < 0 ? -errno : 0;

	if (ret != -EFBIG || getrlimit(RLIMIT_FSIZE, &limit) < 0)
		return ret;
	most = (struct rlimit){ limit.rlim_max, limit.rlim_max };
	if (setrlimit(RLIMIT_FSIZE, &none) < 0 && setrlimit(RLIMIT_FSIZE, &most) < 0)
		return ret;
	ret = ftruncate(fd, (off_t)len) < 0 ? -errno : 0;
	/* Lowering a limit is always allowed. */
	return setrlimit(RLIMIT_FSIZE, &limit) < 0 ? -errno : ret;
}

/* As memory_create_file(), with further flags of memfd_create(). */
static int memory_create(const char *name, uint64_t len, unsigned int flags)
{
	int fd, ret;

	flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

	/*
	 * EINVAL can mean that the kernel does not know MFD_NOEXEC_SEAL: the answer without that flag counts.
	 */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	if (fd < 0)
		return -errno;
	/* The seals keep the file's length: an access behind the end of a shorter file is a SIGBUS. */
	ret = memory_set_size(fd, len);
	if (ret == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		ret = -errno;
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

int memory_create_file(const char *name, uint64_t len)
{
	return memory_create(name, len, 0);
}

static bool memory_is_huge(const struct memory *m)
{
	return m->page_size > PAGE_SIZE;
}

void memory_hide(const struct memory *m, void *hva, uint64_t len)
{
	/* The call cannot fail on a mapping of a memfd. */
	if (!m->dumped && madvise(hva, len, MADV_DONTDUMP) < 0)
		log_warn("cannot keep guest memory out of core files: %s", strerror(errno));
}

/* Has pages of a mapping that are still to come be those of one node: of a shared mapping for all who use the
 * file. The C library has no function for that. */
static int memory_bind(void *hva, uint64_t len, unsigned int node)
{
	unsigned long nodes[MEMORY_MAX_NODES / (8 * sizeof(long))] = { 0 };

	nodes[node / (8 * sizeof(long))] = 1ul << node % (8 * sizeof(long));
	/* The kernel takes one bit less than it is told of. */
	return syscall(SYS_mbind, hva, len, MPOL_BIND, nodes, MEMORY_MAX_NODES + 1, 0) < 0 ? -errno : 0;
}

static int memory_refuse_node(unsigned int node, int ret, struct error *err)
{
	error_add(err, "guest memory cannot come from node %u of the host: %s", node,
		  ret == -EINVAL   ? "there is none, or this process may not have its memory"
		  : ret == -ENOSYS ? "the kernel knows no nodes"
				   : strerror(-ret));
	return ret;
}

int memory_check_node(unsigned int node, struct error *err)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (page == MAP_FAILED) {
		error_add(err, "cannot look for the host's nodes: %s", strerror(errno));
		return -errno;
	}
	ret = memory_bind(page, PAGE_SIZE, node);
	munmap(page, PAGE_SIZE);
	return ret < 0 ? memory_refuse_node(node, ret, err) : 0;
}

/* Maps the region at a multiple of the size of huge pages, as its place in the guest and in the memfd is: all
 * three must agree for them. */
static int memory_map_region(struct memory *m, struct memory_region *r)
{
	const uint64_t align = max_u64(m->page_size, HUGE_PAGE_SIZE);
	/* The kernel keeps huge pages for a mapping that does not say that it needs none kept: one that has
	 * none when it is touched ends the process. */
	const int flags = MAP_SHARED | MAP_FIXED | (memory_is_huge(m) ? 0 : MAP_NORESERVE);
	uint64_t head, len = r->len;
	uint8_t *reserved, *hva;

	reserved = mmap(NULL, len + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return -errno;
	head = -(uintptr_t)reserved % align;
	hva = mmap(reserved + head, len, PROT_READ | PROT_WRITE, flags, m->fd, (off_t)r->offset);
	if (hva == MAP_FAILED) {
		int ret = -errno;

		munmap(reserved, len + align);
		return ret;
	}
	if (head > 0)
		munmap(reserved, head);
	munmap(hva + len, align - head);
	memory_hide(m, hva, len);
	r->hva = hva;
	return 0;
}

static void memory_add_region(struct memory *m, uint64_t gpa, uint64_t offset, uint64_t len)
{
	m->regions[m->n_regions++] = (struct memory_region){ .gpa = gpa, .len = len, .offset = offset };
}

void memory_frame(struct memory *m, uint64_t size)
{
	uint64_t low = min_u64(size, MEMORY_LOW_MAX);

	*m = (struct memory){ .fd = -1, .size = size, .node = -1, .page_size = PAGE_SIZE };
	memory_add_region(m, 0, 0, low);
	if (size > low)
		memory_add_region(m, MEMORY_HIGH_BASE, low, size - low);
}

static void memory_empty(struct memory *m)
{
	for (unsigned int i = 0; i < m->n_regions; i++) {
		if (m->regions[i].hva)
			munmap(m->regions[i].hva, m->regions[i].len);
		m->regions[i].hva = NULL;
	}
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

/* Has all memory come from its node. The kernel keeps huge pages without looking at nodes: so they are taken
 * now, where their lack is an error that can be told. */
static int memory_bind_all(struct memory *m)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < m->n_regions; i++) {
		const struct memory_region *r = &m->regions[i];

		ret = memory_bind(r->hva, r->len, (unsigned int)m->node);
		if (ret == 0 && memory_is_huge(m) && madvise(r->hva, r->len, MADV_POPULATE_WRITE) < 0)
			ret = -ENOMEM;
	}
	return ret;
}

int memory_fill(struct memory *m, struct error *err)
{
	unsigned int flags = 0;
	int ret = 0;

	if (memory_is_huge(m)) {
		ret = huge_pages_check(HUGE_PAGES_SYS, m->size, m->page_size, m->node, err);
		if (ret < 0)
			return ret;
		flags = MFD_HUGETLB | (unsigned int)__builtin_ctzll(m->page_size) << MFD_HUGE_SHIFT;
	}
	m->fd = memory_create("ferry-ram", m->size, flags);
	if (m->fd < 0) {
		error_add(err, "cannot create %llu bytes of guest memory: %s%s", (unsigned long long)m->size,
			  strerror(-m->fd), shortage_advice(m->fd));
		return m->fd;
	}
	for (unsigned int i = 0; ret == 0 && i < m->n_regions; i++)
		ret = memory_map_region(m, &m->regions[i]);
	if (ret < 0) {
		error_add(err, "cannot map %llu bytes of guest memory: %s%s", (unsigned long long)m->size,
			  strerror(-ret), shortage_advice(ret));
		memory_empty(m);
		return ret;
	}
	if (m->node >= 0)
		ret = memory_bind_all(m);
	if (ret < 0) {
		memory_empty(m);
		return memory_refuse_node((unsigned int)m->node, ret, err);
	}
	return 0;
}

int memory_init(struct memory *m, uint64_t size, struct error *err)
{
	int ret;

	memory_frame(m, size);
	ret = memory_fill(m, err);
	if (ret < 0)
		memory_exit(m);
	return ret;
}

void memory_exit(struct memory *m)
{
	memory_empty(m);
	m->n_regions = 0;
	free((void *)m->dirty);
	free((void *)m->dirty_words);
	m->dirty = m->dirty_words = NULL;
}

uint64_t memory_end(const struct memory *m)
{
	const struct memory_region *last = &m->regions[m->n_regions - 1];

	return max_u64(last->gpa + last->len, MEMORY_HIGH_BASE);
}

static const struct memory_region *memory_find(const struct memory *m, uint64_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < m->n_regions; i++) {
		const struct memory_region *r = &m->regions[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->len)
			return len > 0 && len <= r->len - (gpa - r->gpa) ? r : NULL;
	}
	return NULL;
}

void *memory_at(const struct memory *m, uint64_t gpa, uint64_t len)
{
	const struct memory_region *r = memory_find(m, gpa, len);

	return r && r->hva ? r->hva + (gpa - r->gpa) : NULL;
}

int memory_read(const struct memory *m, uint64_t gpa, void *dst, uint64_t len)
{
	const void *src = memory_at(m, gpa, len);

	if (!src)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

int memory_write(struct memory *m, uint64_t gpa, const void *src, uint64_t len)
{
	void *dst = memory_at(m, gpa, len);

	if (!dst)
		return -EFAULT;
	memcpy(dst, src, len);
	memory_mark_dirty(m, gpa, len);
	return 0;
}

void memory_want_huge(struct memory *m)
{
	/* A kernel without them does not know the call. */
	for (unsigned int i = 0; i < m->n_regions; i++)
		madvise(m->regions[i].hva, m->regions[i].len, MADV_HUGEPAGE);
}

void memory_populate(const struct memory *m, uint64_t gpa, uint64_t len)
{
	uint8_t *hva = memory_at(m, gpa, len), there[MEMORY_POPULATE_STEP];
	uint64_t at = 0, step;

	if (!hva || len < MEMORY_POPULATE_MIN)
		return;
	for (; at < len; at += step) {
		step = min_u64(len - at, MEMORY_POPULATE_STEP * PAGE_SIZE);
		/* To populate what is there takes half as long as to write it, and to look next to nothing.
		 */
		if (mincore(hva + at, step, there) == 0 && !memchr(there, 0, step / PAGE_SIZE))
			continue;
		/* A kernel before 5.14 does not know the call, and a host may have no memory to give: the
		 * write says. */
		madvise(hva + at, step, MADV_POPULATE_WRITE);
	}
}

int64_t memory_take_file(struct memory *m, uint64_t gpa, int fd, uint64_t offset, uint64_t len)
{
	const struct memory_region *r = memory_find(m, gpa, len);
	off_t from = (off_t)offset;
	int64_t copied = 0;
	ssize_t n = 1;

	if (!r || !r->hva)
		return -EFAULT;
	/* hugetlbfs has no such call, nor has every file. */
	if (lseek(m->fd, (off_t)(r->offset + (gpa - r->gpa)), SEEK_SET) < 0)
		return 0;
	while (n > 0 && (uint64_t)copied < len) {
		n = sendfile(m->fd, fd, &from, len - (uint64_t)copied);
		copied += n > 0 ? n : 0;
	}
	return copied;
}

/* Whoever marks a page first marks its word, too. One that comes later leaves that to the first, so the log's
 * reader may find both in its next look; in the last one nobody is at it any more. */
static void memory_mark_page(struct memory *m, uint64_t page)
{
	uint64_t word = page / 64, bit = (uint64_t)1 << (page % 64);

	if (!(atomic_fetch_or_explicit(&m->dirty[word], bit, memory_order_acq_rel) & bit))
		atomic_fetch_or_explicit(&m->dirty_words[word / 64], (uint64_t)1 << (word % 64),
					 memory_order_release);
}

bool memory_is_logged(const struct memory *m)
{
	/* The fence pairs with the one in memory_log_start(): either this load sees the log, or the log's
	 * reader sees the write. */
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&m->logging, memory_order_acquire);
}

void memory_mark_dirty(struct memory *m, uint64_t gpa, uint64_t len)
{
	if (memory_is_logged(m))
		memory_mark_logged(m, gpa, len);
}

void memory_mark_logged(struct memory *m, uint64_t gpa, uint64_t len)
{
	const struct memory_region *r;
	uint64_t first, last;

	if (len == 0)
		return;
	r = memory_find(m, gpa, len);
	first = (r->offset + (gpa - r->gpa)) >> PAGE_SHIFT;
	last = (r->offset + (gpa - r->gpa) + len - 1) >> PAGE_SHIFT;
	for (uint64_t page = first; page <= last; page++)
		memory_mark_page(m, page);
}

/* Finds out whether there is a huge page at @at of the memfd: 1, 0 or -errno. */
static int memory_has_page(const struct memory *m, uint64_t at)
{
	const struct memory_region *r = m->regions;
	uint8_t there;

	while (at - r->offset >= r->len)
		r++;
	return mincore(r->hva + (at - r->offset), PAGE_SIZE, &there) < 0 ? -errno : there & 1;
}

/*
 * To hugetlbfs a file is all data. But a huge page is not swapped out, so it is in the page tables of whoever
 * has touched it: those of this process, unless others have mappings of their own.
 */
static int memory_next_huge(const struct memory *m, uint64_t at, uint64_t limit, uint64_t *start,
			    uint64_t *end)
{
	int ret = 0;

	limit = min_u64(limit, m->size);
	if (m->mapped_elsewhere || m->n_regions == 0) {
		*start = at;
		*end = m->size;
		return at < limit;
	}
	while (at < limit && (ret = memory_has_page(m, at)) == 0)
		at = align_up(at + 1, m->page_size);
	*start = at;
	while (at < limit && ret == 1) {
		at = align_up(at + 1, m->page_size);
		*end = at;
		if (at < limit)
			ret = memory_has_page(m, at);
	}
	return ret < 0 ? ret : *start < limit;
}

int memory_next_data(const struct memory *m, uint64_t at, uint64_t limit, uint64_t *start, uint64_t *end)
{
	off_t data, hole;

	if (memory_is_huge(m))
		return memory_next_huge(m, at, limit, start, end);
	data = lseek(m->fd, (off_t)at, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	if ((uint64_t)data >= limit)
		return 0;
	hole = lseek(m->fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*start = (uint64_t)data;
	*end = (uint64_t)hole;
	return 1;
}

bool memory_has_data(const struct memory *m, uint64_t at, uint64_t limit)
{
	off_t data;

	if (memory_is_huge(m))
		return true;
	data = lseek(m->fd, (off_t)at, SEEK_DATA);
	return data < 0 ? errno != ENXIO : (uint64_t)data < limit;
}

/* Short against what a person notices. */
#define MEMORY_CLEAR_STEP MIB(256)

/* Empties [at, at + len) of the memfd, which lies within @r. 0 or -errno. */
static int memory_clear_step(struct memory *m, const struct memory_region *r, uint64_t at, uint64_t len,
			     enum memory_clear how)
{
	uint64_t start = 0, end = at;
	int ret;

	if (how == MEMORY_DROP && !memory_is_huge(m))
		return fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len) < 0
			       ? -errno
			       : 0;
	/* Holes stay holes. */
	while ((ret = memory_next_data(m, end, at + len, &start, &end)) == 1) {
		end = min_u64(end, at + len);
		memset(r->hva + (start - r->offset), 0, end - start);
		if (end == at + len)
			break;
	}
	return ret < 0 ? ret : 0;
}

int memory_clear(struct memory *m, enum memory_clear how, int stop_fd, struct error *err)
{
	struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < m->n_regions; i++) {
		const struct memory_region *r = &m->regions[i];

		for (uint64_t at = 0; ret == 0 && at < r->len; at += MEMORY_CLEAR_STEP) {
			ret = memory_clear_step(m, r, r->offset + at, min_u64(r->len - at, MEMORY_CLEAR_STEP),
						how);
			if (ret == 0 && poll(&stop, 1, 0) > 0)
				ret = -ECANCELED;
		}
	}
	if (ret < 0) {
		error_add(err, "cannot empty the guest's memory: %s", strerror(-ret));
		return ret;
	}
	return 0;
}

uint64_t memory_pages(const struct memory *m)
{
	return m->size >> PAGE_SHIFT;
}

/* Words of the log: of a bit a page, and of a bit for each of these. */
static uint64_t memory_log_words(const struct memory *m)
{
	return (memory_pages(m) + 63) / 64;
}

static uint64_t memory_log_summary(const struct memory *m)
{
	return (memory_log_words(m) + 63) / 64;
}

int memory_log_start(struct memory *m)
{
	uint64_t n_words = memory_log_words(m), n_summary = memory_log_summary(m);

	/* The bitmaps are kept until memory_exit(): a writer that saw the log on may still be marking when it
	 * is switched off. */
	if (!m->dirty)
		m->dirty = calloc(n_words, sizeof(*m->dirty));
	if (!m->dirty_words)
		m->dirty_words = calloc(n_summary, sizeof(*m->dirty_words));
	if (!m->dirty || !m->dirty_words)
		return -ENOMEM;
	/* Words last: a writer that finds its page's bit clear marks the word after this has cleared that
	 * mark. The release pairs with memory_mark_page(). */
	for (uint64_t i = 0; i < n_summary; i++)
		atomic_store_explicit(&m->dirty_words[i], 0, memory_order_relaxed);
	for (uint64_t i = 0; i < n_words; i++)
		atomic_store_explicit(&m->dirty[i], 0, memory_order_release);
	atomic_store_explicit(&m->logging, true, memory_order_release);
	/* The fence pairs with the one in memory_mark_dirty(). */
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

void memory_log_stop(struct memory *m)
{
	atomic_store_explicit(&m->logging, false, memory_order_release);
}

void memory_log_take(struct memory *m, struct page_set *pages)
{
	uint64_t n_summary = memory_log_summary(m);

	for (uint64_t i = 0; i < n_summary; i++) {
		uint64_t words = 0;

		if (atomic_load_explicit(&m->dirty_words[i], memory_order_relaxed))
			words = atomic_exchange_explicit(&m->dirty_words[i], 0, memory_order_acq_rel);
		for (; words; words &= words - 1) {
			uint64_t word = i * 64 + (uint64_t)__builtin_ctzll(words);

			page_set_add_word(pages, word,
					  atomic_exchange_explicit(&m->dirty[word], 0, memory_order_acq_rel));
		}
	}
}
