/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk's part in a migration. Its bytes stay where they are, on storage that both hosts see; what moves
 * is the right to touch them, and the ring.
 *
 * The lock: the destination opens the file without it. The source gives it up in save(), when all is written
 * back and no request is served any more. The destination takes it in load(), so before PREPARED. A source
 * whose migration has failed takes it again in reclaim(), and without it the guest does not go on.
 *
 * Caches: a disk that is written goes around the page cache where its storage allows that, so neither host
 * has anything that the other does not see. Elsewhere the source writes back, most of it in settle() while
 * the guest runs and the rest after pause(). The destination forgets what its page cache has from an earlier
 * time (a probe, an earlier stay of this guest), first in warm_load() and once more in load(), when nobody
 * writes. Then both must see the same beginning: a fingerprint of it goes with the state.
 *
 * Storage may never answer: a file system is frozen, a server has gone. A thread that asks it then stays in
 * the kernel, and no signal gets it out. So only the disk's own threads ask, and the functions here wait for
 * their answers with a deadline. A job that is done too late does no harm: a pause that was given up leaves
 * the request in flight where it is.
 */
#include "devices/blk/migrate.h"

#include <errno.h>

#include "devices/blk/driver.h"
#include "devices/blk/transfer.h"
#include "devices/virtio/pci_ring.h"
#include "devices/virtio/pci_state.h"

/* Deadline for a request, with vCPUs running: longer than a disk tries to read a bad sector. */
#define BLK_ANSWER_MS 10000u
/* Deadline for writing back all that the host has cached: as long as a migration waits for anything. */
#define BLK_SYNC_MS 60000u
/* Deadline at a destination while the guest runs at the source. */
#define BLK_WARM_MS 10000
/* Deadlines while the guest stands still: little is asked for, and storage has answered a moment ago. A
 * source waits 10 s for load(). */
#define BLK_TAKE_MS 5000
#define BLK_LOCK_MS 1000

/* Partition tables and superblocks of file systems, with their identities and times, lie in the beginning of
 * a disk. */
#define BLK_FINGERPRINT_LEN KIB(64)

_Static_assert(BLK_FINGERPRINT_LEN <= BLK_BOUNCE_LEN, "the beginning is read in one go");
_Static_assert(BLK_FINGERPRINT_LEN % BLK_MAX_ALIGN == 0, "and without the bounce buffer's help");

static void blk_describe(struct device *dev, struct state_writer *w)
{
	const struct blk *blk = container_of(dev, struct blk, device);

	/* Size and access are fixed since the disk was built, or since accept(). */
	state_put_u64(w, "sectors", blk_file_sectors(&blk->file));
	state_put_u32(w, "block-len", blk->file.block_len);
	state_put_u32(w, "read-only", blk->file.read_only);
	state_put_u32(w, "queue-size", blk->virtio.queues[0].max_size);
	state_put_u64(w, "offered", blk->offered);
	state_put_blob(w, "config", blk->config, sizeof(blk->config));
}

/* The disk as the source has shown it to its guest. */
struct blk_description {
	uint64_t n_sectors, offered;
	uint32_t block_len, read_only, queue_size;
	uint8_t config[BLK_CONFIG_LEN];
};

static int blk_compare(struct blk *blk, const struct blk_description *d, struct error *err)
{
	const struct blk_file *f = &blk->file;
	int ret = 0;

	if (d->n_sectors != blk_file_sectors(f)) {
		error_add(err, "%s: the guest's disk has %llu bytes, %s has %llu: it is not the same",
			  blk->name, (unsigned long long)d->n_sectors << BLK_SECTOR_SHIFT, f->path,
			  (unsigned long long)f->len);
		ret = -ENOTSUP;
	}
	if (d->block_len != f->block_len) {
		error_add(err, "%s: the guest's disk has blocks of %u bytes, %s of %u", blk->name,
			  d->block_len, f->path, f->block_len);
		ret = -ENOTSUP;
	}
	if (d->read_only != f->read_only) {
		error_add(err, "%s: the guest's disk is %s, %s is given here %s \",ro\"", blk->name,
			  d->read_only ? "only read" : "written", f->path, f->read_only ? "with" : "without");
		return -ENOTSUP;
	}
	if (d->queue_size > BLK_RING_SIZE || !is_power_of_2(d->queue_size)) {
		error_add(err, "%s: the queue has up to %u entries, here it takes %u", blk->name,
			  d->queue_size, BLK_RING_SIZE);
		ret = -ENOTSUP;
	}
	if (blk_config_refuse_missing(d->offered & ~blk->offered, blk->name, err) < 0)
		ret = -ENOTSUP;
	if (ret == 0 && !blk_config_kept(f, d->offered, d->config)) {
		error_add(err, "%s: the guest has been shown other limits than %s has here", blk->name,
			  f->path);
		ret = -ENOTSUP;
	}
	return ret;
}

