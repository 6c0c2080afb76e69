/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other process of stream.c, which takes guest memory as it is told to. */
#ifndef FERRY_TESTS_BENCH_STREAM_PEER_H
#define FERRY_TESTS_BENCH_STREAM_PEER_H

#include "tests/fake/vm_migration.h"

#define PIECE      MIB(1)
#define TIMEOUT_MS 60000

/* How the destination's memory is got for a pass. */
enum memory_kind {
	TOUCHED,   /* all of it has been written before */
	UNTOUCHED, /* each page is a fault of its own */
	POPULATED, /* a piece at a time, by one call; the plain loop's alone */
	COPIED,    /* the memfd is written from a buffer; the plain loop's alone */
	PINNED,    /* a device has all of it pinned, before READY; Ferry's alone, as the next */
	PINS,      /* the same, while memory comes */
};

/* The source's side. */
enum sender { PLAIN, FERRY };

/* Said over the control socket. A byte answers once memory is as it is to be, and, at the end, the CPU time
 * that was spent meanwhile, a double. */
struct order {
	unsigned int family; /* index of the listener */
	enum sender sender;
	enum memory_kind memory;
};

/* Serves orders for a guest of @size bytes, whose connections come to @listeners, until @control is closed.
 */
void peer_run(uint64_t size, const int *listeners, int control);

/* For both processes: CPU seconds so far; the end where @ret is an error; and memory that neither has pages
 * of zeros nor begins them with one. */
double cpu_seconds(void);
void check(int ret, const struct error *err);
void fill(struct memory *m);

#endif
