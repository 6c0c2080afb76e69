/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI: the device status (virtio 1.4, "Device Status Field"), and what a driver may have written
 * by then. Everything with the transport's lock held.
 */
#ifndef FERRY_DEVICES_VIRTIO_PCI_STATUS_H
#define FERRY_DEVICES_VIRTIO_PCI_STATUS_H

#include "devices/virtio/transport.h"

/* The driver's steps, each with those before it. */
#define VIRTIO_PCI_AT_ACKNOWLEDGE VIRTIO_CONFIG_S_ACKNOWLEDGE
#define VIRTIO_PCI_AT_DRIVER      (VIRTIO_PCI_AT_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
#define VIRTIO_PCI_AT_FEATURES_OK (VIRTIO_PCI_AT_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define VIRTIO_PCI_AT_DRIVER_OK   (VIRTIO_PCI_AT_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

/* The step that the driver is at: NEEDS_RESET and FAILED may stand beside any. */
static inline uint8_t virtio_pci_step(uint8_t status)
{
	return status & (uint8_t) ~(VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_FAILED);
}

/* The driver writes @value to the status. What is no step from where it stands is logged and ignored. */
void virtio_pci_write_status(struct virtio_pci *v, uint32_t value);

/* Begins a reset, as a driver that writes 0; and ends it if the model is done by now: to be called before the
 * driver sees or changes a register. */
void virtio_pci_reset(struct virtio_pci *v);
void virtio_pci_end_reset(struct virtio_pci *v);

/* Makes @q what it is before a driver has set it up. */
void virtio_pci_reset_queue(struct virtio_queue *q);

/* Whether a driver can have written it: a status; features at FEATURES_OK; a queue's size with the features
 * @accepted. */
bool virtio_pci_status_legal(uint8_t status);
bool virtio_pci_features_valid(struct virtio_pci *v, uint64_t accepted);
bool virtio_pci_size_valid(uint32_t size, uint64_t accepted);

#endif
