/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of a disk: a table of all that there are, and doing one in pieces. */
#include "devices/blk/io.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>

#include "devices/blk/holes.h"
#include "devices/blk/iov.h"
#include "devices/blk/transfer.h"

#define BLK_HEADER_LEN 16u /* struct virtio_blk_outhdr */
#define BLK_RANGE_LEN  16u /* struct virtio_blk_discard_write_zeroes */

_Static_assert(sizeof(struct virtio_blk_outhdr) == BLK_HEADER_LEN, "virtio_blk_outhdr");
_Static_assert(offsetof(struct virtio_blk_outhdr, sector) == 8, "virtio_blk_outhdr");
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == BLK_RANGE_LEN,
	       "virtio_blk_discard_write_zeroes");
_Static_assert(offsetof(struct virtio_blk_discard_write_zeroes, flags) == 12,
	       "virtio_blk_discard_write_zeroes");

/* A request as copied from the guest; its data stays where the guest has it. */
struct blk_request {
	const struct vring_chain *chain;
	uint32_t type;
	uint64_t sector;
	/* The data, which follows the header or goes before the status. */
	struct iovec *iov;
	unsigned int n_iov;
	uint64_t len;
	uint32_t written; /* bytes of it that hold an answer */
	/* Bytes of the file that the request was done for when it was put back, and is done for now. */
	uint64_t before;
	uint64_t done;
	/* The answer says that the request is unknown, and not that it failed. */
	bool unsupported;
	/* The thread is wanted, so no answer is given yet. */
	bool put_back;
};

/*
 * Bytes of the file that the storage is asked for at once. Between two pieces the thread sees to who waits
 * for it, so that neither a pause, which is downtime, nor a reset waits for what a guest can ask for in one
 * request: 4 GiB. Storage that moves 10 MB a second takes 0.1 s for a piece; a discard moves nothing, so its
 * pieces are longer.
 */
#define BLK_PIECE         MIB(1)
#define BLK_DISCARD_PIECE MIB(64)

/* Points io->iov at @len bytes of @segs, from byte @skip on. Both are within them. */
static unsigned int blk_find_data(struct blk_io *io, const struct virtio_seg *segs, uint64_t skip,
				  uint64_t len)
{
	unsigned int n = 0;

	for (; len > 0; segs++) {
		uint64_t left = segs->len > skip ? min_u64(segs->len - skip, len) : 0;

		if (left > 0) {
			assert(n < ARRAY_SIZE(io->iov));
			/* The ring has bounded each segment against guest memory. */
			io->iov[n++] = (struct iovec){
				.iov_base = memory_at(io->memory, segs->addr + skip, left),
				.iov_len = left,
			};
		}
		skip -= min_u64(skip, segs->len);
		len -= left;
	}
	return n;
}

static int blk_check_range(const struct blk_io *io, uint64_t sector, uint64_t n_sectors)
{
	uint64_t all = blk_file_sectors(io->file);

	return n_sectors <= all && sector <= all - n_sectors ? 0 : -ERANGE;
}

/* A request's work on [offset, offset + len) of the file, in pieces that end at multiples of @piece. */
struct blk_work {
	uint64_t offset, len, piece;
	int (*fn)(struct blk_io *io, struct blk_request *r, uint64_t offset, uint64_t len);
};

/* Goes on behind the bytes that the request was done for before, and does at least one piece. */
static int blk_do_pieces(struct blk_io *io, struct blk_request *r, struct blk_work work)
{
	uint64_t skip = min_u64(work.len, r->before - min_u64(r->before, r->done));
	uint64_t at = work.offset + skip, end = work.offset + work.len;

	/* A driver that changes a request meanwhile harms itself, for all of it has been checked anew. */
	blk_iov_skip(&r->iov, &r->n_iov, skip);
	r->done += skip;
	while (at < end) {
		uint64_t part = min_u64(end - at, work.piece - at % work.piece);
		int ret;

		if (r->done > r->before && blk_thread_wanted(io->thread)) {
			r->put_back = true;
			return -EINTR;
		}
		ret = work.fn(io, r, at, part);
		if (ret < 0)
			return ret;
		at += part;
		r->done += part;
	}
	return 0;
}

static int blk_read_piece(struct blk_io *io, struct blk_request *r, uint64_t offset, uint64_t len)
{
	unsigned int n = blk_iov_cut(&r->iov, &r->n_iov, len, io->piece);

	return blk_file_read(io->file, io->piece, n, offset);
}

static int blk_write_piece(struct blk_io *io, struct blk_request *r, uint64_t offset, uint64_t len)
{
	unsigned int n = blk_iov_cut(&r->iov, &r->n_iov, len, io->piece);

	return blk_file_write(io->file, io->piece, n, offset);
}

