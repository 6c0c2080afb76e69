/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk's requests (virtio 1.4, "Block Device / Device Operation"), one at a time, in the order they come.
 */
#include "devices/blk/blk_priv.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

_Static_assert(sizeof(struct virtio_blk_outhdr) == BLK_HEADER_LEN, "virtio_blk_outhdr");
_Static_assert(offsetof(struct virtio_blk_outhdr, sector) == 8, "virtio_blk_outhdr");
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == BLK_RANGE_LEN,
	       "virtio_blk_discard_write_zeroes");
_Static_assert(offsetof(struct virtio_blk_discard_write_zeroes, flags) == 12,
	       "virtio_blk_discard_write_zeroes");

/* A request as copied from the guest; its data stays where the guest has it. */
struct blk_request {
	uint32_t type;
	uint64_t sector;
	struct iovec *iov;
	unsigned int n_iov;
	uint64_t len;     /* bytes in @iov: what follows the header, or goes before the status */
	uint32_t written; /* bytes of @iov that hold an answer */
	uint64_t before;  /* bytes of the file that it was done for when it was put back */
	uint64_t done;    /* bytes of the file that it is done for, these included */
	bool unsupported; /* not a request that is known here: its answer is another than that of a failure */
	bool put_back;    /* somebody waits for the disk's thread */
};

/*
 * The storage is asked for so much at once. Between two pieces the thread sees to who waits for it, so that
 * neither a pause, which is downtime, nor a reset waits for what a guest can ask for in one request: 4 GiB.
 * Storage that moves 10 MB a second takes 0.1 s for the one; the other is not moved, only marked.
 */
#define BLK_PIECE         MIB(1)
#define BLK_DISCARD_PIECE MIB(64)

/* Points blk->iov to @len bytes of @segs, from byte @skip on. Both are within them. */
static unsigned int blk_find_data(struct blk *blk, const struct virtio_seg *segs, uint64_t skip, uint64_t len)
{
	unsigned int n = 0;

	for (; len > 0; segs++) {
		uint64_t left = segs->len > skip ? min_u64(segs->len - skip, len) : 0;

		if (left > 0) {
			assert(n < ARRAY_SIZE(blk->iov));
			/* The ring has bounded each segment against guest memory. */
			blk->iov[n++] = (struct iovec){
				.iov_base = memory_at(&blk->vm->memory, segs->addr + skip, left),
				.iov_len = left,
			};
		}
		skip -= min_u64(skip, segs->len);
		len -= left;
	}
	return n;
}

/* Whether the thread has something to do before the next request, or the next piece of one. */
static bool blk_is_wanted(struct blk *blk)
{
	return blk->n_callers > 0 || blk->paused;
}

static int blk_check_range(const struct blk *blk, uint64_t sector, uint64_t n_sectors)
{
	return n_sectors <= blk->n_sectors && sector <= blk->n_sectors - n_sectors ? 0 : -ERANGE;
}

/* Work of a request's on [offset, offset + len) of the file, in pieces that end at multiples of @piece. */
struct blk_work {
	uint64_t offset, len, piece;
	int (*fn)(struct blk *blk, struct blk_request *r, uint64_t offset, uint64_t len);
};

/* At least one piece is done each time, so that a request that is interrupted again and again comes to its
 * end. */
static int blk_do(struct blk *blk, struct blk_request *r, struct blk_work work)
{
	uint64_t skip = min_u64(work.len, r->before - min_u64(r->before, r->done));
	uint64_t at = work.offset + skip, end = work.offset + work.len;

	/* A driver that changes a request meanwhile harms itself: all of it has been checked anew. */
	blk_iov_skip(&r->iov, &r->n_iov, skip);
	r->done += skip;
	while (at < end) {
		uint64_t part = min_u64(end - at, work.piece - at % work.piece);
		int ret;

		if (r->done > r->before && blk_is_wanted(blk)) {
			r->put_back = true;
			return -EINTR;
		}
		ret = work.fn(blk, r, at, part);
		if (ret < 0)
			return ret;
		at += part;
		r->done += part;
	}
	return 0;
}

