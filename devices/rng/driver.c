/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of an entropy device's driver, from DRIVER_OK to its reset. */
#include "devices/rng/driver.h"

/* The transport asks for no byte: there is no device configuration. */
static void rng_config_read(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
}

static bool rng_features_ok(struct virtio_pci *v, uint64_t features)
{
	return true;
}

static int rng_start_call(void *arg)
{
	rng_queue_start(arg);
	return 0;
}

static int rng_stop_call(void *arg)
{
	rng_queue_stop(arg);
	return 0;
}

static int rng_drop_call(void *arg)
{
	rng_queue_drop(arg);
	return 0;
}

void rng_driver_start(struct rng *rng)
{
	loop_call(&rng->loop, rng_start_call, &rng->queue);
}

void rng_driver_stop(struct rng *rng)
{
	loop_call(&rng->loop, rng_stop_call, &rng->queue);
}

void rng_driver_drop(struct rng *rng)
{
	loop_call(&rng->loop, rng_drop_call, &rng->queue);
}

static int rng_driver_ok(struct virtio_pci *v)
{
	struct rng *rng = container_of(v, struct rng, virtio);
	const struct virtio_pci_place place = virtio_pci_place(&v->queues[0]);
	struct error err = { 0 };
	struct vring vring;
	int ret = 0;

	if (place.enabled)
		ret = rng_queue_find(&rng->queue, v->accepted, &place, &vring, &err);
	if (ret < 0) {
		log_limited(&v->log_limit, LOG_WARN, "%s: cannot start the device for the guest: %s",
			    rng->device.name, err.text);
		rng_queue_set_broken(&rng->queue);
		return ret;
	}
	rng_queue_set(&rng->queue, place.enabled ? &vring : NULL);
	rng_driver_start(rng);
	return 0;
}

static void rng_reset(struct virtio_pci *v)
{
	struct rng *rng = container_of(v, struct rng, virtio);

	rng_driver_drop(rng);
	rng_queue_set(&rng->queue, NULL);
}

const struct virtio_ops rng_virtio_ops = {
	.config_read = rng_config_read,
	.features_ok = rng_features_ok,
	.driver_ok = rng_driver_ok,
	.reset = rng_reset,
};
