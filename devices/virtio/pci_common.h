/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: the registers of virtio 1.4, "Common configuration structure layout". */
#ifndef FERRY_DEVICES_VIRTIO_PCI_COMMON_H
#define FERRY_DEVICES_VIRTIO_PCI_COMMON_H

#include "devices/virtio/transport.h"

/*
 * An access of the guest's, on a vCPU's thread; takes the transport's lock. What meets no register is logged
 * and ignored: @data of a read stays as it is.
 */
void virtio_pci_common_read(struct virtio_pci *v, uint64_t offset, void *data, unsigned int len);
void virtio_pci_common_write(struct virtio_pci *v, uint64_t offset, const void *data, unsigned int len);

#endif
