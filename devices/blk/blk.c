/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building the disk, and the life of its driver. */
#include "devices/blk/blk_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/shortage.h"

#define BLK_PCI_CLASS 0x018000u /* mass storage, other */
/* A vCPU, and what waits for it, is kept no longer than this: less than a guest's watchdogs and its operator
 * notice. */
#define BLK_RESET_MS 100
/* Time for threads that wait for nothing to come to their end. */
#define BLK_END_MS 100

static void blk_config_read(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len)
{
	memcpy(data, container_of(v, struct blk, virtio)->config + offset, len);
}

bool blk_features_ok(struct virtio_pci *v, uint64_t features)
{
	return true;
}

int blk_find_ring(const struct blk *blk, uint64_t features, const struct virtio_pci_place *place,
		  struct vring *vring, struct error *err)
{
	struct vring_setup setup = {
		.size = (uint16_t)place->size,
		.desc = place->desc,
		.avail = place->driver,
		.used = place->device,
		.event_idx = virtio_has(features, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(features, VIRTIO_RING_F_INDIRECT_DESC),
	};
	int ret = vring_init(vring, &blk->vm->memory, &setup);

	return ret < 0 ? error_add(err, ret, "the driver's ring is not in guest memory, or misaligned") : 0;
}

void blk_attach(struct blk *blk)
{
	if (!blk->has_ring)
		return;
	blk->kick.fd = blk->virtio.queues[0].kick_fd;
	blk->attached = loop_add(&blk->loop, &blk->kick, EPOLLIN) == 0;
	if (!blk->attached) {
		log_limited(&blk->log_limit, LOG_ERROR, "%s: cannot watch the driver's kicks", blk->name);
		blk->broken = true;
		virtio_pci_needs_reset(&blk->virtio);
		return;
	}
	blk->running = true;
	/* Not at once: a vCPU may be waiting for us. */
	blk_kick_self(blk);
}

void blk_detach(struct blk *blk)
{
	blk->running = false;
	if (blk->attached)
		loop_del(&blk->loop, &blk->kick);
	blk->attached = false;
	vring_exit(&blk->vring);
	blk->has_ring = false;
	blk->half_done = 0;
}

static int blk_start_call(void *arg)
{
	struct blk *blk = arg;

	blk->n_callers--;
	blk_attach(blk);
	return 0;
}

/* The disk's thread has nothing of the driver's until it is given the ring, so a vCPU can look for that. */
static int blk_driver_ok(struct virtio_pci *v)
{
	struct blk *blk = container_of(v, struct blk, virtio);
	const struct virtio_pci_place place = virtio_pci_place(&v->queues[0]);
	struct error err = { 0 };
	int ret = 0;

	blk->features = v->accepted;
	if (place.enabled)
		ret = blk_find_ring(blk, blk->features, &place, &blk->vring, &err);
	blk->has_ring = place.enabled && ret == 0;
	if (ret < 0) {
		log_limited(&v->log_limit, LOG_WARN, "%s: cannot start the disk for the guest: %s", blk->name,
			    err.text);
		blk->broken = true;
		return ret;
	}
	blk->started = true;
	blk->n_callers++;
	loop_post(&blk->loop, &blk->start, blk_start_call, blk);
	return 0;
}

static int blk_reset_call(void *arg)
{
	struct blk *blk = arg;

	blk->n_callers--;
	blk_detach(blk);
	return 0;
}

/* Begins a reset. Storage that does not answer keeps a request: the driver waits for that, and its vCPU does
 * not. */
static bool blk_end_reset(struct blk *blk, uint64_t until_ns)
{
	if (blk->resetting && !loop_wait_until(&blk->loop, &blk->reset, until_ns))
		return false;
	blk->resetting = blk->started = false;
	blk->broken = false;
	blk->features = 0;
	return true;
}

static bool blk_reset_done(struct virtio_pci *v)
{
	return blk_end_reset(container_of(v, struct blk, virtio), 0);
}

static void blk_reset(struct virtio_pci *v)
{
	struct blk *blk = container_of(v, struct blk, virtio);

	if (blk->started && !blk->resetting) {
		blk->resetting = true;
		blk->n_callers++;
		loop_post(&blk->loop, &blk->reset, blk_reset_call, blk);
	}
	/* Most often it is done at once, and there are drivers that do not look. */
	blk_end_reset(blk, end_of(BLK_RESET_MS));
}

static const struct virtio_ops blk_virtio_ops = {
	.config_read = blk_config_read,
	.features_ok = blk_features_ok,
	.driver_ok = blk_driver_ok,
	.reset = blk_reset,
	.reset_done = blk_reset_done,
};

static struct blk *blk_alloc(struct vm *vm, unsigned int index)
{
	struct blk *blk = calloc(1, sizeof(*blk));

