/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: what of the transport moves with a guest. */
#ifndef FERRY_DEVICES_VIRTIO_PCI_STATE_H
#define FERRY_DEVICES_VIRTIO_PCI_STATE_H

#include "devices/pci/state.h"
#include "devices/virtio/transport.h"

/* State that virtio_pci_get() has read. */
struct virtio_pci_loaded {
	uint64_t offered, accepted;
	uint32_t status, isr;
	uint32_t device_feature_select, driver_feature_select;
	uint32_t config_vector, config_generation;
	uint32_t queue_select;
	struct virtio_pci_place queues[VIRTIO_PCI_MAX_QUEUES];
	struct pci_loaded pci; /* in the tree, which must outlive it */
};

/*
 * A node "virtio" in the current one, with a node "virtio-pci" in it: registers, features, queues, vectors,
 * while vCPUs are stopped.
 *
 * virtio_pci_get() checks every value as if the driver had written it, wants the queues that
 * virtio_pci_limit() has left, and changes nothing. Of the features that the source offered only those must
 * be offered here that the driver has accepted, or may be about to accept; the others are gone from the
 * register, which a driver reads before it accepts. virtio_pci_set() takes over what was read, and starts
 * nothing.
 */
void virtio_pci_save(struct virtio_pci *v, struct state_writer *w);
int __must_check virtio_pci_get(struct virtio_pci *v, struct state_node *node,
				struct virtio_pci_loaded *loaded);
void virtio_pci_set(struct virtio_pci *v, const struct virtio_pci_loaded *loaded);

#endif
