/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: the ring of a queue, where the driver has put it. */
#ifndef FERRY_DEVICES_VIRTIO_PCI_RING_H
#define FERRY_DEVICES_VIRTIO_PCI_RING_H

#include "devices/virtio/transport.h"
#include "devices/virtio/vring.h"

/*
 * Makes @vr of the ring that a driver which has accepted @features has put at @place in @mem, for queue
 * @index. vring_exit() undoes it. 0, or -errno with the reason, and @vr is empty.
 */
int __must_check virtio_pci_find_ring(struct vring *vr, struct memory *mem, unsigned int index,
				      const struct virtio_pci_place *place, uint64_t features,
				      struct error *err);

/*
 * Loads the state of @vr, found as above, from @node's "ring": of a device called @name that answers before
 * it is saved, so that nothing is in flight. -EINVAL, with the reason, and vring_exit() is still due.
 */
int __must_check virtio_pci_load_ring(struct vring *vr, struct state_node *node, const char *name);

#endif