static int blk_read_piece(struct blk *blk, struct blk_request *r, uint64_t offset, uint64_t len)
{
	unsigned int n = blk_iov_cut(&r->iov, &r->n_iov, len, blk->piece);

	return blk_file_transfer(&blk->file, false, blk->piece, n, offset);
}

static int blk_write_piece(struct blk *blk, struct blk_request *r, uint64_t offset, uint64_t len)
{
	unsigned int n = blk_iov_cut(&r->iov, &r->n_iov, len, blk->piece);

	return blk_file_transfer(&blk->file, true, blk->piece, n, offset);
}

static int blk_transfer(struct blk *blk, struct blk_request *r,
			int (*fn)(struct blk *blk, struct blk_request *r, uint64_t offset, uint64_t len))
{
	if (r->len % BLK_SECTOR != 0 || blk_check_range(blk, r->sector, r->len / BLK_SECTOR) < 0)
		return -ERANGE;
	return blk_do(blk, r, (struct blk_work){ r->sector << BLK_SECTOR_SHIFT, r->len, BLK_PIECE, fn });
}

static int blk_read(struct blk *blk, struct blk_request *r)
{
	int ret = blk_transfer(blk, r, blk_read_piece);

	/* Less than 2^32: so is all of a chain. */
	r->written = ret == 0 ? (uint32_t)r->len : 0;
	return ret;
}

/* "A write becomes stable once it is completed" for a driver that was offered FLUSH and did not take it. */
static int blk_make_stable(struct blk *blk, int ret)
{
	return ret == 0 && !virtio_has(blk->features, VIRTIO_BLK_F_FLUSH) ? blk_file_flush(&blk->file) : ret;
}

static int blk_write(struct blk *blk, struct blk_request *r)
{
	return blk_make_stable(blk, blk_transfer(blk, r, blk_write_piece));
}

static int blk_flush(struct blk *blk, struct blk_request *r)
{
	return blk_file_flush(&blk->file);
}

/* The same at every host: the guest may have mounted by it. */
static int blk_get_id(struct blk *blk, struct blk_request *r)
{
	uint8_t id[VIRTIO_BLK_ID_BYTES] = { 0 };

	if (r->len < sizeof(id))
		return -ERANGE;
	memcpy(id, blk->name, strlen(blk->name));
	blk_iov_copy(&r->iov, &r->n_iov, id, sizeof(id), true);
	r->written = sizeof(id);
	return 0;
}

/* Answers a request of a type that Ferry does not know: -EOPNOTSUPP. */
static int blk_unsupported_request(struct blk_request *r)
{
	r->unsupported = true;
	return -EOPNOTSUPP;
}

static int blk_discard_piece(struct blk *blk, struct blk_request *r, uint64_t offset, uint64_t len)
{
	return blk_file_discard(&blk->file, offset, len);
}

static int blk_zero_piece(struct blk *blk, struct blk_request *r, uint64_t offset, uint64_t len)
{
	return blk_file_write_zeroes(&blk->file, offset, len, false);
}

static int blk_unmap_piece(struct blk *blk, struct blk_request *r, uint64_t offset, uint64_t len)
{
	return blk_file_write_zeroes(&blk->file, offset, len, true);
}

static int blk_discard_range(struct blk *blk, struct blk_request *r, const uint8_t *range)
{
	uint64_t sector = get_le64(range);
	uint32_t n_sectors = get_le32(range + 8), flags = get_le32(range + 12);
	struct blk_work work = { .piece = BLK_DISCARD_PIECE, .fn = blk_discard_piece };

	if (flags != 0)
		return blk_unsupported_request(r);
	if (n_sectors > BLK_MAX_DISCARD_SECTORS || blk_check_range(blk, sector, n_sectors) < 0)
		return -ERANGE;
	work.offset = sector << BLK_SECTOR_SHIFT;
	work.len = (uint64_t)n_sectors << BLK_SECTOR_SHIFT;
	return blk_do(blk, r, work);
}

