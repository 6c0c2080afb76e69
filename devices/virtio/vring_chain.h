/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A chain of buffers as copied from the guest, and its bytes. */
#ifndef FERRY_DEVICES_VIRTIO_VRING_CHAIN_H
#define FERRY_DEVICES_VIRTIO_VRING_CHAIN_H

#include "devices/virtio/virtio.h"
#include "vmm/memory.h"

/*
 * @n_read segments for the device to read, then @n_write to write. Every segment lay in one region of guest
 * RAM when it was copied, and has at least one byte: descriptors of length 0 are legal and are left out. So a
 * chain may have no segments at all; it is to be given back with length 0.
 */
struct vring_chain {
	uint16_t head; /* packed: the buffer id */
	uint16_t n_read;
	uint16_t n_write;
	uint32_t read_len;  /* bytes in the readable segments */
	uint32_t write_len; /* bytes in the writable ones */
	struct virtio_seg *segs;
};

/*
 * Copies @len bytes of the readable part from @offset on, or into the writable part from @offset on, which
 * marks them dirty. Returns how many bytes were copied: fewer where the part ends before, or where a segment
 * is not in
 * @mem any more.
 */
uint32_t vring_chain_read(const struct memory *mem, const struct vring_chain *chain, uint32_t offset,
			  void *data, uint32_t len);
uint32_t vring_chain_write(struct memory *mem, const struct vring_chain *chain, uint32_t offset,
			   const void *data, uint32_t len);

#endif
