/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk's part in a migration. Its bytes stay where they are, on storage that both hosts see; what moves
 * is the right to touch them, and the ring.
 *
 * The lock: the destination opens without it; the source gives it up in save(), when all is written back and
 * nothing will be; the destination takes it in load(), so before PREPARED; a source whose migration has
 * failed takes it again in reclaim(), and without it the guest does not go on.
 *
 * Caches: a disk that is written goes around the page cache where its storage allows that, so neither host
 * has anything that the other does not see. Elsewhere the source writes back, ahead of time in warm_save()
 * and the rest in pause(), and the destination forgets what its page cache has from an earlier time (a probe,
 * an earlier stay of this guest), ahead of time in warm_load() and once more in load(), when nobody writes.
 * Then both must see the same beginning: a fingerprint of it goes with the state.
 */
#include "devices/blk_priv.h"

#include <errno.h>

static void blk_describe(struct device *dev, struct state_writer *w)
{
	const struct blk *blk = container_of(dev, struct blk, device);

	/* Fixed when the disk was built, or accepted. */
	state_put_u64(w, "sectors", blk->n_sectors);
	state_put_u32(w, "block-len", blk->file.block_len);
	state_put_u32(w, "read-only", blk->file.read_only);
	state_put_u32(w, "queue-size", blk->virtio.queues[0].max_size);
	state_put_u64(w, "offered", blk->offered);
	state_put_blob(w, "config", blk->config, sizeof(blk->config));
}

/* What the source has shown its guest. */
struct blk_description {
	uint64_t n_sectors, offered;
	uint32_t block_len, read_only, queue_size;
	uint8_t config[BLK_CONFIG_LEN];
};

static int blk_compare(struct blk *blk, const struct blk_description *d, struct error *err)
{
	const struct blk_file *f = &blk->file;
	int ret = 0;

	if (d->n_sectors != blk->n_sectors)
		ret = error_add(err, -ENOTSUP,
				"%s: the guest's disk has %llu bytes, %s has %llu: it is not the same",
				blk->name, (unsigned long long)d->n_sectors << BLK_SECTOR_SHIFT, f->path,
				(unsigned long long)f->len);
	if (d->block_len != f->block_len)
		ret = error_add(err, -ENOTSUP, "%s: the guest's disk has blocks of %u bytes, %s of %u",
				blk->name, d->block_len, f->path, f->block_len);
	if (d->read_only != f->read_only)
		return error_add(err, -ENOTSUP, "%s: the guest's disk is %s, %s is given here %s \",ro\"",
				 blk->name, d->read_only ? "only read" : "written", f->path,
				 f->read_only ? "with" : "without");
	if (d->queue_size > BLK_RING_SIZE || !is_power_of_2(d->queue_size))
		ret = error_add(err, -ENOTSUP, "%s: the queue has up to %u entries, here it takes %u",
				blk->name, d->queue_size, BLK_RING_SIZE);
	if (blk_features_kept(d->offered & ~blk->offered, blk->name, err) < 0)
		ret = -ENOTSUP;
	if (ret == 0 && !blk_config_kept(f, d->offered, d->config))
		ret = error_add(err, -ENOTSUP, "%s: the guest has been shown other limits than %s has here",
				blk->name, f->path);
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
	/* The guest goes on by what it has read. */
	memcpy(blk->config, d.config, sizeof(blk->config));
	queue_size = (uint16_t)d.queue_size;
	virtio_pci_limit(&blk->virtio, 1, &queue_size, d.offered);
	return 0;
}

/* On the caller's thread: the guest's requests go on beside it. */
static int blk_warm_save(struct device *dev, struct state_writer *w, bool first)
{
	struct blk *blk = container_of(dev, struct blk, device);

	/* A failure is found again in pause(), or by the guest. */
	if (blk_file_write_back(&blk->file) < 0)
		log_debug("%s: writing back ahead of time failed", blk->name);
	return first;
}

static int blk_warm_load(struct device *dev, struct state_node *node)
{
	blk_file_drop_cache(&container_of(dev, struct blk, device)->file);
	return state_finish(node);
}

static int blk_pause_call(struct blk *blk, void *arg)
{
	int ret;

	blk->running = false;
	ret = blk_file_write_back(&blk->file);
	blk->unwritten = ret < 0;
	if (ret < 0)
		log_error("%s: cannot write back what the guest has written to %s: %s", blk->name,
			  blk->file.path, strerror(-ret));
	return 0;
}

static void blk_pause(struct device *dev)
{
	blk_call(container_of(dev, struct blk, device), blk_pause_call, NULL);
}

