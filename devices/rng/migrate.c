/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An entropy device's part in a migration: its registers and its ring. Random bytes are either in the guest's
 * memory or not yet made, so no request is ever in flight.
 */
#include "devices/rng/migrate.h"

#include <errno.h>

#include "devices/rng/driver.h"
#include "devices/virtio/pci_ring.h"
#include "devices/virtio/pci_state.h"

static void rng_describe(struct device *dev, struct state_writer *w)
{
	const struct rng *rng = container_of(dev, struct rng, device);

	state_put_u32(w, "queue-size", rng->virtio.queues[0].max_size);
	state_put_u64(w, "offered", rng->offered);
}

static int rng_accept(struct device *dev, struct state_node *node)
{
	struct rng *rng = container_of(dev, struct rng, device);
	uint64_t offered;
	uint32_t size;
	uint16_t max_size;
	int ret = 0;

	if (state_get_u32(node, "queue-size", 1, VIRTIO_RING_MAX_SIZE, &size) < 0 ||
	    state_get_u64(node, "offered", 0, UINT64_MAX, &offered) < 0 || state_finish(node) < 0)
		return -EINVAL;
	if (size > RNG_RING_SIZE || !is_power_of_2(size)) {
		error_add(node->err, "%s: the queue has up to %u entries, here it takes %u", dev->name, size,
			  RNG_RING_SIZE);
		ret = -ENOTSUP;
	}
	if (offered & ~rng->offered) {
		error_add(node->err,
			  "%s: the guest has been shown features 0x%llx, which are not offered here",
			  dev->name, (unsigned long long)(offered & ~rng->offered));
		ret = -ENOTSUP;
	}
	if (ret < 0)
		return ret;
	rng->offered = offered;
	max_size = (uint16_t)size;
	virtio_pci_limit(&rng->virtio, 1, &max_size, offered);
	return 0;
}

static void rng_pause(struct device *dev)
{
	rng_driver_stop(container_of(dev, struct rng, device));
}

static void rng_save(struct device *dev, struct state_writer *w)
{
	struct rng *rng = container_of(dev, struct rng, device);

	virtio_pci_save(&rng->virtio, w);
	if (rng->queue.has_ring && !rng->queue.broken) {
		state_begin(w, "ring");
		vring_save(&rng->queue.vring, w);
		state_end(w);
	}
}

/* A guest's state as it comes to a destination, read before any of it is applied. */
struct rng_arrival {
	struct virtio_pci_loaded virtio;
	bool broken, has_ring;
	struct vring vring;
};

static int rng_read_ring(struct rng *rng, struct rng_arrival *a, struct state_node *node)
{
	if (rng_queue_find(&rng->queue, a->virtio.accepted, &a->virtio.queues[0], &a->vring, node->err) < 0)
		return -EINVAL;
	a->has_ring = true;
	return virtio_pci_load_ring(&a->vring, node, rng->device.name);
}

static int rng_read_arrival(struct rng *rng, struct rng_arrival *a, struct state_node *node)
{
	bool started;

	if (virtio_pci_get(&rng->virtio, node, &a->virtio) < 0)
		return -EINVAL;
	started = a->virtio.status & VIRTIO_CONFIG_S_DRIVER_OK;
	/* A driver that had to reset the device at the source has to here, too. */
	a->broken = started && a->virtio.status & VIRTIO_CONFIG_S_NEEDS_RESET;
	if (started && !a->broken && a->virtio.queues[0].enabled && rng_read_ring(rng, a, node) < 0)
		return -EINVAL;
	return state_finish(node);
}

/* Runs on the caller's thread, for the device's own has nothing to do before resume(). */
static int rng_load(struct device *dev, struct state_node *node)
{
	struct rng *rng = container_of(dev, struct rng, device);
	struct rng_arrival a = { 0 };
	int ret = rng_read_arrival(rng, &a, node);

	if (ret < 0) {
		vring_exit(&a.vring);
		return ret;
	}
	virtio_pci_set(&rng->virtio, &a.virtio);
	rng_queue_set(&rng->queue, a.has_ring ? &a.vring : NULL);
	if (a.broken)
		rng_queue_set_broken(&rng->queue);
	return 0;
}

static void rng_resume(struct device *dev, enum device_resume as)
{
	struct rng *rng = container_of(dev, struct rng, device);

	rng_driver_start(rng);
	/* An interrupt may have been on its way when state was saved; one too many does no harm. */
	virtio_pci_notify_queue(&rng->virtio, 0);
}

static void rng_release(struct device *dev)
{
	rng_driver_drop(container_of(dev, struct rng, device));
}

static int rng_power_on(struct device *dev, uint64_t until_ns)
{
	return virtio_pci_power_on(&container_of(dev, struct rng, device)->virtio) ? 0 : -EAGAIN;
}

const struct device_ops rng_device_ops = {
	.describe = rng_describe,
	.accept = rng_accept,
	.pause = rng_pause,
	.save = rng_save,
	.load = rng_load,
	.resume = rng_resume,
	.release = rng_release,
	.reset = rng_power_on,
};
