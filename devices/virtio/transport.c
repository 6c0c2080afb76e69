/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of a virtio device. All atomics are sequentially consistent: one is sent a batch at most. */
#include "devices/virtio/transport.h"

#include "devices/pci/msix.h"

void virtio_pci_notify_queue(struct virtio_pci *v, unsigned int index)
{
	uint16_t vector = v->queues[index].vector;

	if (vector == VIRTIO_MSI_NO_VECTOR)
		atomic_fetch_or(&v->isr, VIRTIO_PCI_ISR_QUEUE);
	pci_msix_notify(&v->pci, vector);
}

void virtio_pci_send_held(struct virtio_pci *v)
{
	/* Pairs with whoever comes second, a change or DRIVER_OK: each makes its own visible and then looks
	 * for the other, so that one of the two sends the interrupt. */
	if (!(v->status & VIRTIO_CONFIG_S_DRIVER_OK) || !atomic_exchange(&v->config_held, false))
		return;
	atomic_fetch_or(&v->isr, VIRTIO_PCI_ISR_CONFIG);
	pci_msix_notify(&v->pci, v->config_vector);
}

void virtio_pci_notify_config(struct virtio_pci *v)
{
	v->config_changed = true;
	v->config_held = true;
	virtio_pci_send_held(v);
}

void virtio_pci_needs_reset(struct virtio_pci *v)
{
	uint8_t before = atomic_fetch_or(&v->status, VIRTIO_CONFIG_S_NEEDS_RESET);

	if (!(before & VIRTIO_CONFIG_S_NEEDS_RESET))
		virtio_pci_notify_config(v);
}

int virtio_pci_queue_call(const struct virtio_pci *v, unsigned int index)
{
	return pci_msix_fd(&v->pci, v->queues[index].vector);
}
