/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A chain's bytes, however many segments hold them. */
#include "devices/virtio/vring_chain.h"

/* Where a copy has got to: the segments ahead of it, and how many bytes of the first lie behind it. */
struct chain_place {
	const struct virtio_seg *seg, *end;
	uint32_t skip;
};

static struct chain_place chain_seek(const struct virtio_seg *seg, uint16_t n, uint32_t offset)
{
	const struct virtio_seg *end = seg + n;

	while (seg < end && offset >= seg->len)
		offset -= seg++->len;
	return (struct chain_place){ .seg = seg, .end = end, .skip = offset };
}

/* The next piece, @len bytes at most: its address, and its length, 0 at the end of the chain's part. */
static uint32_t chain_next(struct chain_place *place, uint32_t len, uint64_t *addr)
{
	uint32_t n;

	if (place->seg == place->end)
		return 0;
	*addr = place->seg->addr + place->skip;
	n = (uint32_t)min_u64(place->seg->len - place->skip, len);
	place->seg++;
	place->skip = 0;
	return n;
}

uint32_t vring_chain_read(const struct memory *mem, const struct vring_chain *chain, uint32_t offset,
			  void *data, uint32_t len)
{
	struct chain_place place = chain_seek(chain->segs, chain->n_read, offset);
	uint32_t done = 0, n;
	uint64_t addr;

	while ((n = chain_next(&place, len - done, &addr)) > 0) {
		if (memory_read(mem, addr, (uint8_t *)data + done, n) < 0)
			break;
		done += n;
	}
	return done;
}

uint32_t vring_chain_write(struct memory *mem, const struct vring_chain *chain, uint32_t offset,
			   const void *data, uint32_t len)
{
	struct chain_place place = chain_seek(chain->segs + chain->n_read, chain->n_write, offset);
	uint32_t done = 0, n;
	uint64_t addr;

	while ((n = chain_next(&place, len - done, &addr)) > 0) {
		if (memory_write(mem, addr, (const uint8_t *)data + done, n) < 0)
			break;
		done += n;
	}
	return done;
}
