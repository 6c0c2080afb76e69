/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shadow memory: a memfd that the device sees above guest RAM. The data queues' part comes first, then the
 * control queue's, each in whole pages, so that each can be mapped in an address space of its own.
 *
 * Offsets are reserved first, by net_window_reserve(); net_window_init() then makes memory of that length.
 */
#ifndef FERRY_DEVICES_NET_WINDOW_H
#define FERRY_DEVICES_NET_WINDOW_H

#include "vmm/memory.h"

struct net_window {
	int fd;
	uint8_t *hva;
	uint64_t iova;
	uint64_t len;
	uint64_t data_len; /* of the data queues' part */
};

/* Reserves @len bytes, in whole pages; returns their offset. */
static inline uint64_t net_window_reserve(struct net_window *w, uint64_t len)
{
	uint64_t offset = w->len;

	w->len += align_up(len, PAGE_SIZE);
	return offset;
}

/* Ends the data queues' part: all that is reserved from here on is the control queue's. */
static inline void net_window_end_data(struct net_window *w)
{
	w->data_len = w->len;
}

/* Makes the memory, above the guest's, and hides it from it. -errno with the reason. net_window_exit() may
 * follow either way; a window not yet made has fd -1. */
int __must_check net_window_init(struct net_window *w, struct memory *memory, struct error *err);
void net_window_exit(struct net_window *w);

#endif