static int blk_save_call(struct blk *blk, void *arg)
{
	struct state_writer *w = arg;
	uint64_t fingerprint;
	int ret = blk_file_fingerprint(&blk->file, &fingerprint);

	if (ret < 0) {
		log_error("%s: cannot read the beginning of %s: %s", blk->name, blk->file.path,
			  strerror(-ret));
		state_fail(w, ret);
	}
	state_put_u64(w, "fingerprint", fingerprint);

	state_begin(w, "virtio");
	virtio_pci_save(&blk->virtio, w);
	state_end(w);
	if (blk->has_ring && !blk->broken) {
		state_begin(w, "ring");
		vring_save(&blk->vring, w);
		state_end(w);
	}
	/* A guest whose writes were lost is not moved on to where it would never hear of it. */
	if (blk->unwritten)
		state_fail(w, -EIO);
	else
		blk_file_unlock(&blk->file);
	return 0;
}

static void blk_save(struct device *dev, struct state_writer *w)
{
	blk_call(container_of(dev, struct blk, device), blk_save_call, w);
}

static int blk_load_ring(struct blk *blk, struct state_node *node)
{
	struct state_node ring;

	if (blk_find_ring(blk, node->err) < 0)
		return -EINVAL;
	if (!blk->has_ring)
		return 0;
	if (state_child(&ring, node, "ring") < 0 || vring_load(&blk->vring, &ring) < 0 ||
	    state_finish(&ring) < 0)
		return -EINVAL;
	if (blk->vring.n_in_flight > 0)
		return error_add(node->err, -EINVAL, "%s: %u requests are in flight where none can be",
				 blk->name, blk->vring.n_in_flight);
	return 0;
}

/* The same bytes here as there: an operator can name another disk of the same size. */
static int blk_check_fingerprint(struct blk *blk, uint64_t there, struct error *err)
{
	uint64_t here;
	int ret = blk_file_fingerprint(&blk->file, &here);

	if (ret < 0)
		return error_add(err, ret, "%s: cannot read the beginning of %s: %s", blk->name,
				 blk->file.path, strerror(-ret));
	if (here != there)
		return error_add(err, -ENOTSUP,
				 "%s: %s does not begin as the guest's disk does: it is another one, or this "
				 "host does not see what the source has written",
				 blk->name, blk->file.path);
	return 0;
}

static int blk_load_call(struct blk *blk, void *arg)
{
	struct state_node *node = arg;
	struct state_node virtio;
	uint64_t fingerprint;
	int ret;

	if (state_get_u64(node, "fingerprint", 0, UINT64_MAX, &fingerprint) < 0)
		return -EINVAL;
	if (state_child(&virtio, node, "virtio") < 0 || virtio_pci_load(&blk->virtio, &virtio) < 0 ||
	    state_finish(&virtio) < 0)
		return -EINVAL;
	blk->active = blk->virtio.status & VIRTIO_CONFIG_S_DRIVER_OK;
	/* A driver that had to reset its device still has to. */
	blk->broken = blk->active && blk->virtio.status & VIRTIO_CONFIG_S_NEEDS_RESET;
	blk->features = blk->active ? blk->virtio.accepted : 0;
	if (blk->active && !blk->broken && blk_load_ring(blk, node) < 0)
		return -EINVAL;
	ret = state_finish(node);
	if (ret == 0)
		ret = blk_file_lock(&blk->file, node->err);
	if (ret < 0)
		return ret;
	blk_file_drop_cache(&blk->file);
	return blk_check_fingerprint(blk, fingerprint, node->err);
}

static int blk_load(struct device *dev, struct state_node *node)
{
	return blk_call(container_of(dev, struct blk, device), blk_load_call, node);
}

static int blk_reclaim_call(struct blk *blk, void *arg)
{
	return blk_file_lock(&blk->file, arg);
}

static int blk_reclaim(struct device *dev, struct error *err)
{
	return blk_call(container_of(dev, struct blk, device), blk_reclaim_call, err);
}

static int blk_resume_call(struct blk *blk, void *arg)
{
	bool arrived = *(bool *)arg;

	if (!blk->has_ring || blk->broken)
		return 0;
	if (arrived) {
		blk_attach(blk);
	} else {
		blk->running = true;
		blk_kick_self(blk);
	}
	/* A signal may have been on its way when state was saved; one too many does no harm. */
	virtio_pci_notify_queue(&blk->virtio, 0);
	return 0;
}

static void blk_resume(struct device *dev, bool arrived)
{
	blk_call(container_of(dev, struct blk, device), blk_resume_call, &arrived);
}

static int blk_release_call(struct blk *blk, void *arg)
{
	blk_detach(blk);
	blk_file_close(&blk->file);
	return 0;
}

static void blk_release(struct device *dev)
{
	blk_call(container_of(dev, struct blk, device), blk_release_call, NULL);
}

const struct device_ops blk_device_ops = {
	.describe = blk_describe,
	.accept = blk_accept,
	.warm_save = blk_warm_save,
	.warm_load = blk_warm_load,
	.pause = blk_pause,
	.save = blk_save,
	.load = blk_load,
	.reclaim = blk_reclaim,
	.resume = blk_resume,
	.release = blk_release,
};
