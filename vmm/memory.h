/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM: one memfd, one or two regions around the PCI hole, the one checked way to guest bytes, and the
 * dirty log of what Ferry and its devices write. KVM's own dirty log is fetched by kvm_log_take() and merged
 * by the migration.
 */
#ifndef FERRY_VMM_MEMORY_H
#define FERRY_VMM_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>

#include "vmm/log.h"
#include "vmm/page_set.h"

/* How many regions there can be: guest RAM has one or two; what a device in software reaches can be more. */
#define MEMORY_MAX_REGIONS 4u

struct memory_region {
	uint64_t gpa;
	uint64_t len; /* A multiple of PAGE_SIZE. */
	/* The region's first byte in the memfd. */
	uint64_t offset;
	uint8_t *hva; /* NULL in a frame. */
};

struct memory {
	/* A memfd, mapped MAP_SHARED: vhost parents that map by VMA skip anything else without an error. */
	int fd;
	uint64_t size;
	unsigned int n_regions;
	struct memory_region regions[MEMORY_MAX_REGIONS];
	/* Core files of this process have the guest's memory. Set between memory_frame() and
	 * memory_fill(). */
	bool dumped;
	/* The node of the host's that all memory comes from, below MEMORY_MAX_NODES; -1: any. Set as @dumped
	 * is. */
	int node;
	/* What memory comes in: PAGE_SIZE, or the size of a huge page of the host's, of which as many are
	 * kept for this memory as it needs. Set as @dumped is. */
	uint64_t page_size;
	/* Others have their own mappings of this memory, such as a device of the host's, through which they
	 * write. Set as @dumped is; counts with huge pages. */
	bool mapped_elsewhere;

	/* Bit n is set if Ferry or a device has written page n of the memfd. Any thread sets bits, one thread
	 * takes them. */
	_Atomic uint64_t *dirty, *dirty_words;
	_Atomic bool logging;
};

/*
 * Creates @size bytes of RAM (a positive multiple of PAGE_SIZE): up to MEMORY_LOW_MAX at gpa 0, the rest from
 * 4 GiB. Pages read as zero and cost nothing until touched. On error nothing is left behind and @err says
 * why.
 */
int __must_check memory_init(struct memory *m, uint64_t size, struct error *err);
void memory_exit(struct memory *m);

/* The two halves of memory_init(). A frame has the regions, and no memory: it costs nothing, whatever its
 * size, and nothing in it can be reached. A memory_fill() that fails leaves the frame. */
void memory_frame(struct memory *m, uint64_t size);
int __must_check memory_fill(struct memory *m, struct error *err);

/* As many nodes as Linux can have on any host. */
#define MEMORY_MAX_NODES 1024u

/* Whether memory can come from @node of the host: 0, or -errno with the reason. */
int __must_check memory_check_node(unsigned int node, struct error *err);

/*
 * Makes a file in memory of @len bytes, to be mapped MAP_SHARED, and returns its descriptor, or -errno.
 * Whoever is given it by the kernel, as a VDUSE process is, cannot cut it short under those who map it.
 */
int __must_check memory_create_file(const char *name, uint64_t len);

/* Keeps what is mapped at @hva, whole pages of the guest's, out of core files, unless @m is dumped. */
void memory_hide(const struct memory *m, void *hva, uint64_t len);

/* RAM below 4 GiB ends here at the latest, where the PCI hole begins. */
#define MEMORY_LOW_MAX   GIB(3)
#define MEMORY_HIGH_BASE GIB(4)

/* Returns the first gpa above all RAM, which is never below 4 GiB. */
uint64_t memory_end(const struct memory *m);

/*
 * Returns the host address of guest bytes [gpa, gpa + len), or NULL unless all of them lie in one region.
 * @len 0 is refused. The guest may write these bytes at any time: read each once, and decide on the copy.
 * Whoever writes through the pointer calls memory_mark_dirty() after the write. Any thread.
 */