static int blk_transfer(struct blk_io *io, struct blk_request *r,
			int (*fn)(struct blk_io *io, struct blk_request *r, uint64_t offset, uint64_t len))
{
	if (r->len % BLK_SECTOR != 0 || blk_check_range(io, r->sector, r->len / BLK_SECTOR) < 0)
		return -ERANGE;
	return blk_do_pieces(io, r,
			     (struct blk_work){ r->sector << BLK_SECTOR_SHIFT, r->len, BLK_PIECE, fn });
}

static int blk_read(struct blk_io *io, struct blk_request *r)
{
	int ret = blk_transfer(io, r, blk_read_piece);

	/* The length of a chain fits 32 bits, so that of a part does. */
	r->written = ret == 0 ? (uint32_t)r->len : 0;
	return ret;
}

/* A driver that was offered FLUSH and did not take it must find each write stable once it is completed
 * (virtio 1.4, "Block Device / Device Operation"). */
static int blk_make_stable(struct blk_io *io, int ret)
{
	return ret == 0 && !virtio_has(io->features, VIRTIO_BLK_F_FLUSH) ? blk_file_flush(io->file) : ret;
}

static int blk_write(struct blk_io *io, struct blk_request *r)
{
	return blk_make_stable(io, blk_transfer(io, r, blk_write_piece));
}

static int blk_flush(struct blk_io *io, struct blk_request *r)
{
	return blk_file_flush(io->file);
}

/* The guest may have mounted by its disk's ID, so that is the same at every host. */
static int blk_get_id(struct blk_io *io, struct blk_request *r)
{
	uint8_t id[VIRTIO_BLK_ID_BYTES] = { 0 };

	if (r->len < sizeof(id))
		return -ERANGE;
	memcpy(id, io->thread->disk, strlen(io->thread->disk));
	vring_chain_write(io->memory, r->chain, 0, id, sizeof(id));
	r->written = sizeof(id);
	return 0;
}

/* Has a request of a type or with a flag that Ferry does not know answered as such: -EOPNOTSUPP. */
static int blk_unsupported_request(struct blk_request *r)
{
	r->unsupported = true;
	return -EOPNOTSUPP;
}

static int blk_discard_piece(struct blk_io *io, struct blk_request *r, uint64_t offset, uint64_t len)
{
	return blk_file_discard(io->file, offset, len);
}

static int blk_zero_piece(struct blk_io *io, struct blk_request *r, uint64_t offset, uint64_t len)
{
	return blk_file_write_zeroes(io->file, offset, len);
}

static int blk_unmap_piece(struct blk_io *io, struct blk_request *r, uint64_t offset, uint64_t len)
{
	return blk_file_unmap(io->file, offset, len);
}

static int blk_discard_range(struct blk_io *io, struct blk_request *r, const uint8_t *range)
{
	uint64_t sector = get_le64(range);
	uint32_t n_sectors = get_le32(range + 8), flags = get_le32(range + 12);
	struct blk_work work = { .piece = BLK_DISCARD_PIECE, .fn = blk_discard_piece };

	if (flags != 0)
		return blk_unsupported_request(r);
	if (n_sectors > BLK_MAX_DISCARD_SECTORS || blk_check_range(io, sector, n_sectors) < 0)
		return -ERANGE;
	work.offset = sector << BLK_SECTOR_SHIFT;
	work.len = (uint64_t)n_sectors << BLK_SECTOR_SHIFT;
	return blk_do_pieces(io, r, work);
}

static int blk_write_zeroes_range(struct blk_io *io, struct blk_request *r, const uint8_t *range)
{
	uint64_t sector = get_le64(range);
	uint32_t n_sectors = get_le32(range + 8), flags = get_le32(range + 12);
	struct blk_work work = { .piece = BLK_PIECE };

	if (flags & ~(uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
		return blk_unsupported_request(r);
	if (n_sectors > BLK_MAX_WRITE_ZEROES_SECTORS || blk_check_range(io, sector, n_sectors) < 0)
		return -ERANGE;
	work.fn = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ? blk_unmap_piece : blk_zero_piece;
	work.offset = sector << BLK_SECTOR_SHIFT;
	work.len = (uint64_t)n_sectors << BLK_SECTOR_SHIFT;
	return blk_do_pieces(io, r, work);
}

static int blk_ranges(struct blk_io *io, struct blk_request *r, unsigned int max_ranges,
		      int (*fn)(struct blk_io *io, struct blk_request *r, const uint8_t *range))
{
	uint8_t ranges[BLK_MAX_RANGES * BLK_RANGE_LEN] = { 0 };
	int ret = 0;

	if (r->len % BLK_RANGE_LEN != 0 || r->len / BLK_RANGE_LEN > max_ranges)
		return -ERANGE;
	vring_chain_read(io->memory, r->chain, BLK_HEADER_LEN, ranges, (uint32_t)r->len);
	for (uint64_t at = 0; ret == 0 && at < r->len; at += BLK_RANGE_LEN)
		ret = fn(io, r, ranges + at);
	return ret;
}

static int blk_discard(struct blk_io *io, struct blk_request *r)
{
	return blk_ranges(io, r, BLK_MAX_RANGES, blk_discard_range);
}

static int blk_write_zeroes(struct blk_io *io, struct blk_request *r)
{
	return blk_make_stable(io, blk_ranges(io, r, BLK_MAX_ZERO_RANGES, blk_write_zeroes_range));
}

static const struct blk_op {
	uint32_t type;
	const char *name;
	bool answers;      /* the data goes to the guest */
	bool changes;      /* the disk is written */
	uint64_t features; /* the driver must have accepted them */
	int (*fn)(struct blk_io *io, struct blk_request *r);
} blk_ops[] = {
	{ VIRTIO_BLK_T_IN, "IN", true, false, 0, blk_read },
	{ VIRTIO_BLK_T_OUT, "OUT", false, true, 0, blk_write },
	{ VIRTIO_BLK_T_FLUSH, "FLUSH", false, false, 0, blk_flush },
	{ VIRTIO_BLK_T_GET_ID, "GET_ID", true, false, 0, blk_get_id },
	{ VIRTIO_BLK_T_DISCARD, "DISCARD", false, true, VIRTIO_BIT(VIRTIO_BLK_F_DISCARD), blk_discard },
	{ VIRTIO_BLK_T_WRITE_ZEROES, "WRITE_ZEROES", false, true, VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	  blk_write_zeroes },
};

static const struct blk_op *blk_find_op(const struct blk_io *io, uint32_t type)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(blk_ops); i++) {
		if (blk_ops[i].type == type && (blk_ops[i].features & ~io->features) == 0)
			return &blk_ops[i];
	}
	return NULL;
}

