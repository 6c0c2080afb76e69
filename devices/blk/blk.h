/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk: a virtio-blk device for the guest in front of a file or block device of the host, its lock, and
 * its part in a migration between hosts that both see the storage.
 */
#ifndef FERRY_DEVICES_BLK_BLK_H
#define FERRY_DEVICES_BLK_BLK_H

#include "devices/pci/bus.h"

struct blk;

struct blk_setup {
	const char *path; /* must outlive the disk */
	bool read_only;
	/* The guest still runs elsewhere, so load() takes the lock. */
	bool arriving;
	unsigned int index; /* of the disk among the VM's */
};

/*
 * Opens the file and adds a disk in front of it to @bus and, as "disk<index>", to @vm's devices. At run time
 * the disk has threads of its own. 0 or -errno.
 */
int __must_check blk_create(struct blk **blk, struct vm *vm, struct pci_bus *bus,
			    const struct blk_setup *setup, struct error *err);

/*
 * Frees the disk, once vCPUs have ended. Waits for its storage until @until_ns (now_ns()), and for a moment
 * where that has passed. False: the storage does not answer, and a thread waits for it in the kernel and uses
 * the disk, its bus and guest memory. Nothing is freed then, and the process must end without freeing these.
 */
bool blk_destroy(struct blk *blk, uint64_t until_ns);

/*
 * Whether @path can be a disk as blk_create() would open it now. For a destination, which may wait long for
 * its guest and opens the disk only then: in between it can still be given another size.
 */
int __must_check blk_check(const char *path, bool read_only, struct error *err);

#endif