void *memory_at(const struct memory *m, uint64_t gpa, uint64_t len);

/* Copy out of or into guest memory; -EFAULT unless memory_at() would serve. Writing marks pages dirty. Any
 * thread. */
int __must_check memory_read(const struct memory *m, uint64_t gpa, void *dst, uint64_t len);
int __must_check memory_write(struct memory *m, uint64_t gpa, const void *src, uint64_t len);

/* Asks for transparent huge pages, which the host may give or not: huge_pages_transparent(). */
void memory_want_huge(struct memory *m);

/* Has the host give the pages of [gpa, gpa + len) now, of which each is about to be written: one call in the
 * place of a fault for each. A hint: what it does not do happens on the first write. Any range; any thread.
 */
void memory_populate(const struct memory *m, uint64_t gpa, uint64_t len);

/*
 * Copies up to @len bytes of a file at @offset to @gpa, which need not be touched for that: the kernel takes
 * pages for them and fills these, without a fault for each. Returns how many it has copied, be it none: the
 * caller reads the rest through memory_at(). -EFAULT as memory_read(). Before the guest runs, while no log is
 * on, and not beside memory_next_data(): one thread.
 */
int64_t __must_check memory_take_file(struct memory *m, uint64_t gpa, int fd, uint64_t offset, uint64_t len);

/*
 * Notes that [gpa, gpa + len) was written by Ferry or by a device; to be called after the write. The range
 * must have passed memory_at(), @len may be 0. Costs one load while nothing is logged. Any thread.
 */
void memory_mark_dirty(struct memory *m, uint64_t gpa, uint64_t len);

/*
 * Whether what is in memory by now is to be noted, if this thread has not done so: one question for a batch
 * of writes, in the place of memory_mark_dirty()'s own for each. memory_mark_logged() notes where the answer
 * was yes. Any thread.
 */
bool memory_is_logged(const struct memory *m);
void memory_mark_logged(struct memory *m, uint64_t gpa, uint64_t len);

/*
 * Start and end the log. Whatever was written without a mark before memory_log_start() returned is seen by
 * reads of guest memory after it. One thread, the migration's.
 */
int __must_check memory_log_start(struct memory *m);
void memory_log_stop(struct memory *m);

/*
 * Finds the next part of the memfd at or after @at, and below @limit, that exists, in memory or in swap; the
 * rest are holes, which were never written and read as zeros. 1 with [*start, *end), offsets in the memfd, of
 * which the end may be above @limit; 0 if there is none; or -errno. With huge pages a hole is a whole one.
 */
int __must_check memory_next_data(const struct memory *m, uint64_t at, uint64_t limit, uint64_t *start,
				  uint64_t *end);

/* Whether anything of [@at, @limit) exists, or may: in one look, whatever exists. */
bool memory_has_data(const struct memory *m, uint64_t at, uint64_t limit);

/* How memory is emptied: given back to the host, or overwritten where it is, because a device of the host's
 * holds its pages and would go on with those that it knows. Huge pages are overwritten in any case: another
 * process could take those that are given back. */
enum memory_clear { MEMORY_DROP, MEMORY_OVERWRITE };

/*
 * Makes all of guest memory read as zero, while nobody uses it. Takes some seconds for each 10 GiB that are
 * overwritten; looks at @stop_fd (-1: none) now and then, and returns -ECANCELED once it is readable. Neither
 * marks pages dirty: no log is on.
 */
int __must_check memory_clear(struct memory *m, enum memory_clear how, int stop_fd, struct error *err);

/* Returns the number of pages of all RAM, as they follow one another in the memfd. */
uint64_t memory_pages(const struct memory *m);

/* Adds what is in the log to @pages, a set of memory_pages() pages, and empties the log. The same thread as
 * memory_log_start(). */
void memory_log_take(struct memory *m, struct page_set *pages);

#endif
