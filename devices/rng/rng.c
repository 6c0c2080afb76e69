/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building the entropy device, and its end. */
#include "devices/rng/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>

#include "devices/rng/driver.h"
#include "devices/rng/migrate.h"
#include "vmm/config_device.h"
#include "vmm/shortage.h"

#define RNG_PCI_CLASS 0x00ff00u /* none of the classes */

/* The thread and what it waits for, once the transport is there. */
static int rng_start(struct rng *rng, struct vm *vm)
{
	int ret = loop_init(&rng->loop);

	if (ret < 0)
		return ret;
	ret = rng_queue_init(&rng->queue, &rng->virtio, &vm->memory, &rng->loop, rng->device.name);
	if (ret < 0)
		goto exit_loop;
	ret = loop_start(&rng->loop, rng->device.name);
	if (ret < 0)
		goto exit_queue;
	return 0;

exit_queue:
	rng_queue_exit(&rng->queue);
exit_loop:
	loop_exit(&rng->loop);
	return ret;
}

int rng_create(struct rng **out, struct vm *vm, struct pci_bus *bus, struct error *err)
{
	const uint16_t ring_size = RNG_RING_SIZE;
	struct rng *rng = calloc(1, sizeof(*rng));
	int ret;

	if (!rng) {
		error_add(err, "out of memory for the device rng");
		return -ENOMEM;
	}
	rng->device =
		(struct device){ .ops = &rng_device_ops, .name = config_device_name(CONFIG_DEVICE_RNG) };
	rng->offered = RNG_FEATURES;
	ret = virtio_pci_init(&rng->virtio, bus,
			      &(struct virtio_pci_setup){ .ops = &rng_virtio_ops,
							  .device_type = VIRTIO_ID_RNG,
							  .class_code = RNG_PCI_CLASS,
							  .offered = rng->offered,
							  .n_queues = 1,
							  .max_sizes = &ring_size },
			      err);
	if (ret < 0)
		goto free_rng;
	ret = rng_start(rng, vm);
	if (ret < 0) {
		error_add(err, "cannot start the thread of %s: %s%s", rng->device.name, strerror(-ret),
			  shortage_advice(ret));
		goto exit_virtio;
	}
	vm_add_device(vm, &rng->device);
	*out = rng;
	return 0;

exit_virtio:
	virtio_pci_exit(&rng->virtio);
free_rng:
	free(rng);
	return ret;
}

void rng_destroy(struct rng *rng)
{
	loop_join(&rng->loop);
	rng_queue_drop(&rng->queue);
	rng_queue_exit(&rng->queue);
	loop_exit(&rng->loop);
	virtio_pci_exit(&rng->virtio);
	free(rng);
}
