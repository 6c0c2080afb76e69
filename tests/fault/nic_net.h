/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network of a guest that migrates: a switch that learns behind which port the guest is, and counts
 * packets both ways. A thread of its own. Packets have numbers, so that none is lost or comes twice
 * unnoticed.
 */
#ifndef FERRY_TESTS_FAULT_NIC_NET_H
#define FERRY_TESTS_FAULT_NIC_NET_H

#include <pthread.h>
#include <sys/un.h>

#include "tests/fake/soft.h"

#define NIC_NET_PAIRS   2u
#define NIC_NET_MAX     (1u << 20) /* packets to the guest */
#define NIC_NET_LEARNED 8u
#define NIC_FRAME_MAX   1400u

/* What a packet of these tests begins with, behind Ethernet's header. */
struct nic_mark {
	uint8_t magic; /* 'R' to the guest, 'T' from it */
	uint8_t pair;
	uint8_t epoch[2]; /* of the guest's driver, which begins anew at each start */
	uint8_t seq[4];
};

struct nic_net {
	struct soft_net hub;
	pthread_t thread;
	_Atomic bool ends;
	_Atomic bool sends; /* packets to the guest */

	/* From the guest, of its driver's present epoch by pair: the next number. */
	_Atomic unsigned int epoch;
	_Atomic uint32_t seen[NIC_NET_PAIRS];
	_Atomic unsigned int n_twice, n_lost, n_wrong;

	/* To the guest: the next number; numbers from which on the guest was behind another port; how often
	 * each has arrived. */
	_Atomic uint32_t next;
	_Atomic unsigned int n_learned;
	uint32_t learned[NIC_NET_LEARNED];
	_Atomic uint8_t *got;
	/* Smaller numbers may be lost: the driver began anew, and a device drops what comes before it has had
	 * a buffer. UINT32_MAX: nothing has arrived since then. */
	_Atomic uint32_t excused;

	/* The thread's: the port, and how many packets that began at @base have not arrived. */
	struct sockaddr_un port;
	bool known;
	_Atomic uint32_t base, n_got;
	uint64_t base_ns;
};

void nic_net_init(struct nic_net *n);
void nic_net_exit(struct nic_net *n);

/* A frame of these tests; its length, which depends on the number. And whether a frame that came is one, and
 * whole: its mark, or NULL. */
uint32_t nic_frame_make(uint8_t *frame, const uint8_t *from, char magic, unsigned int pair,
			unsigned int epoch, uint32_t seq);
const struct nic_mark *nic_frame_read(const uint8_t *frame, int len, char magic);

/* The guest has got a frame. Its thread. */
void nic_net_got(struct nic_net *n, const uint8_t *frame, int len);

/* Packets to the guest from @first on that it has not got, apart from those that went to a port which it had
 * left, and how many of those there were; the most often that one came. */
struct nic_count {
	unsigned int n_lost, n_left;
	uint32_t first, last; /* of those that are lost */
	unsigned int max;
};
struct nic_count nic_net_count(const struct nic_net *n, uint32_t first);

#endif
