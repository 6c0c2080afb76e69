/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI as a device model sees it: what the driver asks of the model, the queues as the driver has
 * set them up, and the interrupts that the model sends.
 */
#ifndef FERRY_DEVICES_VIRTIO_TRANSPORT_H
#define FERRY_DEVICES_VIRTIO_TRANSPORT_H

#include "devices/pci/function.h"
#include "devices/virtio/virtio.h"

/* A page of the BAR for each queue's notifications: as many as fill it, behind the pages of the rest. */
#define VIRTIO_PCI_MAX_QUEUES 253u
/* Bytes of device configuration: what is left of the BAR's first page behind the common structure. */
#define VIRTIO_PCI_MAX_CONFIG 0xe00u

/* A bit of the ISR status, beside VIRTIO_PCI_ISR_CONFIG of linux/virtio_pci.h. */
#define VIRTIO_PCI_ISR_QUEUE 1u

struct virtio_pci;

/*
 * The functions that a device model provides. Called on a vCPU's thread with the transport's lock held: a
 * model may hand over to its own thread and wait for it, for that thread never takes the lock while the guest
 * runs.
 */
struct virtio_ops {
	/* Bytes of device configuration; @offset + @len is within config_len. */
	void (*config_read)(struct virtio_pci *v, uint32_t offset, void *data, uint32_t len);
	/* Whether the driver's set of features, a subset of the offered, holds together. A plain predicate:
	 * virtio_pci_get() asks it, too. */
	bool (*features_ok)(struct virtio_pci *v, uint64_t features);
	/* DRIVER_OK, which the status shows already: features and queues are final, vectors are not. Rings
	 * are where the driver said, unchecked. -errno makes the transport set DEVICE_NEEDS_RESET. */
	int (*driver_ok)(struct virtio_pci *v);
	/* Status 0: after it returns the device touches neither rings nor buffers. Also without a driver_ok()
	 * before. */
	void (*reset)(struct virtio_pci *v);
	/*
	 * Whether the reset that reset() has begun is done, for a device that cannot always finish at once.
	 * Until then the status keeps its value, so that the driver waits, and the driver's writes are
	 * ignored. NULL: always.
	 */
	bool (*reset_done)(struct virtio_pci *v);
	/* With VIRTIO_F_RING_RESET, after DRIVER_OK. The device has let go of the enabled queue @index when
	 * queue_reset() returns; queue_enable() takes it up again, where the driver has put it now. */
	void (*queue_reset)(struct virtio_pci *v, unsigned int index);
	void (*queue_enable)(struct virtio_pci *v, unsigned int index);
	/* Queue @index has another vector, or none: virtio_pci_queue_call() returns another one. NULL: the
	 * model does not care. */
	void (*queue_vector)(struct virtio_pci *v, unsigned int index);
};

/* A queue as the driver has set it up. */
struct virtio_queue {
	uint16_t max_size;
	uint16_t size;
	bool enabled;
	_Atomic uint16_t vector;
	uint64_t desc, driver, device; /* gpa */
	/* An eventfd, which the guest's notification signals. The transport's. */
	int kick_fd;
};

struct virtio_pci {
	struct pci_function pci;
	const struct virtio_ops *ops;
	uint32_t config_len;

	pthread_mutex_t lock; /* registers and the calls of ops */
	uint64_t offered;
	uint64_t accepted;
	uint32_t device_feature_select, driver_feature_select;
	_Atomic uint8_t status;
	_Atomic uint16_t config_vector;
	/* Configuration has changed since the driver last read the generation; and the interrupt for a change
	 * waits for DRIVER_OK. */
	_Atomic bool config_changed, config_held;
	/* VIRTIO_PCI_ISR_*, for drivers that look, although there is no INTx. */
	_Atomic uint8_t isr;
	uint8_t config_generation;
	uint16_t queue_select;
	bool resetting;              /* from reset() until reset_done() */
	unsigned int n_queues;       /* that the guest sees */
	struct virtio_queue *queues; /* [n_built] */
	unsigned int n_built;
	uint8_t notify_cap;         /* offset in config space */
	struct log_limit log_limit; /* for what the guest does wrong */
};

/* Sends the interrupt of queue @index. Any thread, takes no lock. */
void virtio_pci_notify_queue(struct virtio_pci *v, unsigned int index);

/*
 * Device configuration has changed: the driver sees another generation, and an interrupt. Before DRIVER_OK a
 * device does not interrupt (virtio 1.4, "Device Initialization"), so the interrupt waits for that; a reset
 * drops it. Any thread, takes no lock.
 */
void virtio_pci_notify_config(struct virtio_pci *v);
/* Sends the interrupt that waits, where one does and the driver is at DRIVER_OK: when it has come there. */
void virtio_pci_send_held(struct virtio_pci *v);

/* Sets DEVICE_NEEDS_RESET, and tells the driver as of a change of configuration: the device does nothing more
 * until the driver resets it. Any thread, takes no lock. */
void virtio_pci_needs_reset(struct virtio_pci *v);

/*
 * The eventfd of queue @index's vector, for a device that sends its interrupts itself: what it signals while
 * the vector is masked stays pending. -1 where the driver has set none. Stays the transport's. Any thread.
 */
int virtio_pci_queue_call(const struct virtio_pci *v, unsigned int index);

/* Where a driver has put a queue: now, or where the state of a guest says so. */
struct virtio_pci_place {
	uint32_t size, enabled, vector;
	uint64_t desc, driver, device; /* gpa */
};

static inline struct virtio_pci_place virtio_pci_place(const struct virtio_queue *q)
{
	return (struct virtio_pci_place){ .size = q->size,
					  .enabled = q->enabled,
					  .vector = q->vector,
					  .desc = q->desc,
					  .driver = q->driver,
					  .device = q->device };
}

#endif
