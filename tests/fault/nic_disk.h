/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's disk, which all hosts see, and its driver: one write at a time goes round through the sectors,
 * each with its number. Afterwards each sector has the last number that it was acknowledged with.
 */
#ifndef FERRY_TESTS_FAULT_NIC_DISK_H
#define FERRY_TESTS_FAULT_NIC_DISK_H

#include "devices/blk/blk.h"
#include "tests/fake/net_guest.h"

#define NIC_DISK_SECTORS 16u

struct nic_disk {
	int fd; /* of the file, which has no name but path */
	char path[32];

	/* Of whoever runs the guest, and of anyone while its VMs stand still. */
	struct fake_driver ring;
	uint64_t common, notify;                 /* gpa of the transport's structures */
	uint32_t newest;                         /* the number given last */
	uint32_t acknowledged[NIC_DISK_SECTORS]; /* the number of the last write that was answered */
	/* Of one that was with the disk when the guest was reset: written or not. */
	uint32_t forgotten[NIC_DISK_SECTORS];
	unsigned int n_written;

	_Atomic bool asked; /* a write is with the disk */
	_Atomic bool quiet; /* there are to be no more writes */
	_Atomic(const char *) wrong;
};

void nic_disk_init(struct nic_disk *d);
void nic_disk_exit(struct nic_disk *d);

/* The driver's start in @here, whose second device is the disk. */
void nic_disk_start(struct nic_disk *d, struct net_guest *here);
/* The guest and its driver go on in @here. */
void nic_disk_follow(struct nic_disk *d, struct net_guest *here);
void nic_disk_step(struct nic_disk *d, struct net_guest *here);

/* The first sector that has another number than it can have, or -1; *@number is what it has. Nothing is with
 * the disk. */
int nic_disk_diff(struct nic_disk *d, uint32_t *number);

#endif
