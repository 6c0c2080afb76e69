/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: from the registers of a queue to its ring. */
#include "devices/virtio/pci_ring.h"

#include <errno.h>

int virtio_pci_find_ring(struct vring *vr, struct memory *mem, unsigned int index,
			 const struct virtio_pci_place *place, uint64_t features, struct error *err)
{
	struct vring_setup setup = vring_setup_of(features);
	int ret;

	setup.size = (uint16_t)place->size;
	setup.desc = place->desc;
	setup.avail = place->driver;
	setup.used = place->device;
	ret = vring_init(vr, mem, &setup);
	if (ret == -ENOMEM) {
		error_add(err, "out of memory for queue %u", index);
		return ret;
	}
	if (ret < 0) {
		error_add(err, "queue %u: the driver's ring is not in guest memory, or misaligned", index);
		return ret;
	}
	return 0;
}

int virtio_pci_load_ring(struct vring *vr, struct state_node *node, const char *name)
{
	struct state_node ring;

	if (state_child(&ring, node, "ring") < 0 || vring_load(vr, &ring) < 0 || state_finish(&ring) < 0)
		return -EINVAL;
	if (vr->n_in_flight > 0) {
		error_add(node->err, "%s: %u requests are in flight where none can be", name,
			  vr->n_in_flight);
		return -EINVAL;
	}
	return 0;
}