static int blk_accept(struct device *dev, struct state_node *node)
{
	struct blk *blk = container_of(dev, struct blk, device);
	struct blk_description d;
	uint16_t queue_size;
	int ret;

	if (state_get_u64(node, "sectors", 1, UINT64_MAX >> BLK_SECTOR_SHIFT, &d.n_sectors) < 0 ||
	    state_get_u32(node, "block-len", BLK_SECTOR, UINT32_MAX, &d.block_len) < 0 ||
	    state_get_u32(node, "read-only", 0, 1, &d.read_only) < 0 ||
	    state_get_u32(node, "queue-size", 1, VIRTIO_RING_MAX_SIZE, &d.queue_size) < 0 ||
	    state_get_u64(node, "offered", 0, UINT64_MAX, &d.offered) < 0 ||
	    state_get_bytes(node, "config", d.config, sizeof(d.config)) < 0 || state_finish(node) < 0)
		return -EINVAL;
	ret = blk_compare(blk, &d, node->err);
	if (ret < 0)
		return ret;
	blk->offered = d.offered;
	/* The guest goes on with the configuration that it has read at the source. */
	memcpy(blk->config, d.config, sizeof(blk->config));
	queue_size = (uint16_t)d.queue_size;
	virtio_pci_limit(&blk->virtio, 1, &queue_size, d.offered);
	return 0;
}

/* Sends an empty state once, for it only tells the destination to try its storage: see blk_warm_load(). */
static int blk_warm_save(struct device *dev, struct state_writer *w, bool first)
{
	/*
	 * An answer that an earlier migration did not wait for says nothing about the storage as it is now.
	 */
	if (first)
		container_of(dev, struct blk, device)->asking = false;
	return first;
}

/* Makes a number of what the file begins with, by FNV-1a: it tells mistakes, not malice. The bounce buffer is
 * free, for the thread is at no request. */
static int blk_read_fingerprint(struct blk_file *f, uint64_t *fingerprint)
{
	size_t len = min_u64(f->len, BLK_FINGERPRINT_LEN);
	struct iovec iov = { .iov_base = f->bounce, .iov_len = len };
	int ret = blk_file_read(f, &iov, 1, 0);

	*fingerprint = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; ret == 0 && i < len; i++)
		*fingerprint = (*fingerprint ^ f->bounce[i]) * UINT64_C(0x100000001b3);
	return ret;
}

static int blk_read_beginning(struct blk *blk, struct error *err)
{
	int ret = blk_read_fingerprint(&blk->file, &blk->fingerprint);

	if (ret < 0) {
		error_add(err, "%s: cannot read the beginning of %s: %s", blk->name, blk->file.path,
			  strerror(-ret));
		return ret;
	}
	return 0;
}

static int blk_warm_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	blk_file_drop_cache(&blk->file);
	return blk_read_beginning(blk, err);
}

/* Drops the cache ahead of time, and finds out, while the guest runs at the source, whether its storage
 * answers here. */
static int blk_warm_load(struct device *dev, struct state_node *node)
{
	struct blk *blk = container_of(dev, struct blk, device);
	int ret = state_finish(node);

	return ret < 0 ? ret : blk_job_run(&blk->job, blk_warm_job, end_of(BLK_WARM_MS), node->err);
}

/* Writes back beside the guest's requests. A failure is kept, and found again after pause(). */
static int blk_sync_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	if (blk_file_write_back(&blk->file) < 0)
		log_limited(&blk->log_limit, LOG_DEBUG, "%s: writing back ahead of time failed", blk->name);
	return 0;
}

/* Finds out whether the storage answers, by reading. The thread comes to that behind its request. */
static int blk_answer_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	return blk_read_beginning(blk, err);
}

static int blk_rest_job(void *arg, struct error *err)
{
	struct blk *blk = arg;
	int ret = blk_file_write_back(&blk->file);

	if (ret < 0) {
		error_add(err, "%s: cannot write back what the guest has written to %s: %s", blk->name,
			  blk->file.path, strerror(-ret));
		return ret;
	}
	return blk_read_beginning(blk, err);
}

