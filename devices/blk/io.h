/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does one request of a disk (virtio 1.4, "Block Device / Device Operation"), from the chain that carries it
 * to the status byte. The chain's segments have been bounded against guest memory; their bytes are hostile.
 */
#ifndef FERRY_DEVICES_BLK_IO_H
#define FERRY_DEVICES_BLK_IO_H

#include <sys/uio.h>

#include "devices/blk/config_space.h"
#include "devices/blk/job.h"
#include "devices/virtio/vring.h"

/* Entries of the ring, and so most buffers of a chain: header, data and status. */
#define BLK_RING_SIZE (BLK_MAX_SEGS + 2u)

/* Requests are done on this. The disk sets it up before its thread runs, which has it from then on. */
struct blk_io {
	struct blk_file *file;
	struct memory *memory;
	struct blk_thread *thread; /* a request makes way for its jobs */
	const uint8_t *config;     /* as the guest has been shown it */
	uint64_t features;         /* accepted by the driver */
	struct iovec iov[BLK_RING_SIZE], piece[BLK_RING_SIZE];
	struct log_limit log_limit; /* for what the guest asks for in vain */
};

/*
 * Does what @chain asks for and answers it in guest memory. Returns 0 with @len, the bytes written there, to
 * give the chain back with.
 *
 * -EINTR: the thread is wanted (blk_thread_wanted()), and the chain is to be put back. @done, 0 for a new
 * request, is then how many bytes of the file it was done for, and is handed in again with the same chain. A
 * request that is put back again and again comes to its end, for at least one piece of it is done each time.
 */
int __must_check blk_io_do(struct blk_io *io, const struct vring_chain *chain, uint64_t *done, uint32_t *len);

#endif