static void blk_read_header(struct blk_io *io, struct blk_request *r)
{
	uint8_t header[BLK_HEADER_LEN] = { 0 };

	vring_chain_read(io->memory, r->chain, 0, header, sizeof(header));
	r->type = get_le32(header);
	r->sector = get_le64(header + offsetof(struct virtio_blk_outhdr, sector));
}

/* Whether a driver that was told how long a segment may be keeps to it. */
static bool blk_sizes_ok(const struct blk_io *io, const struct vring_chain *chain)
{
	uint32_t max = get_le32(io->config + offsetof(struct virtio_blk_config, size_max));

	for (unsigned int i = 0; i < (unsigned int)chain->n_read + chain->n_write; i++) {
		if (virtio_has(io->features, VIRTIO_BLK_F_SIZE_MAX) && chain->segs[i].len > max)
			return false;
	}
	return true;
}

/* Does what the chain asks for: 0 or -errno, and @r says whether that is no failure, or no answer yet. */
static int blk_run(struct blk_io *io, struct blk_request *r)
{
	const struct vring_chain *chain = r->chain;
	const struct blk_op *op;
	int ret;

	if (chain->read_len < BLK_HEADER_LEN || !blk_sizes_ok(io, chain))
		return -ERANGE;
	blk_read_header(io, r);
	op = blk_find_op(io, r->type);
	if (!op)
		return blk_unsupported_request(r);
	if (op->changes && io->file->read_only)
		return -EROFS;
	r->len = op->answers ? chain->write_len - 1 : chain->read_len - BLK_HEADER_LEN;
	r->iov = io->iov;
	r->n_iov = op->answers ? blk_find_data(io, chain->segs + chain->n_read, 0, r->len)
			       : blk_find_data(io, chain->segs, BLK_HEADER_LEN, r->len);
	ret = op->fn(io, r);
	/* A request that failed may have written a part, so all is marked. */
	for (unsigned int i = chain->n_read; op->answers && i < chain->n_read + chain->n_write; i++)
		memory_mark_dirty(io->memory, chain->segs[i].addr, chain->segs[i].len);
	if (ret < 0 && !r->put_back)
		log_limited(&io->log_limit, LOG_WARN, "%s: %s of sector %llu (%llu bytes) of %s failed: %s",
			    io->thread->disk, op->name, (unsigned long long)r->sector,
			    (unsigned long long)r->len, io->file->path, strerror(-ret));
	return ret;
}

static uint8_t blk_status(const struct blk_request *r, int ret)
{
	if (ret == 0)
		return VIRTIO_BLK_S_OK;
	return r->unsupported ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

int blk_io_do(struct blk_io *io, const struct vring_chain *chain, uint64_t *done, uint32_t *len)
{
	struct blk_request r = { .chain = chain, .before = *done };
	uint8_t status;
	int ret;

	*len = 0;
	if (chain->n_write == 0) {
		log_limited(&io->log_limit, LOG_WARN, "%s: a request has no room for its status",
			    io->thread->disk);
		return 0;
	}
	ret = blk_run(io, &r);
	*done = r.done;
	if (r.put_back)
		return -EINTR;
	status = blk_status(&r, ret);
	vring_chain_write(io->memory, chain, chain->write_len - 1, &status, sizeof(status));
	*len = r.written + 1;
	return 0;
}