/* Returns -EAGAIN, or -ETIMEDOUT with the reason once @max_ms have passed. */
static int blk_still_asking(struct blk *blk, unsigned int max_ms, struct error *err)
{
	if (now_ns() - blk->asked_ns < max_ms * UINT64_C(1000000))
		return -EAGAIN;
	blk->asking = false;
	error_add(err,
		  "%s: the storage of %s has not answered for %u s: it is frozen, out of reach or too "
		  "slow, and the guest's requests wait for it",
		  blk->name, blk->file.path, max_ms / 1000);
	return -ETIMEDOUT;
}

static int blk_settle_running(struct blk *blk, uint64_t until_ns, struct error *err)
{
	if (!blk->asking) {
		blk->asking = true;
		blk->asked_ns = now_ns();
		/* A job of an earlier question that is still under way tells as much as a new one. */
		if (blk_job_done(&blk->sync_job, 0))
			blk_job_post(&blk->sync_job, blk_sync_job);
		if (blk_job_done(&blk->job, 0))
			blk_job_post(&blk->job, blk_answer_job);
	}
	if (!blk_job_done(&blk->job, until_ns))
		return blk_still_asking(blk, blk->file.flushing ? BLK_SYNC_MS : BLK_ANSWER_MS, err);
	if (!blk_job_done(&blk->sync_job, until_ns))
		return blk_still_asking(blk, BLK_SYNC_MS, err);
	blk->asking = false;
	return blk_job_result(&blk->job, err);
}

static int blk_settle(struct device *dev, uint64_t until_ns, struct error *err)
{
	struct blk *blk = container_of(dev, struct blk, device);

	if (!blk->thread.paused)
		return blk_settle_running(blk, until_ns, err);
	if (!blk_job_done(&blk->job, until_ns))
		return -EAGAIN;
	if (!blk->resting) {
		blk->resting = true;
		blk_job_post(&blk->job, blk_rest_job);
		if (!blk_job_done(&blk->job, until_ns))
			return -EAGAIN;
	}
	/* A guest whose writes were lost is not moved, for it would never hear of that elsewhere. */
	return blk_job_result(&blk->job, err);
}

static void blk_pause(struct device *dev)
{
	struct blk *blk = container_of(dev, struct blk, device);

	blk->thread.paused = true;
	blk->asking = false;
	blk->resting = blk_job_done(&blk->job, 0);
	if (blk->resting)
		blk_job_post(&blk->job, blk_rest_job);
}

static int blk_unlock_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	blk_file_unlock(&blk->file);
	return 0;
}

/* Runs on the caller's thread, for the disk's own has nothing to do since settle(). */
static void blk_save(struct device *dev, struct state_writer *w)
{
	struct blk *blk = container_of(dev, struct blk, device);
	struct error err = { 0 };
	int ret;

	state_put_u64(w, "fingerprint", blk->fingerprint);
	virtio_pci_save(&blk->virtio, w);
	if (blk->ring.has_ring && !blk->ring.broken) {
		state_begin(w, "ring");
		vring_save(&blk->ring.vring, w);
		state_end(w);
	}
	/* A disk keeps its lock where the state of another could not be written. */
	if (w->ret < 0)
		return;
	blk->let_go = true;
	ret = blk_job_run(&blk->job, blk_unlock_job, end_of(BLK_LOCK_MS), &err);
	if (ret < 0) {
		log_error("%s", err.text);
		state_fail(w, ret);
	}
}

/* A guest's state as it comes to a destination, read before any of it is applied. */
struct blk_arrival {
	uint64_t fingerprint;
	struct virtio_pci_loaded virtio;
	bool started, broken, has_ring;
	struct vring vring;
};

static int blk_read_ring(struct blk *blk, struct blk_arrival *a, struct state_node *node)
{
	if (blk_ring_find(&blk->ring, a->virtio.accepted, &a->virtio.queues[0], &a->vring, node->err) < 0)
		return -EINVAL;
	a->has_ring = true;
	return virtio_pci_load_ring(&a->vring, node, blk->name);
}