static int blk_write_zeroes_range(struct blk *blk, struct blk_request *r, const uint8_t *range)
{
	uint64_t sector = get_le64(range);
	uint32_t n_sectors = get_le32(range + 8), flags = get_le32(range + 12);
	struct blk_work work = { .piece = BLK_PIECE };

	if (flags & ~(uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
		return blk_unsupported_request(r);
	if (n_sectors > BLK_MAX_WRITE_ZEROES_SECTORS || blk_check_range(blk, sector, n_sectors) < 0)
		return -ERANGE;
	work.fn = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ? blk_unmap_piece : blk_zero_piece;
	work.offset = sector << BLK_SECTOR_SHIFT;
	work.len = (uint64_t)n_sectors << BLK_SECTOR_SHIFT;
	return blk_do(blk, r, work);
}

static int blk_ranges(struct blk *blk, struct blk_request *r, unsigned int max_ranges,
		      int (*fn)(struct blk *blk, struct blk_request *r, const uint8_t *range))
{
	uint8_t ranges[BLK_MAX_RANGES * BLK_RANGE_LEN];
	int ret = 0;

	if (r->len % BLK_RANGE_LEN != 0 || r->len / BLK_RANGE_LEN > max_ranges)
		return -ERANGE;
	blk_iov_copy(&r->iov, &r->n_iov, ranges, r->len, false);
	for (uint64_t at = 0; ret == 0 && at < r->len; at += BLK_RANGE_LEN)
		ret = fn(blk, r, ranges + at);
	return ret;
}

static int blk_discard(struct blk *blk, struct blk_request *r)
{
	return blk_ranges(blk, r, BLK_MAX_RANGES, blk_discard_range);
}

static int blk_write_zeroes(struct blk *blk, struct blk_request *r)
{
	return blk_make_stable(blk, blk_ranges(blk, r, BLK_MAX_ZERO_RANGES, blk_write_zeroes_range));
}

static const struct blk_op {
	uint32_t type;
	const char *name;
	bool answers;      /* its data is for the guest */
	bool changes;      /* the disk */
	uint64_t features; /* without which it does not exist */
	int (*fn)(struct blk *blk, struct blk_request *r);
} blk_ops[] = {
	{ VIRTIO_BLK_T_IN, "IN", true, false, 0, blk_read },
	{ VIRTIO_BLK_T_OUT, "OUT", false, true, 0, blk_write },
	{ VIRTIO_BLK_T_FLUSH, "FLUSH", false, false, 0, blk_flush },
	{ VIRTIO_BLK_T_GET_ID, "GET_ID", true, false, 0, blk_get_id },
	{ VIRTIO_BLK_T_DISCARD, "DISCARD", false, true, VIRTIO_BIT(VIRTIO_BLK_F_DISCARD), blk_discard },
	{ VIRTIO_BLK_T_WRITE_ZEROES, "WRITE_ZEROES", false, true, VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	  blk_write_zeroes },
};

static const struct blk_op *blk_find_op(const struct blk *blk, uint32_t type)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(blk_ops); i++) {
		if (blk_ops[i].type == type && (blk_ops[i].features & ~blk->features) == 0)
			return &blk_ops[i];
	}
	return NULL;
}

static void blk_read_header(struct blk *blk, const struct vring_chain *chain, struct blk_request *r)
{
	uint8_t header[BLK_HEADER_LEN];
	struct iovec *iov = blk->iov;
	unsigned int n = blk_find_data(blk, chain->segs, 0, sizeof(header));

	blk_iov_copy(&iov, &n, header, sizeof(header), false);
	r->type = get_le32(header);
	r->sector = get_le64(header + offsetof(struct virtio_blk_outhdr, sector));
}

/* Whether a driver that was told how long a segment may be keeps to it. */
static bool blk_sizes_ok(const struct blk *blk, const struct vring_chain *chain)
{
	uint32_t max = get_le32(blk->config + offsetof(struct virtio_blk_config, size_max));

	for (unsigned int i = 0; i < (unsigned int)chain->n_read + chain->n_write; i++) {
		if (virtio_has(blk->features, VIRTIO_BLK_F_SIZE_MAX) && chain->segs[i].len > max)
			return false;
	}
	return true;
}

