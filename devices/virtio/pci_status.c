/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: the device status as a table of what the driver may write after what. */
#include "devices/virtio/pci_status.h"

#include <inttypes.h>

bool virtio_pci_features_valid(struct virtio_pci *v, uint64_t accepted)
{
	return (accepted & ~v->offered) == 0 && virtio_has(accepted, VIRTIO_F_VERSION_1) &&
	       v->ops->features_ok(v, accepted);
}

bool virtio_pci_size_valid(uint32_t size, uint64_t accepted)
{
	return is_power_of_2(size) || (size > 0 && virtio_has(accepted, VIRTIO_F_RING_PACKED));
}

static bool status_check_features(struct virtio_pci *v)
{
	bool valid = virtio_pci_features_valid(v, v->accepted);

	if (!valid)
		log_limited(&v->log_limit, LOG_WARN,
			    "PCI slot %u: the driver's features 0x%" PRIx64 " are not valid, of 0x%" PRIx64
			    " offered",
			    v->pci.slot, v->accepted, v->offered);
	return valid;
}

static void status_start(struct virtio_pci *v)
{
	int ret = v->ops->driver_ok(v);

	if (ret < 0) {
		log_limited(&v->log_limit, LOG_WARN,
			    "PCI slot %u: the device cannot start as the driver wants it: %s", v->pci.slot,
			    strerror(-ret));
		virtio_pci_needs_reset(v);
	}
	/* A field that the driver has read before DRIVER_OK may have changed since. */
	virtio_pci_send_held(v);
}

static const struct {
	uint8_t from, to;
	bool (*allowed)(struct virtio_pci *v);
	void (*entered)(struct virtio_pci *v);
} status_transitions[] = {
	{ 0, VIRTIO_PCI_AT_ACKNOWLEDGE, NULL, NULL },
	/* Firmware's drivers take two steps at once. */
	{ 0, VIRTIO_PCI_AT_DRIVER, NULL, NULL },
	{ VIRTIO_PCI_AT_ACKNOWLEDGE, VIRTIO_PCI_AT_DRIVER, NULL, NULL },
	{ VIRTIO_PCI_AT_DRIVER, VIRTIO_PCI_AT_FEATURES_OK, status_check_features, NULL },
	{ VIRTIO_PCI_AT_FEATURES_OK, VIRTIO_PCI_AT_DRIVER_OK, NULL, status_start },
};

bool virtio_pci_status_legal(uint8_t status)
{
	if (virtio_pci_step(status) == 0)
		return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(status_transitions); i++) {
		if (status_transitions[i].to == virtio_pci_step(status))
			return true;
	}
	return false;
}

void virtio_pci_reset_queue(struct virtio_queue *q)
{
	q->size = q->max_size;
	q->enabled = false;
	q->vector = VIRTIO_MSI_NO_VECTOR;
	q->desc = q->driver = q->device = 0;
}

void virtio_pci_end_reset(struct virtio_pci *v)
{
	if (!v->resetting || (v->ops->reset_done && !v->ops->reset_done(v)))
		return;
	v->resetting = false;
	v->accepted = 0;
	v->device_feature_select = 0;
	v->driver_feature_select = 0;
	v->queue_select = 0;
	v->config_vector = VIRTIO_MSI_NO_VECTOR;
	v->isr = 0;
	v->config_held = false;
	for (unsigned int i = 0; i < v->n_built; i++)
		virtio_pci_reset_queue(&v->queues[i]);
	/* Last: a NEEDS_RESET that the device's thread has raised meanwhile is answered by this reset. */
	v->status = 0;
}

void virtio_pci_reset(struct virtio_pci *v)
{
	v->ops->reset(v);
	v->resetting = true;
	virtio_pci_end_reset(v);
}

/* The driver only adds bits, one step at a time. NEEDS_RESET is the device's, so a driver may write it or
 * not, and the device's thread may raise it at the same time: bits are added atomically. */
void virtio_pci_write_status(struct virtio_pci *v, uint32_t value)
{
	uint8_t from = v->status & (uint8_t)~VIRTIO_CONFIG_S_NEEDS_RESET;
	uint8_t to = (uint8_t)(value & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET);

	if (value == 0) {
		virtio_pci_reset(v);
		return;
	}
	if (to == from)
		return;
	if (to == (from | VIRTIO_CONFIG_S_FAILED)) {
		log_limited(&v->log_limit, LOG_WARN,
			    "PCI slot %u: the guest's driver has given the device up", v->pci.slot);
		atomic_fetch_or(&v->status, to);
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(status_transitions); i++) {
		if (status_transitions[i].from != from || status_transitions[i].to != to)
			continue;
		if (status_transitions[i].allowed && !status_transitions[i].allowed(v))
			return;
		atomic_fetch_or(&v->status, to);
		if (status_transitions[i].entered)
			status_transitions[i].entered(v);
		return;
	}
	log_limited(&v->log_limit, LOG_WARN, "PCI slot %u: the driver wrote status 0x%x after 0x%x: ignored",
		    v->pci.slot, value, from);
}