static int blk_read_arrival(struct blk *blk, struct blk_arrival *a, struct state_node *node)
{
	if (state_get_u64(node, "fingerprint", 0, UINT64_MAX, &a->fingerprint) < 0 ||
	    virtio_pci_get(&blk->virtio, node, &a->virtio) < 0)
		return -EINVAL;
	a->started = a->virtio.status & VIRTIO_CONFIG_S_DRIVER_OK;
	/* A driver that had to reset the disk at the source has to here, too. */
	a->broken = a->started && a->virtio.status & VIRTIO_CONFIG_S_NEEDS_RESET;
	if (a->started && !a->broken && a->virtio.queues[0].enabled && blk_read_ring(blk, a, node) < 0)
		return -EINVAL;
	return state_finish(node);
}

static int blk_take_job(void *arg, struct error *err)
{
	struct blk *blk = arg;
	int ret = blk_file_lock(&blk->file, err);

	if (ret < 0)
		return ret;
	blk_file_drop_cache(&blk->file);
	return blk_read_beginning(blk, err);
}

/* Takes the lock and compares the beginnings, for an operator can name another disk of the same size. */
static int blk_take(struct blk *blk, uint64_t fingerprint, struct error *err)
{
	int ret = blk_job_run(&blk->job, blk_take_job, end_of(BLK_TAKE_MS), err);

	if (ret == 0 && blk->fingerprint != fingerprint) {
		error_add(err,
			  "%s: %s does not begin as the guest's disk does: it is another one, or this "
			  "host does not see what the source has written",
			  blk->name, blk->file.path);
		ret = -ENOTSUP;
	}
	return ret;
}

/* Runs on the caller's thread, for the disk's own has nothing to do before resume(). */
static int blk_load(struct device *dev, struct state_node *node)
{
	struct blk *blk = container_of(dev, struct blk, device);
	struct blk_arrival a = { 0 };
	int ret = blk_read_arrival(blk, &a, node);

	if (ret == 0)
		ret = blk_take(blk, a.fingerprint, node->err);
	if (ret < 0) {
		vring_exit(&a.vring);
		return ret;
	}
	virtio_pci_set(&blk->virtio, &a.virtio);
	blk->started = a.started;
	blk_ring_set(&blk->ring, a.started ? a.virtio.accepted : 0, a.has_ring ? &a.vring : NULL);
	if (a.broken)
		blk_ring_set_broken(&blk->ring);
	return 0;
}

static int blk_lock_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	return blk_file_lock(&blk->file, err);
}

static int blk_reclaim(struct device *dev, struct error *err)
{
	struct blk *blk = container_of(dev, struct blk, device);
	int ret = 0;

	if (blk->let_go)
		ret = blk_job_run(&blk->job, blk_lock_job, end_of(BLK_LOCK_MS), err);
	if (ret == 0)
		blk->let_go = false;
	return ret;
}

static void blk_resume(struct device *dev, enum device_resume as)
{
	struct blk *blk = container_of(dev, struct blk, device);

	blk->thread.paused = false;
	if (as == DEVICE_ARRIVED && blk->started && !blk->ring.broken)
		blk_driver_start(blk);
	blk_ring_kick(&blk->ring);
	/* An interrupt may have been on its way when state was saved; one too many does no harm. */
	virtio_pci_notify_queue(&blk->virtio, 0);
}

static int blk_release_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	blk_ring_detach(&blk->ring);
	blk_file_close(&blk->file);
	return 0;
}

static void blk_release(struct device *dev)
{
	struct blk *blk = container_of(dev, struct blk, device);
	struct error err = { 0 };

	/* A storage that answers too late gets the lock back when it does, behind all that was posted before,
	 * and so it does with a lock that a late load() takes. */
	if (blk_job_run(&blk->release_job, blk_release_job, end_of(BLK_LOCK_MS), &err) < 0)
		log_warn("%s", err.text);
}

static int blk_power_on(struct device *dev, uint64_t until_ns)
{
	return blk_driver_power_on(container_of(dev, struct blk, device), until_ns);
}

void blk_migrate_init(struct blk *blk)
{
	blk_job_init(&blk->job, &blk->thread, blk);
	blk_job_init(&blk->release_job, &blk->thread, blk);
	blk_job_init(&blk->sync_job, &blk->sync_thread, blk);
}

const struct device_ops blk_device_ops = {
	.describe = blk_describe,
	.accept = blk_accept,
	.warm_save = blk_warm_save,
	.warm_load = blk_warm_load,
	.pause = blk_pause,
	.settle = blk_settle,
	.save = blk_save,
	.load = blk_load,
	.reclaim = blk_reclaim,
	.resume = blk_resume,
	.release = blk_release,
	.reset = blk_power_on,
};
