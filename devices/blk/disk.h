/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole of a disk, for blk.c, driver.c and migrate.c. All that lies below works on parts of it. */
#ifndef FERRY_DEVICES_BLK_DISK_H
#define FERRY_DEVICES_BLK_DISK_H

#include "devices/blk/ring.h"
#include "vmm/device.h"

struct blk {
	struct virtio_pci virtio;
	struct device device;
	char name[16];
	struct blk_thread thread;      /* the disk's: all requests */
	struct blk_thread sync_thread; /* writes back beside them */
	struct blk_file file;
	uint64_t offered;
	uint8_t config[BLK_CONFIG_LEN]; /* never changes once the guest runs */
	struct blk_ring ring;

	/* For a vCPU with the transport's lock, or the migration's thread while vCPUs are stopped. @started:
	 * the disk's thread has been given the ring. While @reset is posted, it is to give the ring back. */
	bool started;
	struct blk_job start, reset;

	/* For the migration's thread. */
	struct blk_job job, sync_job, release_job;
	/* settle() waits since @asked_ns (now_ns()), with vCPUs running. */
	bool asking;
	uint64_t asked_ns;
	/* The latest of @job is what pause() wants done. */
	bool resting;
	bool let_go; /* save() has begun to give up the lock */

	/* Written by a job of @job, and read by the thread that has seen it done. */
	uint64_t fingerprint;

	struct log_limit log_limit;
};

#endif