/* Does what a chain asks for: 0 or -errno, with the reason for another answer, or none, in @r. */
static int blk_run(struct blk *blk, const struct vring_chain *chain, struct blk_request *r)
{
	const struct blk_op *op;
	int ret;

	if (chain->read_len < BLK_HEADER_LEN || !blk_sizes_ok(blk, chain))
		return -ERANGE;
	blk_read_header(blk, chain, r);
	op = blk_find_op(blk, r->type);
	if (!op)
		return blk_unsupported_request(r);
	if (op->changes && blk->file.read_only)
		return -EROFS;
	r->len = op->answers ? chain->write_len - 1 : chain->read_len - BLK_HEADER_LEN;
	r->iov = blk->iov;
	r->n_iov = op->answers ? blk_find_data(blk, chain->segs + chain->n_read, 0, r->len)
			       : blk_find_data(blk, chain->segs, BLK_HEADER_LEN, r->len);
	ret = op->fn(blk, r);
	/* Also what failed may have written some of it. */
	for (unsigned int i = chain->n_read; op->answers && i < chain->n_read + chain->n_write; i++)
		memory_mark_dirty(&blk->vm->memory, chain->segs[i].addr, chain->segs[i].len);
	if (ret < 0 && !r->put_back)
		log_limited(&blk->log_limit, LOG_WARN, "%s: %s of sector %llu (%llu bytes) of %s failed: %s",
			    blk->name, op->name, (unsigned long long)r->sector, (unsigned long long)r->len,
			    blk->file.path, strerror(-ret));
	return ret;
}

static uint8_t blk_status(const struct blk_request *r, int ret)
{
	if (ret == 0)
		return VIRTIO_BLK_S_OK;
	return r->unsupported ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* Takes a request and answers it: 1 done, 0 there is none, -EINVAL; -EINTR, and it is the next again. */
static int blk_serve_one(struct blk *blk)
{
	struct blk_request r = { 0 };
	struct vring_chain chain;
	const struct virtio_seg *last;
	uint8_t *status;
	int ret = vring_pop(&blk->vring, &chain);

	if (ret <= 0)
		return ret;
	if (chain.n_write == 0) {
		log_limited(&blk->log_limit, LOG_WARN, "%s: a request without room for its status",
			    blk->name);
		vring_push(&blk->vring, chain.head, 0);
		return 1;
	}
	if (chain.head == blk->half_head)
		r.before = blk->half_done;
	blk->half_done = 0;
	ret = blk_run(blk, &chain, &r);
	if (r.put_back) {
		blk->half_head = chain.head;
		blk->half_done = r.done;
		vring_unpop(&blk->vring);
		return -EINTR;
	}
	last = &chain.segs[chain.n_read + chain.n_write - 1];
	status = memory_at(&blk->vm->memory, last->addr + last->len - 1, 1);
	*status = blk_status(&r, ret);
	memory_mark_dirty(&blk->vm->memory, last->addr + last->len - 1, 1);
	vring_push(&blk->vring, chain.head, r.written + 1);
	return 1;
}

static void blk_break(struct blk *blk)
{
	log_limited(&blk->log_limit, LOG_WARN, "%s: stopped until the guest's driver resets it: %s",
		    blk->name, blk->vring.broken);
	blk->broken = true;
	blk->running = false;
	virtio_pci_needs_reset(&blk->virtio);
}

/* The thread comes back here after what waits for it; after a pause, when resume() says so. */
static void blk_put_off(struct blk *blk)
{
	if (!blk->paused)
		blk_kick_self(blk);
}

/* Each answer is given when it is there: the next request can take long. */
static void blk_serve(struct blk *blk)
{
	int ret = 1;

	while (ret > 0) {
		if (blk_is_wanted(blk)) {
			ret = -EINTR;
			break;
		}
		vring_disable_kicks(&blk->vring);
		ret = blk_serve_one(blk);
		if (vring_publish(&blk->vring))
			virtio_pci_notify_queue(&blk->virtio, 0);
		if (ret == 0)
			ret = vring_enable_kicks(&blk->vring);
	}
	if (ret == -EINTR)
		blk_put_off(blk);
	else if (ret < 0)
		blk_break(blk);
}

void blk_kick_self(struct blk *blk)
{
	loop_signal(blk->kick.fd);
}

void blk_kicked(struct loop_source *src, uint32_t events)
{
	struct blk *blk = container_of(src, struct blk, kick);

	if (loop_take(src->fd) && blk->running)
		blk_serve(blk);
}