	if (!blk)
		return NULL;
	blk->vm = vm;
	blk->file.fd = -1;
	blk->kick = (struct loop_source){ .fd = -1, .fn = blk_kicked };
	snprintf(blk->name, sizeof(blk->name), "disk%u", index);
	blk->device = (struct device){ .ops = &blk_device_ops, .name = blk->name };
	blk_job_init(blk);
	if (loop_init(&blk->loop) < 0)
		goto free_blk;
	if (loop_init(&blk->sync_loop) < 0)
		goto exit_loop;
	return blk;

exit_loop:
	loop_exit(&blk->loop);
free_blk:
	free(blk);
	return NULL;
}

static void blk_free(struct blk *blk)
{
	blk_file_close(&blk->file);
	loop_exit(&blk->sync_loop);
	loop_exit(&blk->loop);
	free(blk);
}

int blk_check(const char *path, bool read_only, struct error *err)
{
	struct blk_file file;
	int ret = blk_file_open(&file, path, read_only, err);

	if (ret == 0)
		blk_file_close(&file);
	return ret;
}

static int blk_start_threads(struct blk *blk, struct error *err)
{
	char name[16];
	int ret = loop_start(&blk->loop, blk->name);

	snprintf(name, sizeof(name), "%.9s-sync", blk->name);
	if (ret == 0) {
		ret = loop_start(&blk->sync_loop, name);
		if (ret < 0)
			loop_join(&blk->loop);
	}
	return ret < 0 ? error_add(err, ret, "cannot start the threads of %s: %s%s", blk->name,
				   strerror(-ret), shortage_advice(ret))
		       : 0;
}

int blk_create(struct blk **out, struct vm *vm, struct pci_bus *bus, const char *path, bool read_only,
	       bool arriving, unsigned int index, struct error *err)
{
	const uint16_t ring_size = BLK_RING_SIZE;
	struct blk *blk = blk_alloc(vm, index);
	int ret;

	if (!blk)
		return error_add(err, -ENOMEM, "out of memory for the disk %s", path);
	ret = blk_file_open(&blk->file, path, read_only, err);
	if (ret == 0 && !arriving)
		ret = blk_file_lock(&blk->file, err);
	if (ret < 0)
		goto free_blk;
	blk->paused = arriving;
	blk->n_sectors = blk->file.len >> BLK_SECTOR_SHIFT;
	blk->offered = blk_offered(&blk->file);
	blk_config_build(&blk->file, blk->offered, blk->config);
	ret = virtio_pci_init(&blk->virtio, bus, &blk_virtio_ops, VIRTIO_ID_BLOCK, BLK_PCI_CLASS,
			      BLK_CONFIG_LEN, blk->offered, 1, &ring_size, err);
	if (ret < 0)
		goto free_blk;
	ret = blk_start_threads(blk, err);
	if (ret < 0)
		goto exit_virtio;
	vm_add_device(vm, &blk->device);
	*out = blk;
	return 0;

exit_virtio:
	virtio_pci_exit(&blk->virtio);
free_blk:
	blk_free(blk);
	return ret;
}

bool blk_destroy(struct blk *blk, uint64_t until_ns)
{
	until_ns = max_u64(until_ns, end_of(BLK_END_MS));
	/* The thread comes out of a request between two pieces. */
	blk->n_callers++;
	if (!loop_join_until(&blk->loop, until_ns) || !loop_join_until(&blk->sync_loop, until_ns)) {
		log_warn("%s: the storage of %s does not answer, and keeps a thread until it does", blk->name,
			 blk->file.path);
		return false;
	}
	blk_detach(blk);
	virtio_pci_exit(&blk->virtio);
	blk_free(blk);
	return true;
}
