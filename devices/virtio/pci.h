/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, modern only (virtio 1.4, "Virtio Over PCI Bus"): a function with its capabilities and one
 * BAR, one MSI-X vector for each queue and one for configuration changes, one notification page for each
 * queue with an ioeventfd.
 */
#ifndef FERRY_DEVICES_VIRTIO_PCI_H
#define FERRY_DEVICES_VIRTIO_PCI_H

#include "devices/pci/bus.h"
#include "devices/virtio/transport.h"

/* A device as it is to be built. */
struct virtio_pci_setup {
	const struct virtio_ops *ops;
	unsigned int device_type; /* VIRTIO_ID_* */
	uint32_t class_code;      /* of PCI, 24 bits */
	uint32_t config_len;      /* bytes of device configuration, at most VIRTIO_PCI_MAX_CONFIG */
	uint64_t offered;
	unsigned int n_queues;     /* 1 to VIRTIO_PCI_MAX_QUEUES */
	const uint16_t *max_sizes; /* [n_queues]: a power of two, or 0 where there is no queue */
};

/*
 * Puts a device on @bus. Addresses do not depend on the number of queues, so that a host with more of them
 * can take a guest over. virtio_pci_exit() once vCPUs have ended, or before they run.
 */
int __must_check virtio_pci_init(struct virtio_pci *v, struct pci_bus *bus,
				 const struct virtio_pci_setup *setup, struct error *err);
void virtio_pci_exit(struct virtio_pci *v);

/*
 * Lowers what the guest will see to @n_queues, one vector for each and one more, and makes the features
 * @offered. @max_sizes become what the source had: larger ones are the caller's to carry. kick_fd
 * of the queues beyond stays open. Before the guest runs.
 */
void virtio_pci_limit(struct virtio_pci *v, unsigned int n_queues, const uint16_t *max_sizes,
		      uint64_t offered);

/*
 * Resets the device as a driver that writes 0 does, and then the function as the machine's reset does. False:
 * the device's reset takes longer (struct virtio_ops); called again it goes on. vCPUs are stopped.
 */
bool __must_check virtio_pci_power_on(struct virtio_pci *v);

/* Puts @page in the place of queue @index's notifications; kick_fd is signalled again once it is unmapped. 0
 * or -errno. Any thread. */
int __must_check virtio_pci_map_doorbell(struct virtio_pci *v, unsigned int index, void *page);
void virtio_pci_unmap_doorbell(struct virtio_pci *v, unsigned int index);

#endif
