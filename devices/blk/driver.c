/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of the disk's driver, from DRIVER_OK to its reset. */
#include "devices/blk/driver.h"

/* A vCPU, and what waits for it, is kept no longer than this: less than a guest's watchdogs and its operator
 * notice. */
#define BLK_RESET_MS 100

static void blk_config_read(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len)
{
	memcpy(data, container_of(v, struct blk, virtio)->config + offset, len);
}

static bool blk_features_ok(struct virtio_pci *v, uint64_t features)
{
	return true;
}

static int blk_start_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	blk_ring_attach(&blk->ring);
	return 0;
}

void blk_driver_start(struct blk *blk)
{
	blk_job_post(&blk->start, blk_start_job);
}

/* The disk's thread has nothing of the driver's until it is given the ring, so a vCPU can look for that. */
static int blk_driver_ok(struct virtio_pci *v)
{
	struct blk *blk = container_of(v, struct blk, virtio);
	const struct virtio_pci_place place = virtio_pci_place(&v->queues[0]);
	struct error err = { 0 };
	struct vring vring;
	int ret = 0;

	if (place.enabled)
		ret = blk_ring_find(&blk->ring, v->accepted, &place, &vring, &err);
	if (ret < 0) {
		log_limited(&v->log_limit, LOG_WARN, "%s: cannot start the disk for the guest: %s", blk->name,
			    err.text);
		blk_ring_set_broken(&blk->ring);
		return ret;
	}
	blk_ring_set(&blk->ring, v->accepted, place.enabled ? &vring : NULL);
	blk->started = true;
	blk_driver_start(blk);
	return 0;
}

static int blk_reset_job(void *arg, struct error *err)
{
	struct blk *blk = arg;

	blk_ring_detach(&blk->ring);
	return 0;
}

/* Whether a reset that has begun is done by @until_ns. A request that the storage keeps holds it up: the
 * driver waits for that, and its vCPU does not. */
static bool blk_end_reset(struct blk *blk, uint64_t until_ns)
{
	if (!blk_job_done(&blk->reset, until_ns))
		return false;
	blk->started = false;
	blk_ring_set(&blk->ring, 0, NULL);
	return true;
}

static bool blk_reset_done(struct virtio_pci *v)
{
	return blk_end_reset(container_of(v, struct blk, virtio), 0);
}

static void blk_reset(struct virtio_pci *v)
{
	struct blk *blk = container_of(v, struct blk, virtio);

	if (blk->started && !blk->reset.posted)
		blk_job_post(&blk->reset, blk_reset_job);
	/* A reset is most often done at once, and there are drivers that do not read the status for it. */
	blk_end_reset(blk, end_of(BLK_RESET_MS));
}

int blk_driver_power_on(struct blk *blk, uint64_t until_ns)
{
	if (virtio_pci_power_on(&blk->virtio))
		return 0;
	blk_end_reset(blk, until_ns);
	return virtio_pci_power_on(&blk->virtio) ? 0 : -EAGAIN;
}

void blk_driver_init(struct blk *blk)
{
	blk_job_init(&blk->start, &blk->thread, blk);
	blk_job_init(&blk->reset, &blk->thread, blk);
}

const struct virtio_ops blk_virtio_ops = {
	.config_read = blk_config_read,
	.features_ok = blk_features_ok,
	.driver_ok = blk_driver_ok,
	.reset = blk_reset,
	.reset_done = blk_reset_done,
};
